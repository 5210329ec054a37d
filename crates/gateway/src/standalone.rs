//! The gateway as a process of its own: it follows a server, or serves one table file.

mod certificates;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lockstep_domain::EnvironmentName;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use certificates::Kept;
pub use certificates::{CertificateFiles, CertificateFilesError};

use crate::config::GatewayConfig;
use crate::error::{ApplyError, ListenError, StartError};
use crate::follow::{
    CertificatesFrom, Server, StoreError, TableStore, catch_up, first_certificates, follow, read_written,
};
use crate::gateway::Gateway;
use crate::listening::Clients;

/// How often a table file is looked at; `SIGHUP` makes it happen at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a gateway of its own is started with.
#[derive(Debug)]
pub struct StandaloneConfig {
    /// The gateway itself.
    pub gateway: GatewayConfig,
    /// Where its tables come from.
    pub source: TableSource,
    /// How long it goes on as before after `SIGTERM` or `SIGINT`, only no longer ready, so that whoever sends clients here
    /// can send them elsewhere.
    pub lame_duck: Duration,
    /// How long requests may take to finish after that.
    pub grace: Duration,
    /// Where it says how it is, if anywhere.
    pub admin: Option<SocketAddr>,
    /// Where it listens for clients who come within TLS, if anywhere.
    pub listen_tls: Option<SocketAddr>,
    /// Certificates in files, where its table names none that it could have from a server.
    pub certificates: Option<CertificateFiles>,
}

/// Where a gateway of its own listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// For each environment, and how clients come there.
    pub environments: Vec<(EnvironmentName, SocketAddr, Clients)>,
    /// For questions how it is.
    pub admin: Option<SocketAddr>,
}

/// Where the tables of a gateway of its own come from.
#[derive(Debug)]
pub enum TableSource {
    /// From a server; the last ones are kept on disk and served when it is gone.
    Server {
        /// The server.
        server: Server,
        /// Where the last tables are kept.
        store: TableStore,
        /// The environments it serves, and where it listens for each.
        environments: Vec<(EnvironmentName, SocketAddr)>,
    },
    /// From a file that is read again when it changes.
    File {
        /// The file.
        path: PathBuf,
        /// Where it listens.
        listen: SocketAddr,
    },
}

/// Why a gateway of its own did not start.
#[derive(Debug, Error)]
pub enum StandaloneError {
    /// The runtime or a signal handler could not be made.
    #[error("cannot prepare the process")]
    Process(#[source] io::Error),
    /// The workers did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The admin address cannot be listened on.
    #[error("cannot listen on the admin address {address}")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The table file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Certificates of files cannot be used.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Certificates(Vec<CertificateFilesError>),
    /// The table file is not valid.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Runs a gateway until `SIGTERM` or `SIGINT`, then lets requests finish; a second signal ends it at once. `ready` is told
/// where it listens.
///
/// # Errors
/// When it cannot start. Afterwards it serves whatever happens to its server or file.
pub fn run(config: StandaloneConfig, ready: impl FnOnce(&Listening)) -> Result<(), StandaloneError> {
    raise_file_limit();
    let runtime = Builder::new_current_thread().enable_all().build().map_err(StandaloneError::Process)?;
    let ended = runtime.block_on(serve(config, ready));
    // A search for the server's name cannot be ended; nobody waits for its answer.
    runtime.shutdown_background();
    ended
}

/// Each request under way takes two files; what a process is given by default is too few for a gateway.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    if let Err(error) = raised {
        tracing::warn!(%error, limit = limit.current, "the limit of open files stays low");
    }
}

async fn serve(config: StandaloneConfig, ready: impl FnOnce(&Listening)) -> Result<(), StandaloneError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StandaloneError::Process)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StandaloneError::Process)?;
    let gateway = Arc::new(Gateway::start(config.gateway)?);
    let stop = CancellationToken::new();
    let mut followers = Vec::new();
    let mut admin_address = None;
    if let Some(address) = config.admin {
        let failed = |source| StandaloneError::Admin { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        admin_address = Some(listener.local_addr().map_err(failed)?);
        // It answers to the very end, so nothing waits for it.
        tokio::spawn(gateway.admin().serve(listener, CancellationToken::new()));
    }
    // What is wrong with files is said before anything is listened on.
    let files = config.certificates.map(Kept::read).transpose().map_err(StandaloneError::Certificates)?;
    let from = if files.is_some() { CertificatesFrom::Elsewhere } else { CertificatesFrom::Server };
    let (listen_tls, mut served) = (config.listen_tls, None);
    match config.source {
        TableSource::Server { server, store, environments } => {
            for (environment, address) in environments {
                let environment_served = environment.clone();
                start_from_disk(&gateway, &store, &environment);
                catch_up(&gateway, &environment, &server, &store).await;
                if from == CertificatesFrom::Server {
                    first_certificates(&gateway, &environment, &server, &store).await;
                }
                gateway.listen(&environment, address)?;
                let follower = follow(
                    Arc::clone(&gateway),
                    environment,
                    (server.clone(), store.clone()),
                    from,
                    stop.clone(),
                );
                followers.push(tokio::spawn(follower));
                served.get_or_insert(environment_served);
            }
        }
        TableSource::File { path, listen } => {
            let seen = stamp(&path);
            let table = read_written(&path)?.table;
            let environment = table.environment.clone();
            gateway.apply(table)?;
            gateway.listen(&environment, listen)?;
            let hangup = signal(SignalKind::hangup()).map_err(StandaloneError::Process)?;
            served = Some(environment.clone());
            let watch = watch_file(Arc::clone(&gateway), environment, path, seen, hangup, stop.clone());
            followers.push(tokio::spawn(watch));
        }
    }
    if let Some(environment) = &served {
        if let Some(kept) = files {
            gateway.certify(environment, kept.all())?;
            let hangup = signal(SignalKind::hangup()).map_err(StandaloneError::Process)?;
            let watch =
                certificates::watch(Arc::clone(&gateway), environment.clone(), kept, hangup, stop.clone());
            followers.push(tokio::spawn(watch));
        }
        if let Some(address) = listen_tls {
            gateway.listen_tls(environment, address)?;
        }
    }
    ready(&Listening { environments: gateway.listening_to(), admin: admin_address });
    let mut signalled = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    signalled().await;
    tokio::select! {
        () = leave(&gateway, config.lame_duck, config.grace, stop, followers) => {}
        () = signalled() => tracing::warn!("a second signal: requests under way are cut off"),
    }
    Ok(())
}

/// Ends a gateway in the order that its clients notice least. Tables are followed while clients still come.
async fn leave(
    gateway: &Gateway,
    lame_duck: Duration,
    grace: Duration,
    stop: CancellationToken,
    followers: Vec<JoinHandle<()>>,
) {
    gateway.begin_to_leave();
    tokio::time::sleep(lame_duck).await;
    // Until the last request is over its server has to hear of it, or it might end an instance under it.
    gateway.shutdown(grace).await;
    stop.cancel();
    for follower in followers {
        // A follower that panicked has been reported by the runtime; what matters here is that it has ended.
        let _ = follower.await;
    }
}

/// Serves the table from the last run until the server has a newer one.
fn start_from_disk(gateway: &Gateway, store: &TableStore, environment: &EnvironmentName) {
    let loaded = match store.load(environment) {
        Ok(Some(table)) => table,
        Ok(None) => return,
        Err(error) => {
            tracing::error!(%environment, error = &error as &dyn std::error::Error, "the stored table is not used");
            return;
        }
    };
    let revision = loaded.edition();
    match gateway.apply(loaded) {
        Ok(_) => tracing::info!(%environment, %revision, "serving the stored table"),
        Err(error) => tracing::error!(%environment, %revision, %error, "the stored table is not used"),
    }
}

async fn watch_file(
    gateway: Arc<Gateway>,
    environment: EnvironmentName,
    path: PathBuf,
    mut seen: Option<Stamp>,
    mut hangup: tokio::signal::unix::Signal,
    stop: CancellationToken,
) {
    loop {
        let told = tokio::select! {
            () = stop.cancelled() => return,
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let now = stamp(&path);
        if told || now != seen {
            seen = now;
            reload(&gateway, &environment, &path);
        } else {
            gateway.keep_listeners(&environment);
        }
    }
}

/// What tells one state of a file from the next. The time alone does not: two changes can fall into one tick of it.
type Stamp = (SystemTime, u64, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

/// Reads a table file again. Whoever edits a file by hand need not count: it gets the next revision if it has no higher.
fn reload(gateway: &Gateway, environment: &EnvironmentName, path: &Path) {
    let table = match read_written(path).map(|written| written.table) {
        Ok(table) if table.environment == *environment => table,
        Ok(table) => {
            let found = table.environment;
            gateway.refuse(environment, format!("it is of environment `{found}`"));
            tracing::error!(path = %path.display(), %environment, %found, "the table is of another environment; serving the last one");
            return;
        }
        Err(error) => {
            gateway.refuse(environment, error.to_string());
            tracing::error!(path = %path.display(), error = &error as &dyn std::error::Error, "serving the last table");
            return;
        }
    };
    let next = gateway.receipt(environment).edition().next();
    let table = if table.edition().is_news_to(&next) { table } else { table.at(next) };
    let revision = table.edition();
    match gateway.apply(table) {
        Ok(_) => tracing::info!(path = %path.display(), %revision, "table applied"),
        Err(error) => tracing::error!(path = %path.display(), %error, "serving the last table"),
    }
}

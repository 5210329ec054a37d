//! The gateway as a process of its own: it follows a server, or serves one table file.

mod certificates;
mod operators;
mod source;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::clients_at::OutsideAddresses;
use lockstep_domain::{EnvironmentName, HostName};
use lockstep_telemetry::MetricsPush;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use certificates::Kept;
pub use certificates::{CertificateFiles, CertificateFilesError};
use operators::Operators;
use source::{Source, Stamp, stamp};

use crate::admin::Admin;
use crate::config::GatewayConfig;
use crate::error::{ApplyError, ListenError, StartError};
use crate::follow::{
    CertificatesFrom, Server, StoreError, TableStore, catch_up, first_certificates, first_visit_keys, follow,
    read_written,
};
use crate::gateway::Gateway;
use crate::listening::Clients;
use crate::takeover::{Ask, Offer, Successor, TakeoverError, take};
use crate::visit::VisitKey;

/// The name of this program for collectors.
const NAME: &str = "lockstep-gateway";
/// How often a table file is looked at; `SIGHUP` makes it happen at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a gateway of its own is started with.
#[derive(Debug)]
pub struct StandaloneConfig {
    /// The gateway itself.
    pub gateway: GatewayConfig,
    /// Where its tables come from.
    pub source: TableSource,
    /// How long it goes on taking clients after `SIGTERM` or `SIGINT`, but is no longer ready and lets each answer be the last one of its
    /// connection, so that whoever sends clients here can send them elsewhere.
    pub lame_duck: Duration,
    /// How long requests may take to finish after that, and clients of a process that was taken over to leave.
    pub grace: Duration,
    /// Whether it takes over the sockets of the gateway that listens where it is to listen, if there is one.
    pub takes_over: bool,
    /// Where it says how it is, if anywhere.
    pub admin: Option<SocketAddr>,
    /// Where its metrics go, if anywhere.
    pub metrics: Option<MetricsPush>,
    /// The host that it stands on, and where gateways of others come in, where it is the gateway of a host.
    pub between: Option<BetweenConfig>,
    /// How long its keys for other gateways live.
    pub key_life: Duration,
    /// Where it listens for clients who come within TLS, if anywhere.
    pub listen_tls: Option<SocketAddr>,
    /// Certificates in files, where its table names none that it could have from a server.
    pub certificates: Option<CertificateFiles>,
    /// What visits of its table are signed with, where that is no secret of a server: the first signs, and all are accepted. Where there is
    /// none it makes one, which nobody else has and which ends with it.
    pub visit_keys: Vec<VisitKey>,
}

/// What a gateway of a host is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BetweenConfig {
    /// The host.
    pub host: HostName,
    /// Where gateways of other hosts come in, if they do; where that port is taken, at one of the next.
    pub at: Option<SocketAddr>,
    /// Where clients from outside come in, if they do; what cannot be opened is tried again.
    pub outside: Option<OutsideAddresses>,
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
    /// The gateway that listens cannot be taken over.
    #[error(transparent)]
    Takeover(#[from] TakeoverError),
    /// Certificates of files cannot be used.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Certificates(Vec<CertificateFilesError>),
    /// The table file is not valid.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

/// Why a gateway of its own ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Told,
    /// Another process has taken over from it.
    Taken,
}

/// Runs a gateway until `SIGTERM` or `SIGINT`, or another process takes over, then lets requests finish; a second signal ends it at once.
/// `ready` is told where it listens.
///
/// # Errors
/// When it cannot start. Afterwards it serves whatever happens to its server or file.
pub fn run(config: StandaloneConfig, ready: impl FnOnce(&Listening)) -> Result<Ended, StandaloneError> {
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

async fn serve(config: StandaloneConfig, ready: impl FnOnce(&Listening)) -> Result<Ended, StandaloneError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StandaloneError::Process)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StandaloneError::Process)?;
    let gateway = Arc::new(Gateway::start(config.gateway)?);
    let stop = CancellationToken::new();
    let mut followers = Vec::new();
    // What is wrong with files is said before anything is listened on.
    let files = config.certificates.map(Kept::read).transpose().map_err(StandaloneError::Certificates)?;
    let source = Source::read(config.source)?;
    let mut taken = match source.first().filter(|_| config.takes_over) {
        Some(first) => take(first, &Ask::new(gateway.id(), source.environments(), source.socket())).await?,
        None => None,
    };
    let mut inherited_admin = None;
    if let Some(taken) = &mut taken {
        gateway.handover.inherit(&taken.run, std::mem::take(&mut taken.sockets));
        inherited_admin = taken.admin.take();
    }
    let admin =
        config.admin.map(|address| Operators::listen(&gateway, address, inherited_admin)).transpose()?;
    let from = if files.is_some() { CertificatesFrom::Elsewhere } else { CertificatesFrom::Server };
    let (listen_tls, socket, mut served) = (config.listen_tls, source.socket(), None);
    // Where the process after this one asks for the sockets: at an address that it is told as well.
    let mut first: Option<SocketAddr> = None;
    match source {
        Source::Server { server, store, environments } => {
            for (environment, address) in environments {
                let environment_served = environment.clone();
                gateway.keep_identity(&environment, &store, config.key_life);
                stand(&gateway, &environment, config.between.as_ref(), &store);
                start_from_disk(&gateway, &store, &environment);
                catch_up(&gateway, &environment, &server, &store).await;
                if from == CertificatesFrom::Server {
                    first_certificates(&gateway, &environment, &server, &store).await;
                }
                first_visit_keys(&gateway, &environment, &server, &store).await;
                let open = gateway.listen(&environment, address)?;
                first = first.into_iter().chain([open]).min();
                let outside = config.between.as_ref().and_then(|between| between.outside);
                gateway.want_outside(&environment, outside);
                let follower = follow(
                    Arc::clone(&gateway),
                    environment,
                    (server.clone(), store.clone()),
                    (from, config.key_life),
                    stop.clone(),
                );
                followers.push(tokio::spawn(follower));
                served.get_or_insert(environment_served);
            }
        }
        Source::File { path, listen, seen, table } => {
            let environment = table.environment.clone();
            gateway.sign_visits(&environment, config.visit_keys);
            gateway.look_up(&table).await;
            gateway.apply(*table)?;
            first = Some(gateway.listen(&environment, listen)?);
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
    if let Some(push) = config.metrics {
        followers.push(tokio::spawn(push_metrics(
            push,
            gateway.admin(),
            gateway.id().to_owned(),
            stop.clone(),
        )));
    }
    ready(&Listening {
        environments: gateway.listening_to(),
        admin: admin.as_ref().map(|operators| operators.place.0),
    });
    if let Some(taken) = taken {
        tracing::info!(run = taken.run, "took over the sockets of the gateway before");
        taken.serve().await;
    }
    for address in gateway.handover.close_inherited() {
        tracing::warn!(%address, "the gateway before listened here, and this one is not told to: clients are refused");
    }
    let mut signalled = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let given = tokio::select! {
        () = signalled() => None,
        successor = until_taken(&gateway, (first, socket), admin.as_ref()) => Some(successor),
    };
    let ended = if given.is_some() { Ended::Taken } else { Ended::Told };
    let leaves = async {
        match given {
            None => leave(&gateway, config.lame_duck, config.grace, stop, followers).await,
            Some(successor) => {
                tracing::info!(
                    run = successor.run,
                    "another process has taken over; clients that are here finish"
                );
                if let Some(operators) = admin {
                    // Its socket is closed as well: the other one has it, and whoever comes after that.
                    operators.stop.cancel();
                }
                successor.leave().await;
                gateway.hand_on(config.grace).await;
                end_followers(stop, followers).await;
            }
        }
    };
    tokio::select! {
        () = leaves => {}
        () = signalled() => {
            tracing::warn!("a second signal: requests under way are cut off");
            gateway.cut().await;
        }
    }
    Ok(ended)
}

/// Sends what is counted to a collector until the gateway ends.
async fn push_metrics(push: MetricsPush, admin: Admin, run: String, stop: CancellationToken) {
    let version = env!("CARGO_PKG_VERSION");
    let known = [("service.name", NAME), ("service.version", version), ("service.instance.id", &run)];
    let known = known.map(|(name, value)| (name, value.to_owned())).to_vec();
    push.run(known, || std::future::ready(admin.metrics()), stop).await;
}

/// Returns when another process has taken over the sockets, of which the first one's address is given.
async fn until_taken(
    gateway: &Gateway,
    (first, socket): (Option<SocketAddr>, Option<PathBuf>),
    admin: Option<&Operators>,
) -> Successor {
    let nowhere = || Err(io::ErrorKind::AddrNotAvailable.into());
    let offer = first.map_or_else(nowhere, |first| Offer::at(first, socket));
    match offer {
        Ok(offer) => offer.taken(gateway, admin.map(|operators| &operators.place)).await,
        Err(error) => {
            tracing::warn!(%error, "no other process can take over from this one (--takeover)");
            std::future::pending().await
        }
    }
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
    end_followers(stop, followers).await;
}

async fn end_followers(stop: CancellationToken, followers: Vec<JoinHandle<()>>) {
    stop.cancel();
    for follower in followers {
        // A follower that panicked has been reported by the runtime; what matters here is that it has ended.
        let _ = follower.await;
    }
}

/// Takes its place among the gateways of hosts. Where others cannot come in, that is said and tried again, and what is of this host is served;
/// nobody is let in before there is a table.
fn stand(
    gateway: &Gateway,
    environment: &EnvironmentName,
    between: Option<&BetweenConfig>,
    store: &TableStore,
) {
    let Some(BetweenConfig { host, at, .. }) = between else { return };
    gateway.stand_on(environment, [host.clone()]);
    if let Some(at) = at {
        gateway.want_door(environment, *at, store);
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
            reload(&gateway, &environment, &path).await;
        } else {
            gateway.keep_listeners(&environment);
        }
    }
}

/// Reads a table file again. Whoever edits a file by hand need not count: it gets the next revision if it has no higher.
async fn reload(gateway: &Gateway, environment: &EnvironmentName, path: &Path) {
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
    gateway.look_up(&table).await;
    let next = gateway.receipt(environment).edition().next();
    let table = if table.edition().is_news_to(&next) { table } else { table.at(next) };
    let revision = table.edition();
    match gateway.apply(table) {
        Ok(_) => tracing::info!(path = %path.display(), %revision, "table applied"),
        Err(error) => tracing::error!(path = %path.display(), %error, "serving the last table"),
    }
}

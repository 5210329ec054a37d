//! The HTTP face of Lockstep: routing, authentication, handlers, server-sent events, start and stop.
//!
//! A handler parses, calls one use case of `lockstep-control`, and converts the answer; it decides nothing.

mod access;
mod alerts;
mod answer;
mod brake;
mod certificates;
mod compat;
mod connections;
mod events;
mod faults;
mod from_hosts;
mod handlers;
mod hosts;
mod lanes;
mod lines;
mod maintenance;
mod metrics;
mod named;
mod origin;
mod refusals;
mod resources;
mod router;
mod stop;
mod uploads;
mod version_rules;
mod watch;

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use lockstep_api::Token;
use lockstep_control::{
    AccessLogConfig, Control, ControlConfig, FIRST_GATEWAY_PORT, JournalError, KeyPlace, SpansConfig,
};
pub use lockstep_control::{
    Adopt, Exported, GatewayListening, GroupChoice, LargestContract, OpenError, Prometheus, UserChoice,
};
use lockstep_domain::BuildVariables;
use lockstep_domain::instance_ports::PortRange;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use access::Access;
use connections::Limits;
pub use from_hosts::HostDoor;
use lockstep_hosts::FromHost;
use stop::Signals;

/// How a server is started.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where everything is kept.
    pub data: PathBuf,
    /// Where the key of the journal is: in the data folder unless told otherwise.
    pub journal_key: KeyPlace,
    /// Where it listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The token that every request must carry. Needed for any address beyond loopback.
    pub token: ApiToken,
    /// Names by which it is asked, beside loopback and its address: those of a proxy before it, for example.
    pub public_hosts: Vec<String>,
    /// What starts a supervisor; the folder of an instance is added.
    pub supervisor: Vec<OsString>,
    /// What starts the guard of a build.
    pub guard: Vec<OsString>,
    /// Where the gateways of environments listen; loopback unless told otherwise.
    pub gateway_address: IpAddr,
    /// Where its gateways say how they are, if anywhere.
    pub gateway_admin: Option<SocketAddr>,
    /// Where requests to its gateways are logged, if anywhere.
    pub gateway_access_log: Option<AccessLogConfig>,
    /// Where spans of requests to its gateways go; nowhere when left out.
    pub gateway_spans: Option<SpansConfig>,
    /// Where metrics and logs go.
    pub exported: Exported,
    /// A Prometheus that collects from this server, and is asked for charts.
    pub prometheus: Option<Prometheus>,
    /// The port of the first environment's gateway; 0 takes free ones.
    pub first_gateway_port: u16,
    /// Where the ports of instances are taken from, unless an environment says otherwise.
    pub instance_ports: PortRange,
    /// In which control groups instances are.
    pub groups: GroupChoice,
    /// Whom services run as.
    pub users: UserChoice,
    /// What is done with a data folder that is not where it was.
    pub adopt: Adopt,
    /// Which variables of this process builds may have.
    pub build_variables: BuildVariables,
    /// How large a contract of a release may be.
    pub largest_contract: LargestContract,
    /// Where gateways of hosts come in: given to whoever connects to hosts.
    pub host_door: Arc<HostDoor>,
}

/// Which token requests must carry.
#[derive(Debug, Clone)]
pub enum ApiToken {
    /// One that was given.
    Given(Token),
    /// One that the server makes for itself, in its data folder.
    Own,
    /// None: every program of this host may ask for anything.
    Nobodys,
}

/// A server that answers.
#[derive(Debug)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
    /// The file with the token that it made for itself, where it uses that.
    pub own_token: Option<PathBuf>,
    /// The gateways of environments inside it.
    pub gateways: Vec<GatewayListening>,
}

impl ServerConfig {
    /// Makes a configuration that listens on loopback, with defaults for everything else.
    #[must_use]
    pub fn new(data: PathBuf, listen: SocketAddr, supervisor: Vec<OsString>, guard: Vec<OsString>) -> Self {
        let gateway_address = IpAddr::from([127, 0, 0, 1]);
        let first_gateway_port = FIRST_GATEWAY_PORT;
        Self {
            data,
            journal_key: KeyPlace::DataFolder,
            listen,
            token: ApiToken::Own,
            public_hosts: Vec::new(),
            supervisor,
            guard,
            gateway_address,
            gateway_admin: None,
            gateway_access_log: None,
            gateway_spans: None,
            exported: Exported::default(),
            prometheus: None,
            first_gateway_port,
            instance_ports: PortRange::USUAL,
            groups: GroupChoice::Found,
            users: UserChoice::OfServer,
            adopt: Adopt::No,
            build_variables: BuildVariables::default(),
            largest_contract: LargestContract::default(),
            host_door: Arc::default(),
        }
    }
}

/// Why a server does not run.
#[derive(Debug, Error)]
pub enum ServerError {
    /// It would be open to the network.
    #[error("{0} is reachable from other hosts, so a token is needed")]
    TokenNeeded(SocketAddr),
    /// It has a name for others, who come through something before it.
    #[error(
        "`{0}` is a name for others to ask by, so a token is needed: what stands before this server lets in everybody whom it does not stop"
    )]
    TokenNeededBehind(String),
    /// The token is too easy to guess.
    #[error("the token has fewer than {} characters, or is the key of a gateway", access::MIN_TOKEN_LENGTH)]
    WeakToken,
    /// A public name is none.
    #[error("`{0}` is not the name of a host")]
    PublicHost(String),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The data folder, the journal or the instances cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The server stopped by itself.
    #[error("the server stopped")]
    Serve(#[source] std::io::Error),
}

impl ServerError {
    /// Returns what to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::TokenNeeded(_) | Self::TokenNeededBehind(_) | Self::WeakToken => {
                Some(access::MAKE_A_TOKEN.into())
            }
            Self::PublicHost(_) => Some("lockstep server --public-host lockstep.example.org".into()),
            Self::Listen { .. } => {
                Some("another server may run there; choose another address with --listen".into())
            }
            Self::Open(error) => error.hint().map(Into::into),
            Self::Serve(_) => None,
        }
    }

    /// Returns what is wrong with the journal, when that is what keeps the server from running.
    #[must_use]
    pub const fn journal(&self) -> Option<&JournalError> {
        match self {
            Self::Open(error) => error.journal(),
            _ => None,
        }
    }
}

/// Runs a server until SIGTERM or SIGINT. `ready` is called when it answers, and its gateways listen or cannot.
///
/// Then requests under way and builds have a few seconds to end; a second signal takes these from them. Instances go on
/// running when the server ends, however it ends.
///
/// # Errors
/// When it cannot be started, or stops by itself.
pub async fn run(config: ServerConfig, ready: impl FnOnce(Ready)) -> Result<(), ServerError> {
    let access =
        |token: Option<&Token>| Access::new(config.listen, token.map(Token::reveal), &config.public_hosts);
    // What is wrong with what was given is said before anything is touched.
    let given = match &config.token {
        ApiToken::Given(token) => Some(access(Some(token))?),
        ApiToken::Nobodys => Some(access(None)?),
        ApiToken::Own => None,
    };
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|source| ServerError::Listen { address: config.listen, source })?;
    let address = listener.local_addr().map_err(ServerError::Serve)?;
    let control = Control::open(control_config(&config)).await?;
    let scrape_token = control.scrape_token(!matches!(config.token, ApiToken::Nobodys))?;
    let (access, own_token) = match given {
        Some(access) => (access, None),
        None => {
            let (token, file) = control.own_token()?;
            (access(Some(&token))?, Some(file))
        }
    };
    let access = access.for_scraping(scrape_token.as_ref().map(Token::reveal));
    let stop = CancellationToken::new();
    let app = router::router(Arc::clone(&control), access, stop.clone());
    config.host_door.open(app.clone(), stop.clone());
    let mut signals = Signals::listen().map_err(ServerError::Serve)?;
    tracing::info!(%address, "the server listens");
    let serve = connections::serve(listener, app, Limits::for_files(open_files()), stop.clone());
    let close = async {
        stop.cancelled().await;
        config.host_door.close();
        control.close().await;
    };
    let announce = async {
        let gateways = control.gateways_listening().await;
        ready(Ready { address, own_token, gateways });
    };
    let work = async { tokio::join!(serve, close, announce) };
    stop::unless_told_twice(work, async || signals.next().await, &stop).await;
    Ok(())
}

fn control_config(config: &ServerConfig) -> ControlConfig {
    ControlConfig {
        folder: config.data.clone(),
        journal_key: config.journal_key.clone(),
        supervisor: config.supervisor.clone(),
        guard: config.guard.clone(),
        adopt: config.adopt,
        build_variables: config.build_variables.clone(),
        largest_contract: config.largest_contract,
        gateway_address: config.gateway_address,
        gateway_admin: config.gateway_admin,
        gateway_access_log: config.gateway_access_log.clone(),
        gateway_spans: config.gateway_spans.clone(),
        exported: config.exported.clone(),
        prometheus: config.prometheus.clone(),
        first_gateway_port: config.first_gateway_port,
        instance_ports: config.instance_ports,
        groups: config.groups.clone(),
        users: config.users,
        from_hosts: Some(Arc::clone(&config.host_door) as Arc<dyn FromHost>),
    }
}

fn open_files() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

//! Use cases and reconcilers: the only crate that joins journal, blobs, pipeline, runtime, registry and gateway.
//!
//! A file per noun. Policy lives in `lockstep-domain`: here a use case asks it, records the answer, and lets the
//! reconciler of the environment carry it out.

mod acme;
mod answers;
mod between;
mod builds;
mod call_addresses;
mod call_book;
mod callers;
mod charts;
mod checks;
mod clock;
mod collect;
mod compat;
mod contracts;
mod counted_file;
mod data;
mod databases;
mod delivery;
mod dismiss;
mod editions;
mod entry;
mod environments;
mod events;
mod exporting;
mod faults;
mod gateway_formats;
mod gateway_ports;
mod gateways;
mod hosts;
mod instances;
mod judging;
mod lanes;
mod ledger;
mod logs;
mod maintenance;
mod manifests;
mod metrics;
mod mirrors;
mod operations;
mod own_token;
mod place;
mod policies;
mod proofs;
mod random;
mod readiness;
mod reconciler;
mod releases;
mod rename;
mod resources;
mod routed;
mod said_versions;
mod schedules;
mod secrets;
mod services;
mod starts;
mod targets;
#[cfg(test)]
mod testing;
mod traffic;
mod uploads;
mod version_rules;
mod visits;
mod watching;
mod working;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use lockstep_api::{ErrorCode, Problem, Token};
use lockstep_domain::instance_ports::PortRange;
use lockstep_domain::{Actor, BuildVariables, Digest, EnvironmentName, Instance, InstanceId};
use lockstep_files::owned::{self, Prepared};
use lockstep_gateway::{Gateway, GatewayConfig};
use lockstep_hosts::FromHost;
use lockstep_registry::Registry;
pub use lockstep_runtime::{GroupChoice, UserChoice};
use lockstep_runtime::{LocalDriver, LocalDriverOptions, SupervisorCommand};
use lockstep_store::Blobs;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use builds::LogFollow;
pub use entry::Taking;
pub use events::EventFilter;
pub use exporting::Exported;
pub use instances::GatewayListening;
pub use ledger::{Ledger, LedgerError};
pub use lockstep_gateway::AccessLogConfig;
pub use lockstep_gateway::spans::SpansConfig;
pub use lockstep_pipeline::LargestContract;
pub use lockstep_runtime::Follow;
pub use lockstep_store::JournalError;
pub use lockstep_store::journal::KeyPlace;
pub use lockstep_telemetry::Prometheus;
pub use place::{Adopt, Suspicion};
pub use resources::Resources;
pub use uploads::Receiving;

use between::KnownKeys;
use builds::Builds;
use call_addresses::Given;
use call_book::CallBook;
use callers::Callers;
use charts::Charts;
use editions::Editions;
use entry::Entrances;
use exporting::LineCounts;
use gateways::KnownGateways;
use hosts::Hosts;
use judging::Judging;
use lockstep_runtime::Turns;
use place::Place;
use proofs::Proofs;
use readiness::Board;
use said_versions::SaidVersions;
use secrets::Secrets;
use starts::Starts;
use uploads::Uploads;
use watching::Watching;
use working::Working;

/// How a control is opened.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// Where everything is kept.
    pub folder: PathBuf,
    /// Where the key of the journal is.
    pub journal_key: KeyPlace,
    /// What starts a supervisor; the folder of the instance is added.
    pub supervisor: Vec<OsString>,
    /// What starts the guard of a build.
    pub guard: Vec<OsString>,
    /// What is done with a data folder that is not where it was.
    pub adopt: Adopt,
    /// Which variables of this process builds may have.
    pub build_variables: BuildVariables,
    /// How large a contract of a release may be.
    pub largest_contract: LargestContract,
    /// Where the gateways of environments listen.
    pub gateway_address: IpAddr,
    /// Where the gateways say how they are, if anywhere.
    pub gateway_admin: Option<SocketAddr>,
    /// Where requests to the gateways are logged, if anywhere.
    pub gateway_access_log: Option<AccessLogConfig>,
    /// Where spans of requests to its gateways go; nowhere when left out.
    pub gateway_spans: Option<SpansConfig>,
    /// Where metrics and logs go.
    pub exported: Exported,
    /// A Prometheus that collects from this server, and is asked for charts.
    pub prometheus: Option<Prometheus>,
    /// The port of the first environment's gateway; the others follow. 0 takes free ports.
    pub first_gateway_port: u16,
    /// Where the ports of instances are taken from, unless an environment says otherwise.
    pub instance_ports: PortRange,
    /// In which control groups instances are.
    pub groups: GroupChoice,
    /// Whom services run as.
    pub users: UserChoice,
    /// Who answers gateways that come from hosts; nobody when left out.
    pub from_hosts: Option<Arc<dyn FromHost>>,
}

/// How long requests under way in the gateways may take to finish when everything else has ended.
const GATEWAY_GRACE: Duration = Duration::from_secs(3);
/// The port of the first environment's gateway when nothing else is said.
pub const FIRST_GATEWAY_PORT: u16 = 8500;

impl ControlConfig {
    /// Makes a configuration with defaults for everything but the folder and the two commands.
    #[must_use]
    pub fn new(folder: PathBuf, supervisor: Vec<OsString>, guard: Vec<OsString>) -> Self {
        Self {
            folder,
            journal_key: KeyPlace::DataFolder,
            supervisor,
            guard,
            adopt: Adopt::No,
            build_variables: BuildVariables::default(),
            largest_contract: LargestContract::default(),
            gateway_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            gateway_admin: None,
            gateway_access_log: None,
            gateway_spans: None,
            exported: Exported::default(),
            prometheus: None,
            first_gateway_port: FIRST_GATEWAY_PORT,
            instance_ports: PortRange::USUAL,
            groups: GroupChoice::Found,
            users: UserChoice::OfServer,
            from_hosts: None,
        }
    }
}

/// Why a control cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The data folder cannot be used.
    #[error("the data folder `{}` cannot be used", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The data folder is not for this user alone.
    #[error(transparent)]
    NotOurs(#[from] owned::FolderFault),
    /// The data folder is not what it should be.
    #[error(transparent)]
    Place(#[from] Box<Suspicion>),
    /// The journal cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The blobs cannot be used.
    #[error(transparent)]
    Blobs(#[from] lockstep_store::BlobError),
    /// Instances cannot be followed.
    #[error(transparent)]
    Runtime(#[from] lockstep_runtime::OpenError),
    /// The gateway cannot be started.
    #[error(transparent)]
    Gateway(#[from] lockstep_gateway::StartError),
    /// The gateways' admin address cannot be listened on.
    #[error("cannot listen on {address} for the health and metrics of gateways")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The standard environments cannot be recorded.
    #[error("the first environments could not be recorded: {0}")]
    FirstRun(Box<Problem>),
}

impl OpenError {
    /// Says what to do next, where something helps.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotOurs(fault) => Some(fault.hint()),
            Self::Place(suspicion) => Some(suspicion.hint()),
            Self::Ledger(error) => Some(error.hint()),
            Self::Blobs(error) => Some(error.hint()),
            Self::Folder { .. } => Some("check that the user who runs Lockstep owns the data folder"),
            Self::Admin { .. } => {
                Some("another program may listen there; choose another with --gateway-admin-address")
            }
            Self::Runtime(_) | Self::Gateway(_) | Self::FirstRun(_) => None,
        }
    }

    /// Returns what is wrong with the journal, when that is it.
    #[must_use]
    pub const fn journal(&self) -> Option<&JournalError> {
        match self {
            Self::Ledger(LedgerError::Journal(error)) => Some(error),
            _ => None,
        }
    }
}

/// How long builds and reconcilers may take to end: a build ends its processes, a reconciler its step. What is cut off is as
/// after a crash: guards end their builds, and the next server goes on from the journal.
const CLOSE_GRACE: Duration = Duration::from_secs(5);

/// Everything a server does, without its HTTP face.
#[derive(Debug)]
pub struct Control {
    config: ControlConfig,
    ledger: Ledger,
    blobs: Blobs,
    secrets: Secrets,
    callers: Callers,
    /// Where instances call others by host and port.
    call_addresses: Given,
    /// Answers about pairs of contracts.
    compared: contracts::Memory,
    builds: Builds,
    uploads: Uploads,
    /// Whether resources that somebody else runs answer.
    resource_health: Arc<resources::Health>,
    /// What services that somebody else runs say of their version.
    said_versions: SaidVersions,
    registry: Registry,
    judging: Judging,
    working: Working,
    starts: Starts,
    proofs: Proofs,
    watching: Watching,
    /// What became of lines that are sent to collectors.
    exported_lines: LineCounts,
    /// The history that charts are drawn from.
    charts: Charts,
    call_book: CallBook,
    board: Board,
    editions: Editions,
    place: Place,
    driver: LocalDriver,
    hosts: Hosts,
    gateway: Gateway,
    known_gateways: KnownGateways,
    /// What gateways know each other by.
    between: KnownKeys,
    /// Instances that are being started or could not be, which the driver does not know.
    launches: Mutex<BTreeMap<InstanceId, Instance>>,
    routed: routed::Routed,
    /// The file of the token that the server made for itself, where it uses it.
    own_token_file: OnceLock<PathBuf>,
    /// The token that is good for reading metrics alone, where anybody is asked for one.
    own_scrape_token: OnceLock<Token>,
    /// Why an environment's gateway does not listen.
    deaf: Mutex<BTreeMap<EnvironmentName, String>>,
    /// How far the gateway keeps to what is said of how clients come in.
    entrances: Entrances,
    /// Which certificates a step of an order is under way for.
    errands: acme::Errands,
    wakes: Mutex<BTreeMap<EnvironmentName, Arc<Notify>>>,
    /// Environments that have a reconciler.
    reconciled: Mutex<BTreeSet<EnvironmentName>>,
    /// Shared from before an artifact is unpacked until its instance is known; held to remove an unpacked one.
    unpacked: tokio::sync::RwLock<()>,
    /// An artifact is unpacked once, however many instances of it start at once.
    unpacking: Turns<Digest>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    /// Opens the data folder, adopts what runs, and begins to reconcile.
    ///
    /// # Errors
    /// When the folder, the journal or the instances cannot be used.
    pub async fn open(config: ControlConfig) -> Result<Arc<Self>, OpenError> {
        let (control, admin) = Self::at_rest(config).await?;
        control.go_on_by_itself(admin)?;
        Ok(control)
    }

    /// Opens the data folder, and does nothing yet; returns beside it where its gateways are to say how they are.
    async fn at_rest(config: ControlConfig) -> Result<(Arc<Self>, Option<TcpListener>), OpenError> {
        let folder = config.folder.clone();
        if let Prepared::Closed { before } = owned::prepare(&folder)? {
            let mode = format!("{before:o}");
            tracing::warn!(folder = %folder.display(), mode, "others could use the data folder; it is 700 now");
        }
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Folder { path, source }
        };
        let place = Place::examine(&folder, config.adopt)?;
        let ledger = Ledger::open(&folder, &config.journal_key)?;
        place.settle(ledger.world().seq, config.adopt)?;
        // What is left of an interrupted unpacking; it may not exist.
        let _ = std::fs::remove_dir_all(folder.join(instances::SCRATCH));
        let secrets_folder = folder.join("secrets");
        let secrets = Secrets::open(&secrets_folder).map_err(failed(&secrets_folder))?;
        let callers_file = secrets_folder.join("callers.key");
        let callers = Callers::open(&callers_file).map_err(failed(&callers_file))?;
        let builds_folder = folder.join("builds");
        let builds =
            Builds::open(&builds_folder, &ledger.world(), ledger.now()).map_err(failed(&builds_folder))?;
        let uploads = Uploads::at(folder.join(instances::SCRATCH).join("uploads"));
        let blobs = Blobs::open(&folder)?;
        let mut options = LocalDriverOptions::new(SupervisorCommand(config.supervisor.clone()));
        options.ports = config.instance_ports;
        options.groups = config.groups.clone();
        options.users = config.users;
        options.hidden = Some(folder.clone());
        let driver = LocalDriver::open_with(&folder.join("runtime"), options).await?;
        let hosts_folder = folder.join("hosts");
        let program = config.supervisor.first().map(PathBuf::from).unwrap_or_default();
        let hosts =
            Hosts::open(&hosts_folder, program, config.from_hosts.clone()).map_err(failed(&hosts_folder))?;
        hosts.settle(&ledger.world());
        let id = random::random_hex(8).map_err(failed(&folder))?;
        let access_log = config.gateway_access_log.clone();
        let recent = config.gateway_admin.map_or(0, |_| lockstep_gateway::RECENT);
        let gateway = Gateway::start(GatewayConfig {
            access_log,
            recent,
            spans: config.gateway_spans.clone(),
            ..GatewayConfig::new(format!("server-{id}"))
        })?;
        let admin = admin_listener(config.gateway_admin).await?;
        let gateways_file = folder.join("gateways.json");
        let known_gateways = KnownGateways::open(gateways_file.clone()).map_err(failed(&gateways_file))?;
        let keys_folder = folder.join("between");
        let between = KnownKeys::open(&keys_folder, ledger.now()).map_err(failed(&keys_folder))?;
        let editions = Editions::open(&folder).map_err(failed(&folder))?;
        let registry = Registry::default();
        for (environment, gateway) in known_gateways.expected() {
            registry.expect(&environment, &gateway, ledger.now());
        }
        let proofs = Proofs::open(folder.join("proving.json"));
        let watching = Watching::open(&folder);
        let charts = Charts::open(&folder);
        let call_book = CallBook::open(folder.join("calls.json"));
        let judging = Judging::new(ledger.now());
        let working = Working::new(ledger.now());
        let control = Arc::new(Self {
            config,
            ledger,
            blobs,
            secrets,
            callers,
            call_addresses: Given::beginning_for(&folder),
            compared: contracts::Memory::default(),
            builds,
            uploads,
            resource_health: Arc::default(),
            said_versions: SaidVersions::default(),
            registry,
            judging,
            working,
            starts: Starts::default(),
            proofs,
            watching,
            exported_lines: LineCounts::default(),
            charts,
            call_book,
            board: Board::default(),
            editions,
            place,
            driver,
            hosts,
            gateway,
            known_gateways,
            between,
            launches: Mutex::default(),
            routed: routed::Routed::default(),
            own_token_file: OnceLock::new(),
            own_scrape_token: OnceLock::new(),
            deaf: Mutex::default(),
            entrances: Entrances::default(),
            errands: acme::Errands::default(),
            wakes: Mutex::default(),
            reconciled: Mutex::default(),
            unpacked: tokio::sync::RwLock::default(),
            unpacking: Turns::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        Ok((control, admin))
    }

    /// Begins with everything that goes on by itself.
    fn go_on_by_itself(self: &Arc<Self>, admin: Option<TcpListener>) -> Result<(), OpenError> {
        let control = self;
        control.first_run().map_err(|problem| OpenError::FirstRun(Box::new(problem)))?;
        control.end_lost_jobs().map_err(|problem| OpenError::FirstRun(Box::new(problem)))?;
        control.settle_resources().map_err(|problem| OpenError::FirstRun(Box::new(problem)))?;
        control.place.take_over()?;
        control.start_reconcilers();
        control.spawn(Arc::clone(control).look_after_resources());
        control.spawn(Arc::clone(control).look_after_hosts());
        control.spawn(Arc::clone(control).look_after_lost_hosts());
        control.spawn(Arc::clone(control).look_after_artifacts());
        control.spawn(Arc::clone(control).look_after_host_gateways());
        control.spawn(Arc::clone(control).look_after_starts());
        control.spawn(Arc::clone(control).look_after_proofs());
        control.spawn(Arc::clone(control).look_after_calls());
        control.spawn(Arc::clone(control).look_after_readiness());
        control.spawn(Arc::clone(control).look_after_rooms());
        control.start_exporting();
        control.spawn(Arc::clone(control).keep_charts());
        control.spawn(Arc::clone(control).keep_watching());
        control.spawn(Arc::clone(control).keep_telling());
        control.spawn(Arc::clone(control).look_after_certificates());
        control.spawn(Arc::clone(control).listen_for_versions());
        if let Some(listener) = admin {
            control.spawn(control.gateway.admin().serve(listener, control.stop.clone()));
        }
        Ok(())
    }

    /// Returns the journal and its world.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Returns the live instances and gateways.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Ends reconciling, builds and gateways, within a few seconds. Instances go on running.
    pub async fn close(&self) {
        // While the rest ends, clients with kept connections hear that these end as well.
        self.gateway.begin_to_leave();
        self.stop.cancel();
        self.builds.cancel_all();
        self.tasks.close();
        if tokio::time::timeout(CLOSE_GRACE, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                tasks = self.tasks.len(),
                "builds or changes were cut off; the next server finds them"
            );
        }
        self.gateway.shutdown(GATEWAY_GRACE).await;
    }

    /// Runs something under this control's supervision; it must end when the control closes.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

async fn admin_listener(address: Option<SocketAddr>) -> Result<Option<TcpListener>, OpenError> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|source| OpenError::Admin { address, source })?;
    Ok(Some(listener))
}

/// A problem that is a fault of ours or of the machine, not of the person who asked.
fn internal(error: impl std::fmt::Display) -> Problem {
    Problem::new(ErrorCode::Internal, error.to_string())
}

/// A file of ours that cannot be written. A disk that is full is no fault of ours, and passes.
fn storage_problem(what: &str, error: &std::io::Error) -> Problem {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    if matches!(error.kind(), StorageFull | QuotaExceeded) {
        return Problem::new(ErrorCode::Unavailable, format!("nothing was changed, {what}: no space left"))
            .with_hint("free space on the disk of the data folder (`lockstep store gc --dry-run` shows what could go), then try again");
    }
    Problem::new(ErrorCode::Internal, format!("{what}: {error}"))
        .with_hint("check that the user who runs Lockstep owns the data folder")
}

fn not_found(what: impl std::fmt::Display, hint: &str) -> Problem {
    Problem::new(ErrorCode::NotFound, what.to_string()).with_hint(hint)
}

/// Who Lockstep itself is in the journal.
fn ourselves() -> Actor {
    Actor::lockstep()
}

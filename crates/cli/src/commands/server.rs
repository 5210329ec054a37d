//! `lockstep server`: the program that everything else asks.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_domain::BuildVariable;
use lockstep_domain::instance_ports::PortRange;
use lockstep_gateway::AccessFields;
use lockstep_gateway::spans::Ratio;
use lockstep_server::{
    Adopt, ApiToken, Exported, GatewayListening, GroupChoice, LargestContract, OpenError, Ready,
    ServerConfig, ServerError, UserChoice,
};

use crate::context::Globals;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::log;
use crate::open_files::{self, Given};
use crate::output::Output;
use crate::own_token;
use crate::parse::duration;
use crate::parse::seeing::{self, Lines, LogTarget, SpanArgs};
use crate::secret;

/// How long threads that are in the middle of something may take at the very end: a write to the disk, for example.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// Runs the server.
///
/// It keeps the journal, builds versions, starts and watches instances, and runs the gateway of each environment inside
/// the same process. It needs no other software. When it ends, however it ends, instances go on serving; started again,
/// it adopts them. It demands a token of its callers. Without one that is given it makes its own, in its data folder, which
/// commands of the same user on the same machine find by themselves.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep server
  lockstep server --data /var/lib/lockstep --listen 127.0.0.1:8470
  lockstep server --journal-key /etc/lockstep/journal.key
  lockstep server --token-file /etc/lockstep.token --listen 0.0.0.0:8470 --public-host lockstep.example.org
  lockstep server --build-variable NPM_TOKEN=web,shop --build-variable HTTP_PROXY")]
pub(crate) struct Args {
    /// Where everything is kept [default: ~/.local/share/lockstep].
    #[arg(long, value_name = "DIR", env = "LOCKSTEP_DATA")]
    data: Option<PathBuf>,
    /// The file with the key of the journal, when it is to lie elsewhere than in the data folder: move it there before. A systemd
    /// credential `lockstep-journal-key` is taken as well [default: journal.key in the data folder].
    #[arg(long, value_name = "FILE")]
    journal_key: Option<PathBuf>,
    /// Where it listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8470")]
    listen: SocketAddr,
    /// The address on which the gateways of environments listen.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    gateway_address: IpAddr,
    /// The port of the first environment's gateway; the others follow, and 0 takes free ones [default: 8500].
    #[arg(long, value_name = "PORT")]
    first_gateway_port: Option<u16>,
    /// Where the ports of instances are taken from, unless an environment says otherwise.
    #[arg(long, value_name = "FIRST-LAST", default_value_t = PortRange::USUAL)]
    instance_ports: PortRange,
    /// Where the control groups of instances are made: a folder of control groups (version 2) that nobody else works with. Without it
    /// one is used that systemd has handed over (`Delegate=yes` and `DelegateSubgroup=server`), or, of a server that no control group
    /// limits, one of the whole host.
    #[arg(long, value_name = "DIR")]
    control_group: Option<PathBuf>,
    /// Whom services run as where the server is root: each as a user of its `own`, or all as the `server`, who can do everything to
    /// each other [default: own; in a data folder of a release that did not know this, server].
    #[arg(long, value_name = "WHOSE")]
    service_users: Option<ServiceUsers>,
    /// Where its gateways answer /-/health, /-/ready and /-/metrics: an address, or a port on loopback.
    #[arg(long, value_name = "ADDRESS", value_parser = seeing::admin_address)]
    gateway_admin_address: Option<SocketAddr>,
    /// Log each request to its gateways as a line of JSON to this file, which is kept to 64 MiB and its former one; `-` for standard error.
    #[arg(long, value_name = "FILE")]
    gateway_access_log: Option<LogTarget>,
    /// Log the queries of requests as well.
    #[arg(long, requires = "gateway_access_log")]
    gateway_access_log_queries: bool,
    /// The share of requests that is logged, 10% or 0.1; those that failed or were slow all the same, and lines say the share (`rate`).
    #[arg(long, value_name = "SHARE", requires = "gateway_access_log")]
    gateway_access_log_sample: Option<Ratio>,
    /// From how long on a request is logged whatever the share [default: 1s].
    #[arg(long, value_name = "DURATION", requires = "gateway_access_log", value_parser = duration::milliseconds)]
    gateway_access_log_slower_than: Option<u64>,
    /// The fields that lines have, in this order, such as time,route,status,why [default: all].
    #[arg(long, value_name = "FIELDS", requires = "gateway_access_log")]
    gateway_access_log_fields: Option<AccessFields>,
    #[command(flatten)]
    spans: SpanArgs,
    /// Send its metrics, with those of the gateways inside it, to the collector of --otlp-endpoint as well, each minute, or as often as
    /// OTEL_METRIC_EXPORT_INTERVAL says (milliseconds); the same as OTEL_METRICS_EXPORTER=otlp.
    #[arg(long)]
    otlp_metrics: bool,
    /// Send what instances write to their logs to the collector of --otlp-endpoint as well; the same as OTEL_LOGS_EXPORTER=otlp.
    #[arg(long)]
    otlp_logs: bool,
    /// Send what instances write to their logs to this Loki, such as http://127.0.0.1:3100. LOCKSTEP_LOKI_HEADERS has what it is to be
    /// sent (X-Scope-OrgID=shop,Authorization=Basic%20...), LOCKSTEP_LOKI_CERTIFICATE a file with its authority.
    #[arg(long, value_name = "URL")]
    loki: Option<String>,
    /// Ask this Prometheus, which collects from this server, for charts (`lockstep metrics history`) in the place of the own history, such
    /// as http://127.0.0.1:9090. LOCKSTEP_PROMETHEUS_HEADERS has what it is to be sent (Authorization=Bearer%20...),
    /// LOCKSTEP_PROMETHEUS_CERTIFICATE a file with its authority, LOCKSTEP_PROMETHEUS_LABELS which of its series are of this server
    /// (job=lockstep,cluster=eu), where it collects from several.
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// Demand no token: every program on this host can ask for anything. Only on loopback.
    #[arg(long, conflicts_with = "token_file")]
    no_token: bool,
    /// A name by which the server is asked, beside loopback and the address it listens on.
    #[arg(long, value_name = "HOST", env = "LOCKSTEP_PUBLIC_HOST", value_delimiter = ',')]
    public_host: Vec<String>,
    /// A variable of this environment that the builds of services may have, or of all services without `=`.
    #[arg(long, value_name = "NAME=SERVICE,...", env = "LOCKSTEP_BUILD_VARIABLES", value_delimiter = ' ')]
    build_variable: Vec<BuildVariable>,
    /// Take contracts of up to this many MiB from releases: to read one takes some 20 times its size in memory.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    largest_contract: u16,
    /// Take this data folder for the one that counts, though it is a copy, or its journal is an older one: whoever says so
    /// knows that the other is gone. Instances of a copy are started anew; those of the other folder are not touched.
    #[arg(long)]
    adopt: bool,
}

/// Whom services run as.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ServiceUsers {
    /// Each as a user of its own.
    Own,
    /// All as the user of the server.
    Server,
}

impl From<ServiceUsers> for UserChoice {
    fn from(choice: ServiceUsers) -> Self {
        match choice {
            ServiceUsers::Own => Self::Own,
            ServiceUsers::Server => Self::OfServer,
        }
    }
}

impl Args {
    pub(crate) fn run(self, globals: &Globals, out: &Output) -> Result<(), Failure> {
        secret::keep_to_ourselves(globals.token_file.as_deref())?;
        let log = log::start(globals.verbose);
        let token = match secret::token(globals.token_file.as_deref(), out)? {
            Some(_) if self.no_token => {
                return Err(Failure::usage("a token is given, and --no-token says that none is wanted"));
            }
            Some(token) => ApiToken::Given(token),
            None if self.no_token => ApiToken::Nobodys,
            None => ApiToken::Own,
        };
        let config = self.config(token, open_files::raise())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| Failure::new(Exit::Internal, "the system gives no threads").caused_by(&error))?;
        let data = config.data.clone();
        let ready = |ready: Ready| {
            if ready.own_token.is_some() {
                own_token::note(&data, ready.address);
            }
            said(&ready, &data).iter().for_each(|line| log.say(line));
        };
        let ended = runtime.block_on(lockstep_server::run(config, ready));
        // What does not end now does not end the journal: its appends are whole or not there.
        runtime.shutdown_timeout(LAST_GRACE);
        ended.map_err(|error| failure(&error))
    }

    fn config(self, token: ApiToken, files: Given) -> Result<ServerConfig, Failure> {
        let data = self.data.or_else(default_data).ok_or_else(|| {
            Failure::usage("there is no home folder to keep data in").hint("lockstep server --data DIR")
        })?;
        let program = std::env::current_exe().map_err(|error| {
            Failure::new(Exit::Internal, "the path of this program cannot be found").caused_by(&error)
        })?;
        let lines = Lines {
            queries: self.gateway_access_log_queries,
            sample: self.gateway_access_log_sample,
            slow_ms: self.gateway_access_log_slower_than,
            fields: self.gateway_access_log_fields,
        };
        let access_log = self.gateway_access_log.map(|target| target.config(lines));
        let exported = Exported {
            metrics: self.spans.metrics(self.otlp_metrics)?,
            logs: self.spans.logs(self.otlp_logs, self.loki.as_deref())?,
        };
        let prometheus = self.prometheus.as_deref().map(seeing::prometheus).transpose()?;
        let spans = self.spans.config()?;
        let helper = |role| files.start(program.clone().into_os_string(), role);
        let usual = ServerConfig::new(data, self.listen, helper("supervisor"), helper("guard"));
        Ok(ServerConfig {
            token,
            journal_key: secret::journal_key(self.journal_key),
            public_hosts: self.public_host,
            adopt: if self.adopt { Adopt::Yes } else { Adopt::No },
            build_variables: self.build_variable.into_iter().collect(),
            largest_contract: LargestContract::mib(self.largest_contract),
            instance_ports: self.instance_ports,
            users: self.service_users.map_or(UserChoice::Kept, Into::into),
            groups: self.control_group.map_or(GroupChoice::Found, GroupChoice::In),
            gateway_address: self.gateway_address,
            gateway_admin: self.gateway_admin_address,
            gateway_access_log: access_log,
            gateway_spans: spans,
            exported,
            prometheus,
            first_gateway_port: self.first_gateway_port.unwrap_or(usual.first_gateway_port),
            ..usual
        })
    }
}

/// Says that everything listens, or what does not.
fn said(ready: &Ready, data: &Path) -> Vec<String> {
    let mut lines =
        vec![format!("lockstep server listens on http://{}, data in {}", ready.address, data.display())];
    lines.extend(ready.gateways.iter().map(gateway));
    let token = |file: &PathBuf| {
        let file = file.display();
        format!("  its token is in {file}; commands of this user on this machine find it by themselves")
    };
    lines.extend(ready.own_token.as_ref().map(token));
    lines
}

fn gateway(gateway: &GatewayListening) -> String {
    let GatewayListening { environment, address, problem, .. } = gateway;
    match problem {
        None => format!("  the gateway of {environment} listens on http://{address}"),
        Some(why) => format!(
            "warning: the gateway of {environment} does not listen on {address}: {why}; it is tried again, or choose another port: \
             lockstep environment set {environment} --gateway-port PORT"
        ),
    }
}

/// Returns the folder that the XDG rules give to data of this user.
pub(super) fn default_data() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let base = folder("XDG_DATA_HOME").or_else(|| Some(folder("HOME")?.join(".local/share")));
    base.map(|base| base.join("lockstep"))
}

fn failure(error: &ServerError) -> Failure {
    let exit = match (error, error.journal()) {
        (_, Some(journal)) => Exit::of_journal(journal),
        (
            ServerError::TokenNeeded(_)
            | ServerError::TokenNeededBehind(_)
            | ServerError::WeakToken
            | ServerError::PublicHost(_),
            _,
        ) => Exit::Usage,
        (ServerError::Listen { .. } | ServerError::Open(OpenError::Admin { .. }), _) => Exit::Conflict,
        (ServerError::Open(OpenError::Place(_)), _) => Exit::Refused,
        (ServerError::Open(_) | ServerError::Serve(_), _) => Exit::Internal,
    };
    let failure = Failure::new(exit, error.to_string());
    let failure = match std::error::Error::source(error) {
        Some(source) => failure.caused_by(source),
        None => failure,
    };
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

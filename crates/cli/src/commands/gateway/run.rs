//! `lockstep gateway run`: a gateway as a process of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstep_domain::clients_at::OutsideAddresses;
use lockstep_domain::targets::LookupBounds;
use lockstep_domain::{EnvironmentName, HostName, ZoneName};
use lockstep_gateway::follow::{Server, TableStore};
use lockstep_gateway::spans::Ratio;
use lockstep_gateway::standalone::{
    self, BetweenConfig, CertificateFiles, Ended, StandaloneConfig, StandaloneError, TableSource,
};
use lockstep_gateway::{AccessFields, Clients, GatewayConfig, Lookups, RECENT, VisitKey};

use super::table_file;
use crate::context::Globals;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::log;
use crate::output::Output;
use crate::parse::duration;
use crate::parse::seeing::{self, Lines, LogTarget, SpanArgs};
use crate::secret;

/// Where it listens when nothing is said.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Runs a gateway alone.
///
/// It follows a server for one environment and keeps the last route table on disk, so that it goes on serving, and even
/// starts, while the server is gone. It needs a key of its own: lockstep gateway add. A gateway on a host over SSH needs none: it reaches
/// the server by the socket of that host (--server unix:PATH), which says whose it is. With --table it serves a file, read
/// again when it changes, and needs neither server nor key.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep gateway run --env production --key-file edge-1.key --listen 0.0.0.0:80 --data /var/lib/lockstep-gateway
  lockstep gateway run --server https://lockstep.example.org --env production --key-file edge-1.key --data tables
  lockstep gateway run --server unix:/home/deploy/.local/share/lockstep/host/way/socket --env production --data tables
  lockstep gateway run --table routes.json --listen 127.0.0.1:8080
  lockstep gateway run --table routes.json --listen-tls 0.0.0.0:8443 --certificate shop.pem --certificate-key shop.key
  lockstep gateway run --env production --key-file edge-1.key --data tables --admin-address 9900 --access-log access.log --lame-duck 10s
  lockstep gateway run --table routes.json --otlp-endpoint http://127.0.0.1:4318 --otlp-sample 1% --otlp-failures
  lockstep gateway run --env production --key-file edge-1.key --listen 0.0.0.0:80 --data /var/lib/lockstep-gateway --takeover")]
pub(crate) struct RunArgs {
    /// The environment it serves.
    #[arg(long = "env", value_name = "ENV", required_unless_present = "table")]
    environment: Option<EnvironmentName>,
    /// Where the last route tables are kept.
    #[arg(long, value_name = "DIR", required_unless_present = "table")]
    data: Option<PathBuf>,
    /// The file with its key; without it, the systemd credential `lockstep-gateway-key` is taken.
    #[arg(long, value_name = "FILE", env = "LOCKSTEP_GATEWAY_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Serve this route table, without a server.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["environment", "data"])]
    table: Option<PathBuf>,
    /// Where it listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value_t = DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// Where it listens for clients who come by https; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    listen_tls: Option<SocketAddr>,
    /// The port by which clients come to --listen-tls, where redirects are to name another one than the environment's https port.
    #[arg(long, value_name = "PORT", requires = "listen_tls", value_parser = clap::value_parser!(u16).range(1..))]
    https_port: Option<u16>,
    /// The certificate that these are shown, a PEM file with its chain behind it; read again when it changes.
    #[arg(long, value_name = "FILE", requires = "listen_tls")]
    certificate: Option<PathBuf>,
    /// The private key of the certificate, where it is not in the same file.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    certificate_key: Option<PathBuf>,
    /// A folder of certificates, NAME.pem with NAME.key; clients get the one for the host they name. Read again when it changes.
    #[arg(long, value_name = "DIR", requires = "listen_tls", conflicts_with = "certificate")]
    certificates: Option<PathBuf>,
    /// A file with a key that visits (`sticky = { for = "1h" }`) are signed with: 64 hexadecimal digits. The first one given signs, and all
    /// are accepted; without one, a key is made that ends with the process.
    #[arg(long = "visit-key", value_name = "FILE", requires = "table")]
    visit_keys: Vec<PathBuf>,
    /// Where it answers /-/health, /-/ready and /-/metrics, and `gateway top` and `gateway recent`: an address, or a port on loopback.
    #[arg(long, value_name = "ADDRESS", value_parser = seeing::admin_address)]
    admin_address: Option<SocketAddr>,
    /// Log each request as a line of JSON to this file, which is kept to 64 MiB and its former one; `-` for standard error.
    #[arg(long, value_name = "FILE")]
    access_log: Option<LogTarget>,
    /// Log the queries of requests as well.
    #[arg(long, requires = "access_log")]
    access_log_queries: bool,
    /// The share of requests that is logged, 10% or 0.1; those that failed or were slow all the same, and lines say the share (`rate`).
    #[arg(long, value_name = "SHARE", requires = "access_log")]
    access_log_sample: Option<Ratio>,
    /// From how long on a request is logged whatever the share [default: 1s].
    #[arg(long, value_name = "DURATION", requires = "access_log", value_parser = duration::milliseconds)]
    access_log_slower_than: Option<u64>,
    /// The fields that lines have, in this order, such as time,route,status,why [default: all].
    #[arg(long, value_name = "FIELDS", requires = "access_log")]
    access_log_fields: Option<AccessFields>,
    #[command(flatten)]
    spans: SpanArgs,
    /// Send its metrics to the collector of --otlp-endpoint as well, each minute, or as often as OTEL_METRIC_EXPORT_INTERVAL says
    /// (milliseconds); the same as OTEL_METRICS_EXPORTER=otlp.
    #[arg(long)]
    otlp_metrics: bool,
    /// How long it goes on after SIGTERM, not ready any more and with each answer the last one of its connection, before it takes no more clients.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds, default_value = "0s")]
    lame_duck: u64,
    /// How long clients have to finish when it ends; with --takeover also the next request of a kept connection, and WebSockets.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds, default_value = "30s")]
    grace: u64,
    /// The zone that it stands in: instances of the same zone are asked first.
    #[arg(long, value_name = "ZONE", env = "LOCKSTEP_ZONE")]
    zone: Option<ZoneName>,
    /// A name server that is asked for instances that are named by host, instead of those of the machine: an address, or an address and a port.
    #[arg(long = "resolver", value_name = "ADDRESS", value_parser = name_server)]
    resolvers: Vec<SocketAddr>,
    /// The shortest time between two lookups of a name, whatever its answer says.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds, default_value = "5s")]
    lookup_min: u64,
    /// The longest time between two lookups of a name.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds, default_value = "5m")]
    lookup_max: u64,
    /// Take loopback addresses, too, that name servers say: for those that speak of nothing but this machine.
    #[arg(long)]
    lookup_loopback: bool,
    /// The host that it stands on, where it is the gateway of a host: its instances are asked on loopback.
    #[arg(long, value_name = "HOST", conflicts_with = "table")]
    host: Option<HostName>,
    /// Where gateways of other hosts come in, who have connections to instances of this one carried; where the port is taken, at one of the next.
    #[arg(long, value_name = "ADDRESS", requires = "host")]
    between: Option<SocketAddr>,
    /// Where clients from outside come in, beside --listen; a port that somebody has is tried again, and who calls at --listen is served meanwhile.
    #[arg(long, value_name = "ADDRESS", requires = "host")]
    outside: Option<SocketAddr>,
    /// Where they come in by https, with the certificates of the environment.
    #[arg(long, value_name = "ADDRESS", requires = "outside")]
    outside_tls: Option<SocketAddr>,
    /// How long a key lives by which other gateways know it.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds, default_value = "24h")]
    key_life: u64,
    /// Take the listening sockets over from the gateway that listens at --listen, which lets its clients finish and ends. Where
    /// there is none, it starts as without.
    #[arg(long)]
    takeover: bool,
    /// The exit code when another gateway has taken over from it, for what starts it again when it ends; otherwise it ends with 0.
    #[arg(long, value_name = "CODE", default_value_t = 0)]
    exit_when_taken: u8,
}

impl RunArgs {
    pub(crate) fn run(self, globals: &Globals, out: &Output) -> Result<(), Failure> {
        let when_taken = self.exit_when_taken;
        match self.serve(globals, out)? {
            Ended::Taken if when_taken != 0 => std::process::exit(when_taken.into()),
            Ended::Taken | Ended::Told => Ok(()),
        }
    }

    fn serve(self, globals: &Globals, out: &Output) -> Result<Ended, Failure> {
        secret::keep_to_ourselves(globals.token_file.as_deref())?;
        let access_log = self.access_log.clone().map(|target| target.config(self.lines()));
        let (admin, lame_duck) = (self.admin_address, Duration::from_millis(self.lame_duck));
        let (listen_tls, certificates) = (self.listen_tls, self.certificate_files());
        let (https_port, takes_over) = (self.https_port, self.takeover);
        let grace = Duration::from_millis(self.grace);
        let (spans, metrics) = (self.spans.clone().config()?, self.spans.metrics(self.otlp_metrics)?);
        let visit_keys = self.visit_keys.iter().map(|file| visit_key(file, out)).collect::<Result<_, _>>()?;
        let (zone, lookups) = (self.zone.clone(), self.lookups()?);
        let outside = self.outside.map(|http| OutsideAddresses { http, https: self.outside_tls });
        let between = self.host.clone().map(|host| BetweenConfig { host, at: self.between, outside });
        let key_life = Duration::from_millis(self.key_life);
        let source = self.source(globals, out)?;
        let log = log::start(globals.verbose);
        let recent = admin.map_or(0, |_| RECENT);
        let usual = GatewayConfig::new(run_id());
        let gateway = GatewayConfig { access_log, recent, spans, https_port, zone, lookups, ..usual };
        let config = StandaloneConfig {
            gateway,
            source,
            lame_duck,
            grace,
            takes_over,
            admin,
            metrics,
            between,
            key_life,
            listen_tls,
            certificates,
            visit_keys,
        };
        standalone::run(config, |listening| {
            for (environment, address, clients) in &listening.environments {
                let scheme = match clients {
                    Clients::Plain => "http",
                    Clients::Secure => "https",
                    Clients::Tcp => "tcp",
                };
                log.say(&format!("lockstep gateway of {environment} listens on {scheme}://{address}"));
            }
            if let Some(address) = listening.admin {
                log.say(&format!(
                    "its health, readiness, metrics and last requests are at http://{address}/-/"
                ));
            }
        })
        .map_err(|error| failure(&error))
    }

    fn lines(&self) -> Lines {
        Lines {
            queries: self.access_log_queries,
            sample: self.access_log_sample,
            slow_ms: self.access_log_slower_than,
            fields: self.access_log_fields.clone(),
        }
    }

    fn lookups(&self) -> Result<Lookups, Failure> {
        let bounds = LookupBounds { least_ms: self.lookup_min, most_ms: self.lookup_max };
        if bounds.least_ms == 0 || bounds.least_ms > bounds.most_ms {
            return Err(Failure::usage("--lookup-min is more than nothing and at most --lookup-max"));
        }
        Ok(Lookups { servers: self.resolvers.clone(), bounds, loopback: self.lookup_loopback, hosts: None })
    }

    fn certificate_files(&self) -> Option<CertificateFiles> {
        let pair = |certificate| CertificateFiles::Pair { certificate, key: self.certificate_key.clone() };
        let folder = || self.certificates.clone().map(CertificateFiles::Folder);
        self.certificate.clone().map(pair).or_else(folder)
    }

    fn source(self, globals: &Globals, out: &Output) -> Result<TableSource, Failure> {
        let listen = self.listen;
        match (self.table, self.environment, self.data) {
            (Some(path), ..) => Ok(TableSource::File { path, listen }),
            (None, Some(environment), Some(data)) => {
                let file = self.key_file.or_else(|| secret::credential("lockstep-gateway-key"));
                if file.is_none() && globals.server.socket().is_none() {
                    return Err(no_key(&environment));
                }
                let key = file.map(|file| secret::from_file(&file, "key", out)).transpose()?;
                let server = Server::new(globals.reach(key.as_ref())?);
                let environments = vec![(environment, listen)];
                Ok(TableSource::Server { server, store: TableStore::new(data), environments })
            }
            _ => Err(Failure::usage("a gateway needs --env and --data, or --table")),
        }
    }
}

fn visit_key(file: &Path, out: &Output) -> Result<VisitKey, Failure> {
    let text = secret::from_file(file, "key", out)?;
    let bad = || Failure::usage(format!("`{}` has no key that visits are signed with", file.display()));
    let hint = "write 64 hexadecimal digits into it: openssl rand -hex 32";
    VisitKey::parse(text.reveal()).ok_or_else(|| bad().hint(hint))
}

/// Reads where a name server is; they listen at port 53.
fn name_server(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse().or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, 53)));
    with_port.map_err(|_| "write an IP address, or one with a port, such as 127.0.0.1:8600".to_owned())
}

fn no_key(environment: &EnvironmentName) -> Failure {
    Failure::usage("a gateway needs a key of its own, or the server would not wait for it").hint(format!(
        "lockstep gateway add edge-1 --env {environment} --key-file edge-1.key, then --key-file edge-1.key"
    ))
}

/// Identifies this run: counters begin at 0 with each, so no two may have the same id.
fn run_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}-{}", std::process::id(), since.as_nanos())
}

fn failure(error: &StandaloneError) -> Failure {
    if let StandaloneError::Store(error) = error {
        return table_file::failure(error);
    }
    let exit = match error {
        StandaloneError::Process(_) | StandaloneError::Start(_) => Exit::Internal,
        StandaloneError::Listen(_) | StandaloneError::Admin { .. } | StandaloneError::Takeover(_) => {
            Exit::Conflict
        }
        StandaloneError::Store(_) | StandaloneError::Apply(_) | StandaloneError::Certificates(_) => {
            Exit::Usage
        }
    };
    let failure = Failure::new(exit, error.to_string());
    match std::error::Error::source(error) {
        Some(source) => failure.caused_by(source),
        None => failure,
    }
}

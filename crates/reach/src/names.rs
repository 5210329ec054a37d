//! The addresses of a host by its name, and how long they hold: the file of hosts of this machine first, then its name servers.
//!
//! Nothing is kept but how the machine is set up, and that is read again when it changes. Invariant: an answer comes within [`LIMIT`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::{TokioResolver, system_conf};
use thiserror::Error;
use tokio::time::timeout;

/// How long an answer may take, with all name servers and all tries.
const LIMIT: Duration = Duration::from_secs(10);
/// How long one try may take, where the machine does not say.
const TRY_LIMIT: Duration = Duration::from_secs(2);
/// Longest file of hosts that is read.
const MAX_HOSTS: u64 = 1 << 20;

/// Who is asked for the addresses of names.
#[derive(Debug)]
pub struct Names {
    /// Name servers; those of the machine where there are none.
    servers: Vec<SocketAddr>,
    hosts: PathBuf,
    /// The one that asks, and the file that it was made of.
    made: Mutex<Option<(Option<Stamp>, TokioResolver)>>,
}

/// Tells one state of a file from the next.
type Stamp = (u64, i64, i64, u64);

/// Addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// In the order of the answer, each as often as it stands there.
    pub ips: Vec<IpAddr>,
    /// How long they hold; nothing where nobody says, as in a file.
    pub ttl: Duration,
    /// Whether this machine itself says so, and no name server.
    pub is_of_machine: bool,
}

/// Why there are no addresses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NamesError {
    /// Nobody has this name.
    #[error("there is no such name (NXDOMAIN)")]
    NoName,
    /// The name is there.
    #[error("the name has no address")]
    NoAddress,
    /// Nobody could say.
    #[error("{0}")]
    Failed(String),
}

impl Names {
    /// Asks as the machine is set up, or these name servers where there are any.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, hosts: PathBuf::from("/etc/hosts"), made: Mutex::default() }
    }

    /// Looks in another file than `/etc/hosts`.
    #[must_use]
    pub fn with_hosts(self, hosts: PathBuf) -> Self {
        Self { hosts, ..self }
    }

    /// Finds the addresses of a name.
    ///
    /// # Errors
    /// When it has none, or nobody can say.
    pub async fn addresses(&self, host: &str) -> Result<Addresses, NamesError> {
        if let Some(ips) = self.of_machine(host) {
            return Ok(Addresses { ips, ttl: Duration::ZERO, is_of_machine: true });
        }
        let resolver = self
            .resolver()
            .map_err(|error| NamesError::Failed(format!("how names are looked up: {error}")))?;
        let late = || NamesError::Failed(format!("no name server answered within {} s", LIMIT.as_secs()));
        let found = timeout(LIMIT, resolver.lookup_ip(host)).await.map_err(|_| late())?;
        let found = found.map_err(|error| words(&error))?;
        let ttl = found.valid_until().saturating_duration_since(Instant::now());
        let ips: Vec<IpAddr> = found.iter().collect();
        if ips.is_empty() {
            Err(NamesError::NoAddress)
        } else {
            Ok(Addresses { ips, ttl, is_of_machine: false })
        }
    }

    /// Looks in the file of hosts; `localhost` is this machine in any case (RFC 6761).
    fn of_machine(&self, host: &str) -> Option<Vec<IpAddr>> {
        let host = host.trim_end_matches('.');
        let in_file = read(&self.hosts).map(|text| in_hosts(&text, host)).unwrap_or_default();
        if !in_file.is_empty() {
            return Some(in_file);
        }
        let is_local = host == "localhost" || host.ends_with(".localhost");
        is_local.then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
    }

    /// Returns the one that asks, made anew where the machine is set up otherwise.
    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let now = if self.servers.is_empty() { stamp(Path::new("/etc/resolv.conf")) } else { None };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, resolver)) = made.as_ref().filter(|(before, _)| *before == now) {
            return Ok(resolver.clone());
        }
        let resolver = self.make()?;
        *made = Some((now, resolver.clone()));
        Ok(resolver)
    }

    fn make(&self) -> Result<TokioResolver, NetError> {
        let (config, mut options) = match self.servers.is_empty() {
            true => system_conf::read_system_conf()?,
            false => {
                let mut options = ResolverOpts::default();
                options.timeout = TRY_LIMIT;
                let servers = self.servers.iter().map(|server| of_server(*server));
                (ResolverConfig::from_parts(None, Vec::new(), servers.collect()), options)
            }
        };
        options.cache_size = 0;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build()
    }
}

fn of_server(server: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(server.ip(), true, connections)
}

fn words(error: &NetError) -> NamesError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => NamesError::NoName,
            ResponseCode::NoError => NamesError::NoAddress,
            other => NamesError::Failed(format!("the name server says: {other}")),
        },
        NetError::Dns(DnsError::ResponseCode(ResponseCode::NXDomain)) => NamesError::NoName,
        NetError::Dns(DnsError::ResponseCode(other)) => {
            NamesError::Failed(format!("the name server says: {other}"))
        }
        NetError::Timeout => NamesError::Failed("no name server answers".to_owned()),
        other => NamesError::Failed(format!("no name server answers: {other}")),
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.ino(), found.mtime(), found.mtime_nsec(), found.len()))
}

fn read(path: &Path) -> io::Result<String> {
    if std::fs::metadata(path)?.len() > MAX_HOSTS {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

/// Finds a name in the text of a file of hosts (hosts(5)).
fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let of_line = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let ip: IpAddr = words.next()?.parse().ok()?;
        words.any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(host)).then_some(ip)
    };
    text.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_hosts_is_read_as_it_is_written() {
        let text = "127.0.0.1 localhost # db\n# 10.0.0.9 db\n10.0.0.1\tDB.internal db\n\n::5 db\nnonsense db\nfe80::1%eth0 db\n";
        let expected: Vec<IpAddr> = ["10.0.0.1", "::5"].iter().map(|ip| ip.parse().unwrap()).collect();
        assert_eq!(in_hosts(text, "db"), expected);
        assert_eq!(in_hosts(text, "db.internal"), expected[..1]);
        assert!(in_hosts(text, "d").is_empty());
    }

    #[tokio::test]
    async fn the_machine_is_asked_first_and_its_file_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts");
        // Nobody answers there.
        let names = Names::new(vec![SocketAddr::from(([127, 0, 0, 1], 1))]).with_hosts(hosts.clone());
        let local = names.addresses("localhost").await.unwrap();
        assert!(local.is_of_machine && local.ips.len() == 2);
        std::fs::write(&hosts, "10.0.0.1 db\n").unwrap();
        assert_eq!(names.addresses("db").await.unwrap().ips.len(), 1);
        std::fs::write(&hosts, "10.0.0.1 db\n10.0.0.2 db\n").unwrap();
        assert_eq!(names.addresses("db.").await.unwrap().ips.len(), 2);
        assert!(matches!(names.addresses("other").await, Err(NamesError::Failed(_))));
    }
}

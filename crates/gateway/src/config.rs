//! What a gateway is started with.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use lockstep_domain::ZoneName;
use lockstep_domain::targets::LookupBounds;

use crate::access::AccessLogConfig;
use crate::spans::SpansConfig;

/// What a gateway is started with.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Identifies this run of this process in receipts; another run must have another id, since counters begin at 0.
    pub id: String,
    /// How many worker threads serve requests, each with its own listeners and connections.
    pub workers: NonZeroUsize,
    /// How long it waits for what.
    pub timeouts: Timeouts,
    /// Where requests are logged; nowhere when left out.
    pub access_log: Option<AccessLogConfig>,
    /// How many of the last requests are kept for whoever asks at the admin address; 0 keeps none.
    pub recent: usize,
    /// Where spans of requests go; nowhere when left out.
    pub spans: Option<SpansConfig>,
    /// The port by which clients come to it by https, where that is another one than tables say.
    pub https_port: Option<u16>,
    /// Where it stands: instances of the same zone are preferred.
    pub zone: Option<ZoneName>,
    /// How names of instances are looked up.
    pub lookups: Lookups,
}

/// How names of instances are looked up.
#[derive(Debug, Clone, Default)]
pub struct Lookups {
    /// The name servers that are asked; those of the machine when there are none.
    pub servers: Vec<SocketAddr>,
    /// How soon and how late a name is looked up again.
    pub bounds: LookupBounds,
    /// Whether name servers may say loopback addresses: only where they speak of nothing but this machine.
    pub loopback: bool,
    /// The file of hosts, where it is another than `/etc/hosts`.
    pub hosts: Option<PathBuf>,
}

/// How many of the last requests a gateway keeps that has an admin address: some 6 MB when all are as long as can be.
pub const RECENT: usize = 10_000;

impl GatewayConfig {
    /// Makes a configuration with one worker per core and the default timeouts.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        let workers = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            id: id.into(),
            workers,
            timeouts: Timeouts::default(),
            access_log: None,
            recent: 0,
            spans: None,
            https_port: None,
            zone: None,
            lookups: Lookups::default(),
        }
    }
}

/// How long a gateway waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// For a connection to an instance.
    pub connect: Duration,
    /// From the end of a request to the head of its answer.
    pub answer: Duration,
    /// Between two pieces of a body in either direction.
    pub stall: Duration,
    /// For a PROXY header and a handshake of TLS, together.
    pub handshake: Duration,
    /// For the next request on a connection of a client.
    pub client_idle: Duration,
    /// For the next request on a connection to an instance. Node.js closes idle connections after 5 s, so less than that.
    pub upstream_idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            connect: Duration::from_secs(3),
            answer: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            handshake: Duration::from_secs(10),
            client_idle: Duration::from_secs(75),
            upstream_idle: Duration::from_secs(4),
        }
    }
}

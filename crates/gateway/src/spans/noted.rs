//! What is noted of a request or a connection until its span is written.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::priority::Priority;
use lockstep_domain::{EnvironmentName, InstanceId, ServiceName};

use crate::counts::Counts;
use crate::grpc::GrpcStatus;
use crate::injection::Met;
use crate::instance::Instance;
use crate::policy::{Hedged, RetryCause};
use crate::recent::Chosen;
use crate::report::End;
use crate::seat::Seat;
use crate::trace::TraceContext;

/// Longest text of a request that is noted.
const MAX_TEXT: usize = 2_048;

/// A request as it came, and where it stands in its trace.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Its own span.
    pub(crate) span: TraceContext,
    /// The span of whoever sent it.
    pub(crate) parent: Option<u64>,
    /// The span of asking the first instance.
    pub(crate) first: u64,
    pub(crate) method: String,
    pub(crate) host: String,
    /// Without the token of an instance.
    pub(crate) path: String,
    /// With its question mark; empty unless spans have it.
    pub(crate) query: String,
    /// The path for the instance, where it is another one.
    pub(crate) sent: Option<String>,
    pub(crate) minor: u8,
    pub(crate) is_https: bool,
    pub(crate) is_call: bool,
    /// The port of the gateway that it came to.
    pub(crate) port: u16,
    /// Whose address is at the other end of the connection.
    pub(crate) peer: Option<SocketAddr>,
    /// The client behind a proxy that is believed.
    pub(crate) client: Option<IpAddr>,
    pub(crate) caller: Option<Caller>,
    /// The instance at whose listener it was asked.
    pub(crate) point: Option<InstanceId>,
    pub(crate) baseline: u64,
    pub(crate) chosen: Option<Chosen>,
}

/// Asking one instance after the other for a request.
#[derive(Debug, Default)]
pub(crate) struct Hops(pub(super) Vec<Hop>);

/// Asking one instance.
#[derive(Debug)]
pub(crate) struct Hop {
    pub(crate) span: u64,
    pub(crate) at: Instant,
    pub(crate) instance: Arc<Instance>,
    pub(crate) arm: Arc<Counts>,
    pub(crate) by_streams: bool,
    /// When it failed, and how, or was not waited for any longer; nothing while it may still be the one that answers.
    pub(crate) failed: Option<(Instant, u16, Option<&'static str>)>,
}

/// What waits to be written.
#[derive(Debug)]
pub(crate) enum Record {
    /// A request and what was asked for it.
    Request(Box<Noted>, Hops, Ended),
    /// A connection to a service that speaks TCP.
    Connection(Connection),
}

/// How a request ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) at: SystemTime,
    pub(crate) began: Instant,
    pub(crate) took: Duration,
    pub(crate) environment: EnvironmentName,
    pub(crate) seat: Option<Arc<Seat>>,
    pub(crate) arm: Option<Arc<Counts>>,
    pub(crate) status: u16,
    pub(crate) code: Option<&'static str>,
    pub(crate) grpc: Option<GrpcStatus>,
    pub(crate) end: End,
    pub(crate) retried: Option<RetryCause>,
    pub(crate) hedged: Option<Hedged>,
    pub(crate) is_shielded: bool,
    pub(crate) is_degraded: bool,
    pub(crate) is_mirrored: bool,
    pub(crate) fault: Option<Met>,
    pub(crate) priority: Priority,
    pub(crate) lane: Option<String>,
}

/// A connection that is over.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) span: TraceContext,
    pub(crate) at: SystemTime,
    pub(crate) took: Duration,
    pub(crate) environment: EnvironmentName,
    pub(crate) client: SocketAddr,
    pub(crate) port: u16,
    pub(crate) name: Option<String>,
    pub(crate) service: Option<ServiceName>,
    pub(crate) arm: Option<Arc<Counts>>,
    pub(crate) instance: Option<Arc<Instance>>,
    /// The instance at whose listener it was opened.
    pub(crate) point: Option<InstanceId>,
    pub(crate) tries: u32,
    pub(crate) bytes: (u64, u64),
    pub(crate) end: &'static str,
    pub(crate) failed: bool,
}

impl Record {
    /// Returns how many spans it is.
    pub(super) fn spans(&self) -> u64 {
        match self {
            Self::Request(_, hops, _) => 1 + hops.0.len() as u64,
            Self::Connection(_) => 1,
        }
    }
}

impl Noted {
    /// Notes a text, as far as it is kept.
    pub(crate) fn text(text: &str) -> String {
        text[..text.floor_char_boundary(MAX_TEXT)].to_owned()
    }
}

impl Noted {
    /// Notes the path for the instance.
    pub(crate) fn goes(&mut self, path: &str) {
        let sent = if path.starts_with('/') { Self::text(path) } else { Self::text(&format!("/{path}")) };
        self.sent = Some(sent).filter(|sent| *sent != self.path);
    }
}

impl Hops {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, hop: Hop) {
        self.0.push(hop);
    }

    /// Notes that the instance which was waited for gave no answer that is passed on. A status of 0 is none.
    pub(crate) fn failed(&mut self, status: u16, error: Option<&'static str>) {
        if let Some(hop) = self.0.iter_mut().find(|hop| hop.failed.is_none()) {
            hop.failed = Some((Instant::now(), status, error));
        }
    }

    /// Notes that an instance is not waited for any longer: the last one that was asked, or the one before (2).
    pub(crate) fn is_left(&mut self, from_the_end: usize) {
        let place = self.0.len().checked_sub(from_the_end);
        if let Some(hop) = place.and_then(|place| self.0.get_mut(place)) {
            hop.failed.get_or_insert((Instant::now(), 0, None));
        }
    }
}

//! One worker's view of an instance: requests under way, idle connections, and whether to avoid it for a moment.
//!
//! Invariant: once [`Endpoint::retire`] returned, a lease is refused, so requests under way only get fewer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::loan::Whole;
use crate::wire::Wire;

/// Idle connections a worker keeps to one instance: more were never in use at once by a well-sized service.
const MAX_IDLE: usize = 256;
/// How long an instance is avoided after the first connection that could not be opened; doubles with each further one.
const FIRST_AVOIDANCE_MS: u64 = 100;
/// The longest avoidance: an instance that came back is found within this time.
const LONGEST_AVOIDANCE_MS: u64 = 10_000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn now_ms() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// One worker's view of an instance. Aligned so that no two workers write to one cache line.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    in_flight: AtomicU64,
    retired: AtomicBool,
    refusals: AtomicU32,
    avoid_until_ms: AtomicU64,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    wire: Wire,
    since: Instant,
}

/// The right to send one request to an instance; it counts as under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    endpoint: Arc<Endpoint>,
}

impl Lease {
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Endpoint {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            in_flight: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
            avoid_until_ms: AtomicU64::new(0),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Counts a request as under way, unless the instance has left the table.
    ///
    /// The count is raised before the flag is read, and `retire` writes the flag before anyone reads the count: so
    /// either the request sees that it must not go there, or the receipt after the change shows it.
    pub(crate) fn lease(self: &Arc<Self>) -> Option<Lease> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let lease = Lease { endpoint: Arc::clone(self) };
        if self.retired.load(Ordering::SeqCst) { None } else { Some(lease) }
    }

    /// Returns how many requests are under way.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Takes the instance out: no lease is given any more, and idle connections are closed.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        self.idle().clear();
    }

    /// Takes the instance in again after [`Self::retire`].
    pub(crate) fn revive(&self) {
        self.retired.store(false, Ordering::SeqCst);
    }

    /// Takes the connection that was used last, if it is still open and the instance sent nothing unasked.
    pub(crate) fn take_idle(&self) -> Option<Wire> {
        loop {
            let wire = self.idle().pop()?.wire;
            if wire.is_quiet() {
                return Some(wire);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, whole: Whole) {
        let mut wire = whole.into_idle();
        wire.tidy();
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE && !self.retired.load(Ordering::SeqCst) {
            idle.push(Idle { wire, since: Instant::now() });
        }
    }

    /// Closes connections that were idle for longer than `limit` or that the instance has closed.
    pub(crate) fn sweep(&self, limit: Duration) {
        self.idle().retain_mut(|idle| idle.since.elapsed() < limit && idle.wire.is_quiet());
    }

    /// Notes that a connection was opened.
    pub(crate) fn connected(&self) {
        if self.refusals.load(Ordering::Relaxed) > 0 {
            self.refusals.store(0, Ordering::Relaxed);
            self.avoid_until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that a connection could not be opened: the instance is avoided for a growing time.
    pub(crate) fn refused(&self) {
        let before = self.refusals.fetch_add(1, Ordering::Relaxed).min(16);
        let pause = (FIRST_AVOIDANCE_MS << before).min(LONGEST_AVOIDANCE_MS);
        self.avoid_until_ms.store(now_ms() + pause, Ordering::Relaxed);
    }

    /// Tells whether another instance should be preferred at this moment.
    pub(crate) fn is_avoided(&self) -> bool {
        let until = self.avoid_until_ms.load(Ordering::Relaxed);
        until > 0 && now_ms() < until
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Arc<Endpoint> {
        Arc::new(Endpoint::new(SocketAddr::from(([127, 0, 0, 1], 1))))
    }

    #[test]
    fn a_retired_instance_gives_no_lease_and_shows_those_given_before() {
        let endpoint = endpoint();
        let lease = endpoint.lease().unwrap();
        endpoint.retire();
        assert!(endpoint.lease().is_none());
        assert_eq!(endpoint.in_flight(), 1);
        drop(lease);
        assert_eq!(endpoint.in_flight(), 0);
        endpoint.revive();
        assert!(endpoint.lease().is_some());
    }

    #[test]
    fn an_instance_that_refuses_connections_is_avoided_until_one_opens() {
        let endpoint = endpoint();
        assert!(!endpoint.is_avoided());
        endpoint.refused();
        assert!(endpoint.is_avoided());
        endpoint.connected();
        assert!(!endpoint.is_avoided());
    }
}

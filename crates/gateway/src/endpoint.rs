//! One worker's way to an instance: the connections it keeps, and the right to send one request there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::http2::instance::Trunks;
use crate::instance::Instance;
use crate::loan::Whole;
use crate::moment::Moment;
use crate::wire::Wire;

/// Idle connections a worker keeps to one instance: more were never in use at once by a well-sized service.
const MAX_IDLE: usize = 256;

/// One worker's way to an instance.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) instance: Arc<Instance>,
    idle: Mutex<Vec<Idle>>,
    /// Connections that many requests share.
    pub(crate) trunks: Trunks,
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
        self.endpoint.instance.leave();
    }
}

impl Endpoint {
    pub(crate) fn new(instance: Arc<Instance>) -> Self {
        Self { instance, idle: Mutex::new(Vec::new()), trunks: Trunks::default() }
    }

    /// Counts a request as under way, unless the instance has left the table or `most` are under way.
    pub(crate) fn lease(self: &Arc<Self>, most: Option<u32>) -> Option<Lease> {
        self.instance.enter(most).then(|| Lease { endpoint: Arc::clone(self) })
    }

    /// Closes the idle connections of an instance that was retired; none is kept any more.
    pub(crate) fn clear(&self) {
        self.idle().clear();
        self.trunks.clear();
    }

    /// Takes the connection that was used last, if it is still open and the instance sent nothing unasked; and tells since
    /// when it was kept. A request that cannot be sent again wants it looked at closely.
    pub(crate) fn take_idle(&self, closely: bool) -> Option<(Wire, Instant)> {
        loop {
            let Idle { wire, since } = self.idle().pop()?;
            if wire.is_aged() {
                // Its end says nothing about how long the instance keeps connections.
                continue;
            }
            let quiet = if closely { wire.is_quiet() } else { wire.seems_quiet() };
            if quiet {
                return Some((wire, since));
            }
            self.instance.keeping.ended(since.elapsed(), Moment::now());
        }
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, whole: Whole) {
        let since = Instant::now();
        if !self.instance.keeping.is_worth_it(Moment::of(since)) || self.instance.is_for_one() {
            return;
        }
        let mut wire = whole.into_idle();
        if wire.is_aged() {
            return;
        }
        wire.empty();
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE && !self.instance.is_retired() {
            idle.push(Idle { wire, since });
        }
    }

    /// Closes connections that were idle for longer than `limit` or that the instance has closed.
    pub(crate) fn sweep(&self, limit: Duration) {
        self.trunks.sweep(Moment::now());
        let stays =
            |idle: &Idle| !idle.wire.is_aged() && idle.since.elapsed() < limit && idle.wire.is_quiet();
        self.idle().retain(stays);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::affinity::Mark;

    #[test]
    fn a_retired_instance_gives_no_lease_and_shows_those_given_before() {
        let instance = Arc::new(Instance::new(SocketAddr::from(([127, 0, 0, 1], 1)), Mark::default()));
        // Two workers.
        let views = [(); 2].map(|()| Arc::new(Endpoint::new(Arc::clone(&instance))));
        let lease = views[0].lease(None).unwrap();
        instance.retire();
        assert!(views.iter().all(|view| view.lease(None).is_none()));
        assert_eq!(instance.in_flight(), 1);
        drop(lease);
        assert_eq!(instance.in_flight(), 0);
        instance.revive();
        assert!(views[1].lease(None).is_some());
    }

    #[test]
    fn a_connection_that_has_served_for_long_enough_is_given_to_nobody() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _in_it = runtime.enter();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint =
            Endpoint::new(Arc::new(Instance::new(listener.local_addr().unwrap(), Mark::default())));
        let keep = |until: Option<Instant>| {
            let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            socket.set_nonblocking(true).unwrap();
            let mut wire = Wire::new(tokio::net::TcpStream::from_std(socket).unwrap());
            wire.until = until;
            endpoint.idle().push(Idle { wire, since: Instant::now() });
        };
        keep(None);
        keep(Some(Instant::now()));
        let (taken, _) = endpoint.take_idle(false).unwrap();
        assert_eq!(taken.until, None);
        assert!(endpoint.take_idle(false).is_none());
        keep(Some(Instant::now()));
        endpoint.sweep(Duration::from_secs(60));
        assert!(endpoint.idle().is_empty(), "and it is not held open");
    }
}

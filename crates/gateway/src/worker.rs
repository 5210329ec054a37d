//! A worker: one thread with its own runtime, on which everything about its connections happens.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::AccessLog;
use crate::config::Timeouts;
use crate::departure::Departure;
use crate::random::Random;
use crate::recent::Ring;
use crate::spans::Spans;

/// Connections of clients that a worker serves at once; more wait to be accepted. Each takes a file, about 2 KiB,
/// and while it has something to do a second file and some buffers.
pub(crate) const MAX_CONNECTIONS: usize = 16_384;

/// Connections of a worker whose handshake is under way; more are refused. Each may hold some ten KiB, and those that are slow on
/// purpose must not take the places of all clients.
const MAX_HANDSHAKES: usize = 4_096;

/// What all connections of a worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) timeouts: Timeouts,
    pub(crate) random: Random,
    pub(crate) connections: Arc<Semaphore>,
    /// Beginnings of connections that are under way.
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    /// Connections that are carried for gateways of other hosts.
    pub(crate) carried: TaskTracker,
    pub(crate) access: Option<Arc<AccessLog>>,
    /// The last requests, where somebody can ask for them.
    pub(crate) recent: Option<Ring>,
    /// Where spans go, where they go anywhere.
    pub(crate) spans: Option<Arc<Spans>>,
    /// The port of https that redirects name instead of the one of tables.
    pub(crate) https_port: Option<u16>,
    /// How what is connected ends when the gateway leaves.
    pub(crate) departure: Departure,
    runtime: Handle,
    end: CancellationToken,
}

impl Worker {
    /// Starts the thread. It ends when the worker is told to, or dropped.
    pub(crate) fn start(
        index: usize,
        timeouts: Timeouts,
        access: Option<Arc<AccessLog>>,
        recent: Option<Ring>,
        spans: Option<Arc<Spans>>,
        https_port: Option<u16>,
    ) -> io::Result<Arc<Self>> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        let end = CancellationToken::new();
        let worker = Self {
            index,
            timeouts,
            random: Random::new(index),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
            tasks: TaskTracker::new(),
            carried: TaskTracker::new(),
            access,
            recent,
            spans,
            https_port,
            departure: Departure::new(),
            runtime: runtime.handle().clone(),
            end: end.clone(),
        };
        let run = move || runtime.block_on(end.cancelled());
        thread::Builder::new().name(format!("gateway-{index}")).spawn(run)?;
        Ok(Arc::new(worker))
    }

    /// Returns how many connections of clients it serves.
    pub(crate) fn connected(&self) -> usize {
        MAX_CONNECTIONS - self.connections.available_permits()
    }

    /// Returns the runtime of the thread.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Runs a task on the worker's thread and counts it until it ends.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    /// Runs a task that carries a connection; it does not count among those of clients.
    pub(crate) fn carry(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.carried.spawn_on(task, &self.runtime);
    }

    /// Ends the thread, and with it every connection that is left.
    pub(crate) fn end(&self) {
        self.end.cancel();
    }
}

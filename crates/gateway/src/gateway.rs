//! The handle by which a program runs a gateway inside itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockstep_domain::EnvironmentName;
use lockstep_domain::certificate::TableCertificate;
use lockstep_domain::routes::{GatewayReceipt, RouteTable};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::access::AccessLog;
use crate::admin::Admin;
use crate::certificate::ServerCertificate;
use crate::config::GatewayConfig;
use crate::environment::{Applied, Environment, Place};
use crate::error::{ApplyError, ListenError, StartError};
use crate::handover::Handover;
use crate::listener;
use crate::listening::{Clients, Entrance, Listening};
use crate::names::NameBook;
use crate::recent::Ring;
use crate::spans::Spans;
use crate::synthetic;
use crate::visit::VisitKey;
use crate::worker::Worker;

/// How often idle connections to instances are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How long the last lines of the access log may take.
const LOG_FLUSH: Duration = Duration::from_secs(1);
/// How long connections that are idle wait for a request that may be on its way when nobody is listened for any more: one that is closed
/// while its client asks loses that request.
const LAST_REQUESTS: Duration = Duration::from_secs(1);
/// How long requests that are cut off may take to say so.
const CUT: Duration = Duration::from_secs(1);
/// How long the last spans may take to reach their collector.
const SPANS_FLUSH: Duration = Duration::from_secs(5);
/// However short connections may idle, looking costs.
const SHORTEST_SWEEP: Duration = Duration::from_millis(10);

/// A running gateway. Its methods may be called from any thread, inside a runtime or not, and none waits for requests.
///
/// Dropping it ends the workers and every connection; [`Gateway::shutdown`] lets requests finish.
#[derive(Debug)]
pub struct Gateway {
    id: String,
    pub(crate) workers: Vec<Arc<Worker>>,
    pub(crate) state: Arc<Mutex<State>>,
    stop: CancellationToken,
    leaving: Arc<AtomicBool>,
    access: Option<Arc<AccessLog>>,
    spans: Option<Arc<Spans>>,
    pub(crate) handover: Handover,
    pub(crate) place: Place,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) environments: BTreeMap<EnvironmentName, Arc<Environment>>,
    pub(crate) listeners: BTreeMap<(EnvironmentName, SocketAddr), Listening>,
}

impl State {
    /// Returns where clients of an environment are listened for.
    pub(crate) fn mains<'a>(
        &'a self,
        name: &'a EnvironmentName,
    ) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let of = self.listeners.iter().filter(move |((of, _), listening)| of == name && listening.is_main());
        of.map(|((_, address), _)| *address)
    }
}

pub(crate) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gateway {
    /// Starts the workers. Nothing is served before [`Gateway::listen`] and [`Gateway::apply`].
    ///
    /// # Errors
    /// When the system gives no thread or no runtime.
    pub fn start(config: GatewayConfig) -> Result<Self, StartError> {
        let GatewayConfig { id, workers, timeouts, access_log, recent, spans, https_port, zone, lookups } =
            config;
        let access = access_log.as_ref().map(AccessLog::open).transpose().map_err(StartError::AccessLog)?;
        let spans =
            spans.as_ref().map(|spans| Spans::open(spans, &id)).transpose().map_err(StartError::Spans)?;
        let start = |worker| {
            let ring = (recent > 0).then(|| Ring::new(recent.div_ceil(workers.get())));
            let started = Worker::start(worker, timeouts, access.clone(), ring, spans.clone(), https_port);
            started.map_err(|source| StartError::Worker { worker, source })
        };
        let workers: Vec<_> = (0..workers.get()).map(start).collect::<Result<_, _>>()?;
        let (state, leaving) = (Arc::default(), Arc::default());
        let (stop, handover) = (CancellationToken::new(), Handover::default());
        let names = Arc::new(NameBook::new(lookups));
        let place = Place { zone, names: Some(Arc::clone(&names)) };
        let gateway = Self { id, workers, state, stop, leaving, access, spans, handover, place };
        if let Some(first) = gateway.workers.first() {
            let sweep = sweep(Arc::clone(&gateway.state), timeouts.upstream_idle);
            first.runtime().spawn(sweep);
            first.runtime().spawn(names.tend(Arc::clone(&gateway.state)));
            first.runtime().spawn(synthetic::tend(Arc::clone(&gateway.state), gateway.workers.clone()));
        }
        Ok(gateway)
    }

    /// Returns the id that receipts carry.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Listens for requests to an environment; port 0 takes any free port. Returns the address it listens on.
    ///
    /// An environment can have several addresses. Without a table it answers 503.
    ///
    /// # Errors
    /// When the address is in use or the system refuses it.
    pub fn listen(
        &self,
        environment: &EnvironmentName,
        address: SocketAddr,
    ) -> Result<SocketAddr, ListenError> {
        self.open(environment, address, &Entrance::Main)
    }

    /// Listens for requests to an environment within TLS; port 0 takes any free port. Returns the address it listens on.
    ///
    /// Without a certificate every handshake is refused.
    ///
    /// # Errors
    /// When the address is in use or the system refuses it.
    pub fn listen_tls(
        &self,
        environment: &EnvironmentName,
        address: SocketAddr,
    ) -> Result<SocketAddr, ListenError> {
        self.open(environment, address, &Entrance::Secure)
    }

    /// Shows these certificates to clients of an environment from the next handshake on, the first to those that name no host.
    /// Connections that live keep theirs.
    ///
    /// # Errors
    /// When they cannot be used; what was shown before stays.
    pub fn certify(
        &self,
        environment: &EnvironmentName,
        certificates: Vec<(String, ServerCertificate)>,
    ) -> Result<(), ApplyError> {
        let given = self.environment(environment).tls().give(certificates);
        given.map_err(|error| ApplyError::Tls { environment: environment.clone(), why: error.to_string() })
    }

    /// Returns the certificates that clients of an environment are shown, by name.
    #[must_use]
    pub fn shown(&self, environment: &EnvironmentName) -> Vec<(String, ServerCertificate)> {
        self.environment(environment).tls().all()
    }

    /// Returns the certificates that the table of an environment names; `None` while there is no table.
    pub(crate) fn wanted_certificates(&self, environment: &EnvironmentName) -> Option<Vec<TableCertificate>> {
        let table = self.environment(environment).routes()?;
        Some(table.entry.as_ref().map(|entry| entry.certificates.clone()).unwrap_or_default())
    }

    /// Takes the keys that visits of an environment are signed with, instead of those from before: by the first is signed where its table
    /// names none, and what any of them signed is accepted.
    pub fn sign_visits(&self, environment: &EnvironmentName, keys: Vec<VisitKey>) {
        self.environment(environment).sign_visits(keys);
    }

    /// Tells whether the table of an environment names keys of visits that were not given.
    #[must_use]
    pub fn lacks_visit_keys(&self, environment: &EnvironmentName) -> bool {
        self.environment(environment).lacks_visit_keys()
    }

    fn open(
        &self,
        environment: &EnvironmentName,
        address: SocketAddr,
        entrance: &Entrance,
    ) -> Result<SocketAddr, ListenError> {
        let (actual, listening) = self.open_on_all(&self.environment(environment), address, entrance)?;
        lock(&self.state).listeners.insert((environment.clone(), actual), listening);
        self.keep_listeners(environment);
        Ok(actual)
    }

    /// Listens on an address with all workers.
    pub(crate) fn open_on_all(
        &self,
        served: &Arc<Environment>,
        address: SocketAddr,
        entrance: &Entrance,
    ) -> Result<(SocketAddr, Listening), ListenError> {
        let (stop, environment) = (self.child_of_stop()?, served.name());
        let workers = self.workers.len();
        let (actual, sockets) = match self.handover.inherited(address) {
            Some(inherited) => (address, listener::complete(environment, address, inherited, workers)?),
            None => listener::bind(environment, address, workers)?,
        };
        let mut open = Vec::with_capacity(sockets.len());
        // Of a process with more workers there are more sockets.
        for (socket, worker) in sockets.into_iter().zip(self.workers.iter().cycle()) {
            let registered = {
                let _runtime = worker.runtime().enter();
                TcpListener::from_std(socket)
            };
            let socket = registered.map(Arc::new).map_err(|source| {
                stop.cancel();
                ListenError::Bind { address: actual, environment: environment.clone(), source }
            })?;
            open.push(Arc::downgrade(&socket));
            let (served, entrance) = (Arc::clone(served), entrance.clone());
            worker.spawn(listener::accept(socket, served, Arc::clone(worker), stop.clone(), entrance));
        }
        Ok((actual, Listening { stop, entrance: entrance.clone(), sockets: open }))
    }

    /// Returns what a listener stops by; none begins when the gateway is about to end.
    pub(crate) fn child_of_stop(&self) -> Result<CancellationToken, ListenError> {
        if self.stop.is_cancelled() { Err(ListenError::ShuttingDown) } else { Ok(self.stop.child_token()) }
    }

    /// Stops listening on an address. Requests under way finish, and connections that are kept get one more answer, which says that it is
    /// the last one. Returns whether it listened.
    pub fn unlisten(&self, environment: &EnvironmentName, address: SocketAddr) -> bool {
        let listening = lock(&self.state).listeners.remove(&(environment.clone(), address));
        listening.inspect(|listening| listening.stop.cancel()).is_some()
    }

    /// Stops listening for an environment, and forgets its table and what was counted of it; requests under way finish, and connections
    /// that are kept get one more answer.
    pub fn forget(&self, environment: &EnvironmentName) {
        let mut state = lock(&self.state);
        state.listeners.retain(|(of, _), listening| {
            let stays = of != environment;
            if !stays {
                listening.stop.cancel();
            }
            stays
        });
        state.environments.remove(environment);
    }

    /// Returns where the gateway listens for clients.
    #[must_use]
    pub fn listening(&self) -> Vec<(EnvironmentName, SocketAddr)> {
        let state = lock(&self.state);
        let mains = state.listeners.iter().filter(|(_, listening)| listening.is_main());
        mains.map(|(place, _)| place.clone()).collect()
    }

    /// Returns where the gateway listens for clients, and how they come there.
    #[must_use]
    pub fn listening_to(&self) -> Vec<(EnvironmentName, SocketAddr, Clients)> {
        let state = lock(&self.state);
        let all = state.listeners.iter();
        all.filter_map(|((name, address), it)| Some((name.clone(), *address, it.clients()?))).collect()
    }

    /// Puts a table in place. When this returns, every worker uses it for its next request, and a receipt shows every
    /// request that still is under way at an instance the table does not name.
    ///
    /// # Errors
    /// When the table has a newer format or contradicts itself; the table that was served stays.
    pub fn apply(&self, table: RouteTable) -> Result<Applied, ApplyError> {
        let environment = table.environment.clone();
        let applied = self.environment(&environment).apply(table)?;
        self.keep_listeners(&environment);
        if let Some(names) = &self.place.names {
            names.look_again();
        }
        Ok(applied)
    }

    /// Looks up the names of a table that are not known yet, so that its first request finds an instance. What is not answered within
    /// 2 seconds is not waited for: it is looked up again and again once the table is served.
    pub async fn look_up(&self, table: &RouteTable) {
        if let Some(names) = &self.place.names {
            names.expect(table).await;
        }
    }

    /// Returns the table that is served for an environment.
    #[must_use]
    pub fn serving(&self, environment: &EnvironmentName) -> Option<Arc<RouteTable>> {
        self.environment(environment).routes()
    }

    /// Returns what is served for an environment and what was counted; revision 0 means no table.
    #[must_use]
    pub fn receipt(&self, environment: &EnvironmentName) -> GatewayReceipt {
        let (taken_from, handed_to) = self.handover.kin();
        GatewayReceipt { taken_from, handed_to, ..self.environment(environment).receipt(&self.id) }
    }

    /// Notes that a table of an environment was given that cannot be read.
    pub(crate) fn refuse(&self, environment: &EnvironmentName, why: String) {
        self.environment(environment).refuse(why);
    }

    /// Returns the same with what only a report says: the answers that were taken to be compared with contracts, and what instances
    /// called, since the last one.
    #[must_use]
    pub fn report(&self, environment: &EnvironmentName) -> GatewayReceipt {
        let from = self.environment(environment);
        let (calls, clients) = (from.take_calls(), from.take_clients());
        GatewayReceipt { samples: from.samples(), calls, clients, ..self.receipt(environment) }
    }

    /// Takes back of a report what only it says, because it did not arrive.
    pub(crate) fn take_back(&self, report: GatewayReceipt) {
        self.environment(&report.environment).take_back_calls(report.calls, report.clients);
    }

    /// Returns what can be seen of the gateway from outside.
    #[must_use]
    pub fn admin(&self) -> Admin {
        let (workers, state, leaving) =
            (self.workers.clone(), Arc::clone(&self.state), Arc::clone(&self.leaving));
        Admin { id: self.id.clone(), workers, state, leaving, spans: self.spans.clone() }
    }

    /// Says that clients should go elsewhere: it is not ready any more, and each answer is the last one of its connection (`connection: close`,
    /// GOAWAY). Those that come are served as before. Final.
    pub fn begin_to_leave(&self) {
        self.admin().drain();
    }

    /// Tells whether clients are to go elsewhere.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Tells all tunnels to end, each at a moment of its own within this time.
    pub(crate) fn end_tunnels(&self, over: Duration) {
        for worker in &self.workers {
            worker.departure.spread(over);
            worker.departure.end_tunnels();
        }
    }

    /// Stops listening, lets requests under way finish for at most `grace`, and ends the workers. A connection that is idle has a moment of that for
    /// one more request, and tunnels are told within half of it. Final.
    pub async fn shutdown(&self, grace: Duration) {
        self.end_within(grace, grace).await;
    }

    /// Does that within what is left of a grace time.
    pub(crate) async fn end_within(&self, left: Duration, grace: Duration) {
        let ends = tokio::time::Instant::now() + left;
        self.let_go(left, grace).await;
        let _ = tokio::time::timeout_at(ends, self.carried_all()).await;
        self.end_all().await;
    }

    /// Lets clients leave within what is left of a grace time.
    pub(crate) async fn let_go(&self, left: Duration, grace: Duration) {
        self.begin_to_leave();
        self.end_tunnels(left / 2);
        self.stop.cancel();
        let ends = tokio::time::Instant::now() + left;
        let _ = tokio::time::timeout(LAST_REQUESTS.min(left / 4), self.finished()).await;
        self.workers.iter().for_each(|worker| worker.departure.close_idle());
        if tokio::time::timeout_at(ends, self.finished()).await.is_err() {
            tracing::warn!(grace_ms = grace.as_millis(), "requests cut off at the end of the grace time");
        }
    }

    /// Ends the workers, and with them whatever is left.
    pub(crate) async fn end_all(&self) {
        self.cut().await;
        if let Some(spans) = &self.spans {
            spans.finish(SPANS_FLUSH).await;
        }
    }

    /// Ends the workers at once, with whatever is under way. What is cut off is logged by whoever served it.
    pub(crate) async fn cut(&self) {
        self.workers.iter().for_each(|worker| worker.end());
        let _ = tokio::time::timeout(CUT, self.finished()).await;
        if let Some(log) = &self.access {
            log.flush(LOG_FLUSH);
        }
    }

    /// Returns when nothing of any client is under way.
    pub(crate) async fn finished(&self) {
        for worker in &self.workers {
            worker.tasks.close();
            worker.tasks.wait().await;
        }
    }

    /// Returns when nothing is carried for gateways of other hosts.
    pub(crate) async fn carried_all(&self) {
        for worker in &self.workers {
            worker.carried.close();
            worker.carried.wait().await;
        }
    }

    pub(crate) fn environment(&self, name: &EnvironmentName) -> Arc<Environment> {
        let mut state = lock(&self.state);
        let make = || Arc::new(Environment::at(self.place.clone(), name.clone(), self.workers.len()));
        Arc::clone(state.environments.entry(name.clone()).or_insert_with(make))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
        self.workers.iter().for_each(|worker| worker.end());
    }
}

async fn sweep(state: Arc<Mutex<State>>, limit: Duration) {
    let mut ticks = tokio::time::interval(limit.clamp(SHORTEST_SWEEP, SWEEP_EVERY));
    loop {
        ticks.tick().await;
        let environments: Vec<_> = lock(&state).environments.values().cloned().collect();
        environments.iter().for_each(|environment| environment.sweep(limit));
    }
}

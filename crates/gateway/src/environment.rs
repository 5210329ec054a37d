//! One environment of a gateway: its table on every worker, its instances and its counters.
//!
//! Invariant: counters only grow, and an instance with requests under way is never forgotten.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use lockstep_domain::approach::{Approach, InstanceTls};
use lockstep_domain::called::{Called, CalledByClients};
use lockstep_domain::certificate::CertificateFacts;
use lockstep_domain::check::CheckSeen;
use lockstep_domain::drain::USUAL_DRAIN_MS;
use lockstep_domain::edition::Edition;
use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::listeners::ListensAt;
use lockstep_domain::mirror::MirrorCounts;
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::index::RouteIndex;
use lockstep_domain::routes::{
    ArmTraffic, GatewayReceipt, ROUTE_TABLE_FORMAT, RouteTable, ServiceRoutes, Split,
};
use lockstep_domain::visit::Visits;
use lockstep_domain::watch::{AnswerSample, LATENCY_CLASSES};
use lockstep_domain::{Arm, Digest, DnsName, EnvironmentName, InstanceId, ServiceName, ZoneName};

use crate::admission::{Admits, Stragglers};
use crate::affinity::Mark;
use crate::asking::Operations;
use crate::balance::ArmHealth;
use crate::between::Neighbours;
use crate::breaker::{BreakerSeen, BreakerStates};
use crate::calls::{Call, Calls, Classes};
use crate::counts::{Counts, Sums};
use crate::endpoint::Endpoint;
use crate::error::ApplyError;
use crate::failures::{Cause, FailureLog};
use crate::injection::FaultCounts;
use crate::instance::Instance;
use crate::lanes::{LaneBook, LaneSeen};
use crate::limiter::{LimiterSeen, Limiters};
use crate::mirror::{Copies, Mirrors, mirrors};
use crate::moment::Moment;
use crate::names::{NameBook, NameSeen, names_of};
use crate::outside::Outside;
use crate::policy::RouteStates;
use crate::recent::Asked;
use crate::repeat::RepeatBudget;
use crate::seat::{RouteCounts, RouteName};
use crate::served::Served;
use crate::synthetic::CheckBook;
use crate::table::{Choosing, ServiceTargets, Tally, Target, WorkerTable, check};
use crate::tls::Tls;
use crate::traffic::{Counters, EnvironmentTraffic, arm_name};
use crate::trial::Ledger;
use crate::visit::{VisitKey, VisitKeys};
use crate::zone::Zones;

/// Arms that left the table and whose counters are kept. Beyond it the lowest versions are forgotten first.
const MAX_FORMER_ARMS: usize = 512;
/// Calls that one report says: what is beyond it is not counted.
const MAX_CALLS: usize = 4_096;

/// What became of a table that was given to a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Every worker uses it for its next request.
    Now,
    /// It is not newer than one that is or was served, and was ignored.
    NotNewer {
        /// The one that is served.
        serving: Edition,
    },
}

/// One environment of a gateway.
#[derive(Debug)]
pub(crate) struct Environment {
    name: EnvironmentName,
    tables: Vec<ArcSwapOption<WorkerTable>>,
    repeats: RepeatBudget,
    /// How many requests met a fault that was injected.
    faults: FaultCounts,
    /// How many requests belonged to what was gone.
    stragglers: Stragglers,
    failures: FailureLog,
    /// What the gateway checks by itself.
    checks: CheckBook,
    /// What clients who come by TLS are shown.
    tls: Arc<Tls>,
    /// The gateways of other hosts.
    neighbours: Arc<Neighbours>,
    /// Where clients from outside come in beside where it was told to listen.
    outside: Outside,
    /// What visits are signed with, as it was given.
    visit_keys: ArcSwap<Vec<VisitKey>>,
    /// What they are signed with where nothing was given, made when it is needed.
    own_visit_key: OnceLock<Option<VisitKey>>,
    /// What each worker answered before it had chosen an arm.
    own: Vec<Counts>,
    /// What instances called at listeners of their own, for each worker.
    calls: Vec<Calls>,
    operations: Vec<Operations>,
    place: Place,
    state: Mutex<State>,
}

/// What a gateway knows of itself that decides which instances it asks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// Where it stands.
    pub(crate) zone: Option<ZoneName>,
    /// Whom it asks for addresses of instances that are named by host; nobody where nothing is served.
    pub(crate) names: Option<Arc<NameBook>>,
}

/// How often an instance was taken out because it failed, and whether it is out now.
#[derive(Debug)]
pub(crate) struct Ejections {
    pub(crate) instance: InstanceId,
    pub(crate) count: u64,
    pub(crate) is_out: bool,
}

/// What can be seen of an environment.
#[derive(Debug)]
pub(crate) struct Observation {
    /// 0 means no table.
    pub(crate) revision: u64,
    /// Whether the table that was given last was not taken.
    pub(crate) refuses: bool,
    pub(crate) in_flight: BTreeMap<InstanceId, u64>,
    pub(crate) ejections: Vec<Ejections>,
    /// How often instances of arms were asked on because too few would have been left, where a version says how many that are.
    pub(crate) held: Vec<(Arm, u64)>,
    pub(crate) breakers: Vec<BreakerSeen>,
    pub(crate) limiters: Vec<LimiterSeen>,
    pub(crate) arms: Vec<(Arm, Sums)>,
    pub(crate) own: Sums,
    pub(crate) routes: BTreeMap<RouteName, Sums>,
    /// Requests that were not asked again because too many others were.
    pub(crate) retries_refused: u64,
    /// Requests whose side of a switch was gone.
    pub(crate) stragglers: u64,
    pub(crate) failures: BTreeMap<(String, Cause), u64>,
    pub(crate) calls: BTreeMap<Call, Classes>,
    pub(crate) handshakes: Vec<(&'static str, u64)>,
    /// How gateways of other hosts came in; how many connections are carried for them, and for how many the instance took none.
    pub(crate) between: (Vec<(&'static str, u64)>, u64, u64),
    /// Requests that met a fault, by what that was.
    pub(crate) faults: [(&'static str, u64); 2],
    /// What became of requests of lanes.
    pub(crate) lanes: Vec<LaneSeen>,
    /// What was found by copies, by the version that got them.
    pub(crate) mirrored: Vec<(String, MirrorCounts)>,
    /// Requests of arms that stayed in the zone of the gateway, and that did not, where there is a choice.
    pub(crate) zones: Vec<(Arm, [u64; 2])>,
    /// The names of instances, and what is known of them.
    pub(crate) names: Vec<NameSeen>,
    /// The certificates that are shown, by name.
    pub(crate) certificates: Vec<(String, CertificateFacts)>,
    pub(crate) closed_ports: Vec<SocketAddr>,
    /// What was found by checks.
    pub(crate) checks: Vec<CheckSeen>,
}

#[derive(Debug, Default)]
struct State {
    served: Served,
    /// The table that is served, with the addresses of names.
    routes: Option<Arc<RouteTable>>,
    /// The same as it was given, where instances are named by host.
    given: Option<Box<RouteTable>>,
    /// Whether the listeners of instances that this gateway opens are open.
    listens: Vec<ListensAt>,
    /// The ports of services that speak TCP which are not open, and why.
    closed_ports: BTreeMap<SocketAddr, String>,
    instances: BTreeMap<(InstanceId, SocketAddr), Known>,
    /// One tally for each worker.
    tallies: BTreeMap<Arm, Vec<Arc<Tally>>>,
    /// What the clients of each arm got, for each worker.
    counts: BTreeMap<Arm, Vec<Arc<Counts>>>,
    /// What the clients of each route got.
    routes_met: RouteCounts,
    lanes: LaneBook,
    /// Of the arms that the table names.
    health: BTreeMap<Arm, Arc<ArmHealth>>,
    /// What is counted of routes that limit something.
    states: RouteStates,
    /// Of the arms that are left alone when they fail.
    breakers: BreakerStates,
    /// Of the arms whose limit adapts.
    limiters: Limiters,
    /// What was counted of services of which an arm is on trial.
    ledgers: BTreeMap<ServiceName, Ledger>,
    /// What was found by copies.
    mirrors: Mirrors,
    /// What requests were admitted under that are still under way, and are admitted under now.
    admits: Vec<Arc<Admits>>,
}

/// An instance, and each worker's way to it.
#[derive(Debug)]
struct Known {
    instance: Arc<Instance>,
    views: Vec<Arc<Endpoint>>,
}

impl Known {
    fn new(id: &InstanceId, address: SocketAddr, mark: Mark, workers: usize) -> Self {
        let instance = Arc::new(Instance::new(address, mark).named(id));
        let views = (0..workers).map(|_| Arc::new(Endpoint::new(Arc::clone(&instance)))).collect();
        Self { instance, views }
    }

    fn retire(&self) {
        self.instance.retire();
        self.views.iter().for_each(|view| view.clear());
    }
}

impl Environment {
    /// Makes one that nobody is served by: no name is looked up.
    pub(crate) fn new(name: EnvironmentName, workers: usize) -> Self {
        Self::at(Place::default(), name, workers)
    }

    pub(crate) fn at(place: Place, name: EnvironmentName, workers: usize) -> Self {
        let tables = (0..workers).map(|_| ArcSwapOption::empty()).collect();
        let own = (0..workers).map(|_| Counts::default()).collect();
        let calls = (0..workers).map(|_| Calls::default()).collect();
        let operations = (0..workers).map(|_| Operations::default()).collect();
        let failures = FailureLog::new(name.clone());
        let neighbours = Arc::new(Neighbours::new(name.clone()));
        Self {
            name,
            tables,
            repeats: RepeatBudget::new(workers),
            faults: FaultCounts::default(),
            stragglers: Stragglers::default(),
            failures,
            checks: CheckBook::default(),
            tls: Arc::default(),
            neighbours,
            outside: Outside::default(),
            visit_keys: ArcSwap::default(),
            own_visit_key: OnceLock::new(),
            own,
            calls,
            operations,
            place,
            state: Mutex::default(),
        }
    }

    /// Returns where a worker finds its table.
    pub(crate) fn table(&self, worker: usize) -> &ArcSwapOption<WorkerTable> {
        &self.tables[worker]
    }

    /// Returns the table that is served.
    pub(crate) fn routes(&self) -> Option<Arc<RouteTable>> {
        self.state().routes.clone()
    }

    /// Returns where a worker counts what instances call at listeners of their own.
    pub(crate) fn calls(&self, worker: usize) -> &Calls {
        &self.calls[worker]
    }

    /// Returns where a worker counts which operations instances call.
    pub(crate) fn operations(&self, worker: usize) -> &Operations {
        &self.operations[worker]
    }

    /// Hands out what instances called; nobody gets it again.
    pub(crate) fn take_calls(&self) -> Vec<Called> {
        self.operations.iter().flat_map(Operations::take).take(MAX_CALLS).collect()
    }

    /// Hands out what clients asked for; nobody gets it again.
    pub(crate) fn take_clients(&self) -> Vec<CalledByClients> {
        self.operations.iter().flat_map(Operations::take_clients).take(MAX_CALLS).collect()
    }

    /// Takes back what could not be told.
    pub(crate) fn take_back_calls(&self, calls: Vec<Called>, clients: Vec<CalledByClients>) {
        if let Some(operations) = self.operations.first() {
            operations.take_back(calls);
            operations.take_back_clients(clients);
        }
    }

    /// Notes whether the listeners of instances are open.
    pub(crate) fn note_listening(&self, listens: Vec<ListensAt>) {
        let mut state = self.state();
        // Said once for each reason: it is tried again every second.
        for one in listens.iter().filter(|one| one.problem.is_some() && !state.listens.contains(one)) {
            let (environment, why) = (&self.name, one.problem.as_deref().unwrap_or_default());
            tracing::warn!(%environment, why, "an instance cannot call others by host and port");
        }
        state.listens = listens;
    }

    /// Notes which ports of services that speak TCP are not open.
    pub(crate) fn note_ports(&self, closed: BTreeMap<SocketAddr, String>) {
        let mut state = self.state();
        // Said once for each reason: it is tried again every second.
        for (port, why) in closed.iter().filter(|(port, why)| state.closed_ports.get(port) != Some(why)) {
            tracing::error!(environment = %self.name, %port, why, "a port of a service that speaks TCP is not open");
        }
        state.closed_ports = closed;
    }

    /// Returns the ports of services that speak TCP which are not open, and why.
    pub(crate) fn closed_ports(&self) -> Vec<(SocketAddr, String)> {
        self.state().closed_ports.clone().into_iter().collect()
    }

    /// Tells whether a service speaks TCP, as a worker's table says.
    pub(crate) fn speaks_tcp(&self, worker: usize, service: &ServiceName) -> bool {
        let table = self.tables[worker].load();
        let Some(table) = table.as_ref().filter(|table| table.has_tcp) else { return false };
        table.services.get(service).is_some_and(|service| service.speaks_tcp)
    }

    /// Returns what clients who come by TLS are shown.
    pub(crate) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Returns what is known of the gateways of other hosts.
    pub(crate) fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// Returns where clients from outside come in.
    pub(crate) const fn outside(&self) -> &Outside {
        &self.outside
    }

    /// Takes the keys that visits are signed with, instead of those from before.
    pub(crate) fn sign_visits(&self, keys: Vec<VisitKey>) {
        self.visit_keys.store(Arc::new(keys));
    }

    /// Returns the keys that visits are signed with: those that a table names, else those that were given, else one that only this gateway has.
    pub(crate) fn visit_keys(&self, named: Option<&Visits>) -> VisitKeys {
        let given = self.visit_keys.load();
        let known = |digest: &Digest| given.iter().find(|key| key.digest() == *digest).cloned();
        match named.map(|visits| visits.keys.as_slice()) {
            Some(digests @ [first, ..]) => {
                VisitKeys { signing: known(first), accepted: digests.iter().filter_map(known).collect() }
            }
            Some([]) | None if !given.is_empty() => {
                VisitKeys { signing: given.first().cloned(), accepted: given.to_vec() }
            }
            Some([]) | None => {
                let own = self.own_visit_key.get_or_init(VisitKey::make).clone();
                VisitKeys { accepted: own.iter().cloned().collect(), signing: own }
            }
        }
    }

    /// Tells whether the table names keys of visits that were not given.
    pub(crate) fn lacks_visit_keys(&self) -> bool {
        let (routes, given) = (self.routes(), self.visit_keys.load());
        let named = routes.as_ref().and_then(|table| table.visits.as_ref());
        let is_given = |digest: &Digest| given.iter().any(|key| key.digest() == *digest);
        named.is_some_and(|visits| !visits.keys.iter().all(is_given))
    }

    /// Tells whether a connection from here begins with a PROXY header.
    pub(crate) fn hands_on(&self, worker: usize, peer: IpAddr) -> bool {
        let table = self.tables[worker].load();
        let entry = table.as_ref().and_then(|table| table.routes.entry.as_ref());
        entry.is_some_and(|entry| entry.settings.hands_on(peer.to_canonical()))
    }

    /// Returns how many requests may be repeated.
    pub(crate) fn repeats(&self) -> &RepeatBudget {
        &self.repeats
    }

    /// Returns where requests are counted that meet a fault.
    pub(crate) fn faults(&self) -> &FaultCounts {
        &self.faults
    }

    /// Returns where requests are counted that belong to what is gone.
    pub(crate) fn stragglers(&self) -> &Stragglers {
        &self.stragglers
    }

    pub(crate) fn name(&self) -> &EnvironmentName {
        &self.name
    }

    /// Tells whether there is a table.
    pub(crate) fn has_table(&self) -> bool {
        self.tables.first().is_some_and(|slot| slot.load().is_some())
    }

    /// Returns where failures of instances are noted.
    pub(crate) fn failures(&self) -> &FailureLog {
        &self.failures
    }

    /// Returns what the gateway checks by itself.
    pub(crate) fn checks(&self) -> &CheckBook {
        &self.checks
    }

    /// Returns where a worker counts what it answers before it has chosen an arm.
    pub(crate) fn own(&self, worker: usize) -> &Counts {
        &self.own[worker]
    }

    /// Returns what can be seen.
    pub(crate) fn observe(&self) -> Observation {
        let GatewayReceipt { revision, in_flight, refused, checks, .. } = self.receipt("");
        let state = self.state();
        let arms =
            state.counts.iter().map(|(arm, counts)| (arm.clone(), add_up(counts.iter().map(|it| &**it))));
        let now = Moment::now();
        let ejections = state.instances.iter().map(|((id, _), known)| Ejections {
            instance: id.clone(),
            count: known.instance.ejections(),
            is_out: known.instance.is_out(now),
        });
        Observation {
            revision,
            refuses: refused.is_some(),
            in_flight,
            ejections: ejections.collect(),
            held: state.held(self.tables.first().and_then(ArcSwapOption::load_full).as_deref()),
            breakers: state.breakers.seen(),
            limiters: state.limiters.seen(),
            arms: arms.collect(),
            own: add_up(&self.own),
            routes: state.routes_met.sums(),
            retries_refused: self.repeats.refused(),
            stragglers: self.stragglers.total(),
            failures: self.failures.totals(),
            calls: self.called(),
            handshakes: self.tls.handshakes.read(),
            between: self.neighbours.read(),
            faults: self.faults.read(),
            lanes: state.lanes.seen(),
            mirrored: state.mirrors.by_version(),
            zones: state.zones(self.tables.first().and_then(ArcSwapOption::load_full).as_deref()),
            names: self.place.names.iter().flat_map(|book| book.seen(state.given.as_deref())).collect(),
            certificates: self.tls.certificates(),
            closed_ports: state.closed_ports.keys().copied().collect(),
            checks,
        }
    }

    /// Returns what is counted, for `lockstep gateway top`.
    pub(crate) fn traffic(&self) -> EnvironmentTraffic {
        let (seen, table) = (self.observe(), self.routes());
        let (mut salts, mut under_way) = (BTreeMap::new(), BTreeMap::new());
        let mut over_tcp = BTreeSet::new();
        for (service, routes) in table.iter().flat_map(|table| &table.services) {
            salts.insert(service.to_string(), routes.salt.clone());
            for split in &routes.splits {
                let counts = split.instances().filter_map(|it| seen.in_flight.get(&it.instance));
                let is_tcp = split.protocol == Protocol::Tcp;
                over_tcp.extend(is_tcp.then(|| arm_name(&split.arm(service))));
                *under_way.entry(arm_name(&split.arm(service))).or_default() += counts.sum::<u64>();
            }
        }
        let Observation { revision, arms, routes, own, breakers, zones, names, .. } = &seen;
        let (revision, over_tcp) = (*revision, &over_tcp);
        let counters = Counters { revision, arms, routes, own, breakers, zones, names, over_tcp };
        EnvironmentTraffic::of(counters, salts, &under_way)
    }

    fn called(&self) -> BTreeMap<Call, Classes> {
        let mut sums = BTreeMap::new();
        self.calls.iter().for_each(|calls| calls.add_to(&mut sums));
        sums
    }

    /// Notes that a table was given that cannot be read, so that nobody takes the one that is served for it.
    pub(crate) fn refuse(&self, why: String) {
        let mut state = self.state();
        let next = state.served.current().next();
        state.served.refuse(next, why);
    }

    /// Puts a table in place, then takes out the instances that it no longer names.
    pub(crate) fn apply(&self, table: RouteTable) -> Result<Applied, ApplyError> {
        let (mut state, edition) = (self.state(), table.edition());
        check(&table).inspect_err(|error| state.served.refuse(edition.clone(), error.to_string()))?;
        if !state.served.admits(&edition) {
            let serving = state.served.current().clone();
            state.served.refuse(edition, format!("it is not newer than table {serving}, which is served"));
            return Ok(Applied::NotNewer { serving });
        }
        let settings = table.entry.as_ref().map(|entry| &entry.settings);
        if let Err(error) = self.tls.keep_to(settings) {
            let problems = vec![error.to_string()];
            let (environment, revision) = (self.name.clone(), edition.revision);
            let invalid = ApplyError::Invalid { environment, revision, problems };
            state.served.refuse(edition, invalid.to_string());
            return Err(invalid);
        }
        self.tls.answer(table.entry.as_ref().map_or(&[], |entry| &entry.challenges));
        self.say_left_out(&table);
        let has_names = table.named_endpoints().next().is_some();
        let given = has_names.then(|| Box::new(table.clone()));
        self.put(&mut state, table);
        state.given = given;
        state.served.take(edition);
        Ok(Applied::Now)
    }

    /// Says which routes of a table are left out, because no request can have such a host or path.
    fn say_left_out(&self, table: &RouteTable) {
        for route in table.without_form() {
            let (environment, service) = (&self.name, &route.service);
            tracing::warn!(%environment, route = %route.rule, %service, "a route is left out: no request has such a host or path");
        }
    }

    /// Returns the names of instances of the table that is served.
    pub(crate) fn names(&self) -> BTreeSet<(DnsName, u16)> {
        self.state().given.iter().flat_map(|given| names_of(given)).collect()
    }

    /// Puts the addresses in place that names have now. Requests that are under way at others finish there.
    pub(crate) fn aim(&self) {
        let mut state = self.state();
        if let Some(given) = state.given.as_deref().cloned() {
            self.put(&mut state, given);
        }
    }

    /// Puts a table in place of the one before, with the addresses that names have.
    fn put(&self, state: &mut State, table: RouteTable) {
        let table = table.aimed(|named| match &self.place.names {
            Some(book) => book.endpoints(named),
            None => vec![named.unknown()],
        });
        let table = Arc::new(table.prepared());
        let index = Arc::new(RouteIndex::new(&table.routes));
        let asked = Arc::new(Asked::of(&table));
        self.neighbours.hear(&table);
        self.checks.follow(&table);
        state.meet(&table, self.tables.len(), (&self.tls, &self.neighbours));
        state.states.follow(&table);
        state.breakers.follow(&table);
        state.limiters.follow(&table);
        state.mirrors.follow(&table);
        state.admits.retain(|admits| admits.is_in_use());
        for (worker, slot) in self.tables.iter().enumerate() {
            let compiled = state.compile(&table, (&index, &asked), (&self.place, worker));
            state.admits.push(Arc::clone(&compiled.admits));
            slot.store(Some(Arc::new(compiled)));
        }
        state.part(&table);
        let listeners = table.listeners.iter().flat_map(|listeners| &listeners.callers);
        let of_service = |(service, routes): (&ServiceName, &ServiceRoutes)| -> Vec<Arm> {
            routes.splits.iter().map(|split| split.arm(service)).collect()
        };
        let arms: Vec<Arm> = table.services.iter().flat_map(of_service).collect();
        let callers = listeners.map(|caller| &caller.arm).chain(&arms).collect();
        self.calls.iter().for_each(|calls| calls.keep(&callers));
        state.routes = Some(table);
    }

    /// Returns what is served and what was counted.
    pub(crate) fn receipt(&self, gateway: &str) -> GatewayReceipt {
        // Before the lock: whoever opens these asks for others with them.
        let outside = self.outside.said();
        let state = self.state();
        let mut in_flight = BTreeMap::new();
        for ((instance, _), known) in &state.instances {
            let count = known.instance.in_flight();
            if count > 0 {
                *in_flight.entry(instance.clone()).or_default() += count;
            }
        }
        let served = state.served.current().clone();
        let edition = served.clone();
        let oldest = state.admits.iter().filter(|admits| admits.is_in_use());
        GatewayReceipt {
            gateway: gateway.to_owned(),
            environment: self.name.clone(),
            history: served.history,
            revision: served.revision,
            takes_format: ROUTE_TABLE_FORMAT,
            refused: state.served.refused().cloned(),
            in_flight,
            traffic: state.tallies.iter().map(|(arm, tallies)| (arm.clone(), sum(tallies))).collect(),
            latencies: state.tallies.iter().map(|(arm, tallies)| (arm.clone(), latencies(tallies))).collect(),
            watched: state.ledgers.iter().flat_map(|(service, ledger)| ledger.read(service)).collect(),
            samples: Vec::new(),
            mirrored: state.mirrors.read(),
            calls: Vec::new(),
            clients: Vec::new(),
            listens: state.listens.clone(),
            left_alone: state.breakers.seen().into_iter().filter_map(BreakerSeen::left_alone).collect(),
            oldest_admitted: oldest.map(|admits| admits.revision_in(&edition)).min(),
            last: false,
            taken_from: None,
            handed_to: None,
            between: self.neighbours.said(),
            outside,
            checks: self.checks.seen(),
        }
    }

    /// Hands out the answers that were taken to be compared with contracts; nobody gets them again.
    pub(crate) fn samples(&self) -> Vec<AnswerSample> {
        self.state().ledgers.iter().flat_map(|(service, ledger)| ledger.fetch(service)).collect()
    }

    /// Closes connections to instances that were idle for longer than `limit`, and looks how many instances are healthy.
    pub(crate) fn sweep(&self, limit: Duration) {
        let views: Vec<Arc<Endpoint>> =
            self.state().instances.values().flat_map(|known| &known.views).cloned().collect();
        self.failures.flush(Instant::now());
        for view in views {
            view.sweep(limit);
        }
        let table = self.tables.first().and_then(ArcSwapOption::load_full);
        self.leave_behind(table.as_deref());
        let services = table.iter().flat_map(|table| table.services.values());
        services.flat_map(|service| &service.targets).for_each(|arm| arm.health.look(arm, Moment::now()));
    }

    /// Ends connections that pass bytes, and WebSockets, to instances which left the table long enough ago.
    fn leave_behind(&self, table: Option<&WorkerTable>) {
        let entry = table.and_then(|table| table.routes.entry.as_ref());
        let drain_ms = entry.and_then(|entry| entry.tcp_drain_ms).unwrap_or(USUAL_DRAIN_MS);
        let requests_ms = entry.and_then(|entry| entry.drain_ms).unwrap_or(USUAL_DRAIN_MS);
        let (drain, requests, now) =
            (Duration::from_millis(drain_ms), Duration::from_millis(requests_ms), Moment::now());
        for known in self.state().instances.values() {
            known.instance.leave_after(drain, now);
            known.instance.replace_after(requests, now);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add_up<'a>(counts: impl IntoIterator<Item = &'a Counts>) -> Sums {
    let mut sums = Sums::default();
    counts.into_iter().for_each(|counts| counts.add_to(&mut sums));
    sums
}

fn sum(tallies: &[Arc<Tally>]) -> ArmTraffic {
    tallies.iter().map(|tally| tally.read()).fold(ArmTraffic::default(), |sum, one| ArmTraffic {
        requests: sum.requests + one.requests,
        failures: sum.failures + one.failures,
    })
}

fn latencies(tallies: &[Arc<Tally>]) -> Vec<u64> {
    let mut sums = vec![0; LATENCY_CLASSES];
    for tally in tallies {
        sums.iter_mut().zip(tally.latencies()).for_each(|(sum, more)| *sum += more);
    }
    sums
}

/// How connections to an instance begin: its certificate must be for the name of its host where the version names nobody.
fn approach_to<'s>(split: &'s Split, endpoint: &lockstep_domain::routes::Endpoint) -> Cow<'s, Approach> {
    let tls = split.approach.tls.as_deref().filter(|tls| tls.server_name.is_none());
    match (tls, &endpoint.host) {
        (Some(tls), Some(host)) => {
            let name = host.as_str().trim_end_matches('.').to_owned();
            let tls = Some(Box::new(InstanceTls { server_name: Some(name), ..tls.clone() }));
            Cow::Owned(Approach { tls, ..split.approach.clone() })
        }
        _ => Cow::Borrowed(&split.approach),
    }
}

/// The place of the arm that stands in for the stable one.
fn fallback(routes: &ServiceRoutes) -> Option<usize> {
    let arm = routes.fallback_arm()?;
    routes.splits.iter().position(|split| (&split.version, split.config) == (&arm.version, arm.config))
}

fn splits(table: &RouteTable) -> impl Iterator<Item = (&ServiceName, &Split)> {
    table.services.iter().flat_map(|(name, routes)| routes.splits.iter().map(move |split| (name, split)))
}

impl State {
    /// Returns what is counted of arms whose instances stand in several zones.
    fn zones(&self, table: Option<&WorkerTable>) -> Vec<(Arm, [u64; 2])> {
        let services = table.into_iter().flat_map(|table| table.services.values());
        let targets = services.flat_map(|service| {
            service.routes.splits.iter().zip(&service.targets).map(move |it| (service, it))
        });
        let mut seen = BTreeMap::new();
        for (service, (split, target)) in targets.filter(|(_, (_, target))| target.zones.is_some()) {
            seen.insert(split.arm(&service.service), target.health.spread.read());
        }
        seen.into_iter().collect()
    }

    fn held(&self, table: Option<&WorkerTable>) -> Vec<(Arm, u64)> {
        let services = table.into_iter().flat_map(|table| table.services.values());
        let targets = services.flat_map(|service| {
            service.routes.splits.iter().zip(&service.targets).map(move |it| (service, it))
        });
        let with_floor = targets.filter(|(_, (_, target))| target.choosing.ejection.has_floor());
        let seen = with_floor.map(|(of, (split, target))| (split.arm(&of.service), target.health.held()));
        seen.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    /// Makes views and tallies for what the table names, and takes former instances in again.
    fn meet(&mut self, table: &RouteTable, workers: usize, (tls, neighbours): (&Arc<Tls>, &Arc<Neighbours>)) {
        self.routes_met.meet(table, workers);
        self.lanes.follow(table);
        let mut before = std::mem::take(&mut self.ledgers);
        self.ledgers = table
            .services
            .iter()
            .filter_map(|(name, routes)| {
                Some((name.clone(), Ledger::next(before.remove(name), name, routes)?))
            })
            .collect();
        for (service, split) in splits(table) {
            self.tallies
                .entry(split.arm(service))
                .or_insert_with(|| (0..workers).map(|_| Arc::default()).collect());
            self.health.entry(split.arm(service)).or_default();
            let counts = || Arc::new(Counts::of(split.arm(service)));
            self.counts.entry(split.arm(service)).or_insert_with(|| (0..workers).map(|_| counts()).collect());
            for endpoint in split.instances() {
                let key = (endpoint.instance.clone(), endpoint.address);
                let mark = || Mark::of(&table.environment, &endpoint.instance);
                let known = self
                    .instances
                    .entry(key)
                    .or_insert_with(|| Known::new(&endpoint.instance, endpoint.address, mark(), workers));
                let route = neighbours.route_to(endpoint);
                if known.instance.begin_by(&approach_to(split, endpoint), &route, (tls, neighbours)) {
                    known.views.iter().for_each(|view| view.clear());
                }
                known.instance.revive();
            }
        }
    }

    /// Takes out what the table does not name. Those with requests under way stay visible until the next table.
    fn part(&mut self, table: &RouteTable) {
        let named: BTreeSet<(&InstanceId, SocketAddr)> = splits(table)
            .flat_map(|(_, split)| split.instances().map(|it| (&it.instance, it.address)))
            .collect();
        self.instances.retain(|(instance, address), known| {
            let stays = named.contains(&(instance, *address));
            if !stays {
                known.retire();
            }
            stays || known.instance.in_flight() > 0
        });
        let current: BTreeSet<Arm> = splits(table).map(|(service, split)| split.arm(service)).collect();
        self.health.retain(|arm, _| current.contains(arm));
        let excess = self.tallies.len().saturating_sub(current.len() + MAX_FORMER_ARMS);
        let former: Vec<Arm> =
            self.tallies.keys().filter(|&arm| !current.contains(arm)).take(excess).cloned().collect();
        for arm in former {
            self.tallies.remove(&arm);
            self.counts.remove(&arm);
        }
    }

    fn compile(
        &self,
        table: &Arc<RouteTable>,
        (index, asked): (&Arc<RouteIndex>, &Arc<Asked>),
        (place, worker): (&Place, usize),
    ) -> WorkerTable {
        let targets = |name, routes| ServiceTargets {
            keeps_clients: table.keeps_clients_of(name),
            faults: table.rules().faults_of(name).cloned().collect(),
            ..self.targets(name, routes, (place, worker))
        };
        let targets = |name, routes| maintained(targets(name, routes), table.rules());
        let services = table.services.iter();
        let mut services: BTreeMap<_, _> =
            services.map(|(name, routes)| (name.clone(), Arc::new(targets(name, routes)))).collect();
        // A request that was begun before a service was renamed looks for it by its former name.
        for (former, name) in &table.aliases {
            if let Some(same) = services.get(name).cloned() {
                services.entry(former.clone()).or_insert(same);
            }
        }
        let ruled = table.services.keys().filter_map(|name| services.get(name));
        let ruled = ruled.filter(|service| service.is_ruled()).cloned().collect();
        let seats = self.routes_met.seats(table, worker);
        let states = self.states.of(table);
        let lanes = self.lanes.seats();
        let mirrors = mirrors(table).map(|(_, mirror)| mirror.id).collect();
        let (routes, index, asked) = (Arc::clone(table), Arc::clone(index), Arc::clone(asked));
        let has_tcp = services.values().any(|service| service.speaks_tcp);
        let (entered, visit_times) = (routes.entered_now(), routes.visit_times());
        let admits = Arc::new(Admits::of(&routes));
        WorkerTable {
            routes,
            index,
            states,
            services,
            seats,
            asked,
            ruled,
            lanes,
            has_tcp,
            mirrors,
            entered,
            visit_times,
            admits,
        }
    }

    fn targets(&self, service: &ServiceName, routes: &ServiceRoutes, at: (&Place, usize)) -> ServiceTargets {
        let targets = routes.splits.iter().map(|split| self.target(service, routes, split, at)).collect();
        let trial = self.ledgers.get(service).map(|ledger| Arc::clone(&ledger.trial));
        ServiceTargets {
            service: service.clone(),
            routes: routes.clone(),
            targets,
            trial,
            keeps_clients: false,
            speaks_tcp: routes.speaks_tcp(),
            fallback: fallback(routes),
            mirror: Copies::of(routes, &self.mirrors),
            faults: Vec::new(),
            pages: Vec::new(),
        }
    }

    fn target(
        &self,
        service: &ServiceName,
        routes: &ServiceRoutes,
        split: &Split,
        (place, worker): (&Place, usize),
    ) -> Target {
        let arm = split.arm(service);
        let view = |endpoint: &lockstep_domain::routes::Endpoint| {
            let known = self.instances.get(&(endpoint.instance.clone(), endpoint.address));
            known.map(|known| Arc::clone(&known.views[worker]))
        };
        let endpoints: Vec<_> = split.endpoints.iter().filter_map(view).collect();
        Target {
            label: arm.version_ref().to_string(),
            role: split.role,
            protocol: split.protocol,
            counts: self.counts.get(&arm).map(|counts| Arc::clone(&counts[worker])).unwrap_or_default(),
            tally: self.tallies.get(&arm).map(|tallies| Arc::clone(&tallies[worker])).unwrap_or_default(),
            health: self.health.get(&arm).cloned().unwrap_or_default(),
            meter: self.ledgers.get(service).and_then(|ledger| ledger.meter(routes, &arm)),
            zones: Zones::of(place.zone.as_ref(), split, &endpoints),
            endpoints,
            leaving: split.leaving.iter().filter_map(view).collect(),
            breakers: self.breakers.of(&arm, split),
            limiter: self.limiters.of(&arm),
            choosing: Choosing::of(split),
        }
    }
}

/// Adds the pages of maintenance. What is closed has no instance then, so that nothing else leads there either: no shield, no rule and no copy.
fn maintained(service: ServiceTargets, rules: &GatewayRules) -> ServiceTargets {
    let name = service.service.clone();
    let pages: Vec<_> = rules.maintenance_of(&name).cloned().collect();
    let mut service = ServiceTargets { pages, ..service };
    let splits = service.routes.splits.iter();
    for (target, split) in service.targets.iter_mut().zip(splits) {
        if service.pages.iter().any(|page| page.closes(&split.version)) {
            target.endpoints.clear();
            target.leaving.clear();
        }
    }
    service
}

//! The simulation: one environment with its reconciler in atomic parts, two gateways, supervisors, and a clock.
//!
//! Domain and registry are the real ones. What is modelled is the order in which the control joins them, so that
//! anything may come between any two parts of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_domain::compile::compile_routes;
use lockstep_domain::counting::periods;
use lockstep_domain::edition::{Edition, TableHistory};
use lockstep_domain::reconcile::{Action, Look, next_actions, next_look};
use lockstep_domain::routes::{GatewayReceipt, RouteTable};
use lockstep_domain::verdict::Trial;
use lockstep_domain::{Environment, Event, InstanceId, ServiceName, Timestamp, World};
use lockstep_registry::Registry;

use crate::host::Host;
use crate::journal::{Ledger, Work, staging};

/// When an instance that is told to end is seen as stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// From the moment of the decision.
    AtOnce,
    /// When its supervisor has said so. This is what Lockstep once did.
    WhenReported,
}

/// What a decision has to hold for when it is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrying {
    /// The environment that was looked at, with nothing recorded since.
    AsSeen,
    /// Nothing: it is carried out whatever was recorded. This is what Lockstep once did.
    Regardless,
}

/// Which instances a server that starts finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// All that were begun.
    Everything,
    /// Those that were healthy once: of the others it hears when they are.
    Healthy,
}

/// The rules that are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// When an instance is seen as stopping.
    pub(crate) telling: Telling,
    /// What a decision has to hold for.
    pub(crate) carrying: Carrying,
    /// Which instances a server finds.
    pub(crate) finding: Finding,
}

impl Rules {
    /// Those that Lockstep keeps.
    pub(crate) const TODAY: Self =
        Self { telling: Telling::AtOnce, carrying: Carrying::AsSeen, finding: Finding::Everything };
    /// Those by which an instance counts until its supervisor says that it ends.
    pub(crate) const TOLD_WHEN_REPORTED: Self = Self { telling: Telling::WhenReported, ..Self::TODAY };
    /// Those by which a decision is carried out though the world has moved.
    pub(crate) const CARRIED_OUT_REGARDLESS: Self = Self { carrying: Carrying::Regardless, ..Self::TODAY };
    /// Those by which a server that starts does not know of what is on its way. Lockstep never did this.
    pub(crate) const FOUND_WHEN_HEALTHY: Self = Self { finding: Finding::Healthy, ..Self::TODAY };
}

/// One thing that happens in one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Atom {
    /// The next part of the reconciler.
    Reconcile,
    /// The gateway of its own takes the newest table.
    Take,
    /// The gateway of its own reports.
    Report,
    /// An instance goes on by itself.
    Live(InstanceId),
    /// The driver hears of an instance.
    Hear(InstanceId),
    /// A request begins, by one gateway, at every instance that its table names.
    Request(Gate),
    /// All requests that one gateway has under way are answered.
    Finish(Gate),
    /// Time passes.
    Tick(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    Inner,
    Outer,
}

/// A gateway: the table it serves, and the requests under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gateway {
    id: String,
    pub(crate) table: Option<RouteTable>,
    pub(crate) flights: BTreeMap<InstanceId, u64>,
    /// Whether it is cut off from the server.
    pub(crate) silent: bool,
    /// Whether it was cut off, and the server has not heard of it since: what it does then is the price of not waiting.
    pub(crate) behind: bool,
    /// Who was told to end meanwhile, and may still be in its table.
    pub(crate) price: BTreeSet<InstanceId>,
}

impl Gateway {
    fn named(id: String) -> Self {
        Self { id, ..Self::default() }
    }

    fn apply(&mut self, table: &RouteTable) {
        if self.table.as_ref().is_none_or(|served| served.revision < table.revision) {
            self.table = Some(table.clone());
        }
    }

    fn receipt(&self) -> GatewayReceipt {
        GatewayReceipt {
            gateway: self.id.clone(),
            environment: staging(),
            history: TableHistory::default(),
            refused: None,
            revision: self.table.as_ref().map_or(0, |table| table.revision),
            takes_format: 3,
            in_flight: self.flights.clone(),
            traffic: Vec::new(),
            latencies: Vec::new(),
            watched: Vec::new(),
            samples: Vec::new(),
            mirrored: Vec::new(),
            calls: Vec::new(),
            clients: Vec::new(),
            listens: Vec::new(),
            left_alone: Vec::new(),
            oldest_admitted: None,
            last: false,
            taken_from: None,
            handed_to: None,
            between: None,
            outside: Vec::new(),
            checks: Vec::new(),
        }
    }

    pub(crate) fn routed(&self) -> BTreeSet<InstanceId> {
        let services = self.table.iter().flat_map(|table| table.services.values());
        let endpoints = services.flat_map(|service| &service.splits).flat_map(|split| &split.endpoints);
        endpoints.map(|endpoint| endpoint.instance.clone()).collect()
    }
}

/// Where the reconciler stands.
#[derive(Debug, Clone)]
enum Part {
    Look,
    See(Arc<World>),
    Apply(Box<RouteTable>),
    Begin(Arc<Environment>, Vec<Action>),
    Deliver(Arc<Environment>, Vec<InstanceId>, Vec<Event>),
    Ask(InstanceId, Box<Part>),
    Record(Arc<Environment>, Vec<Event>),
}

/// The service that most decisions are about.
pub(crate) fn first() -> ServiceName {
    "orders".parse().expect("a valid name")
}

/// The whole.
pub(crate) struct Model {
    pub(crate) rules: Rules,
    pub(crate) work: Work,
    pub(crate) ledger: Ledger,
    registry: Registry,
    /// The place of the last table, which outlives the server.
    edition: Edition,
    pub(crate) host: Host,
    pub(crate) inner: Gateway,
    pub(crate) outer: Gateway,
    pub(crate) now: Timestamp,
    part: Part,
    lives: u32,
    /// Whether the reconciler or a gateway did anything; set back by who asks.
    pub(crate) worked: bool,
    /// When the reconciler looked last.
    pub(crate) looked: Timestamp,
    /// Who was told to end, as a matter of fact.
    pub(crate) ended: BTreeSet<InstanceId>,
    /// Who is told with the old rule, and waits for it.
    waiting: Vec<InstanceId>,
    /// Since when no gateway has named an instance in its table, as a matter of fact.
    pub(crate) unnamed: BTreeMap<InstanceId, Timestamp>,
    /// As many instances of the first service as were ever wanted.
    pub(crate) most_wanted: u32,
    /// Whether anything happened to instances that nobody asked for.
    pub(crate) accidents: bool,
    /// What was decided in the last step, for the invariants.
    pub(crate) fresh_ends: Vec<InstanceId>,
    /// What was recorded in the last step.
    pub(crate) fresh_records: Vec<Event>,
}

impl Model {
    pub(crate) fn new(rules: Rules, work: Work) -> Self {
        let now = Timestamp(1_000_000);
        Self {
            rules,
            work,
            ledger: Ledger::begin(work, now),
            registry: Registry::default(),
            edition: Edition::default(),
            host: Host::default(),
            inner: Gateway::named("server-0".into()),
            outer: Gateway::named("edge".into()),
            now,
            part: Part::Look,
            lives: 0,
            worked: false,
            looked: now,
            ended: BTreeSet::new(),
            waiting: Vec::new(),
            unnamed: BTreeMap::new(),
            most_wanted: 1,
            accidents: false,
            fresh_ends: Vec::new(),
            fresh_records: Vec::new(),
        }
    }

    pub(crate) fn step(&mut self, atom: &Atom) {
        self.forget_fresh();
        match atom {
            Atom::Reconcile => self.reconcile(),
            Atom::Take => self.take(),
            Atom::Report => self.report(),
            Atom::Live(id) => {
                let told = self.registry.is_told(&staging(), id);
                self.host.live(id, told, self.now);
            }
            Atom::Hear(id) => self.host.hear(id, self.rules.telling == Telling::AtOnce),
            Atom::Request(gate) => {
                let gateway = self.gate(*gate);
                for id in gateway.routed() {
                    *gateway.flights.entry(id).or_default() += 1;
                }
            }
            Atom::Finish(gate) => self.gate(*gate).flights.clear(),
            Atom::Tick(ms) => self.now = self.now.plus_ms(*ms),
        }
        self.note_named();
        self.note_wanted();
    }

    fn note_wanted(&mut self) {
        let wanted = self.ledger.environment().replicas_of(&first());
        self.most_wanted = self.most_wanted.max(wanted);
    }

    /// What was decided and recorded is looked at once, by what must hold after that step.
    pub(crate) fn forget_fresh(&mut self) {
        (self.fresh_ends, self.fresh_records) = (Vec::new(), Vec::new());
    }

    fn take(&mut self) {
        if self.outer.silent {
            return;
        }
        if let Some(table) = self.registry.tables(&staging()).borrow().clone() {
            self.outer.apply(&table);
        }
    }

    fn report(&mut self) {
        if self.outer.silent {
            return;
        }
        self.registry.receive(&self.outer.receipt(), self.now);
        if std::mem::take(&mut self.outer.behind) {
            self.outer.price.clone_from(&self.ended);
        }
    }

    /// Lets time pass, in which the gateway of its own reports each second.
    pub(crate) fn wait_until(&mut self, end: Timestamp) {
        while self.now < end {
            self.now = end.min(self.now.plus_ms(1_000));
            self.report();
        }
    }

    fn gate(&mut self, gate: Gate) -> &mut Gateway {
        match gate {
            Gate::Inner => &mut self.inner,
            Gate::Outer => &mut self.outer,
        }
    }

    fn note_named(&mut self) {
        let gateways = [&self.inner, &self.outer].into_iter().filter(|gateway| !gateway.behind);
        let named: BTreeSet<_> = gateways.flat_map(Gateway::routed).collect();
        self.unnamed.retain(|id, _| !named.contains(id));
        for id in self.host.bodies.keys().filter(|id| !named.contains(*id)) {
            self.unnamed.entry(id.clone()).or_insert(self.now);
        }
    }

    fn reconcile(&mut self) {
        self.part = match std::mem::replace(&mut self.part, Part::Look) {
            Part::Look => Part::See(self.ledger.world()),
            Part::See(world) => self.see(&world),
            Part::Apply(table) => {
                self.inner.apply(&table);
                Part::Look
            }
            Part::Begin(seen, actions) => self.begin(seen, actions),
            Part::Deliver(seen, mut rest, events) => match rest.pop() {
                Some(id) => {
                    self.deliver(&id);
                    Part::Ask(id, Box::new(Part::Deliver(seen, rest, events)))
                }
                None => Part::Record(seen, events),
            },
            Part::Ask(id, next) => {
                self.host.ask(&id);
                *next
            }
            Part::Record(seen, events) => {
                if !events.is_empty() && self.ledger.is_as_seen(&seen) {
                    self.fresh_records.clone_from(&events);
                    self.ledger.record(events, self.now);
                }
                Part::Look
            }
        };
    }

    fn see(&mut self, world: &World) -> Part {
        self.looked = self.now;
        let environment = world.environment(&staging()).expect("it was created first");
        self.registry.count_for(&staging(), periods(environment), self.now);
        self.registry.receive(&self.inner.receipt(), self.now);
        let instances = self.registry.shown(&staging(), self.host.list());
        let mut observed = self.registry.observe(&staging(), instances, self.now);
        observed.trials = trials(environment);
        let table = compile_routes(world, environment, &observed, &[], 0, self.now);
        let edition = &mut self.edition;
        let next = || {
            *edition = edition.next();
            edition.clone()
        };
        if let Some(table) = self.registry.publish(table, next) {
            self.worked = true;
            return Part::Apply(Box::new(table));
        }
        let actions =
            next_actions(Look { world, environment, observed: &observed, now: self.now, wall: self.now });
        if actions.is_empty() && self.registry.undelivered(&staging()).is_empty() {
            return Part::Look;
        }
        self.worked = true;
        Part::Begin(Arc::clone(environment), actions)
    }

    /// Returns when the reconciler would look again although nothing changes.
    pub(crate) fn next_look(&self) -> Option<Timestamp> {
        let instances = self.registry.shown(&staging(), self.host.list());
        let observed = self.registry.observe(&staging(), instances, self.now);
        let (world, environment) = (self.ledger.world(), self.ledger.environment());
        let (observed, now) = (&observed, self.now);
        next_look(Look { world: &world, environment: &environment, observed, now, wall: now })
    }

    fn begin(&mut self, seen: Arc<Environment>, actions: Vec<Action>) -> Part {
        let holds = self.rules.carrying == Carrying::Regardless || self.ledger.is_as_seen(&seen);
        if !holds {
            return Part::Look;
        }
        let mut records = Vec::new();
        for action in actions {
            match action {
                Action::Start { arm, count } => (0..count).for_each(|_| self.host.launch(&arm, self.now)),
                Action::RunResource { resource } => panic!("no environment here has resources: {resource}"),
                Action::RunJob { instance, .. } => panic!("no version here has jobs: {instance}"),
                Action::Stop { instance } => self.tell(instance),
                Action::Remove { instance } => drop(self.host.bodies.remove(&instance)),
                Action::Record { events } => records.extend(events),
            }
        }
        let mut undelivered = self.registry.undelivered(&staging());
        undelivered.append(&mut self.waiting);
        Part::Deliver(seen, undelivered, records)
    }

    fn tell(&mut self, id: InstanceId) {
        match self.rules.telling {
            Telling::AtOnce => self.registry.tell(&staging(), std::slice::from_ref(&id)),
            Telling::WhenReported => self.waiting.push(id.clone()),
        }
        self.fresh_ends.push(id.clone());
        self.ended.insert(id);
    }

    fn deliver(&mut self, id: &InstanceId) {
        let at_once = self.rules.telling == Telling::AtOnce;
        if self.host.stop(id, at_once) && at_once {
            self.registry.delivered(&staging(), id);
        }
    }

    /// The server dies and another begins, which waits for the gateway that the first one knew.
    pub(crate) fn crash(&mut self) {
        self.lives += 1;
        self.registry = Registry::default();
        self.registry.expect(&staging(), "edge", self.now);
        self.inner = Gateway::named(format!("server-{}", self.lives));
        self.host.lose_server(self.rules.finding);
        self.waiting.clear();
        let host = &self.host;
        self.ended.retain(|id| host.bodies.get(id).is_some_and(|body| body.marked));
        self.part = Part::Look;
        self.note_named();
    }
}

/// Judges every service on trial by time alone: what is simulated is when things happen, and not what requests say.
fn trials(environment: &Environment) -> BTreeMap<ServiceName, Arc<Trial>> {
    let by_time = || {
        let mut trial = Trial::default();
        trial.plan.rules.min_requests = 0;
        Arc::new(trial)
    };
    environment.entries().keys().map(|service| (service.clone(), by_time())).collect()
}

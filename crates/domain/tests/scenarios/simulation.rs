//! A world made by events, and a fleet that does what it is told, on a simulated clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::compatibility::Shapes;
use lockstep_domain::changelog::Changelog;
use lockstep_domain::compat::Relation;
use lockstep_domain::compile::compile_routes;
use lockstep_domain::contract::Requirement;
use lockstep_domain::database::Told;
use lockstep_domain::environment::EnvironmentSettings;
use lockstep_domain::evidence::{Evidence, Outcome, TestCounts};
use lockstep_domain::fault::Fault;
use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::host::{doubt_unreached, evacuated, is_on_hosts};
use lockstep_domain::job::{PlannedJob, When};
use lockstep_domain::lifecycle::Lifecycle;
use lockstep_domain::lost_host::{lost, waits_for_hosts};
use lockstep_domain::name::ResourceName;
use lockstep_domain::observed::{Observed, Tables};
use lockstep_domain::operation::{Move, Phase};
use lockstep_domain::placement::{NoPlace, Placing, place};
use lockstep_domain::plan::{Decision, InTheWay, Refusal, Wish, decide};
use lockstep_domain::reconcile::{Action, Look, next_actions};
use lockstep_domain::routes::{ArmTraffic, RouteTable};
use lockstep_domain::run::{HealthCheck, Port, Probe, ReplaceAfter, Restart, RunSpec, Stop};
use lockstep_domain::service::{Artifact, Source, Version};
use lockstep_domain::verdict::{Trial, rules};
use lockstep_domain::world::consequences;
use lockstep_domain::{
    Actor, Arm, CallAddress, Digest, Environment, EnvironmentName, Event, HostName, Instance, InstanceId,
    InstanceState, Intent, Operation, OperationId, Plan, Recorded, ServiceName, Strategy, Timestamp, World,
    plan,
};

use lockstep_judge::{Counts, Interval, Pair, Reading, Split, Weight};

/// A world, a fleet and a clock.
#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) contracts: Shapes,
    pub(crate) now: Timestamp,
    /// What the clock on the wall is ahead of the time that passes, in milliseconds.
    pub(crate) ahead_ms: i64,
    pub(crate) instances: Vec<Instance>,
    /// Runs of jobs: they go on until somebody ends them.
    pub(crate) jobs: Vec<Instance>,
    /// Every run of a job that was ever started.
    begun: BTreeSet<InstanceId>,
    /// Processes of resources: they stay as they begin until somebody changes them.
    pub(crate) resources: Vec<Instance>,
    /// What steps at databases have said.
    pub(crate) databases: BTreeMap<InstanceId, Told>,
    /// Since when an instance has been in the table for its own clients alone.
    leaving: BTreeMap<InstanceId, Timestamp>,
    /// Requests and failures of each arm since the present step began.
    pub(crate) traffic: BTreeMap<Arm, ArmTraffic>,
    /// Requests under way at instances.
    pub(crate) in_flight: BTreeMap<InstanceId, u64>,
    /// Arms whose instances never become healthy.
    pub(crate) broken: Vec<String>,
    /// Whose doing it is that they do not, where it is not their own.
    pub(crate) faults: BTreeMap<String, Fault>,
    /// Every event, as text, for comparing.
    pub(crate) log: Vec<Recorded>,
    started: u32,
    /// Whether what is told to end goes on until [`Stage::end_stopping`].
    pub(crate) slow_stops: bool,
    /// Whether a request is under way that came in before everything.
    pub(crate) holds: bool,
    /// Hosts that are not reached.
    pub(crate) away: BTreeSet<HostName>,
    /// Those of them that nobody waits for any more.
    pub(crate) gone: BTreeSet<HostName>,
    /// Hosts on which nothing starts, and why.
    pub(crate) failing: BTreeMap<HostName, Fault>,
    /// Whether what is started is not healthy until [`Stage::finish_starts`].
    pub(crate) slow_starts: bool,
}

pub(crate) fn environment(name: &str) -> EnvironmentName {
    name.parse().unwrap()
}

pub(crate) fn service(name: &str) -> ServiceName {
    name.parse().unwrap()
}

/// Reads `orders@1.2.0`.
pub(crate) fn deploy(versions: &[&str]) -> Intent {
    Intent::Deploy { versions: versions.iter().map(|text| text.parse().unwrap()).collect() }
}

impl Stage {
    /// Begins with the standard lifecycle and three environments.
    pub(crate) fn new() -> Self {
        let mut stage = Self {
            world: World::default(),
            now: Timestamp(1_000_000),
            ahead_ms: 0,
            instances: Vec::new(),
            jobs: Vec::new(),
            begun: BTreeSet::new(),
            resources: Vec::new(),
            databases: BTreeMap::new(),
            leaving: BTreeMap::new(),
            traffic: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            broken: Vec::new(),
            faults: BTreeMap::new(),
            log: Vec::new(),
            started: 0,
            slow_stops: false,
            holds: false,
            away: BTreeSet::new(),
            gone: BTreeSet::new(),
            failing: BTreeMap::new(),
            slow_starts: false,
            contracts: Shapes::default(),
        };
        stage.record(Event::LifecycleDefined {
            name: "default".parse().unwrap(),
            lifecycle: Lifecycle::standard(),
        });
        for (name, accepts_from) in
            [("development", "created"), ("staging", "testing"), ("production", "production-validation")]
        {
            let settings = EnvironmentSettings {
                accepts_from: accepts_from.parse().unwrap(),
                lanes_accept: Default::default(),
                strategy: Strategy::AllAtOnce,
                warm_ms: 60_000,
                stay_ms: 0,
                drain_ms: None,
                instance_ports: lockstep_domain::instance_ports::InstancePorts::Server,
                gateway_port: 8500,
                gateway_url: CallAddress::Server,
                gateway_rules: GatewayRules::usual(),
                entry: Box::default(),
                answer_checks: lockstep_domain::watch::AnswerChecks::usual(),
                proven_after: Default::default(),
                lost_hosts: Default::default(),
                clients_at: Default::default(),
            };
            stage.record(Event::EnvironmentCreated { environment: environment(name), settings });
        }
        stage
    }

    /// Records an event and everything that follows from it, like the ledger does.
    pub(crate) fn record(&mut self, event: Event) {
        let mut open = vec![event];
        while !open.is_empty() {
            let event = open.remove(0);
            let recorded =
                Recorded { seq: self.world.seq + 1, at: self.now, actor: "ann".parse().unwrap(), event };
            self.world.fold(&recorded).unwrap();
            open.extend(consequences(&self.world, &recorded.event, self.now));
            self.log.push(recorded);
        }
    }

    /// Records `orders@1.2.0` that requires e.g. `payments ^2.1`, with green unit tests.
    pub(crate) fn release(&mut self, version: &str, requires: &[(&str, &str)]) {
        self.release_with(version, requires, |_| {});
    }

    pub(crate) fn release_with(
        &mut self,
        version: &str,
        requires: &[(&str, &str)],
        change: impl FnOnce(&mut Version),
    ) {
        let reference: lockstep_domain::VersionRef = version.parse().unwrap();
        if !self.world.services.contains_key(&reference.service) {
            self.record(Event::ServiceRegistered {
                service: reference.service.clone(),
                source: Source { repository: "/src".into(), folder: String::new() },
                owner: None,
                lifecycle: "default".parse().unwrap(),
                unrelated: None,
            });
        }
        let mut version = bare_version(&reference, self.now);
        version.requires = requires
            .iter()
            .map(|(name, range)| (service(name), Requirement::of_range(range.parse().unwrap())))
            .collect();
        change(&mut version);
        self.record(Event::VersionRecorded { service: reference.service, version: Box::new(version) });
    }

    pub(crate) fn relation(&self) -> Relation<'_> {
        Relation { world: &self.world, contracts: &self.contracts }
    }

    pub(crate) fn env(&self, name: &str) -> &Environment {
        self.world.environment(&environment(name)).unwrap()
    }

    pub(crate) fn plan(
        &self,
        name: &str,
        intent: &Intent,
        strategy: Option<&Strategy>,
    ) -> Result<Plan, Vec<Refusal>> {
        plan(self.relation(), &environment(name), intent, strategy, self.now)
    }

    /// Decides what a wish of Bob's means.
    pub(crate) fn decide(&self, name: &str, wish: &Wish<'_>) -> Result<Decision, Vec<Refusal>> {
        decide(self.relation(), &environment(name), wish, (&"bob".parse().unwrap(), self.now))
    }

    /// Decides what going back means when it takes back what is in the way.
    pub(crate) fn interrupt(&self, name: &str, intent: &Intent) -> Result<Decision, Vec<Refusal>> {
        self.decide(name, &Wish { in_the_way: InTheWay::IsTakenBack, ..Wish::of(intent, None) })
    }

    /// Plans and begins an operation.
    pub(crate) fn begin(&mut self, name: &str, intent: &Intent, strategy: Option<&Strategy>) -> OperationId {
        let plan = self.plan(name, intent, strategy).unwrap_or_else(|refusals| panic!("{refusals:?}"));
        self.begin_plan(name, intent, plan)
    }

    /// Begins an operation with a plan that was made before.
    pub(crate) fn begin_plan(&mut self, name: &str, intent: &Intent, plan: Plan) -> OperationId {
        let operation = Operation {
            id: OperationId(self.world.operations + 1),
            environment: environment(name),
            actor: "ann".parse().unwrap(),
            intent: intent.clone(),
            reason: String::new(),
            plan,
            begun: self.now,
            phase: Phase::Preparing { wave: 0, since: self.now },
            proof: String::new(),
            waits: None,
            jobs: Vec::new(),
            accepted: Vec::new(),
        };
        let id = operation.id;
        self.traffic.clear();
        self.record(Event::OperationBegun { operation: Box::new(operation) });
        id
    }

    /// Begins an operation and lets everything happen until it is settled.
    pub(crate) fn run(&mut self, name: &str, intent: &Intent, strategy: Option<&Strategy>) -> Phase {
        let id = self.begin(name, intent, strategy);
        for _ in 0..10_000 {
            if self.world.find_operation(id).unwrap().phase.is_settled() {
                return self.world.find_operation(id).unwrap().phase.clone();
            }
            self.step(name);
        }
        panic!("operation {id} does not settle: {:?}", self.world.find_operation(id).unwrap().phase);
    }

    pub(crate) fn observed(&self, name: &str) -> Observed {
        let leaving_since = self.leaving.clone();
        let over = self.env(name).operations.iter().filter(|_| !self.holds);
        let behind: BTreeSet<_> = over.map(|operation| operation.id).collect();
        let mut seen = Observed {
            instances: self.in_env(name),
            leaving_since,
            behind: behind.clone(),
            evacuated: evacuated(&self.world, &self.instances),
            lost: lost(self.env(name), &self.instances, &self.gone),
            away: self.away.clone(),
            ..Observed::default()
        };
        doubt_unreached(self.env(name), &mut seen, &self.away);
        let table = self.table_of(name, &seen);
        let routed: Vec<_> = table
            .services
            .values()
            .flat_map(|routes| &routes.splits)
            .flat_map(lockstep_domain::routes::Split::instances)
            .map(|endpoint| endpoint.instance.clone())
            .collect();
        let instances = self.in_env(name);
        let unrouted = instances.iter().filter(|instance| !routed.contains(&instance.id));
        let mut observed = Observed {
            evacuated: evacuated(&self.world, &self.instances),
            unreached: BTreeSet::new(),
            not_led_to: BTreeSet::new(),
            lost: lost(self.env(name), &self.instances, &self.gone),
            away: self.away.clone(),
            unrouted_since: unrouted.map(|instance| (instance.id.clone(), self.now)).collect(),
            instances,
            in_flight: self.in_flight.clone(),
            tables: Tables::Applied,
            troubles: BTreeMap::new(),
            watched: BTreeMap::new(),
            trials: self.trials(name),
            work: BTreeMap::new(),
            steady_since: self.steady(),
            counting_since: BTreeMap::new(),
            jobs: self.jobs.clone(),
            resources: self.resources.clone(),
            databases: self.databases.clone(),
            leaving_since: self.leaving.clone(),
            behind,
        };
        doubt_unreached(self.env(name), &mut observed, &self.away);
        observed
    }

    /// What is judged of each service that has two arms now: all traffic as one interval.
    fn trials(&self, name: &str) -> BTreeMap<ServiceName, Arc<Trial>> {
        self.env(name).moving().flat_map(|operation| self.trials_of(operation)).collect()
    }

    fn trials_of(&self, operation: &Operation) -> BTreeMap<ServiceName, Arc<Trial>> {
        let (Some(bound), Phase::Shifted { step, wave, .. }) =
            (operation.plan.strategy.bound(), &operation.phase)
        else {
            return BTreeMap::new();
        };
        let weight = operation.plan.steps_of(*wave).get(*step).map_or(0, |step| step.weight);
        let trial = |part: &Move| {
            let (new, old) = (part.to_arm()?, part.from_arm()?);
            let of = |arm| self.traffic.get(&arm).copied().unwrap_or_default();
            let counts = |it: ArmTraffic| Counts::with_failures(it.requests, it.failures);
            let total = Pair { new: counts(of(new)), old: counts(of(old)) };
            let split = Split::Drawn(Weight(weight));
            let interval = Interval { lasted_ms: 1_000, split, total, classes: BTreeMap::new() };
            let plan = lockstep_judge::Plan { rules: rules(bound), ..Default::default() };
            let mut evidence = lockstep_judge::Evidence::default();
            evidence.take(&plan, &Reading::Counted(interval));
            Some((part.service.clone(), Arc::new(Trial { plan, evidence })))
        };
        operation.plan.moves().filter_map(trial).collect()
    }

    fn steady(&self) -> BTreeMap<InstanceId, Timestamp> {
        let healthy = self.instances.iter().filter(|instance| instance.state.is_healthy());
        healthy.map(|instance| (instance.id.clone(), instance.since)).collect()
    }

    pub(crate) fn table(&self, name: &str) -> RouteTable {
        self.table_of(name, &self.observed(name))
    }

    fn table_of(&self, name: &str, observed: &Observed) -> RouteTable {
        compile_routes(&self.world, self.env(name), observed, &[], 1, self.now)
    }

    fn in_env(&self, name: &str) -> Vec<Instance> {
        let all = self.instances.iter().filter(|instance| instance.environment == environment(name));
        self.world.as_named_now(all.cloned().collect())
    }

    /// Adds time to the clock that does not pass, as a server does that finds itself behind the wall clock.
    pub(crate) fn skip(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.record(Event::ClockSkipped { ms });
        self.instances.iter_mut().for_each(|instance| instance.since = instance.since.plus_ms(ms));
    }

    /// What the clock on the wall says.
    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp(self.now.0.saturating_add_signed(self.ahead_ms))
    }

    /// Lets 10 ms pass, carries out what the reconciler wants, and makes started instances healthy.
    pub(crate) fn step(&mut self, name: &str) {
        self.now = self.now.plus_ms(10);
        self.place_waiting(name);
        self.note_leaving(name);
        let (observed, now) = (self.observed(name), self.now);
        let wall = self.wall();
        let look = Look { world: &self.world, environment: self.env(name), observed: &observed, now, wall };
        let actions = next_actions(look);
        self.check_order(name, &actions);
        let slow_stops = self.slow_stops;
        for action in actions {
            match action {
                Action::Start { arm, count } => (0..count).for_each(|_| self.start(name, &arm)),
                Action::Stop { instance } => {
                    let now = self.now;
                    let mut all = self.instances.iter_mut().chain(&mut self.jobs).chain(&mut self.resources);
                    let found = all.find(|candidate| candidate.id == instance).unwrap();
                    let is_away = found.host.as_ref().is_some_and(|host| self.away.contains(host));
                    let is_slow = slow_stops || is_away;
                    let state = if is_slow { InstanceState::Stopping } else { InstanceState::Stopped };
                    (found.state, found.since) = (state, now);
                }
                Action::RunJob { job, instance } => self.run_job(name, &job, instance),
                Action::RunResource { resource } => self.run_resource(name, &resource),
                Action::Remove { instance } => {
                    self.instances.retain(|candidate| candidate.id != instance);
                    self.jobs.retain(|candidate| candidate.id != instance);
                    self.resources.retain(|candidate| candidate.id != instance);
                }
                Action::Record { events } => events.into_iter().for_each(|event| {
                    if matches!(event, Event::WaveShifted { .. }) {
                        self.traffic.clear();
                    }
                    self.record(event);
                }),
            }
        }
    }

    /// Nothing of an operation starts before everything that comes first has succeeded, whatever else is found in the same look.
    fn check_order(&self, name: &str, actions: &[Action]) {
        let environment = self.env(name);
        let stays = |arm: &Arm| {
            let entry = environment.entries().get(&arm.service);
            let is_live = entry.is_some_and(|entry| entry.arm(&arm.service) == arm.main());
            is_live || environment.ruled_arms().any(|ruled| ruled == *arm)
        };
        let waits = |operation: &Operation| {
            let first =
                operation.plan.jobs.iter().filter(|planned| planned.when != When::AfterDeploy).count();
            let ended = operation.jobs.iter().take(first).filter_map(|run| run.end.as_ref());
            ended.filter(|end| end.failure.is_none()).count() < first
        };
        for operation in environment.under_way().filter(|operation| waits(operation)) {
            let comes = |arm: &Arm| operation.plan.moves().flat_map(Move::to_arms).any(|to| to == *arm);
            for action in actions {
                let early = matches!(action, Action::Start { arm, .. } if comes(arm) && !stays(arm));
                assert!(!early, "{action:?} before what comes first in operation {} is done", operation.id);
            }
        }
    }

    /// Remembers what is in the table for its clients alone, as the registry does.
    fn note_leaving(&mut self, name: &str) {
        let table = self.table(name);
        for split in table.services.values().flat_map(|routes| &routes.splits) {
            self.leaving.retain(|id, _| !split.endpoints.iter().any(|it| it.instance == *id));
            for endpoint in &split.leaving {
                self.leaving.entry(endpoint.instance.clone()).or_insert(self.now);
            }
        }
    }

    /// Ends what was told to end.
    pub(crate) fn end_stopping(&mut self) {
        for instance in self.instances.iter_mut().filter(|i| i.state == InstanceState::Stopping) {
            instance.state = InstanceState::Stopped;
        }
    }

    fn run_job(&mut self, name: &str, planned: &PlannedJob, id: InstanceId) {
        assert!(self.begun.insert(id.clone()), "{id} runs twice");
        self.jobs.push(Instance {
            id,
            environment: environment(name),
            arm: planned.arm.clone(),
            state: InstanceState::Starting,
            address: None,
            since: self.now,
            restarts: 0,
            job: Some(planned.job.clone()),
            resource: None,
            host: None,
        });
    }

    fn run_resource(&mut self, name: &str, resource: &ResourceName) {
        let beside =
            self.resources.iter().find(|it| it.resource.as_ref() == Some(resource) && !it.state.is_over());
        assert_eq!(beside, None, "two at once");
        self.started += 1;
        self.resources.push(Instance {
            id: format!("resource-{resource}-{}", self.started).parse().unwrap(),
            environment: environment(name),
            arm: self.env(name).resources[resource].arm(resource),
            state: InstanceState::Starting,
            address: None,
            since: self.now,
            restarts: 0,
            job: None,
            resource: Some(resource.clone()),
            host: None,
        });
    }

    fn start(&mut self, name: &str, arm: &Arm) {
        self.started += 1;
        let names = [arm.version_ref().to_string(), arm.to_string()];
        let broken = names.iter().any(|name| self.broken.contains(name));
        let reason = "never answered its health check".to_owned();
        let fault = self.faults.get(&arm.version_ref().to_string()).copied().unwrap_or_default();
        let place = is_on_hosts(&self.world, &environment(name)).then(|| self.place(name, arm));
        let waits = waits_for_hosts(&self.world, &environment(name), &arm.service) && !self.away.is_empty();
        let (broken, reason, fault) = match &place {
            Some(Err(_)) if waits => (false, reason, fault),
            Some(Err(nowhere)) => (true, nowhere.to_string(), Fault::NoHost),
            Some(Ok(host)) if let Some(fault) = self.failing.get(host) => {
                (true, "no space left".to_owned(), *fault)
            }
            _ => (broken, reason, fault),
        };
        let is_slow = self.slow_starts || matches!(place, Some(Err(_)));
        let healthy = if is_slow { InstanceState::Starting } else { InstanceState::Healthy };
        let id: InstanceId = format!("{}-{}-{}", arm.service, arm.version, self.started).parse().unwrap();
        self.instances.push(Instance {
            id,
            environment: environment(name),
            arm: arm.clone(),
            state: if broken { InstanceState::failed(reason, fault) } else { healthy },
            address: Some(format!("127.0.0.1:{}", 20_000 + self.started).parse().unwrap()),
            since: self.now,
            restarts: 0,
            job: None,
            resource: None,
            host: place.and_then(Result::ok),
        });
    }

    /// Finds hosts for what waits for one.
    fn place_waiting(&mut self, name: &str) {
        let waits = |it: &Instance| it.state == InstanceState::Starting && it.host.is_none();
        if !is_on_hosts(&self.world, &environment(name)) {
            return;
        }
        for index in 0..self.instances.len() {
            if waits(&self.instances[index]) {
                let arm = self.instances[index].arm.clone();
                self.instances[index].host = self.place(name, &arm).ok();
            }
        }
    }

    /// Makes healthy what starts on hosts that are reached.
    pub(crate) fn finish_starts(&mut self) {
        let (away, now) = (&self.away, self.now);
        let is_there = |it: &Instance| it.host.as_ref().is_some_and(|host| !away.contains(host));
        for instance in &mut self.instances {
            if instance.state == InstanceState::Starting && is_there(instance) {
                (instance.state, instance.since) = (InstanceState::Healthy, now);
            }
        }
    }

    fn place(&self, name: &str, arm: &Arm) -> Result<HostName, NoPlace> {
        let reached = self.world.hosts.keys().filter(|host| !self.away.contains(*host)).cloned().collect();
        let (world, environment) = (&self.world, self.env(name));
        place(
            Placing {
                world,
                environment,
                reached: &reached,
                mute: &BTreeSet::new(),
                running: &self.instances,
            },
            arm,
        )
    }

    /// Writes the current set as `orders@1.0.0 payments@2.0.0`.
    pub(crate) fn runs(&self, name: &str) -> String {
        let entries = self.env(name).entries().iter();
        entries.map(|(service, entry)| format!("{service}@{entry}")).collect::<Vec<_>>().join(" ")
    }
}

fn bare_version(reference: &lockstep_domain::VersionRef, now: Timestamp) -> Version {
    Version {
        number: reference.version.clone(),
        commit: "c0ffee".into(),
        branch: "main".into(),
        reach: None,
        artifact: Artifact { digest: Digest::from_bytes([1; 32]), bytes: 1 },
        made_elsewhere: None,
        manifest: lockstep_domain::service::ManifestOrigin::Commit,
        build: "b1".into(),
        databases: Vec::new(),
        build_key: Digest::from_bytes([2; 32]),
        tools: BTreeMap::new(),
        run: RunSpec {
            work: Default::default(),
            protocol: Default::default(),
            gateway: None,
            prepare: None,
            approach: Default::default(),
            kind: Default::default(),
            command: vec!["./serve".into()],
            variables: BTreeMap::new(),
            port: Port::Assigned,
            health: HealthCheck::new(Probe::Tcp),
            stop: Stop::default(),
            restart: Restart::default(),
            data: Vec::new(),
            files: Vec::new(),
            values: lockstep_domain::run::Values::Verbatim,
            replace: lockstep_domain::run::Replace::NewFirst,
            replace_after: ReplaceAfter::default(),
            static_files: None,
            external: None,
            limits: lockstep_domain::limits::Limits::default(),
            image: None,
            user: lockstep_domain::run::RunUser::Own,
            hosts: Default::default(),
        },
        processes: Default::default(),
        jobs: Vec::new(),
        criticality: Default::default(),
        requires: BTreeMap::new(),
        resources: BTreeMap::new(),
        contracts: Vec::new(),
        routes: Vec::new(),
        checks: Vec::new(),
        changelog: Changelog::default(),
        notes: String::new(),
        unrelated: None,
        documents: BTreeMap::new(),
        recorded_by: Actor::lockstep(),
        recorded: now,
        stage: "created".parse().unwrap(),
        stage_since: now,
        evidence: vec![Evidence {
            kind: "unit".parse().unwrap(),
            outcome: Outcome::Green,
            at: now,
            tests: TestCounts { passed: 3, ..TestCounts::default() },
            failures: Vec::new(),
            report: None,
            origin: lockstep_domain::evidence::Origin::Here,
            mirrored: None,
        }],
        approvals: Vec::new(),
    }
}

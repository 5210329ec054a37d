//! The journal of the simulation: a world that events are folded into, as the ledger does it.

use std::sync::Arc;

use lockstep_domain::changelog::Changelog;
use lockstep_domain::compat::Relation;
use lockstep_domain::contract::{Answer, Contracts, DatabaseWay, OfferedContract, UsedContract};
use lockstep_domain::environment::EnvironmentSettings;
use lockstep_domain::fault::Cause;
use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::lifecycle::Lifecycle;
use lockstep_domain::operation::Phase;
use lockstep_domain::plan::{Decision, InTheWay, Refusal, Wish, decide};
use lockstep_domain::reconcile::revert;
use lockstep_domain::run::{HealthCheck, Kind, Port, Replace, ReplaceAfter, Restart, RunSpec, Stop};
use lockstep_domain::service::{Artifact, Source, Version};
use lockstep_domain::world::consequences;
use lockstep_domain::{
    Actor, CallAddress, Digest, Environment, EnvironmentName, Event, Intent, Operation, OperationId, Plan,
    Recorded, Strategy, Timestamp, VersionNumber, World,
};

/// What the first service is: one that takes requests, or a worker. The other one always takes requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Web,
    Worker(Replace),
}

/// How long what was replaced stays warm.
pub(crate) const WARM_MS: u64 = 60_000;

/// The services here have no contracts.
struct NoContracts;

impl Contracts for NoContracts {
    fn fit(&self, _: &UsedContract, _: &[String], _: &OfferedContract) -> Answer {
        Answer::not_checked("there are none")
    }

    fn messages(&self, _: &OfferedContract, _: &OfferedContract) -> Answer {
        Answer::not_checked("there are none")
    }

    fn database(&self, _: &OfferedContract, _: &OfferedContract, _: DatabaseWay) -> Answer {
        Answer::not_checked("there are none")
    }
}

/// The world with one environment, `staging`, and four versions of each of two services that have nothing to do with each other.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    world: Arc<World>,
}

impl Ledger {
    pub(crate) fn begin(work: Work, now: Timestamp) -> Self {
        let mut ledger = Self { world: Arc::default() };
        ledger.record(first_events(work, now), now);
        ledger
    }

    pub(crate) fn world(&self) -> Arc<World> {
        Arc::clone(&self.world)
    }

    pub(crate) fn environment(&self) -> Arc<Environment> {
        Arc::clone(self.world.environment(&staging()).expect("it was created first"))
    }

    /// Tells whether nothing was recorded of the environment since it was looked at.
    pub(crate) fn is_as_seen(&self, seen: &Arc<Environment>) -> bool {
        Arc::ptr_eq(&self.environment(), seen)
    }

    pub(crate) fn record(&mut self, events: Vec<Event>, now: Timestamp) {
        let mut next = World::clone(&self.world);
        let mut open: std::collections::VecDeque<_> = events.into();
        while let Some(event) = open.pop_front() {
            let one = Recorded { seq: next.seq + 1, at: now, actor: Actor::lockstep(), event };
            next.fold(&one).unwrap_or_else(|error| panic!("{error}"));
            open.extend(consequences(&next, &one.event, now));
        }
        self.world = Arc::new(next);
    }

    /// Does what a wish means, as the control does it; a refusal is an ordinary answer.
    pub(crate) fn wish(&mut self, wish: &Wish<'_>, now: Timestamp) -> Result<(), Vec<Refusal>> {
        let world = self.world();
        let relation = Relation { world: &world, contracts: &NoContracts };
        match decide(relation, &staging(), wish, (&Actor::lockstep(), now))? {
            Decision::Begins { ended, plan } => drop(self.begin_plan(wish.intent, *plan, ended, now)),
            Decision::TakesBack(all) => all.into_iter().for_each(|id| self.take_back(id, now)),
            Decision::GoesThere(_) => {}
        }
        Ok(())
    }

    /// Plans and begins an operation; a refusal is an ordinary answer.
    pub(crate) fn begin_operation(&mut self, intent: &Intent, strategy: Option<&Strategy>, now: Timestamp) {
        let _ = self.wish(&Wish::of(intent, strategy), now);
    }

    /// Begins to go back, and takes back what is in the way, in one record.
    pub(crate) fn interrupt(&mut self, intent: &Intent, now: Timestamp) {
        let _ = self.wish(&Wish { in_the_way: InTheWay::IsTakenBack, ..Wish::of(intent, None) }, now);
    }

    /// Takes an operation back that is under way.
    pub(crate) fn take_back(&mut self, id: OperationId, now: Timestamp) {
        let environment = self.environment();
        let found = environment.under_way().find(|operation| operation.id == id);
        if let Some(operation) = found.filter(|it| !matches!(it.phase, Phase::Reverting { .. })) {
            self.record(vec![revert(operation, Cause::of_nobody("somebody took it back"))], now);
        }
    }

    fn begin_plan(
        &mut self,
        intent: &Intent,
        plan: Plan,
        mut before: Vec<Event>,
        now: Timestamp,
    ) -> OperationId {
        let world = self.world();
        let operation = Operation {
            id: OperationId(world.operations + 1),
            environment: staging(),
            actor: Actor::lockstep(),
            intent: intent.clone(),
            reason: String::new(),
            plan,
            begun: now,
            phase: Phase::Preparing { wave: 0, since: now },
            proof: String::new(),
            waits: None,
            accepted: Vec::new(),
            jobs: Vec::new(),
        };
        let id = operation.id;
        before.push(Event::OperationBegun { operation: Box::new(operation) });
        self.record(before, now);
        id
    }
}

pub(crate) fn staging() -> EnvironmentName {
    "staging".parse().expect("a valid name")
}

fn first_events(work: Work, now: Timestamp) -> Vec<Event> {
    let settings = EnvironmentSettings {
        accepts_from: "created".parse().expect("a valid name"),
        lanes_accept: Default::default(),
        strategy: Strategy::AllAtOnce,
        warm_ms: WARM_MS,
        stay_ms: 1_000,
        drain_ms: None,
        instance_ports: lockstep_domain::instance_ports::InstancePorts::Server,
        gateway_port: 8500,
        gateway_url: CallAddress::Server,
        gateway_rules: GatewayRules::default(),
        entry: Box::default(),
        answer_checks: lockstep_domain::watch::AnswerChecks::usual(),
        proven_after: Default::default(),
        lost_hosts: Default::default(),
        clients_at: Default::default(),
    };
    let mut events = vec![
        Event::LifecycleDefined {
            name: "default".parse().expect("a valid name"),
            lifecycle: Lifecycle::standard(),
        },
        Event::EnvironmentCreated { environment: staging(), settings },
    ];
    let both = [("orders", work), ("payments", Work::Web)];
    events.extend(both.into_iter().flat_map(|(name, work)| events_of(name, work, now)));
    events
}

fn events_of(name: &str, work: Work, now: Timestamp) -> Vec<Event> {
    let service = || name.parse().expect("a valid name");
    let registered = Event::ServiceRegistered {
        service: service(),
        source: Source { repository: "/src".into(), folder: String::new() },
        owner: None,
        lifecycle: "default".parse().expect("a valid name"),
        unrelated: None,
    };
    let versions = (0..4).map(|minor| Event::VersionRecorded {
        service: service(),
        version: Box::new(version(minor, work, now.plus_ms(minor))),
    });
    std::iter::once(registered).chain(versions).collect()
}

fn version(minor: u64, work: Work, now: Timestamp) -> Version {
    let (kind, replace) = match work {
        Work::Web => (Kind::Web, Replace::NewFirst),
        Work::Worker(replace) => (Kind::Worker, replace),
    };
    Version {
        number: VersionNumber::new(1, minor, 0),
        commit: "c0ffee".into(),
        branch: "main".into(),
        reach: None,
        artifact: Artifact { digest: Digest::from_bytes([1; 32]), bytes: 1 },
        build: "b1".into(),
        made_elsewhere: None,
        manifest: lockstep_domain::service::ManifestOrigin::Commit,
        databases: Vec::new(),
        build_key: Digest::from_bytes([2; 32]),
        tools: [].into(),
        processes: Default::default(),
        jobs: Vec::new(),
        run: RunSpec {
            work: Default::default(),
            protocol: Default::default(),
            gateway: None,
            prepare: None,
            approach: Default::default(),
            kind,
            command: vec!["./serve".into()],
            variables: [].into(),
            port: Port::Assigned,
            health: HealthCheck::new(kind.usual_probe()),
            stop: Stop::default(),
            restart: Restart::default(),
            data: Vec::new(),
            files: Vec::new(),
            values: lockstep_domain::run::Values::Verbatim,
            replace,
            replace_after: ReplaceAfter::default(),
            static_files: None,
            external: None,
            limits: lockstep_domain::limits::Limits::default(),
            image: None,
            user: lockstep_domain::run::RunUser::Own,
            hosts: Default::default(),
        },
        criticality: Default::default(),
        requires: [].into(),
        resources: [].into(),
        contracts: Vec::new(),
        routes: Vec::new(),
        checks: Vec::new(),
        changelog: Changelog::default(),
        notes: String::new(),
        unrelated: None,
        documents: [].into(),
        recorded_by: Actor::lockstep(),
        recorded: now,
        stage: "created".parse().expect("a valid name"),
        stage_since: now,
        evidence: Vec::new(),
        approvals: Vec::new(),
    }
}

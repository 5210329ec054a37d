//! Trials of versions: what gateways are asked to count, and the evidence that is made of what they counted.
//!
//! In memory only: gateways keep the counters of a trial, so a server that was started anew hears them again. What its own
//! gateway had counted is gone, so the evidence of such a server counts for less: see `Evidence::begun_anew`. What the version that serves
//! did before stands in the plan of the operation: by what is known after a start nothing could be compared.
//!
//! Invariant: the name of a trial says what is counted in it. Gateways begin anew where that is another, so nobody may take their counters
//! for those of before.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use lockstep_contract::Snapshot;
use lockstep_domain::contract::ContractKind;
use lockstep_domain::observed::Observed;
use lockstep_domain::operation::{Move, Phase};
use lockstep_domain::routes::{ArmTraffic, RouteTable, SplitRole};
use lockstep_domain::verdict::{Trial, rules};
use lockstep_domain::watch::{
    AnswerChecks, AnswerSample, ArmCounts, ByWeight, LATENCY_CLASSES, UsualTraffic, Watch, WatchedOperation,
    latency_bound_ms,
};
use lockstep_domain::{
    Arm, Digest, Environment, EnvironmentName, Operation, OperationId, Plan as Planned, ServiceName,
    Timestamp, World,
};
use lockstep_judge::rules::MAX_CLASSES;
use lockstep_judge::{
    Answers, Counts, Evidence, Interval, Pair, Plan, Reading, RouteClass, Split, Weight, latency_bounds,
};
use sha2::{Digest as _, Sha256};

use crate::answers::{AnswerChecker, Found};
use crate::traffic::of_arm;
use crate::{Control, lock};

/// Counters are taken in this often; a failure of the version on trial at once.
const INTERVAL_MS: u64 = 1_000;
/// A shorter latency is not told apart: of two equal processes on a busy host one is slower by some milliseconds for seconds.
const NOTICED_MS: u64 = 16;
/// So long without a gateway is an interval without counters.
const SILENCE_MS: u64 = 10_000;

/// What is known of a service before one of its versions goes on trial.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// Its operations as its contracts name them: `POST /pay`.
    pub(crate) operations: Vec<String>,
    /// What the version that serves did so far.
    pub(crate) traffic: ArmTraffic,
    /// By which bounds its latency is compared.
    pub(crate) latency_bounds_ms: BTreeSet<u64>,
    /// The contracts of the new version and of the one that serves, where answers are compared with them.
    pub(crate) contracts: Option<[Vec<Snapshot>; 2]>,
}

/// The trials of all environments.
#[derive(Debug)]
pub(crate) struct Judging {
    /// When this server began: what began before it was judged by another one too.
    started: Mutex<Timestamp>,
    trials: Mutex<BTreeMap<EnvironmentName, BTreeMap<ServiceName, Kept>>>,
}

/// A trial of one service.
#[derive(Debug)]
struct Kept {
    operation: OperationId,
    new: Arm,
    old: Arm,
    watch: Watch,
    /// Shared with whoever looks at it: a look every 50 ms copies nothing.
    trial: Arc<Trial>,
    step: (usize, usize),
    answers: Option<AnswerChecker>,
    /// What was taken in before.
    seen: ByWeight,
    taken: Timestamp,
}

impl Judging {
    /// Begins with a server that was started now.
    pub(crate) fn new(started: Timestamp) -> Self {
        Self { started: Mutex::new(started), trials: Mutex::default() }
    }

    /// Moves every time by time that was added to the clock and did not pass.
    pub(crate) fn skip(&self, ms: u64) {
        let mut started = lock(&self.started);
        *started = started.plus_ms(ms);
        for kept in lock(&self.trials).values_mut().flat_map(BTreeMap::values_mut) {
            kept.taken = kept.taken.plus_ms(ms);
        }
    }

    /// Begins the trials of the waves that an environment watches now, one of each operation, and ends all others. What is known
    /// before a trial is found out without the lock: contracts are read for it, and others look meanwhile.
    pub(crate) fn follow(&self, environment: &Environment, now: Timestamp, before: impl Fn(&Move) -> Before) {
        let watched = environment.under_way().filter_map(|it| watched(it));
        let watched = watched.flat_map(|(operation, wave, step)| {
            operation.plan.moves_of(wave).iter().map(move |part| (operation, part, (wave, step)))
        });
        let watched: Vec<_> = watched.collect();
        let is_new = |operation: &Operation, part: &Move| !self.knows(environment, operation, &part.service);
        let begun = watched.iter().filter(|(operation, part, _)| is_new(operation, part));
        let begun = begun.filter_map(|(operation, part, _)| {
            Some((part.service.clone(), self.begin((operation, part), &before, now)?))
        });
        let mut begun: BTreeMap<ServiceName, Kept> = begun.collect();
        let mut trials = lock(&self.trials);
        let kept = trials.entry(environment.name.clone()).or_default();
        let mut former = std::mem::take(kept);
        for (_, part, step) in watched {
            let trial = begun.remove(&part.service).or_else(|| former.remove(&part.service));
            kept.extend(trial.map(|trial| (part.service.clone(), trial.at(step))));
        }
    }

    fn knows(&self, environment: &Environment, operation: &Operation, service: &ServiceName) -> bool {
        let trials = lock(&self.trials);
        let kept = trials.get(&environment.name).and_then(|trials| trials.get(service));
        kept.is_some_and(|kept| kept.operation == operation.id)
    }

    fn begin(
        &self,
        (operation, part): (&Operation, &Move),
        before: &impl Fn(&Move) -> Before,
        now: Timestamp,
    ) -> Option<Kept> {
        let (new, old) = (part.to_arm()?, part.from_arm()?);
        let bound = operation.plan.strategy.bound().unwrap_or_default();
        let lost = u32::from(operation.begun < *lock(&self.started));
        let before = as_planned(before(part), &operation.plan.traffic_before, &old);
        Some(Kept::begin(operation.id, (new, old), rules(bound), &before, lost, now))
    }

    /// Says in a table what is to be counted.
    pub(crate) fn mark(&self, table: &mut RouteTable) {
        let trials = lock(&self.trials);
        let Some(trials) = trials.get(&table.environment) else { return };
        for (service, routes) in &mut table.services {
            let on_trial = routes.splits.iter().any(|split| split.role == SplitRole::Candidate);
            routes.watch = trials.get(service).filter(|_| on_trial).map(|kept| kept.watch.clone());
        }
    }

    /// Adds to what is observed what was judged of it at the last look.
    pub(crate) fn show(&self, environment: &EnvironmentName, observed: &mut Observed) {
        let trials = lock(&self.trials);
        let shown = trials.get(environment).into_iter().flatten();
        observed.trials = shown.map(|(service, kept)| (service.clone(), Arc::clone(&kept.trial))).collect();
    }

    /// Hands answers to those who compare them with contracts.
    pub(crate) fn compare(&self, environment: &EnvironmentName, samples: Vec<AnswerSample>) {
        let trials = lock(&self.trials);
        let Some(trials) = trials.get(environment) else { return };
        for sample in samples {
            let kept = trials.get(&sample.service).filter(|kept| kept.watch.trial == sample.trial);
            if let Some(answers) = kept.and_then(|kept| kept.answers.as_ref()) {
                answers.compare(sample);
            }
        }
    }

    /// Takes in what was counted, and adds to what is observed what is judged of it.
    pub(crate) fn look(
        &self,
        environment: &EnvironmentName,
        observed: &mut Observed,
        silent: bool,
        now: Timestamp,
    ) {
        let mut trials = lock(&self.trials);
        for (service, kept) in trials.get_mut(environment).into_iter().flatten() {
            let nothing = ByWeight::new();
            let totals = kept.with_answers(observed.watched.get(service).unwrap_or(&nothing));
            kept.take(&totals, silent, now);
        }
        drop(trials);
        self.show(environment, observed);
    }
}

/// What the plan says that the version did which serves, where it says so: operations of older releases do not.
fn as_planned(before: Before, usual: &[UsualTraffic], old: &Arm) -> Before {
    match usual.iter().find(|usual| usual.arm == *old) {
        Some(UsualTraffic { requests, failures, latency_bounds_ms, .. }) => Before {
            traffic: ArmTraffic { requests: *requests, failures: *failures },
            latency_bounds_ms: latency_bounds_ms.clone(),
            ..before
        },
        None => before,
    }
}

/// Gives what is counted for an operation a name that no other has.
fn named(operation: OperationId, watch: Watch) -> Watch {
    let counted = serde_json::to_vec(&Watch { trial: String::new(), ..watch.clone() }).unwrap_or_default();
    let digest = Digest::from_bytes(Sha256::digest(counted).into());
    Watch { trial: format!("operation {operation}, {}", digest.short()), ..watch }
}

/// The wave and step of an operation that are watched.
fn watched(operation: &Operation) -> Option<(&Operation, usize, usize)> {
    operation.plan.strategy.bound()?;
    match operation.phase {
        Phase::Shifted { wave, step, .. } => Some((operation, wave, step)),
        _ => None,
    }
}

impl Kept {
    fn begin(
        operation: OperationId,
        (new, old): (Arm, Arm),
        rules: lockstep_judge::Rules,
        before: &Before,
        lost: u32,
        now: Timestamp,
    ) -> Self {
        let operations = watched_operations(&before.operations);
        let usual = (before.traffic.requests > 0)
            .then(|| Counts::with_failures(before.traffic.requests, before.traffic.failures));
        let answers = before.contracts.clone().and_then(|contracts| answer_checker(&new, contracts));
        let plan = Plan {
            checks_bodies: answers.is_some(),
            classes: operations.iter().map(|operation| operation.class.clone()).collect(),
            latency_bounds_ms: before.latency_bounds_ms.clone(),
            usual,
            rules,
        };
        let watch = Watch {
            trial: String::new(),
            operations,
            statuses: plan.rules.failing.union(&plan.rules.watched).cloned().collect(),
            latency_bounds_ms: plan.latency_bounds_ms.clone(),
            answers: if answers.is_some() { AnswerChecks::Sampled } else { AnswerChecks::Off },
        };
        let watch = named(operation, watch);
        let evidence = if lost == 0 { Evidence::default() } else { Evidence::begun_anew(lost) };
        let trial = Arc::new(Trial { plan, evidence });
        Self { operation, new, old, watch, trial, step: (0, 0), answers, seen: ByWeight::new(), taken: now }
    }

    /// Tells the evidence when another step begins.
    fn at(mut self, step: (usize, usize)) -> Self {
        if self.step != step {
            self.step = step;
            Arc::make_mut(&mut self.trial).evidence.begin_step();
        }
        self
    }

    /// Adds what was found by comparing answers with contracts to what gateways counted; copies nothing where none are compared.
    fn with_answers<'a>(&mut self, watched: &'a ByWeight) -> Cow<'a, ByWeight> {
        let Some(Found { counts, wrong }) = self.answers.as_ref().map(AnswerChecker::found) else {
            return Cow::Borrowed(watched);
        };
        let mut totals = watched.clone();
        for (weight, arms) in counts {
            let sums = totals.entry(weight).or_default();
            arms.into_iter().for_each(|(arm, counts)| sums.entry(arm).or_default().add(&counts));
        }
        if !wrong.is_empty() {
            let evidence = &mut Arc::make_mut(&mut self.trial).evidence;
            wrong.iter().for_each(|(class, what)| evidence.note_wrong(class, what));
        }
        Cow::Owned(totals)
    }

    fn take(&mut self, totals: &ByWeight, silent: bool, now: Timestamp) {
        let lasted_ms = now.since_ms(self.taken);
        let intervals = self.intervals(totals, lasted_ms);
        let fails = |new: &Counts| !new.statuses.is_empty() || !new.broken.is_none();
        let urgent = intervals.iter().any(|interval| fails(&interval.total.new));
        if silent && lasted_ms >= SILENCE_MS {
            self.learn([Reading::Missing]);
            self.taken = now;
        } else if !silent && (urgent || lasted_ms >= INTERVAL_MS) {
            self.learn(intervals.into_iter().map(Reading::Counted));
            self.seen.clone_from(totals);
            self.taken = now;
        }
    }

    fn learn(&mut self, readings: impl IntoIterator<Item = Reading>) {
        let Trial { plan, evidence } = Arc::make_mut(&mut self.trial);
        readings.into_iter().for_each(|reading| evidence.take(plan, &reading));
    }

    /// Makes an interval of what was counted with each weight; one without requests where there was nothing at all.
    fn intervals(&self, totals: &ByWeight, lasted_ms: u64) -> Vec<Interval> {
        let none = ArmCounts::default();
        let since = |weight: &u32, arms: &BTreeMap<Arm, ArmCounts>, arm: &Arm| {
            let before = self.seen.get(weight).and_then(|arms| arms.get(arm)).unwrap_or(&none);
            arms.get(arm).unwrap_or(&none).since(before)
        };
        let pairs = totals
            .iter()
            .map(|(weight, arms)| (*weight, since(weight, arms, &self.new), since(weight, arms, &self.old)));
        let pairs: Vec<_> = pairs.filter(|(_, new, old)| !new.is_empty() || !old.is_empty()).collect();
        // The time belongs to all of them together.
        let first = usize::from(!pairs.is_empty());
        let rest = pairs.len().saturating_sub(first);
        let times = std::iter::repeat_n(lasted_ms, first).chain(std::iter::repeat_n(0, rest));
        let mut intervals: Vec<_> = pairs
            .into_iter()
            .zip(times)
            .map(|((weight, new, old), ms)| interval(weight, new, old, ms))
            .collect();
        if intervals.is_empty() {
            intervals.push(interval(0, none.clone(), none, lasted_ms));
        }
        intervals
    }
}

/// Without a thread nothing is compared, and the version is judged by all else.
fn answer_checker(new: &Arm, contracts: [Vec<Snapshot>; 2]) -> Option<AnswerChecker> {
    AnswerChecker::start(new.clone(), contracts)
        .inspect_err(|error| tracing::warn!(%error, "answers are not compared with contracts: no thread"))
        .ok()
}

fn interval(weight: u32, new: ArmCounts, old: ArmCounts, lasted_ms: u64) -> Interval {
    let mut classes = BTreeMap::<RouteClass, Pair>::new();
    for (class, counts) in new.classes {
        classes.entry(class).or_default().new = counts;
    }
    for (class, counts) in old.classes {
        classes.entry(class).or_default().old = counts;
    }
    let total = Pair { new: new.total, old: old.total };
    Interval { lasted_ms, split: Split::Drawn(Weight(weight)), total, classes }
}

/// The operations that are counted for themselves: those with the fewest variables first, so that `/orders/mine` is not taken for
/// `/orders/{id}`.
fn watched_operations(names: &[String]) -> Vec<WatchedOperation> {
    let mut operations: Vec<_> = names.iter().filter_map(|name| watched_operation(name)).collect();
    operations.sort_by_key(|operation| (operation.path.matches('{').count(), operation.class.clone()));
    operations.dedup_by(|one, other| one.class == other.class);
    operations.truncate(MAX_CLASSES);
    operations
}

fn watched_operation(name: &str) -> Option<WatchedOperation> {
    let (method, path) = name.split_once(' ')?;
    let class = name.parse().ok()?;
    path.starts_with('/').then(|| WatchedOperation {
        class,
        method: Some(method.to_owned()),
        path: path.to_owned(),
    })
}

/// Chooses the bounds of latency that are watched: those of the version that serves, and never a shorter one than people notice.
fn watched_bounds(latencies: &[u64; LATENCY_CLASSES]) -> BTreeSet<u64> {
    latency_bounds(&slower(latencies)).into_iter().map(|bound| bound.max(NOTICED_MS)).collect()
}

/// Makes exceedances of counts by class.
fn slower(latencies: &[u64; LATENCY_CLASSES]) -> Counts {
    let beyond = |class: usize| latencies[class + 1..].iter().sum();
    let bounds = (0..LATENCY_CLASSES)
        .filter_map(|class| Some((latency_bound_ms(class)?, Answers::each(beyond(class)))));
    Counts { requests: latencies.iter().sum(), slower: bounds.collect(), ..Counts::default() }
}

impl Control {
    /// Finds out what is known of a service before one of its versions goes on trial. A contract that cannot be read now has no
    /// operations of its own: everything is judged together then.
    pub(crate) fn before_trial(&self, environment: &Environment, world: &World, part: &Move) -> Before {
        let (Some(new), Some(old)) = (part.to_arm(), part.from_arm()) else { return Before::default() };
        let of_new = self.openapi_of(world, &new);
        let operations = of_new.iter().flat_map(operations_of).collect();
        let is_off = environment.settings.answer_checks.is_off() || of_new.is_empty();
        let contracts = (!is_off).then(|| [of_new, self.openapi_of(world, &old)]);
        let contracts = contracts.filter(|[_, of_old]| !of_old.is_empty());
        let traffic = of_arm(world, &self.registry.totals(&environment.name), &old);
        let latency_bounds_ms = self.judged_bounds(world, &environment.name, &old);
        Before { operations, traffic, latency_bounds_ms, contracts }
    }

    /// Notes in a plan what the versions do that others go on trial beside.
    pub(crate) fn note_traffic(&self, world: &World, environment: &EnvironmentName, plan: &mut Planned) {
        if plan.strategy.bound().is_none() {
            return;
        }
        let totals = self.registry.totals(environment);
        let usual = |arm: Arm| {
            let ArmTraffic { requests, failures } = of_arm(world, &totals, &arm);
            let latency_bounds_ms = self.judged_bounds(world, environment, &arm);
            UsualTraffic { arm, requests, failures, latency_bounds_ms }
        };
        let replaced = plan.moves().filter(|part| part.to.is_some()).filter_map(Move::from_arm);
        plan.traffic_before = replaced.map(usual).collect();
    }

    /// Counts the operations by which a version with the contracts of this one would be judged.
    pub(crate) fn judged_operations(&self, world: &World, arm: &Arm) -> usize {
        let operations: Vec<_> = self.openapi_of(world, arm).iter().flat_map(operations_of).collect();
        watched_operations(&operations).len()
    }

    /// Returns the bounds of latency by which a version after this one would be judged.
    pub(crate) fn judged_bounds(
        &self,
        world: &World,
        environment: &EnvironmentName,
        arm: &Arm,
    ) -> BTreeSet<u64> {
        watched_bounds(&self.latencies_of(world, environment, arm))
    }

    /// Reads the OpenAPI contracts of a version; what cannot be read is said once and left out.
    fn openapi_of(&self, world: &World, arm: &Arm) -> Vec<Snapshot> {
        let version = world.version(&arm.version_ref());
        let contracts = version.into_iter().flat_map(|version| version.contracts_of(ContractKind::OpenApi));
        let read = |contract: &Digest| {
            let snapshot = self.stored_contracts().snapshot(contract);
            let said = |why: &String| {
                tracing::warn!(%contract, why, "a version is judged without its contract: it cannot be read");
            };
            snapshot.inspect_err(said).ok()
        };
        contracts.filter_map(|contract| read(&contract.digest)).collect()
    }
}

fn operations_of(contract: &Snapshot) -> Vec<String> {
    lockstep_contract::operations(&contract.source).unwrap_or_else(|errors| {
        tracing::warn!(?errors, "routes are not judged one by one: the contract cannot be read");
        Vec::new()
    })
}

#[cfg(test)]
mod tests;

//! Reconciling: from what should be and what is seen to the next actions, until there are none.
//!
//! No step program is kept anywhere. Whatever was interrupted, the next look derives what is still to be done.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::BaselineEntry;
use crate::environment::{Environment, Hold};
use crate::event::Event;
use crate::fleet::Fleet;
use crate::instance::{Arm, Instance, InstanceId, InstanceState};
use crate::intent::Strategy;
use crate::name::{Actor, ServiceName};
use crate::observed::{Observed, Tables};
use crate::operation::{Move, Operation, Phase};
use crate::time::Timestamp;
use crate::verdict::{Verdict, judge};
use crate::version::VersionRef;

/// An instance that nobody sends requests to any more is stopped after this time even if requests are still under way.
pub const DRAIN_TIMEOUT_MS: u64 = 30_000;
/// A failed instance of a settled baseline is replaced after this pause, so that a broken one does not spin.
pub const REPLACE_PAUSE_MS: u64 = 5_000;
/// What is left of an instance that is over is kept for this time, for its log.
pub const KEEP_OVER_MS: u64 = 60 * 60 * 1_000;

/// Something to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start so many instances of an arm.
    Start {
        /// What.
        arm: Arm,
        /// How many.
        count: u32,
    },
    /// Ask an instance to end.
    Stop {
        /// Which.
        instance: InstanceId,
    },
    /// Delete what is left of an instance.
    Remove {
        /// Which.
        instance: InstanceId,
    },
    /// Record that an operation goes on or is over.
    Record {
        /// What is recorded.
        events: Vec<Event>,
    },
}

/// Returns what is to be done now. An empty answer means: wait until something changes, or until [`next_look`].
#[must_use]
pub fn next_actions(environment: &Environment, observed: &Observed, now: Timestamp) -> Vec<Action> {
    let wanted = wanted(environment);
    let mut actions = starts(environment, observed, &wanted, now);
    actions.extend(ends(environment, observed, &wanted, now));
    if let Some(operation) = &environment.operation {
        let events = progress(environment, operation, observed, now);
        actions.extend((!events.is_empty()).then_some(Action::Record { events }));
    }
    actions
}

/// Returns when to look again although nothing changes: the end of a bake, of a warm time, of a pause.
#[must_use]
pub fn next_look(environment: &Environment, observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    let bake = environment.operation.as_ref().and_then(|operation| match operation.phase {
        Phase::Shifted { wave, step, since } => {
            let step = operation.plan.steps_of(wave).get(step).copied()?;
            Some(since.max(observed.counting_since).plus_ms(step.bake_ms))
        }
        _ => None,
    });
    let warm = environment.warm.values().copied();
    let over = observed.instances.iter().filter(|instance| instance.state.is_over()).map(|i| i.since);
    let over = over.flat_map(|since| [since.plus_ms(REPLACE_PAUSE_MS), since.plus_ms(KEEP_OVER_MS)]);
    let drains = observed.unrouted_since.values().map(|since| since.plus_ms(DRAIN_TIMEOUT_MS));
    bake.into_iter().chain(warm).chain(over).chain(drains).filter(|&at| at > now).min()
}

/// How many instances of each arm should run, apart from warm ones.
fn wanted(environment: &Environment) -> BTreeMap<Arm, u32> {
    let mut wanted = BTreeMap::new();
    let mut want = |service: &ServiceName, entry: &BaselineEntry| {
        wanted.insert(entry.arm(service), environment.replicas_of(service));
    };
    for (service, entry) in environment.entries() {
        want(service, entry);
    }
    for part in environment.operation.iter().flat_map(|operation| prepared(operation)) {
        if let Some(entry) = &part.to {
            want(&part.service, entry);
        }
    }
    wanted
}

/// The moves whose targets should run by now.
fn prepared(operation: &Operation) -> Vec<&Move> {
    let (Phase::Preparing { wave: reached, .. } | Phase::Shifted { wave: reached, .. }) = operation.phase
    else {
        return Vec::new();
    };
    let upfront = match operation.plan.strategy {
        Strategy::BlueGreen { .. } => true,
        // Going back prepares everything first, so that the whole chain switches at once.
        Strategy::AllAtOnce => operation.intent.goes_back(),
        Strategy::Canary { .. } => false,
    };
    let waves = operation.plan.waves.iter().enumerate();
    waves.filter(|(wave, _)| upfront || *wave <= reached).flat_map(|(_, moves)| moves).collect()
}

fn starts(
    environment: &Environment,
    observed: &Observed,
    wanted: &BTreeMap<Arm, u32>,
    now: Timestamp,
) -> Vec<Action> {
    let missing = |(arm, &count): (&Arm, &u32)| {
        let failed =
            observed.of(arm).filter(|instance| matches!(instance.state, InstanceState::Failed { .. }));
        let last_failure = failed.map(|instance| instance.since).max();
        let pausing = last_failure.is_some_and(|at| now < at.plus_ms(REPLACE_PAUSE_MS));
        let on_trial =
            environment.entries().get(&arm.service).is_none_or(|entry| entry.arm(&arm.service) != *arm);
        let count = count.saturating_sub(observed.alive(arm));
        // A failure on trial takes the operation back; it is not tried again.
        let failed = last_failure.is_some_and(|at| after_begin(environment, at));
        let hold_back = pausing || (on_trial && failed);
        (count > 0 && !hold_back).then(|| Action::Start { arm: arm.clone(), count })
    };
    wanted.iter().filter_map(missing).collect()
}

fn after_begin(environment: &Environment, at: Timestamp) -> bool {
    environment.operation.as_ref().is_some_and(|operation| at >= operation.begun)
}

fn ends(
    environment: &Environment,
    observed: &Observed,
    wanted: &BTreeMap<Arm, u32>,
    now: Timestamp,
) -> Vec<Action> {
    let arms: BTreeSet<&Arm> = observed.instances.iter().map(|instance| &instance.arm).collect();
    let surplus = arms.into_iter().flat_map(|arm| {
        let warm = || environment.keeps_warm(arm, now).then(|| environment.replicas_of(&arm.service));
        let limit = wanted.get(arm).copied().or_else(warm).unwrap_or(0);
        Fleet::of(observed, arm, limit).surplus
    });
    let stops = surplus.filter(|instance| drained(observed, instance, now));
    let stops = stops.map(|instance| Action::Stop { instance: instance.id.clone() });
    let over = observed.instances.iter().filter(|instance| instance.state.is_over());
    let old = over.filter(|instance| now >= instance.since.plus_ms(KEEP_OVER_MS));
    stops.chain(old.map(|instance| Action::Remove { instance: instance.id.clone() })).collect()
}

fn drained(observed: &Observed, instance: &Instance, now: Timestamp) -> bool {
    let in_flight = observed.in_flight.get(&instance.id).copied().unwrap_or(0);
    observed
        .unrouted_since
        .get(&instance.id)
        .is_some_and(|since| in_flight == 0 || now >= since.plus_ms(DRAIN_TIMEOUT_MS))
}

fn progress(
    environment: &Environment,
    operation: &Operation,
    observed: &Observed,
    now: Timestamp,
) -> Vec<Event> {
    match &operation.phase {
        Phase::Preparing { wave, .. } => prepare(environment, operation, *wave, observed),
        Phase::Shifted { wave, step, since } => {
            watch(environment, operation, observed, At { wave: *wave, step: *step, since: *since, now })
        }
        Phase::Reverting { cause, .. } => match observed.tables {
            Tables::Applied => reverted(operation, cause, now),
            Tables::Pending => vec![],
        },
        Phase::Done { .. } | Phase::Reverted { .. } => vec![],
    }
}

fn prepare(environment: &Environment, operation: &Operation, wave: usize, observed: &Observed) -> Vec<Event> {
    let scaled = operation
        .plan
        .replicas
        .iter()
        .filter_map(|new| environment.entries().get(&new.service).map(|entry| entry.arm(&new.service)));
    let targets: Vec<_> = prepared(operation).into_iter().filter_map(Move::to_arm).chain(scaled).collect();
    if let Some(cause) = targets.iter().find_map(|arm| failure(operation, observed, arm)) {
        return vec![revert(operation, cause)];
    }
    let ready = |arm: &Arm| {
        Fleet::serving(environment, observed, arm).healthy() >= environment.replicas_of(&arm.service)
    };
    if !targets.iter().all(ready) {
        return vec![];
    }
    let Some(moves) = operation.plan.waves.get(wave) else {
        return done(environment, operation);
    };
    let names: Vec<_> = moves.iter().filter_map(Move::to_arm).map(|arm| arm.to_string()).collect();
    let reason =
        if names.is_empty() { "nothing to prepare".into() } else { format!("{} healthy", names.join(", ")) };
    vec![shift(operation, wave, 0, reason)]
}

/// An instance of a new arm that failed since the operation began takes the operation back.
fn failure(operation: &Operation, observed: &Observed, arm: &Arm) -> Option<String> {
    observed.of(arm).filter(|instance| instance.since >= operation.begun).find_map(|instance| match &instance
        .state
    {
        InstanceState::Failed { reason } => {
            Some(format!("{} did not become healthy: {reason}", instance.arm))
        }
        _ => None,
    })
}

#[derive(Clone, Copy)]
struct At {
    wave: usize,
    step: usize,
    since: Timestamp,
    now: Timestamp,
}

fn watch(environment: &Environment, operation: &Operation, observed: &Observed, at: At) -> Vec<Event> {
    let moves = operation.plan.waves.get(at.wave).map(Vec::as_slice).unwrap_or_default();
    let steps = operation.plan.steps_of(at.wave);
    let Some(step) = steps.get(at.step) else { return done(environment, operation) };
    let mut reasons = Vec::new();
    let mut waiting = observed.tables == Tables::Pending;
    for part in moves {
        match verdict_on(operation, part, observed) {
            Verdict::Fail { why } => return vec![revert(operation, why)],
            Verdict::None { .. } => waiting = true,
            Verdict::Pass { why } => reasons.push(why),
        }
    }
    let baked = at.now.since_ms(at.since.max(observed.counting_since)) >= step.bake_ms;
    if waiting || !baked {
        return vec![];
    }
    if at.step + 1 < steps.len() {
        return vec![shift(operation, at.wave, at.step + 1, reasons.join("; "))];
    }
    if at.wave + 1 < operation.plan.waves.len() {
        return vec![Event::WavePrepared {
            operation: operation.id,
            environment: operation.environment.clone(),
            wave: at.wave + 1,
        }];
    }
    done(environment, operation)
}

fn verdict_on(operation: &Operation, part: &Move, observed: &Observed) -> Verdict {
    let Some(new) = part.to_arm() else {
        return Verdict::Pass { why: format!("{} taken out", part.service) };
    };
    let Some(bound) = operation.plan.strategy.bound() else {
        return Verdict::Pass { why: format!("{new} healthy") };
    };
    if observed.healthy(&new) == 0 {
        return Verdict::Fail { why: format!("{new} has no healthy instance any more") };
    }
    let traffic =
        |arm: Option<&Arm>| arm.and_then(|arm| observed.traffic.get(arm)).copied().unwrap_or_default();
    let named = |why: String| format!("{new}: {why}");
    match judge(traffic(Some(&new)), traffic(part.from_arm().as_ref()), bound) {
        Verdict::Pass { why } => Verdict::Pass { why: named(why) },
        Verdict::Fail { why } => Verdict::Fail { why: named(why) },
        Verdict::None { missing } => Verdict::None { missing: named(missing) },
    }
}

fn shift(operation: &Operation, wave: usize, step: usize, reason: String) -> Event {
    Event::WaveShifted {
        operation: operation.id,
        environment: operation.environment.clone(),
        wave,
        step,
        reason,
    }
}

/// Returns the event that takes an operation back.
#[must_use]
pub fn revert(operation: &Operation, cause: String) -> Event {
    Event::OperationReverting { operation: operation.id, environment: operation.environment.clone(), cause }
}

fn done(environment: &Environment, operation: &Operation) -> Vec<Event> {
    let moves = u64::from(operation.plan.moves().next().is_some());
    let baseline = environment.baselines.current().number + moves;
    let name = &operation.environment;
    let over = Event::OperationDone { operation: operation.id, environment: name.clone(), baseline };
    let reason = format!("{} took it back in operation {}", operation.actor, operation.id);
    let held = operation.plan.moves().filter(|part| operation.plan.holds.contains(&part.service));
    let held = held.filter_map(|part| Some(part.from_arm()?.version_ref()));
    let holds = held
        .map(|version| hold(operation, version, reason.clone(), operation.begun, operation.actor.clone()));
    std::iter::once(over).chain(holds).collect()
}

fn reverted(operation: &Operation, cause: &str, now: Timestamp) -> Vec<Event> {
    let over =
        Event::OperationReverted { operation: operation.id, environment: operation.environment.clone() };
    let version_changes = |part: &&Move| match (&part.from, &part.to) {
        (Some(from), Some(to)) => from.version != to.version,
        (None, Some(_)) => true,
        _ => false,
    };
    // Only what the cause names is held, so that an innocent companion may come again.
    let blamed =
        |part: &&Move| part.to_arm().is_some_and(|arm| cause.contains(&arm.version_ref().to_string()));
    let moved = operation.plan.moves().filter(version_changes).filter(blamed);
    let holds = moved.filter_map(|part| Some(part.to_arm()?.version_ref()));
    let holds = holds.map(|version| hold(operation, version, cause.to_owned(), now, Actor::lockstep()));
    std::iter::once(over).chain(holds).collect()
}

fn hold(operation: &Operation, version: VersionRef, reason: String, since: Timestamp, by: Actor) -> Event {
    Event::HoldPlaced {
        environment: operation.environment.clone(),
        version,
        hold: Hold { reason, since, by },
    }
}

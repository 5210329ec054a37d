//! Reconciling: from what should be and what is seen to the next actions, until there are none.
//!
//! No step program is kept anywhere. Whatever was interrupted, the next look derives what is still to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use crate::action::{Action, KILLED_WITHIN_MS, Look, SAY_AGAIN_MS};
use crate::crossing;
use crate::drain::{drained, drained_at};
use crate::elsewhere;
use crate::environment::Environment;
use crate::event::Event;
use crate::fault::{Cause, Fault};
use crate::fleet::Fleet;
use crate::instance::{Arm, Instance, InstanceState};
use crate::intent::Intent;
use crate::job_actions;
use crate::job_runs::{self, Due};
use crate::lane;
use crate::leaving;
use crate::lost_host::{self, Outlook, leaves_room};
use crate::maintenance;
use crate::mend;
use crate::name::ServiceName;
use crate::observed::{Observed, Tables};
use crate::operation::{Move, Operation, Phase};
use crate::over::forgotten;
pub use crate::over::{KEEP_OVER_MS, MAX_OVER};
use crate::plan::in_the_way_at_databases;
use crate::process;
use crate::replicas::replicas;
use crate::resource::{keep, needs};
use crate::run::{ReplaceAfter, RunSpec};
use crate::scheduled_runs;
use crate::sizes::{Sized, sizes};
use crate::stay;
use crate::step::{Standing, baking_since, goes_on_at, standing};
use crate::step_place::StepPlace;
use crate::switch;
use crate::takeover::{ending_ms, is_blocked};
use crate::taking_back::hold;
pub use crate::taking_back::{revert, reverted};
use crate::time::Timestamp;
use crate::world::World;

/// What an operation allows on top of the times of the manifest for instances to become healthy: artifacts are unpacked, and
/// many may start at once on a machine that is busy.
pub const PREPARED_WITHIN_MS: u64 = 60_000;
/// Returns what is to be done now. An empty answer means: wait until something changes, or until [`next_look`].
#[must_use]
pub fn next_actions(look: Look<'_>) -> Vec<Action> {
    let wanted = wanted(look.world, look.environment);
    let mut actions = starts(look, &wanted);
    actions.extend(ends(look, &wanted));
    actions.extend(job_actions::jobs(look));
    actions.extend(keep::actions(look));
    let mut events: Vec<_> = standing_arms(look.world, look.environment)
        .into_iter()
        .flat_map(|arm| mend::dismissals(look.world, look.environment, look.observed, &arm, look.now))
        .collect();
    events.extend(stay::proven(look.world, look.environment, look.observed, look.now));
    events.extend(lane::due(look.environment, look.now));
    let by_the_clock = scheduled_runs::events(look);
    // A run by the clock and one in an operation could be of the same job: the other one is decided when this is recorded.
    let begins = by_the_clock.iter().any(|event| matches!(event, Event::ScheduledRunBegun { .. }));
    events.extend(by_the_clock);
    // One operation a look: what the next one does rests on what was recorded of this one.
    let mut progress = look.environment.under_way().map(|operation| progress(look, operation));
    let progress = if begins { None } else { progress.find(|events| !events.is_empty()) };
    events.extend(progress.into_iter().flatten());
    actions.extend((!events.is_empty()).then_some(Action::Record { events }));
    actions
}

/// Returns when to look again although nothing changes: the end of a bake, of a warm time, of a pause, of patience.
#[must_use]
pub fn next_look(look: Look<'_>) -> Option<Timestamp> {
    let Look { environment, observed, now, .. } = look;
    let operations = environment.under_way().filter_map(|operation| match operation.phase {
        Phase::Shifted { wave, step, since } => {
            let step = operation.plan.steps_of(wave).get(step).copied()?;
            let bake = baking_since(observed, operation, wave, since).plus_ms(step.bake_ms);
            let patience = bake.plus_ms(patience_ms(look.world, environment, operation));
            let later = goes_on_at(operation, observed).into_iter().chain([patience]).filter(|&at| at > now);
            Some(if bake > now { bake } else { later.min().unwrap_or(bake) })
        }
        Phase::Preparing { since, .. } | Phase::Reverting { since, .. } => {
            let since = job_runs::ready_since(operation, since);
            Some(since.plus_ms(patience_ms(look.world, environment, operation)))
        }
        _ => None,
    });
    let warm = environment.warm.values().copied();
    let over = observed.instances.iter().filter(|instance| instance.state.is_over());
    let over = over.map(|instance| instance.since.plus_ms(KEEP_OVER_MS));
    let pauses = standing_arms(look.world, environment).into_iter();
    let pauses = pauses.filter_map(|arm| mend::not_before(observed, &arm));
    let sick = observed.instances.iter().filter_map(|instance| mend::sick_at(look.world, instance));
    let drains = observed.instances.iter().filter_map(|instance| drained_at(look, instance));
    let leave = |instance: &Instance| leaving::ends_at(look.world, environment, observed, instance);
    let drains = drains.chain(observed.instances.iter().filter_map(leave));
    let ends = observed.instances.iter().filter_map(|instance| given_up_at(look.world, instance));
    let ends = ends.chain(stay::next_proof(look.world, environment, observed));
    let jobs = environment.under_way().filter_map(|operation| job_runs::wanted(operation));
    let operations = operations.chain(jobs.map(|(job, run)| job_runs::given_up_at(job, run)));
    let operations = operations.chain(scheduled_runs::next_look(look));
    let ends =
        ends.chain(keep::next_look(look)).chain(switch::next_end(look)).chain(lane::next_end(environment));
    let all = operations.chain(warm).chain(over).chain(pauses).chain(sick).chain(drains).chain(ends);
    all.filter(|&at| at > now).min()
}

/// The arms of all processes of what is live.
fn baseline_arms(world: &World, environment: &Environment) -> impl Iterator<Item = Arm> {
    let entries = environment.entries().iter();
    entries.flat_map(|(service, entry)| process::arms(world, &entry.arm(service)))
}

/// What runs as long as nobody changes anything: the baseline, and what rules keep beside it.
fn standing_arms(world: &World, environment: &Environment) -> BTreeSet<Arm> {
    baseline_arms(world, environment).chain(environment.ruled_arms()).collect()
}

/// How many instances of each arm should run, apart from warm ones: those of the baseline, of what an operation under way has reached, and of rules.
#[must_use]
pub fn wanted(world: &World, environment: &Environment) -> BTreeMap<Arm, u32> {
    let moving: Vec<_> =
        environment.moving().flat_map(|operation| sizes_in(world, environment, operation)).collect();
    let old: BTreeMap<_, _> =
        moving.iter().filter_map(|sized| Some((sized.from.as_ref()?, sized.old))).collect();
    let stays = baseline_arms(world, environment).map(|arm| {
        let count = old.get(&arm).copied().unwrap_or_else(|| replicas(world, environment, &arm));
        (arm, count)
    });
    let comes = moving.iter().filter_map(|sized| Some((sized.to.clone()?, sized.new)));
    let ruled = environment.ruled_arms().map(|arm| {
        let count = replicas(world, environment, &arm);
        (arm, count)
    });
    let mut wanted = BTreeMap::new();
    for (arm, count) in stays.chain(comes).chain(ruled).filter(|(_, count)| *count > 0) {
        let most: &mut u32 = wanted.entry(arm).or_default();
        *most = count.max(*most);
    }
    wanted
}

fn sizes_in<'a>(
    world: &'a World,
    environment: &'a Environment,
    operation: &'a Operation,
) -> impl Iterator<Item = Sized> + 'a {
    // What was found since it was planned is a reason to start nothing before it is the reason to take it back.
    let is_kept_back = in_the_way_at_databases(world, environment, operation).is_some();
    sizes(operation, is_kept_back, |arm| replicas(world, environment, arm))
}

fn starts(look: Look<'_>, wanted: &BTreeMap<Arm, u32>) -> Vec<Action> {
    let missing = |(arm, &wanted): (&Arm, &u32)| {
        let count = missing(look, arm, wanted);
        (count > 0).then(|| Action::Start { arm: arm.clone(), count })
    };
    wanted.iter().filter_map(missing).collect()
}

/// How many instances of an arm are to be started now.
fn missing(look: Look<'_>, arm: &Arm, wanted: u32) -> u32 {
    let Look { world, environment, observed, now, .. } = look;
    let fleet = Fleet::of(environment, observed, arm, wanted);
    let is_on_trial = environment.moving().any(|operation| {
        operation.plan.move_of(&arm.service).is_some_and(|(_, part)| part.to_arm().as_ref() == Some(arm))
    });
    let is_baseline =
        environment.entries().get(&arm.service).is_some_and(|entry| entry.arm(&arm.service) == arm.main());
    let is_mended = is_baseline || (environment.is_ruled(arm) && !is_on_trial);
    let hold_back = match is_mended {
        true => mend::not_before(observed, arm).is_some_and(|at| now < at),
        // A failure on trial takes the operation back; it is not tried again, unless it was the host's.
        false => environment
            .mover_of(&arm.service)
            .is_some_and(|operation| lost_host::holds_back(environment, observed, operation, arm)),
    };
    let hold_back = hold_back || needs::keep_back(world, environment, observed, arm);
    if hold_back || is_blocked(world, observed, arm) {
        return 0;
    }
    let another = is_mended && mend::needs_another(world, (environment, observed), &fleet, arm, now);
    wanted.saturating_sub(occupied(look, arm, &fleet)).max(u32::from(another))
}

/// How many of the places of an arm are taken: where the old one ends first, it keeps its place until it has ended.
fn occupied(look: Look<'_>, arm: &Arm, fleet: &Fleet<'_>) -> u32 {
    if mend::run_of(look.world, arm).is_none_or(RunSpec::is_replaced_beside) {
        return fleet.size();
    }
    let is_left = |it: &&Instance| !it.state.is_over() && !leaves_room(look.world, look.observed, it);
    let left = look.observed.of(arm).filter(is_left).count();
    u32::try_from(left).unwrap_or(u32::MAX)
}

fn ends(look: Look<'_>, wanted: &BTreeMap<Arm, u32>) -> Vec<Action> {
    let Look { environment, observed, now, .. } = look;
    let arms: BTreeSet<&Arm> = observed.instances.iter().map(|instance| &instance.arm).collect();
    let surplus = arms.into_iter().flat_map(|arm| {
        let warm = || environment.keeps_warm(arm, now).then(|| environment.count_of(arm));
        let limit = wanted.get(arm).copied().or_else(warm).unwrap_or(0);
        let Fleet { standing, mut surplus, .. } = Fleet::of(environment, observed, arm, limit);
        // Nothing takes the place of what is only kept warm.
        let leaves = |it: &&Instance| !wanted.contains_key(arm) && observed.evacuated.contains(&it.id);
        surplus.extend(standing.into_iter().filter(leaves));
        surplus
    });
    let stops = surplus.filter(|instance| drained(look, instance));
    let stops = stops.map(|instance| Action::Stop { instance: instance.id.clone() });
    let forgotten = forgotten(&observed.instances, now).into_iter();
    stops.chain(forgotten.map(|instance| Action::Remove { instance: instance.id.clone() })).collect()
}

fn progress(look: Look<'_>, operation: &Operation) -> Vec<Event> {
    let Look { observed, now, .. } = look;
    match &operation.phase {
        Phase::Preparing { wave, since } => prepare(look, operation, *wave, *since),
        Phase::Shifted { .. } => watch(look, operation),
        Phase::Reverting { since, .. } => match observed.tables {
            _ if let Some(ended) = job_runs::end_left(operation, observed) => vec![ended],
            Tables::Applied
                if is_back(look, operation, *since) && !job_runs::is_left(operation, observed) =>
            {
                reverted(operation, now)
            }
            _ => vec![],
        },
        Phase::Done { .. } | Phase::Reverted { .. } => vec![],
    }
}

/// Tells whether what ended on the way runs again, or is not waited for any more.
fn is_back(look: Look<'_>, operation: &Operation, since: Timestamp) -> bool {
    let Look { world, environment, observed, now, .. } = look;
    let left = operation.plan.moves().flat_map(Move::arms_handed_over);
    let runs = |arm: Arm| {
        Fleet::serving(environment, observed, &arm).healthy() >= replicas(world, environment, &arm)
    };
    left.collect::<Vec<_>>().into_iter().all(runs)
        || now >= since.plus_ms(patience_ms(world, environment, operation))
}

fn prepare(look: Look<'_>, operation: &Operation, wave: usize, since: Timestamp) -> Vec<Event> {
    let Look { environment, observed, now, .. } = look;
    if let Some(events) = needs::due(look, operation, wave, since) {
        return events;
    }
    if let Some(cause) = in_the_way_at_databases(look.world, environment, operation) {
        return vec![revert(operation, cause)];
    }
    match job_runs::due(environment, operation, (observed, now), false) {
        Due::Record(event) => return vec![*event],
        Due::Runs => return vec![],
        Due::Failed(cause) => return vec![revert(operation, cause)],
        Due::Over => {}
    }
    let since = job_runs::ready_since(operation, since);
    let kept = kept_arms(look.world, environment, operation);
    let targets = targets(look.world, environment, operation);
    let failure = |arm: &Arm| {
        failure(look, operation, arm).or_else(|| elsewhere::failure(look.world, operation, observed, arm))
    };
    if let Some(cause) = Cause::all(targets.iter().filter_map(|(arm, _)| failure(arm))) {
        return vec![revert(operation, cause)];
    }
    let is_late = now >= since.plus_ms(patience_ms(look.world, environment, operation));
    let without = match shortage(look, operation, &targets, is_late) {
        Shortage::None { without } => without,
        Shortage::OfHosts(missing) => return host_awaited(look, operation, since, missing),
        Shortage::Some(_) if is_late && waited_for_host(operation, since) => {
            return vec![needs::begin_anew(operation, wave)];
        }
        Shortage::Some(cause) if is_late => return vec![revert(operation, cause)],
        Shortage::Some(_) => return vec![],
    };
    if !kept.iter().all(|arm| is_settled(look, arm)) {
        return vec![];
    }
    let Some(moves) = operation.plan.waves.get(wave) else {
        return done(environment, operation, String::new());
    };
    // Every gateway knows both sides before one of them leads anybody to the new one.
    if crossing::is_awaited(look, operation, wave) || observed.tables == Tables::Pending {
        return vec![];
    }
    let names: Vec<_> = moves.iter().filter_map(Move::to_arm).map(|arm| arm.to_string()).collect();
    let reason = match () {
        () if !without.is_empty() => format!("goes on without what no host takes: {without}"),
        () if names.is_empty() => "nothing to prepare".into(),
        () => format!("{} healthy", names.join(", ")),
    };
    vec![shift(operation, wave, 0, reason)]
}

/// What should run by now because of an operation: what comes, and what stays and of which the instances change.
fn targets(world: &World, environment: &Environment, operation: &Operation) -> Vec<(Arm, u32)> {
    let stay = kept_arms(world, environment, operation).into_iter().map(|arm| {
        let count = replicas(world, environment, &arm);
        (arm, count)
    });
    coming(world, environment, operation).into_iter().chain(stay).collect()
}

/// How what should run compares with what does.
enum Shortage {
    /// All of it runs, apart from what an operation goes on without.
    None { without: String },
    /// What is missing is waited for because hosts are not reached.
    OfHosts(String),
    /// Something is missing, and time will tell.
    Some(Cause),
}

fn shortage(look: Look<'_>, operation: &Operation, targets: &[(Arm, u32)], is_late: bool) -> Shortage {
    let Look { world, environment, observed, .. } = look;
    let few = |(arm, wanted): &&(Arm, u32)| Fleet::serving(environment, observed, arm).healthy() < *wanted;
    let few: Vec<_> = targets.iter().filter(few).cloned().collect();
    if let Some(short) = lost_host::goes_on_without(environment, observed, operation, &few, is_late) {
        let without: Vec<_> = short.iter().map(ToString::to_string).collect();
        return Shortage::None { without: without.join(", ") };
    }
    match lacking(environment, observed, &few) {
        None => Shortage::None { without: String::new() },
        Some(cause) => lost_host::awaited(world, environment, observed, operation, &few)
            .map_or(Shortage::Some(cause), Shortage::OfHosts),
    }
}

/// Says that an operation waits for hosts, unless that was said.
fn host_awaited(look: Look<'_>, operation: &Operation, since: Timestamp, missing: String) -> Vec<Event> {
    let said = operation.waits.as_ref().filter(|said| said.at >= since);
    let is_known =
        said.is_some_and(|said| said.missing == missing || look.now.since_ms(said.at) < SAY_AGAIN_MS);
    let (id, environment) = (operation.id, operation.environment.clone());
    let waits = || Event::HostAwaited { operation: id, environment, missing };
    if is_known { Vec::new() } else { vec![waits()] }
}

/// Tells whether an operation waited for a host: what is started on it then has its time from then on.
fn waited_for_host(operation: &Operation, since: Timestamp) -> bool {
    operation.waits.as_ref().is_some_and(|said| said.at >= since)
}

/// The arms that should run by now because of an operation, and how many instances of each.
fn coming(world: &World, environment: &Environment, operation: &Operation) -> Vec<(Arm, u32)> {
    let targets = sizes_in(world, environment, operation).filter(|sized| sized.new > 0);
    targets.filter_map(|sized| Some((sized.to?, sized.new))).collect()
}

/// The arms that come to work step by step, and how many instances of each should by now.
fn at_work(world: &World, environment: &Environment, operation: &Operation) -> Vec<(Arm, u32)> {
    let targets = sizes_in(world, environment, operation).filter(|sized| sized.comes_step_by_step);
    targets.filter_map(|sized| Some((sized.to?, sized.new))).collect()
}

/// Says which arms have fewer healthy instances than they should.
fn lacking(environment: &Environment, observed: &Observed, targets: &[(Arm, u32)]) -> Option<Cause> {
    let few =
        targets.iter().filter(|(arm, wanted)| Fleet::serving(environment, observed, arm).healthy() < *wanted);
    Cause::all(few.map(|(arm, wanted)| lack(environment, observed, arm, *wanted)))
}

/// The arms that stay and of which an operation changes the instances: how many there are, or which.
fn kept_arms(world: &World, environment: &Environment, operation: &Operation) -> Vec<Arm> {
    let main = |service: &ServiceName| Some(environment.entries().get(service)?.arm(service));
    let scaled = operation.plan.replicas.iter();
    let scaled = scaled.filter_map(|new| Some(Arm { process: new.process.clone(), ..main(&new.service)? }));
    let restarted = match &operation.intent {
        Intent::Restart { service, .. } => main(service),
        _ => None,
    };
    let relocated: BTreeSet<_> = operation.plan.relocations.iter().map(|it| it.arm.clone()).collect();
    let restarted = restarted.iter().flat_map(|arm| process::arms(world, arm));
    scaled.chain(restarted).chain(relocated).collect()
}

/// Tells whether exactly the wanted instances of an arm are left: none is too many, none is to be replaced, and what was told to
/// end has ended.
fn is_settled(look: Look<'_>, arm: &Arm) -> bool {
    let Look { world, environment, observed, now, .. } = look;
    let fleet = Fleet::serving(environment, observed, arm);
    let leaves = |instance: &&Instance| environment.is_to_be_replaced(&instance.id);
    let is_awaited = |it: &Instance| !observed.lost.contains(&it.id);
    let ends = |it: &Instance| is_awaited(it) && given_up_at(world, it).is_some_and(|at| now < at);
    let others_left = !fleet.surplus.is_empty() || !fleet.coming.is_empty();
    !others_left && !fleet.standing.iter().any(leaves) && !observed.of(arm).any(ends)
}

/// When an instance that was told to end is not waited for any more: it is killed before, unless the kernel holds it.
fn given_up_at(world: &World, instance: &Instance) -> Option<Timestamp> {
    let run = mend::run_of(world, &instance.arm)?;
    let limit_ms = run.stop.timeout_ms.saturating_add(KILLED_WITHIN_MS);
    (instance.state == InstanceState::Stopping).then(|| instance.since.plus_ms(limit_ms))
}

/// How long instances may take to become healthy before an operation is taken back: twice their start timeouts, the time
/// after which an unhealthy one is replaced, what unpacking takes, and what the old ones take to end where they give way; as often as there is one to be restarted.
fn patience_ms(world: &World, environment: &Environment, operation: &Operation) -> u64 {
    let moved = operation.plan.moves().flat_map(Move::to_arms);
    let arms = moved.chain(kept_arms(world, environment, operation));
    let of_arm = |arm: Arm| {
        let run = mend::run_of(world, &arm)?;
        let replaced = match run.replace_after {
            ReplaceAfter::Ms(ms) if operation.plan.waves.is_empty() => ms,
            _ => 0,
        };
        Some(run.start_limit_ms().saturating_mul(2).saturating_add(replaced))
    };
    let longest = arms.filter_map(of_arm).max().unwrap_or_default();
    let rounds = u64::try_from(operation.plan.restarts.len()).unwrap_or(u64::MAX).max(1);
    let ending = ending_ms(world, environment, operation);
    longest.saturating_add(PREPARED_WITHIN_MS).saturating_add(ending).saturating_mul(rounds)
}

/// Says what an operation waited for in vain. What runs and is not healthy is its own doing; what never came to run is not.
fn lack(environment: &Environment, observed: &Observed, arm: &Arm, wanted: u32) -> Cause {
    let fleet = Fleet::serving(environment, observed, arm);
    let healthy = fleet.healthy();
    let others = fleet.standing.iter().chain(&fleet.coming).filter(|instance| !instance.state.is_healthy());
    let others: Vec<_> = others.copied().collect();
    let has_run = |instance: &&Instance| {
        let is_unhealthy = matches!(instance.state, InstanceState::Unhealthy { .. });
        // Where nobody is led to it, that is no doing of its version.
        instance.restarts > 0 || (is_unhealthy && !observed.not_led_to.contains(&instance.id))
    };
    let fault = if others.iter().any(has_run) { Fault::Start } else { Fault::Host };
    let said = others.iter().map(|instance| format!("{} is {}", instance.id, mend::sickness(instance)));
    let said = said.collect::<Vec<_>>().join(", ");
    let said = if said.is_empty() { "no other runs" } else { &said };
    let words = format!("{arm} had {healthy} of {wanted} instances healthy when the time was over: {said}");
    Cause::of(arm, fault, words)
}

/// An instance of a new arm that failed since the operation began takes the operation back.
fn failure(look: Look<'_>, operation: &Operation, arm: &Arm) -> Option<Cause> {
    let Look { environment, observed, .. } = look;
    let outlook = lost_host::outlook(environment, observed, operation, arm);
    if outlook == Outlook::GoesOn {
        return None;
    }
    let restarted = |instance: &&Instance| operation.plan.restarts.contains(&instance.id);
    let fresh = observed.of(arm).filter(|instance| instance.since >= operation.begun && !restarted(instance));
    let failed = fresh.filter_map(|instance| match &instance.state {
        failed @ InstanceState::Failed { fault, .. } => {
            let happened = failed.what_happened()?;
            let host = instance.host.as_ref().map(|host| format!("on `{host}`: ")).unwrap_or_default();
            Some((format!("{host}{happened}"), *fault))
        }
        _ => None,
    });
    let failed: Vec<_> = failed.collect();
    // What one of them did itself is not excused by what happened to another.
    let (reason, fault) = failed.iter().max_by_key(|(_, fault)| fault.is_own())?;
    let reason = match outlook {
        Outlook::NoneLeft => all_of(failed.iter().map(|(reason, _)| reason)),
        _ => reason.clone(),
    };
    Some(Cause::of(arm, *fault, format!("{arm} did not become healthy: {reason}")))
}

/// Says each thing once.
fn all_of<'a>(reasons: impl Iterator<Item = &'a String>) -> String {
    let reasons: BTreeSet<_> = reasons.map(String::as_str).collect();
    reasons.into_iter().collect::<Vec<_>>().join("; ")
}

fn watch(look: Look<'_>, operation: &Operation) -> Vec<Event> {
    let Look { environment, observed, now, .. } = look;
    let Some(standing) = standing(operation, observed, now) else {
        return done(environment, operation, String::new());
    };
    if job_runs::only_afterwards_left(operation) {
        return afterwards(look, operation, standing.passed.join("; "));
    }
    let failed = standing.failed.iter().map(|(arm, why)| blame(observed, arm, why.clone()));
    if let Some(cause) = Cause::all(failed) {
        return vec![revert(operation, cause)];
    }
    if standing.left_ms > 0 || observed.tables == Tables::Pending {
        return vec![];
    }
    // With a larger share of the work, more instances have to start.
    let is_late = standing.over_ms >= patience_ms(look.world, environment, operation);
    match shortage(look, operation, &at_work(look.world, environment, operation), is_late) {
        Shortage::None { .. } => {}
        Shortage::Some(cause) if is_late => return vec![revert(operation, cause)],
        Shortage::Some(_) | Shortage::OfHosts(_) => return vec![],
    }
    let Some(unproven) = let_through(operation, &standing) else {
        let enough = standing.waited_enough(operation);
        return enough.map_or_else(|| waits(look, operation, &standing), |event| vec![event]);
    };
    let reason = standing.passed.iter().chain(&unproven).map(String::as_str).collect::<Vec<_>>().join("; ");
    let StepPlace { wave, step } = standing.place;
    if step + 1 < operation.plan.steps_of(wave).len() {
        return vec![shift(operation, wave, step + 1, reason)];
    }
    if wave + 1 < operation.plan.waves.len() {
        return vec![Event::WavePrepared {
            operation: operation.id,
            environment: operation.environment.clone(),
            wave: wave + 1,
            proof: reason,
        }];
    }
    afterwards(look, operation, reason)
}

/// Runs what comes afterwards: what has taken over is on trial no more.
fn afterwards(look: Look<'_>, operation: &Operation, proof: String) -> Vec<Event> {
    match job_runs::due(look.environment, operation, (look.observed, look.now), true) {
        Due::Record(event) => vec![*event],
        Due::Runs => vec![],
        Due::Failed(_) | Due::Over => done(look.environment, operation, proof),
    }
}

/// Says what lets those of its versions pass of which nothing can be said; `None` when nothing does.
fn let_through(operation: &Operation, standing: &Standing) -> Option<Vec<String>> {
    if standing.unproven.is_empty() { Some(Vec::new()) } else { standing.let_through(operation) }
}

/// Says that a step waits for more than time, unless that was said; anew when it comes to be something else.
fn waits(look: Look<'_>, operation: &Operation, standing: &Standing) -> Vec<Event> {
    let missing = format!("{}{}", standing.waits(operation), maintained(look, operation, standing));
    let StepPlace { wave, step } = standing.place;
    let said = operation.waits.as_ref().filter(|said| (said.wave, said.step) == (wave, step));
    let is_known = said.is_some_and(|said| {
        look.now.since_ms(said.at) < SAY_AGAIN_MS || words(&said.missing).eq(words(&missing))
    });
    let waits =
        || Event::StepWaits { operation: operation.id, environment: operation.environment.clone(), missing };
    (!is_known).then(waits).into_iter().collect()
}

/// Says which pages of maintenance keep a step waiting.
fn maintained(look: Look<'_>, operation: &Operation, standing: &Standing) -> String {
    let services = operation.plan.moves_of(standing.place.wave).iter().map(|part| &part.service);
    maintenance::in_place_of(&look.environment.settings.gateway_rules.maintenance, services)
}

/// What is said without its numbers, which change all the time.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit()))
}

/// Blames an arm on trial: for its requests, or where it has no healthy instance any more, for what happened to those.
fn blame(observed: &Observed, arm: &Arm, why: String) -> Cause {
    let faults: Vec<_> = observed
        .of(arm)
        .filter_map(|instance| match &instance.state {
            InstanceState::Failed { fault, .. } => Some(*fault),
            _ => None,
        })
        .collect();
    let gone = observed.alive(arm) == 0;
    let excuse = faults.first().filter(|_| gone && faults.iter().all(|fault| !fault.is_own()));
    Cause::of(arm, excuse.copied().unwrap_or(Fault::Verdict), why)
}

/// Says what the operations under way wait for that time alone does not bring: what the verdicts on their versions miss.
#[must_use]
pub fn waits_for(look: Look<'_>) -> Vec<String> {
    let of_versions = look.environment.moving().flat_map(|operation| misses(look, operation));
    let preparing = |operation: &&Arc<Operation>| matches!(operation.phase, Phase::Preparing { .. });
    let under_way = look.environment.under_way().filter(preparing);
    let on_others = under_way.flat_map(|operation| {
        needs::awaited(look, operation).into_iter().chain(host_missing(look, operation))
    });
    of_versions.chain(on_others).collect()
}

fn host_missing(look: Look<'_>, operation: &Operation) -> Option<String> {
    let Look { world, environment, .. } = look;
    match shortage(look, operation, &targets(world, environment, operation), false) {
        Shortage::OfHosts(missing) if !job_runs::come_first(operation) => Some(missing),
        _ => None,
    }
}

fn misses(look: Look<'_>, operation: &Operation) -> Vec<String> {
    let Some(standing) = standing(operation, look.observed, look.now) else { return Vec::new() };
    match standing.left_ms {
        _ if standing.unproven.is_empty() => Vec::new(),
        0 => vec![format!("{}{}", standing.waits(operation), maintained(look, operation, &standing))],
        _ => standing.unproven.into_iter().map(|one| one.missing).collect(),
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

fn done(environment: &Environment, operation: &Operation, proof: String) -> Vec<Event> {
    let moves = u64::from(operation.plan.moves().next().is_some());
    let baseline = environment.baselines.current().number + moves;
    let name = &operation.environment;
    let over = Event::OperationDone { operation: operation.id, environment: name.clone(), baseline, proof };
    let reason = format!("{} took it back in operation {}", operation.actor, operation.id);
    let held = operation.plan.moves().filter(|part| operation.plan.holds.contains(&part.service));
    let held = held.filter_map(|part| Some(part.from_arm()?.version_ref()));
    let holds = held
        .map(|version| hold(operation, version, reason.clone(), operation.begun, operation.actor.clone()));
    std::iter::once(over).chain(holds).collect()
}

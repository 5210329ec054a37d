//! Mending: what takes the place of instances that are missing, stay unhealthy, or are to be restarted. One at a time, after
//! growing pauses, and a replacement first wherever the port and the version allow it.

use crate::environment::Environment;
use crate::event::Event;
use crate::fleet::{Fleet, is_to_be_replaced};
use crate::instance::{Arm, Instance, InstanceState};
use crate::observed::{Observed, Trouble};
use crate::run::{Replace, ReplaceAfter, RunSpec};
use crate::time::Timestamp;
use crate::world::World;

/// The pause after an instance had to be replaced; it doubles each time, so that a broken version does not spin.
pub const FIRST_PAUSE_MS: u64 = 5_000;
/// The longest such pause: what was broken elsewhere is noticed within this time after it was mended.
pub const LONGEST_PAUSE_MS: u64 = 5 * 60 * 1_000;

/// Returns when the next instance of an arm may be started in the place of one that is gone.
#[must_use]
pub fn not_before(observed: &Observed, arm: &Arm) -> Option<Timestamp> {
    observed.troubles.get(arm).map(|trouble| trouble.last.plus_ms(pause_ms(*trouble)))
}

fn pause_ms(trouble: Trouble) -> u64 {
    let doubled = 1_u64.checked_shl(trouble.in_a_row.saturating_sub(1)).unwrap_or(u64::MAX);
    FIRST_PAUSE_MS.saturating_mul(doubled).min(LONGEST_PAUSE_MS)
}

/// Tells whether one more instance is needed than are wanted, because one that stands is to be replaced by it.
#[must_use]
pub fn needs_another(
    world: &World,
    (environment, observed): (&Environment, &Observed),
    fleet: &Fleet<'_>,
    arm: &Arm,
    now: Timestamp,
) -> bool {
    let Some(run) = run_of(world, arm) else { return false };
    let is_full = fleet.coming.is_empty() && fleet.surplus.is_empty();
    let is_replaced = |instance: &Instance| {
        is_to_be_replaced(environment, observed, &instance.id) || is_sick(observed, run, instance, now)
    };
    let leaves = |instance: &&Instance| {
        leaves_beside(observed, run, instance) || (run.is_replaced_beside() && is_replaced(instance))
    };
    is_full && fleet.standing.iter().any(leaves)
}

/// Returns the events that dismiss instances which stay unhealthy, or are to be replaced, and end before another one starts.
#[must_use]
pub fn dismissals(
    world: &World,
    environment: &Environment,
    observed: &Observed,
    arm: &Arm,
    now: Timestamp,
) -> Vec<Event> {
    let Some(run) = run_of(world, arm).filter(|run| !run.is_replaced_beside()) else { return Vec::new() };
    if not_before(observed, arm).is_some_and(|at| now < at) {
        return Vec::new();
    }
    let standing = Fleet::serving(environment, observed, arm).standing.into_iter();
    let leaving = standing.filter(|instance| !leaves_beside(observed, run, instance)).filter(|instance| {
        is_sick(observed, run, instance, now) || is_to_be_replaced(environment, observed, &instance.id)
    });
    let dismissed = leaving.map(|instance| Event::InstanceDismissed {
        environment: environment.name.clone(),
        instance: instance.id.clone(),
        reason: sickness(instance),
    });
    dismissed.collect()
}

/// Tells whether an instance leaves its host for another one, on which no port of it is in the way of the one that takes its place.
fn leaves_beside(observed: &Observed, run: &RunSpec, instance: &Instance) -> bool {
    run.replace != Replace::OldFirst && observed.evacuated.contains(&instance.id)
}

/// Returns when an instance that is unhealthy now will have been so for too long.
#[must_use]
pub fn sick_at(world: &World, instance: &Instance) -> Option<Timestamp> {
    match (&instance.state, run_of(world, &instance.arm)?.replace_after) {
        (InstanceState::Unhealthy { .. }, ReplaceAfter::Ms(ms)) => Some(instance.since.plus_ms(ms)),
        _ => None,
    }
}

fn is_sick(observed: &Observed, run: &RunSpec, instance: &Instance, now: Timestamp) -> bool {
    let unhealthy = matches!(instance.state, InstanceState::Unhealthy { .. });
    match run.replace_after {
        ReplaceAfter::Ms(ms) => {
            let is_known = !observed.unreached.contains(&instance.id);
            unhealthy && is_known && now >= instance.since.plus_ms(ms)
        }
        ReplaceAfter::Never => false,
    }
}

/// Says why an instance is of no use.
#[must_use]
pub fn sickness(instance: &Instance) -> String {
    let what = instance.state.what_happened().unwrap_or_default();
    match &instance.state {
        InstanceState::Unhealthy { .. } => format!("unhealthy: {what}"),
        InstanceState::Failed { .. } => format!("failed: {what}"),
        InstanceState::Starting => "not healthy yet".to_owned(),
        _ => "told to end".to_owned(),
    }
}

/// Returns how the instances of an arm run.
#[must_use]
pub fn run_of<'a>(world: &'a World, arm: &Arm) -> Option<&'a RunSpec> {
    world.version(&arm.version_ref())?.run_of(arm.process.as_ref())
}

//! A skip of the clock: it was found to be behind, and time of which nothing was lived through was added to it.
//!
//! Durations are differences of times. So that none of them contains the skip, every time from which a duration is still
//! to be measured moves with the clock: what was to last another minute lasts another minute.

use std::sync::Arc;

use crate::environment::Environment;
use crate::operation::{Operation, Phase};
use crate::service::{Service, Version};
use crate::time::Timestamp;
use crate::world::World;

/// Moves everything from which a duration is measured.
pub(crate) fn skip(world: &mut World, ms: u64) {
    world.environments =
        world.environments.iter().map(|(name, it)| (name.clone(), environment(it, ms))).collect();
    world.services = world.services.iter().map(|(name, it)| (name.clone(), service(it, ms))).collect();
}

fn environment(environment: &Arc<Environment>, ms: u64) -> Arc<Environment> {
    let mut moved = Environment::clone(environment);
    moved.warm = moved.warm.iter().map(|(arm, until)| (arm.clone(), until.plus_ms(ms))).collect();
    moved.prepared = moved.prepared.iter().map(|(arm, until)| (arm.clone(), until.plus_ms(ms))).collect();
    moved.version_rules.lanes.skip(ms);
    moved.skip_operations(|operation| move_operation(operation, ms));
    moved.each_schedule(|scheduled| scheduled.skip(ms));
    Arc::new(moved)
}

fn move_operation(operation: &mut Operation, ms: u64) {
    operation.begun = operation.begun.plus_ms(ms);
    operation.jobs.iter_mut().for_each(|run| run.skip(ms));
    match &mut operation.phase {
        Phase::Preparing { since, .. } | Phase::Shifted { since, .. } | Phase::Reverting { since, .. } => {
            *since = since.plus_ms(ms);
        }
        // It is over: nothing is measured from it any more.
        Phase::Done { .. } | Phase::Reverted { .. } => {}
    }
}

fn service(service: &Arc<Service>, ms: u64) -> Arc<Service> {
    let mut moved = Service::clone(service);
    moved.versions = moved.versions.iter().map(|(number, it)| (number.clone(), version(it, ms))).collect();
    Arc::new(moved)
}

fn version(version: &Arc<Version>, ms: u64) -> Arc<Version> {
    let mut moved = Version::clone(version);
    moved.stage_since = moved.stage_since.plus_ms(ms);
    Arc::new(moved)
}

/// A wall clock that is ahead by no more than this is followed without a word: nothing is decided by less.
const TOLERATED_MS: u64 = 2_000;

/// Returns by how much a clock is to be skipped so that it says what the wall clock says; `None` when it is not behind.
#[must_use]
pub fn due(clock: Timestamp, wall: Timestamp) -> Option<u64> {
    Some(wall.since_ms(clock)).filter(|&behind| behind > TOLERATED_MS)
}

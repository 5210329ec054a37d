//! How many instances of an arm are wanted: of a service that only has jobs, none.

use crate::environment::Environment;
use crate::instance::Arm;
use crate::mend::run_of;
use crate::world::World;

/// Returns how many instances of an arm run when nothing moves it.
#[must_use]
pub fn replicas(world: &World, environment: &Environment, arm: &Arm) -> u32 {
    let runs = run_of(world, arm).is_none_or(|run| run.kind.has_instances());
    if runs { environment.count_of(arm) } else { 0 }
}

/// Tells whether any process of an arm's version runs all the time.
#[must_use]
pub fn has_instances(world: &World, arm: &Arm) -> bool {
    world.version(&arm.version_ref()).is_none_or(|version| version.standing().next().is_some())
}

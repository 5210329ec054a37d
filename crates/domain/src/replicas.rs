//! How many instances of an arm are wanted: of a service that only has jobs, none.

use crate::environment::Environment;
use crate::instance::Arm;
use crate::mend::run_of;
use crate::world::World;

/// Returns how many instances of an arm run when nothing moves it.
#[must_use]
pub fn replicas(world: &World, environment: &Environment, arm: &Arm) -> u32 {
    if has_instances(world, arm) { environment.replicas_of(&arm.service) } else { 0 }
}

/// Tells whether anything of an arm runs all the time.
#[must_use]
pub fn has_instances(world: &World, arm: &Arm) -> bool {
    run_of(world, arm).is_none_or(|run| run.kind.has_instances())
}

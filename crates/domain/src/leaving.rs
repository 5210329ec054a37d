//! Which instances get no new clients any more, and for how long those that are kept at them still reach them. Pure.
//!
//! Where clients are kept at instances, an instance that leaves the table at once breaks what its clients are about in the
//! middle. So it stays in the table for them alone for as long as a request may take, and leaves it then, as any other does.

use crate::drain::drain_ms;
use crate::environment::Environment;
use crate::fleet::Fleet;
use crate::instance::{Arm, Instance};
use crate::observed::Observed;
use crate::time::Timestamp;
use crate::world::World;

/// Returns the instances of an arm that are too many and to which their clients still come.
pub(crate) fn leaving<'a>(
    world: &World,
    environment: &Environment,
    observed: &'a Observed,
    arm: &Arm,
    now: Timestamp,
) -> Vec<&'a Instance> {
    let Fleet { standing, mut surplus, .. } = Fleet::serving(environment, observed, arm);
    // Where the next one cannot start before it has ended, everybody waits for its end.
    let others_serve = standing.iter().any(|instance| instance.state.is_healthy());
    surplus.retain(|instance| {
        let end = ends_at(world, environment, observed, instance);
        others_serve && instance.state.is_healthy() && end.is_none_or(|end| now < end)
    });
    surplus
}

/// When the clients of an instance come to it no more; `None` when it is not leaving, or nobody has noted it yet.
pub(crate) fn ends_at(
    world: &World,
    environment: &Environment,
    observed: &Observed,
    instance: &Instance,
) -> Option<Timestamp> {
    let since = observed.leaving_since.get(&instance.id)?;
    Some(since.plus_ms(drain_ms(world, environment, &instance.arm)))
}

//! How long an instance that gets no more requests has for those that it has begun. Pure.
//!
//! Gateways give a service a time for its answer; an instance is given as long, so that what would be answered in time still is.
//! What never ends by itself, a WebSocket or a stream of events, is cut off then.

use crate::action::Look;
use crate::environment::Environment;
use crate::instance::{Arm, Instance};
use crate::routes::RouteRule;
use crate::time::Timestamp;
use crate::world::World;

/// What is given where no longer limit is set, and the limit of gateways where nobody said otherwise: long for a request, short for a
/// deployment that waits for its old version.
pub const USUAL_DRAIN_MS: u64 = 60_000;

/// Returns how long instances of an arm have: what a person said for the environment, else the longest time limit of the routes of
/// its version and of the environment, and at least [`USUAL_DRAIN_MS`].
#[must_use]
pub fn drain_ms(world: &World, environment: &Environment, arm: &Arm) -> u64 {
    environment.settings.drain_ms.unwrap_or_else(|| longest_limit_ms(world, environment, arm))
}

/// Tells whether an instance gets no more requests and may end: none is under way at it, or its time is over.
pub(crate) fn drained(look: Look<'_>, instance: &Instance) -> bool {
    let in_flight = look.observed.in_flight.get(&instance.id).copied().unwrap_or(0);
    drained_at(look, instance).is_some_and(|at| in_flight == 0 || look.now >= at)
}

/// When an instance that gets no more requests is told to end even if some are under way.
pub(crate) fn drained_at(look: Look<'_>, instance: &Instance) -> Option<Timestamp> {
    let since = look.observed.unrouted_since.get(&instance.id)?;
    Some(since.plus_ms(drain_ms(look.world, look.environment, &instance.arm)))
}

fn longest_limit_ms(world: &World, environment: &Environment, arm: &Arm) -> u64 {
    let routes = world.version(&arm.version_ref()).into_iter().flat_map(|version| &version.routes);
    let limits = routes.filter_map(RouteRule::longest_ms);
    let of_environment = environment.settings.gateway_rules.timeout_ms;
    limits.chain(of_environment).chain([USUAL_DRAIN_MS]).max().unwrap_or(USUAL_DRAIN_MS)
}

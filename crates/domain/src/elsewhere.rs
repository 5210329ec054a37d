//! Reconciling what somebody else runs: an instance of it is a relay of ours, which runs on whatever happens at the other side.

use crate::fault::{Cause, Fault};
use crate::instance::{Arm, InstanceState};
use crate::mend;
use crate::observed::Observed;
use crate::operation::Operation;
use crate::world::World;

/// The other side of a new arm that is not healthy takes the operation back, and is not blamed: nobody knows whether it is to blame.
pub(crate) fn failure(world: &World, operation: &Operation, observed: &Observed, arm: &Arm) -> Option<Cause> {
    mend::run_of(world, arm)?.external.as_ref()?;
    let fresh = observed.of(arm).filter(|instance| instance.since >= operation.begun);
    let mut unhealthy = fresh.filter(|instance| matches!(instance.state, InstanceState::Unhealthy { .. }));
    let why = unhealthy.find_map(|instance| instance.state.what_happened())?;
    Some(Cause::of(arm, Fault::Elsewhere, format!("{arm} did not become healthy: {why}")))
}

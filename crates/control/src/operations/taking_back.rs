//! Taking back what is under way.

use lockstep_domain::fault::Cause;
use lockstep_domain::operation::Phase;
use lockstep_domain::reconcile::revert;
use lockstep_domain::{Actor, Event, Operation, OperationId, World};

pub(super) fn is_taken_back(operation: &Operation) -> bool {
    matches!(operation.phase, Phase::Reverting { .. } | Phase::Reverted { .. })
}

/// Returns the events that take operations back; none for those that are being taken back already.
pub(super) fn taking_back(world: &World, all: &[OperationId], actor: &Actor, reason: &str) -> Vec<Event> {
    let separator = if reason.is_empty() { "" } else { ": " };
    let cause = Cause::of_nobody(format!("{actor} took it back{separator}{reason}"));
    let found = all.iter().filter_map(|id| world.find_operation(*id));
    found.filter(|operation| !is_taken_back(operation)).map(|one| revert(one, cause.clone())).collect()
}

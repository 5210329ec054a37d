//! The events that take an operation back, and what is held then.

use crate::environment::Hold;
use crate::event::Event;
use crate::fault::Cause;
use crate::instance::Arm;
use crate::name::Actor;
use crate::operation::{Move, Operation, Phase};
use crate::time::Timestamp;
use crate::version::VersionRef;

/// Returns the event that takes an operation back.
#[must_use]
pub fn revert(operation: &Operation, cause: Cause) -> Event {
    let Cause { words: cause, blamed } = cause;
    let environment = operation.environment.clone();
    Event::OperationReverting { operation: operation.id, environment, cause, blamed }
}

/// Returns the events that end the taking back of an operation. Only what is to blame is held: an innocent companion, and
/// what met a full disk, may come again.
#[must_use]
pub fn reverted(operation: &Operation, now: Timestamp) -> Vec<Event> {
    let over =
        Event::OperationReverted { operation: operation.id, environment: operation.environment.clone() };
    let Phase::Reverting { cause, blamed, .. } = &operation.phase else { return vec![over] };
    let version_changes = |part: &&Move| match (&part.from, &part.to) {
        (Some(from), Some(to)) => from.version != to.version,
        (None, Some(_)) => true,
        _ => false,
    };
    let guilty = |arm: &Arm| blamed.iter().any(|blame| blame.fault.is_own() && blame.arm.main() == *arm);
    let moved = operation.plan.moves().filter(version_changes).filter_map(Move::to_arm).filter(guilty);
    let holds = moved.map(|arm| hold(operation, arm.version_ref(), cause.clone(), now, Actor::lockstep()));
    std::iter::once(over).chain(holds).collect()
}

/// Returns the event that holds a version.
pub(crate) fn hold(
    operation: &Operation,
    version: VersionRef,
    reason: String,
    since: Timestamp,
    by: Actor,
) -> Event {
    Event::HoldPlaced {
        environment: operation.environment.clone(),
        version,
        hold: Hold { reason, since, by },
    }
}

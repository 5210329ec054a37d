//! What undoing means: the operation under way that it takes back, or the newest baseline.

use crate::baseline::OperationId;
use crate::compat::Relation;
use crate::environment::Environment;
use crate::intent::Intent;
use crate::operation::{Operation, Phase};
use crate::plan::plan_alone;
use crate::plan::refusal::{Refusal, Under};
use crate::plan::wish::Wish;
use crate::time::Timestamp;

/// Returns the operation that is meant: the one that is named, or the only one that moves services, or else the newest; `None`
/// where the newest baseline is meant.
///
/// Who undoes a baseline that was looked at does not mean what somebody else has begun since, and what goes there already is
/// not taken back. Where it could be one of several, nobody's work is guessed at.
pub(super) fn means(
    relation: Relation<'_>,
    environment: &Environment,
    wish: &Wish<'_>,
    now: Timestamp,
) -> Result<Option<OperationId>, Box<Refusal>> {
    if let Some(id) = wish.operation {
        return named(environment, id).map(Some);
    }
    if wish.expect.is_some() {
        return Ok(None);
    }
    let moving: Vec<_> = environment.moving().map(|operation| &**operation).collect();
    let baseline = || plan_alone(relation, &environment.name, &Intent::Undo, wish.strategy, now);
    match moving.as_slice() {
        [] => Ok(environment.under_way().next_back().map(|operation| operation.id)),
        [only] if only.plan.parent == environment.baselines.current().number => {
            let goes_there = matches!(baseline(), Err(why) if matches!(why[..], [Refusal::GoesThere { .. }]));
            Ok((!goes_there).then_some(only.id))
        }
        several => Err(Box::new(which(environment, several, baseline().is_ok()))),
    }
}

fn named(environment: &Environment, id: OperationId) -> Result<OperationId, Box<Refusal>> {
    let found = environment.find_operation(id);
    match found.map(|operation| &operation.phase) {
        Some(phase) if !phase.is_settled() => Ok(id),
        phase => Err(Box::new(Refusal::NotUnderWay {
            environment: environment.name.clone(),
            operation: id,
            is_known: phase.is_some(),
            baseline: phase.and_then(|phase| match phase {
                Phase::Done { baseline, .. } => Some(*baseline),
                _ => None,
            }),
        })),
    }
}

fn which(environment: &Environment, moving: &[&Operation], baseline_can_be_undone: bool) -> Refusal {
    let current = environment.baselines.current().number;
    Refusal::UndoWhich {
        environment: environment.name.clone(),
        under_way: moving.iter().map(|operation| Under::of(operation)).collect(),
        newer: moving.iter().any(|operation| operation.plan.parent < current).then_some(current),
        baseline: baseline_can_be_undone.then_some(current),
    }
}

//! What undoing means: the operation under way that it takes back, or the newest baseline.

use crate::baseline::OperationId;
use crate::compat::Relation;
use crate::environment::Environment;
use crate::intent::Intent;
use crate::operation::{Operation, Phase};
use crate::plan::plan_alone;
use crate::plan::refusal::{Became, Refusal, Under};
use crate::plan::wish::Wish;
use crate::time::Timestamp;
use crate::world::World;

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
        return named(relation.world, environment, id).map(Some);
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

fn named(world: &World, environment: &Environment, id: OperationId) -> Result<OperationId, Box<Refusal>> {
    let found = environment.find_operation(id);
    match found.map(|operation| &operation.phase) {
        Some(phase) if !phase.is_settled() => Ok(id),
        phase => Err(Box::new(Refusal::NotUnderWay {
            environment: environment.name.clone(),
            operation: id,
            became: became(world, environment, (id, phase)),
        })),
    }
}

/// Says what became of an operation that is not under way here.
fn became(world: &World, environment: &Environment, (id, phase): (OperationId, Option<&Phase>)) -> Became {
    match phase {
        Some(Phase::Done { baseline, .. }) => {
            let made = environment.baselines.get(*baseline).is_some_and(|it| it.operation == Some(id));
            if made { Became::Baseline(*baseline) } else { Became::NoBaseline }
        }
        Some(_) => Became::TakenBack,
        None => {
            let mut others = world.environments.values();
            let found = others.find(|it| it.find_operation(id).is_some());
            found.map_or(Became::Nothing, |it| Became::Elsewhere(it.name.clone()))
        }
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

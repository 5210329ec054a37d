//! Whether an operation under way does already what an intent would do. Who wants the same need do nothing, and whoever takes
//! back what is in the way must not take back that.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::{BaselineEntry, EntryChange};
use crate::environment::Environment;
use crate::intent::{Intent, Strategy};
use crate::name::ServiceName;
use crate::operation::{Operation, Phase};
use crate::plan::order::Direction;
use crate::plan::refusal::Refusal;
use crate::plan::resolve::Resolved;

/// Finds the operation that does what was asked for, where it is all that is in the way.
pub(super) fn goes_there<'a>(
    environment: &'a Environment,
    in_the_way: &[Refusal],
    intent: &Intent,
    (resolved, changes): (&Resolved, &[EntryChange]),
    asked: Option<&Strategy>,
) -> Option<&'a Operation> {
    let [Refusal::Busy { operation, .. }] = in_the_way else { return None };
    let operation = &**environment.find_operation(*operation)?;
    let is_taken_back = matches!(operation.phase, Phase::Reverting { .. });
    let same = same_effect(operation, intent, resolved, changes)
        && same_way(environment, operation, (resolved.direction, changes), asked);
    (same && !is_taken_back).then_some(operation)
}

fn same_effect(operation: &Operation, intent: &Intent, resolved: &Resolved, changes: &[EntryChange]) -> bool {
    let plan = &operation.plan;
    match intent {
        // What it changes beside the set of versions is in force since it was begun.
        Intent::Scale { service, process, replicas } => plan
            .replicas
            .as_ref()
            .is_some_and(|new| (&new.service, &new.process, new.replicas) == (service, process, *replicas)),
        Intent::Configure { .. } => plan
            .configuration
            .as_ref()
            .zip(resolved.configuration.as_ref())
            .is_some_and(|(new, ours)| (&new.service, &new.values) == (&ours.service, &ours.values)),
        Intent::Restart { .. } | Intent::Rebalance { .. } => {
            let of = |instances: &[_]| instances.iter().cloned().collect::<BTreeSet<_>>();
            !plan.restarts.is_empty() && of(&plan.restarts) == of(&resolved.restarts)
        }
        _ => {
            let only_moves =
                plan.configuration.is_none() && plan.replicas.is_none() && plan.restarts.is_empty();
            let moves = plan.moves().map(|part| (&part.service, part.to.as_ref()));
            let ours = changes.iter().map(|change| (&change.service, change.to.as_ref()));
            only_moves && !changes.is_empty() && targets(moves) == targets(ours)
        }
    }
}

type Target<'a> = (&'a ServiceName, Option<&'a BaselineEntry>);

fn targets<'a>(
    moves: impl Iterator<Item = Target<'a>>,
) -> BTreeMap<&'a ServiceName, Option<&'a BaselineEntry>> {
    moves.collect()
}

/// Who goes forward and says not how is content with how another does it. Who goes back is in a hurry, and holds what is left.
fn same_way(
    environment: &Environment,
    operation: &Operation,
    (direction, changes): (Direction, &[EntryChange]),
    asked: Option<&Strategy>,
) -> bool {
    let goes_back = direction == Direction::Back;
    let chosen = super::choose_strategy(environment, direction, changes, asked);
    operation.intent.goes_back() == goes_back
        && (chosen == operation.plan.strategy || (asked.is_none() && !goes_back))
}

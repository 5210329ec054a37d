//! Going back although something is under way: what is in the way is taken back, and the way back begins, in one record.
//!
//! Nothing is in between for anybody to see: the world is folded over the end of what is taken back, and the plan is made on
//! that. Instances of what is taken back leave the table with the next one, and drain like any others.

use crate::baseline::OperationId;
use crate::compat::Relation;
use crate::event::{Event, Recorded};
use crate::fault::Cause;
use crate::intent::{Intent, Strategy};
use crate::name::{Actor, EnvironmentName};
use crate::operation::{Operation, Phase, Plan};
use crate::plan::{Refusal, plan};
use crate::reconcile::{revert, reverted};
use crate::time::Timestamp;
use crate::world::World;

/// What going back means where it takes back whatever is in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interruption {
    /// Something is to be done once that is over.
    Begins {
        /// The events that end what is in the way; they come first.
        ended: Vec<Event>,
        /// The plan on the world after them.
        plan: Box<Plan>,
    },
    /// Nothing is: without what is in the way, the environment is where it is to go back to.
    OnlyEnds {
        /// The first of them.
        first: OperationId,
        /// All that are in the way, and nothing else that is under way.
        all: Vec<OperationId>,
    },
}

/// Plans an intent that takes back whatever is in its way.
///
/// # Errors
/// Every refusal that remains.
pub fn interrupt(
    relation: Relation<'_>,
    environment: &EnvironmentName,
    intent: &Intent,
    strategy: Option<&Strategy>,
    (actor, now): (&Actor, Timestamp),
) -> Result<Interruption, Vec<Refusal>> {
    let refusals = match plan(relation, environment, intent, strategy, now) {
        Ok(plan) => return Ok(Interruption::Begins { ended: Vec::new(), plan: Box::new(plan) }),
        Err(refusals) => refusals,
    };
    let in_the_way: Vec<_> = in_the_way(relation.world, environment, &refusals).collect();
    let Some(first) = in_the_way.first().map(|operation| operation.id) else { return Err(refusals) };
    let all = in_the_way.iter().map(|operation| operation.id).collect();
    let mut world = relation.world.clone();
    let (mut ended, mut said) = (Vec::new(), Vec::new());
    for operation in in_the_way {
        said.push(format!(
            "operation {} ({}, by {}) is taken back first",
            operation.id, operation.intent, operation.actor
        ));
        ended.extend(end(&mut world, &operation, intent, (actor, now)));
    }
    let relation = Relation { world: &world, contracts: relation.contracts };
    match plan(relation, environment, intent, strategy, now) {
        Ok(mut plan) => {
            plan.warnings.splice(0..0, said);
            Ok(Interruption::Begins { ended, plan: Box::new(plan) })
        }
        Err(refusals) if matches!(refusals[..], [Refusal::NothingToDo { .. }]) => {
            Ok(Interruption::OnlyEnds { first, all })
        }
        Err(refusals) => Err(refusals),
    }
}

fn in_the_way<'a>(
    world: &'a World,
    environment: &EnvironmentName,
    refusals: &'a [Refusal],
) -> impl Iterator<Item = Operation> + 'a {
    let environment = world.environment(environment).cloned();
    refusals.iter().filter_map(move |refusal| match refusal {
        Refusal::Busy { operation, .. } => {
            Some(Operation::clone(environment.as_ref()?.find_operation(*operation)?))
        }
        _ => None,
    })
}

/// Ends an operation: taken back, and over. What it was being taken back for keeps its blame, and what is to blame is held.
fn end(
    world: &mut World,
    operation: &Operation,
    intent: &Intent,
    (actor, now): (&Actor, Timestamp),
) -> Vec<Event> {
    let mut events = Vec::new();
    if !matches!(operation.phase, Phase::Reverting { .. }) {
        let cause = Cause::of_nobody(format!("{actor} interrupted it to {intent}"));
        events.push(revert(operation, cause));
        fold(world, &events, actor, now);
    }
    let Some(reverting) = world.find_operation(operation.id).cloned() else { return events };
    let over = reverted(&reverting, now);
    fold(world, &over, actor, now);
    events.extend(over);
    events
}

/// Folds what is not recorded yet. What did not fit would not fit the journal either, which says so.
fn fold(world: &mut World, events: &[Event], actor: &Actor, at: Timestamp) {
    for event in events {
        let recorded = Recorded { seq: world.seq + 1, at, actor: actor.clone(), event: event.clone() };
        let _ = world.fold(&recorded);
    }
}

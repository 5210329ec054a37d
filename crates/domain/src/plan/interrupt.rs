//! Going back although something is under way: what is in the way is taken back, and the way back begins, in one record.
//!
//! Nothing is in between for anybody to see: the world is folded over the end of what is taken back, and the plan is made on
//! that. Instances of what is taken back leave the table with the next one, and drain like any others.

use std::sync::Arc;

use crate::compat::Relation;
use crate::environment::Environment;
use crate::event::{Event, Recorded};
use crate::fault::Cause;
use crate::intent::Intent;
use crate::name::{Actor, EnvironmentName};
use crate::operation::{Operation, Phase};
use crate::plan::wish::{Decision, Wish};
use crate::plan::{Refusal, plan};
use crate::taking_back::{revert, reverted};
use crate::time::Timestamp;
use crate::world::World;

/// Plans what was refused on a world without what is in its way.
pub(super) fn interrupt(
    relation: Relation<'_>,
    environment: &EnvironmentName,
    wish: &Wish<'_>,
    refusals: Vec<Refusal>,
    (actor, now): (&Actor, Timestamp),
) -> Result<Decision, Vec<Refusal>> {
    let Wish { intent, strategy, .. } = *wish;
    let in_the_way = in_the_way(relation.world.environment(environment), &refusals);
    if in_the_way.is_empty() {
        return Err(refusals);
    }
    let said = in_the_way.iter().map(|operation| {
        format!(
            "operation {} ({}, by {}) is taken back first",
            operation.id, operation.intent, operation.actor
        )
    });
    let (world, ended) = without(relation.world, &in_the_way, intent, (actor, now));
    let relation = Relation { world: &world, contracts: relation.contracts };
    match plan(relation, environment, intent, strategy, now) {
        Ok(mut plan) => {
            plan.warnings.splice(0..0, said);
            Ok(Decision::Begins { ended, plan: Box::new(plan) })
        }
        Err(refusals) if matches!(&refusals[..], [only] if only.is_there_already()) => {
            Ok(Decision::TakesBack(in_the_way.iter().map(|operation| operation.id).collect()))
        }
        Err(refusals) => Err(refusals),
    }
}

/// Returns the operations that refusals name.
pub(super) fn in_the_way(
    environment: Option<&Arc<Environment>>,
    refusals: &[Refusal],
) -> Vec<Arc<Operation>> {
    let of = |refusal: &Refusal| match refusal {
        Refusal::Busy { operation, .. } => environment?.find_operation(*operation).cloned(),
        _ => None,
    };
    refusals.iter().filter_map(of).collect()
}

/// Returns the world after the end of operations that are taken back, and the events of that.
pub(super) fn without(
    world: &World,
    operations: &[Arc<Operation>],
    intent: &Intent,
    (actor, now): (&Actor, Timestamp),
) -> (World, Vec<Event>) {
    let mut world = world.clone();
    let ended = operations.iter().flat_map(|operation| end(&mut world, operation, intent, (actor, now)));
    let ended = ended.collect();
    (world, ended)
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

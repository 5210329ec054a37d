//! Deciding: what a wish means in an environment in which others act at the same time. It begins an operation, takes back what
//! is under way, or does nothing because somebody has begun the same.
//!
//! Whoever records asks on the newest world, so of two who wish the same at the same moment the second finds the operation of the
//! first.

use crate::compat::Relation;
use crate::intent::Intent;
use crate::name::{Actor, EnvironmentName};
use crate::plan::interrupt::interrupt;
use crate::plan::refusal::Refusal;
use crate::plan::wish::{Decision, InTheWay, Wish};
use crate::plan::{plan, undo, unexpected};
use crate::time::Timestamp;

/// Decides what a wish means.
///
/// # Errors
/// Every refusal that can be found.
pub fn decide(
    relation: Relation<'_>,
    environment: &EnvironmentName,
    wish: &Wish<'_>,
    (actor, now): (&Actor, Timestamp),
) -> Result<Decision, Vec<Refusal>> {
    let Some(found) = relation.world.environment(environment) else {
        return Err(vec![Refusal::NoEnvironment(environment.clone())]);
    };
    if *wish.intent == Intent::Undo
        && let Some(id) = undo::means(relation, found, wish, now).map_err(|refusal| vec![*refusal])?
    {
        return Ok(Decision::TakesBack(vec![id]));
    }
    let stale = wish.expect.and_then(|expect| unexpected(relation.world, environment, wish.intent, expect));
    if let Some(stale) = stale {
        return Err(vec![stale]);
    }
    match plan(relation, environment, wish.intent, wish.strategy, now) {
        Ok(plan) => Ok(Decision::Begins { ended: Vec::new(), plan: Box::new(plan) }),
        Err(refusals) => match (&refusals[..], wish.in_the_way) {
            ([Refusal::GoesThere { operation, .. }], _) => Ok(Decision::GoesThere(operation.id)),
            (_, InTheWay::Refuses) => Err(refusals),
            (_, InTheWay::IsTakenBack) => interrupt(relation, environment, wish, refusals, (actor, now)),
        },
    }
}

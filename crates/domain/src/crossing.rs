//! Calls that would cross from one wave into the next. Pure.
//!
//! An order of waves is safe for calls that begin between them. A request that an old consumer began before may call its provider
//! later, when that has moved on to a version which this consumer does not work with: so the provider's wave waits for it.

use std::collections::BTreeSet;

use crate::action::Look;
use crate::drain::drain_ms;
use crate::instance::{Arm, Instance};
use crate::name::ServiceName;
use crate::observed::Tables;
use crate::operation::{Move, Operation, Phase, Reason};

/// Tells whether requests are under way at what an earlier wave replaced because it does not work with what a wave brings. They
/// are waited for as long as instances are given before they end, from when the wave was reached; what still gets requests by a rule is not.
pub(crate) fn is_awaited(look: Look<'_>, operation: &Operation, wave: usize) -> bool {
    let mut arms = left_for(operation, wave).filter(|arm| !look.environment.is_ruled(arm)).peekable();
    let is_seen = arms.peek().is_none() || look.observed.tables == Tables::Applied;
    !is_seen || arms.any(|arm| is_busy(look, operation, &arm))
}

/// The arms that had to be left before a wave.
fn left_for(operation: &Operation, wave: usize) -> impl Iterator<Item = Arm> {
    let coming = operation.plan.waves.get(wave).into_iter().flatten();
    let coming: BTreeSet<&ServiceName> = coming.map(|step| &step.service).collect();
    let earlier = operation.plan.waves.iter().take(wave).flatten();
    earlier.filter(move |step| step.reasons.iter().any(|why| is_for(why, &coming))).flat_map(Move::from_arms)
}

fn is_for(reason: &Reason, coming: &BTreeSet<&ServiceName>) -> bool {
    matches!(reason, Reason::OldNeeds { provider, .. } if coming.contains(provider))
}

fn is_busy(look: Look<'_>, operation: &Operation, arm: &Arm) -> bool {
    let Look { world, environment, observed, now, .. } = look;
    let Phase::Preparing { since, .. } = operation.phase else { return false };
    let under_way = |it: &Instance| observed.in_flight.get(&it.id).is_some_and(|&count| count > 0);
    now < since.plus_ms(drain_ms(world, environment, arm)) && observed.of(arm).any(under_way)
}

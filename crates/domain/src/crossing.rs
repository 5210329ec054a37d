//! Calls that would cross from one wave into the next. Pure.
//!
//! An order of waves is safe for calls that begin between them. A request that an old consumer began before may call its provider
//! later, when that has moved on to a version which this consumer does not work with: so the provider's wave waits for it.

use std::collections::BTreeSet;

use crate::action::Look;
use crate::drain::{drained, drained_at};
use crate::instance::{Arm, Instance};
use crate::name::ServiceName;
use crate::observed::Tables;
use crate::operation::{Move, Operation, Reason};

/// Tells whether requests are under way at what an earlier wave replaced because it does not work with what a wave brings. They
/// are waited for as long as instances are given before they end; what still gets requests, by a rule for example, is not.
pub(crate) fn is_awaited(look: Look<'_>, operation: &Operation, wave: usize) -> bool {
    let mut arms = left_for(operation, wave).peekable();
    let is_seen = arms.peek().is_none() || look.observed.tables == Tables::Applied;
    !is_seen || arms.any(|arm| look.observed.of(&arm).any(|instance| is_busy(look, instance)))
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

fn is_busy(look: Look<'_>, instance: &Instance) -> bool {
    drained_at(look, instance).is_some() && !drained(look, instance)
}

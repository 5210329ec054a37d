//! Whether the old version is in trouble itself: then the incident is not caused by the rollout.

use crate::rules::{Plan, Rules};
use crate::verdict::{Beside, Seen};

/// Fewer requests, or fewer failures, are no incident.
const MIN_REQUESTS: u64 = 20;
/// See [`MIN_REQUESTS`].
const MIN_FAILURES: u64 = 5;
/// So many times what is usual for the old version is not usual.
const ABOVE_USUAL: u64 = 3;
/// How many intervals trouble is an incident when nothing is known of before; then it is how the old version is.
const LASTS: u64 = 30;

/// Tells whether the old arm fails now as it usually does not.
pub(crate) fn is_above_usual(plan: &Plan, now: &Beside) -> bool {
    let usual = plan.usual.as_ref().map(|usual| Seen::of(usual, usual.of_classes(&plan.rules.failing)));
    is_bad(&plan.rules, now.old) && usual.is_none_or(|usual| is_far_above(now.old, usual))
}

/// Tells whether a version fails several times as often as is usual.
pub(crate) fn is_far_above(now: Seen, usual: Seen) -> bool {
    u64::from(now.share().0) >= ABOVE_USUAL * u64::from(usual.share().0)
}

/// Tells whether an incident hits both arms: the old one is in trouble, and the new one is not clearly better.
pub(crate) fn hits_both(plan: &Plan, now: &Beside, trouble: u64) -> bool {
    let over = plan.usual.is_none() && trouble > LASTS;
    let as_bad = now.new.requests < MIN_FAILURES || now.new.share().0 >= now.old.share().0 / 2;
    trouble > 0 && !over && as_bad
}

/// Tells whether a version fails so often that people should know.
pub(crate) fn is_bad(rules: &Rules, seen: Seen) -> bool {
    seen.requests >= MIN_REQUESTS && seen.hits >= MIN_FAILURES && seen.share() >= rules.incident
}

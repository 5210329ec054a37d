//! Whether the old version is in trouble itself: then the incident is not caused by the rollout.

use crate::counts::{Counts, Pair};
use crate::rules::{Plan, Rules};

/// Fewer requests, or fewer failures, are no incident.
const MIN_REQUESTS: u64 = 20;
/// See [`MIN_REQUESTS`].
const MIN_FAILURES: u64 = 5;
/// So many times what is usual for the old version is not usual.
const ABOVE_USUAL: u64 = 3;
/// How many intervals trouble is an incident when nothing is known of before; then it is how the old version is.
const LASTS: u64 = 30;

/// Tells whether the old arm fails now as it usually does not.
pub(crate) fn is_above_usual(plan: &Plan, now: &Pair) -> bool {
    if !is_bad(&plan.rules, &now.old) {
        return false;
    }
    let share = |counts: &Counts| u64::from(counts.share(counts.of_classes(&plan.rules.failing)).0);
    plan.usual.as_ref().is_none_or(|usual| share(&now.old) >= ABOVE_USUAL * share(usual))
}

/// Tells whether an incident hits both arms: the old one is in trouble, and the new one is not clearly better.
pub(crate) fn hits_both(plan: &Plan, now: &Pair, trouble: u64) -> bool {
    let over = plan.usual.is_none() && trouble > LASTS;
    if trouble == 0 || over {
        return false;
    }
    let share = |counts: &Counts| counts.share(counts.of_classes(&plan.rules.failing)).0;
    now.new.requests < MIN_FAILURES || share(&now.new) >= share(&now.old) / 2
}

/// Tells whether an arm fails so often that people should know.
pub(crate) fn is_bad(rules: &Rules, counts: &Counts) -> bool {
    let failed = counts.of_classes(&rules.failing);
    counts.requests >= MIN_REQUESTS
        && failed.answers >= MIN_FAILURES
        && counts.share(failed) >= rules.incident
}

//! What is missing until something can be said, and how long that takes at today's rate.

use crate::evidence::{Evidence, Suspicion};
use crate::rules::{Plan, tolerated};
use crate::tally::MARGIN;
use crate::verdict::{Measure, Missing};

/// Returns how many more requests of the new version a pass of this step by time needs; `None` when there are enough.
pub(crate) fn requests(plan: &Plan, evidence: &Evidence) -> Option<Missing> {
    let step = evidence.step;
    let count = plan.rules.min_requests.saturating_sub(step.requests);
    (count > 0).then(|| at_rate(step.counted_ms, count, step.requests))
}

/// Returns about how many more failures of either version prove that the new one is not worse, if both go on alike;
/// `None` while none fails.
pub(crate) fn until_proven(plan: &Plan, evidence: &Evidence) -> Option<Missing> {
    let tally = &evidence.total.failures;
    let needed = -plan.rules.beta().ln() - tally.ln_better(MARGIN);
    let hits = tally.hits();
    let each = tally.ln_better_a_hit()?;
    (hits > 0 && needed > 0.0).then(|| at_rate(evidence.counted_ms, (needed / each).ceil() as u64, hits))
}

/// Returns about how many more hits take the new version back, if it goes on as it went.
pub(crate) fn until_failed(plan: &Plan, evidence: &Evidence, one: &Suspicion<'_>) -> Option<Missing> {
    let rho = match one.measure {
        Measure::Failures | Measure::Broken => plan.rules.tolerated,
        Measure::Slower { .. } => plan.rules.tolerated_slower,
    };
    let needed = -plan.rules.alpha().ln() - one.ln;
    let each = one.tally.ln_worse_a_hit(tolerated(rho))?;
    (needed > 0.0).then(|| at_rate(evidence.counted_ms, (needed / each).ceil() as u64, one.tally.hits()))
}

/// `count` more, when `seen` came in the time that was counted.
fn at_rate(counted_ms: u64, count: u64, seen: u64) -> Missing {
    let ms = u128::from(count) * u128::from(counted_ms);
    let ms = ms.checked_div(u128::from(seen)).map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
    Missing { count, ms: ms.filter(|_| counted_ms > 0) }
}

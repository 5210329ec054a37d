//! What is missing until something can be said, and how long that takes at today's rate.

use crate::evidence::{Evidence, Suspicion};
use crate::rules::{Plan, tolerated};
use crate::tally::MARGIN;
use crate::verdict::{Measure, Missing};

/// Returns how many more requests of the new version a pass by time needs; `None` when there are enough.
pub(crate) fn requests(plan: &Plan, evidence: &Evidence) -> Option<Missing> {
    let seen = evidence.total.seen.new.requests;
    let count = plan.rules.min_requests.saturating_sub(seen);
    (count > 0).then(|| at_rate(evidence, count, seen))
}

/// Returns about how many more failures of either version prove that the new one is not worse, if both go on alike.
pub(crate) fn until_proven(plan: &Plan, evidence: &Evidence) -> Option<Missing> {
    let tally = &evidence.total.failures;
    let needed = -plan.rules.beta().ln() - tally.ln_better(MARGIN);
    let hits = tally.hits();
    let each = tally.ln_better_a_hit()?;
    (needed > 0.0).then(|| at_rate(evidence, (needed / each).ceil() as u64, hits))
}

/// Returns about how many more hits take the new version back, if it goes on as it went.
pub(crate) fn until_failed(plan: &Plan, evidence: &Evidence, one: &Suspicion<'_>) -> Option<Missing> {
    let rho = match one.measure {
        Measure::Failures => plan.rules.tolerated,
        Measure::Slower { .. } => plan.rules.tolerated_slower,
    };
    let needed = -plan.rules.alpha().ln() - one.ln;
    let each = one.tally.ln_worse_a_hit(tolerated(rho))?;
    (needed > 0.0).then(|| at_rate(evidence, (needed / each).ceil() as u64, one.tally.hits()))
}

/// `count` more, when `seen` came in all the time that was counted.
fn at_rate(evidence: &Evidence, count: u64, seen: u64) -> Missing {
    let ms = u128::from(count) * u128::from(evidence.counted_ms);
    let ms = ms.checked_div(u128::from(seen)).map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
    Missing { count, ms: ms.filter(|_| evidence.counted_ms > 0) }
}

//! The verdict on a new arm: pass, fail, or none. None is never pass.
//!
//! For now a bound on the share of failed requests decides; sequential statistics will take this place.

use std::fmt;

use crate::intent::FailureBound;
use crate::routes::ArmTraffic;

/// Fewer requests than this never fail a version: one unlucky request is not a bad version.
pub const MIN_REQUESTS_TO_FAIL: u64 = 5;

/// Whether a new arm may have more requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Pass {
        /// What was seen.
        why: String,
    },
    /// It must go.
    Fail {
        /// What was seen.
        why: String,
    },
    /// Nothing can be said yet.
    None {
        /// What is missing.
        missing: String,
    },
}

/// Judges a new arm by the requests of this step, beside the old arm in the same time.
///
/// A failure that hits both is not blamed on the new one: it fails only when it is above the bound and worse than the old.
#[must_use]
pub fn judge(new: ArmTraffic, old: ArmTraffic, bound: FailureBound) -> Verdict {
    let seen = Seen { new, bound };
    let enough_to_fail = new.requests >= MIN_REQUESTS_TO_FAIL;
    let above = share(new) > u64::from(bound.max_failures_in_10000);
    if enough_to_fail && above && (old.requests == 0 || share(new) > share(old)) {
        return Verdict::Fail { why: seen.to_string() };
    }
    if new.requests < bound.min_requests {
        let missing = bound.min_requests - new.requests;
        return Verdict::None { missing: format!("{missing} more requests") };
    }
    if above && enough_to_fail {
        return Verdict::None { missing: format!("{seen}, and the old version fails as often") };
    }
    Verdict::Pass { why: seen.to_string() }
}

/// Failures in 10,000 requests, rounded up so that a single failure is never nothing.
fn share(traffic: ArmTraffic) -> u64 {
    let product = u128::from(traffic.failures) * 10_000;
    let share = product.div_ceil(u128::from(traffic.requests.max(1)));
    u64::try_from(share).unwrap_or(u64::MAX)
}

struct Seen {
    new: ArmTraffic,
    bound: FailureBound,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = f64::from(self.bound.max_failures_in_10000) / 100.0;
        match (self.new.requests, self.new.failures) {
            (0, _) => f.write_str("no requests: passed by time, not proven"),
            (requests, failures) => write!(f, "{failures} of {requests} requests failed (bound {bound} %)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn traffic(requests: u64, failures: u64) -> ArmTraffic {
        ArmTraffic { requests, failures }
    }

    const BOUND: FailureBound = FailureBound { max_failures_in_10000: 100, min_requests: 20 };

    #[test]
    fn bad_versions_fail_and_good_ones_pass() {
        assert!(matches!(judge(traffic(100, 20), traffic(900, 0), BOUND), Verdict::Fail { .. }));
        assert!(matches!(judge(traffic(100, 1), traffic(900, 0), BOUND), Verdict::Pass { .. }));
        assert!(matches!(judge(traffic(100, 0), traffic(0, 0), BOUND), Verdict::Pass { .. }));
    }

    #[test]
    fn too_few_requests_decide_nothing() {
        assert!(matches!(judge(traffic(4, 4), traffic(900, 0), BOUND), Verdict::None { .. }));
        assert!(matches!(judge(traffic(19, 0), traffic(900, 0), BOUND), Verdict::None { .. }));
        assert!(matches!(judge(traffic(5, 5), traffic(900, 0), BOUND), Verdict::Fail { .. }));
    }

    #[test]
    fn an_incident_that_hits_both_is_not_blamed_on_the_new_version() {
        assert!(matches!(judge(traffic(100, 50), traffic(900, 450), BOUND), Verdict::None { .. }));
    }

    #[test]
    fn time_alone_passes_and_says_that_nothing_was_proven() {
        let verdict = judge(traffic(0, 0), traffic(0, 0), FailureBound::default());
        assert_eq!(verdict, Verdict::Pass { why: "no requests: passed by time, not proven".into() });
    }

    proptest! {
        #[test]
        fn more_failures_never_help(requests in 0_u64..1_000, a in 0_u64..1_000, b in 0_u64..1_000) {
            let (low, high) = (a.min(b).min(requests), a.max(b).min(requests));
            let failed = |n| matches!(judge(traffic(requests, n), traffic(1_000, 0), BOUND), Verdict::Fail { .. });
            prop_assert!(!failed(low) || failed(high));
        }
    }
}

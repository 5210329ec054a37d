//! What copies of requests say of the version that got them: the evidence of a mirror that was ended.

use crate::evidence::{Evidence, EvidenceKind, MAX_KEPT_FAILURES, Origin, Outcome, TestCounts, TestFailure};
use crate::mirror::{Difference, MirrorCounts};
use crate::name::EnvironmentName;
use crate::time::Timestamp;

/// So many answers must have been the same before that speaks for a version: then fewer than 3 % are different, with a certainty of 95 %.
pub const LEAST_COPIES: u64 = 100;

impl MirrorCounts {
    /// Makes the evidence that it is; nothing while it shows neither a difference nor enough that is the same.
    #[must_use]
    pub fn evidence(&self, environment: &EnvironmentName, at: Timestamp) -> Option<Evidence> {
        let failed = self.different.saturating_add(self.unanswered);
        if failed == 0 && self.same < LEAST_COPIES {
            return None;
        }
        let skipped = self.dropped.saturating_add(self.uncopied);
        Some(Evidence {
            kind: EvidenceKind::mirrored_in(environment),
            outcome: if failed == 0 { Outcome::Green } else { Outcome::Red },
            at,
            tests: TestCounts { passed: self.same, failed, skipped, duration_ms: 0 },
            failures: self.failures(),
            report: None,
            origin: Origin::Here,
            mirrored: Some(Box::new(self.clone())),
        })
    }

    /// What was different, the most frequent first.
    fn failures(&self) -> Vec<TestFailure> {
        let mut sorted: Vec<&Difference> = self.differences.iter().collect();
        sorted.sort_by_key(|it| std::cmp::Reverse(it.count));
        let failure = |it: &Difference| TestFailure {
            name: it.operation.clone(),
            message: format!("{} ({} times)", it.what, it.count),
        };
        let silent = (self.unanswered > 0).then(|| TestFailure {
            name: "copies".to_owned(),
            message: format!("no answer, or not to its end ({} times)", self.unanswered),
        });
        silent.into_iter().chain(sorted.into_iter().map(failure)).take(MAX_KEPT_FAILURES).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::What;

    fn evidence(counts: &MirrorCounts) -> Option<Evidence> {
        counts.evidence(&"staging".parse().unwrap(), Timestamp(7))
    }

    #[test]
    fn enough_that_is_the_same_speaks_for_a_version_and_anything_else_against_it() {
        let same = |same| MirrorCounts { same, dropped: 5, ..MirrorCounts::default() };
        assert_eq!(evidence(&same(LEAST_COPIES - 1)), None, "none is never pass");
        let green = evidence(&same(LEAST_COPIES)).unwrap();
        assert_eq!((green.kind.as_str(), green.outcome), ("mirrored:staging", Outcome::Green));
        assert_eq!((green.tests.passed, green.tests.failed, green.tests.skipped), (100, 0, 5));
        for bad in [
            MirrorCounts { different: 1, ..same(1_000) },
            MirrorCounts { unanswered: 1, ..same(1_000) },
            MirrorCounts { different: 1, ..same(0) },
        ] {
            assert_eq!(evidence(&bad).unwrap().outcome, Outcome::Red, "{bad:?}");
        }
    }

    #[test]
    fn what_was_different_is_told_with_the_most_frequent_first() {
        let status = |operation: &str, after, count| Difference {
            operation: operation.to_owned(),
            what: What::Status { before: 200, after },
            count,
        };
        let counts = MirrorCounts {
            different: 9,
            unanswered: 2,
            differences: vec![status("GET /a", 404, 2), status("GET /b", 500, 7)],
            ..MirrorCounts::default()
        };
        let told: Vec<_> = evidence(&counts).unwrap().failures.into_iter().map(|it| it.message).collect();
        let expected = [
            "no answer, or not to its end (2 times)",
            "status 500 instead of 200 (7 times)",
            "status 404 instead of 200 (2 times)",
        ];
        assert_eq!(told, expected);
    }
}

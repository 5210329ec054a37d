//! The verdict on a new arm: what the judge makes of what was counted of it. None is never pass.

use std::collections::BTreeSet;

use lockstep_judge::{
    Bake, Evidence, Health, Look, Names, Obstacle, Plan, Rules, Share, Unit, Waiting, decide, missed,
};

use crate::instance::Arm;
use crate::intent::FailureBound;

/// What a version on trial is judged by, and what was seen of it so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trial {
    /// Fixed before its first request.
    pub plan: Plan,
    /// All that was counted since.
    pub evidence: Evidence,
}

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
    None(Unproven),
}

/// Why nothing can be said of a version, and what is known of it all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    /// What is missing, for people.
    pub missing: String,
    /// The same by kind.
    pub obstacles: BTreeSet<Obstacle>,
    /// What is said of it if it passes all the same.
    pub known: String,
}

impl Verdict {
    /// Adds to what was seen of a version that passes what else was.
    #[must_use]
    pub fn with_why(self, more: &str) -> Self {
        match self {
            Self::Pass { why } => Self::Pass { why: format!("{why}; {more}") },
            other => other,
        }
    }
}

impl Unproven {
    /// Says it of a version of which nothing was counted.
    #[must_use]
    pub fn uncounted(arm: &Arm) -> Self {
        let missed = missed(&Plan::default(), &Evidence::default());
        Self {
            missing: format!("{arm}: nothing was counted yet"),
            obstacles: BTreeSet::from([Obstacle::NoCounters]),
            known: format!("{arm}: passed, not proven: {missed}"),
        }
    }
}

/// Returns the rules that a strategy's bound stands for. What is above the bound and worse than the old version matters, however
/// small the difference; whether it is worse is a question of evidence and not of the bound.
#[must_use]
pub fn rules(bound: FailureBound) -> Rules {
    Rules {
        error_budget: Some(Share(bound.max_failures_in_10000.saturating_mul(100))),
        min_requests: bound.min_requests,
        ..Rules::default()
    }
}

/// Judges a new arm beside the old one, with so many milliseconds of the bake left.
#[must_use]
pub fn judge(trial: &Trial, new: &Arm, old: &Arm, left_ms: u64) -> Verdict {
    let bake = if left_ms == 0 { Bake::Over } else { Bake::Left(left_ms) };
    let judgement = decide(&trial.plan, &trial.evidence, &Look { health: Health::Ready, bake });
    let (new_version, old_version) = (new.version.to_string(), old.version.to_string());
    let (new_name, old_name) = (new_version.as_str(), old_version.as_str());
    let names = Names { service: new.service.as_str(), new: new_name, old: old_name, of: Unit::Requests };
    let notes = judgement.notes.iter().map(|note| note.sentence(&names));
    let said = std::iter::once(judgement.sentence(&names)).chain(notes).collect::<Vec<_>>().join("; ");
    match judgement.verdict {
        lockstep_judge::Verdict::Pass(_) => Verdict::Pass { why: format!("{new}: {said}") },
        lockstep_judge::Verdict::Fail(_) => Verdict::Fail { why: said },
        lockstep_judge::Verdict::None(waiting) => Verdict::None(Unproven {
            missing: format!("{new}: {said}"),
            obstacles: waiting.iter().map(Waiting::obstacle).collect(),
            known: format!("{new}: passed, not proven: {}", missed(&trial.plan, &trial.evidence)),
        }),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_judge::{Counts, Interval, Pair, Reading, Split, Weight};

    use super::*;
    use crate::instance::ConfigRevision;
    use crate::intent::WithoutEvidence;
    use crate::version::VersionNumber;

    fn arm(minor: u64) -> Arm {
        let service = "orders".parse().unwrap();
        Arm { service, version: VersionNumber::new(1, minor, 0), config: ConfigRevision(0), process: None }
    }

    /// Judges 10 % of the clients with so many requests and failures, the new arm's first.
    fn judged(bound: FailureBound, new: (u64, u64), old: (u64, u64)) -> Verdict {
        let plan = Plan { rules: rules(bound), ..Plan::default() };
        let mut evidence = Evidence::default();
        let of = |(requests, failures)| Counts::with_failures(requests, failures);
        let total = Pair { new: of(new), old: of(old) };
        let split = Split::Drawn(Weight(1_000));
        let interval = Interval { lasted_ms: 10_000, split, total, classes: Default::default() };
        evidence.take(&plan, &Reading::Counted(interval));
        judge(&Trial { plan, evidence }, &arm(1), &arm(0), 0)
    }

    const BOUND: FailureBound = FailureBound {
        max_failures_in_10000: 100,
        min_requests: 20,
        without_evidence: WithoutEvidence::Wait,
    };

    #[test]
    fn a_worse_version_fails_and_a_good_one_passes() {
        assert!(matches!(judged(BOUND, (100, 20), (900, 0)), Verdict::Fail { .. }));
        assert!(matches!(judged(BOUND, (100, 1), (900, 9)), Verdict::Pass { .. }));
    }

    #[test]
    fn one_unlucky_request_of_twelve_takes_nothing_back() {
        assert!(matches!(judged(BOUND, (12, 1), (110, 3)), Verdict::None(_)));
    }

    #[test]
    fn too_few_requests_decide_nothing_and_it_is_said_how_many_are_missing() {
        let Verdict::None(unproven) = judged(BOUND, (15, 0), (150, 0)) else { panic!() };
        assert!(unproven.missing.contains("5 more requests"), "{unproven:?}");
        assert_eq!(unproven.obstacles, [Obstacle::FewRequests].into());
        assert!(unproven.known.contains("passed, not proven: could have missed"), "{unproven:?}");
    }

    #[test]
    fn what_passes_by_time_alone_says_that_nothing_was_proven() {
        let bound = FailureBound { min_requests: 0, ..BOUND };
        let Verdict::Pass { why } = judged(bound, (0, 0), (0, 0)) else { panic!() };
        assert!(why.contains("passed, not proven"), "{why}");
    }

    #[test]
    fn an_incident_that_hits_both_is_not_blamed_on_the_new_version() {
        let Verdict::None(unproven) = judged(BOUND, (100, 50), (900, 450)) else { panic!() };
        assert!(unproven.missing.contains("not caused by the rollout"), "{unproven:?}");
        assert!(unproven.obstacles.contains(&Obstacle::Incident), "{unproven:?}");
    }
}

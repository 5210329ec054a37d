//! The verdict as data: what is recorded for ever, and what sentences are made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counts::{Answers, Counts, Pair, RouteClass};
use crate::quantity::{Share, Times};
use crate::rules::Rules;
use crate::status::StatusClass;

/// What is said of a new version at one look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// Whether it may have more requests.
    pub verdict: Verdict,
    /// How strong the evidence is that it is worse, to 1.
    pub evidence: u64,
    /// What is told beside the verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// Whether a new version may have more requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may.
    Pass(Proof),
    /// It must go: all reasons, the strongest first.
    Fail(Vec<Fault>),
    /// Nothing can be said yet: all that is waited for. None is never pass.
    None(Vec<Waiting>),
}

/// What a pass rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Its odds of failing are surely below so many times the old version's.
    NotWorse {
        /// How many times.
        less_than: Times,
        /// What was seen.
        #[serde(flatten)]
        seen: Beside,
    },
    /// Time and requests passed without suspicion: passed, not proven.
    Unproven(Missed),
}

/// What could have been missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missed {
    /// Its odds of failing are surely below so many times the old version's; `None` where nothing can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
    /// It surely fails less than this share of its requests.
    pub share: Share,
    /// Requests that this rests on.
    pub requests: u64,
}

/// Why a version fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Its instances end again and again.
    CrashLoop,
    /// Its instances are not ready any more.
    NotReady,
    /// Every request fails while the old version serves.
    AllFail {
        /// Keys whose requests failed.
        keys: u64,
        /// The old version's requests.
        old: Seen,
    },
    /// It is worse than the old version beside it.
    Worse {
        /// Where.
        scope: Scope,
        /// In what.
        measure: Measure,
        /// What was seen.
        #[serde(flatten)]
        seen: Beside,
        /// How strong the evidence of this alone is, to 1.
        evidence: u64,
        /// What exactly, where that is known.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        what: String,
    },
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// No counters came.
    NoCounters {
        /// For so many intervals.
        intervals: u32,
    },
    /// An incident hits both versions: it is not caused by the rollout.
    Incident {
        /// What is seen now.
        #[serde(flatten)]
        seen: Beside,
    },
    /// It fails often, and no old version is there to compare with.
    FailsAlone {
        /// The new version's requests.
        new: Seen,
        /// What the old one did while it was there, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Seen>,
    },
    /// There is evidence that it is worse, and not enough to take it back.
    Suspicious {
        /// Where.
        scope: Scope,
        /// In what.
        measure: Measure,
        /// What was seen.
        #[serde(flatten)]
        seen: Beside,
        /// How strong the evidence is, to 1.
        evidence: u64,
        /// What is missing if it goes on as it went.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missing: Option<Missing>,
    },
    /// Most answers are of a class that is no failure, and that the old version did not give: a route may be lost.
    Lost {
        /// Where.
        scope: Scope,
        /// Which answers.
        status: StatusClass,
        /// What was seen.
        #[serde(flatten)]
        seen: Beside,
    },
    /// More requests, or proof before.
    Requests {
        /// How many more.
        requests: Missing,
        /// About how many more failures of either version would prove it, when both fail alike.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failures: Option<Missing>,
    },
    /// The rest of the bake.
    Bake {
        /// How long that is.
        ms: u64,
    },
}

/// How many more of something, and how long that takes at today's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missing {
    /// How many.
    pub count: u64,
    /// How long; `None` when none come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
}

/// What is told beside the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// Answers of a class became more, which is no failure.
    Change {
        /// Where.
        scope: Scope,
        /// Which answers.
        status: StatusClass,
        /// What was seen.
        #[serde(flatten)]
        seen: Beside,
    },
    /// It is worse, by less than what matters.
    Immaterial {
        /// Where.
        scope: Scope,
        /// In what.
        measure: Measure,
        /// What was seen.
        #[serde(flatten)]
        seen: Beside,
    },
    /// Both versions give answers that are not what their contracts say: the rollout has not done that.
    BothBreak {
        /// Where.
        scope: Scope,
        /// What was seen.
        #[serde(flatten)]
        seen: Beside,
        /// What exactly.
        what: String,
    },
    /// The old version fails often itself; the new one is measured against that.
    OldFailsToo {
        /// The old version's requests.
        old: Seen,
    },
}

/// What part of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of it.
    Total,
    /// A route class.
    Class(RouteClass),
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Failures.
    Failures,
    /// Answers that take longer than a bound.
    Slower {
        /// The bound.
        bound_ms: u64,
    },
    /// Answers that are not what the contract says; a sample of them is compared.
    Broken,
}

/// Requests, and those of them that are spoken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// All of them.
    pub requests: u64,
    /// Those that failed, were slow, or got the status.
    pub hits: u64,
}

/// Both versions beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Beside {
    /// The new version's requests.
    pub new: Seen,
    /// The old version's requests.
    pub old: Seen,
}

impl Verdict {
    /// Names the kind of verdict: `pass`, `fail` or `none`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::Fail(_) => "fail",
            Self::None(_) => "none",
        }
    }
}

impl Beside {
    pub(crate) fn failures(rules: &Rules, pair: &Pair) -> Self {
        Self::of(pair, |counts| counts.of_classes(&rules.failing))
    }

    pub(crate) fn of(pair: &Pair, answers: impl Fn(&Counts) -> Answers) -> Self {
        let seen = |counts| Seen::of(counts, answers(counts));
        Self { new: seen(&pair.new), old: seen(&pair.old) }
    }

    pub(crate) fn broken(pair: &Pair) -> Self {
        let seen = |counts: &Counts| Seen { requests: counts.checked, hits: counts.broken().answers };
        Self { new: seen(&pair.new), old: seen(&pair.old) }
    }

    pub(crate) const fn plus(self, more: Self) -> Self {
        Self { new: self.new.plus(more.new), old: self.old.plus(more.old) }
    }
}

impl Seen {
    const fn plus(self, more: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(more.requests),
            hits: self.hits.saturating_add(more.hits),
        }
    }

    pub(crate) fn of(counts: &Counts, answers: Answers) -> Self {
        Self { requests: counts.requests, hits: answers.answers }
    }

    /// Returns which part of the requests that is.
    #[must_use]
    pub fn share(self) -> Share {
        Share::of(self.hits, self.requests)
    }
}

//! The rules of a rollout: what is tolerated, what counts, and how sure one has to be. Fixed before the first request.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counts::{Counts, RouteClass};
use crate::quantity::{Share, Times};
use crate::status::StatusClass;

/// Most route classes that are judged for themselves: each makes the evidence that is asked of every other larger.
pub const MAX_CLASSES: usize = 50;
/// Most bounds of latency.
pub const MAX_LATENCY_BOUNDS: usize = 4;

/// What is tolerated, what counts, and how sure one has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// How probable it may be that a good version is failed, over the whole rollout and everything that is watched.
    pub alpha: Share,
    /// How probable it may be that a version is called proven although its odds of failing are twice the old one's.
    pub beta: Share,
    /// How many times the old version's odds of failing are tolerated; at least 1.
    pub tolerated: Times,
    /// The same for the odds of being slower than a bound.
    pub tolerated_slower: Times,
    /// A smaller rise of the share of failures fails no version, however sure it is.
    pub material: Share,
    /// A smaller rise of the share of slow answers fails no version.
    pub material_slower: Share,
    /// The share of failures that the service may have; twice as much is material, however small.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_budget: Option<Share>,
    /// Classes of answers that are failures.
    pub failing: BTreeSet<StatusClass>,
    /// Classes of answers whose rise is told.
    pub watched: BTreeSet<StatusClass>,
    /// Fewer requests of the new version than this pass nothing by time.
    pub min_requests: u64,
    /// With evidence from this on (to 1) that it is worse, time passes nothing.
    pub suspicious: u64,
    /// From this share of failures on the old version is in trouble itself, unless that is usual for it.
    pub incident: Share,
}

impl Default for Rules {
    fn default() -> Self {
        let classes = |names: [&'static str; 2]| names.into_iter().map(StatusClass::known).collect();
        Self {
            alpha: Share(10_000),
            beta: Share(50_000),
            tolerated: Times(125),
            tolerated_slower: Times(150),
            material: Share(1_000),
            material_slower: Share(100_000),
            error_budget: None,
            failing: classes([StatusClass::SERVER_ERROR, StatusClass::NO_ANSWER]),
            watched: classes([StatusClass::NOT_FOUND, StatusClass::UNAUTHORIZED]),
            min_requests: 100,
            suspicious: 10,
            incident: Share(50_000),
        }
    }
}

/// What a rollout is judged by, fixed before its first request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The rules.
    #[serde(default)]
    pub rules: Rules,
    /// Route classes that are judged for themselves; the total always is.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub classes: BTreeSet<RouteClass>,
    /// Bounds of latency in milliseconds: those nearest to the old version's p50, p90, p95 and p99.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub latency_bounds_ms: BTreeSet<u64>,
    /// Whether bodies of answers are compared with the contracts of the versions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checks_bodies: bool,
    /// What the old version did before the rollout, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual: Option<Counts>,
}

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// An error probability that decides nothing or everything.
    #[error("`{field}` is {value}, expected more than 0 % and at most 20 %")]
    Probability {
        /// The field.
        field: &'static str,
        /// Its value.
        value: Share,
    },
    /// A version that has to be better than the old one.
    #[error("`{field}` is {value}, expected 1 to 100 times")]
    Tolerated {
        /// The field.
        field: &'static str,
        /// Its value.
        value: Times,
    },
    /// Nothing is a failure.
    #[error("`failing` names no class of answers")]
    NothingFails,
    /// Too much is watched at once.
    #[error("{count} {what} are watched, at most {most} can be")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        most: usize,
    },
}

impl Rules {
    pub(crate) fn alpha(&self) -> f64 {
        probability(self.alpha)
    }

    pub(crate) fn beta(&self) -> f64 {
        probability(self.beta)
    }
}

/// Rules that were not checked must not make evidence of nothing.
fn probability(share: Share) -> f64 {
    share.fraction().clamp(1e-6, 0.2)
}

/// The same for what is tolerated: below 1 the evidence would not be valid for large tables.
pub(crate) fn tolerated(times: Times) -> f64 {
    times.ratio().clamp(1.0, 100.0)
}

impl Plan {
    /// Checks the rules that the types do not carry.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn check(&self) -> Result<(), Vec<RulesError>> {
        let rules = &self.rules;
        let sure = [("alpha", rules.alpha), ("beta", rules.beta)];
        let sure = sure.into_iter().filter(|(_, value)| !(1..=200_000).contains(&value.0));
        let mut wrong: Vec<_> = sure.map(|(field, value)| RulesError::Probability { field, value }).collect();
        let times = [("tolerated", rules.tolerated), ("tolerated_slower", rules.tolerated_slower)];
        let times = times.into_iter().filter(|(_, value)| !(100..=10_000).contains(&value.0));
        wrong.extend(times.map(|(field, value)| RulesError::Tolerated { field, value }));
        if rules.failing.is_empty() {
            wrong.push(RulesError::NothingFails);
        }
        let counts = [
            ("route classes", self.classes.len(), MAX_CLASSES),
            ("bounds of latency", self.latency_bounds_ms.len(), MAX_LATENCY_BOUNDS),
        ];
        let many = counts.into_iter().filter(|(_, count, most)| count > most);
        wrong.extend(many.map(|(what, count, most)| RulesError::TooMany { what, count, most }));
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

//! What gateways count of a service while one of its arms is on trial: what the table asks for, and what receipts bring.
//!
//! Counters are kept apart by the weight that the arm on trial had. So each of them is evidence as it stands, whatever weights
//! came one after the other and whichever gateways had which of them at the same time.

use std::collections::{BTreeMap, BTreeSet};

pub use lockstep_judge::rules::MAX_CLASSES;
pub use lockstep_judge::{Answers, Counts, RouteClass, StatusClass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::Arm;
use crate::name::ServiceName;

/// Classes of latency in receipts, whether something is on trial or not.
pub const LATENCY_CLASSES: usize = 18;

/// Returns the upper bound of a class of latency in milliseconds: 1, 2, 4, 8 and so on; the last class has none.
#[must_use]
pub const fn latency_bound_ms(class: usize) -> Option<u64> {
    if class + 1 < LATENCY_CLASSES { Some(1 << class) } else { None }
}

/// What a version did before another one goes on trial beside it. It stands in the plan, so that a server which is started anew meanwhile
/// goes on to judge by the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsualTraffic {
    /// The version that serves, with its configuration.
    pub arm: Arm,
    /// Requests that it got.
    pub requests: u64,
    /// Those that failed.
    pub failures: u64,
    /// Bounds of latency in milliseconds by which it is compared; none where too little is known of how long its answers take.
    #[serde(default)]
    pub latency_bounds_ms: BTreeSet<u64>,
}

/// What is to be counted of a service while one of its arms is on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Watch {
    /// Names the trial: with another one, counters and remembered keys begin anew.
    pub trial: String,
    /// Operations that are counted for themselves; the first that fits a request takes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<WatchedOperation>,
    /// Classes of answers that are counted.
    #[serde(default)]
    pub statuses: BTreeSet<StatusClass>,
    /// Bounds of latency in milliseconds, until the head of the answer.
    #[serde(default)]
    pub latency_bounds_ms: BTreeSet<u64>,
    /// Whether a few answers are handed to the server, which compares them with the contract.
    #[serde(default, skip_serializing_if = "AnswerChecks::is_off")]
    #[schemars(extend("default" = AnswerChecks::default()))]
    pub answers: AnswerChecks,
}

/// Whether answers of a service on trial are compared with its contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerChecks {
    /// They are not; no body is looked at.
    #[default]
    Off,
    /// A few are.
    Sampled,
}

impl AnswerChecks {
    /// Tells whether no body is looked at.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }

    /// What holds where nobody said otherwise.
    #[must_use]
    pub const fn usual() -> Self {
        Self::Sampled
    }
}

/// An answer that a gateway hands to the server to be compared with the contract; it is dropped after that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerSample {
    /// The service.
    pub service: ServiceName,
    /// [`Watch::trial`].
    pub trial: String,
    /// The weight of the arm on trial, in 1/10,000.
    pub weight: u32,
    /// Which arm gave it.
    pub arm: Arm,
    /// Its operation.
    pub class: RouteClass,
    /// Stands for the key by which the arm was drawn, in this run of the gateway; none where that was made for one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<u64>,
    /// Its status.
    pub status: u16,
    /// Its media type, without parameters.
    pub media_type: String,
    /// Its body; empty where that is no JSON.
    pub body: SampledBody,
}

/// The body of an answer. It is not shown where things are shown for debugging.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SampledBody(pub String);

impl std::fmt::Debug for SampledBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SampledBody({} bytes)", self.0.len())
    }
}

/// An operation of a contract whose requests are counted for themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WatchedOperation {
    /// What it is called.
    pub class: RouteClass,
    /// Its method; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Its path as the service sees it; `{name}` stands for one segment.
    pub path: String,
}

/// What a gateway counted of a service in a trial, while the arm on trial had one weight. Counters only grow while the run of
/// the gateway is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Watched {
    /// The service.
    pub service: ServiceName,
    /// [`Watch::trial`].
    pub trial: String,
    /// The weight of the arm on trial, in 1/10,000.
    pub weight: u32,
    /// What each arm did.
    pub arms: Vec<(Arm, ArmCounts)>,
}

/// What one arm did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ArmCounts {
    /// With all its requests.
    #[serde(default)]
    pub total: Counts,
    /// With those of each operation, and the rest as [`RouteClass::OTHER`]; what is not there had none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<RouteClass, Counts>,
}

/// What the arms of a service did, by the weight of the arm on trial.
pub type ByWeight = BTreeMap<u32, BTreeMap<Arm, ArmCounts>>;

impl ArmCounts {
    /// Adds what was counted elsewhere or later.
    pub fn add(&mut self, more: &Self) {
        self.total.add(&more.total);
        for (class, counts) in &more.classes {
            self.classes.entry(class.clone()).or_default().add(counts);
        }
    }

    /// Returns what was counted since an earlier look; nothing is less than nothing.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let none = Counts::default();
        let grown = |(class, counts): (&RouteClass, &Counts)| {
            (class.clone(), since(counts, earlier.classes.get(class).unwrap_or(&none)))
        };
        let classes = self.classes.iter().map(grown).filter(|(_, counts)| *counts != Counts::default());
        Self { total: since(&self.total, &earlier.total), classes: classes.collect() }
    }

    /// Tells whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn since(counts: &Counts, earlier: &Counts) -> Counts {
    Counts {
        requests: counts.requests.saturating_sub(earlier.requests),
        statuses: answers_since(&counts.statuses, &earlier.statuses),
        slower: answers_since(&counts.slower, &earlier.slower),
        checked: counts.checked.saturating_sub(earlier.checked),
        broken: less(counts.broken, earlier.broken),
    }
}

fn less(now: Answers, before: Answers) -> Answers {
    Answers {
        answers: now.answers.saturating_sub(before.answers),
        keys: now.keys.saturating_sub(before.keys),
    }
}

fn answers_since<K: Ord + Clone>(
    counts: &BTreeMap<K, Answers>,
    earlier: &BTreeMap<K, Answers>,
) -> BTreeMap<K, Answers> {
    let grown = |(kind, now): (&K, &Answers)| {
        let before = earlier.get(kind).copied().unwrap_or_default();
        (kind.clone(), less(*now, before))
    };
    counts.iter().map(grown).filter(|(_, more)| *more != Answers::default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(requests: u64, failures: u64) -> ArmCounts {
        let of = |requests, failures| Counts::with_failures(requests, failures);
        let classes = BTreeMap::from([("POST /pay".parse().unwrap(), of(requests, failures))]);
        ArmCounts { total: of(requests * 2, failures), classes }
    }

    #[test]
    fn classes_of_latency_end_without_a_bound() {
        assert_eq!((latency_bound_ms(0), latency_bound_ms(16)), (Some(1), Some(65_536)));
        assert_eq!(latency_bound_ms(LATENCY_CLASSES - 1), None);
    }

    #[test]
    fn what_is_added_is_what_came_since() {
        let mut sum = counts(10, 2);
        sum.add(&counts(5, 1));
        assert_eq!(sum.since(&counts(10, 2)), counts(5, 1));
        assert!(sum.since(&sum).is_empty());
        assert!(counts(1, 0).since(&sum).is_empty(), "a counter that went back brings nothing");
    }
}

//! What is counted in an interval, of each arm and route class: the input of the judge.
//!
//! The unit is the *key*, because the gateway draws the arm once a key (a client's cookie or header, else the trace) and
//! not once a request. A key counts once in the whole rollout for each class of answers and each bound of latency,
//! however often it fails: retries, and a client that always fails, must not look like many failures. Two gateways
//! that see the same key count it twice.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::quantity::{Share, Weight};
use crate::status::StatusClass;

/// Longest name of a route class: more than any operation of a contract needs.
const MAX_CLASS_LENGTH: usize = 200;

/// What came of one interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// It was counted.
    Counted(Interval),
    /// No counters came: a gateway is silent, or nobody looked.
    Missing,
}

/// The counters of one interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// How long it was, for rates; 0 where that is not known.
    #[serde(default)]
    pub lasted_ms: u64,
    /// How requests were split over the arms while it lasted.
    pub split: Split,
    /// All requests of the service; a key that failed on two routes counts once here.
    pub total: Pair,
    /// The same by route class; what is not there had no requests.
    #[serde(default)]
    pub classes: BTreeMap<RouteClass, Pair>,
}

/// How requests were split over the arms during an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// The gateway drew the arm of each key with this weight, in every table that it served meanwhile.
    Drawn(Weight),
    /// Only counters are known; the split did not change meanwhile.
    Counted,
    /// The weight changed meanwhile, or gateways disagreed: the interval is no evidence.
    Changed,
}

/// The same counters of both arms.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Pair {
    /// Of the arm on trial.
    #[serde(default)]
    pub new: Counts,
    /// Of the arm that it would replace. A request that was asked again of it for the arm on trial is not counted here.
    #[serde(default)]
    pub old: Counts,
}

/// What one arm did in an interval.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Requests that it was asked.
    #[serde(default)]
    pub requests: u64,
    /// Answers by class; classes that neither fail nor are watched may be left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<StatusClass, Answers>,
    /// For each bound of latency in milliseconds, what was slower than it. A failure counts by its duration like all else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slower: BTreeMap<u64, Answers>,
    /// Answers whose bodies were compared with the contract: a sample.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub checked: u64,
    /// Those of them that are not what the contract says.
    #[serde(default, skip_serializing_if = "Answers::is_none")]
    pub broken: Answers,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Answers of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Answers {
    /// All of them: what shares are made of.
    #[serde(default)]
    pub answers: u64,
    /// Keys that got such an answer for the first time in this rollout: what evidence is made of.
    #[serde(default)]
    pub keys: u64,
}

/// Why a text is not a route class.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a route class: 1 to 200 characters without control characters are expected")]
pub struct RouteClassError {
    /// The text, cut to a printable length.
    pub text: String,
}

/// A route class: an operation of the contract such as `POST /pay`, or [`RouteClass::OTHER`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct RouteClass(String);

impl RouteClass {
    /// Everything that no operation of the contract takes.
    pub const OTHER: &'static str = "other";

    /// Returns the class as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RouteClass {
    type Err = RouteClassError;

    fn from_str(text: &str) -> Result<Self, RouteClassError> {
        if (1..=MAX_CLASS_LENGTH).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        Err(RouteClassError { text: text.chars().filter(|c| !c.is_control()).take(80).collect() })
    }
}

impl TryFrom<String> for RouteClass {
    type Error = RouteClassError;

    fn try_from(text: String) -> Result<Self, RouteClassError> {
        text.parse()
    }
}

impl From<RouteClass> for String {
    fn from(class: RouteClass) -> Self {
        class.0
    }
}

impl fmt::Display for RouteClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Answers {
    /// Makes answers that came to as many keys.
    #[must_use]
    pub const fn each(answers: u64) -> Self {
        Self { answers, keys: answers }
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Adds more of them; a count that is full stays full.
    #[must_use]
    pub const fn plus(self, more: Self) -> Self {
        Self { answers: self.answers.saturating_add(more.answers), keys: self.keys.saturating_add(more.keys) }
    }
}

impl Counts {
    pub(crate) const EMPTY: Self = Self {
        requests: 0,
        statuses: BTreeMap::new(),
        slower: BTreeMap::new(),
        checked: 0,
        broken: Answers { answers: 0, keys: 0 },
    };

    /// Makes counts of requests of which some got a status of 500 or more, each by a key of its own.
    #[must_use]
    pub fn with_failures(requests: u64, failures: u64) -> Self {
        let status = StatusClass::known(StatusClass::SERVER_ERROR);
        Self { requests, statuses: BTreeMap::from([(status, Answers::each(failures))]), ..Self::default() }
    }

    /// Adds up the answers of some classes, never more than there were requests.
    #[must_use]
    pub fn of_classes<'a>(&self, classes: impl IntoIterator<Item = &'a StatusClass>) -> Answers {
        let sum = classes.into_iter().filter_map(|class| self.statuses.get(class).copied());
        self.bounded(sum.fold(Answers::default(), Answers::plus))
    }

    /// Returns what was slower than a bound.
    #[must_use]
    pub fn slower_than(&self, bound_ms: u64) -> Answers {
        self.bounded(self.slower.get(&bound_ms).copied().unwrap_or_default())
    }

    /// Adds what was counted later.
    pub fn add(&mut self, more: &Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.checked = self.checked.saturating_add(more.checked);
        self.broken = self.broken.plus(more.broken);
        for (class, answers) in &more.statuses {
            let sum = self.statuses.entry(class.clone()).or_default();
            *sum = sum.plus(*answers);
        }
        for (bound, answers) in &more.slower {
            let sum = self.slower.entry(*bound).or_default();
            *sum = sum.plus(*answers);
        }
    }

    /// Returns which part of the requests some answers are.
    #[must_use]
    pub fn share(&self, answers: Answers) -> Share {
        Share::of(answers.answers, self.requests)
    }

    /// Tells whether anything was counted beside the requests.
    pub(crate) fn has_hits(&self) -> bool {
        let some = |answers: &Answers| answers.keys > 0;
        self.statuses.values().any(some) || self.slower.values().any(some) || some(&self.broken)
    }

    /// Returns what is not what the contract says.
    #[must_use]
    pub fn broken(&self) -> Answers {
        bounded(self.broken, self.checked)
    }

    fn bounded(&self, answers: Answers) -> Answers {
        bounded(answers, self.requests)
    }
}

/// Counters come from outside: there are not more answers than requests, nor more keys than answers.
fn bounded(answers: Answers, requests: u64) -> Answers {
    let count = answers.answers.min(requests);
    Answers { answers: count, keys: answers.keys.min(count) }
}

impl Pair {
    pub(crate) const EMPTY: Self = Self { new: Counts::EMPTY, old: Counts::EMPTY };

    /// Adds what was counted later.
    pub fn add(&mut self, more: &Self) {
        self.new.add(&more.new);
        self.old.add(&more.old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_cannot_be_true_are_cut() {
        let mut counts = Counts::with_failures(10, 8);
        let none: StatusClass = "none".parse().unwrap();
        counts.statuses.insert(none.clone(), Answers { answers: 8, keys: u64::MAX });
        counts.slower.insert(100, Answers { answers: 3, keys: 7 });
        let failing = ["5xx".parse().unwrap(), none];
        assert_eq!(counts.of_classes(&failing), Answers::each(10));
        assert_eq!(counts.slower_than(100), Answers::each(3));
        assert_eq!(counts.slower_than(200), Answers::default());
    }

    #[test]
    fn adding_never_overflows() {
        let mut counts = Counts::with_failures(u64::MAX, 1);
        counts.add(&Counts::with_failures(5, 2));
        assert_eq!(counts.requests, u64::MAX);
        assert_eq!(counts.of_classes(&["5xx".parse().unwrap()]), Answers::each(3));
    }

    #[test]
    fn what_is_left_out_of_a_stored_interval_is_nothing() {
        let text = r#"{"split":{"drawn":500},"total":{"new":{"requests":3}}}"#;
        let interval: Interval = serde_json::from_str(text).unwrap();
        assert_eq!(interval.split, Split::Drawn(Weight(500)));
        assert_eq!(
            interval.total,
            Pair { new: Counts { requests: 3, ..Counts::default() }, old: Counts::default() }
        );
        assert_eq!(serde_json::from_str::<Split>(r#""counted""#).unwrap(), Split::Counted);
    }
}

//! Visits: for how long a visitor is kept on one side of rollouts, and by what.
//!
//! A visit says how far each rollout had come when it began. Shares that grew since then are not for it: it sees the splits as they were.
//! So nothing is pinned, and the arm is still a pure function of table, key and visit. Invariant: a visit never brings a client to an arm
//! that the table does not split requests to.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::operation::{Operation, Phase};

/// The format that a gateway must take where routes keep visitors.
pub const FORMAT_WITH_VISITS: u32 = 19;
/// The cookie of a visit where nothing is said.
pub const USUAL_COOKIE: &str = "lockstep_visit";
/// Longest name of a cookie.
const MAX_NAME_BYTES: usize = 64;
/// Longest time of a visit in seconds: browsers keep no cookie for longer.
pub const MAX_VISIT_S: u64 = super::routes::actions::MAX_STICKY_S;
/// Most rollouts that a visit knows of: more are not under way at once where anybody looks at them.
pub const MAX_ROLLOUTS: usize = 16;
/// What a text of a visit is at most: so many numbers of so many digits, and what stands between them.
const MAX_TEXT_BYTES: usize = MAX_ROLLOUTS * 32;

/// How a route keeps visitors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Visit {
    /// For how many seconds, from the first request on.
    pub for_s: u64,
    /// The cookie that carries it.
    #[serde(default = "usual_cookie", skip_serializing_if = "is_usual")]
    #[schemars(extend("default" = USUAL_COOKIE))]
    pub cookie: String,
}

fn usual_cookie() -> String {
    USUAL_COOKIE.to_owned()
}

fn is_usual(name: &String) -> bool {
    *name == USUAL_COOKIE
}

/// Why a route cannot keep visitors so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VisitError {
    /// The time is none, or longer than browsers keep cookies.
    #[error("a visit lasts from one second to 400 days")]
    Time,
    /// It is no name of a cookie.
    #[error("`{0}` is no name of a cookie: letters, digits, `-`, `_` and `.`, at most {MAX_NAME_BYTES}")]
    Cookie(String),
    /// The name is one that means something else.
    #[error("the cookie `{0}` means something else to gateways")]
    Taken(String),
}

impl Visit {
    /// Tells whether browsers keep its cookie only where it was given by https (RFC 6265bis, 4.1.3).
    #[must_use]
    pub fn needs_https(&self) -> bool {
        let begins =
            |prefix: &str| self.cookie.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix));
        begins("__Host-") || begins("__Secure-")
    }

    /// Returns everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<VisitError> {
        let lasts = (1..=MAX_VISIT_S).contains(&self.for_s);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_name = (1..=MAX_NAME_BYTES).contains(&self.cookie.len()) && self.cookie.bytes().all(is_plain);
        let is_taken = matches!(self.cookie.as_str(), "lockstep_key" | "lockstep_instance");
        let name = || self.cookie.chars().take(80).collect();
        let mut problems = Vec::new();
        problems.extend((!lasts).then_some(VisitError::Time));
        problems.extend((!is_name).then(|| VisitError::Cookie(name())));
        problems.extend(is_taken.then(|| VisitError::Taken(name())));
        problems
    }
}

/// What gateways need for visits beside the routes that ask for them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Visits {
    /// SHA-256 of each key that visits are signed with: by the first, while all are accepted. A gateway that has none here signs with one of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Digest>,
}

/// How the share of an arm on trial has grown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Growth {
    /// The number of the rollout; a later one has a higher number.
    pub rollout: u64,
    /// How many steps the rollout had taken before the first of these.
    #[serde(default)]
    pub before: u32,
    /// The shares that the arm has had so far, in 1/10,000; the last one is that of now.
    #[schemars(extend("x-unit" = "1/10,000"))]
    pub weights: Vec<u32>,
}

impl Growth {
    /// Finds how a service has grown that an operation moves in the wave that has requests, and that has had these shares.
    pub(crate) fn of(operation: &Operation) -> Option<Self> {
        let Phase::Shifted { wave, step, .. } = operation.phase else { return None };
        let steps_before = (0..wave).map(|wave| operation.plan.steps_of(wave).len()).sum::<usize>();
        let weights = operation.plan.steps_of(wave).iter().take(step + 1).map(|step| step.weight).collect();
        let before = u32::try_from(steps_before).unwrap_or(u32::MAX);
        Some(Self { rollout: operation.id.0, before, weights })
    }

    /// Returns the share that the arm had when a visit began.
    #[must_use]
    pub fn weight_for(&self, entered: &Entered) -> u32 {
        let steps = entered.steps_of(self.rollout).saturating_sub(self.before) as usize;
        let seen = self.weights.get(..steps).unwrap_or(&self.weights);
        seen.last().copied().unwrap_or(0)
    }

    /// Returns how many steps its rollout has taken.
    fn steps(&self) -> u32 {
        self.before.saturating_add(u32::try_from(self.weights.len()).unwrap_or(u32::MAX))
    }
}

/// How far rollouts had come when a visit began; of one that is not named nothing was seen. As text `41_3-44_1`: three steps of 41, one of 44.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entered(Vec<(u64, u32)>);

impl Entered {
    /// Returns what a visit sees that begins now, by what is growing.
    #[must_use]
    pub fn now<'a>(growing: impl Iterator<Item = &'a Growth>) -> Self {
        let mut all: Vec<_> = growing.map(|it| (it.rollout, it.steps())).collect();
        all.sort_unstable_by(|one, other| other.cmp(one));
        all.dedup_by_key(|it| it.0);
        all.truncate(MAX_ROLLOUTS);
        Self(all)
    }

    fn steps_of(&self, rollout: u64) -> u32 {
        self.0.iter().find(|it| it.0 == rollout).map_or(0, |it| it.1)
    }
}

impl fmt::Display for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (rollout, steps)) in self.0.iter().enumerate() {
            let between = if index == 0 { "" } else { "-" };
            write!(f, "{between}{rollout}_{steps}")?;
        }
        if self.0.is_empty() { f.write_str("0") } else { Ok(()) }
    }
}

/// Why a text says nothing of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected rollouts with their steps, such as `41_3-44_1`, or 0")]
pub struct EnteredError;

impl FromStr for Entered {
    type Err = EnteredError;

    fn from_str(text: &str) -> Result<Self, EnteredError> {
        if text == "0" {
            return Ok(Self::default());
        }
        let one = |part: &str| {
            let (rollout, steps) = part.split_once('_')?;
            Some((rollout.parse().ok()?, steps.parse().ok()?))
        };
        if text.len() > MAX_TEXT_BYTES {
            return Err(EnteredError);
        }
        let all: Option<Vec<_>> = text.split('-').map(one).collect();
        all.filter(|all| all.len() <= MAX_ROLLOUTS).map(Self).ok_or(EnteredError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn growth(rollout: u64, before: u32, weights: &[u32]) -> Growth {
        Growth { rollout, before, weights: weights.to_vec() }
    }

    #[test]
    fn a_visit_sees_the_share_of_its_beginning() {
        let now = growth(7, 2, &[500, 2_500, 5_000]);
        for (entered, weight) in [
            ("0", 0),
            ("6_4", 0),
            ("7_0", 0),
            ("7_2", 0),
            ("7_3", 500),
            ("7_4", 2_500),
            ("7_5", 5_000),
            ("7_99", 5_000),
            ("9_1-7_4", 2_500),
        ] {
            assert_eq!(now.weight_for(&entered.parse().unwrap()), weight, "{entered}");
        }
        assert_eq!(now.weight_for(&Entered::now([&now].into_iter())), 5_000, "what begins now sees what is");
    }

    #[test]
    fn texts_of_strangers_are_refused_or_bounded() {
        for bad in ["", "7", "7_", "_1", "7_1-", "-7_1", "7_-1", "7_1 ", "7_1.2", "99999999999999999999_1"] {
            assert_eq!(bad.parse::<Entered>(), Err(EnteredError), "{bad}");
        }
        let many = vec!["1_1"; MAX_ROLLOUTS + 1].join("-");
        assert_eq!(many.parse::<Entered>(), Err(EnteredError));
    }

    #[test]
    fn names_of_cookies_are_checked() {
        let of = |cookie: &str, for_s| Visit { for_s, cookie: cookie.to_owned() }.problems().len();
        assert_eq!((of("lockstep", 1), of("a.b-c_1", MAX_VISIT_S)), (0, 0));
        for bad in ["", "a b", "a=b", "a;b", "lockstep_key", "lockstep_instance", &"x".repeat(65)] {
            assert_eq!(of(bad, 60), 1, "{bad}");
        }
        assert_eq!((of("", 0), of("a", MAX_VISIT_S + 1)), (2, 1));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in prop::collection::vec((1..u64::MAX, any::<u32>()), 0..=MAX_ROLLOUTS)) {
            let entered = Entered(all);
            prop_assert_eq!(entered.to_string().parse(), Ok(entered));
        }
    }
}

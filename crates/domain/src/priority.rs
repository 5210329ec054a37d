//! Which requests are refused first where a version has no room for all: the priority of a request, and how much of a limit each may use. Pure.
//!
//! A request has a priority from where it comes in on, and its calls have it too. A limit is one number for all; each priority may use a part of it,
//! the lower ones less. So what is left when a version is nearly full belongs to the higher ones, and nothing is kept free for anybody while it is not.
//! Invariant: a higher priority may use at least as much as a lower one, and each may use one place.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The format that a gateway must take where requests have priorities.
pub const FORMAT_WITH_PRIORITIES: u32 = 22;

/// How much is lost when a request is refused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Refused last: what users notice at once and cannot do without.
    Critical,
    /// Requests of which nothing is said.
    #[default]
    Normal,
    /// What somebody waits for who can do without, or asks again by itself.
    Low,
    /// Refused first: what can be done at any time.
    Bulk,
}

impl Priority {
    /// All of them, the highest first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::Normal, Self::Low, Self::Bulk];

    /// Returns it as it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Normal => "normal",
            Self::Low => "low",
            Self::Bulk => "bulk",
        }
    }

    /// Tells whether it is what is meant where nothing is said.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Returns its place among all, the highest at 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Why a word is no priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a priority is `critical`, `normal`, `low` or `bulk`")]
pub struct PriorityError;

impl FromStr for Priority {
    type Err = PriorityError;

    fn from_str(text: &str) -> Result<Self, PriorityError> {
        Self::ALL.into_iter().find(|it| it.word() == text).ok_or(PriorityError)
    }
}

/// How much of each limit of a version requests of a priority may use, in percent. What is critical may use all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// Those of which nothing is said.
    #[schemars(extend("x-unit" = "percent"))]
    pub normal_percent: u32,
    /// Those of low priority.
    #[schemars(extend("x-unit" = "percent"))]
    pub low_percent: u32,
    /// Those that can be done at any time.
    #[schemars(extend("x-unit" = "percent"))]
    pub bulk_percent: u32,
}

impl Default for Shares {
    fn default() -> Self {
        Self { normal_percent: 100, low_percent: 75, bulk_percent: 50 }
    }
}

impl Shares {
    /// Returns how much of a limit a priority may use; at least one, so that nobody is refused where nobody else asks.
    #[must_use]
    pub fn of(self, limit: u32, priority: Priority) -> u32 {
        let percent = match priority {
            Priority::Critical => return limit,
            Priority::Normal => self.normal_percent,
            Priority::Low => self.low_percent,
            Priority::Bulk => self.bulk_percent,
        };
        let part = (u64::from(limit) * u64::from(percent)).div_ceil(100);
        u32::try_from(part).unwrap_or(limit).clamp(1, limit.max(1))
    }

    /// Returns the names of everything in it that is out of its bounds, each with them.
    #[must_use]
    pub fn out_of_bounds(&self) -> Vec<(&'static str, u64, u64)> {
        let Self { normal_percent, low_percent, bulk_percent } = *self;
        let all = [
            ("normal", normal_percent, 100),
            ("low", low_percent, normal_percent.min(100)),
            ("bulk", bulk_percent, low_percent.min(100)),
        ];
        let wrong = all.into_iter().filter(|(_, it, most)| !(1..=*most).contains(it));
        wrong.map(|(name, _, most)| (name, 1, u64::from(most))).collect()
    }

    /// Says it in words.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { normal_percent, low_percent, bulk_percent } = self;
        format!(
            "critical requests may use all of it, normal ones {normal_percent} %, those of low priority {low_percent} %, bulk {bulk_percent} %"
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares() -> impl Strategy<Value = Shares> {
        (1_u32..=100, 1_u32..=100, 1_u32..=100).prop_map(|parts| {
            let mut parts = [parts.0, parts.1, parts.2];
            parts.sort_unstable();
            let [bulk_percent, low_percent, normal_percent] = parts;
            Shares { normal_percent, low_percent, bulk_percent }
        })
    }

    proptest! {
        #[test]
        fn a_higher_priority_never_has_less_and_each_has_one_place(shares in shares(), limit in 1_u32..=1_000_000) {
            let parts = Priority::ALL.map(|priority| shares.of(limit, priority));
            prop_assert_eq!(parts[0], limit);
            prop_assert!(parts.is_sorted_by(|higher, lower| higher >= lower), "{:?}", parts);
            prop_assert!(parts.iter().all(|part| (1..=limit).contains(part)), "{:?}", parts);
            prop_assert!(shares.out_of_bounds().is_empty());
        }

        #[test]
        fn whatever_is_said_is_within_the_limit(
            (normal_percent, low_percent, bulk_percent) in (any::<u32>(), any::<u32>(), any::<u32>()),
            limit in any::<u32>(),
        ) {
            let shares = Shares { normal_percent, low_percent, bulk_percent };
            prop_assert!(Priority::ALL.into_iter().all(|it| shares.of(limit, it) <= limit.max(1)));
        }
    }

    #[test]
    fn of_small_limits_all_have_what_the_next_higher_has() {
        let shares = Shares::default();
        let of = |limit| Priority::ALL.map(|priority| shares.of(limit, priority));
        assert_eq!([of(1), of(3), of(20)], [[1; 4], [3, 3, 3, 2], [20, 20, 15, 10]]);
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for (index, priority) in Priority::ALL.into_iter().enumerate() {
            assert_eq!((priority.word().parse(), priority.index()), (Ok(priority), index));
        }
        assert_eq!("Critical".parse::<Priority>().unwrap_err().to_string(), PriorityError.to_string());
        let out = Shares { normal_percent: 90, low_percent: 95, bulk_percent: 0 };
        assert_eq!(out.out_of_bounds(), [("low", 1, 90), ("bulk", 1, 95)]);
    }
}

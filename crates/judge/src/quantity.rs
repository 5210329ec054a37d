//! Shares, weights and ratios as whole numbers, so that what is recorded compares exactly and reads the same for ever.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of all requests, in millionths.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default, JsonSchema,
)]
#[serde(transparent)]
pub struct Share(pub u32);

/// The part of the keys that the gateway gives to the new arm, in 1/10,000: known before any request is answered.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default, JsonSchema,
)]
#[serde(transparent)]
pub struct Weight(pub u32);

/// How many times as much, in hundredths.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default, JsonSchema,
)]
#[serde(transparent)]
pub struct Times(pub u32);

impl Share {
    /// Everything.
    pub const ALL: Self = Self(1_000_000);

    /// Returns the share that `part` is of `whole`; nothing of nothing is nothing.
    #[must_use]
    pub fn of(part: u64, whole: u64) -> Self {
        let millionths = u128::from(part) * 1_000_000 / u128::from(whole.max(1));
        Self(u32::try_from(millionths).unwrap_or(u32::MAX).min(Self::ALL.0))
    }

    /// Returns the share as a fraction from 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0.min(Self::ALL.0)) / 1e6
    }
}

impl Weight {
    /// All keys: no arm is left to compare with.
    pub const ALL: Self = Self(10_000);

    /// Returns the weight as a fraction, when both arms get requests.
    #[must_use]
    pub fn fraction(self) -> Option<f64> {
        (0 < self.0 && self.0 < Self::ALL.0).then(|| f64::from(self.0) / f64::from(Self::ALL.0))
    }
}

impl Times {
    /// Makes a ratio of a number, rounded to hundredths.
    #[must_use]
    pub fn from_ratio(ratio: f64) -> Self {
        // A cast saturates and makes 0 of what is not a number.
        Self((ratio * 100.0).round() as u32)
    }

    /// Returns the ratio.
    #[must_use]
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl fmt::Display for Share {
    /// Writes percent with as many digits as mean something: `0 %`, `0.02 %`, `4.1 %`, `37 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.fraction() * 100.0;
        match percent {
            0.0 => f.write_str("0 %"),
            p if p < 0.1 => write!(f, "{} %", trimmed(format!("{p:.3}"))),
            p if p < 10.0 => write!(f, "{} %", trimmed(format!("{p:.1}"))),
            p => write!(f, "{p:.0} %"),
        }
    }
}

impl fmt::Display for Times {
    /// Writes the ratio as people say it: `1.25`, `8`, `40`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ratio() {
            ratio if ratio < 10.0 => f.write_str(&trimmed(format!("{ratio:.2}"))),
            ratio => write!(f, "{ratio:.0}"),
        }
    }
}

fn trimmed(number: String) -> String {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.').to_owned() } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_read_as_percent_with_the_digits_that_mean_something() {
        let shown = |part, whole| Share::of(part, whole).to_string();
        assert_eq!(shown(0, 0), "0 %");
        assert_eq!(shown(41, 1_000), "4.1 %");
        assert_eq!(shown(2, 10_000), "0.02 %");
        assert_eq!(shown(2, 1_000), "0.2 %");
        assert_eq!(shown(1, 1), "100 %");
        assert_eq!(shown(u64::MAX, 1), "100 %");
        assert_eq!(shown(1, u64::MAX), "0 %");
    }

    #[test]
    fn ratios_read_as_people_say_them() {
        let shown = |ratio| Times::from_ratio(ratio).to_string();
        assert_eq!(
            [shown(1.25), shown(8.0), shown(20.4), shown(f64::NAN), shown(1.5)],
            ["1.25", "8", "20", "0", "1.5"]
        );
    }

    #[test]
    fn a_weight_of_nothing_or_everything_compares_nothing() {
        assert_eq!(
            [Weight(0), Weight::ALL, Weight(u32::MAX), Weight(500)].map(Weight::fraction),
            [None, None, None, Some(0.05)]
        );
    }
}

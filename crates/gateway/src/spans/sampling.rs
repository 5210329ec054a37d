//! Which requests are recorded. Pure.

use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::trace::{RANDOM, SAMPLED, TraceContext};

/// Bits of a trace id that are random by level 2 of the W3C's recommendation; samplers that look at them agree with each other.
const BITS: u32 = 56;
/// A share of all, in such bits.
const ALL: u64 = 1 << BITS;

/// A share of requests that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("write a share from 0 to 1, such as 0.01, or from 0% to 100%, such as 1%")]
pub struct RatioError;

/// The share of requests that is recorded where nobody decided before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio(u64);

impl Ratio {
    /// Every one.
    pub const EVERY: Self = Self(ALL);
    /// None.
    pub const NONE: Self = Self(0);

    /// Tells whether a request is among them, by bits that are random. Of two shares the greater one has all that the smaller one has.
    pub(crate) const fn takes(self, random: u64) -> bool {
        (random & (ALL - 1)) >= ALL - self.0
    }
}

impl Ratio {
    /// Returns it as a number from 0 to 1.
    pub(crate) fn share(self) -> f64 {
        self.0 as f64 / ALL as f64
    }
}

impl FromStr for Ratio {
    type Err = RatioError;

    fn from_str(text: &str) -> Result<Self, RatioError> {
        let (number, whole) = match text.strip_suffix('%') {
            Some(percent) => (percent.trim_end(), 100.0),
            None => (text, 1.0),
        };
        let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let share = number.parse::<f64>().ok().filter(|_| is_plain).ok_or(RatioError)? / whole;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it lies between 0 and 2 to the 56"
        )]
        (0.0..=1.0).contains(&share).then_some(Self((share * ALL as f64) as u64)).ok_or(RatioError)
    }
}

/// Which requests are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// The share of those for which nobody who is believed decided.
    pub ratio: Ratio,
    /// Whether what a proxy or an instance that is believed decided holds here.
    pub follows_parent: bool,
    /// Whether requests that failed are recorded in any case.
    pub failures: bool,
    /// From how long on requests are recorded in any case.
    pub slower_than: Option<Duration>,
}

impl Sampling {
    /// Decides at the beginning of a request whether its trace is recorded. A stranger's word is not taken, nor the bits of a trace id that
    /// it chose: `random` is drawn for it.
    pub(super) fn samples(
        self,
        came: Option<TraceContext>,
        is_trusted: bool,
        made: u128,
        random: u64,
    ) -> bool {
        match came {
            Some(parent) if is_trusted && self.follows_parent => parent.flags & SAMPLED != 0,
            Some(parent) if is_trusted && parent.flags & RANDOM != 0 => self.ratio.takes(parent.trace as u64),
            Some(_) => self.ratio.takes(random),
            None => self.ratio.takes(made as u64),
        }
    }

    /// Tells whether a request that was not chosen at its beginning may be recorded at its end.
    pub(super) const fn looks_at_ends(self) -> bool {
        self.failures || self.slower_than.is_some()
    }

    /// Tells whether a request that was not chosen at its beginning is recorded all the same.
    pub(super) fn keeps(self, failed: bool, took: Duration) -> bool {
        (failed && self.failures) || self.slower_than.is_some_and(|limit| took >= limit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ratio(text: &str) -> Ratio {
        text.parse().unwrap()
    }

    #[test]
    fn a_share_is_written_in_two_ways() {
        assert_eq!(ratio("1%"), ratio("0.01"));
        assert_eq!((ratio("100%"), ratio("1"), ratio("0")), (Ratio::EVERY, Ratio::EVERY, Ratio::NONE));
        for bad in ["", "%", "1.01", "101%", "-1", "nan", "inf", "1e-2", "0,1", "one"] {
            assert_eq!(bad.parse::<Ratio>(), Err(RatioError), "{bad}");
        }
    }

    #[test]
    fn what_failed_or_was_slow_is_kept_where_that_is_said() {
        let none = Sampling { ratio: Ratio::NONE, follows_parent: true, failures: false, slower_than: None };
        let second = Duration::from_secs(1);
        let slow = Sampling { slower_than: Some(second), ..none };
        let failures = Sampling { failures: true, ..none };
        assert_eq!([none, slow, failures].map(Sampling::looks_at_ends), [false, true, true]);
        assert_eq!([none, slow, failures].map(|it| it.keeps(true, Duration::ZERO)), [false, false, true]);
        assert_eq!([none, slow, failures].map(|it| it.keeps(false, second)), [false, true, false]);
    }

    const CAME: TraceContext = TraceContext { trace: 7, parent: 1, flags: SAMPLED };

    #[test]
    fn only_who_is_believed_decides_for_others() {
        let none = Sampling { ratio: Ratio::NONE, follows_parent: true, failures: false, slower_than: None };
        assert!(none.samples(Some(CAME), true, 0, 0));
        assert!(!none.samples(Some(CAME), false, 0, u64::MAX), "a stranger");
        let every = Sampling { ratio: Ratio::EVERY, ..none };
        assert!(!every.samples(Some(TraceContext { flags: RANDOM, ..CAME }), true, 0, 0));
        assert!(every.samples(None, false, 0, 0));
        let alone = Sampling { follows_parent: false, ..every };
        assert!(alone.samples(Some(TraceContext { flags: 0, ..CAME }), true, 0, 0));
    }

    proptest! {
        #[test]
        fn a_stranger_cannot_choose_by_its_trace_id(trace in any::<u128>(), flags in any::<u8>(), drawn in any::<u64>()) {
            let half = Sampling { ratio: ratio("50%"), follows_parent: true, failures: false, slower_than: None };
            let came = TraceContext { trace, parent: 1, flags };
            prop_assert_eq!(half.samples(Some(came), false, 0, drawn), half.ratio.takes(drawn));
        }

        #[test]
        fn a_greater_share_has_all_of_a_smaller_one(one in 0..=100_u32, other in 0..=100_u32, bits in any::<u64>()) {
            let (low, high) = (one.min(other), one.max(other));
            let takes = |percent: u32| ratio(&format!("{percent}%")).takes(bits);
            prop_assert!(!takes(low) || takes(high));
            prop_assert!(takes(100) && !takes(0));
        }
    }
}

//! What becomes of the rows of 5 minutes: an average, and the largest value, so that a peak of 10 seconds is still seen after a month.
//!
//! All rows that are gathered are of one file of the fine level, so that they can be gathered again out of its log.

use crate::code::{code_of, raised};
use crate::level::COARSE_STEP_MS;

/// Rows of 5 minutes so far, by the places of series in the file of the fine level.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    first_ms: Option<u64>,
    sums: Vec<Sum>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    count: u32,
    sum: f64,
    largest: f64,
}

/// A series in 5 minutes: its place, and the codes of the average and of the largest value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gathered {
    pub(crate) place: usize,
    pub(crate) average: u16,
    pub(crate) largest: u16,
}

impl Gather {
    /// The time of the first row in milliseconds.
    pub(crate) const fn first_ms(&self) -> Option<u64> {
        self.first_ms
    }

    /// Tells whether a row is of the same 5 minutes, or there is none so far.
    pub(crate) fn is_for(&self, at_ms: u64) -> bool {
        self.first_ms.is_none_or(|first_ms| is_one_step(first_ms, at_ms))
    }

    pub(crate) fn add(&mut self, at_ms: u64, values: impl IntoIterator<Item = (usize, f64)>) {
        self.first_ms.get_or_insert(at_ms);
        for (place, value) in values.into_iter().filter(|(_, value)| value.is_finite()) {
            if place >= self.sums.len() {
                self.sums.resize(place + 1, Sum::default());
            }
            self.sums[place].add(value);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.first_ms = None;
        self.sums.clear();
    }

    pub(crate) fn gathered(&self) -> impl Iterator<Item = Gathered> {
        let sums = self.sums.iter().enumerate().filter(|(_, sum)| sum.count > 0);
        sums.map(|(place, sum)| sum.gathered(place))
    }
}

impl Sum {
    fn add(&mut self, value: f64) {
        // So that a sum of what has a code has one too.
        let value = value.clamp(f32::MIN.into(), f32::MAX.into());
        self.largest = if self.count == 0 { value } else { self.largest.max(value) };
        self.count += 1;
        self.sum += value;
    }

    fn gathered(&self, place: usize) -> Gathered {
        let average = code_of(self.sum / f64::from(self.count));
        Gathered { place, average, largest: raised(average, code_of(self.largest)) }
    }
}

/// Tells whether two times are of the same 5 minutes.
pub(crate) const fn is_one_step(one_ms: u64, other_ms: u64) -> bool {
    one_ms / COARSE_STEP_MS == other_ms / COARSE_STEP_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_kept_beside_the_average_and_a_gap_counts_for_nothing() {
        let mut gather = Gather::default();
        (0..30).for_each(|row| {
            gather.add(row * 10_000, [(1, if row == 7 { 90.0 } else { 0.0 }), (2, f64::NAN)]);
        });
        let all: Vec<_> = gather.gathered().collect();
        assert_eq!(
            all,
            [Gathered { place: 1, average: code_of(3.0), largest: raised(code_of(3.0), code_of(90.0)) }]
        );
        assert!(gather.is_for(299_999) && !gather.is_for(300_000));
        gather.clear();
        assert!(gather.gathered().next().is_none() && gather.is_for(300_000));
    }
}

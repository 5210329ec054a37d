//! What is asked, and what the answer looks like.

use crate::key::SeriesKey;
use crate::problem::Problem;
use crate::segment::Wanted;

/// Points that a curve can be asked for.
pub const MAX_POINTS: usize = 10_000;
/// Points of an answer over all its curves: 40 MB while it is made.
pub const MAX_READ: usize = 1_000_000;

/// Up to here rows are given as they are.
const ROW_STEP_MS: u64 = 10_000;
/// From here on steps are whole numbers of coarse rows.
const COARSE_STEP_MS: u64 = crate::level::COARSE_STEP_MS;

/// Which curves are wanted, of which time, and how fine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The beginning of keys, for instance `production/orders/`; all keys where it is empty.
    pub prefix: String,
    /// Names of figures; all where there is none.
    pub figures: Vec<String>,
    /// The first time in milliseconds.
    pub from_ms: u64,
    /// The time in milliseconds that is no longer of it.
    pub until_ms: u64,
    /// How many points a curve should have at most, where rows come each 10 seconds; 1 to [`MAX_POINTS`].
    pub points: usize,
}

/// A value over the time up to the next point. Where there is no point, nothing was known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When it begins in milliseconds.
    pub at_ms: u64,
    /// The average.
    pub average: f64,
    /// The largest value; of 5 minutes as exact as [`crate::PEAK_PRECISION`] says.
    pub largest: f64,
}

/// Whether all that was asked is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// It is.
    Whole,
    /// The oldest is missing, because it would be more than [`MAX_READ`].
    Cut,
}

/// Curves in the order of their keys, each with points in the order of their times.
#[derive(Debug)]
pub struct Answer {
    /// The width of a point in milliseconds; a row has its own time where it is 10,000, and one of 5 minutes where only those are left.
    pub step_ms: u64,
    /// The curves that have a point at least.
    pub series: Vec<(SeriesKey, Vec<Point>)>,
    /// Whether all is there.
    pub extent: Extent,
    /// Files that could not be read.
    pub problems: Vec<Problem>,
}

impl Query {
    /// Returns the width of a point in milliseconds.
    #[must_use]
    pub fn step_ms(&self) -> u64 {
        let points = self.points.clamp(1, MAX_POINTS) as u64;
        match self.until_ms.saturating_sub(self.from_ms).div_ceil(points) {
            ..=ROW_STEP_MS => ROW_STEP_MS,
            step @ ..=COARSE_STEP_MS => step.next_multiple_of(ROW_STEP_MS),
            step => step.checked_next_multiple_of(COARSE_STEP_MS).unwrap_or(step),
        }
    }

    /// Returns the time of the point that a time falls into.
    pub(crate) fn point_ms(&self, at_ms: u64) -> u64 {
        let step_ms = self.step_ms();
        if step_ms == ROW_STEP_MS { at_ms } else { at_ms - at_ms % step_ms }
    }

    pub(crate) fn is_in(&self, at_ms: u64) -> bool {
        (self.from_ms..self.until_ms).contains(&at_ms)
    }

    pub(crate) fn overlaps(&self, (first_ms, last_ms): (u64, u64)) -> bool {
        first_ms < self.until_ms && last_ms >= self.from_ms
    }
}

impl Wanted for Query {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn is_wanted(&self, key: &str) -> bool {
        let figure = key.rsplit('/').next().unwrap_or_default();
        key.starts_with(&self.prefix)
            && (self.figures.is_empty() || self.figures.iter().any(|wanted| wanted == figure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(hours: u64, points: usize) -> Query {
        let until_ms = hours * 3_600_000;
        Query { prefix: String::new(), figures: vec![], from_ms: 0, until_ms, points }
    }

    #[test]
    fn a_step_is_a_row_or_whole_rows() {
        assert_eq!(query(1, 1_000).step_ms(), 10_000);
        assert_eq!(query(24, 1_000).step_ms(), 90_000);
        assert_eq!(query(24, 300).step_ms(), 290_000);
        assert_eq!(query(24 * 31, 1_000).step_ms(), 2_700_000);
        assert_eq!(query(24, 0).step_ms(), 86_400_000);
        let whole = Query { until_ms: u64::MAX, ..query(1, 1) };
        assert!(whole.step_ms() > 1 << 60 && whole.point_ms(u64::MAX - 1) < u64::MAX);
    }

    #[test]
    fn keys_are_wanted_by_beginning_and_figure() {
        let query = Query { prefix: "e/a/".into(), figures: vec!["f".into()], ..query(1, 1) };
        assert!(query.is_wanted("e/a//f") && query.is_wanted("e/a/1.0.0/f"));
        assert!(!query.is_wanted("e/a//g") && !query.is_wanted("e/ab//f"));
    }
}

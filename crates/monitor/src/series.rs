//! What was counted lately, in buckets that grow coarser with age: what shares over a time are made of.
//!
//! Bucket times are those of the server's clock. What came in while nobody looked is of no bucket, because nobody knows when it came; how
//! long was looked stands in each bucket, so that a window that was hardly seen is not taken for a whole one.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::seen::Counters;

/// A look vouches for at most so much time before it: a server that was away has not seen what happened meanwhile.
pub const MAX_TICK_MS: u64 = 10_000;
/// Two looks that are farther apart than this have nothing between them that could be given to a bucket.
const MAX_GAP_MS: u64 = 60_000;

/// Widths of buckets in milliseconds, and how many there are: 1 minute, 10 minutes, an hour, 6 hours and 3 days.
const LEVELS: [(u64, usize); 5] = [(2_000, 32), (10_000, 62), (60_000, 62), (600_000, 38), (3_600_000, 74)];
/// Of single versions only the last ten minutes are kept: they say which one fails, and no rule is about them.
const LEVELS_OF_VERSION: usize = 2;

/// What was counted in a time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Requests.
    #[serde(default, rename = "n")]
    pub requests: u64,
    /// Those that failed.
    #[serde(default, rename = "x", skip_serializing_if = "is_zero")]
    pub failures: u64,
    /// For bounds in milliseconds, requests that took longer.
    #[serde(default, rename = "s", skip_serializing_if = "BTreeMap::is_empty")]
    pub slower: BTreeMap<u64, u64>,
    /// How long was looked, in milliseconds.
    #[serde(default, rename = "t")]
    pub seen_ms: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Buckets of one service or version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    levels: Vec<VecDeque<(u64, Tally)>>,
}

impl Tally {
    /// Adds what was counted elsewhere or later; counts that are full stay full.
    pub fn add(&mut self, more: &Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.failures = self.failures.saturating_add(more.failures);
        self.seen_ms = self.seen_ms.saturating_add(more.seen_ms);
        for (bound, count) in &more.slower {
            let sum = self.slower.entry(*bound).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// Returns what counters gained since an earlier look; all of them, where they began again meanwhile.
    #[must_use]
    pub fn gained(earlier: &Counters, now: &Counters) -> Self {
        let began_again = now.requests < earlier.requests || now.failures < earlier.failures;
        let before = if began_again { &Counters::default() } else { earlier };
        let slower = now.slower.iter().map(|(bound, count)| {
            (*bound, count.saturating_sub(before.slower.get(bound).copied().unwrap_or_default()))
        });
        let requests = now.requests - before.requests;
        let failures = (now.failures - before.failures).min(requests);
        Self { requests, failures, slower: slower.collect(), seen_ms: 0 }
    }

    /// Returns the share of requests that failed; 0 where there were none.
    #[must_use]
    pub fn failing(&self) -> f64 {
        share(self.failures, self.requests)
    }

    /// Returns requests that took longer than a bound.
    #[must_use]
    pub fn slower_than(&self, bound_ms: u64) -> u64 {
        self.slower.get(&bound_ms).copied().unwrap_or_default().min(self.requests)
    }
}

/// Returns a part of a whole from 0 to 1; 0 where there is no whole.
#[must_use]
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Returns how much time a look vouches for, in milliseconds.
#[must_use]
pub const fn tick_ms(last_ms: u64, now_ms: u64) -> u64 {
    let gap = now_ms.saturating_sub(last_ms);
    if gap < MAX_TICK_MS { gap } else { MAX_TICK_MS }
}

/// Tells whether what counters gained between two looks can be given to the time of the later one.
#[must_use]
pub const fn is_close(last_ms: u64, now_ms: u64) -> bool {
    last_ms <= now_ms && now_ms - last_ms <= MAX_GAP_MS
}

impl Series {
    /// Makes the series of a service: three days.
    #[must_use]
    pub fn of_service() -> Self {
        Self { levels: vec![VecDeque::new(); LEVELS.len()] }
    }

    /// Makes the series of a version: ten minutes.
    #[must_use]
    pub fn of_version() -> Self {
        Self { levels: vec![VecDeque::new(); LEVELS_OF_VERSION] }
    }

    /// Adds what was counted up to now.
    pub fn add(&mut self, now_ms: u64, tally: &Tally) {
        for (buckets, (width_ms, count)) in self.levels.iter_mut().zip(LEVELS) {
            add(buckets, now_ms - now_ms % width_ms, tally);
            let oldest = now_ms.saturating_sub(width_ms * count as u64);
            while buckets.front().is_some_and(|(start, _)| *start < oldest) || buckets.len() > count {
                buckets.pop_front();
            }
        }
    }

    /// Returns what was counted in the last `over_ms`, to a bucket more; less where less is kept.
    #[must_use]
    pub fn lately(&self, now_ms: u64, over_ms: u64) -> Tally {
        let mut sum = Tally::default();
        self.buckets(now_ms, over_ms).for_each(|(_, tally)| sum.add(tally));
        sum
    }

    /// Returns when failures began to be as many as they are, by the likeliest point at which their share changed once in the last
    /// `over_ms`: the end of its bucket. `None` where they never became more.
    #[must_use]
    pub fn began_ms(&self, now_ms: u64, over_ms: u64) -> Option<u64> {
        let width_ms = LEVELS[self.level(over_ms)].0;
        let (mut before, mut after) = (Tally::default(), self.lately(now_ms, over_ms));
        let mut best = (ln_likelihood(&after), None);
        for (start, tally) in self.buckets(now_ms, over_ms) {
            let likelihood = ln_likelihood(&before) + ln_likelihood(&after);
            if likelihood > best.0 && before.failing() < after.failing() {
                best = (likelihood, Some((start + width_ms).min(now_ms)));
            }
            before.add(tally);
            after.requests -= tally.requests;
            after.failures -= tally.failures;
        }
        best.1
    }

    fn level(&self, over_ms: u64) -> usize {
        let reaches = |(width_ms, count): &(u64, usize)| width_ms * (*count as u64 - 2) >= over_ms;
        let kept = &LEVELS[..self.levels.len()];
        kept.iter().position(reaches).unwrap_or(kept.len() - 1)
    }

    fn buckets(&self, now_ms: u64, over_ms: u64) -> impl Iterator<Item = (u64, &Tally)> {
        let level = self.level(over_ms);
        let from = now_ms.saturating_sub(over_ms);
        let is_in = move |start: u64| start + LEVELS[level].0 > from && start <= now_ms;
        self.levels[level]
            .iter()
            .filter(move |(start, _)| is_in(*start))
            .map(|(start, tally)| (*start, tally))
    }

    /// Forgets buckets that lie ahead: the clock went back, and they would hold what came later for ever.
    pub fn forget_after(&mut self, now_ms: u64) {
        self.levels.iter_mut().for_each(|buckets| buckets.retain(|(start, _)| *start <= now_ms));
    }

    /// Mends what was stored by a release with other buckets.
    pub(crate) fn mend(&mut self, levels: usize) {
        self.levels.resize(levels, VecDeque::new());
    }

    pub(crate) const LEVELS_OF_SERVICE: usize = LEVELS.len();
    pub(crate) const LEVELS_OF_VERSION: usize = LEVELS_OF_VERSION;
}

/// The logarithm of how likely failures are at the share that they have.
fn ln_likelihood(tally: &Tally) -> f64 {
    let part = |count: u64, share: f64| if count == 0 { 0.0 } else { count as f64 * share.ln() };
    part(tally.failures, tally.failing()) + part(tally.requests - tally.failures, 1.0 - tally.failing())
}

fn add(buckets: &mut VecDeque<(u64, Tally)>, start: u64, tally: &Tally) {
    match buckets.back_mut() {
        Some((last, sum)) if *last >= start => sum.add(tally),
        _ => buckets.push_back((start, tally.clone())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counters(requests: u64, failures: u64) -> Counters {
        Counters { requests, failures, ..Counters::default() }
    }

    fn tally(requests: u64, failures: u64) -> Tally {
        Tally { requests, failures, seen_ms: 1_000, ..Tally::default() }
    }

    #[test]
    fn counters_that_began_again_gained_all_they_have() {
        let gained = |before, now| Tally::gained(&before, &now);
        assert_eq!(gained(counters(10, 1), counters(15, 2)).requests, 5);
        assert_eq!(
            gained(counters(10, 1), counters(4, 1)),
            Tally { requests: 4, failures: 1, ..Tally::default() }
        );
        assert_eq!(gained(counters(10, 0), counters(11, 9)).failures, 1, "never more failures than requests");
    }

    #[test]
    fn a_bucket_ahead_is_forgotten_when_the_clock_goes_back() {
        let mut series = Series::of_service();
        series.add(10_000_000, &tally(100, 100));
        series.forget_after(5_000_000);
        series.add(5_000_000, &tally(10, 0));
        assert_eq!(series.lately(5_000_000, 3_600_000), tally(10, 0));
    }

    #[test]
    fn a_window_is_exact_to_a_bucket() {
        let mut series = Series::of_service();
        (1..=7_200).for_each(|second| series.add(1_000_000_000 + second * 1_000, &tally(1, 0)));
        let now = 1_000_000_000 + 7_200_000;
        for (over_ms, width_ms) in [(10_000, 2_000), (300_000, 10_000), (3_600_000, 60_000)] {
            let seen = series.lately(now, over_ms).requests * 1_000;
            assert!((over_ms..=over_ms + width_ms).contains(&seen), "{over_ms}: {seen}");
        }
    }

    #[test]
    fn the_begin_of_failures_is_found_to_a_bucket() {
        let mut series = Series::of_service();
        let first = 1_000_000_000;
        let begins = first + 170 * 60_000;
        for minute in 0..360 {
            let now = first + minute * 60_000;
            series.add(now, &tally(1_000, if now < begins { 1 } else { 8 }));
        }
        let began = series.began_ms(first + 359 * 60_000, 6 * 3_600_000).unwrap();
        assert!((begins..=begins + 600_000).contains(&began), "{began} {begins}");
        let even = (0..360).fold(Series::of_service(), |mut series, minute| {
            series.add(first + minute * 60_000, &tally(1_000, 5));
            series
        });
        assert_eq!(even.began_ms(first + 359 * 60_000, 6 * 3_600_000), None);
    }

    proptest! {
        #[test]
        fn the_size_is_bounded_and_nothing_is_counted_twice(gaps in prop::collection::vec(0_u64..4_000_000, 1..200)) {
            let (mut series, mut now, mut all) = (Series::of_service(), 1_000_000_000_u64, 0);
            for gap in gaps {
                now += gap;
                all += 1;
                series.add(now, &tally(1, 1));
                prop_assert!(series.began_ms(now, 21_600_000).is_none_or(|began_ms| began_ms <= now));
                let sums: Vec<u64> = [10_000, 300_000, 3_600_000, 21_600_000, 259_200_000]
                    .map(|over_ms| series.lately(now, over_ms).requests).into();
                prop_assert!(sums.iter().all(|sum| *sum >= 1 && *sum <= all));
                for (buckets, (_, count)) in series.levels.iter().zip(LEVELS) {
                    prop_assert!(buckets.len() <= count + 1);
                }
            }
        }
    }
}

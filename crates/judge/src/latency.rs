//! Which bounds of latency are watched: fixed before the rollout, from what the old version did.

use std::collections::BTreeSet;

use crate::counts::Counts;

/// The parts of answers that should be slower than the bounds: beyond p50, p90, p95 and p99.
const BEYOND: [f64; 4] = [0.5, 0.1, 0.05, 0.01];
/// Fewer requests than this say nothing of a distribution.
const MIN_REQUESTS: u64 = 20;

/// Chooses among the bounds that were counted those nearest to the old version's p50, p90, p95 and p99.
#[must_use]
pub fn latency_bounds(old: &Counts) -> BTreeSet<u64> {
    if old.requests < MIN_REQUESTS {
        return BTreeSet::new();
    }
    BEYOND.iter().filter_map(|beyond| nearest(old, *beyond)).collect()
}

/// By the ratio of shares: from 1 to 2 % is as far as from 10 to 20 %.
fn nearest(old: &Counts, beyond: f64) -> Option<u64> {
    let share = |bound: u64| (old.slower_than(bound).answers as f64 + 0.5) / (old.requests as f64 + 1.0);
    let distance = |bound: u64| (share(bound) / beyond).ln().abs();
    old.slower.keys().copied().min_by(|one, other| distance(*one).total_cmp(&distance(*other)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Answers;

    #[test]
    fn the_bounds_nearest_to_the_quantiles_are_chosen() {
        let slower = [(1, 1_000), (5, 930), (10, 520), (25, 130), (50, 48), (100, 12), (250, 2), (1_000, 0)];
        let slower = slower.map(|(bound, count)| (bound, Answers::each(count))).into();
        let old = Counts { requests: 1_000, slower, ..Counts::default() };
        assert_eq!(latency_bounds(&old), [10, 25, 50, 100].into());
    }

    #[test]
    fn little_traffic_and_one_bound_choose_little() {
        let slower = |count| [(100, Answers::each(count))].into();
        assert!(latency_bounds(&Counts { requests: 10, slower: slower(1), ..Counts::default() }).is_empty());
        assert_eq!(
            latency_bounds(&Counts { requests: 100, slower: slower(0), ..Counts::default() }),
            [100].into()
        );
    }
}

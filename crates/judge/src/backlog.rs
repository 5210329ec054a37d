//! The backlog of a queue: whether it grows without end under a version, where it did not before.
//!
//! A rule and no statistics: depths that follow each other are anything but independent. So it wants a rise that goes on for a
//! whole window and beyond everything that was seen before, and says no more than that.

use std::collections::VecDeque;

/// How many of the newest depths are looked at.
const WINDOW: usize = 24;
/// With fewer nothing is said.
const MIN_DEPTHS: usize = 12;
/// With fewer of before nothing is known of before.
const MIN_BEFORE: usize = 3;
/// So many more entries than before are nothing to speak of.
const FEW: u64 = 10;

/// The depths of a queue since a version began to work on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backlog {
    newest: VecDeque<u64>,
    taken: u64,
    /// Whether it was ever less than the time before: somebody has taken something.
    has_fallen: bool,
    deepest: u64,
    lowest: Option<u64>,
}

/// How a queue develops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trend {
    /// Too few depths are known.
    Unknown {
        /// So many more are needed.
        more: u64,
        /// Whether it is deeper than before by more than a few; where nothing is known of before, than it was since.
        is_deeper: bool,
    },
    /// It does not grow, or not beyond what was there before.
    Flat,
    /// It grew before as well.
    GrewBefore,
    /// It grows all the time, and it is not known how it was before, or it is not much deeper yet.
    Rises {
        /// How deep it was at the beginning of what is looked at.
        from: u64,
        /// How deep it is.
        to: u64,
    },
    /// It grows all the time, and is far deeper than it ever was before.
    Grows {
        /// How deep it was at the beginning of what is looked at.
        from: u64,
        /// How deep it is.
        to: u64,
        /// The deepest that it was before.
        before: u64,
    },
}

impl Backlog {
    /// Takes in how deep the queue is.
    pub fn take(&mut self, depth: u64) {
        self.has_fallen |= self.newest.back().is_some_and(|last| depth < *last);
        self.deepest = self.deepest.max(depth);
        self.lowest = Some(self.lowest.map_or(depth, |lowest| lowest.min(depth)));
        self.taken = self.taken.saturating_add(1);
        self.newest.push_back(depth);
        if self.newest.len() > WINDOW {
            self.newest.pop_front();
        }
    }

    /// Returns how often it was said.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns the newest depth.
    #[must_use]
    pub fn depth(&self) -> Option<u64> {
        self.newest.back().copied()
    }

    /// Tells whether it was ever less than the time before.
    #[must_use]
    pub const fn has_fallen(&self) -> bool {
        self.has_fallen
    }

    /// Tells whether it is deeper than it ever was since, by more than a few; returns the lowest depth and the present one.
    #[must_use]
    pub fn deepened(&self) -> Option<(u64, u64)> {
        let (lowest, depth) = (self.lowest?, self.depth()?);
        (depth > lowest.saturating_add(FEW)).then_some((lowest, depth))
    }

    /// Tells whether there was never anything in it.
    #[must_use]
    pub const fn was_always_empty(&self) -> bool {
        self.deepest == 0
    }

    /// Says how it develops, compared with depths of before.
    #[must_use]
    pub fn trend(&self, before: &[u64]) -> Trend {
        let depths: Vec<u64> = self.newest.iter().copied().collect();
        if depths.len() < MIN_DEPTHS {
            return Trend::Unknown {
                more: (MIN_DEPTHS - depths.len()) as u64,
                is_deeper: self.is_deeper(before),
            };
        }
        let (from, to) = (depths[0], depths[depths.len() - 1]);
        let deepest = before.iter().copied().max().unwrap_or_default();
        if !rises(&depths) || to <= deepest.saturating_add(FEW) {
            return Trend::Flat;
        }
        match before.len() {
            ..MIN_BEFORE => Trend::Rises { from, to },
            _ if grew(before) => Trend::GrewBefore,
            _ if to > deepest.saturating_mul(2).saturating_add(FEW) => {
                Trend::Grows { from, to, before: deepest }
            }
            _ => Trend::Rises { from, to },
        }
    }
}

impl Backlog {
    fn is_deeper(&self, before: &[u64]) -> bool {
        let deepest = before.iter().copied().max().or(self.lowest).unwrap_or_default();
        self.depth().is_some_and(|depth| depth > deepest.saturating_add(FEW))
    }
}

/// Tells whether each quarter lies above the one before it, and the end above everything in the first.
fn rises(depths: &[u64]) -> bool {
    let quarters: Vec<&[u64]> = depths.chunks(depths.len().div_ceil(4)).collect();
    let middles: Vec<u64> = quarters.iter().map(|quarter| middle(quarter)).collect();
    let highest_first = quarters[0].iter().max();
    middles.windows(2).all(|two| two[0] < two[1]) && depths.last() > highest_first
}

/// Tells whether it was growing already: the later half far above the earlier one.
fn grew(before: &[u64]) -> bool {
    let (earlier, later) = before.split_at(before.len() / 2);
    middle(later) > middle(earlier).saturating_mul(3) / 2 + FEW
}

fn middle(depths: &[u64]) -> u64 {
    let mut sorted = depths.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trend(depths: impl IntoIterator<Item = u64>, before: &[u64]) -> Trend {
        let mut backlog = Backlog::default();
        depths.into_iter().for_each(|depth| backlog.take(depth));
        backlog.trend(before)
    }

    const FLAT: [u64; 6] = [3, 5, 2, 4, 5, 3];

    #[test]
    fn a_queue_that_grows_all_the_time_is_told_from_one_that_does_not() {
        let growing = || (0..40).map(|i| 5 + 4 * i);
        assert_eq!(trend(growing(), &FLAT), Trend::Grows { from: 69, to: 161, before: 5 });
        assert_eq!(trend(growing().take(12), &FLAT), Trend::Grows { from: 5, to: 49, before: 5 });
        assert_eq!(trend(growing().take(11), &FLAT), Trend::Unknown { more: 1, is_deeper: true });
        assert_eq!(trend((0..40).map(|i| 5 + i % 7), &FLAT), Trend::Flat);
        assert_eq!(trend((0..40).map(|i| 200 - 4 * i), &FLAT), Trend::Flat, "it works off what was left");
        assert_eq!(trend((0..40).map(|i| if i < 6 { 5 + 40 * i } else { 205 }), &FLAT), Trend::Flat);
        assert_eq!(trend((0..12).map(|i| i / 2), &FLAT), Trend::Flat, "no deeper than before");
    }

    #[test]
    fn what_was_so_before_is_no_news() {
        let growing = || (0..24).map(|i| 100 + 10 * i);
        assert_eq!(trend(growing(), &[10, 20, 40, 60, 80, 100]), Trend::GrewBefore);
        assert_eq!(trend(growing(), &[]), Trend::Rises { from: 100, to: 330 });
        assert_eq!(
            trend(growing(), &[160, 170, 165]),
            Trend::Rises { from: 100, to: 330 },
            "not twice as deep"
        );
    }

    #[test]
    fn while_too_little_is_known_it_is_said_whether_it_is_deeper_than_before() {
        let unknown = |more, is_deeper| Trend::Unknown { more, is_deeper };
        assert_eq!(trend([0, 120, 240, 360, 480, 600], &[]), unknown(6, true));
        assert_eq!(trend([600], &[]), unknown(11, false), "nothing is known of before");
        assert_eq!(trend([600], &FLAT), unknown(11, true));
        assert_eq!(trend([0, 9, 15], &FLAT), unknown(9, false));
        assert_eq!(trend([], &FLAT), unknown(12, false));
    }

    #[test]
    fn a_queue_has_deepened_that_is_above_the_lowest_that_it_was() {
        let deepened = |depths: &[u64]| {
            let mut backlog = Backlog::default();
            depths.iter().for_each(|depth| backlog.take(*depth));
            backlog.deepened()
        };
        assert_eq!(deepened(&[0, 0, 600]), Some((0, 600)));
        assert_eq!(deepened(&[600, 3, 14]), Some((3, 14)));
        assert_eq!(deepened(&[600, 300, 0, 10]), None);
        assert_eq!(deepened(&[]), None);
    }

    proptest! {
        /// Whoever works off at least as much as comes is never said to let it grow: what comes and goes is drawn, and never more
        /// is there than was before.
        #[test]
        fn a_queue_that_stays_within_what_it_was_is_flat(depths in prop::collection::vec(0_u64..50, 12..60)) {
            prop_assert_eq!(trend(depths, &[10, 49, 12, 40]), Trend::Flat);
        }

        #[test]
        fn no_depths_make_it_panic(
            depths in prop::collection::vec(any::<u64>(), 0..60),
            before in prop::collection::vec(any::<u64>(), 0..12),
        ) {
            let _ = trend(depths, &before);
        }
    }
}

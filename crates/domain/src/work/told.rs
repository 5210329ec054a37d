//! What an instance of a worker has said of its work so far, as its supervisor adds it up.
//!
//! Counters of a program begin anew when it does, so their growth is added up where the program is started. Invariant: counts only
//! grow, whatever the program says, and what a series shows when it is read for the first time counts nothing.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exposition::{Read, Values};

/// How long a slice of what is remembered is.
pub const SLICE_MS: u64 = 10_000;
/// How many of them are remembered: five minutes, which is what a later version is compared with.
pub const MAX_SLICES: usize = 30;
/// Series that are remembered, also when they are gone; beyond it only those that are there.
const MAX_KNOWN: usize = 2_000;
/// Longest reason that is kept.
const MAX_REASON: usize = 300;

/// What an instance has said of its work since it began.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Told {
    /// Jobs that it has done well.
    pub done: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// How often its metrics were read.
    pub heard: u64,
    /// Why they could not be read the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
    /// How deep its queue was the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u64>,
    /// How often it was asked for that and answered.
    pub depths: u64,
    /// Why it did not answer the last time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_depth: Option<String>,
    /// The last minutes, oldest first; the newest one goes on.
    #[serde(skip_serializing_if = "VecDeque::is_empty")]
    pub slices: VecDeque<Slice>,
}

/// What came of a part of the last minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Slice {
    /// How long it was.
    pub ms: u64,
    /// Jobs that were done well.
    pub done: u64,
    /// Jobs that failed.
    pub failed: u64,
    /// How deep the queue was at its end, as far as that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u64>,
}

impl Slice {
    /// Returns all jobs.
    #[must_use]
    pub const fn jobs(&self) -> u64 {
        self.done.saturating_add(self.failed)
    }

    /// Adds what another instance said of the same time.
    #[must_use]
    pub fn beside(self, other: Self) -> Self {
        Self {
            ms: self.ms.max(other.ms),
            done: self.done.saturating_add(other.done),
            failed: self.failed.saturating_add(other.failed),
            depth: self.depth.max(other.depth),
        }
    }
}

/// The values that were read last: what the next ones have grown from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Last(Option<Read>);

impl Last {
    /// Returns how many jobs were done and failed since the last reading.
    fn growth(&mut self, read: Read) -> (u64, u64) {
        let Some(last) = &mut self.0 else {
            self.0 = Some(read);
            return (0, 0);
        };
        (grown(&mut last.done, read.done), grown(&mut last.failed, read.failed))
    }
}

/// A counter that went back began anew, and has counted from 0. What one shows that was never there may be older than the process, as
/// where a program restores its counters late, so it counts nothing. One that is missing may come again, as in a file that is just
/// being written.
fn grown(last: &mut Values, now: Values) -> u64 {
    if last.len() > MAX_KNOWN {
        last.retain(|series, _| now.contains_key(series));
    }
    let of = |(series, value): (String, u64)| {
        let before = last.insert(series, value).unwrap_or(value);
        if value < before { value } else { value - before }
    };
    now.into_iter().map(of).fold(0, u64::saturating_add)
}

impl Told {
    /// Tells whether nothing was said.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Takes in that so much time has passed.
    pub fn pass(&mut self, ms: u64) {
        let newest = self.slice();
        newest.ms = newest.ms.saturating_add(ms);
        if newest.ms >= SLICE_MS {
            self.slices.push_back(Slice::default());
        }
        while self.slices.len() > MAX_SLICES {
            self.slices.pop_front();
        }
    }

    /// Takes in what was read of its metrics.
    pub fn take(&mut self, last: &mut Last, read: Result<Read, String>) {
        match read {
            Err(why) => self.silent = Some(cut(why)),
            Ok(read) => {
                let (done, failed) = last.growth(read);
                (self.heard, self.silent) = (self.heard.saturating_add(1), None);
                self.done = self.done.saturating_add(done);
                self.failed = self.failed.saturating_add(failed);
                let newest = self.slice();
                newest.done = newest.done.saturating_add(done);
                newest.failed = newest.failed.saturating_add(failed);
            }
        }
    }

    /// Takes in what was said of its queue.
    pub fn take_depth(&mut self, depth: Result<u64, String>) {
        match depth {
            Err(why) => self.no_depth = Some(cut(why)),
            Ok(depth) => {
                (self.depth, self.no_depth) = (Some(depth), None);
                self.depths = self.depths.saturating_add(1);
                self.slice().depth = Some(depth);
            }
        }
    }

    fn slice(&mut self) -> &mut Slice {
        if self.slices.is_empty() {
            self.slices.push_back(Slice::default());
        }
        let newest = self.slices.len() - 1;
        &mut self.slices[newest]
    }
}

fn cut(why: String) -> String {
    if why.len() <= MAX_REASON { why } else { why.chars().take(MAX_REASON).collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(done: &[(&str, u64)], failed: u64) -> Result<Read, String> {
        let done = done.iter().map(|(series, value)| ((*series).to_owned(), *value)).collect();
        Ok(Read { done, failed: Values::from([("failed".to_owned(), failed)]) })
    }

    #[test]
    fn growth_is_added_up_over_restarts_and_what_was_there_before_is_not() {
        let (mut told, mut last) = (Told::default(), Last::default());
        told.take(&mut last, read(&[("a", 500)], 9));
        assert_eq!((told.done, told.failed, told.heard), (0, 0, 1), "it may have kept its counters");
        told.take(&mut last, read(&[("a", 503)], 9));
        told.take(&mut last, Err("half a file".to_owned()));
        assert_eq!((told.done, told.silent.as_deref()), (3, Some("half a file")));
        told.take(&mut last, read(&[("a", 2), ("b", 4)], 1));
        assert_eq!((told.done, told.failed), (5, 1), "it began anew, with another queue");
        told.take(&mut last, read(&[("b", 5)], 1));
        told.take(&mut last, read(&[("a", 1), ("b", 5)], 1));
        assert_eq!((told.done, told.silent), (7, None), "a series may go and come");
    }

    #[test]
    fn what_a_series_shows_first_counts_nothing_however_late_it_comes() {
        let (mut told, mut last) = (Told::default(), Last::default());
        told.take(&mut last, Ok(Read::default()));
        told.take(&mut last, read(&[("a", 90_000)], 900));
        assert_eq!((told.done, told.failed), (0, 0), "counters may be restored");
        told.take(&mut last, read(&[("a", 90_004), ("b", 70)], 901));
        assert_eq!((told.done, told.failed), (4, 1));
    }

    #[test]
    fn the_last_minutes_are_kept_and_nothing_else() {
        let mut told = Told::default();
        for depth in 0..100 {
            told.take_depth(Ok(depth));
            told.pass(SLICE_MS);
        }
        assert_eq!(told.slices.len(), MAX_SLICES);
        assert_eq!(
            told.slices.iter().filter_map(|slice| slice.depth).collect::<Vec<_>>(),
            Vec::from_iter(71..100)
        );
        told.take_depth(Err("x".repeat(5_000)));
        assert_eq!(told.no_depth.as_ref().map(String::len), Some(MAX_REASON));
        assert_eq!((told.depth, told.depths), (Some(99), 100));
    }

    proptest! {
        #[test]
        fn counts_only_grow_whatever_is_said(
            readings in prop::collection::vec(prop::option::of((any::<u64>(), any::<u64>())), 0..30),
        ) {
            let (mut told, mut last) = (Told::default(), Last::default());
            for reading in readings {
                let before = (told.done, told.failed);
                let said = reading.ok_or_else(String::new).and_then(|(done, failed)| read(&[("a", done)], failed));
                told.take(&mut last, said);
                prop_assert!(told.done >= before.0 && told.failed >= before.1);
            }
        }

        /// A process that counts every job and is started again between readings is never counted twice.
        #[test]
        fn no_job_is_counted_twice(
            steps in prop::collection::vec((0_u64..50, any::<bool>()), 1..40),
        ) {
            let (mut told, mut last) = (Told::default(), Last::default());
            let (mut counter, mut really) = (0, 0);
            told.take(&mut last, read(&[("a", 0)], 0));
            for (jobs, restarts) in steps {
                if restarts {
                    counter = 0;
                }
                counter += jobs;
                really += jobs;
                told.take(&mut last, read(&[("a", counter)], 0));
                prop_assert!(told.done <= really);
            }
        }
    }
}

//! How slow an instance seems: a peak-sensitive moving average (peak EWMA) with failures counted as slow answers.
//!
//! Pure functions of what was seen and of the time. A slower answer counts at once and is forgotten slowly; what is not
//! heard of for long is forgotten too, so an instance that was slow or failed is tried again. Failures are averaged: a
//! rare one changes little, an instance that always fails comes to look as slow as [`FAILURE`].

use std::time::Duration;

use crate::moment::{Moment, micros};

/// How long what was seen keeps about a third of its weight. linkerd remembers for 10 s: where there is little traffic, an
/// instance that hesitated once for 100 ms would then get nothing for half a minute.
const MEMORY: Duration = Duration::from_secs(3);
/// How slow a failure is taken to be, however fast it came.
const FAILURE: Duration = Duration::from_secs(5);
/// The most that one failure counts, with however little seen before.
const FAILURE_WEIGHT: f64 = 0.1;
/// What is faster is not told apart: such differences are noise, and noise must not make one of several alike busy.
const QUICKEST: Duration = Duration::from_millis(5);

/// How slow an instance seems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Latency {
    pub(crate) micros: u64,
    /// When it last was looked at; `None` before anything was seen.
    pub(crate) at: Option<Moment>,
}

/// What was seen of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sample {
    /// It was answered after so many microseconds.
    Served(u64),
    /// It failed after so many microseconds.
    Failed(u64),
    /// It was not answered within so many microseconds, and then nobody waited any more.
    Abandoned(u64),
}

impl Latency {
    /// Returns how slow the instance seems now, in microseconds.
    pub(crate) fn now(self, now: Moment) -> Option<u64> {
        let kept = kept(now.since(self.at?));
        Some(((self.micros as f64 * kept) as u64).max(micros(QUICKEST)))
    }

    /// Takes in what was seen of one request.
    pub(crate) fn after(self, sample: Sample, now: Moment) -> Self {
        let known = self.now(now).unwrap_or(0);
        let micros = match sample {
            Sample::Served(slow) if slow >= known || self.at.is_none() => slow,
            Sample::Served(slow) => self.mixed(slow, self.weight(now)),
            Sample::Failed(slow) => {
                self.mixed(slow.max(micros(FAILURE)), self.weight(now).min(FAILURE_WEIGHT))
            }
            Sample::Abandoned(slow) if slow > known => slow,
            Sample::Abandoned(_) => return self,
        };
        Self { micros, at: Some(now) }
    }

    /// What a sample weighs: the more, the longer ago the last one was.
    fn weight(self, now: Moment) -> f64 {
        self.at.map_or(1.0, |at| 1.0 - kept(now.since(at)))
    }

    fn mixed(self, slow: u64, weight: f64) -> u64 {
        (self.micros as f64 * (1.0 - weight) + slow as f64 * weight) as u64
    }
}

/// The part of a memory that is left after so many microseconds.
fn kept(age: u64) -> f64 {
    (-(age as f64) / micros(MEMORY) as f64).exp()
}

/// What speaks for and against asking an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) under_way: u64,
    /// How slow it seems, as far as that is known.
    pub(crate) latency: Option<u64>,
}

/// Tells whether the second instance should be asked rather than the first.
///
/// While one of them is not known, both are judged by requests under way alone: a new instance gets its share, no flood.
pub(crate) fn second_is_better(first: Load, second: Load) -> bool {
    let cost = |load: Load, latency: u64| u128::from(latency) * (u128::from(load.under_way) + 1);
    match (first.latency, second.latency) {
        (Some(one), Some(other)) => cost(second, other) < cost(first, one),
        _ => second.under_way < first.under_way,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNKNOWN: Latency = Latency { micros: 0, at: None };
    const SECOND: u64 = 1_000_000;

    fn after(start: Latency, samples: &[(u64, Sample)]) -> (Latency, Moment) {
        samples.iter().fold((start, Moment(1)), |(latency, now), (pause, sample)| {
            let now = Moment(now.0 + pause);
            (latency.after(*sample, now), now)
        })
    }

    #[test]
    fn a_slower_answer_counts_at_once_and_a_faster_one_slowly() {
        let (peak, now) = after(UNKNOWN, &[(0, Sample::Served(1_000)), (1_000, Sample::Served(50_000))]);
        assert_eq!(peak.now(now), Some(50_000));
        let (later, now) = after(peak, &[(1_000, Sample::Served(1_000))]);
        assert!(later.now(now).unwrap() > 49_000);
    }

    #[test]
    fn one_failure_among_a_thousand_answers_costs_little_and_many_cost_as_much_as_slow_answers() {
        let served = vec![(1_000, Sample::Served(1_000)); 1_000];
        let (one, _) = after(UNKNOWN, &[&served[..], &[(1_000, Sample::Failed(10))]].concat());
        assert!(one.micros < 5_000, "{one:?}");
        let (all, now) = after(one, &vec![(1_000, Sample::Failed(10)); 20_000]);
        assert!(all.now(now).unwrap() > 4 * SECOND, "{all:?}");
    }

    #[test]
    fn what_is_not_heard_of_is_forgotten() {
        let (failed, now) = after(UNKNOWN, &vec![(10_000, Sample::Failed(10)); 10_000]);
        assert!(failed.now(now).unwrap() > 4 * SECOND);
        assert_eq!(failed.now(now + Duration::from_secs(120)), Some(micros(QUICKEST)));
    }

    #[test]
    fn a_client_that_left_early_makes_no_instance_look_faster() {
        let (slow, now) = after(UNKNOWN, &[(0, Sample::Served(SECOND))]);
        assert_eq!(slow.after(Sample::Abandoned(10), now), slow);
        assert_eq!(slow.after(Sample::Abandoned(3 * SECOND), now).now(now), Some(3 * SECOND));
    }

    fn sample() -> impl Strategy<Value = Sample> {
        (0_u64..10 * SECOND, 0..3).prop_map(|(slow, kind)| match kind {
            0 => Sample::Served(slow),
            1 => Sample::Failed(slow),
            _ => Sample::Abandoned(slow),
        })
    }

    proptest! {
        #[test]
        fn it_stays_between_what_was_seen(samples in prop::collection::vec((0_u64..60 * SECOND, sample()), 1..50)) {
            let (latency, now) = after(UNKNOWN, &samples);
            let most = samples.iter().map(|(_, sample)| match *sample {
                Sample::Served(slow) | Sample::Abandoned(slow) => slow,
                Sample::Failed(slow) => slow.max(micros(FAILURE)),
            });
            let most = most.max().unwrap().max(micros(QUICKEST));
            prop_assert!(latency.now(now).is_none_or(|it| it <= most));
        }

        #[test]
        fn a_failure_never_makes_an_instance_more_attractive(
            samples in prop::collection::vec((0_u64..60 * SECOND, sample()), 0..50),
            slow in 0_u64..10 * SECOND,
        ) {
            let (before, now) = after(UNKNOWN, &samples);
            let failed = before.after(Sample::Failed(slow), now);
            let limit = micros(FAILURE);
            // An instance that already seems slower than a failure may look like one.
            prop_assert!(failed.now(now).unwrap() >= before.now(now).unwrap_or(0).min(limit));
        }
    }
}

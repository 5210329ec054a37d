//! How much was asked lately: totals of about each minute of the last hour, because a rate needs a time.
//!
//! Nothing of it is in the journal: a server that was started anew begins to count again. What a gateway had counted before
//! this server first heard of it is no part of any rate, because nobody knows when that was.

use std::collections::VecDeque;

use lockstep_domain::{Arm, Timestamp};

use lockstep_domain::routes::ArmTraffic;

use crate::traffic::{Totals, add, since};

/// How far apart totals are kept.
const SAMPLE_MS: u64 = 60_000;
/// How many are kept: an hour.
const MAX_SAMPLES: usize = 60;

/// What was counted since a moment of which the time is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lately {
    /// How long was counted, at most about an hour; 0 before the first receipt.
    pub counted_ms: u64,
    /// What each arm did in that time.
    pub totals: Totals,
}

/// Totals of the last hour, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Samples(VecDeque<(Timestamp, Totals)>);

impl Samples {
    /// Keeps the totals when those that were kept last are old enough.
    pub(crate) fn note(&mut self, now: Timestamp, totals: impl FnOnce() -> Totals) {
        self.forget_future(now);
        if self.0.back().is_none_or(|(at, _)| now.since_ms(*at) >= SAMPLE_MS) {
            self.0.push_back((now, totals()));
        }
        while self.0.len() > MAX_SAMPLES {
            self.0.pop_front();
        }
    }

    /// A clock that was put back would make a time of nothing of much.
    fn forget_future(&mut self, now: Timestamp) {
        if self.0.back().is_some_and(|(at, _)| *at > now) {
            self.0.clear();
        }
    }

    /// Notes what a gateway had counted before anybody saw it.
    pub(crate) fn discount(&mut self, arm: &Arm, traffic: ArmTraffic) {
        self.0.iter_mut().for_each(|(_, totals)| add(totals, arm, traffic));
    }

    /// Moves every time by time that was added to the clock and did not pass.
    pub(crate) fn skip(&mut self, ms: u64) {
        self.0.iter_mut().for_each(|(at, _)| *at = at.plus_ms(ms));
    }

    /// Returns what was counted since the oldest totals that are kept.
    pub(crate) fn lately(&self, now: Timestamp, totals: Totals) -> Lately {
        match self.0.front() {
            Some((at, earlier)) => Lately { counted_ms: now.since_ms(*at), totals: since(totals, earlier) },
            None => Lately::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lockstep_domain::{ConfigRevision, VersionNumber};

    use super::*;

    fn arm() -> Arm {
        Arm {
            service: "orders".parse().unwrap(),
            version: VersionNumber::new(1, 0, 0),
            config: ConfigRevision(0),
            process: None,
        }
    }

    fn totals(requests: u64) -> Totals {
        BTreeMap::from([(arm(), ArmTraffic { requests, failures: 0 })])
    }

    fn lately(samples: &Samples, now: u64, requests: u64) -> (u64, u64) {
        let lately = samples.lately(Timestamp(now), totals(requests));
        (lately.counted_ms, lately.totals.get(&arm()).map_or(0, |traffic| traffic.requests))
    }

    #[test]
    fn a_rate_is_of_the_last_hour_and_of_no_more() {
        let mut samples = Samples::default();
        assert_eq!(samples.lately(Timestamp(5), totals(5)), Lately::default());
        for minute in 0..600 {
            samples.note(Timestamp(minute * SAMPLE_MS), || totals(minute * 10));
            samples.note(Timestamp(minute * SAMPLE_MS + 1), || unreachable!("it is too soon"));
        }
        assert_eq!(lately(&samples, 600 * SAMPLE_MS, 6_000), (60 * SAMPLE_MS, 600));
    }

    #[test]
    fn what_was_counted_before_anybody_listened_is_no_rate() {
        let mut samples = Samples::default();
        samples.note(Timestamp(0), || totals(10));
        samples.discount(&arm(), ArmTraffic { requests: 1_000_000, failures: 9 });
        assert_eq!(lately(&samples, 10_000, 1_000_030), (10_000, 20));
    }

    #[test]
    fn a_clock_that_is_wrong_makes_no_rate_out_of_nothing() {
        let mut samples = Samples::default();
        samples.note(Timestamp(1_000_000), || totals(10));
        samples.skip(5_000);
        assert_eq!(lately(&samples, 1_010_000, 60), (5_000, 50), "time that did not pass");
        samples.note(Timestamp(400_000), || totals(100));
        assert_eq!(lately(&samples, 410_000, 150), (10_000, 50), "put back");
    }
}

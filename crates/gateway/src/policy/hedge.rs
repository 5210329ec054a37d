//! When a read of a route is asked of another instance as well, and what came of it.
//!
//! What a route learned of its answers is shared by all workers: the time is one atomic number, and whoever finds another worker at the rest leaves
//! its sample out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_domain::routes::hedge::{Hedge, Latencies, Percentile};

use super::RouteState;
use crate::moment::micros;

/// What comes of another request, as metrics and logs name it.
pub(crate) const HEDGES: [&str; 5] = ["won", "lost", "no_budget", "no_instance", "left"];
/// After so many answers the time is found anew.
const LOOK_EVERY: u32 = 16;
/// Where in the number the percentage lies that it is for; the rest are microseconds.
const PERCENT_AT: u32 = 56;

/// What came of asking another instance as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hedged {
    /// Its answer came first.
    Won,
    /// The first one answered after all, or it failed itself.
    Lost,
    /// It was not asked: too many requests are asked again already.
    NoBudget,
    /// It was not asked: there is no other that serves well and has room.
    NoInstance,
    /// Neither had answered when the client left: nobody knows which would have been sooner.
    Left,
}

impl Hedged {
    /// Returns its place in [`HEDGES`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    pub(crate) const fn word(self) -> &'static str {
        HEDGES[self.index()]
    }
}

/// A read that another instance may be asked for as well.
#[derive(Debug)]
pub(crate) struct Hedging {
    pub(crate) hedge: Hedge,
    /// Where its route keeps what it learned.
    pub(crate) state: Option<Arc<RouteState>>,
}

impl Hedging {
    /// Returns after how long without an answer another one is asked; nothing while that is not known.
    pub(crate) fn after(&self) -> Option<Duration> {
        match self.hedge {
            Hedge::AfterMs(ms) => Some(Duration::from_millis(ms)),
            Hedge::Percentile(Percentile { percent, least_ms }) => {
                let usual = self.state.as_ref()?.pace.usual(percent)?;
                Some(usual.max(Duration::from_millis(least_ms)))
            }
        }
    }

    /// Learns from an answer that began, or was not waited for any longer, so long after its request was sent.
    pub(crate) fn see(&self, took: Duration) {
        if let (Hedge::Percentile(Percentile { percent, .. }), Some(state)) = (self.hedge, &self.state) {
            state.pace.see(percent, took);
        }
    }
}

/// How long the answers of a route take to begin.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    latencies: Mutex<Option<Box<Latencies>>>,
    usual: AtomicU64,
}

impl Pace {
    /// Returns the time within which this part of the answers began, where enough were seen.
    pub(crate) fn usual(&self, percent: u8) -> Option<Duration> {
        let usual = self.usual.load(Ordering::Relaxed);
        let is_of_it = usual >> PERCENT_AT == u64::from(percent);
        is_of_it.then(|| Duration::from_micros(usual & ((1 << PERCENT_AT) - 1)))
    }

    fn see(&self, percent: u8, took: Duration) {
        let Ok(mut latencies) = self.latencies.try_lock() else { return };
        let latencies = latencies.get_or_insert_default();
        latencies.see(micros(took));
        if latencies.seen().is_multiple_of(LOOK_EVERY) {
            let usual = latencies.within(percent).unwrap_or_default();
            let known = if usual == 0 { 0 } else { u64::from(percent) << PERCENT_AT | usual };
            self.usual.store(known, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_known_when_enough_was_seen_and_is_of_the_part_that_is_asked_for() {
        let pace = Pace::default();
        let see =
            |percent, count: usize| (0..count).for_each(|_| pace.see(percent, Duration::from_millis(20)));
        see(95, 199);
        assert_eq!(pace.usual(95), None);
        see(95, 16);
        let usual = pace.usual(95).unwrap();
        assert!(usual > Duration::from_millis(20) && usual < Duration::from_millis(23), "{usual:?}");
        assert_eq!(pace.usual(90), None, "another table asks for another part");
        see(90, 16);
        assert_eq!((pace.usual(90), pace.usual(95)), (Some(usual), None));
    }

    #[test]
    fn it_is_never_sooner_than_the_route_says() {
        let state = Arc::new(RouteState::default());
        let of = |least_ms| {
            let hedge = Hedge::Percentile(Percentile { percent: 50, least_ms });
            Hedging { hedge, state: Some(Arc::clone(&state)) }
        };
        assert_eq!(of(1).after(), None, "nothing is known");
        (0..64).for_each(|_| of(1).see(Duration::from_millis(4)));
        assert_eq!(of(50).after(), Some(Duration::from_millis(50)));
        assert!(of(1).after().unwrap() < Duration::from_millis(5));
        let fixed = Hedging { hedge: Hedge::AfterMs(7), state: None };
        assert_eq!(fixed.after(), Some(Duration::from_millis(7)));
    }
}

//! How many requests of a version may wait for an answer at once, found by how long answers take: an adaptive concurrency limit. Pure.
//!
//! The step is that of the gradient controller of Envoy's adaptive concurrency filter, which is that of Netflix' `concurrency-limits`:
//! `limit' = limit x gradient + sqrt(limit)` with `gradient = tolerance x base / latency`, from 0.5 to 2, where `latency` is the mean of a
//! window and `base` that of one in which nothing queued. Behind the knee latency grows with the limit, so the step leads to about
//! `tolerance` times the requests that the version works on at once, and the root of that, wherever it began.
//!
//! What differs is how `base` is found. Envoy lets 3 requests in at a time for a while; Netflix' Gradient2 takes the mean of long, which an
//! overload that lasts raises. Here, as the `ProbeRTT` of BBR does it, the limit is halved for a window; where answers come sooner by
//! that, requests had queued, and it is halved again; where they do not, that is how long the version takes. So a version that became
//! slower is told from one that has too many requests: for the first halving changes nothing, and it has its limit again. A window in which
//! less than half of the limit was used says the same and costs nothing, so nobody is refused to find `base` while there is room.
//!
//! A burst fills the limit for a moment and says little: a version that has nothing to do before and after it is calm. So what is looked at is
//! how many waited in the mean over the time of the window, too. While that is less than half of the limit nothing is probed, and the limit is at
//! least `start`; and whoever is about to be refused after a pause in which nothing was seen is let in up to `start` again.
//!
//! Only requests count that began in the window: what waited behind those that an earlier limit let in says nothing of this one.
//! Invariants: the limit stays from `least` to `most`; it does not fall while less than half of it is used; it does not stay below `start` while
//! the version is calm; a clock that goes back only begins a window anew.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a window lasts at least, in microseconds. What takes longer than a window is not seen where the limit changes, so one that is short
/// would take a version with a few long requests for quicker than it is.
const WINDOW_US: u64 = 250_000;
/// Samples of a window that lasts that long: fewer say little of times that differ much.
const SAMPLES: u32 = 100;
/// How long a window lasts at least that has fewer, in microseconds.
const LONG_WINDOW_US: u64 = 1_000_000;
/// Samples without which nothing is said, however long it takes.
const FEWEST_SAMPLES: u32 = 10;
/// What is known of a version without a queue is looked at anew in each such piece of time, in microseconds. The pieces are those of the clock,
/// so gateways whose clocks agree look at the same time: one of many that lets in half as much would see no difference.
const PROBE_US: u64 = 30_000_000;
/// Who gave up after this time, in microseconds, waited for long where nothing is known yet.
const UNKNOWN_US: f64 = 100_000.0;
/// Answers come sooner where they take at most this part of the time.
const SOONER: f64 = 0.8;
/// A limit that would fall to less than this part of where it was is looked into first.
const STEEP: f64 = 0.8;
/// What one window weighs beside what was known.
const WEIGHT: f64 = 0.3;
/// So many times as long as answers took last nothing is seen of a version that rests; one that is slow is not seen for some time either.
const REST: f64 = 4.0;

/// The bounds of a limit that adapts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveRule {
    /// Requests that may always wait at once.
    pub least: u32,
    /// How many may before anything is known.
    pub start: u32,
    /// How many may at most.
    pub most: u32,
    /// How long answers may take beside how long they take when nothing queues, in percent.
    #[schemars(extend("x-unit" = "percent"))]
    pub tolerance_percent: u32,
}

impl Default for AdaptiveRule {
    fn default() -> Self {
        Self { least: 3, start: 20, most: 1_000, tolerance_percent: 150 }
    }
}

impl AdaptiveRule {
    /// Returns the names of everything in it that is out of its bounds, each with them.
    #[must_use]
    pub fn out_of_bounds(&self) -> Vec<(&'static str, u64, u64)> {
        let Self { least, start, most, tolerance_percent } = *self;
        let all = [
            ("least", least, 1, 1_000_000),
            ("most", most, least.max(1), 1_000_000),
            ("start", start, least.max(1), most.max(least).max(1)),
            ("tolerance", tolerance_percent, 110, 1_000),
        ];
        let wrong = all.into_iter().filter(|(_, it, least, most)| !(least..=most).contains(&it));
        wrong.map(|(name, _, least, most)| (name, u64::from(least), u64::from(most))).collect()
    }

    /// Says it in words.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { least, start, most, tolerance_percent } = self;
        format!(
            "from {least} to {most} requests wait for an answer at once, {start} before anything is known, as many as are answered within {tolerance_percent} % of the time without a queue"
        )
    }

    fn clamp(&self, limit: f64) -> f64 {
        limit.clamp(f64::from(self.least), f64::from(self.most.max(self.least)))
    }
}

/// What was seen of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How long it waited, in microseconds.
    pub took_us: u64,
    /// How many waited when it began, itself included.
    pub under_way: u32,
    /// Whether it was answered; otherwise whoever waited gave up.
    pub answered: bool,
}

/// How many requests may wait for an answer at once.
#[derive(Debug, Clone)]
pub struct AdaptiveLimit {
    rule: AdaptiveRule,
    limit: f64,
    /// The highest limit since that was seen.
    high: f64,
    /// How long answers take when nothing queues, in microseconds.
    base_us: Option<f64>,
    /// When that was seen last.
    seen_us: Option<u64>,
    phase: Phase,
    window: Window,
    /// How long answers took in the last window, in microseconds.
    last_us: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Steady,
    /// The limit is lowered to see whether answers come sooner.
    Probing {
        /// The limit before.
        from: f64,
        /// How long answers took then, in microseconds.
        first_us: f64,
        /// How long they took with the limit before this one.
        last_us: f64,
    },
}

/// What was seen since the limit was looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    begun_us: u64,
    seen: u32,
    /// Of them those that nobody waited for any more.
    given_up: u32,
    peak: u32,
    /// How many waited when each of them began, added up.
    under_way: u64,
    total_us: u64,
    /// How long all that ended in it waited in it, those that began before it too, in microseconds.
    busy_us: u64,
}

impl Window {
    fn begin(&mut self, now_us: u64) {
        *self = Self { begun_us: now_us, ..Self::default() };
    }

    fn add(&mut self, sample: Sample) {
        self.total_us = self.total_us.saturating_add(sample.took_us);
        self.seen = self.seen.saturating_add(1);
        self.given_up += u32::from(!sample.answered);
        self.peak = self.peak.max(sample.under_way);
        self.under_way = self.under_way.saturating_add(u64::from(sample.under_way));
    }

    fn is_full(&self, now_us: u64) -> bool {
        let age = now_us.saturating_sub(self.begun_us);
        (age >= WINDOW_US && self.seen >= SAMPLES) || (age >= LONG_WINDOW_US && self.seen >= FEWEST_SAMPLES)
    }

    /// Tells whether half of them were waited for in vain.
    fn is_given_up(&self) -> bool {
        self.given_up > self.seen / 2
    }

    fn mean_us(&self) -> f64 {
        (self.total_us as f64 / f64::from(self.seen.max(1))).max(1.0)
    }

    /// Tells whether less than half of a limit was used in the mean over its time.
    fn is_idle(&self, limit: f64, now_us: u64) -> bool {
        let age_us = now_us.saturating_sub(self.begun_us) as f64;
        // Those that still wait have done so for half of the time that it takes, in the mean, and are not seen.
        let busy = self.busy_us as f64 / (age_us - self.mean_us() / 2.0).max(1.0);
        busy * 2.0 < limit
    }

    /// Tells whether it was idle, and those that began did not find most of a limit used: of those that come at once half find half of it.
    fn is_calm(&self, limit: f64, now_us: u64) -> bool {
        let found = self.under_way as f64 / f64::from(self.seen.max(1));
        self.is_idle(limit, now_us) && found <= limit.mul_add(0.75, 0.25)
    }
}

impl AdaptiveLimit {
    /// Begins with what the rule says, or with what is known of another version of the service; never with how long that one takes.
    #[must_use]
    pub fn new(rule: AdaptiveRule, known: Option<u32>) -> Self {
        let limit = rule.clamp(f64::from(known.unwrap_or(rule.start).max(rule.start)));
        let (base_us, seen_us, window) = (None, None, Window::default());
        Self { rule, limit, high: limit, base_us, seen_us, phase: Phase::Steady, window, last_us: 0.0 }
    }

    /// Returns how many requests may wait at once.
    #[must_use]
    pub fn limit(&self) -> u32 {
        // It is at most 1,000,000.
        self.limit as u32
    }

    /// Looks at a version that is about to refuse a request: after a pause as many may wait as before anything is known.
    pub fn look(&mut self, now_us: u64) {
        let pause_us = (LONG_WINDOW_US as f64).max(self.last_us * REST);
        let age_us = now_us.saturating_sub(self.window.begun_us) as f64;
        // A window that is begun anew for nothing would never end where answers take long.
        let is_low = self.limit < f64::from(self.rule.start) || self.phase != Phase::Steady;
        if is_low && age_us >= pause_us && self.window.is_idle(self.limit, now_us) {
            self.window.begin(now_us);
            self.rest();
        }
    }

    /// Takes in what was seen of a request that is over now, in microseconds of a clock.
    pub fn see(&mut self, sample: Sample, now_us: u64) {
        // The first one begins the first window.
        if now_us < self.window.begun_us || self.window.begun_us == 0 {
            self.window.begin(now_us);
        }
        let age_us = now_us.saturating_sub(self.window.begun_us);
        self.window.busy_us = self.window.busy_us.saturating_add(sample.took_us.min(age_us));
        let began_before = age_us < sample.took_us;
        // Who gave up sooner than answers come says nothing of them.
        let is_early = !sample.answered && sample.took_us as f64 <= self.base_us.unwrap_or(UNKNOWN_US);
        if began_before || is_early {
            return;
        }
        self.window.add(sample);
        if self.window.is_full(now_us) {
            let window = self.window;
            self.window.begin(now_us);
            self.turn(window, now_us);
        }
    }

    /// Decides what a window that is over means.
    fn turn(&mut self, window: Window, now_us: u64) {
        let mean_us = window.mean_us();
        let is_quiet = f64::from(window.peak) * 2.0 < self.limit;
        let is_calm = window.is_calm(self.limit, now_us);
        self.last_us = mean_us;
        match self.phase {
            Phase::Probing { .. } if is_calm => {}
            Phase::Probing { from, first_us, last_us } => {
                // How long answers would have taken nobody knows, but it was too long.
                let is_sooner = mean_us <= last_us * SOONER || window.is_given_up();
                self.probed((from, first_us, is_sooner), mean_us, now_us);
            }
            Phase::Steady if is_quiet => {
                self.base_us = Some(self.base_us.map_or(mean_us, |base| mixed(base, mean_us)));
                self.seen_us = Some(now_us);
            }
            // What came at once filled it for a moment.
            Phase::Steady if is_calm => self.limit = self.next(mean_us),
            Phase::Steady => self.adapt(mean_us, window.is_given_up() || self.is_due(now_us)),
        }
        if is_calm {
            self.rest();
        }
    }

    /// Lets as many wait as before a probe, and before anything was known.
    fn rest(&mut self) {
        let before = if let Phase::Probing { from, .. } = self.phase { from } else { self.limit };
        self.phase = Phase::Steady;
        self.limit = self.rule.clamp(before.max(f64::from(self.rule.start)));
        self.high = self.high.max(self.limit);
    }

    /// Returns the limit that a window leads to.
    fn next(&mut self, mean_us: f64) -> f64 {
        let base = self.base_us.map_or(mean_us, |base| base.min(mixed(base, mean_us)));
        self.base_us = Some(base);
        self.rule.clamp(self.step(self.limit, mean_us, 0.5))
    }

    fn adapt(&mut self, mean_us: f64, looks: bool) {
        let next = self.next(mean_us);
        let lower = self.rule.clamp(self.limit / 2.0);
        if (looks || next < self.high * STEEP) && lower < self.limit {
            self.phase = Phase::Probing { from: self.limit, first_us: mean_us, last_us: mean_us };
            self.limit = lower;
        } else {
            self.limit = next;
            self.high = self.high.max(next);
        }
    }

    fn probed(&mut self, (from, first_us, is_sooner): (f64, f64, bool), mean_us: f64, now_us: u64) {
        let lower = self.rule.clamp(self.limit / 2.0);
        if is_sooner && lower < self.limit {
            self.phase = Phase::Probing { from, first_us, last_us: mean_us };
            self.limit = lower;
            return;
        }
        (self.base_us, self.seen_us, self.phase) = (Some(mean_us), Some(now_us), Phase::Steady);
        self.limit = self.rule.clamp(self.step(from, first_us, 0.0).min(from));
        self.high = self.limit;
    }

    fn step(&self, limit: f64, mean_us: f64, least: f64) -> f64 {
        let tolerance = f64::from(self.rule.tolerance_percent) / 100.0;
        let gradient = tolerance * self.base_us.unwrap_or(mean_us) / mean_us;
        limit * gradient.clamp(least, 2.0) + limit.sqrt()
    }

    /// Tells whether nothing was seen without a queue in this piece of time.
    fn is_due(&self, now_us: u64) -> bool {
        self.seen_us.is_none_or(|seen| seen / PROBE_US != now_us / PROBE_US)
    }
}

fn mixed(known: f64, new: f64) -> f64 {
    known * (1.0 - WEIGHT) + new * WEIGHT
}

#[cfg(test)]
mod simulation;

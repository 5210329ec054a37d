//! When a version gets no more requests because it fails them, and how it is tried again: a circuit breaker. Pure.
//!
//! A breaker is *closed*, and requests pass; *open*, and none does; or *half-open*, and one at a time is a trial. It opens with a failure
//! where, in the last `window_ms`, at least `requests` were counted of which at least `failures_percent` failed; or where the last
//! `consecutive` all failed, the first of them at least [`RUN_MS`] ago. It is open for `open_ms`, twice as long with each time in a row, at
//! most `longest_ms`; `trials` successes one after the other close it, and one failure opens it again. A time in a row is one that comes
//! before it was closed for `longest_ms`. The shape is that of Nygard, Release It! (2007); share, number and window are Hystrix's.
//!
//! Everything is in numbers of 64 bits, so that those who share a breaker need no lock: each step is a function from one number to the next.
//! Time is in milliseconds and an argument. Invariants: of a closed breaker every request passes; at most one trial is under way; a time that
//! goes back neither opens nor closes anything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Parts of a window: what was counted is forgotten by tenths.
pub const SLICES: usize = 10;
/// How long a run of failures lasts at least: a moment in which everything fails is no reason to leave a version alone for seconds.
pub const RUN_MS: u64 = 1_000;
/// How long a trial is waited for: one without an answer by then has failed.
pub const TRIAL_MS: u64 = 30_000;
/// How long a trial may take to send its body; the next request is a trial as well then, since a client that sends slowly says nothing of
/// a version.
pub const TRIAL_BODY_MS: u64 = 5_000;

/// Most that is counted in one slice; beyond it both counts are halved, which keeps their share.
const MOST: u64 = (1 << 14) - 1;
const MOMENT: u64 = (1 << 40) - 1;
const EPOCH: u64 = (1 << 36) - 1;
/// Times in a row that are told apart: 2^14 times the shortest time is longer than the longest.
const MOST_TIMES: u8 = 15;

/// When a breaker opens, and how it closes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerRule {
    /// It opens when this part of the requests failed, in percent.
    #[schemars(extend("x-unit" = "percent"))]
    pub failures_percent: u32,
    /// Of at least so many.
    pub requests: u32,
    /// In so many milliseconds.
    pub window_ms: u64,
    /// It opens also when so many failed one after the other, over at least a second; 0 is never.
    pub consecutive: u32,
    /// How long it is open the first time, in milliseconds.
    pub open_ms: u64,
    /// How long it is open at most, in milliseconds.
    pub longest_ms: u64,
    /// Trials that go well before it closes.
    pub trials: u32,
}

impl Default for BreakerRule {
    fn default() -> Self {
        Self {
            failures_percent: 50,
            requests: 20,
            window_ms: 10_000,
            consecutive: 10,
            open_ms: 5_000,
            longest_ms: 60_000,
            trials: 3,
        }
    }
}

/// Why a rule is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BreakerError {
    /// A number is out of its bounds.
    #[error("`breaker.{0}` is from {1} to {2}")]
    Number(&'static str, u32, u32),
    /// A time is out of its bounds.
    #[error("`breaker.{0}` is from {1} ms to {2} ms")]
    Time(&'static str, u64, u64),
    /// The longest time is shorter than the first.
    #[error("`breaker.longest` is shorter than `breaker.open`")]
    Longest,
}

impl BreakerRule {
    /// Returns everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<BreakerError> {
        let numbers = [
            ("failures", self.failures_percent, 1, 100),
            ("requests", self.requests, 1, 10_000),
            ("consecutive", self.consecutive, 0, 10_000),
            ("trials", self.trials, 1, 1_000),
        ];
        let times = [
            ("window", self.window_ms, 1_000, 600_000),
            ("open", self.open_ms, 100, 3_600_000),
            ("longest", self.longest_ms, 100, 3_600_000),
        ];
        let numbers = numbers.into_iter().filter(|(_, it, least, most)| !(least..=most).contains(&it));
        let times = times.into_iter().filter(|(_, it, least, most)| !(least..=most).contains(&it));
        let longest = (self.longest_ms < self.open_ms).then_some(BreakerError::Longest);
        let numbers = numbers.map(|(name, _, least, most)| BreakerError::Number(name, least, most));
        let times = times.map(|(name, _, least, most)| BreakerError::Time(name, least, most));
        numbers.chain(times).chain(longest).collect()
    }

    /// Says it in words.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { failures_percent, requests, window_ms, consecutive, open_ms, longest_ms, trials } = self;
        let run = match consecutive {
            0 => String::new(),
            count => format!(" or {count} in a row"),
        };
        format!(
            "opens after {failures_percent} % failures of {requests} requests in {window_ms} ms{run}, for {open_ms} to {longest_ms} ms; {trials} trials close it"
        )
    }

    /// Returns the slice of the window that a time lies in.
    #[must_use]
    pub fn epoch(&self, now_ms: u64) -> u64 {
        (now_ms / (self.window_ms / SLICES as u64).max(1)) & EPOCH
    }

    /// Tells whether it opens at a failure: `counted` are the slices of the window, with the failure, and `run` those in a row.
    #[must_use]
    pub fn opens(&self, gate: Gate, counted: &[Slice; SLICES], run: Run, now_ms: u64) -> bool {
        let (requests, failures) = counted
            .iter()
            .filter(|slice| self.is_in_window(gate, **slice, now_ms))
            .fold((0, 0), |(requests, failures), slice| {
                (requests + slice.requests(), failures + slice.failures())
            });
        let share = requests >= u64::from(self.requests)
            && failures * 100 >= requests * u64::from(self.failures_percent);
        let in_a_row = self.consecutive > 0 && run.count() >= u64::from(self.consecutive);
        share || (in_a_row && now_ms.saturating_sub(run.since_ms()) >= RUN_MS)
    }

    /// What was counted before it closed the last time says nothing of what came after; whoever counts forgets it when it closes.
    fn is_in_window(&self, gate: Gate, slice: Slice, now_ms: u64) -> bool {
        let epoch = self.epoch(now_ms);
        let begins = if gate.times() == 0 { 0 } else { self.epoch(gate.at_ms()) };
        slice.epoch() <= epoch && slice.epoch() + SLICES as u64 > epoch && slice.epoch() >= begins
    }

    /// Returns how long it is open the n-th time in a row.
    fn open_for_ms(&self, times: u8) -> u64 {
        let doubled = self.open_ms.saturating_mul(1 << times.saturating_sub(1).min(MOST_TIMES));
        doubled.min(self.longest_ms)
    }
}

/// What was counted in a slice of the window: 36 bits say which, 14 how many requests, 14 how many failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slice(pub u64);

impl Slice {
    fn of(epoch: u64, requests: u64, failures: u64) -> Self {
        Self((epoch & EPOCH) << 28 | requests << 14 | failures)
    }

    fn epoch(self) -> u64 {
        self.0 >> 28
    }

    fn requests(self) -> u64 {
        self.0 >> 14 & MOST
    }

    fn failures(self) -> u64 {
        self.0 & MOST
    }

    /// Counts a request. What it holds of an earlier time is forgotten, and where it holds something of a later one nothing is counted.
    #[must_use]
    pub fn after(self, epoch: u64, failed: bool) -> Self {
        let (requests, failures) = match self.epoch().cmp(&epoch) {
            std::cmp::Ordering::Less => (0, 0),
            std::cmp::Ordering::Equal if self.requests() == MOST => {
                (self.requests() / 2, self.failures() / 2)
            }
            std::cmp::Ordering::Equal => (self.requests(), self.failures()),
            std::cmp::Ordering::Greater => return self,
        };
        Self::of(epoch, requests + 1, failures + u64::from(failed))
    }
}

impl Slice {
    /// Counts a request as failed that was counted as served, because its answer broke off.
    #[must_use]
    pub fn turned(self, epoch: u64) -> Self {
        match self.epoch() == epoch && self.failures() < self.requests() {
            true => Self(self.0 + 1),
            false => self.after(epoch, true),
        }
    }
}

/// Failures one after the other: 24 bits say how many, 40 since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Run(pub u64);

impl Run {
    fn count(self) -> u64 {
        self.0 >> 40
    }

    fn since_ms(self) -> u64 {
        self.0 & MOMENT
    }

    /// Takes in how a request ended.
    #[must_use]
    pub fn after(self, failed: bool, now_ms: u64) -> Self {
        match (failed, self.count()) {
            (false, _) => Self::default(),
            (true, 0) => Self(1 << 40 | (now_ms & MOMENT)),
            (true, count) => Self((count + 1).min((1 << 24) - 1) << 40 | self.since_ms()),
        }
    }
}

/// Whether requests pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// They do.
    Closed,
    /// None does.
    Open,
    /// One at a time does, as a trial.
    HalfOpen,
}

impl Phase {
    /// Returns its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// A breaker without what it counts: 2 bits say its phase, 4 how often in a row it opened, 10 how many trials went well, 8 which trial
/// was the last, 40 when: closed since, open until, or the last trial since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gate(pub u64);

/// What a request may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// It passes.
    Free,
    /// It passes as a trial; how it ends is to be said with this.
    Trial(Ticket),
    /// It does not pass; the next trial may be in so many milliseconds.
    Shut(u64),
}

/// Which trial a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u8);

impl Ticket {
    /// Returns its number, which comes again after 256 trials.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialEnd {
    /// Well.
    Served,
    /// Badly.
    Failed,
    /// Nobody knows: its client left, or no instance was asked.
    Unknown,
}

/// The states that the two bits say.
const CLOSED: u64 = 0;
const OPEN: u64 = 1;
const WAITING: u64 = 2;
const TRYING: u64 = 3;

impl Gate {
    const fn of(state: u64, times: u8, passed: u64, number: u8, at_ms: u64) -> Self {
        Self(state << 62 | (times as u64) << 58 | passed << 48 | (number as u64) << 40 | (at_ms & MOMENT))
    }

    const fn state(self) -> u64 {
        self.0 >> 62
    }

    fn times(self) -> u8 {
        (self.0 >> 58 & 0xf) as u8
    }

    const fn passed(self) -> u64 {
        self.0 >> 48 & 0x3ff
    }

    const fn number(self) -> u8 {
        (self.0 >> 40 & 0xff) as u8
    }

    const fn at_ms(self) -> u64 {
        self.0 & MOMENT
    }

    /// Tells whether every request passes.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        self.state() == CLOSED
    }

    /// Returns its phase. One that is open for long enough is half-open when it is asked the next time.
    #[must_use]
    pub const fn phase(self) -> Phase {
        match self.state() {
            CLOSED => Phase::Closed,
            OPEN => Phase::Open,
            _ => Phase::HalfOpen,
        }
    }

    /// Decides on a request.
    #[must_use]
    pub fn ask(self, rule: &BreakerRule, now_ms: u64) -> (Self, Passage) {
        let since = now_ms.saturating_sub(self.at_ms());
        match self.state() {
            CLOSED => (self, Passage::Free),
            OPEN if now_ms < self.at_ms() => (self, Passage::Shut(self.at_ms() - now_ms)),
            OPEN => self.tries(0, now_ms),
            WAITING => self.tries(self.passed(), now_ms),
            _ if since >= TRIAL_MS => {
                let open = self.opened(rule, now_ms);
                (open, Passage::Shut(open.at_ms().saturating_sub(now_ms)))
            }
            _ => (self, Passage::Shut(TRIAL_MS - since)),
        }
    }

    fn tries(self, passed: u64, now_ms: u64) -> (Self, Passage) {
        let number = self.number().wrapping_add(1);
        (Self::of(TRYING, self.times(), passed, number, now_ms), Passage::Trial(Ticket(number)))
    }

    /// Returns the trial that is under way for longer than any is waited for.
    #[must_use]
    pub fn overdue(self, now_ms: u64) -> Option<Ticket> {
        let is_over = now_ms.saturating_sub(self.at_ms()) >= TRIAL_MS;
        (self.state() == TRYING && is_over).then(|| Ticket(self.number()))
    }

    /// Returns the trial that is under way for longer than its body may take.
    #[must_use]
    pub fn lingers(self, now_ms: u64) -> Option<Ticket> {
        let is_long = now_ms.saturating_sub(self.at_ms()) >= TRIAL_BODY_MS;
        (self.state() == TRYING && is_long).then(|| Ticket(self.number()))
    }

    /// Takes in how a trial ended. One that was given up on, or of another time, changes nothing.
    #[must_use]
    pub fn tried(self, rule: &BreakerRule, Ticket(number): Ticket, end: TrialEnd, now_ms: u64) -> Self {
        if self.state() != TRYING || self.number() != number {
            return self;
        }
        let passed = self.passed() + u64::from(end == TrialEnd::Served);
        match end {
            TrialEnd::Failed => self.opened(rule, now_ms),
            _ if passed >= u64::from(rule.trials) => Self::of(CLOSED, self.times(), 0, number, now_ms),
            _ => Self::of(WAITING, self.times(), passed, number, now_ms),
        }
    }

    /// Opens it.
    #[must_use]
    pub fn opened(self, rule: &BreakerRule, now_ms: u64) -> Self {
        let is_forgotten = self.is_closed() && now_ms.saturating_sub(self.at_ms()) >= rule.longest_ms;
        let times = if is_forgotten { 1 } else { (self.times() + 1).min(MOST_TIMES) };
        Self::of(OPEN, times, 0, self.number(), now_ms.saturating_add(rule.open_for_ms(times)))
    }
}

#[cfg(test)]
mod tests;

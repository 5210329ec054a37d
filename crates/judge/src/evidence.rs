//! What was seen of a rollout so far: small, stored after each interval, and all that a verdict is made of.
//!
//! A server that lost it must not begin as if nothing had been: whoever looks again from the start after bad luck gets a new
//! chance to be misled each time. So evidence knows how often it was begun anew and counts for less each time; the sum
//! over all beginnings keeps to alpha.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::counts::{Counts, Interval, Pair, Reading, RouteClass, Split};
use crate::likelihood::{Hits, ln_sum_exp};
use crate::rules::{Plan, tolerated};
use crate::status::StatusClass;
use crate::tally::{Tally, Trial};
use crate::trouble;
use crate::verdict::{Beside, Measure, Scope};

/// How many intervals are "now": a minute of looks of 10 s.
const RECENT: usize = 6;
/// The part of alpha that the first beginning has; each further one has half of what is left.
const FIRST: f64 = 0.95;
/// The part of alpha that is kept for the guard "all requests fail".
pub(crate) const GUARD_PART: f64 = 0.05;
/// The part of the evidence that the total has, when route classes have the rest.
const TOTAL_PART: f64 = 0.5;
/// The part of the evidence that bodies have, where they are compared with the contract.
const BODIES_PART: f64 = 0.1;
/// The part of the rest that failures have, when latency has what is left.
const FAILURES_PART: f64 = 0.7;

/// What was seen of a rollout so far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Evidence {
    /// How often it was lost and begun anew.
    #[serde(default)]
    begun_anew: u32,
    #[serde(default)]
    pub(crate) total: Stream,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) classes: BTreeMap<RouteClass, Stream>,
    /// What is wrong with answers of the new arm that are not what its contract says, as it was found first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) wrong: BTreeMap<RouteClass, String>,
    /// How long was counted.
    #[serde(default)]
    pub(crate) counted_ms: u64,
    /// What was counted since the share of the new version grew last.
    #[serde(default)]
    pub(crate) step: Step,
    /// Intervals without counters, up to now without a break.
    #[serde(default)]
    pub(crate) missing: u32,
    /// Intervals in which every request of the new arm failed, up to now without a break.
    #[serde(default)]
    pub(crate) failing: FailingRun,
    /// The newest intervals.
    #[serde(default)]
    pub(crate) recent: VecDeque<Beside>,
    /// Intervals in which the old arm was in trouble, up to now without a break.
    #[serde(default)]
    pub(crate) trouble: u64,
    /// The logarithm of the most evidence that there ever was.
    #[serde(default)]
    highest: f64,
}

/// What was seen of the total or of a route class.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Stream {
    #[serde(default)]
    pub(crate) seen: Pair,
    #[serde(default)]
    pub(crate) failures: Tally,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) slower: BTreeMap<u64, Tally>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) changes: BTreeMap<StatusClass, Tally>,
    #[serde(default)]
    pub(crate) broken: Tally,
}

/// What was counted in one step of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Requests of the new arm.
    pub(crate) requests: u64,
    /// How long was counted.
    pub(crate) counted_ms: u64,
}

/// Consecutive intervals in which every request of the new arm failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct FailingRun {
    /// Keys that failed.
    pub(crate) keys: u64,
    /// Requests that the old arm served meanwhile.
    pub(crate) old_served: u64,
}

/// The evidence of one stream against the new arm.
#[derive(Debug, Clone)]
pub(crate) struct Suspicion<'a> {
    pub(crate) scope: Scope,
    pub(crate) measure: Measure,
    pub(crate) stream: &'a Stream,
    pub(crate) tally: &'a Tally,
    /// The logarithm of what it contributes to the evidence.
    pub(crate) ln: f64,
}

impl Evidence {
    /// Makes evidence for a server that lost it, for the so-manieth time in this rollout.
    #[must_use]
    pub fn begun_anew(times: u32) -> Self {
        Self { begun_anew: times, ..Self::default() }
    }

    /// Says that the share of the new version grew: the evidence goes on, and requests are waited for anew.
    pub fn begin_step(&mut self) {
        self.step = Step::default();
    }

    /// Notes what is wrong with an answer of the new arm that is not what its contract says, for people; the first of a class stays.
    pub fn note_wrong(&mut self, class: &RouteClass, what: &str) {
        self.wrong.entry(class.clone()).or_insert_with(|| what.to_owned());
    }

    /// Takes in what came of the next interval.
    pub fn take(&mut self, plan: &Plan, reading: &Reading) {
        let Reading::Counted(interval) = reading else {
            self.missing = self.missing.saturating_add(1);
            return;
        };
        self.missing = 0;
        self.counted_ms = self.counted_ms.saturating_add(interval.lasted_ms);
        self.step.counted_ms = self.step.counted_ms.saturating_add(interval.lasted_ms);
        self.step.requests = self.step.requests.saturating_add(interval.total.new.requests);
        self.total.take(plan, interval.split, &interval.total);
        for class in &plan.classes {
            if let Some(pair) = interval.classes.get(class) {
                self.classes.entry(class.clone()).or_default().take(plan, interval.split, pair);
            }
        }
        self.remember(plan, interval);
        if interval.total.new.has_hits() {
            // Without a hit of the new arm no factor is above 1.
            self.highest = self.highest.max(self.ln_worse(plan));
        }
    }

    fn remember(&mut self, plan: &Plan, interval: &Interval) {
        self.failing.take(plan, &interval.total);
        self.recent.push_back(Beside::failures(&plan.rules, &interval.total));
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        let in_trouble = trouble::is_above_usual(plan, &self.now());
        self.trouble = if in_trouble { self.trouble.saturating_add(1) } else { 0 };
    }

    /// Returns what the newest intervals counted together.
    pub(crate) fn now(&self) -> Beside {
        self.recent.iter().fold(Beside::default(), |sum, one| sum.plus(*one))
    }

    /// Returns the logarithm of all evidence together that the new arm is worse: an average, never a product.
    pub(crate) fn ln_worse(&self, plan: &Plan) -> f64 {
        ln_sum_exp(self.suspicions(plan).iter().map(|one| one.ln))
    }

    /// Returns how probable so much evidence is for a version that is not worse, at whatever look: an always-valid p.
    #[must_use]
    pub fn p(&self) -> f64 {
        (-self.highest).exp().min(1.0)
    }

    /// Returns what each stream contributes. A stream that nothing was seen of contributes its part times 1.
    pub(crate) fn suspicions(&self, plan: &Plan) -> Vec<Suspicion<'_>> {
        static NOTHING: Stream = Stream::EMPTY;
        let usable = usable(self.begun_anew);
        let scopes = std::iter::once((Scope::Total, &self.total)).chain(
            plan.classes
                .iter()
                .map(|class| (Scope::Class(class.clone()), self.classes.get(class).unwrap_or(&NOTHING))),
        );
        scopes.flat_map(|(scope, stream)| stream.suspicions(plan, &scope, usable)).collect()
    }
}

/// Returns which part of alpha the evidence of a beginning may use. The parts of all beginnings and the guard's add up to 1.
pub(crate) fn usable(begun_anew: u32) -> f64 {
    let part = match begun_anew {
        0 => FIRST,
        times => (1.0 - FIRST) * 0.5_f64.powi(i32::try_from(times).unwrap_or(i32::MAX).min(1_000)),
    };
    (1.0 - GUARD_PART) * part
}

/// Returns which part of the evidence a stream is: fixed before the rollout, all together 1.
pub(crate) fn part(plan: &Plan, scope: &Scope, measure: Measure) -> f64 {
    let of_scope = match scope {
        Scope::Total if plan.classes.is_empty() => 1.0,
        Scope::Total => TOTAL_PART,
        Scope::Class(_) => (1.0 - TOTAL_PART) / plan.classes.len().max(1) as f64,
    };
    let bodies = if plan.checks_bodies { BODIES_PART } else { 0.0 };
    let of_measure = match measure {
        Measure::Broken => return of_scope * bodies,
        Measure::Failures if plan.latency_bounds_ms.is_empty() => 1.0,
        Measure::Failures => FAILURES_PART,
        Measure::Slower { .. } => (1.0 - FAILURES_PART) / plan.latency_bounds_ms.len().max(1) as f64,
    };
    of_scope * (1.0 - bodies) * of_measure
}

impl Stream {
    const EMPTY: Self = Self {
        seen: Pair::EMPTY,
        failures: Tally::EMPTY,
        slower: BTreeMap::new(),
        changes: BTreeMap::new(),
        broken: Tally::EMPTY,
    };

    fn take(&mut self, plan: &Plan, split: Split, pair: &Pair) {
        let rules = &plan.rules;
        self.seen.add(pair);
        let failed = |counts: &Counts| counts.of_classes(&rules.failing).keys;
        self.failures.take(split, trial(pair, failed), tolerated(rules.tolerated));
        if plan.checks_bodies {
            self.broken.take(split, checked(pair), tolerated(rules.tolerated));
        }
        for bound in &plan.latency_bounds_ms {
            let slow = |counts: &Counts| counts.slower_than(*bound).keys;
            let tally = self.slower.entry(*bound).or_default();
            tally.take(split, trial(pair, slow), tolerated(rules.tolerated_slower));
        }
        for class in &rules.watched {
            let changed = |counts: &Counts| counts.of_classes([class]).keys;
            let tally = self.changes.entry(class.clone()).or_default();
            tally.take(split, trial(pair, changed), tolerated(rules.tolerated));
        }
    }

    fn suspicions(&self, plan: &Plan, scope: &Scope, usable: f64) -> Vec<Suspicion<'_>> {
        static NOTHING: Tally = Tally::EMPTY;
        let rules = &plan.rules;
        let failures = (Measure::Failures, &self.failures, tolerated(rules.tolerated));
        let slower = plan.latency_bounds_ms.iter().map(|&bound_ms| {
            let tally = self.slower.get(&bound_ms).unwrap_or(&NOTHING);
            (Measure::Slower { bound_ms }, tally, tolerated(rules.tolerated_slower))
        });
        let broken = (Measure::Broken, &self.broken, tolerated(rules.tolerated));
        let all = std::iter::once(failures).chain(plan.checks_bodies.then_some(broken)).chain(slower);
        let suspicion = |(measure, tally, rho): (Measure, _, f64)| {
            let ln = (usable * part(plan, scope, measure)).ln() + Tally::ln_worse(tally, rho);
            Suspicion { scope: scope.clone(), measure, stream: self, tally, ln }
        };
        all.map(suspicion).collect()
    }
}

fn trial(pair: &Pair, hits: impl Fn(&Counts) -> u64) -> Trial {
    let hits = Hits { new: hits(&pair.new), old: hits(&pair.old) };
    Trial { hits, new_requests: pair.new.requests, old_requests: pair.old.requests }
}

/// Of bodies only a sample is compared, whatever arm it is of.
fn checked(pair: &Pair) -> Trial {
    let hits = Hits { new: pair.new.broken().keys, old: pair.old.broken().keys };
    Trial { hits, new_requests: pair.new.checked, old_requests: pair.old.checked }
}

impl FailingRun {
    fn take(&mut self, plan: &Plan, pair: &Pair) {
        let failed = |counts: &Counts| counts.of_classes(&plan.rules.failing);
        let (new, old) = (failed(&pair.new), failed(&pair.old));
        if pair.new.requests == 0 {
            return;
        }
        if new.answers < pair.new.requests {
            *self = Self::default();
            return;
        }
        self.keys = self.keys.saturating_add(new.keys);
        self.old_served = self.old_served.saturating_add(pair.old.requests - old.answers);
    }
}

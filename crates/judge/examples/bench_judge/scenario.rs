//! What is simulated: traffic, the shares of failures of both versions, and incidents.

use std::collections::BTreeMap;

use lockstep_judge::{Answers, Counts, Interval, Pair, RouteClass, Split, Weight};

use crate::chance::Chance;

/// How long a look covers.
pub(crate) const LOOK_S: u64 = 10;

/// Traffic on two versions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    /// Requests a second, all together.
    pub(crate) rps: f64,
    /// The share of the new version, in percent.
    pub(crate) percent: u32,
    /// The share of requests that the old version fails.
    pub(crate) old: f64,
    /// The share of requests that the new version fails.
    pub(crate) new: f64,
    /// Whether only one route of several is hit by the difference.
    pub(crate) routes: Routes,
    /// How often answers are slower than each bound, in the new version; the old one has p50, p90, p95 and p99 there.
    pub(crate) latency: Latency,
    /// What happens to both.
    pub(crate) incident: Incident,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Routes {
    One,
    /// As many as this, all with the same traffic; the first alone has the difference.
    OneOf(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Latency {
    NotWatched,
    /// The odds of being slower than each bound are so many times the old version's.
    Odds(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Incident {
    None,
    /// After an hour both versions fail a fifth of all requests for 20 minutes.
    Shared,
}

/// The bounds of latency, and the old version's share of slower answers.
pub(crate) const SLOWER: [(u64, f64); 4] = [(50, 0.5), (100, 0.1), (250, 0.05), (500, 0.01)];

impl Scenario {
    pub(crate) const fn plain(rps: f64, percent: u32, old: f64, new: f64) -> Self {
        let (routes, latency, incident) = (Routes::One, Latency::NotWatched, Incident::None);
        Self { rps, percent, old, new, routes, latency, incident }
    }

    pub(crate) fn classes(&self) -> Vec<RouteClass> {
        match self.routes {
            Routes::One => Vec::new(),
            Routes::OneOf(count) => {
                (0..count).map(|i| format!("GET /{i}").parse().expect("a name")).collect()
            }
        }
    }

    /// What is counted in the look that begins at a second.
    pub(crate) fn look(&self, second: u64, classes: &[RouteClass], chance: &mut Chance) -> Interval {
        let all = self.rps * LOOK_S as f64;
        let weight = f64::from(self.percent) / 100.0;
        let hit = self.incident == Incident::Shared && (3_600..4_800).contains(&second);
        let share = |usual: f64| if hit { usual.max(0.2) } else { usual };
        let mut pair = |part: f64, new: f64| Pair {
            new: self.counts(all * weight * part, share(new), true, chance),
            old: self.counts(all * (1.0 - weight) * part, share(self.old), false, chance),
        };
        let split = Split::Drawn(Weight(self.percent * 100));
        let lasted_ms = LOOK_S * 1_000;
        if classes.is_empty() {
            return Interval { lasted_ms, split, total: pair(1.0, self.new), classes: BTreeMap::new() };
        }
        let part = 1.0 / classes.len() as f64;
        let mut total = Pair::default();
        let each = classes.iter().enumerate().map(|(i, class)| {
            let counted = pair(part, if i == 0 { self.new } else { self.old });
            total.add(&counted);
            (class.clone(), counted)
        });
        let classes = each.collect();
        Interval { lasted_ms, split, total, classes }
    }

    fn counts(&self, requests: f64, failing: f64, is_new: bool, chance: &mut Chance) -> Counts {
        let failures = chance.poisson(requests * failing);
        let served = chance.poisson(requests * (1.0 - failing));
        let mut counts = Counts::with_failures(failures + served, failures);
        if let Latency::Odds(odds) = self.latency {
            let odds = if is_new { odds } else { 1.0 };
            counts.slower = slower(counts.requests, odds, chance);
        }
        counts
    }
}

/// Draws how many of the requests are slower than each bound, from the lowest on.
fn slower(requests: u64, odds: f64, chance: &mut Chance) -> BTreeMap<u64, Answers> {
    let mut left = requests;
    let mut before = 1.0;
    let each = SLOWER.iter().map(|&(bound, share)| {
        let now = odds * share / (odds * share + 1.0 - share);
        left = (0..left).filter(|_| chance.unit() < now / before).count() as u64;
        before = now;
        (bound, Answers::each(left))
    });
    each.collect()
}

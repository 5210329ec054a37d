//! Before a rollout: how long which regression would stay unseen.
//!
//! Exact for steady traffic and independent keys, and without chance: hits are walked one at a time through every count
//! of the new arm that the evidence has not decided, and the time of the n-th hit is Poisson.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::evidence::{part, usable};
use crate::likelihood::{Hits, Law};
use crate::quantity::{Share, Weight};
use crate::rules::{Plan, tolerated};
use crate::tally::{alternatives, ln_mixture};
use crate::verdict::{Measure, Scope};

/// Most failures that are walked through; what needs more than this is told as "not within".
const MAX_HITS: usize = 5_000;

/// Traffic as it is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Traffic {
    /// Requests an hour, of both versions together, in total or of one route class.
    pub requests_an_hour: u64,
    /// The share of the new version.
    pub weight: Weight,
    /// The share of its requests that the old version fails.
    pub usual: Share,
    /// How long one would look at most.
    pub horizon_ms: u64,
    /// How long one look covers.
    pub look_ms: u64,
}

/// How long a regression stays unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forecast {
    /// The share of its requests that the new version would fail.
    pub new: Share,
    /// Half of such versions are found within this; `None`: not within the horizon, or never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_ms: Option<u64>,
    /// Nine of ten are found within this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_ms: Option<u64>,
}

/// The shares that are worth a forecast: twice, five and ten times what is usual, then 1, 5, 10, 50 % and everything.
#[must_use]
pub fn usual_regressions(usual: Share) -> Vec<Share> {
    let times = [2, 5, 10].map(|times| Share(usual.0.saturating_mul(times)));
    let shares = [10_000, 50_000, 100_000, 500_000, 1_000_000].map(Share);
    let mut all: Vec<_> =
        times.into_iter().chain(shares).filter(|new| *new > usual && *new <= Share::ALL).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Says how long a version that fails the share `new` of its requests in a scope would stay unseen.
#[must_use]
pub fn forecast(plan: &Plan, scope: &Scope, traffic: &Traffic, new: Share) -> Forecast {
    let never = Forecast { new, median_ms: None, most_ms: None };
    let is_material = new.0.saturating_sub(traffic.usual.0) >= plan.rules.material.0
        || plan.rules.error_budget.is_some_and(|budget| new.0 >= budget.0.saturating_mul(2));
    let Some(weight) = traffic.weight.fraction().filter(|_| is_material && new > traffic.usual) else {
        return never;
    };
    let (of_new, of_old) = (weight * new.fraction(), (1.0 - weight) * traffic.usual.fraction());
    let found = found_by_hit(plan, scope, weight, of_new / (of_new + of_old));
    let a_look = (of_new + of_old) * traffic.requests_an_hour as f64 * traffic.look_ms as f64 / 3.6e6;
    let within = |part| looks_until(&found, a_look, traffic, part).map(|looks| looks * traffic.look_ms);
    Forecast { new, median_ms: within(0.5), most_ms: within(0.9) }
}

/// For each number of hits the probability that the evidence has decided by then.
fn found_by_hit(plan: &Plan, scope: &Scope, weight: f64, is_new: f64) -> Vec<f64> {
    let rho = tolerated(plan.rules.tolerated);
    let needed = -(plan.rules.alpha() * usable(0) * part(plan, scope, Measure::Failures)).ln();
    // The probability of each count of hits in the new arm that has not decided, after as many hits as were walked.
    let mut open = vec![1.0];
    let mut found = vec![0.0];
    let mut decides_at = 0;
    for all in 1..=MAX_HITS as u64 {
        while ln_worse(weight, rho, decides_at, all) < needed && decides_at <= all {
            decides_at += 1;
        }
        let decided = step(&mut open, is_new, decides_at);
        found.push(found[found.len() - 1] + decided);
        if found[found.len() - 1] > 0.999 {
            break;
        }
    }
    found
}

/// Walks one hit on; returns how much was decided by it. `decides_at` hits of the new arm decide.
fn step(open: &mut Vec<f64>, is_new: f64, decides_at: u64) -> f64 {
    open.push(0.0);
    for k in (0..open.len()).rev() {
        let before = if k == 0 { 0.0 } else { open[k - 1] };
        open[k] = open[k] * (1.0 - is_new) + before * is_new;
    }
    let kept = open.len().min(usize::try_from(decides_at).unwrap_or(usize::MAX));
    open.drain(kept..).sum()
}

/// The evidence of `new` hits of `all`, which never falls when one more of them is the new arm's.
fn ln_worse(weight: f64, rho: f64, new: u64, all: u64) -> f64 {
    let law = Law::Weight(weight);
    let hits = Hits { new: new.min(all), old: all - new.min(all) };
    ln_mixture(&alternatives(rho).map(|theta| law.ln_ratio(hits, theta, rho)))
}

/// The fewest looks after which a part of such versions is found, when `a_look` hits are expected in each.
fn looks_until(found: &[f64], a_look: f64, traffic: &Traffic, part: f64) -> Option<u64> {
    let most = traffic.horizon_ms / traffic.look_ms.max(1);
    let is_found = |looks: u64| found_after(found, a_look * looks as f64) >= part;
    if !is_found(most) {
        return None;
    }
    let (mut low, mut high) = (0, most);
    while low + 1 < high {
        let middle = low.midpoint(high);
        if is_found(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// The probability that it is found when the number of hits is Poisson.
fn found_after(found: &[f64], mean: f64) -> f64 {
    let (mut ln_term, mut left, mut sum) = (-mean, 1.0, 0.0);
    for (n, found) in found.iter().enumerate() {
        let term = ln_term.exp();
        sum += term * found;
        left -= term;
        ln_term += mean.ln() - ((n + 1) as f64).ln();
    }
    // With more hits than were walked at least as much is found.
    sum + left.max(0.0) * found.last().copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(rps: u64, weight: u32, usual: u32) -> Traffic {
        Traffic {
            requests_an_hour: rps * 3_600,
            weight: Weight(weight),
            usual: Share(usual),
            horizon_ms: 4 * 3_600_000,
            look_ms: 10_000,
        }
    }

    fn strict() -> Plan {
        let rules = crate::rules::Rules { tolerated: crate::quantity::Times(100), ..Default::default() };
        Plan { rules, ..Plan::default() }
    }

    /// The medians that `cargo xtask bench judge` finds by simulation: 10, 90 and 320 s, and not in 4 h.
    #[test]
    fn forecasts_are_what_simulations_find() {
        let median = |traffic, new| forecast(&strict(), &Scope::Total, &traffic, Share(new)).median_ms;
        assert_eq!(median(traffic(10, 1_000, 1_000), 500_000), Some(10_000));
        assert_eq!(median(traffic(100, 500, 1_000), 10_000), Some(90_000));
        let twice = median(traffic(100, 500, 10_000), 20_000).unwrap();
        assert!((300_000..=350_000).contains(&twice), "{twice}");
        assert_eq!(median(traffic(1, 1_000, 10_000), 20_000), None);
    }

    #[test]
    fn what_is_no_regression_or_cannot_be_seen_is_never_found() {
        let of =
            |weight, usual, new| forecast(&strict(), &Scope::Total, &traffic(100, weight, usual), Share(new));
        for unseen in
            [of(500, 10_000, 10_000), of(10_000, 1_000, 500_000), of(0, 0, 500_000), of(500, 0, 500)]
        {
            assert_eq!((unseen.median_ms, unseen.most_ms), (None, None));
        }
        let idle = Traffic { requests_an_hour: 0, ..traffic(1, 500, 1_000) };
        assert_eq!(forecast(&strict(), &Scope::Total, &idle, Share::ALL).median_ms, None);
    }

    #[test]
    fn worse_versions_are_found_sooner() {
        let shares = usual_regressions(Share(2_000));
        assert_eq!(shares.first(), Some(&Share(4_000)));
        let found =
            shares.iter().map(|new| forecast(&strict(), &Scope::Total, &traffic(100, 500, 2_000), *new));
        let times: Vec<_> = found.filter_map(|it| it.median_ms.zip(it.most_ms)).collect();
        assert!(times.len() > 5 && times.is_sorted_by(|one, other| one >= other), "{times:?}");
        assert!(times.iter().all(|(median, most)| median <= most));
    }

    #[test]
    fn one_of_many_routes_is_found_with_little_more() {
        let plan =
            Plan { classes: (0..20).map(|i| format!("GET /{i}").parse().unwrap()).collect(), ..strict() };
        let scope = Scope::Class("GET /3".parse().unwrap());
        let of =
            |plan, scope| forecast(plan, scope, &traffic(5, 500, 1_000), Share(500_000)).median_ms.unwrap();
        let (alone, among) = (of(&strict(), &Scope::Total), of(&plan, &scope));
        assert!(among > alone && among <= 2 * alone, "{alone} {among}");
    }
}

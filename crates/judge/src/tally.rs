//! The evidence of one stream of hits: is the new arm worse, and is it surely not much worse.
//!
//! Invariant: for every interval the factor that is taken in has an expectation of at most 1 under the hypothesis that it
//! speaks against, given all that was before. So the product is an e-process, valid at every look (Ville).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::counts::Split;
use crate::likelihood::{Hits, Law, ln_sum_exp};
use crate::quantity::Weight;

/// How many alternatives are mixed: enough that none between them is missed by more than a factor of 1.4.
pub(crate) const ALTERNATIVES: usize = 12;
/// The alternatives reach from this multiple of what is tolerated to [`FAR`].
const NEAR: f64 = 1.3;
/// See [`NEAR`]; beyond it everything is found with a handful of failures anyway.
const FAR: f64 = 40.0;
/// What could have been missed is one of these: the new arm's odds are surely less than this multiple of the old one's.
pub(crate) const BOUNDS: [f64; 16] =
    [1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 200.0, 500.0];
/// The bound below which a version counts as not worse.
pub(crate) const MARGIN: usize = 2;

/// What was seen of one stream. Integers where the weight is known, so that neither order nor restarts change a bit of it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Hits in the new and the old arm, by the weight that they were drawn with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    drawn: BTreeMap<Weight, (u64, u64)>,
    /// Sums over the intervals of which only counters are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted: Option<Sums>,
}

/// Sums of logarithms of likelihood ratios.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct Sums {
    /// Each alternative against what is tolerated.
    worse: [f64; ALTERNATIVES],
    /// "As good as the old" against each of [`BOUNDS`].
    better: [f64; BOUNDS.len()],
    /// Hits in all of them.
    hits: u64,
}

/// One interval of one stream: hits and requests of both arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trial {
    pub(crate) hits: Hits,
    pub(crate) new_requests: u64,
    pub(crate) old_requests: u64,
}

impl Tally {
    pub(crate) const EMPTY: Self = Self { drawn: BTreeMap::new(), counted: None };

    /// Takes in an interval. `rho` is how many times the old arm's odds are tolerated; it is the same for the whole rollout.
    pub(crate) fn take(&mut self, split: Split, trial: Trial, rho: f64) {
        match split {
            Split::Changed => {}
            Split::Drawn(weight) if weight.fraction().is_none() => {}
            Split::Drawn(weight) => {
                let (new, old) = self.drawn.entry(weight).or_default();
                *new = new.saturating_add(trial.hits.new);
                *old = old.saturating_add(trial.hits.old);
            }
            Split::Counted => self.take_counted(trial, rho),
        }
    }

    fn take_counted(&mut self, trial: Trial, rho: f64) {
        let Some(law) = Law::of_requests(trial.new_requests, trial.old_requests, trial.hits) else { return };
        let sums = self.counted.get_or_insert_default();
        for (sum, theta) in sums.worse.iter_mut().zip(alternatives(rho)) {
            *sum += law.ln_ratio(trial.hits, theta, rho);
        }
        sums.hits = sums.hits.saturating_add(trial.hits.new).saturating_add(trial.hits.old);
        if !matches!(law, Law::Rough(_)) {
            for (sum, bound) in sums.better.iter_mut().zip(BOUNDS) {
                *sum += law.ln_ratio(trial.hits, 1.0, bound);
            }
        }
    }

    /// Returns the logarithm of the evidence that the new arm's odds are more than `rho` times the old one's.
    pub(crate) fn ln_worse(&self, rho: f64) -> f64 {
        ln_mixture(&self.ln_each_worse(rho))
    }

    /// Returns how much the logarithm of the evidence grows with each further hit, if it goes on as it went.
    pub(crate) fn ln_worse_a_hit(&self, rho: f64) -> Option<f64> {
        let best = self.ln_each_worse(rho).into_iter().fold(f64::NEG_INFINITY, f64::max);
        let hits = self.hits();
        (hits > 0 && best > 0.0).then(|| best / hits as f64)
    }

    fn ln_each_worse(&self, rho: f64) -> [f64; ALTERNATIVES] {
        let mut sums = self.counted.as_ref().map_or([0.0; ALTERNATIVES], |sums| sums.worse);
        for (law, hits) in self.laws() {
            for (sum, theta) in sums.iter_mut().zip(alternatives(rho)) {
                *sum += law.ln_ratio(hits, theta, rho);
            }
        }
        sums
    }

    /// Returns the logarithm of the evidence that the new arm's odds are less than a bound.
    pub(crate) fn ln_better(&self, bound: usize) -> f64 {
        let counted = self.counted.as_ref().map_or(0.0, |sums| sums.better[bound]);
        counted + self.laws().map(|(law, hits)| law.ln_ratio(hits, 1.0, BOUNDS[bound])).sum::<f64>()
    }

    /// Returns how much that evidence grows with each hit of either arm, if both hit alike, by the weight
    /// that most was drawn with; `None` where none is known.
    pub(crate) fn ln_better_a_hit(&self) -> Option<f64> {
        let (law, _) = self.laws().max_by_key(|(_, hits)| hits.new.saturating_add(hits.old))?;
        let Law::Weight(weight) = law else { return None };
        let of = |new, old| law.ln_ratio(Hits { new, old }, 1.0, BOUNDS[MARGIN]);
        Some(weight * of(1, 0) + (1.0 - weight) * of(0, 1))
    }

    /// Returns the lowest of [`BOUNDS`] that the new arm's odds are below, with an error of at most `beta` over all looks.
    pub(crate) fn surely_below(&self, beta: f64) -> Option<f64> {
        let sure = |bound: &usize| self.ln_better(*bound) >= -beta.ln();
        let lowest = (0..BOUNDS.len()).rev().take_while(sure).last()?;
        Some(BOUNDS[lowest])
    }

    /// Returns all hits that are evidence.
    pub(crate) fn hits(&self) -> u64 {
        let drawn =
            self.drawn.values().fold(0_u64, |sum, (new, old)| sum.saturating_add(*new).saturating_add(*old));
        drawn.saturating_add(self.counted.as_ref().map_or(0, |sums| sums.hits))
    }

    fn laws(&self) -> impl Iterator<Item = (Law, Hits)> + '_ {
        self.drawn.iter().filter_map(|(weight, (new, old))| {
            Some((Law::Weight(weight.fraction()?), Hits { new: *new, old: *old }))
        })
    }
}

/// Averages over the alternatives. The nearest counts three times as much as the farthest: it is the one that takes long,
/// while the farthest needs a few failures anyway.
pub(crate) fn ln_mixture(sums: &[f64; ALTERNATIVES]) -> f64 {
    let last = (ALTERNATIVES - 1) as f64;
    let part = |k: usize| (1.5 - k as f64 / last) / ALTERNATIVES as f64;
    ln_sum_exp(sums.iter().enumerate().map(|(k, sum)| sum + part(k).ln()))
}

/// Returns the alternatives to "at most `rho` times the odds", spaced evenly by their logarithms.
pub(crate) fn alternatives(rho: f64) -> [f64; ALTERNATIVES] {
    let step = (FAR / NEAR).ln() / (ALTERNATIVES - 1) as f64;
    let mut each = 0.0;
    [(); ALTERNATIVES].map(|()| {
        let theta = rho * NEAR * (step * each).exp();
        each += 1.0;
        theta
    })
}

#[cfg(test)]
mod tests;

//! How hits (failures, slow answers) fall on the two arms when the new arm's odds of a hit are `theta` times the old one's.
//!
//! Two laws, one form: the probability of `k` hits in the new arm is proportional to `c(k) theta^k`, and only the logarithm of
//! what it has to be divided by differs. With a known weight `c` is binomial; with counters alone it is that of Fisher's
//! noncentral hypergeometric distribution, given the requests of both arms and all hits. A ratio of two such
//! probabilities grows with `k` when the upper theta is the greater, so its expectation under every smaller theta is at
//! most that under the lower one, which is 1. That is all that makes the evidence valid.

/// Most terms of a hypergeometric sum; more hits in one interval than this need no exact law.
const MAX_TERMS: u64 = 5_000;

/// How the hits of an interval fall on the arms.
#[derive(Debug, Clone)]
pub(crate) enum Law {
    /// The gateway drew each key's arm with this probability of the new one.
    Weight(f64),
    /// Only the requests of both arms are known.
    Table(Table),
    /// As a table, with so many hits that a binomial law stands in: it exaggerates how far hits may spread towards the new
    /// arm, so it is valid against "not worse" only.
    Rough(f64),
}

/// The terms of a noncentral hypergeometric law, without their common factor.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The fewest hits that the new arm can have.
    lowest: u64,
    /// Logarithms of `C(n_new, k) C(n_old, hits - k)` from the lowest `k` on, relative to the first.
    ln_terms: Vec<f64>,
}

/// Hits in both arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hits {
    pub(crate) new: u64,
    pub(crate) old: u64,
}

impl Law {
    /// Returns the law given the requests of both arms, of which at least as many exist as hits; `None` when an arm is empty.
    pub(crate) fn of_requests(new: u64, old: u64, hits: Hits) -> Option<Self> {
        let all = hits.new.saturating_add(hits.old);
        if new == 0 || old == 0 || all == 0 {
            return None;
        }
        let lowest = all.saturating_sub(old);
        let highest = all.min(new);
        if highest - lowest >= MAX_TERMS {
            return Some(Self::Rough(new as f64 / (new as f64 + old as f64)));
        }
        Some(Self::Table(Table { lowest, ln_terms: ln_terms(new, old, all, lowest, highest) }))
    }

    /// Returns the logarithm of how much more probable these hits are under `theta` than under `other`.
    pub(crate) fn ln_ratio(&self, hits: Hits, theta: f64, other: f64) -> f64 {
        let all = hits.new as f64 + hits.old as f64;
        let (new, normalisers) = match self {
            Self::Weight(weight) | Self::Rough(weight) => {
                let each = |theta: f64| (weight * (theta - 1.0)).ln_1p();
                (hits.new as f64, all * (each(theta) - each(other)))
            }
            Self::Table(table) => {
                let new = hits.new.saturating_sub(table.lowest) as f64;
                (new, table.ln_normaliser(theta.ln()) - table.ln_normaliser(other.ln()))
            }
        };
        new * (theta / other).ln() - normalisers
    }
}

impl Table {
    fn ln_normaliser(&self, ln_theta: f64) -> f64 {
        ln_sum_exp((0..).zip(&self.ln_terms).map(|(k, term)| term + f64::from(k) * ln_theta))
    }
}

/// Each term follows from the one before, so that no factorial is needed.
fn ln_terms(new: u64, old: u64, all: u64, lowest: u64, highest: u64) -> Vec<f64> {
    let mut sum = 0.0;
    let rest = (lowest..highest).map(|k| {
        let (up, down) = ((new - k) as f64 * (all - k) as f64, (k + 1) as f64);
        sum += (up / down / (old - (all - k) + 1) as f64).ln();
        sum
    });
    std::iter::once(0.0).chain(rest).collect()
}

/// Returns `ln(sum(exp(x)))` without overflow; of nothing it is minus infinity.
pub(crate) fn ln_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + values.map(|value| (value - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests;

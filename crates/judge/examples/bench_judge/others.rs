//! The rules of others, in our words, on the same traffic.
//!
//! Flagger (default of its documentation): each minute the new version must answer at least 99 % of its requests; five
//! such checks that fail take it back. Minutes without requests are left out here.
//! Kayenta (its judge with its defaults: confidence 98 %, tolerance 0.25): a Mann-Whitney test of the shares of failures by
//! minute, all minutes so far, looked at every ten minutes; "high" when the lower bound of the shift is above a quarter of
//! the estimated shift.

/// Which part of the requests may fail before a check fails.
const FLAGGER_SHARE: f64 = 0.01;
/// So many checks that fail take a version back.
const FLAGGER_CHECKS: u32 = 5;
/// Looks of Kayenta, in minutes.
const KAYENTA_EVERY: usize = 10;
/// The quantile of the normal law for a two-sided confidence of 98 %.
const KAYENTA_QUANTILE: f64 = 2.326_347_874_040_84;
/// The part of the estimated shift that is tolerated.
const KAYENTA_TOLERANCE: f64 = 0.25;

/// What both rules saw so far.
#[derive(Debug, Default)]
pub(crate) struct Others {
    minute: [(u64, u64); 2],
    shares: [Vec<f64>; 2],
    failed_checks: u32,
    pub(crate) flagger: Option<u64>,
    pub(crate) kayenta: Option<u64>,
}

impl Others {
    /// Takes in a look that ended at a second: requests and failures of the new and the old version.
    pub(crate) fn take(&mut self, second: u64, new: (u64, u64), old: (u64, u64)) {
        for (sum, more) in self.minute.iter_mut().zip([new, old]) {
            *sum = (sum.0 + more.0, sum.1 + more.1);
        }
        if second.is_multiple_of(60) {
            self.check(second);
            self.minute = Default::default();
        }
    }

    fn check(&mut self, second: u64) {
        let share = |(requests, failures): (u64, u64)| failures as f64 / requests as f64;
        let [new, old] = self.minute;
        if new.0 > 0 && share(new) > FLAGGER_SHARE {
            self.failed_checks += 1;
        }
        if self.flagger.is_none() && self.failed_checks >= FLAGGER_CHECKS {
            self.flagger = Some(second);
        }
        if new.0 > 0 && old.0 > 0 {
            self.shares[0].push(share(new));
            self.shares[1].push(share(old));
        }
        let is_look = self.shares[0].len().is_multiple_of(KAYENTA_EVERY) && !self.shares[0].is_empty();
        if self.kayenta.is_none() && is_look && is_high(&self.shares[0], &self.shares[1]) {
            self.kayenta = Some(second);
        }
    }
}

fn is_high(new: &[f64], old: &[f64]) -> bool {
    let mut shifts: Vec<f64> = new.iter().flat_map(|x| old.iter().map(move |y| x - y)).collect();
    let middle = shifts.len() / 2;
    let estimate = *shifts.select_nth_unstable_by(middle, f64::total_cmp).1;
    // The lower bound is above the tolerated shift exactly when the test still says "greater" after that shift is taken off.
    let tolerated = KAYENTA_TOLERANCE * estimate.abs();
    z(&new.iter().map(|x| x - tolerated).collect::<Vec<_>>(), old) > KAYENTA_QUANTILE
}

/// The normal statistic of Mann and Whitney, corrected for ties and continuity.
fn z(new: &[f64], old: &[f64]) -> f64 {
    let (n, m) = (new.len() as f64, old.len() as f64);
    let mut all: Vec<(f64, bool)> =
        new.iter().map(|x| (*x, true)).chain(old.iter().map(|y| (*y, false))).collect();
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut ranks, mut ties, mut before) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|one, other| one.0 == other.0) {
        let size = group.len() as f64;
        let rank = before + f64::midpoint(size, 1.0);
        ranks += rank * group.iter().filter(|(_, is_new)| *is_new).count() as f64;
        ties += size * size * size - size;
        before += size;
    }
    let u = ranks - n * (n + 1.0) / 2.0 - n * m / 2.0;
    let variance = n * m / 12.0 * (n + m + 1.0 - ties / ((n + m) * (n + m - 1.0)));
    if variance <= 0.0 { 0.0 } else { (u - 0.5 * u.signum()) / variance.sqrt() }
}

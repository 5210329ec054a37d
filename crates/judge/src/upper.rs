//! The share of failures that an arm surely stays below, at every look.

use crate::quantity::Share;

/// The shares that are betted on, as parts of the share that is to be refuted.
const PARTS: [f64; 6] = [0.001, 0.05, 0.15, 0.35, 0.6, 0.85];
/// Halvings of the range from 0 to 1: beyond the millionths that are shown.
const HALVINGS: u32 = 30;

/// Returns the lowest share that is refuted with an error of at most `beta` over all looks.
///
/// For each share there is an e-process against "at least this share": a mixture of bets on smaller ones.
pub(crate) fn upper_share(failures: u64, requests: u64, beta: f64) -> Share {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if is_refuted(middle, failures, requests, beta) { high = middle } else { low = middle }
    }
    Share((high * 1e6).ceil() as u32)
}

fn is_refuted(share: f64, failures: u64, requests: u64, beta: f64) -> bool {
    let (failed, served) = (failures as f64, requests.saturating_sub(failures) as f64);
    if failed >= share * requests as f64 {
        return false;
    }
    let bet = |part: &f64| failed * part.ln() + served * ((-share * part).ln_1p() - (-share).ln_1p());
    let ln = crate::likelihood::ln_sum_exp(PARTS.iter().map(bet)) - (PARTS.len() as f64).ln();
    ln >= -beta.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_falls_with_requests_and_rises_with_failures() {
        assert_eq!(upper_share(0, 0, 0.05), Share::ALL);
        let bounds = [(0, 100), (0, 1_000), (5, 1_000), (50, 1_000), (1_000, 1_000)];
        let shares = bounds.map(|(failures, requests)| upper_share(failures, requests, 0.05).fraction());
        assert!(shares[0] < 0.06 && shares[1] < 0.006, "{shares:?}");
        assert!(shares[1] < shares[2] && shares[2] < shares[3] && shares[3] < shares[4], "{shares:?}");
        assert!(shares[2] > 0.005 && shares[2] < 0.03 && shares[3] < 0.1, "{shares:?}");
        assert!(upper_share(3, u64::MAX, 0.05).0 <= 1);
    }

    /// Every way in which 12 requests can go, looked at after each: the true share is left out no more often than it may.
    #[test]
    fn the_true_share_is_above_the_bound_at_any_look_no_more_often_than_allowed() {
        for (share, beta) in [(0.1_f64, 0.3), (0.3, 0.3), (0.5, 0.1), (0.9, 0.05)] {
            let missed = (0..1_u32 << 12).filter(|way| {
                (1..=12).any(|n| is_refuted(share, u64::from((way & ((1 << n) - 1)).count_ones()), n, beta))
            });
            let p = |way: u32| {
                let failed = way.count_ones() as i32;
                share.powi(failed) * (1.0 - share).powi(12 - failed)
            };
            let missed: f64 = missed.map(p).sum();
            assert!(missed <= beta, "{share} {beta}: {missed}");
        }
    }
}

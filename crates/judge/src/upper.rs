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

//! Shares out of weights, for configurations of other proxies that are taken over.

use lockstep_domain::routes::FULL_WEIGHT;

/// Returns shares in hundredths of a percent that add up to all, by the largest remainder.
pub(crate) fn shares(weights: &[u32]) -> Vec<String> {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum::<u64>().max(1);
    let full = u64::from(FULL_WEIGHT);
    let part = |weight: &u32| {
        let scaled = u64::from(*weight) * full;
        (scaled / total, scaled % total)
    };
    let mut parts: Vec<(u64, u64)> = weights.iter().map(part).collect();
    let mut missing = full - parts.iter().map(|(part, _)| part).sum::<u64>();
    let mut by_rest: Vec<usize> = (0..parts.len()).collect();
    by_rest.sort_by_key(|at| std::cmp::Reverse(parts[*at].1));
    for at in by_rest {
        if missing > 0 && parts[at].1 > 0 {
            parts[at].0 += 1;
            missing -= 1;
        }
    }
    parts.iter().map(|(part, _)| format!("{}.{:02}%", part / 100, part % 100)).collect()
}

//! Random numbers for balancing, trace ids and the keys of requests without one. Not for secrets.
//!
//! SplitMix64: a counter and a mixer, so that one atomic addition is all that a draw shares.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random numbers, one for each worker.
#[derive(Debug)]
pub(crate) struct Random(AtomicU64);

impl Random {
    /// Makes a source that begins where no other does, seeded by the standard library's random keys.
    pub(crate) fn new(worker: usize) -> Self {
        Self(AtomicU64::new(RandomState::new().hash_one(worker)))
    }

    /// Makes a source that always draws the same.
    #[cfg(test)]
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// Draws 64 random bits.
    pub(crate) fn draw(&self) -> u64 {
        let mut bits = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// Draws a number below `bound`, which must not be 0.
    pub(crate) fn below(&self, bound: usize) -> usize {
        let wide = u128::from(self.draw()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_below_the_bound_and_reach_every_value() {
        let random = Random::new(0);
        let mut seen = [0_u32; 3];
        for _ in 0..3_000 {
            seen[random.below(3)] += 1;
        }
        assert!(seen.iter().all(|&n| n > 800), "{seen:?}");
    }
}

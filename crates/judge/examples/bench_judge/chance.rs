//! Seeded chance, and exact bounds on what was counted by it.

/// SplitMix64: every seed is a stream of its own.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6a09_e667_f3bc_c909);
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to 1, both left out.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// How many events come when so many are expected; by a normal law from 60 on, where nobody can tell.
    pub(crate) fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 60.0 {
            return self.normal().mul_add(mean.sqrt(), mean).round().max(0.0) as u64;
        }
        let mut term = (-mean).exp();
        let (mut sum, mut count, point) = (term, 0, self.unit());
        while sum < point && count < 1_000 {
            count += 1;
            term *= mean / count as f64;
            sum += term;
        }
        count
    }
}

/// The exact 99 % bounds of Clopper and Pearson on a share.
pub(crate) fn bounds(hits: u64, of: u64) -> (f64, f64) {
    const TAIL: f64 = 0.005;
    let solve = |is_low: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if is_low(middle) { low = middle } else { high = middle }
        }
        high
    };
    let lower = if hits == 0 { 0.0 } else { solve(&|p| 1.0 - at_most(hits - 1, of, p) < TAIL) };
    let upper = if hits == of { 1.0 } else { solve(&|p| at_most(hits, of, p) > TAIL) };
    (lower, upper)
}

/// The probability of at most `hits` of `of`, each with probability `p`.
fn at_most(hits: u64, of: u64, p: f64) -> f64 {
    let (mut ln_term, mut sum) = (of as f64 * (-p).ln_1p(), 0.0);
    for k in 0..=hits {
        sum += ln_term.exp();
        ln_term += ((of - k) as f64 / (k + 1) as f64).ln() + p.ln() - (-p).ln_1p();
    }
    sum
}

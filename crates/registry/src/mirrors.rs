//! What was found by copies of requests, summed over gateways that come and go.

use std::collections::BTreeMap;

use lockstep_domain::mirror::{MirrorCounts, Mirrored};

/// Runs of gateways whose findings are kept apart: far more than there are at a time.
const MAX_RUNS: usize = 1_000;
/// Mirrors that are taken of one receipt: a gateway tells of those of its table and some of before.
const MAX_MIRRORS: usize = 256;

type Found = BTreeMap<u64, MirrorCounts>;

/// Sums what gateways found. What one found before it went stays.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    of_runs: BTreeMap<String, Found>,
    of_former_runs: Found,
}

impl Mirrors {
    /// Takes in what a run of a gateway says.
    pub(crate) fn receive(&mut self, run: &str, mirrored: &[Mirrored]) {
        if mirrored.is_empty() {
            return;
        }
        if !self.of_runs.contains_key(run)
            && self.of_runs.len() >= MAX_RUNS
            && let Some((_, found)) = self.of_runs.pop_first()
        {
            found.into_iter().for_each(|(id, more)| self.of_former_runs.entry(id).or_default().add(&more));
        }
        let known = self.of_runs.entry(run.to_owned()).or_default();
        for one in mirrored.iter().take(MAX_MIRRORS) {
            if known.contains_key(&one.id) || known.len() < MAX_MIRRORS {
                known.insert(one.id, one.counts.clone());
            }
        }
    }

    /// Returns what was found by a mirror.
    pub(crate) fn of(&self, id: u64) -> MirrorCounts {
        let mut sum = MirrorCounts::default();
        let runs = self.of_runs.values().chain([&self.of_former_runs]);
        runs.filter_map(|found| found.get(&id)).for_each(|found| sum.add(found));
        sum
    }
}

/// Takes what a gateway says of its mirrors, as far as it can be.
pub(crate) fn believed(mirrored: &[Mirrored]) -> Vec<Mirrored> {
    let bounded = |one: &Mirrored| Mirrored { id: one.id, counts: one.counts.clone().bounded() };
    mirrored.iter().take(MAX_MIRRORS).map(bounded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(id: u64, same: u64) -> Mirrored {
        Mirrored { id, counts: MirrorCounts { same, ..MirrorCounts::default() } }
    }

    #[test]
    fn each_run_counts_from_the_beginning_and_nothing_is_lost() {
        let mut mirrors = Mirrors::default();
        mirrors.receive("a", &[found(7, 3), found(8, 1)]);
        mirrors.receive("a", &[found(7, 5)]);
        mirrors.receive("b", &[found(7, 2)]);
        mirrors.receive("b", &[]);
        assert_eq!((mirrors.of(7).same, mirrors.of(8).same, mirrors.of(9).same), (7, 1, 0));
        (0..MAX_RUNS).for_each(|run| mirrors.receive(&format!("c{run}"), &[found(7, 1)]));
        assert_eq!(mirrors.of(7).same, 7 + MAX_RUNS as u64);
        assert!(mirrors.of_runs.len() <= MAX_RUNS);
    }
}

//! How long answers took to begin, summed over the gateways that were heard of last.

use std::collections::BTreeMap;

use lockstep_domain::Arm;
use lockstep_domain::routes::GatewayReceipt;
use lockstep_domain::watch::LATENCY_CLASSES;

/// Runs of gateways that are kept; those that began first are forgotten first, as far as their names tell.
const MAX_RUNS: usize = 1_000;

/// How long answers took to begin.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    runs: BTreeMap<String, Vec<(Arm, Vec<u64>)>>,
}

impl Latencies {
    /// Takes in what one run of a gateway counted.
    pub(crate) fn receive(&mut self, receipt: &GatewayReceipt) {
        if !self.runs.contains_key(&receipt.gateway) && self.runs.len() >= MAX_RUNS {
            self.runs.pop_first();
        }
        self.runs.insert(receipt.gateway.clone(), receipt.latencies.clone());
    }

    /// Returns how many answers of an arm took how long, by the classes of `watch::latency_bound_ms`.
    pub(crate) fn of(&self, arm: &Arm) -> [u64; LATENCY_CLASSES] {
        let mut sums = [0_u64; LATENCY_CLASSES];
        for (_, counts) in self.runs.values().flatten().filter(|(known, _)| known == arm) {
            sums.iter_mut().zip(counts).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
        }
        sums
    }
}

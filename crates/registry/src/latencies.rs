//! How long answers took to begin, summed over gateways.

use std::collections::BTreeMap;

use lockstep_domain::Arm;
use lockstep_domain::routes::GatewayReceipt;
use lockstep_domain::watch::LATENCY_CLASSES;

/// Runs of gateways that are kept; those that began first are forgotten first, as far as their names tell.
const MAX_RUNS: usize = 1_000;
/// Arms of which it is kept what was counted; more than run at a time.
const MAX_ARMS: usize = 4_096;

/// Answers by how long they took to begin, by the classes of `watch::latency_bound_ms`.
pub type LatencyCounts = [u64; LATENCY_CLASSES];

/// How long answers took to begin.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    runs: BTreeMap<String, Vec<(Arm, Vec<u64>)>>,
    /// What came while this server listened: nothing that a gateway had counted when it was first heard of.
    counted: BTreeMap<Arm, LatencyCounts>,
}

impl Latencies {
    /// Takes in what one run of a gateway counted.
    pub(crate) fn receive(&mut self, receipt: &GatewayReceipt) {
        if !self.runs.contains_key(&receipt.gateway) && self.runs.len() >= MAX_RUNS {
            self.runs.pop_first();
        }
        let before = self.runs.insert(receipt.gateway.clone(), receipt.latencies.clone());
        let Some(before) = before else { return };
        let before: BTreeMap<_, _> = before.iter().map(|(arm, counts)| (arm, counts)).collect();
        for (arm, counts) in &receipt.latencies {
            self.count(arm, counts, before.get(arm).copied());
        }
    }

    fn count(&mut self, arm: &Arm, counts: &[u64], earlier: Option<&Vec<u64>>) {
        if !self.counted.contains_key(arm) && self.counted.len() >= MAX_ARMS {
            self.counted.pop_first();
        }
        let sums = self.counted.entry(arm.clone()).or_default();
        for (at, (sum, count)) in sums.iter_mut().zip(counts).enumerate() {
            let before = earlier.and_then(|counts| counts.get(at)).copied().unwrap_or_default();
            *sum = sum.saturating_add(count.saturating_sub(before));
        }
    }

    /// Returns how many answers of an arm took how long.
    pub(crate) fn of(&self, arm: &Arm) -> LatencyCounts {
        let mut sums = [0_u64; LATENCY_CLASSES];
        for (_, counts) in self.runs.values().flatten().filter(|(known, _)| known == arm) {
            sums.iter_mut().zip(counts).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
        }
        sums
    }

    /// Returns how many answers of each arm took how long that came while this server listened.
    pub(crate) fn counted(&self) -> BTreeMap<Arm, LatencyCounts> {
        self.counted.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(run: &str, counts: [u64; 3]) -> GatewayReceipt {
        let arm = serde_json::json!({ "service": "orders", "version": "1.0.0", "config": 0 });
        let said = serde_json::json!({
            "gateway": run, "environment": "production", "revision": 1, "latencies": [[arm, counts]],
            "in_flight": {}, "traffic": [],
        });
        serde_json::from_value(said).unwrap()
    }

    #[test]
    fn what_a_gateway_had_counted_before_it_was_heard_of_is_of_no_present_time() {
        let mut latencies = Latencies::default();
        latencies.receive(&receipt("a", [1_000, 0, 500]));
        assert!(latencies.counted().is_empty());
        latencies.receive(&receipt("a", [1_002, 0, 501]));
        latencies.receive(&receipt("b", [7, 7, 7]));
        latencies.receive(&receipt("b", [7, 8, 7]));
        let counted = latencies.counted();
        assert_eq!(counted.values().next().unwrap()[..4], [2, 1, 1, 0]);
        let arm = counted.keys().next().unwrap();
        assert_eq!(latencies.of(arm)[..3], [1_009, 8, 508], "and all of it is what an arm usually takes");
    }
}

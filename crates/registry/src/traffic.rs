//! Counters of requests by arm, summed over gateways that come and go.

use std::collections::BTreeMap;

use lockstep_domain::Arm;
use lockstep_domain::routes::{ArmTraffic, GatewayReceipt};

/// Runs of gateways whose counters are kept apart: far more than there are at a time.
const MAX_COUNTED: usize = 4_000;

/// Requests by arm.
pub type Totals = BTreeMap<Arm, ArmTraffic>;

/// Sums what gateways count. What a gateway counted before it went stays counted.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    of_gateways: BTreeMap<String, Totals>,
    of_former_gateways: Totals,
}

impl Traffic {
    /// Takes in a receipt; each run of a gateway counts from 0 under an id of its own. Returns what a gateway that is
    /// new here had counted before anybody saw it.
    pub(crate) fn receive(&mut self, receipt: &GatewayReceipt) -> Totals {
        let is_new = !self.of_gateways.contains_key(&receipt.gateway);
        if is_new
            && self.of_gateways.len() >= MAX_COUNTED
            && let Some(any) = self.of_gateways.keys().next().cloned()
        {
            self.fold(&any);
        }
        let counted: Totals = receipt.traffic.iter().cloned().collect();
        self.of_gateways.insert(receipt.gateway.clone(), counted.clone());
        if is_new { counted } else { Totals::new() }
    }

    /// Forgets a gateway, not what it counted.
    fn fold(&mut self, gateway: &str) {
        for (arm, traffic) in self.of_gateways.remove(gateway).unwrap_or_default() {
            add(&mut self.of_former_gateways, &arm, traffic);
        }
    }

    /// Returns the sums.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = self.of_former_gateways.clone();
        for (arm, traffic) in self.of_gateways.values().flatten() {
            add(&mut totals, arm, *traffic);
        }
        totals
    }
}

/// Adds to sums.
pub(crate) fn add(totals: &mut Totals, arm: &Arm, traffic: ArmTraffic) {
    let sum = totals.entry(arm.clone()).or_default();
    sum.requests = sum.requests.saturating_add(traffic.requests);
    sum.failures = sum.failures.saturating_add(traffic.failures);
}

/// Returns what was counted since an earlier moment.
pub(crate) fn since(totals: Totals, earlier: &Totals) -> Totals {
    totals
        .into_iter()
        .map(|(arm, traffic)| {
            let before = earlier.get(&arm).copied().unwrap_or_default();
            let requests = traffic.requests.saturating_sub(before.requests);
            let failures = traffic.failures.saturating_sub(before.failures);
            (arm, ArmTraffic { requests, failures })
        })
        .collect()
}

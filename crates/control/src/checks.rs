//! What gateways found by the checks that they make by themselves.

use lockstep_api::Problem;
use lockstep_api::types::{CheckAt, CheckView};
use lockstep_domain::check::{CheckSeen, TableCheck};
use lockstep_domain::{EnvironmentName, Timestamp};
use lockstep_registry::GatewaySeen;

use crate::Control;
use crate::environments::find;

/// How much later than it should have run a check may have run, in milliseconds: receipts come after it.
const LATE_MS: u64 = 10_000;

impl Control {
    /// Returns the checks of an environment.
    ///
    /// # Errors
    /// When there is no such environment.
    pub fn checks(&self, name: &EnvironmentName) -> Result<Vec<CheckView>, Problem> {
        find(&self.ledger.world(), name)?;
        Ok(self.checks_of(name))
    }

    /// Returns the checks of the newest table, with what each gateway says of them.
    pub(crate) fn checks_of(&self, name: &EnvironmentName) -> Vec<CheckView> {
        let tables = self.registry.tables(name);
        let checks = tables.borrow().as_ref().map(|table| table.checks.clone()).unwrap_or_default();
        if checks.is_empty() {
            return Vec::new();
        }
        let now = self.ledger.now();
        let gateways = self.registry.gateways(name, now);
        checks.into_iter().map(|check| view(check, &gateways, now)).collect()
    }
}

fn view(TableCheck { service, check }: TableCheck, gateways: &[GatewaySeen], now: Timestamp) -> CheckView {
    let of_gateway = |gateway: &GatewaySeen| {
        let is_it = |seen: &&CheckSeen| {
            (&seen.service, &seen.name, &seen.request) == (&service, &check.name, &check.request)
        };
        let seen = gateway.checks.iter().find(is_it)?;
        Some(at(gateway, seen, now))
    };
    let gateways = gateways.iter().filter_map(of_gateway).collect();
    CheckView { service, check, gateways }
}

fn at(gateway: &GatewaySeen, seen: &CheckSeen, now: Timestamp) -> CheckAt {
    let mut last = seen.last.clone();
    if let Some(last) = &mut last {
        last.ago_ms = last.ago_ms.saturating_add(now.since_ms(gateway.seen));
    }
    let due_ms = seen.every_ms.saturating_add(seen.within_ms).saturating_add(LATE_MS);
    CheckAt {
        gateway: gateway.gateway.clone(),
        is_stale: last.as_ref().is_some_and(|last| last.ago_ms > due_ms),
        last,
        passed: seen.passed,
        failed: seen.failed,
        failed_in_a_row: seen.failed_in_a_row,
    }
}

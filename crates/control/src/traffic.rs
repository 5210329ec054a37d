//! What is known of the requests of a service before a rollout of it begins.

use lockstep_api::Problem;
use lockstep_api::types::ServiceTraffic;
use lockstep_domain::intent::Step;
use lockstep_domain::routes::{ArmTraffic, FULL_WEIGHT};
use lockstep_domain::{Arm, EnvironmentName, ServiceName};
use lockstep_registry::Totals;

use crate::{Control, environments, not_found};

impl Control {
    /// Says what gateways counted of a service lately, and what share a new version of it would begin with.
    ///
    /// # Errors
    /// When the environment does not exist, or the service does not run there.
    pub fn traffic(&self, name: &EnvironmentName, service: &ServiceName) -> Result<ServiceTraffic, Problem> {
        let world = self.ledger.world();
        let environment = environments::find(&world, name)?;
        let entry = environment.entries().get(service).ok_or_else(|| {
            let detail = format!("`{service}` does not run in `{name}`, so nothing was counted of it");
            not_found(detail, &format!("lockstep status {name}"))
        })?;
        let lately = self.registry.lately(name, self.ledger.now());
        let of_service = sum(&lately.totals, |arm| arm.service == *service);
        let is_running = |arm: &Arm| arm.service == *service && arm.version == entry.version;
        Ok(ServiceTraffic {
            service: service.clone(),
            environment: name.clone(),
            version: entry.version.clone(),
            counted_ms: lately.counted_ms,
            requests: of_service.requests,
            of_version: sum(&lately.totals, is_running),
            first_step: environment.settings.strategy.steps().first().copied().unwrap_or(EVERYTHING),
            strategy: Some(environment.settings.strategy.clone()),
            operations: self.judged_operations(&world, &entry.arm(service)),
            checks_answers: !environment.settings.answer_checks.is_off(),
            latency_bounds_ms: self.judged_bounds(name, &entry.arm(service)),
        })
    }
}

/// A strategy without steps switches at once.
const EVERYTHING: Step = Step { weight: FULL_WEIGHT, bake_ms: 0 };

fn sum(totals: &Totals, is_meant: impl Fn(&Arm) -> bool) -> ArmTraffic {
    let meant = totals.iter().filter(|(arm, _)| is_meant(arm));
    meant.fold(ArmTraffic::default(), |sum, (_, more)| ArmTraffic {
        requests: sum.requests.saturating_add(more.requests),
        failures: sum.failures.saturating_add(more.failures),
    })
}

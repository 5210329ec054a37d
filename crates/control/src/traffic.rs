//! What is known of the requests of a service before a rollout of it begins.

use lockstep_api::Problem;
use lockstep_api::types::ServiceTraffic;
use lockstep_domain::intent::Step;
use lockstep_domain::routes::{ArmTraffic, FULL_WEIGHT};
use lockstep_domain::watch::LATENCY_CLASSES;
use lockstep_domain::{Arm, EnvironmentName, ServiceName, World};
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
        let of_service = sum(&lately.totals, |arm| world.current_name(&arm.service) == service);
        let is_running =
            |arm: &Arm| world.current_name(&arm.service) == service && arm.version == entry.version;
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
            latency_bounds_ms: self.judged_bounds(&world, name, &entry.arm(service)),
        })
    }
}

impl Control {
    /// Returns how long answers of an arm took, under whichever name of its service.
    pub(crate) fn latencies_of(
        &self,
        world: &World,
        environment: &EnvironmentName,
        arm: &Arm,
    ) -> [u64; LATENCY_CLASSES] {
        let names = world.former_names(&arm.service).chain([&arm.service]);
        let mut sums = [0_u64; LATENCY_CLASSES];
        for service in names {
            let of = self.registry.latencies(environment, &Arm { service: service.clone(), ..arm.clone() });
            sums.iter_mut().zip(of).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        }
        sums
    }
}

/// A strategy without steps switches at once.
const EVERYTHING: Step = Step { weight: FULL_WEIGHT, bake_ms: 0 };

/// Returns what was counted of an arm, under whichever name of its service: gateways count on when it is renamed.
pub(crate) fn of_arm(world: &World, totals: &Totals, arm: &Arm) -> ArmTraffic {
    let is_same = |known: &Arm| {
        (&known.version, known.config) == (&arm.version, arm.config)
            && *world.current_name(&known.service) == arm.service
    };
    sum(totals, is_same)
}

fn sum(totals: &Totals, is_meant: impl Fn(&Arm) -> bool) -> ArmTraffic {
    let meant = totals.iter().filter(|(arm, _)| is_meant(arm));
    meant.fold(ArmTraffic::default(), |sum, (_, more)| ArmTraffic {
        requests: sum.requests.saturating_add(more.requests),
        failures: sum.failures.saturating_add(more.failures),
    })
}

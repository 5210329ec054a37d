//! What is counted together: a step of a rollout, for each service that it moves.
//!
//! Periods belong to services and not to environments, so a step of one operation begins nothing anew of another beside it.

use std::collections::BTreeMap;

use crate::baseline::OperationId;
use crate::environment::Environment;
use crate::name::ServiceName;
use crate::operation::{Operation, Phase};

/// A part of a rollout during which requests of a service are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CountingPeriod {
    /// The operation.
    pub operation: OperationId,
    /// Its wave.
    pub wave: usize,
    /// The step of its strategy.
    pub step: usize,
}

/// Returns the periods of all services that are on trial now.
#[must_use]
pub fn periods(environment: &Environment) -> BTreeMap<ServiceName, CountingPeriod> {
    let of = |operation: &Operation| {
        let Phase::Shifted { wave, step, .. } = operation.phase else { return Vec::new() };
        let period = CountingPeriod { operation: operation.id, wave, step };
        operation.plan.moves_of(wave).iter().map(|part| (part.service.clone(), period)).collect()
    };
    environment.under_way().flat_map(|operation| of(operation)).collect()
}

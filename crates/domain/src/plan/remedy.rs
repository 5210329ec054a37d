//! What helps against an operation that is in the way. Each remedy is tried on the world after it before it is named: a hint that
//! cannot be carried out costs time when there is least of it.

use std::sync::Arc;

use crate::compat::Relation;
use crate::environment::Environment;
use crate::intent::Intent;
use crate::name::{Actor, EnvironmentName, ServiceName};
use crate::operation::{Operation, Phase};
use crate::plan::interrupt::{in_the_way, without};
use crate::plan::plan_alone;
use crate::plan::refusal::{Refusal, Remedy, Under};
use crate::time::Timestamp;
use crate::version::VersionRef;

/// Says in every refusal what helps where an operation under way is the cause, or makes its usual hint useless.
pub(super) fn with_remedies(
    relation: Relation<'_>,
    environment: &EnvironmentName,
    intent: &Intent,
    refusals: Vec<Refusal>,
    now: Timestamp,
) -> Vec<Refusal> {
    let operations = in_the_way(relation.world.environment(environment), &refusals);
    let case = Case { relation, environment, intent, operations: &operations, now };
    let with = |refusal: Refusal| match refusal {
        Refusal::Busy { environment, operation, intent, conflict, remedy } => {
            let found = operations.iter().find(|one| one.id == operation);
            let remedy = found.map_or(remedy, |found| case.remedy(found));
            Refusal::Busy { environment, operation, intent, conflict, remedy }
        }
        other => meanwhile(relation, other),
    };
    refusals.into_iter().map(with).collect()
}

/// An intent and everything that is in its way.
struct Case<'a> {
    relation: Relation<'a>,
    environment: &'a EnvironmentName,
    intent: &'a Intent,
    operations: &'a [Arc<Operation>],
    now: Timestamp,
}

impl Case<'_> {
    fn remedy(&self, operation: &Arc<Operation>) -> Remedy {
        let is_taken_back = matches!(operation.phase, Phase::Reverting { .. });
        let can_interrupt = matches!(
            self.intent,
            Intent::RollBackService { .. }
                | Intent::RollBackServices { .. }
                | Intent::RollBackEnvironment { .. }
                | Intent::RollBackToLastGood { .. }
        );
        if can_interrupt && self.works_without(self.operations, self.intent) {
            return Remedy::Interrupt;
        }
        let together = together(self.intent, operation).filter(|_| !is_taken_back);
        let together = together.filter(|versions| {
            let versions = versions.clone();
            self.works_without(std::slice::from_ref(operation), &Intent::Deploy { versions })
        });
        match together {
            Some(versions) => Remedy::Together(versions),
            None if is_taken_back => Remedy::Wait,
            None => Remedy::TakeBack,
        }
    }

    fn works_without(&self, operations: &[Arc<Operation>], intent: &Intent) -> bool {
        let (world, _) = without(self.relation.world, operations, intent, (&Actor::lockstep(), self.now));
        let relation = Relation { world: &world, contracts: self.relation.contracts };
        match plan_alone(relation, self.environment, intent, None, self.now) {
            Ok(_) => true,
            Err(refusals) => matches!(&refusals[..], [only] if only.is_there_already()),
        }
    }
}

/// The versions of two deployments as one.
fn together(intent: &Intent, operation: &Operation) -> Option<Vec<VersionRef>> {
    let (Intent::Deploy { versions }, Intent::Deploy { versions: theirs }) = (intent, &operation.intent)
    else {
        return None;
    };
    let others = theirs.iter().filter(|theirs| versions.iter().all(|one| one.service != theirs.service));
    Some(versions.iter().chain(others).cloned().collect())
}

/// Names the operation under way that is the reason why there is nothing, or nothing yet, of what an intent is about: against that
/// the usual hint does not help.
fn meanwhile(relation: Relation<'_>, refusal: Refusal) -> Refusal {
    let Some((environment, service)) = about(&refusal) else { return refusal };
    let environment: Option<&Environment> = relation.world.environment(environment).map(|found| &**found);
    let mover = environment.and_then(|environment| match service {
        Some(service) => environment.mover_of(service),
        None => environment.moving().next(),
    });
    match mover {
        Some(operation) => {
            let is_taken_back = matches!(operation.phase, Phase::Reverting { .. });
            let remedy = if is_taken_back { Remedy::Wait } else { Remedy::TakeBack };
            Refusal::Meanwhile {
                environment: operation.environment.clone(),
                under_way: Under::of(operation),
                remedy,
                refusal: Box::new(refusal),
            }
        }
        None => refusal,
    }
}

/// Where, and of which service, something is missing.
fn about(refusal: &Refusal) -> Option<(&EnvironmentName, Option<&ServiceName>)> {
    match refusal {
        Refusal::NotRunning { service, environment } => Some((environment, Some(service))),
        Refusal::NeverRan { version, environment, .. } | Refusal::Forward { version, environment, .. } => {
            Some((environment, Some(&version.service)))
        }
        Refusal::NoBaseline { environment, .. } | Refusal::NothingToUndo { environment } => {
            Some((environment, None))
        }
        Refusal::NothingToPromote(environment) => Some((environment, None)),
        _ => None,
    }
}

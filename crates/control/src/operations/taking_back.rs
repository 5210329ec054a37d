//! Taking back what is under way: which operation `undo` means, and what an interruption ends where nothing else is to be done.

use std::sync::Arc;

use lockstep_api::types::{OperationAnswer, OperationRequest};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::fault::Cause;
use lockstep_domain::operation::Phase;
use lockstep_domain::reconcile::revert;
use lockstep_domain::{Actor, Environment, EnvironmentName, Event, Intent, Operation, OperationId, World};

use crate::Control;

impl Control {
    /// Takes back the operation under way that is meant; `None` when there is none.
    pub(super) fn take_back(
        &self,
        actor: &Actor,
        environment: &EnvironmentName,
        request: &OperationRequest,
    ) -> Result<Option<OperationAnswer>, Problem> {
        if to_take_back(&self.ledger.world(), environment, request)?.is_none() {
            return Ok(None);
        }
        let operation = tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| match to_take_back(world, environment, request)? {
                None => Ok((Vec::new(), None)),
                Some(operation) if is_taken_back(&operation) => Err(taken_back_already(operation.id)),
                Some(operation) => {
                    Ok((vec![taking_back(&operation, actor, &request.reason)], Some(operation.id)))
                }
            })
        })?;
        Ok(operation.map(|id| self.answer_of(id)))
    }

    /// Takes back what is in the way of going back to where the environment is without it.
    pub(super) fn only_take_back(
        &self,
        actor: &Actor,
        environment: &EnvironmentName,
        in_the_way: &[OperationId],
        reason: &str,
    ) -> Result<OperationAnswer, Problem> {
        let over = || {
            Problem::new(ErrorCode::Conflict, "what was under way is over").with_hint("run the command again")
        };
        let first = tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let environment = world.environment(environment).ok_or_else(over)?;
                let left = environment.under_way().filter(|it| in_the_way.contains(&it.id));
                let left: Vec<_> = left.collect();
                let first = left.first().ok_or_else(over)?.id;
                let events = left.into_iter().filter(|operation| !is_taken_back(operation));
                let events: Vec<_> = events.map(|operation| taking_back(operation, actor, reason)).collect();
                if events.is_empty() { Err(taken_back_already(first)) } else { Ok((events, first)) }
            })
        })?;
        Ok(self.answer_of(first))
    }

    pub(super) fn answer_of(&self, id: OperationId) -> OperationAnswer {
        let operation = self.find_operation(id);
        OperationAnswer { plan: None, operation: operation.map(|operation| Operation::clone(&operation)) }
    }
}

fn is_taken_back(operation: &Operation) -> bool {
    matches!(operation.phase, Phase::Reverting { .. })
}

fn taken_back_already(id: OperationId) -> Problem {
    Problem::new(ErrorCode::Conflict, format!("operation {id} is being taken back already"))
        .with_hint(format!("lockstep watch {id}"))
}

fn taking_back(operation: &Operation, actor: &Actor, reason: &str) -> Event {
    let separator = if reason.is_empty() { "" } else { ": " };
    revert(operation, Cause::of_nobody(format!("{actor} took it back{separator}{reason}")))
}

/// The operation under way that an undo means: the one that it names, or the only one that moves services, or else the newest;
/// `None` where it means the newest baseline.
///
/// Who undoes a baseline that was looked at does not mean what somebody else has begun since. Where it could be one of
/// several, nobody's work is guessed at.
pub(super) fn to_take_back(
    world: &World,
    environment: &EnvironmentName,
    request: &OperationRequest,
) -> Result<Option<Arc<Operation>>, Problem> {
    let Some(environment) = world.environment(environment).filter(|_| request.intent == Intent::Undo) else {
        return Ok(None);
    };
    if let Some(id) = request.operation {
        return named(environment, id).map(Some);
    }
    if request.expect.is_some() {
        return Ok(None);
    }
    let moving: Vec<_> = environment.moving().collect();
    match moving.as_slice() {
        [] => Ok(environment.under_way().next_back().cloned()),
        [only] if only.plan.parent == environment.baselines.current().number => Ok(Some(Arc::clone(only))),
        several => Err(several_meanings(environment, several)),
    }
}

fn named(environment: &Environment, id: OperationId) -> Result<Arc<Operation>, Problem> {
    let name = &environment.name;
    if let Some(operation) = environment.under_way().find(|operation| operation.id == id) {
        return Ok(Arc::clone(operation));
    }
    let detail = match environment.find_operation(id).map(|operation| &operation.phase) {
        Some(Phase::Done { baseline, .. }) => format!("operation {id} is done, and made baseline {baseline}"),
        Some(_) => format!("operation {id} was taken back"),
        None => format!("there is no operation {id} in `{name}`"),
    };
    Err(Problem::new(ErrorCode::Conflict, detail).with_hint(format!("lockstep history {name}")))
}

fn several_meanings(environment: &Environment, moving: &[&Arc<Operation>]) -> Problem {
    let (name, current) = (&environment.name, environment.baselines.current().number);
    let said = moving.iter().map(|it| format!("operation {} ({}, by {})", it.id, it.intent, it.actor));
    let said = said.collect::<Vec<_>>().join(" and ");
    let newer = moving.iter().any(|operation| operation.plan.parent < current);
    let newer = if newer { format!(", and baseline {current} came meanwhile") } else { String::new() };
    let detail = format!("undo could mean more than one thing in `{name}`: {said} under way{newer}");
    let hint = format!(
        "say which: lockstep undo {name} --operation ID takes an operation back, lockstep undo {name} --expect {current} the newest baseline"
    );
    Problem::new(ErrorCode::Conflict, detail).with_hint(hint)
}

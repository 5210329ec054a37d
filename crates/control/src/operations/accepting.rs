//! Letting a step go on without evidence, by the word of a person.

use lockstep_api::types::AcceptRequest;
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::step::{NotAccepted, Wanted, accept};
use lockstep_domain::{Actor, Operation, OperationId};

use super::check_reason;
use crate::{Control, not_found};

impl Control {
    /// Lets the step go on that an operation waits at; saying it twice is saying it once.
    ///
    /// # Errors
    /// When it is at another step, lacks something else, or fails.
    pub fn accept(
        &self,
        actor: &Actor,
        id: OperationId,
        request: &AcceptRequest,
    ) -> Result<Operation, Problem> {
        check_reason(&request.reason)?;
        let (step, despite, reason) = (request.step, &request.despite, &request.reason);
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, now| {
                let operation = world.find_operation(id).ok_or_else(|| missing(id))?;
                let observed = self.judged(world, &operation.environment, now);
                let wanted = Wanted { place: step, despite: despite.clone(), reason: reason.clone() };
                let event = accept(operation, &observed, now, wanted);
                let event = event.map_err(|why| refused(operation, &why))?;
                Ok((event.into_iter().collect(), ()))
            })
        })?;
        self.operation(id)
    }
}

fn missing(id: OperationId) -> Problem {
    not_found(format!("there is no operation {id}"), "lockstep operations")
}

fn refused(operation: &Operation, why: &NotAccepted) -> Problem {
    let code = match why {
        NotAccepted::NotWatched { .. } | NotAccepted::MovedOn { .. } => ErrorCode::Conflict,
        _ => ErrorCode::Refused,
    };
    let hint = match operation.phase.is_settled() {
        true => format!("lockstep watch {}", operation.id),
        false => format!("lockstep status {}", operation.environment),
    };
    Problem::new(code, why.to_string()).with_hint(hint)
}

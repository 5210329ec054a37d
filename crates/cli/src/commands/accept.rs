//! `lockstep accept`: let a step of a rollout go on without the evidence that it lacks.

use lockstep_api::types::AcceptRequest;
use lockstep_domain::step::Obstacle;
use lockstep_domain::step_place::StepPlace;
use lockstep_domain::{Operation, OperationId};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::{Style, printable};

/// Lets a step of a rollout go on without the evidence that it lacks.
///
/// `lockstep status` and `lockstep watch` show the whole command while a step waits. It is for that step and for what kept it when somebody
/// looked: a step that has moved on, or that something else keeps, is refused. A version that fails goes back whatever was accepted.
/// Who accepted what, and what could have been missed, is kept for ever with the operation and with its baseline.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep accept 12 --step 1.2 --despite few-requests
  lockstep accept 12 --step 1.1 --despite lost-route --reason 'the route /old is gone on purpose'")]
pub(crate) struct Args {
    /// The number of the operation; `lockstep status` shows it.
    #[arg(value_name = "OPERATION")]
    id: u64,
    /// The step that was looked at: 1.2 is the second step of the first wave.
    #[arg(long, value_name = "WAVE.STEP")]
    step: StepPlace,
    /// What keeps it and shall not: few-requests, no-counters, incident, fails-alone, suspicion, lost-route, queue-grows.
    #[arg(long, value_name = "WHAT", value_delimiter = ',', required = true)]
    despite: Vec<Obstacle>,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let despite = self.despite.into_iter().collect();
        let request = AcceptRequest { step: self.step, despite, reason: self.reason };
        let operation = ctx.client.accept(OperationId(self.id), &request)?;
        ctx.out.show(&operation, |operation, style| render(operation, request.step, style))
    }
}

fn render(operation: &Operation, step: StepPlace, style: &Style) -> String {
    let seen = operation.accepted.iter().rev().find(|it| it.step == step).map(|it| it.known.as_str());
    let seen = printable(seen.unwrap_or_default()).into_owned();
    let id = operation.id;
    format!(
        "{}: step {step} of operation {id} goes on: {seen}\nfollow it: lockstep watch {id}\n",
        style.good("done")
    )
}

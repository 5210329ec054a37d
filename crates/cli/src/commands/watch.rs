//! `lockstep watch`: follow an operation from its first event to its end.

use std::ops::ControlFlow;

use lockstep_domain::operation::Phase;
use lockstep_domain::{Operation, OperationId, Recorded};

use crate::context::Context;
use crate::failure::Failure;
use crate::follow::operation::{describe, until_over};
use crate::operate::{explain_ctrl_c, outcome};
use crate::output::Format;
use crate::output::style::printable;

/// Follows an operation until it is over.
///
/// Writes all its events from the first, also of an operation that is over. Ends with code 0 when the operation is
/// done and 1 when it was taken back or a job failed after it. With --json, every event is one line.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep watch 12\n  lockstep watch 12 --json")]
pub(crate) struct Args {
    /// The number of the operation; `lockstep operations` lists them.
    #[arg(value_name = "OPERATION")]
    id: u64,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let id = OperationId(self.id);
        let operation = ctx.client.operation(id)?;
        explain_ctrl_c(ctx, id, &operation.environment)?;
        let mut written = Ok(());
        let operation = until_over(ctx, id, |recorded| {
            if written.is_ok() {
                written = write(ctx, recorded, &operation);
            }
            ControlFlow::Continue(())
        })?;
        written?;
        match (&operation.phase, ctx.out.format) {
            (Phase::Reverted { .. }, _) => Err(outcome::taken_back(ctx, &operation)),
            (_, Format::Json) => Ok(()),
            (_, Format::Text) => ctx.out.text(&outcome::done_text(&operation, &ctx.out.style)),
        }?;
        outcome::job_failed(&operation).map_or(Ok(()), Err)
    }
}

fn write(ctx: &Context, recorded: &Recorded, operation: &Operation) -> Result<(), Failure> {
    match (ctx.out.format, describe(&recorded.event, &operation.plan)) {
        (Format::Json, _) => ctx.out.show_in_stream(recorded, |_, _| String::new()),
        (Format::Text, Some(line)) => ctx.out.text(&format!("{} {}", recorded.at, printable(&line))),
        (Format::Text, None) => Ok(()),
    }
}

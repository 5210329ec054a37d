//! `lockstep watch`: follow an operation from its first event to its end, or what happens in an environment.

mod live;

use std::ops::ControlFlow;

use lockstep_domain::operation::Phase;
use lockstep_domain::{Operation, OperationId, Recorded};

use crate::context::Context;
use crate::failure::Failure;
use crate::follow::operation::{describe, until_over};
use crate::operate::{explain_ctrl_c, outcome};
use crate::output::Format;
use crate::output::style::printable;

/// Follows an operation until it is over, or what happens in an environment.
///
/// Of an operation it writes all events from the first, also of one that is over. Ends with code 0 when the operation is
/// done and 1 when it was taken back or a job failed after it. Of an environment it writes what is decided, how instances are, what of the ways
/// back is lost and there again, and every ten seconds how the requests of each version fared that had any, until it is interrupted. With --json, every
/// event is one line.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep watch 12\n  lockstep watch 12 --json\n  lockstep watch production"
)]
pub(crate) struct Args {
    /// The number of an operation, which `lockstep operations` lists, or the name of an environment.
    #[arg(value_name = "OPERATION|ENV")]
    what: String,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.what.parse() {
            Ok(id) => operation(ctx, OperationId(id)),
            Err(_) => live::run(ctx, &self.what.parse().map_err(|error| Failure::usage(format!("{error}")))?),
        }
    }
}

fn operation(ctx: &Context, id: OperationId) -> Result<(), Failure> {
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

fn write(ctx: &Context, recorded: &Recorded, operation: &Operation) -> Result<(), Failure> {
    match (ctx.out.format, describe(&recorded.event, &operation.plan)) {
        (Format::Json, _) => ctx.out.show_in_stream(recorded, |_, _| String::new()),
        (Format::Text, Some(line)) => ctx.out.text(&format!("{} {}", recorded.at, printable(&line))),
        (Format::Text, None) => Ok(()),
    }
}

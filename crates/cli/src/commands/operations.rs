//! `lockstep operations`: changes of all environments, newest first.

use lockstep_domain::Operation;
use lockstep_domain::operation::Phase;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::Style;
use crate::output::table::Table;

/// Lists operations of all environments, newest first.
///
/// Shows what was wanted, by whom, and how far it came.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep operations\n  lockstep operations --json")]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        ctx.out.show(&ctx.client.operations()?, |operations, style| render(operations, style))
    }
}

fn render(operations: &[Operation], style: &Style) -> String {
    if operations.is_empty() {
        return "there is no operation yet\n".to_owned();
    }
    let mut table = Table::new(["OPERATION", "ENVIRONMENT", "BEGAN", "BY", "WHAT", "HOW FAR"]);
    for operation in operations {
        table.row([
            operation.id.to_string(),
            operation.environment.to_string(),
            style.ago(operation.begun),
            operation.actor.to_string(),
            operation.intent.to_string(),
            how_far(operation),
        ]);
    }
    table.render(style)
}

fn how_far(operation: &Operation) -> String {
    let waves = operation.plan.waves.len();
    match &operation.phase {
        Phase::Preparing { wave, .. } => format!("preparing wave {} of {waves}", wave + 1),
        Phase::Shifted { wave, step, .. } => format!("wave {} of {waves}, step {}", wave + 1, step + 1),
        Phase::Reverting { cause, .. } => format!("being taken back: {cause}"),
        Phase::Done { baseline, .. } => format!("done, baseline {baseline}"),
        Phase::Reverted { cause, .. } => format!("taken back: {cause}"),
    }
}

//! `lockstep job history`.

use lockstep_domain::scheduled::{REMEMBERED_RUNS, ScheduledRun};

use super::JobArgument;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::runs::{log_of, outcome};
use crate::output::style::Style;
use crate::output::table::Table;

/// Shows what became of the last times of a job's schedule, the newest first.
///
/// The last 50 times are remembered, those that were left out among them, and why. What runs in operations and by hand is shown by
/// `lockstep operations`. Times are in UTC.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep job history orders tidy --env production\n  lockstep job history orders tidy --json"
)]
pub(super) struct Args {
    #[command(flatten)]
    which: JobArgument,
}

impl Args {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let JobArgument { service, job, environment } = self.which;
        let environment = environment.resolve(ctx)?;
        let runs = ctx.client.scheduled_runs(&environment, &service, &job)?;
        ctx.out.show(&runs, |runs, style| render(runs, style))
    }
}

fn render(runs: &[ScheduledRun], style: &Style) -> String {
    if runs.is_empty() {
        return "no time of its schedule has come yet\n".to_owned();
    }
    let mut table = Table::new(["TIME", "VERSION", "HOW IT ENDED", "LOG"]);
    for run in runs {
        let version = run.planned.arm.version_ref().to_string();
        table.row([run.due.day(), version, outcome(run), log_of(run.run())]);
    }
    let older = match runs.len() {
        REMEMBERED_RUNS.. => "older ones are in the journal alone\n",
        _ => "",
    };
    table.render(style) + older
}

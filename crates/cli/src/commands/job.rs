//! `lockstep job`: programs of a version that run once.

mod history;
mod list;

use lockstep_domain::name::JobName;
use lockstep_domain::{Intent, ServiceName};

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::ChangeOptions;
use crate::select::EnvironmentOption;

/// Lists the jobs of what runs in an environment, shows their runs, and runs them.
///
/// A version brings its jobs in its manifest (`[[job]]`). Those for before the switch and after a deploy run by themselves, once in
/// each operation that brings their version; those with a schedule at its times.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep job list --env production
  lockstep job history orders reindex --env production
  lockstep job run orders reindex --env production")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum JobCommand {
    List(list::Args),
    History(history::Args),
    Run(RunArgs),
}

/// Runs a job of what runs of a service, and waits for its end.
///
/// Any job can be run so, whatever its `when` is. It ends with 1 when the job failed. While it runs, no other operation on the service
/// begins, and a time of its schedule that comes is left out, or waits, as its `overlap` says.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep job run orders reindex --env production")]
struct RunArgs {
    #[command(flatten)]
    which: JobArgument,
    #[command(flatten)]
    change: ChangeOptions,
}

/// Which job of which service is meant, and where.
#[derive(Debug, Clone, clap::Args)]
struct JobArgument {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// The job, as its manifest names it.
    #[arg(value_name = "JOB")]
    job: JobName,
    #[command(flatten)]
    environment: EnvironmentOption,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            JobCommand::List(args) => args.run(ctx),
            JobCommand::History(args) => args.run(ctx),
            JobCommand::Run(args) => args.run(ctx),
        }
    }
}

impl RunArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let JobArgument { service, job, environment } = self.which;
        let environment = environment.resolve(ctx)?;
        let intent = Intent::RunJob { service, job };
        self.change.change(environment, intent).run(ctx)
    }
}

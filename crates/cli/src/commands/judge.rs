//! `lockstep judge`: what the judge says of recorded counters, and what it could see in a rollout that is to come.

mod forecast;
mod replay;
mod rules;

use crate::context::Context;
use crate::failure::Failure;

/// Judges recorded counters, and forecasts how long which regression stays unseen.
///
/// The judge compares a new version with the old one that serves beside it: is it worse, and how sure is that? Here it runs
/// on what was recorded anywhere, and says before a rollout what there is to see.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep judge replay examples/recordings/pay-fails.csv
  lockstep judge forecast orders --env production
  lockstep judge forecast --rps 100 --failures 0.1% --weight 5%")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: JudgeCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum JudgeCommand {
    Replay(replay::Args),
    Forecast(forecast::Args),
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            JudgeCommand::Replay(args) => args.run(ctx),
            JudgeCommand::Forecast(args) => args.run(ctx),
        }
    }
}

//! `lockstep host`: servers that are reached over SSH.

mod check;

use crate::failure::Failure;
use crate::output::Output;

/// Servers that are reached over SSH.
///
/// A host needs a server of SSH, a user with a login shell, and nothing of Lockstep: the program brings itself there.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep host check deploy@10.0.0.5
  lockstep host check web1 --key ~/.ssh/deploy")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: HostCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum HostCommand {
    Check(check::CheckArgs),
}

impl Args {
    pub(crate) fn run(self, out: &Output) -> Result<(), Failure> {
        match self.command {
            HostCommand::Check(args) => args.run(out),
        }
    }
}

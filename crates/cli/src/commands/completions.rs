//! `lockstep completions`: completion of commands in a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::app::Cli;
use crate::failure::Failure;
use crate::output::Output;

/// Writes a completion script for a shell.
///
/// Load it where your shell looks for completions.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep completions bash > ~/.local/share/bash-completion/completions/lockstep"
)]
pub(crate) struct Args {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Args {
    pub(crate) fn run(self, out: &Output) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "lockstep", &mut script);
        out.copy(script.as_slice())
    }
}

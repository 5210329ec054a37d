//! `lockstep reference`: the reference page of all commands, written from the commands themselves.

use clap::CommandFactory;

use crate::app::Cli;
use crate::failure::Failure;
use crate::output::Output;
use crate::reference;

/// Writes the reference page of all commands as Markdown.
#[derive(Debug, Clone, clap::Args)]
#[command(hide = true, after_help = "Examples:\n  lockstep reference > docs/reference/cli.md")]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, out: &Output) -> Result<(), Failure> {
        out.text(&reference::markdown(&Cli::command()))
    }
}

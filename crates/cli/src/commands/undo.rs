//! `lockstep undo`: back to the baseline before.

use lockstep_domain::Intent;

use crate::confirm::ConfirmOption;
use crate::context::Context;
use crate::failure::Failure;
use crate::operate::{ChangeOptions, LeavingOptions};
use crate::select::EnvironmentArgument;

/// Goes back to the baseline before the current one.
///
/// While an operation that moves services is under way, it takes that back instead, unless that goes there already. Where it could mean more than one thing, it
/// asks for `--operation` or `--expect`. Undoing is a change like any other: it makes a new
/// baseline and shows in the history. The instances that are left end, unless `--keep-warm` keeps them. Where the environment would run
/// nothing afterwards it asks first.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep undo production\n  lockstep undo production --dry-run")]
pub(crate) struct Args {
    #[command(flatten)]
    environment: EnvironmentArgument,
    /// Take back this operation, which is under way.
    #[arg(long, value_name = "ID", conflicts_with = "expect")]
    operation: Option<u64>,
    #[command(flatten)]
    leaving: LeavingOptions,
    #[command(flatten)]
    confirm: ConfirmOption,
    #[command(flatten)]
    change: ChangeOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let change = self.change.change(environment, Intent::Undo).leaving(self.leaving);
        let mut change = change.operation(self.operation);
        if !change.is_dry_run() && self.operation.is_none() {
            change.confirm_emptying(ctx, self.confirm)?;
        }
        change.run(ctx)
    }
}

//! `lockstep rebalance`: instances to the hosts where they should be.

use lockstep_domain::Intent;

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::ChangeOptions;
use crate::select::EnvironmentArgument;

/// Moves instances between hosts, so that all stand where they would start now.
///
/// After a host was added or opened again, or its labels were changed, what runs stays where it is. This moves the fewest instances that have to go
/// elsewhere: from hosts that lack a label which their version requires, from those that it avoids, and from where there are more than on another
/// host or in another zone. Of each service one after the other: a new one is healthy before the old one ends. Versions, configurations and
/// baseline stay. When a new one does not become healthy it stops there, and what was not moved yet goes on where it is.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep rebalance production --dry-run\n  lockstep rebalance production"
)]
pub(crate) struct Args {
    #[command(flatten)]
    environment: EnvironmentArgument,
    #[command(flatten)]
    change: ChangeOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        self.change.change(environment, Intent::Rebalance { moves: Vec::new() }).run(ctx)
    }
}

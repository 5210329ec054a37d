//! `lockstep deploy`: run these versions.

use lockstep_domain::{Intent, VersionRef};

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::ChangeOptions;
use crate::operate::strategy::StrategyOptions;
use crate::select::EnvironmentOption;

/// Brings versions into an environment.
///
/// One operation brings all of them, in an order that keeps every call working: providers first when going forward.
/// It waits until the operation is over; a version that does not become healthy or fails too often goes back by itself.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep deploy orders@1.4.0 --env staging
  lockstep deploy orders@1.4.0 payments@2.1.0 --env production --strategy canary --steps 5,25,100 --bake 5m
  lockstep deploy orders@1.4.0 --env production --dry-run")]
pub(crate) struct Args {
    /// Versions, at most one of each service.
    #[arg(value_name = "SERVICE@VERSION", required = true)]
    versions: Vec<VersionRef>,
    #[command(flatten)]
    environment: EnvironmentOption,
    #[command(flatten)]
    strategy: StrategyOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        let strategy = self.strategy.resolve(ctx, &environment)?;
        let intent = Intent::Deploy { versions: self.versions };
        self.change.change(environment, intent).strategy(strategy).run(ctx)
    }
}

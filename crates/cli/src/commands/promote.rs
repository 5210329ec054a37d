//! `lockstep promote`: run what another environment runs.

use lockstep_domain::{EnvironmentName, Intent, ServiceName};

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::ChangeOptions;
use crate::operate::strategy::StrategyOptions;

/// Brings into an environment what another one runs.
///
/// All services of the first environment, or only those that are named, get the versions they have there, in one
/// operation. Where versions have not been healthy in the first one for long enough (a minute, `lockstep environment set FROM
/// --stay 10m`) it waits for that, ten minutes at most.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep promote staging production
  lockstep promote staging production orders payments --dry-run")]
pub(crate) struct Args {
    /// The environment that is copied.
    #[arg(value_name = "FROM")]
    from: EnvironmentName,
    /// The environment that is changed.
    #[arg(value_name = "TO")]
    to: EnvironmentName,
    /// Only these services.
    #[arg(value_name = "SERVICE")]
    services: Vec<ServiceName>,
    #[command(flatten)]
    strategy: StrategyOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let strategy = self.strategy.strategy()?;
        let intent = Intent::Promote { from: self.from, services: self.services };
        self.change.change(self.to, intent).strategy(strategy).run(ctx)
    }
}

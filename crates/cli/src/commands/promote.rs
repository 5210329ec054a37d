//! `lockstep promote`: run what another environment runs.

use std::str::FromStr;

use lockstep_domain::name::NameError;
use lockstep_domain::{EnvironmentName, Intent, ServiceName};

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::ChangeOptions;
use crate::operate::strategy::StrategyOptions;

/// Brings into an environment what another one runs.
///
/// Services may go down by that, to what the first one runs; the plan says so.
///
/// All services of the first environment, or only those that are named, get the versions they have there, in one
/// operation. Where versions have not been healthy in the first one for long enough (a minute, `lockstep environment set FROM
/// --stay 10m`) it waits for that, ten minutes at most.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep promote staging production
  lockstep promote staging production orders payments --dry-run
  lockstep promote staging@17 production                    what staging ran at baseline 17
  lockstep promote staging production --expect 17           only if staging is still at baseline 17")]
pub(crate) struct Args {
    /// The environment that is copied, as it is, or as it was at a baseline: staging@17.
    #[arg(value_name = "FROM[@BASELINE]")]
    from: Source,
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

#[derive(Debug, Clone)]
struct Source {
    environment: EnvironmentName,
    baseline: Option<u64>,
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, baseline) = text.split_once('@').map_or((text, None), |(name, n)| (name, Some(n)));
        let wrong =
            |number: &str| format!("`{number}` is not a baseline: write a number, such as staging@17");
        let baseline = baseline.map(|number| number.parse().map_err(|_| wrong(number))).transpose()?;
        Ok(Self { environment: name.parse().map_err(|error: NameError| error.to_string())?, baseline })
    }
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let strategy = self.strategy.resolve(ctx, &self.to)?;
        let Source { environment: from, baseline } = self.from;
        let intent = Intent::Promote { from, services: self.services, baseline };
        self.change.change(self.to, intent).strategy(strategy).run(ctx)
    }
}

//! `lockstep rollback`: a service to any version, or an environment to any baseline.

use lockstep_domain::{EnvironmentName, Intent, ServiceName};

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::strategy::StrategyOptions;
use crate::operate::{ChangeOptions, LeavingOptions};
use crate::parse::target::Target;
use crate::select::EnvironmentOption;

/// Goes back to any version or baseline.
///
/// A version takes one service back to it, with the configuration it last ran with. A baseline number takes the whole
/// environment back to what it was, configuration included. While the target is warm, only routes change. What is left
/// is held: nothing automatic brings it again until the hold is released; its instances end, unless `--keep-warm` keeps
/// them. It is all at once unless a strategy is named.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("strategy", |arg| arg.help("How the target takes over; all at once when left out")))]
#[command(after_help = "Examples:
  lockstep rollback orders --to 1.3.2 --env production     one service to a version
  lockstep rollback production --to 17                     the environment to a baseline
  lockstep rollback production --to 17 --strategy canary --bake 5m
  lockstep rollback production --to 17 --dry-run")]
pub(crate) struct Args {
    /// A service (with a version) or an environment (with a baseline).
    #[arg(value_name = "SERVICE|ENV")]
    what: String,
    /// A version such as 1.3.2, or a baseline such as 17.
    #[arg(long, value_name = "VERSION|BASELINE")]
    to: Target,
    #[command(flatten)]
    environment: EnvironmentOption,
    #[command(flatten)]
    strategy: StrategyOptions,
    #[command(flatten)]
    leaving: LeavingOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let strategy = self.strategy.strategy()?;
        let (environment, intent) = match &self.to {
            Target::Baseline(baseline) => {
                (self.named_environment()?, Intent::RollBackEnvironment { to: *baseline })
            }
            Target::Version(version) => {
                let service = name::<ServiceName>(&self.what)?;
                let intent = Intent::RollBackService { service, to: version.clone() };
                (self.environment.resolve(ctx)?, intent)
            }
        };
        self.change.change(environment, intent).strategy(strategy).leaving(self.leaving).run(ctx)
    }

    fn named_environment(&self) -> Result<EnvironmentName, Failure> {
        let named = name::<EnvironmentName>(&self.what)?;
        match &self.environment.environment {
            Some(other) if *other != named => Err(Failure::usage(format!(
                "a baseline belongs to an environment, and two are named: `{named}` and `{other}`"
            ))
            .hint("for a service, give a version: lockstep rollback SERVICE --to 1.3.2 --env ENV")),
            _ => Ok(named),
        }
    }
}

fn name<T: std::str::FromStr<Err = lockstep_domain::name::NameError>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error: lockstep_domain::name::NameError| Failure::usage(error.to_string()))
}

//! `lockstep rollback`: services to versions that ran, or an environment to any baseline; or what there is to go back to.

mod ways;

use lockstep_api::types::UnderWay;
use lockstep_domain::intent::ConfigChoice;
use lockstep_domain::name::NameError;
use lockstep_domain::{ConfigRevision, EnvironmentName, Intent, ServiceName, VersionRef};

use crate::confirm::ConfirmOption;
use crate::context::Context;
use crate::failure::Failure;
use crate::operate::strategy::StrategyOptions;
use crate::operate::{ChangeOptions, LeavingOptions};
use crate::parse::target::Target;
use crate::select::EnvironmentOption;

/// Goes back to a version or baseline that ran.
///
/// A version takes one service back to it, with the configuration it last ran with; several go back together. A baseline
/// number takes the whole environment back to what it was, configuration included. The plan names every variable that
/// changes. Of a secret that was set anew since, the newer value stays, and the plan names it: `--old-secrets` brings the old one back. While the target is warm, only routes change. What is left is held: nothing
/// automatic brings it again until the hold is released; its instances end, unless `--keep-warm` keeps them. It is all at
/// once unless a strategy is named. A version that never ran there, or is newer than what runs, is deployed and not gone back to.
/// The last good baseline is the newest one that is proven: it served long enough without an alarm, nobody went back from it, and nothing
/// in it is held. Without a target it lists what there is.
///
/// Where others would not work with what goes back, it is refused, and the answer names the smallest set that works; `--chain` takes it back
/// together, each with its configuration as above, and on a terminal it is asked.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("strategy", |arg| arg.help("How the target takes over; all at once when left out")))]
#[command(after_help = "Examples:
  lockstep rollback orders --env production                what there is to go back to
  lockstep rollback orders --to 1.3.2 --env production     one service to a version
  lockstep rollback orders --to 1.3.2 --env production --chain
  lockstep rollback orders=1.3.2 payments=1.1.0 --env production
  lockstep rollback production --to 17                     the environment to a baseline
  lockstep rollback production --to-last-good              to the newest one that is proven
  lockstep rollback production --to 17 --strategy canary --bake 5m
  lockstep rollback orders --to 1.3.2 --env production --interrupt
  lockstep rollback production --to 17 --dry-run")]
pub(crate) struct Args {
    /// A service (with a version), an environment (with a baseline), or several services with their versions.
    #[arg(value_name = "SERVICE|ENV|SERVICE=VERSION", required = true)]
    what: Vec<String>,
    /// A version such as 1.3.2, or a baseline such as 17; what there is is listed when it is left out.
    #[arg(long, value_name = "VERSION|BASELINE")]
    to: Option<Target>,
    /// Go to the newest baseline that is proven and is not the current one (`lockstep history` shows which are).
    #[arg(long, conflicts_with = "to")]
    to_last_good: bool,
    /// Take back the operation that is in the way, and go back in the same step.
    #[arg(long)]
    interrupt: bool,
    /// Take back what must go back with it, the smallest set that works.
    #[arg(long)]
    chain: bool,
    /// Keep the configuration that is in force instead of the one that the version ran with.
    #[arg(long, conflicts_with_all = ["with_config", "old_secrets"])]
    keep_config: bool,
    /// Take this revision of the configuration instead of the one that the version ran with.
    #[arg(long, value_name = "REVISION")]
    with_config: Option<u32>,
    /// Bring back secrets as they were, also those that were set anew since.
    #[arg(long, conflicts_with = "with_config")]
    old_secrets: bool,
    #[command(flatten)]
    environment: EnvironmentOption,
    #[command(flatten)]
    strategy: StrategyOptions,
    #[command(flatten)]
    leaving: LeavingOptions,
    #[command(flatten)]
    confirm: ConfirmOption,
    #[command(flatten)]
    change: ChangeOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let several = versions(&self.what)?;
        let (environment, intent) = match (&several[..], &self.to) {
            ([], None) if self.to_last_good => {
                (self.named_environment()?, Intent::RollBackToLastGood { config: self.config() })
            }
            (_, _) if self.to_last_good => {
                return Err(Failure::usage(
                    "--to-last-good takes a whole environment back, and services are named",
                )
                .hint("lockstep rollback ENV --to-last-good"));
            }
            ([], None) => return ways::show(ctx, self.only()?, &self.environment),
            ([], Some(Target::Baseline(_))) if self.chain => {
                return Err(Failure::usage(
                    "a baseline is gone back to as a whole, with everything in it: there is nothing for --chain to take along",
                )
                .hint("for a service, give a version: lockstep rollback SERVICE --to 1.3.2 --env ENV --chain"));
            }
            ([], Some(Target::Baseline(to))) => {
                let config = self.config();
                (self.named_environment()?, Intent::RollBackEnvironment { to: *to, config })
            }
            ([], Some(Target::Version(to))) => {
                let (service, config) = (name::<ServiceName>(self.only()?)?, self.config());
                (self.environment.resolve(ctx)?, Intent::RollBackService { service, to: to.clone(), config })
            }
            (_, Some(_)) => {
                return Err(Failure::usage("versions are named already, so there is no --to"));
            }
            (versions, None) => {
                let (versions, config) = (versions.to_vec(), self.config());
                (self.environment.resolve(ctx)?, Intent::RollBackServices { versions, config })
            }
        };
        let strategy = self.strategy.resolve(ctx, &environment)?;
        let under_way = if self.interrupt { UnderWay::TakeBack } else { UnderWay::Respect };
        let change = self.change.change(environment, intent.clone()).strategy(strategy).leaving(self.leaving);
        let mut change = change.under_way(under_way).needs(self.chain);
        let is_whole =
            matches!(intent, Intent::RollBackEnvironment { .. } | Intent::RollBackToLastGood { .. });
        if is_whole && !change.is_dry_run() {
            change.confirm_emptying(ctx, self.confirm)?;
        }
        change.run(ctx)
    }

    fn config(&self) -> ConfigChoice {
        match self.with_config {
            Some(revision) => ConfigChoice::Revision(ConfigRevision(revision)),
            None if self.keep_config => ConfigChoice::Keep,
            None if self.old_secrets => ConfigChoice::WithOldSecrets,
            None => ConfigChoice::AsItRan,
        }
    }

    fn only(&self) -> Result<&str, Failure> {
        match self.what.as_slice() {
            [only] => Ok(only),
            _ => Err(Failure::usage("several services go back together with a version each")
                .hint("lockstep rollback orders=1.3.2 payments=1.1.0 --env ENV")),
        }
    }

    fn named_environment(&self) -> Result<EnvironmentName, Failure> {
        let named = name::<EnvironmentName>(self.only()?)?;
        match &self.environment.environment {
            Some(other) if *other != named => Err(Failure::usage(format!(
                "a baseline belongs to an environment, and two are named: `{named}` and `{other}`"
            ))
            .hint("for a service, give a version: lockstep rollback SERVICE --to 1.3.2 --env ENV")),
            _ => Ok(named),
        }
    }
}

/// Reads `orders=1.3.2`, and `orders@1.3.2` as well; nothing when no version is named.
fn versions(what: &[String]) -> Result<Vec<VersionRef>, Failure> {
    let named = what.iter().filter(|text| text.contains(['=', '@'])).count();
    if named == 0 {
        return Ok(Vec::new());
    }
    what.iter()
        .map(|text| {
            text.replacen('=', "@", 1)
                .parse::<VersionRef>()
                .map_err(|error| Failure::usage(error.to_string()))
        })
        .collect()
}

fn name<T: std::str::FromStr<Err = NameError>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error: NameError| Failure::usage(error.to_string()))
}

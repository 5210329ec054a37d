//! `lockstep deploy`: run these versions.

use lockstep_domain::Intent;

use crate::context::Context;
use crate::failure::Failure;
use crate::follow::prefetch;
use crate::operate::ChangeOptions;
use crate::operate::strategy::StrategyOptions;
use crate::parse::wanted::Typed;
use crate::select::EnvironmentOption;

/// Brings versions into an environment.
///
/// One operation brings all of them, in an order that keeps every call working: providers first when going forward.
/// It waits until the operation is over; a version that does not become healthy or fails too often goes back by itself.
///
/// Where they do not work without others, it is refused, and the answer names the smallest set that works: the least sum of the
/// criticalities of what moves, then the fewest versions. `--with-what-it-needs` takes it; on a terminal it is asked. Nothing that is not
/// named moves otherwise. A service that is named by what is wanted of it (`payments!=1.3.0`) moves only as far as it must.
///
/// `--prefetch` brings the artifacts to where the environment runs and starts nothing: the deploy that follows within a day needs no line that is fast.
/// Of an artifact that is nearly one that a host has, only what differs is sent. It ends with code 1 when a host did not get it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep deploy orders@1.4.0 --env staging
  lockstep deploy orders@1.4.0 payments@2.1.0 --env production --strategy canary --steps 5,25,100 --bake 5m
  lockstep deploy orders@1.4.0 --env production --dry-run
  lockstep deploy orders@1.4.0 --env production --prefetch
  lockstep deploy orders@1.6.0 --env production --with-what-it-needs
  lockstep deploy orders@2.0.0 payments!=1.3.0 catalog=keep 'storefront<=1.2.0' --env production")]
pub(crate) struct Args {
    /// Versions, at most one of each service; or what is wanted of one: `!=VERSION`, `<=VERSION`, `>=VERSION`, `=keep`.
    #[arg(value_name = "SERVICE@VERSION", required = true)]
    services: Vec<Typed>,
    #[command(flatten)]
    environment: EnvironmentOption,
    /// Take along what else has to move, the smallest set that works.
    #[arg(long)]
    with_what_it_needs: bool,
    /// Bring the artifacts to where the environment runs, and start nothing.
    #[arg(long, conflicts_with_all = ["with_what_it_needs", "dry_run", "no_wait"])]
    prefetch: bool,
    #[command(flatten)]
    strategy: StrategyOptions,
    #[command(flatten)]
    change: ChangeOptions,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let environment = self.environment.resolve(ctx)?;
        if self.prefetch {
            return prefetch::run(ctx, &environment, self.services);
        }
        let strategy = self.strategy.resolve(ctx, &environment)?;
        let (mut versions, mut wishes) = (Vec::new(), Vec::new());
        for typed in self.services {
            match typed {
                Typed::Version(version) => versions.push(version),
                Typed::Wish(wish) => wishes.push(wish),
            }
        }
        let change = self.change.change(environment, Intent::Deploy { versions }).strategy(strategy);
        change.wishes(wishes).needs(self.with_what_it_needs).run(ctx)
    }
}

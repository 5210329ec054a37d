//! `lockstep hold`: versions that nothing automatic brings back.

use lockstep_api::types::HeldVersion;
use lockstep_domain::VersionRef;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::Style;
use crate::output::table::Table;
use crate::select::{EnvironmentArgument, EnvironmentOption};

/// Lists and releases holds.
///
/// A version that was rolled back is held in that environment: it cannot come again until someone releases the hold.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep hold list production
  lockstep hold release orders@1.4.0 --env production")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: HoldCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum HoldCommand {
    List(ListArgs),
    Release(ReleaseArgs),
}

/// Lists the holds of an environment.
///
/// Shows each held version with the reason, since when, and who went back from it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep hold list production")]
struct ListArgs {
    #[command(flatten)]
    environment: EnvironmentArgument,
}

/// Releases a hold.
///
/// Afterwards the version may be deployed again. `lockstep deploy --release-holds` does both at once.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep hold release orders@1.4.0 --env production")]
struct ReleaseArgs {
    /// The version.
    #[arg(value_name = "SERVICE@VERSION")]
    version: VersionRef,
    #[command(flatten)]
    environment: EnvironmentOption,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            HoldCommand::List(args) => {
                let environment = args.environment.resolve(ctx)?;
                let holds = ctx.client.environment(&environment)?.holds;
                ctx.out.show(&holds, |holds, style| render(holds, style))
            }
            HoldCommand::Release(args) => {
                let environment = args.environment.resolve(ctx)?;
                let view = ctx.client.release_hold(&environment, &args.version)?;
                ctx.out.show(&view.holds, |_, style| {
                    format!("{}: {} may come to {environment} again\n", style.good("done"), args.version)
                })
            }
        }
    }
}

fn render(holds: &[HeldVersion], style: &Style) -> String {
    if holds.is_empty() {
        return "nothing is held\n".to_owned();
    }
    let mut table = Table::new(["VERSION", "SINCE", "BY", "REASON"]);
    for held in holds {
        let hold = &held.hold;
        table.row([
            held.version.to_string(),
            style.ago(hold.since),
            hold.by.to_string(),
            hold.reason.clone(),
        ]);
    }
    table.render(style)
}

//! `lockstep stage`: move a version through its lifecycle.

use lockstep_api::types::{StageRequest, VersionView};
use lockstep_domain::{StageName, VersionRef};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::Style;

/// Moves a version to a stage.
///
/// It is refused while a gate of the stage is closed; every closed gate is listed. Most stages are entered without
/// this command, by what happens to a version.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep stage orders@1.3.0 deprecated --reason \"1.4 replaces it\"")]
pub(crate) struct Args {
    /// The version.
    #[arg(value_name = "SERVICE@VERSION")]
    version: VersionRef,
    /// The stage it enters.
    #[arg(value_name = "STAGE")]
    stage: StageName,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let request = StageRequest { stage: self.stage, reason: self.reason };
        ctx.out.show(&ctx.client.stage(&self.version, &request)?, text)
    }
}

fn text(view: &VersionView, style: &Style) -> String {
    let version = &view.version;
    format!("{}: {}@{} is in stage {}\n", style.good("done"), view.service, version.number, version.stage)
}

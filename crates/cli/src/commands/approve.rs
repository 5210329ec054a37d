//! `lockstep approve`: say yes to a version entering a stage.

use lockstep_api::types::{ApprovalRequest, VersionView};
use lockstep_domain::{StageName, VersionRef};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::Style;

/// Approves a version for a stage.
///
/// A lifecycle can demand the approval of several people before a version enters a stage. Each person counts once, in
/// whatever spelling; LOCKSTEP_ACTOR says who approves. That is a claim: whoever may use the server can make any.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep approve orders@1.4.0 released --note \"checked the report\"")]
pub(crate) struct Args {
    /// The version.
    #[arg(value_name = "SERVICE@VERSION")]
    version: VersionRef,
    /// The stage.
    #[arg(value_name = "STAGE")]
    stage: StageName,
    /// What there is to say about it.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let request = ApprovalRequest { stage: self.stage.clone(), note: self.note };
        let view = ctx.client.approve(&self.version, &request)?;
        ctx.out.show(&view, |view, style| text(view, &self.stage, style))
    }
}

fn text(view: &VersionView, stage: &StageName, style: &Style) -> String {
    let version = &view.version;
    let given = version.approvals_of(stage);
    let plural = if given == 1 { "approval" } else { "approvals" };
    format!("{}: {}@{} has {given} {plural} for {stage}\n", style.good("done"), view.service, version.number)
}

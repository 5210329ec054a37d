//! `lockstep builds`: the builds of all services, newest first.

use lockstep_api::types::BuildView;

use crate::context::Context;
use crate::failure::Failure;
use crate::follow::build::state_word;
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::times::took;

/// Lists builds, newest first.
///
/// Shows what was built, from which commit, how it ended, and how long it took.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep builds\n  lockstep builds --json")]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        ctx.out.show(&ctx.client.builds()?, |builds, style| render(builds, style))
    }
}

fn render(builds: &[BuildView], style: &Style) -> String {
    if builds.is_empty() {
        return "there is no build yet; start one: lockstep release SERVICE\n".to_owned();
    }
    let mut table = Table::new(["BUILD", "SERVICE", "STATE", "VERSION", "FROM", "BEGAN", "TOOK", "BY"]);
    for build in builds {
        table.row([
            build.id.clone(),
            build.service.to_string(),
            state_word(build.state).into(),
            build.version.as_ref().map_or_else(String::new, ToString::to_string),
            build.reference.clone(),
            style.ago(build.requested),
            build.ended.map_or_else(String::new, |ended| took(ended.since_ms(build.requested))),
            build.actor.clone(),
        ]);
    }
    table.render(style)
}

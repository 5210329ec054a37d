//! `lockstep build`: one build.

use std::fmt::Write as _;

use lockstep_api::types::{BuildState, BuildView};

use crate::context::Context;
use crate::failure::Failure;
use crate::follow::build::state_word;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::output::times::took;

/// Shows or ends a build.
///
/// A build is the way from a commit to a version: check, build, test, package, record.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep build show 7f3a\n  lockstep build cancel 7f3a")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: BuildCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum BuildCommand {
    Show(ShowArgs),
    Cancel(CancelArgs),
}

/// Shows a build with its parts and why it failed.
///
/// Shows the commit, every part with its duration, warnings, and the problem of a build that failed.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep build show 7f3a")]
struct ShowArgs {
    /// The build.
    #[arg(value_name = "BUILD")]
    id: String,
}

/// Ends a build that is under way.
///
/// No process of the build is left and no version is recorded. A build
/// that is over stays as it is.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep build cancel 7f3a")]
struct CancelArgs {
    /// The build.
    #[arg(value_name = "BUILD")]
    id: String,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            BuildCommand::Show(args) => ctx.out.show(&ctx.client.build(&args.id)?, render),
            BuildCommand::Cancel(args) => ctx.out.show(&ctx.client.cancel_build(&args.id)?, cancelled_text),
        }
    }
}

fn cancelled_text(build: &BuildView, style: &Style) -> String {
    match build.state {
        BuildState::Queued | BuildState::Running => format!("build {} is being ended\n", build.id),
        state => format!("{}: build {} is {}\n", style.good("done"), build.id, state_word(state)),
    }
}

fn render(build: &BuildView, style: &Style) -> String {
    let mut text = format!("{}\n", style.strong(&format!("build {}", build.id)));
    text.push_str(&facts(build, style));
    let mut phases = Table::new(["", ""]).indented(4);
    for phase in &build.phases {
        let duration = phase.duration_ms.map_or_else(|| "runs".to_owned(), took);
        phases.row([phase.name.clone(), duration]);
    }
    text.push_str(&phases.render(style));
    for warning in &build.warnings {
        let _ = writeln!(text, "  {} {}", style.warn("warning:"), printable(warning));
    }
    if let Some(problem) = &build.problem {
        let _ = writeln!(text, "  {} {}", style.bad("problem:"), printable(&problem.to_string()));
    }
    let _ = writeln!(text, "log: lockstep logs {}", build.id);
    text
}

fn facts(build: &BuildView, style: &Style) -> String {
    let mut table = Table::new(["", ""]).indented(2);
    table.row(["service".into(), build.service.to_string()]);
    table.row(["state".into(), state_word(build.state).into()]);
    let commit = build.commit.as_ref().map_or_else(String::new, |commit| format!(" ({commit})"));
    table.row(["from".into(), format!("{}{commit}", build.reference)]);
    if let Some(version) = &build.version {
        table.row(["version".into(), version.to_string()]);
    }
    if let Some(reused) = &build.reused {
        table.row(["reuses".into(), format!("build {reused}")]);
    }
    table.row(["began".into(), format!("{} by {}", style.ago(build.requested), build.actor)]);
    if let Some(ended) = build.ended {
        table.row(["took".into(), took(ended.since_ms(build.requested))]);
    }
    table.render(style)
}

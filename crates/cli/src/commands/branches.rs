//! `lockstep branches`: which branch may cut which kind of version.

use std::path::PathBuf;

use lockstep_domain::branch::{BranchPolicy, BranchRule, Cuts};

use crate::context::Context;
use crate::failure::Failure;
use crate::input;
use crate::output::style::Style;
use crate::output::table::Table;

/// Shows and defines which branches may cut which versions.
///
/// The first rule whose pattern matches a branch says what it cuts: a release, a candidate for one, or a version of a
/// feature that goes no further than a certain stage.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep branches show\n  lockstep branches define branches.json")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: BranchesCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum BranchesCommand {
    Show(ShowArgs),
    Define(DefineArgs),
}

/// Shows the rules in their order.
///
/// The JSON form is what `lockstep branches define` reads.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep branches show\n  lockstep branches show --json > branches.json"
)]
struct ShowArgs {}

/// Defines the rules anew.
///
/// The rules of the file replace all rules there are; versions that were cut before stay as they are.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep branches define branches.json")]
struct DefineArgs {
    /// A JSON file with the rules.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let policy = match self.command {
            BranchesCommand::Show(ShowArgs {}) => ctx.client.branch_policy()?,
            BranchesCommand::Define(args) => {
                let policy: BranchPolicy = input::json(&args.file, "lockstep branches show --json")?;
                ctx.client.define_branch_policy(&policy)?
            }
        };
        ctx.out.show(&policy, render)
    }
}

fn render(policy: &BranchPolicy, style: &Style) -> String {
    let mut table = Table::new(["BRANCH", "CUTS", "GOES AS FAR AS"]);
    for BranchRule { pattern, cuts, reach } in &policy.rules {
        let reach = reach.as_ref().map_or_else(|| "any stage".to_owned(), ToString::to_string);
        table.row([pattern.to_string(), cut(cuts), reach]);
    }
    table.render(style)
}

fn cut(cuts: &Cuts) -> String {
    match cuts {
        Cuts::Release => "releases: 1.5.0".into(),
        Cuts::Candidate { label } => format!("candidates: 1.5.0-{label}.N"),
        Cuts::Feature => "feature versions: 1.5.0-NAME.N".into(),
    }
}

//! `lockstep store`: what is kept, and what nothing needs any more.

use std::fmt::Write as _;

use lockstep_api::types::{CollectReport, CollectRequest, Mode};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::style::Style;
use crate::output::table::Table;

/// Characters of a digest that are shown in a table.
const SHORT_DIGEST: usize = 12;

/// Looks after the store of artifacts and documents.
///
/// Artifacts, documents and reports are kept by the digest of their content and verified whenever they are read.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep store gc --dry-run")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum StoreCommand {
    Gc(GcArgs),
}

/// Collects what nothing needs any more.
///
/// A version that any baseline names is never collected, so every rollback stays possible. With --dry-run it says what
/// would go, and why the rest stays.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep store gc --dry-run\n  lockstep store gc")]
struct GcArgs {
    /// Only say what would go and why the rest stays.
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let StoreCommand::Gc(args) = self.command;
        let mode = if args.dry_run { Mode::DryRun } else { Mode::Execute };
        ctx.out.show(&ctx.client.collect(&CollectRequest { mode })?, render)
    }
}

fn render(report: &CollectReport, style: &Style) -> String {
    let mut table = Table::new(["DIGEST", "BYTES", "", "WHY"]);
    for blob in &report.goes {
        let digest = short(&blob.digest.to_string());
        table.row([digest, blob.bytes.to_string(), "goes".into(), "nothing needs it".into()]);
    }
    for blob in &report.stays {
        let digest = short(&blob.digest.to_string());
        table.row([digest, blob.bytes.to_string(), "stays".into(), blob.reasons.join(", ")]);
    }
    let mut text = if table.is_empty() { String::new() } else { table.render(style) };
    let bytes: u64 = report.goes.iter().map(|blob| blob.bytes).sum();
    let verb = if report.mode == Mode::DryRun { "would go" } else { "went" };
    let _ = writeln!(
        text,
        "{} of {} blobs {verb}: {bytes} bytes",
        report.goes.len(),
        report.goes.len() + report.stays.len()
    );
    text
}

fn short(digest: &str) -> String {
    digest.chars().take(SHORT_DIGEST).collect()
}

//! `lockstep store`: what is kept, and what nothing needs any more.

use lockstep_api::types::{CollectReport, CollectRequest, FolderReport, Mode};

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
/// Blobs that no version names, unpacked artifacts that nothing runs or would need at once, and mirrors of repositories
/// that no service comes from. A version that any baseline names is never collected, so every rollback stays possible:
/// an artifact is unpacked again from its blob. With --dry-run it says what would go, and why the rest stays.
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
    let mut table = Table::new(["WHAT", "NAME", "BYTES", "", "WHY"]);
    report.goes.iter().for_each(|blob| goes(&mut table, "blob", &short(&blob.digest), blob.bytes));
    report.releases.goes.iter().for_each(|it| goes(&mut table, "unpacked", &short(&it.name), it.bytes));
    report.mirrors.goes.iter().for_each(|it| goes(&mut table, "mirror", &it.name, it.bytes));
    let mut stays = |what: &str, name: &str, bytes: u64, reasons: &[String]| {
        table.row([what.into(), name.into(), bytes.to_string(), "stays".into(), reasons.join(", ")]);
    };
    report.stays.iter().for_each(|blob| stays("blob", &short(&blob.digest), blob.bytes, &blob.reasons));
    report.releases.stays.iter().for_each(|it| stays("unpacked", &short(&it.name), it.bytes, &it.reasons));
    report.mirrors.stays.iter().for_each(|it| stays("mirror", &it.name, it.bytes, &it.reasons));
    let mut text = if table.is_empty() { String::new() } else { table.render(style) };
    text.push_str(&summary(report));
    text
}

fn goes(table: &mut Table, what: &str, name: &str, bytes: u64) {
    table.row([what.into(), name.into(), bytes.to_string(), "goes".into(), "nothing needs it".into()]);
}

/// Counts what goes, a line for each kind.
fn summary(report: &CollectReport) -> String {
    let verb = if report.mode == Mode::DryRun { "would go" } else { "went" };
    let folders = |folders: &FolderReport| {
        let bytes = folders.goes.iter().map(|folder| folder.bytes).sum::<u64>();
        (folders.goes.len(), folders.stays.len(), bytes)
    };
    let blobs = report.goes.iter().map(|blob| blob.bytes).sum::<u64>();
    let counts = [
        ("blobs", (report.goes.len(), report.stays.len(), blobs)),
        ("unpacked artifacts", folders(&report.releases)),
        ("mirrors of repositories", folders(&report.mirrors)),
    ];
    let line = |(what, (gone, left, bytes)): (&str, (usize, usize, u64))| {
        format!("{gone} of {} {what} {verb}: {bytes} bytes\n", gone + left)
    };
    counts.map(line).concat()
}

/// Returns the beginning of a digest.
fn short(digest: &impl ToString) -> String {
    digest.to_string().chars().take(SHORT_DIGEST).collect()
}

#[cfg(test)]
mod tests {
    use lockstep_api::types::{CollectedFolder, KeptFolder};

    use super::*;

    #[test]
    fn every_kind_is_listed_with_its_reason_and_counted() {
        let report = CollectReport {
            mode: Mode::DryRun,
            goes: vec![],
            stays: vec![],
            releases: FolderReport {
                goes: vec![CollectedFolder { name: "aabbccddeeff0011".into(), bytes: 70 }],
                stays: vec![],
            },
            mirrors: FolderReport {
                goes: vec![],
                stays: vec![KeptFolder {
                    name: "orders-0a1b".into(),
                    bytes: 9,
                    reasons: vec!["repository of orders".into(), "repository of payments".into()],
                }],
            },
        };
        assert_eq!(
            render(&report, &Style::plain()),
            "WHAT      NAME          BYTES         WHY\n\
             unpacked  aabbccddeeff  70     goes   nothing needs it\n\
             mirror    orders-0a1b   9      stays  repository of orders, repository of payments\n\
             0 of 0 blobs would go: 0 bytes\n\
             1 of 1 unpacked artifacts would go: 70 bytes\n\
             0 of 1 mirrors of repositories would go: 0 bytes\n"
        );
    }
}

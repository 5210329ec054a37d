//! `lockstep backup`: a data folder as one file, and back.
//!
//! It works on the folder and not over the API: a backup holds every secret, and who may read the folder has them already.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_domain::{Digest, Event, Timestamp};
use lockstep_files::whole::Occupied;
use lockstep_store::backup::{
    self, BackupError, BlobsOf, KeyOf, OnProgress, Progress as Done, Summary, Taking,
};
use lockstep_store::journal::Record;
use serde::Serialize;

use super::server::default_data;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::style::Style;
use crate::progress::Progress;

/// Lost blobs that are named one by one.
const SHOWN_LOST: usize = 10;

/// Backs up a data folder, and restores one.
///
/// A backup is one file that holds the journal at one number, the blobs that it names, and all secrets, with the key of the
/// journal when that is in the data folder: for its owner only, and to be kept like a key. It is taken beside a running server. Unpacked artifacts, mirrors, logs of builds and instances
/// are not in it, and neither is what services have written themselves.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep backup create /backup/lockstep-monday")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: BackupCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum BackupCommand {
    Create(CreateArgs),
    Verify(VerifyArgs),
    Restore(RestoreArgs),
}

/// Takes a backup of a data folder, also while its server runs.
///
/// The file appears under its name when it is whole. Run it as the user that the server runs as.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep backup create lockstep.backup
  lockstep backup create /backup/lockstep.backup --data /var/lib/lockstep --force")]
struct CreateArgs {
    /// The file to write.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data folder [default: ~/.local/share/lockstep].
    #[arg(long, value_name = "DIR", env = "LOCKSTEP_DATA")]
    data: Option<PathBuf>,
    /// Replace the file when it is there already.
    #[arg(long)]
    force: bool,
}

/// Checks that a backup is whole.
///
/// Reads all of it as a restore does: every digest, the chain of the journal, and that nothing is missing which it names.
/// Nothing is kept of it.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep backup verify /backup/lockstep.backup")]
struct VerifyArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Makes a data folder of a backup.
///
/// Everything is checked before the folder appears, as a whole. It must not exist yet, or be empty. A server asks before it
/// begins in it, because the original may run on: --adopt, once, says that this one counts. It starts instances of its own,
/// and leaves those of the original alone.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep backup restore /backup/lockstep.backup --data /var/lib/lockstep"
)]
struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data folder to make.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// What is told at the end.
#[derive(Debug, Serialize)]
struct Report {
    /// The file.
    file: PathBuf,
    /// The folder that was restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    #[serde(flatten)]
    summary: Summary,
    /// Versions that were released.
    versions: u64,
    /// Bytes of the file.
    file_bytes: u64,
}

impl Args {
    pub(crate) fn run(self, out: &Output) -> Result<(), Failure> {
        match self.command {
            BackupCommand::Create(args) => args.run(out),
            BackupCommand::Verify(args) => args.run(out),
            BackupCommand::Restore(args) => args.run(out),
        }
    }
}

impl CreateArgs {
    fn run(self, out: &Output) -> Result<(), Failure> {
        let data = self.data.or_else(default_data);
        let data =
            data.ok_or_else(|| Failure::usage("there is no data folder").hint("name one with --data DIR"))?;
        let taking = Taking {
            folder: &data,
            file: &self.file,
            occupied: if self.force { Occupied::Replace } else { Occupied::Refuse },
            now: now(),
            program: concat!("lockstep ", env!("CARGO_PKG_VERSION")),
        };
        let report = told(out, &self.file, None, |blobs_of, on_progress| {
            backup::create(&taking, blobs_of, on_progress)
        })?;
        out.show(&report, |report, style| text(report, "is backed up in", &self.file, "", style))?;
        whole(&report)
    }
}

impl VerifyArgs {
    fn run(self, out: &Output) -> Result<(), Failure> {
        let work = Work::begin()?;
        let report = told(out, &self.file, None, |blobs_of, on_progress| {
            backup::verify(&self.file, &work.0, blobs_of, on_progress)
        })?;
        out.show(&report, |report, style| text(report, "is whole in", &self.file, "", style))
    }
}

impl RestoreArgs {
    fn run(self, out: &Output) -> Result<(), Failure> {
        let report = told(out, &self.file, Some(&self.data), |blobs_of, on_progress| {
            backup::restore(&self.file, &self.data, blobs_of, on_progress)
        })?;
        let next = format!(
            "next, when the original is gone: lockstep server --adopt --data {}\n",
            self.data.display()
        );
        out.show(&report, |report, style| text(report, "is restored in", &self.data, &next, style))
    }
}

/// Carries something out, showing how far it is, and tells what it holds.
fn told(
    out: &Output,
    file: &Path,
    data: Option<&Path>,
    work: impl FnOnce(BlobsOf<'_>, OnProgress<'_>) -> Result<Summary, BackupError>,
) -> Result<Report, Failure> {
    let progress = Progress::begin(out);
    progress.status("the journal");
    let mut versions = BTreeSet::new();
    let mut blobs_of = |record: &Record| {
        let event: Event = serde_json::from_str(&record.event).map_err(|error| error.to_string())?;
        if matches!(event, Event::VersionRecorded { .. }) {
            versions.insert(record.seq);
        }
        Ok(event.blobs())
    };
    let done = work(&mut blobs_of, &mut |done| show(&progress, done));
    let summary = done.map_err(|error| failure(&error))?;
    let file_bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    let (file, data, versions) = (file.to_owned(), data.map(Path::to_owned), versions.len() as u64);
    Ok(Report { file, data, summary, versions, file_bytes })
}

fn show(progress: &Progress, done: Done) {
    let Done { files, files_of, bytes, bytes_of } = done;
    progress.status(&format!(
        "{files} of {files_of} files, {} of {} MB",
        bytes / 1_000_000,
        bytes_of / 1_000_000
    ));
}

fn text(report: &Report, what: &str, place: &Path, next: &str, style: &Style) -> String {
    let Report { summary, versions, file_bytes, .. } = report;
    let Summary { seq, last_hash, blobs, secrets, bytes, .. } = summary;
    let place = place.display();
    let mut text = format!("{}: the journal up to record {seq} {what} {place}\n", style.good("done"));
    let _ = writeln!(
        text,
        "  {versions} versions, {blobs} blobs, {secrets} secrets: {bytes} bytes, {file_bytes} in the file"
    );
    let _ = writeln!(text, "  the last record has hash {last_hash}");
    if summary.journal_key == KeyOf::Elsewhere {
        text.push_str("  the key of the journal is not in it: it lies outside the data folder, and a restored server needs it\n");
    }
    text.push_str(next);
    text
}

/// A backup that lacks what was lost before is one, and is told from a good one.
fn whole(report: &Report) -> Result<(), Failure> {
    let lost = &report.summary.lost;
    if lost.is_empty() {
        return Ok(());
    }
    let shown: Vec<_> = lost.iter().take(SHOWN_LOST).map(Digest::to_string).collect();
    let detail =
        format!("{} blobs that the journal names were lost before: {}", lost.len(), shown.join(", "));
    Err(Failure::new(Exit::EndedBadly, detail)
        .hint("the backup holds everything else; build those versions again, or restore the blobs from an older one"))
}

fn failure(error: &BackupError) -> Failure {
    let exit = match error {
        BackupError::Journal(journal) => Exit::of_journal(journal),
        BackupError::InUse { .. } => Exit::Conflict,
        BackupError::Full { .. } | BackupError::TooLarge { .. } => Exit::Unreachable,
        BackupError::Damaged { .. } | BackupError::Unknown { .. } => Exit::EndedBadly,
        BackupError::Event { .. }
        | BackupError::Exists { .. }
        | BackupError::NotEmpty { .. }
        | BackupError::MountPoint { .. }
        | BackupError::NewerFormat { .. }
        | BackupError::File { .. } => Exit::Usage,
    };
    let failure = Failure::new(exit, error.to_string()).hint(error.hint());
    match std::error::Error::source(error) {
        Some(source) => failure.caused_by(source),
        None => failure,
    }
}

fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

/// A folder of its own for the journal while it is checked; dropped, it is removed.
struct Work(PathBuf);

impl Work {
    fn begin() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("lockstep-backup-{}", std::process::id()));
        let made =
            std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&folder);
        made.map_err(|error| Failure::file("make", &folder, &error))?;
        Ok(Self(folder))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

//! `lockstep journal`: check and export the record of everything.

mod offline;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lockstep_api::types::JournalReport;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::style::Style;
use crate::output::{Format, cut_off};
use crate::secret;

/// Checks and exports the journal.
///
/// The journal is the append-only record of every decision. Each record carries the hash of the one before it, so that
/// one that was altered, removed or moved is found, and what is appended together ends with a code of the journal's key, so
/// that one which the server did not write is found.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep journal verify\n  lockstep journal export > journal.jsonl")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum JournalCommand {
    Verify(VerifyArgs),
    Export(ExportArgs),
    Accept(AcceptArgs),
}

/// Finds any record that was altered, removed, moved or forged, and names the first.
///
/// Asks the server, or checks a data folder or an exported file without one. Ends with code 1 when a record is not as
/// it was written, or the key is missing. Records that are older than the key, and those of an exported file, are chained
/// only: nothing says who wrote them. The hash of the last record, noted elsewhere, proves later that nothing up to here was
/// changed.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep journal verify
  lockstep journal verify --data /var/lib/lockstep
  lockstep journal verify --file journal.jsonl")]
struct VerifyArgs {
    /// Check the journal of this data folder, without a server.
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    data: Option<PathBuf>,
    /// The file with the key of the journal [default: journal.key in the data folder].
    #[arg(long, value_name = "FILE", requires = "data")]
    journal_key: Option<PathBuf>,
    /// Check an exported file, without a server.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Writes the journal as JSON lines.
///
/// Every record is one line, with its hash and the hash of the one before it, just as it is stored.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep journal export > journal.jsonl
  lockstep journal export --output journal.jsonl && lockstep journal verify --file journal.jsonl")]
struct ExportArgs {
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Takes the journal of a data folder as it is for complete.
///
/// For an operator who restored an older journal on purpose, or lost its key: the server refuses to start on a journal whose
/// end was cut off, or that it has no key of. The chain of all records is checked first. The journal gets a new key, and a record
/// that says who accepted it and why is the first of it; records up to there are chained only from now on. On a journal with
/// which nothing is wrong it exchanges the key. No server may be running on the folder.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep journal accept --data /var/lib/lockstep --reason 'restored the database of Monday'
  lockstep journal accept --data /var/lib/lockstep --journal-key /etc/lockstep/journal.key --reason 'key was read by others'")]
struct AcceptArgs {
    /// The data folder.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The file that gets the new key [default: journal.key in the data folder].
    #[arg(long, value_name = "FILE")]
    journal_key: Option<PathBuf>,
    /// Why; it stands in the journal.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            JournalCommand::Verify(args) => report(ctx, &args.report(ctx)?),
            JournalCommand::Export(args) => export(ctx, args.output.as_deref()),
            JournalCommand::Accept(args) => report(ctx, &args.accept(ctx)?),
        }
    }
}

impl VerifyArgs {
    fn report(&self, ctx: &Context) -> Result<JournalReport, Failure> {
        match (&self.data, &self.file) {
            (Some(folder), _) => offline::folder(folder, &secret::journal_key(self.journal_key.clone())),
            (None, Some(file)) => offline::file(file),
            (None, None) => Ok(ctx.client.verify_journal()?),
        }
    }
}

impl AcceptArgs {
    fn accept(self, ctx: &Context) -> Result<JournalReport, Failure> {
        offline::accept(ctx, &self.data, &secret::journal_key(self.journal_key), self.reason)
    }
}

fn report(ctx: &Context, report: &JournalReport) -> Result<(), Failure> {
    let Some(tampered) = &report.tampered else {
        return ctx.out.show(report, text);
    };
    if ctx.out.format == Format::Json {
        ctx.out.document(report)?;
    }
    let detail = format!("record {} is not as it was written: {}", tampered.seq, tampered.what);
    Err(Failure::new(Exit::EndedBadly, detail)
        .hint("keep a copy of the data folder, then restore it from a backup made before"))
}

fn text(report: &JournalReport, style: &Style) -> String {
    let last = report.last_hash.map_or_else(String::new, |hash| format!("; the last one has hash {hash}"));
    let keyed = keyed(report);
    format!("{}: all {} records are as they were written{last}\n{keyed}", style.good("done"), report.records)
}

/// Says of which records it is known who wrote them.
fn keyed(report: &JournalReport) -> String {
    match report.keyed_after {
        Some(0) => String::new(),
        Some(1) => "  record 1 is older than the key: chained, not keyed\n".to_owned(),
        Some(older) => format!("  records 1 to {older} are older than the key: chained, not keyed\n"),
        None => "  no key was looked at: they are chained, and nothing says who wrote them\n".to_owned(),
    }
}

fn export(ctx: &Context, output: Option<&Path>) -> Result<(), Failure> {
    let stream = ctx.client.export_journal()?;
    let Some(path) = output else { return ctx.out.copy(stream) };
    let fail = |error: &io::Error| Failure::file("write", path, error);
    let mut file = File::create(path).map_err(|error| fail(&error))?;
    let mut stream = Source { stream, error: None };
    let copied = io::copy(&mut stream, &mut file).and_then(|bytes| file.flush().map(|()| bytes));
    match (stream.error, copied) {
        (Some(error), _) => Err(cut_off(&error)),
        (None, Err(error)) => Err(fail(&error)),
        (None, Ok(bytes)) => {
            ctx.out.show(&serde_json::json!({ "file": path, "bytes": bytes }), |_, style| {
                format!("{}: {bytes} bytes are in {}\n", style.good("done"), path.display())
            })
        }
    }
}

/// Remembers an error of the reading side, which `io::copy` does not tell from one of the writing side.
struct Source<R> {
    stream: R,
    error: Option<io::Error>,
}

impl<R: io::Read> io::Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.error = Some(error);
            }
            kind.into()
        })
    }
}

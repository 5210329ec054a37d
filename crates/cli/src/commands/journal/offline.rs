//! Checking a journal without a server.

use std::error::Error;
use std::io::BufReader;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_api::types::{JournalReport, TamperedRecord};
use lockstep_domain::{Event, Timestamp};
use lockstep_files::foreign;
use lockstep_store::journal::{ExportProblem, NewRecord, Tampered, Verified, verify_export};
use lockstep_store::{Journal, JournalError};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Checks the journal of a data folder; a server may be running on it.
pub(super) fn folder(folder: &Path) -> Result<JournalReport, Failure> {
    let verified = Journal::open_read_only(folder).and_then(|journal| journal.verify());
    of_folder(verified)
}

/// Takes the journal of a data folder as it is for complete, and records that and by whom.
pub(super) fn accept(ctx: &Context, folder: &Path) -> Result<JournalReport, Failure> {
    let accepted = Journal::accept(folder);
    if let Ok(accepted) = &accepted {
        record_acceptance(ctx, folder, accepted)?;
    }
    of_folder(accepted)
}

fn record_acceptance(ctx: &Context, folder: &Path, accepted: &Verified) -> Result<(), Failure> {
    let Verified { records, last_hash } = *accepted;
    let internal = |error: &(dyn Error + 'static)| {
        Failure::new(Exit::Internal, "it is accepted and not recorded").caused_by(error)
    };
    let event = serde_json::to_string(&Event::JournalAccepted { records, last_hash });
    let event = event.map_err(|error| internal(&error))?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let mut journal = Journal::open(folder).map_err(|error| internal(&error))?;
    let appended = journal.append(records, &[NewRecord { at, actor: ctx.actor.clone(), event }]);
    appended.map(|_| ()).map_err(|error| internal(&error))
}

/// Checks an exported file.
pub(super) fn file(path: &Path) -> Result<JournalReport, Failure> {
    let file = foreign::open_named(path).map_err(|error| Failure::file("open", path, &error))?;
    match verify_export(BufReader::new(file)) {
        Ok(verified) => Ok(whole(&verified)),
        Err(ExportProblem::Tampered { source, .. }) => Ok(tampered(&source)),
        Err(error) => Err(because(Failure::usage(format!("{error} in `{}`", path.display())), &error)),
    }
}

fn of_folder(verified: Result<Verified, JournalError>) -> Result<JournalReport, Failure> {
    match verified {
        Ok(verified) => Ok(whole(&verified)),
        Err(JournalError::Tampered(found)) => Ok(tampered(&found)),
        Err(error) => {
            let failure = Failure::new(Exit::of_journal(&error), error.to_string());
            Err(because(failure, &error).hint(error.hint()))
        }
    }
}

/// Adds what lies behind an error that has said its own text already.
fn because(failure: Failure, error: &(dyn Error + 'static)) -> Failure {
    match error.source() {
        Some(source) => failure.caused_by(source),
        None => failure,
    }
}

const fn whole(verified: &Verified) -> JournalReport {
    JournalReport { records: verified.records, last_hash: Some(verified.last_hash), tampered: None }
}

fn tampered(found: &Tampered) -> JournalReport {
    let what = format!("it {}: expected {}, found {}", found.wrong, found.expected, found.found);
    let record = TamperedRecord { seq: found.seq, what };
    JournalReport { records: found.seq.saturating_sub(1), last_hash: None, tampered: Some(record) }
}

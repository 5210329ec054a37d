//! Checking a journal without a server.

use std::error::Error;
use std::io::BufReader;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_api::types::{JournalReport, TamperedRecord};
use lockstep_domain::{Event, Timestamp};
use lockstep_files::foreign;
use lockstep_store::journal::{ExportProblem, KeyPlace, NewRecord, Tampered, Verified, verify_export};
use lockstep_store::{Journal, JournalError};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// Checks the journal of a data folder; a server may be running on it.
pub(super) fn folder(folder: &Path, key: &KeyPlace) -> Result<JournalReport, Failure> {
    of_folder(Journal::open_read_only_with(folder, key).and_then(|journal| journal.verify()))
}

/// Takes the journal of a data folder as it is for complete, and records that, by whom and why.
pub(super) fn accept(
    ctx: &Context,
    folder: &Path,
    key: &KeyPlace,
    reason: String,
) -> Result<JournalReport, Failure> {
    let record = |found: &Verified| acceptance(ctx, found, reason);
    of_folder(Journal::accept(folder, key, record))
}

fn acceptance(ctx: &Context, found: &Verified, reason: String) -> NewRecord {
    let Verified { records, last_hash, .. } = *found;
    let event = Event::JournalAccepted { records, last_hash, reason };
    let event = serde_json::to_string(&event).expect("numbers and texts are JSON");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    NewRecord { at, actor: ctx.actor.clone(), event }
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
    let Verified { records, last_hash, keyed_after } = *verified;
    JournalReport { records, last_hash: Some(last_hash), keyed_after, tampered: None }
}

fn tampered(found: &Tampered) -> JournalReport {
    let what = format!("it {}: expected {}, found {}", found.wrong, found.expected, found.found);
    let record = TamperedRecord { seq: found.seq, what };
    JournalReport {
        records: found.seq.saturating_sub(1),
        last_hash: None,
        keyed_after: None,
        tampered: Some(record),
    }
}

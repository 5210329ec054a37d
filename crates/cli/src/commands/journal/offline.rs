//! Checking a journal without a server.

use std::error::Error;
use std::io::BufReader;
use std::path::Path;

use lockstep_api::types::{JournalReport, TamperedRecord};
use lockstep_files::foreign;
use lockstep_store::journal::{ExportProblem, Tampered, Verified, verify_export};
use lockstep_store::{Journal, JournalError};

use crate::exit::Exit;
use crate::failure::Failure;

/// Checks the journal of a data folder; a server may be running on it.
pub(super) fn folder(folder: &Path) -> Result<JournalReport, Failure> {
    let verified = Journal::open_read_only(folder).and_then(|journal| journal.verify());
    of_folder(verified)
}

/// Takes the journal of a data folder as it is for complete.
pub(super) fn accept(folder: &Path) -> Result<JournalReport, Failure> {
    of_folder(Journal::accept(folder))
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

//! What the tests share: folders with journals in them.

use std::path::Path;

use lockstep_domain::Timestamp;
use lockstep_store::journal::{Journal, NewRecord};
use rusqlite::Connection;
use tempfile::TempDir;

pub(crate) fn new(at: u64, event: &str) -> NewRecord {
    NewRecord { at: Timestamp(at), actor: "ann".parse().unwrap(), event: event.to_owned() }
}

/// Makes records with the events `{"n":1}`, `{"n":2}` and so on.
pub(crate) fn numbered(count: u64) -> Vec<NewRecord> {
    (1..=count).map(|n| new(n, &format!(r#"{{"n":{n}}}"#))).collect()
}

pub(crate) fn folder_with(records: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    Journal::open(folder.path()).unwrap().append(0, &numbered(records)).unwrap();
    folder
}

/// Runs SQL on the database behind the journal's back.
pub(crate) fn sql(folder: &Path, statements: &str) {
    Connection::open(folder.join("journal.db")).unwrap().execute_batch(statements).unwrap();
}

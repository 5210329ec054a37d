//! What the tests share: folders with journals in them.

use std::fs;
use std::path::Path;

use lockstep_domain::Timestamp;
use lockstep_store::journal::{Journal, JournalError, KeyPlace, NewRecord, Record, Verified};
use rusqlite::{Connection, params};
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

pub(crate) const DROP_TRIGGERS: &str =
    "DROP TRIGGER record_only_appends; DROP TRIGGER record_never_changes; DROP TRIGGER record_never_goes;";

/// Changes the records as someone would who knows SQLite: takes the triggers away and puts them back.
pub(crate) fn tamper(folder: &Path, change: impl FnOnce(&Connection)) {
    let db = Connection::open(folder.join("journal.db")).unwrap();
    let select = "SELECT group_concat(sql, ';') FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid";
    let triggers: String = db.query_row(select, [], |row| row.get(0)).unwrap();
    db.execute_batch(DROP_TRIGGERS).unwrap();
    change(&db);
    db.execute_batch(&triggers).unwrap();
}

/// Accepts the journal as an operator does.
pub(crate) fn accept(folder: &Path) -> Result<Verified, JournalError> {
    Journal::accept(folder, &KeyPlace::DataFolder, |_| new(0, r#"{"accepted":true}"#))
}

/// A folder as the last release without keys left it.
pub(crate) fn of_format_1() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    sql(folder.path(), include_str!("data/journal-format-1.sql"));
    fs::write(folder.path().join("journal.head"), include_str!("data/journal-format-1.head")).unwrap();
    folder
}

/// Writes a record as it is, in the place of one with its number.
pub(crate) fn write_record(db: &Connection, record: &Record, code: Option<&[u8]>) {
    let Record { seq, at, actor, event, previous, hash } = record;
    let row = params![
        seq.cast_signed(),
        at.0.cast_signed(),
        actor.as_str(),
        event,
        previous.as_bytes(),
        hash.as_bytes(),
        code
    ];
    db.execute("INSERT OR REPLACE INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", row).unwrap();
}

//! The SQLite database of the journal: how it is opened, which tables it has, and that they are still the same.
//!
//! Invariant: a database that was opened has exactly the tables and triggers of its format; the triggers forbid every
//! change of a record, also to other programs. What an older program wrote can be read, and written after [`upgrade`].

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use lockstep_domain::Digest;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};

use super::error::JournalError;
use super::record::{GENESIS, Head};

/// The format of the database that this program writes, kept in `user_version`.
pub(crate) const FORMAT: u32 = 2;
/// The write-ahead log shrinks to this after a large snapshot went through it; appends alone need a few mebibytes.
const LOG_BYTES_KEPT: u32 = 64 << 20;
/// How long to wait for a reader that recovers the write-ahead log; it needs milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Adds to the records of format 1 what those of format 2 have; `code` is set in the last record of a batch.
const ADD_CODES: &str = "ALTER TABLE record ADD COLUMN code BLOB";

/// Every object of the database with the statement that makes it, as SQLite keeps it.
const SCHEMA: [(&str, &str); 5] = [
    (
        "record",
        "CREATE TABLE record (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, \
         event TEXT NOT NULL, previous BLOB NOT NULL, hash BLOB NOT NULL, code BLOB) STRICT",
    ),
    (
        "record_only_appends",
        "CREATE TRIGGER record_only_appends BEFORE INSERT ON record \
         WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM record) \
         BEGIN SELECT RAISE(ABORT, 'the journal only takes the next record'); END",
    ),
    (
        "record_never_changes",
        "CREATE TRIGGER record_never_changes BEFORE UPDATE ON record \
         BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    ),
    (
        "record_never_goes",
        "CREATE TRIGGER record_never_goes BEFORE DELETE ON record \
         BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END",
    ),
    (
        "snapshot",
        "CREATE TABLE snapshot (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL, format INTEGER NOT NULL, \
         bytes INTEGER NOT NULL, body BLOB NOT NULL, digest BLOB NOT NULL) STRICT",
    ),
];

/// What a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Nothing yet.
    Empty,
    /// Format 1: records that are chained.
    Chained,
    /// Format 2: records that are chained, and codes of a key.
    Keyed,
}

impl Format {
    /// The number that stands for it in the database.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Empty => 0,
            Self::Chained => 1,
            Self::Keyed => FORMAT,
        }
    }

    /// The statement that makes an object in this format.
    fn statement(self, name: &str, newest: &str) -> String {
        match (self, name) {
            (Self::Chained, "record") => newest.replace(", code BLOB)", ")"),
            _ => newest.to_owned(),
        }
    }
}

/// Opens the database for writing and tells its format; an empty one gets its tables by [`create_schema`].
pub(crate) fn open_for_writing(path: &Path) -> Result<(Connection, Format), JournalError> {
    create_private(path)?;
    let failed = JournalError::database(path);
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW,
    )
    .map_err(&failed)?;
    db.busy_timeout(BUSY_TIMEOUT).map_err(&failed)?;
    let format = known_format(&db, path)?;
    db.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; \
         PRAGMA journal_size_limit = {LOG_BYTES_KEPT};"
    ))
    .map_err(&failed)?;
    if format != Format::Empty {
        check_schema(&db, path, format)?;
    }
    Ok((db, format))
}

/// Opens the database for reading only, also while a server writes to it.
pub(crate) fn open_for_reading(path: &Path) -> Result<(Connection, Format), JournalError> {
    if !path.exists() {
        return Err(JournalError::Missing { path: path.to_owned() });
    }
    let failed = JournalError::database(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(&failed)?;
    db.busy_timeout(BUSY_TIMEOUT).map_err(&failed)?;
    let format = known_format(&db, path)?;
    if format == Format::Empty {
        return Err(JournalError::Missing { path: path.to_owned() });
    }
    check_schema(&db, path, format)?;
    Ok((db, format))
}

/// Makes the tables of an empty database.
pub(crate) fn create_schema(db: &mut Connection) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (_, statement) in SCHEMA {
        transaction.execute_batch(statement)?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Makes a database of format 1 one of format 2, in one step. Its snapshots have no code and go: a state that anybody could
/// have written is folded anew.
pub(crate) fn upgrade(db: &mut Connection) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(ADD_CODES)?;
    transaction.execute_batch("DELETE FROM snapshot")?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Reads the number and hash of the last record.
pub(crate) fn last(db: &Connection, path: &Path) -> Result<Head, JournalError> {
    let row = "SELECT seq, hash FROM record ORDER BY seq DESC LIMIT 1";
    let head = |row: &rusqlite::Row<'_>| {
        Ok(Head { seq: row.get::<_, i64>(0)?.cast_unsigned(), hash: digest(row, 1)? })
    };
    let found = db.query_row(row, [], head).optional().map_err(JournalError::database(path))?;
    Ok(found.unwrap_or(Head::EMPTY))
}

/// Reads the stored hash of one record; of record 0 it is [`GENESIS`].
pub(crate) fn hash_at(db: &Connection, path: &Path, seq: u64) -> Result<Option<Digest>, JournalError> {
    if seq == 0 {
        return Ok(Some(GENESIS));
    }
    let row = "SELECT hash FROM record WHERE seq = ?1";
    let hash = db.query_row(row, [seq.cast_signed()], |row| digest(row, 0)).optional();
    hash.map_err(JournalError::database(path))
}

/// Reads the code of one record, if it has one.
pub(crate) fn code_at(db: &Connection, path: &Path, seq: u64) -> Result<Option<Vec<u8>>, JournalError> {
    let row = "SELECT code FROM record WHERE seq = ?1";
    let code = db.query_row(row, [seq.cast_signed()], |row| row.get(0)).optional();
    code.map(Option::flatten).map_err(JournalError::database(path))
}

/// Reads a digest column.
pub(crate) fn digest(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    row.get(column).map(Digest::from_bytes)
}

/// Makes the file for its owner only before SQLite sees it. An existing one is never opened here: closing any handle
/// of a database file would release the locks that SQLite holds on it in this process.
fn create_private(path: &Path) -> Result<(), JournalError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(JournalError::file(path))
        }
        Err(error) => Err(JournalError::file(path)(error)),
    }
}

fn known_format(db: &Connection, path: &Path) -> Result<Format, JournalError> {
    let found: u32 =
        db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(JournalError::database(path))?;
    let known = [Format::Empty, Format::Chained, Format::Keyed];
    let format = known.into_iter().find(|format| format.number() == found);
    format.ok_or_else(|| JournalError::NewerFormat { path: path.to_owned(), found })
}

fn check_schema(db: &Connection, path: &Path, format: Format) -> Result<(), JournalError> {
    let mut found = read_schema(db).map_err(JournalError::database(path))?;
    let differs = |object: &str, problem| {
        Err(JournalError::Schema { path: path.to_owned(), object: object.to_owned(), problem })
    };
    for (name, newest) in SCHEMA {
        let statement = format.statement(name, newest);
        match found.remove(name) {
            None => return differs(name, "is missing"),
            Some(sql) if sql != statement => return differs(name, "was changed"),
            Some(_) => {}
        }
    }
    match found.keys().next() {
        Some(name) => differs(name, "does not belong there"),
        None => Ok(()),
    }
}

fn read_schema(db: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = db.prepare("SELECT name, coalesce(sql, '') FROM sqlite_schema")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

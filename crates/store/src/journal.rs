//! The journal of one data folder: the append-only, hash-chained record of everything that was decided.
//!
//! It does not know what an event means, has no clock and starts no thread: all calls block. Invariant: one process
//! writes, a batch is in the journal as a whole and durable when [`Journal::append`] returns, and no record ever
//! changes. The format and what can and cannot be detected are written down in `docs/design/journal.md`.

mod chain;
mod database;
mod error;
mod export;
mod head;
mod lock;
mod reader;
mod record;
mod snapshot;

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, params};

pub use chain::{Tampered, Wrong};
pub use error::{AppendError, JournalError};
pub use export::{ExportError, ExportProblem, verify_export};
pub use reader::{JournalReader, Verified};
pub use record::{GENESIS, Head, MAX_EVENT_BYTES, NewRecord, RECORD_FORMAT, Record};
pub use snapshot::{MAX_SNAPSHOT_BYTES, Snapshot};

use head::HeadFile;
use lock::Lock;

/// Most records in one batch: one decision makes a few; the bound keeps a transaction's memory small.
pub const MAX_BATCH: usize = 10_000;

const DATABASE: &str = "journal.db";
const HEAD_FILE: &str = "journal.head";

/// The journal of one data folder, for the one process that writes to it.
#[derive(Debug)]
pub struct Journal {
    reader: JournalReader,
    last: Head,
    head_file: HeadFile,
    writable: Writable,
    /// Declared last: fields are dropped in order, and the folder is released when all else is closed.
    _lock: Lock,
}

/// Whether the disk has kept every promise so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writable {
    Yes,
    /// After a failed write or sync nobody knows what the disk holds; only reading it anew tells.
    NotAfterFailure,
}

impl Journal {
    /// Opens the journal of a data folder for writing, and makes both when they are not there.
    ///
    /// Checks the format, the tables, and that the end of the journal was not cut off; the records themselves are
    /// checked when they are read.
    ///
    /// # Errors
    /// [`JournalError::InUse`] when another process has it open, [`JournalError::NewerFormat`],
    /// [`JournalError::Tampered`] and the others as they say.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        create_folder(folder)?;
        let lock = Lock::acquire(folder)?;
        let (path, head_path) = (folder.join(DATABASE), folder.join(HEAD_FILE));
        // The head file is there before the database, so that a crash in between leaves nothing without a head.
        if !path.exists() && !head_path.exists() {
            HeadFile::replace(&head_path, Head::EMPTY).map_err(JournalError::file(&head_path))?;
        }
        let reader = JournalReader { db: database::open_for_writing(&path)?, path, head_path };
        sync_folder(folder)?;
        let (head_file, last) = reader.open_head()?;
        let mut journal = Self { reader, last, head_file, writable: Writable::Yes, _lock: lock };
        journal.note_head();
        journal.sync_head();
        Ok(journal)
    }

    /// Opens the journal for reading only, beside a running server or when the server refuses to start.
    ///
    /// # Errors
    /// [`JournalError::Missing`] when there is none, and as [`Self::open`].
    pub fn open_read_only(folder: &Path) -> Result<JournalReader, JournalError> {
        JournalReader::open(folder)
    }

    /// Takes the journal as it is for complete: checks the chain, then notes its last record in the head file.
    ///
    /// For an operator who restored an older database on purpose; never called by Lockstep itself.
    ///
    /// # Errors
    /// When the folder is in use, or a record is wrong.
    pub fn accept(folder: &Path) -> Result<Verified, JournalError> {
        let _lock = Lock::acquire(folder)?;
        let reader = JournalReader::open(folder)?;
        let last = reader.for_each_after(0, |_| std::ops::ControlFlow::Continue(()))?;
        HeadFile::replace(&reader.head_path, last).map_err(JournalError::file(&reader.head_path))?;
        Ok(Verified { records: last.seq, last_hash: last.hash })
    }

    /// Returns what reads, on the same connection.
    #[must_use]
    pub const fn reader(&self) -> &JournalReader {
        &self.reader
    }

    /// Returns the number and hash of the last record.
    #[must_use]
    pub const fn last(&self) -> Head {
        self.last
    }

    /// Appends a batch as a whole if the last record is still number `expected_seq`; it is durable on return.
    ///
    /// Returns the records as they were written. An empty batch only checks the number.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] when others appended first, [`AppendError::Full`] when there is no space (nothing was
    /// written, later calls may succeed), [`AppendError::Io`] when the disk fails (the journal takes nothing more).
    pub fn append(&mut self, expected_seq: u64, batch: &[NewRecord]) -> Result<Vec<Record>, AppendError> {
        if self.writable == Writable::NotAfterFailure {
            return Err(AppendError::Closed { path: self.reader.path.clone() });
        }
        if expected_seq != self.last.seq {
            return Err(AppendError::Conflict { expected: expected_seq, actual: self.last.seq });
        }
        check_batch(batch)?;
        let records = chain_batch(self.last, batch);
        let Some(last) = records.last() else { return Ok(records) };
        insert(&mut self.reader.db, &records).map_err(|error| self.write_failed(error))?;
        self.last = last.head();
        self.note_head();
        Ok(records)
    }

    fn write_failed(&mut self, source: rusqlite::Error) -> AppendError {
        let path = self.reader.path.clone();
        if error::is_full(&source) {
            return AppendError::Full { path };
        }
        self.writable = Writable::NotAfterFailure;
        AppendError::Io { path, source }
    }

    /// The record is durable already: a head file that lags behind is allowed, so its failure only weakens the check.
    fn note_head(&mut self) {
        if let Err(error) = self.head_file.advance(self.last) {
            tracing::warn!(path = %self.reader.head_path.display(), %error, "cannot note the head of the journal");
        }
    }

    fn sync_head(&self) {
        if let Err(error) = self.head_file.sync() {
            tracing::warn!(path = %self.reader.head_path.display(), %error, "cannot sync the head of the journal");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.sync_head();
    }
}

impl JournalReader {
    /// Opens the head file for writing and compares it with the database; returns it with the last record.
    fn open_head(&self) -> Result<(HeadFile, Head), JournalError> {
        let last = self.last()?;
        let open = || HeadFile::open(&self.head_path).map_err(JournalError::file(&self.head_path));
        let (file, head) = match open()? {
            Some(found) => found,
            None if last.seq > 0 => {
                return Err(JournalError::HeadMissing { path: self.head_path.clone(), records: last.seq });
            }
            None => {
                HeadFile::replace(&self.head_path, last).map_err(JournalError::file(&self.head_path))?;
                open()?
                    .ok_or_else(|| JournalError::HeadMissing { path: self.head_path.clone(), records: 0 })?
            }
        };
        reader::check_head(head, last, database::hash_at(&self.db, &self.path, head.seq)?)?;
        // What came after the head was noted is followed here, so that the new head rests on the old one.
        let last = self.follow(head, |_, _| Ok(std::ops::ControlFlow::Continue(())))?;
        Ok((file, last))
    }
}

fn check_batch(batch: &[NewRecord]) -> Result<(), AppendError> {
    if batch.len() > MAX_BATCH {
        return Err(AppendError::TooMany { records: batch.len(), limit: MAX_BATCH });
    }
    let problem = batch.iter().enumerate().find_map(|(index, new)| Some((index, new.problem()?)));
    match problem {
        Some((index, why)) => Err(AppendError::Event { index, why }),
        None => Ok(()),
    }
}

fn chain_batch(mut head: Head, batch: &[NewRecord]) -> Vec<Record> {
    let next = |new: &NewRecord| {
        let record = new.chained(head);
        head = record.head();
        record
    };
    batch.iter().map(next).collect()
}

fn insert(db: &mut Connection, records: &[Record]) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut statement = transaction.prepare("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for record in records {
        statement.execute(params![
            record.seq.cast_signed(),
            record.at.0.cast_signed(),
            record.actor.as_str(),
            record.event,
            record.previous.as_bytes(),
            record.hash.as_bytes(),
        ])?;
    }
    drop(statement);
    transaction.commit()
}

fn create_folder(folder: &Path) -> Result<(), JournalError> {
    match DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        created => created.map_err(JournalError::file(folder)),
    }
}

fn sync_folder(folder: &Path) -> Result<(), JournalError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(JournalError::file(folder))
}

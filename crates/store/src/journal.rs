//! The journal of one data folder: the append-only, hash-chained and keyed record of everything that was decided.
//!
//! It does not know what an event means, has no clock and starts no thread: all calls block. Invariant: one process
//! writes, a batch is in the journal as a whole and durable when [`Journal::append`] returns, and no record ever
//! changes. The format and what can and cannot be detected are written down in `docs/design/journal.md`.

mod accept;
mod chain;
mod database;
mod error;
mod export;
mod head;
mod key;
mod key_file;
mod keyed;
mod lock;
mod opening;
mod reader;
mod record;
mod snapshot;

use std::fs::{DirBuilder, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use lockstep_domain::Digest;
use rusqlite::{Connection, TransactionBehavior, params};

pub use chain::{Tampered, Wrong};
pub use error::{AppendError, JournalError};
pub use export::{ExportError, ExportProblem, verify_export};
pub use key_file::KeyPlace;
pub use reader::{JournalReader, Keying, Verified};
pub use record::{GENESIS, Head, MAX_EVENT_BYTES, NewRecord, RECORD_FORMAT, Record};
pub use snapshot::{MAX_SNAPSHOT_BYTES, Snapshot};

use head::HeadFile;
use key::{JournalKey, Purpose};
use lock::Lock;

/// Most records in one batch: one decision makes a few; the bound keeps a transaction's memory small.
pub const MAX_BATCH: usize = 10_000;

const DATABASE: &str = "journal.db";
const HEAD_FILE: &str = "journal.head";

/// The journal of one data folder, for the one process that writes to it.
#[derive(Debug)]
pub struct Journal {
    reader: JournalReader,
    key: JournalKey,
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
    /// Opens the journal of a data folder for writing, and makes both and a key when they are not there.
    ///
    /// Checks the format, the tables, that the end of the journal was not cut off, and that its last record was appended
    /// by who has the key; the records themselves are checked when they are read.
    ///
    /// # Errors
    /// [`JournalError::InUse`] when another process has it open, [`JournalError::NewerFormat`],
    /// [`JournalError::Tampered`], [`JournalError::KeyMissing`] and the others as they say.
    pub fn open(folder: &Path) -> Result<Self, JournalError> {
        Self::open_with(folder, &KeyPlace::DataFolder)
    }

    /// Opens the journal as [`Self::open`] does, with its key at a place that may be elsewhere.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(folder: &Path, key: &KeyPlace) -> Result<Self, JournalError> {
        create_folder(folder)?;
        let lock = Lock::acquire(folder)?;
        let reader = JournalReader::with(folder, key, database::open_for_writing)?;
        sync_folder(folder)?;
        let mut journal = opening::begin(reader, lock)?;
        journal.note_head();
        journal.sync_head();
        Ok(journal)
    }

    /// Opens the journal for reading only, beside a running server or when the server refuses to start.
    ///
    /// # Errors
    /// [`JournalError::Missing`] when there is none, and as [`Self::open`].
    pub fn open_read_only(folder: &Path) -> Result<JournalReader, JournalError> {
        JournalReader::open(folder, &KeyPlace::DataFolder)
    }

    /// Opens the journal for reading as [`Self::open_read_only`] does, with its key at a place that may be elsewhere.
    ///
    /// # Errors
    /// As [`Self::open_read_only`].
    pub fn open_read_only_with(folder: &Path, key: &KeyPlace) -> Result<JournalReader, JournalError> {
        JournalReader::open(folder, key)
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

    /// Gives every record after number `after_seq` to `each`, in order, until it breaks: those that were there when the journal
    /// was opened and checked, or that were appended since, and no other that somebody may have written into the database.
    ///
    /// # Errors
    /// As [`JournalReader::for_each_after`].
    pub fn replay(
        &self,
        after_seq: u64,
        mut each: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<(), JournalError> {
        let (mut at_last, mut ended) = (None, self.last.seq <= after_seq);
        let end = self.reader.for_each_after(after_seq, |record| {
            if record.seq > self.last.seq {
                return ControlFlow::Break(());
            }
            at_last = (record.seq == self.last.seq).then_some(record.hash);
            let flow = each(record);
            ended |= flow.is_break();
            flow
        })?;
        if ended { Ok(()) } else { Ok(reader::check_head(self.last, end, at_last)?) }
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
        let last = last.head();
        let code = self.key.code(Purpose::Records, last, &[]);
        insert(&mut self.reader.db, &records, code).map_err(|error| self.write_failed(error))?;
        self.last = last;
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
        if let Err(error) = self.head_file.advance(self.last, &self.key) {
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

/// Inserts records, of which the last one carries the code.
fn insert(db: &mut Connection, records: &[Record], code: Digest) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut statement = transaction.prepare("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for (index, record) in records.iter().enumerate() {
        let code = (index + 1 == records.len()).then_some(code.as_bytes());
        statement.execute(params![
            record.seq.cast_signed(),
            record.at.0.cast_signed(),
            record.actor.as_str(),
            record.event,
            record.previous.as_bytes(),
            record.hash.as_bytes(),
            code,
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

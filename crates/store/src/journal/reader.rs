//! Reading the journal: every record that comes out has been checked against the hash chain.
//!
//! A reader writes nothing and takes no lock, so it works beside a running server and on a data folder that the
//! server refuses to open.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lockstep_domain::{Digest, Timestamp};
use rusqlite::types::{FromSqlError, FromSqlResult};
use rusqlite::{Connection, ErrorCode, Row};

use super::chain::{Chain, Tampered, Wrong};
use super::database;
use super::error::JournalError;
use super::head::HeadFile;
use super::record::{Fields, Head, Record};

/// What a whole journal was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The number of records, which is also the number of the last one.
    pub records: u64,
    /// The hash of the last record. Noted elsewhere, it proves later that nothing up to here was changed.
    pub last_hash: Digest,
}

/// The journal of one data folder, for reading.
#[derive(Debug)]
pub struct JournalReader {
    pub(super) db: Connection,
    pub(super) path: PathBuf,
    pub(super) head_path: PathBuf,
}

impl JournalReader {
    pub(super) fn open(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(super::DATABASE);
        Ok(Self { db: database::open_for_reading(&path)?, path, head_path: folder.join(super::HEAD_FILE) })
    }

    /// Returns the number and stored hash of the last record.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn last(&self) -> Result<Head, JournalError> {
        database::last(&self.db, &self.path)
    }

    /// Reads at most `limit` records after the one with number `after_seq`.
    ///
    /// # Errors
    /// When the database cannot be read, or [`JournalError::Tampered`] when a record is not what was appended.
    pub fn read(&self, after_seq: u64, limit: usize) -> Result<Vec<Record>, JournalError> {
        let mut records = Vec::new();
        if limit > 0 {
            self.for_each_after(after_seq, |record| {
                records.push(record);
                if records.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        Ok(records)
    }

    /// Gives every record after number `after_seq` to `each`, in order, until it breaks; returns the last one given.
    ///
    /// The first record is checked against the stored hash of record `after_seq`, each later one against its
    /// predecessor. What lies at or before `after_seq` is not looked at; [`Self::verify`] does that.
    ///
    /// # Errors
    /// As [`Self::read`]. Records that were given before an error are good.
    pub fn for_each_after(
        &self,
        after_seq: u64,
        mut each: impl FnMut(Record) -> ControlFlow<()>,
    ) -> Result<Head, JournalError> {
        let Some(hash) = database::hash_at(&self.db, &self.path, after_seq)? else {
            let found = format!("{} records", self.last()?.seq);
            return Err(Tampered::new(after_seq, Wrong::Removed, format!("record {after_seq}"), found).into());
        };
        self.follow(Head { seq: after_seq, hash }, |fields, hash| match fields.to_record(hash) {
            Some(record) => Ok(each(record)),
            None => Err(Tampered::new(fields.seq, Wrong::Altered, "the name of an actor", fields.actor)),
        })
    }

    /// Checks the whole journal: every record, the chain, and that its end was not cut off.
    ///
    /// # Errors
    /// [`JournalError::Tampered`] names the first record that is wrong; other errors say why it cannot be checked.
    pub fn verify(&self) -> Result<Verified, JournalError> {
        // The head is read first: the database is at least as new, also while a server appends.
        let head = HeadFile::read(&self.head_path).map_err(JournalError::file(&self.head_path))?;
        let mut at_head = None;
        let last = self.follow(Head::EMPTY, |fields, hash| {
            if Some(fields.seq) == head.map(|head| head.seq) {
                at_head = Some(hash);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        match head {
            None if last.seq > 0 => {
                Err(JournalError::HeadMissing { path: self.head_path.clone(), records: last.seq })
            }
            Some(head) if head.seq > 0 => {
                check_head(head, last, at_head)?;
                Ok(Verified { records: last.seq, last_hash: last.hash })
            }
            _ => Ok(Verified { records: last.seq, last_hash: last.hash }),
        }
    }

    /// Copies the database as it is at this moment to a path that does not exist yet. Others may write meanwhile.
    ///
    /// # Errors
    /// When the database cannot be read or the copy not written.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<(), JournalError> {
        let target = path
            .to_str()
            .ok_or_else(|| JournalError::file(path)(std::io::ErrorKind::InvalidFilename.into()))?;
        let copied = self.db.execute("VACUUM INTO ?1", [target]);
        copied.map(|_| ()).map_err(JournalError::database(path))
    }

    /// Follows the chain from a trusted head to the end, or until `each` breaks.
    pub(super) fn follow(
        &self,
        trusted: Head,
        mut each: impl FnMut(&Fields<'_>, Digest) -> Result<ControlFlow<()>, Tampered>,
    ) -> Result<Head, JournalError> {
        let failed = JournalError::database(&self.path);
        let mut chain = Chain::after(trusted);
        let select = "SELECT seq, at, actor, event, previous, hash FROM record WHERE seq > ?1 ORDER BY seq";
        let mut statement = self.db.prepare(select).map_err(&failed)?;
        let mut rows = statement.query([trusted.seq.cast_signed()]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(|error| self.unreadable(chain.head(), error))? {
            let (fields, hash) = decode(row).map_err(|error| {
                Tampered::new(
                    chain.head().seq + 1,
                    Wrong::Altered,
                    "columns of their types",
                    error.to_string(),
                )
            })?;
            chain.accept(&fields, hash)?;
            if each(&fields, hash)?.is_break() {
                break;
            }
        }
        Ok(chain.head())
    }

    /// A damaged page is named by the record that it hides; every other failure stays what it is.
    fn unreadable(&self, last: Head, error: rusqlite::Error) -> JournalError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Tampered::new(last.seq + 1, Wrong::Unreadable, "a whole database page", error.to_string())
                    .into()
            }
            _ => JournalError::database(&self.path)(error),
        }
    }
}

/// Checks the head that was noted outside the database against the records; `at_head` is the hash at its number.
pub(super) fn check_head(head: Head, last: Head, at_head: Option<Digest>) -> Result<(), Tampered> {
    match at_head {
        Some(hash) if hash == head.hash => Ok(()),
        Some(hash) => Err(Tampered::new(
            head.seq,
            Wrong::Replaced,
            format!("hash {}, which the head file notes", head.hash),
            format!("hash {hash}"),
        )),
        None => Err(Tampered::new(
            last.seq + 1,
            Wrong::Removed,
            format!("records up to {}, which the head file notes", head.seq),
            format!("{} records", last.seq),
        )),
    }
}

fn decode<'a>(row: &'a Row<'_>) -> FromSqlResult<(Fields<'a>, Digest)> {
    let value = |column| row.get_ref(column).map_err(|error| FromSqlError::Other(error.into()));
    let digest = |column| {
        let bytes = value(column)?.as_blob()?;
        let bytes = bytes.try_into().map_err(|_| FromSqlError::OutOfRange(bytes.len() as i64));
        bytes.map(Digest::from_bytes)
    };
    let fields = Fields {
        seq: value(0)?.as_i64()?.cast_unsigned(),
        at: Timestamp(value(1)?.as_i64()?.cast_unsigned()),
        actor: value(2)?.as_str()?,
        event: value(3)?.as_str()?,
        previous: digest(4)?,
    };
    Ok((fields, digest(5)?))
}

impl Fields<'_> {
    /// Makes a record of checked fields; `None` when the actor's name breaks the rules of names.
    pub(super) fn to_record(self, hash: Digest) -> Option<Record> {
        let Self { seq, at, actor, event, previous } = self;
        Some(Record { seq, at, actor: actor.parse().ok()?, event: event.to_owned(), previous, hash })
    }
}

//! Reading the journal: every record that comes out has been checked against the hash chain.
//!
//! A reader writes nothing and takes no lock, so it works beside a running server and on a data folder that the
//! server refuses to open. It needs the key only to say that the records were appended by who has it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lockstep_domain::{Digest, Timestamp};
use rusqlite::types::{FromSqlError, FromSqlResult};
use rusqlite::{Connection, ErrorCode, Row};

use super::chain::{Chain, Tampered, Wrong};
use super::database::{self, Format};
use super::error::JournalError;
use super::head::{HeadFile, Noted};
use super::key::{JournalKey, Use};
use super::key_file::{KeyFile, KeyPlace};
use super::keyed::Keyed;
use super::record::{Fields, Head, Record};

/// What a whole journal was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The number of records, which is also the number of the last one.
    pub records: u64,
    /// The hash of the last record. Noted elsewhere, it proves later that nothing up to here was changed.
    pub last_hash: Digest,
    /// The record after which all were appended by who has the key; those up to it were there when the key was made. `None`
    /// when no key was looked at: then the records fit each other, whoever wrote them.
    pub keyed_after: Option<u64>,
}

impl Verified {
    pub(super) const fn of(last: Head, key: Option<&JournalKey>) -> Self {
        let keyed_after = match key {
            Some(key) => Some(key.since().seq),
            None => None,
        };
        Self { records: last.seq, last_hash: last.hash, keyed_after }
    }
}

/// Whether a journal carries codes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keying {
    /// It does.
    Keyed,
    /// It is of an older program.
    Chained,
}

/// The journal of one data folder, for reading.
#[derive(Debug)]
pub struct JournalReader {
    pub(super) db: Connection,
    pub(super) format: Format,
    pub(super) path: PathBuf,
    pub(super) head_path: PathBuf,
    pub(super) key_file: KeyFile,
}

impl JournalReader {
    pub(super) fn open(folder: &Path, place: &KeyPlace) -> Result<Self, JournalError> {
        Self::with(folder, place, database::open_for_reading)
    }

    pub(super) fn with(
        folder: &Path,
        place: &KeyPlace,
        open: impl FnOnce(&Path) -> Result<(Connection, Format), JournalError>,
    ) -> Result<Self, JournalError> {
        let path = folder.join(super::DATABASE);
        let (db, format) = open(&path)?;
        let (head_path, key_file) = (folder.join(super::HEAD_FILE), KeyFile::of(folder, place));
        Ok(Self { db, format, path, head_path, key_file })
    }

    /// Tells whether the journal carries codes of a key.
    #[must_use]
    pub const fn keying(&self) -> Keying {
        match self.format {
            Format::Keyed => Keying::Keyed,
            Format::Empty | Format::Chained => Keying::Chained,
        }
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
        self.follow(Head { seq: after_seq, hash }, |fields, hash, _| match fields.to_record(hash) {
            Some(record) => Ok(each(record)),
            None => Err(Tampered::new(fields.seq, Wrong::Altered, "the name of an actor", fields.actor)),
        })
    }

    /// Checks the whole journal: every record, the chain, that its end was not cut off, and that everything since there is a
    /// key was appended by who has it.
    ///
    /// # Errors
    /// [`JournalError::Tampered`] names the first record that is wrong; other errors say why it cannot be checked.
    pub fn verify(&self) -> Result<Verified, JournalError> {
        self.verify_by(self.key_file.read()?)
    }

    /// Checks the whole journal as [`Self::verify`] does, with a key that is in no file.
    pub(crate) fn verify_by_text(&self, key: &[u8]) -> Result<Verified, JournalError> {
        self.verify_by(Some(self.key_file.parse(key)?))
    }

    fn verify_by(&self, key: Option<JournalKey>) -> Result<Verified, JournalError> {
        let key = match (key, self.format) {
            (None, Format::Keyed) => return Err(self.key_missing()),
            (Some(key), Format::Chained | Format::Empty) if key.used() == Use::Begun => {
                return Err(self.not_keyed());
            }
            // What a first start that was interrupted left is no key yet.
            (key, Format::Keyed) => key,
            (_, Format::Chained | Format::Empty) => None,
        };
        self.verify_with(key.as_ref())
    }

    /// Checks the whole journal as [`Self::verify`] does, without looking at the key: whoever could write it may have appended
    /// what is in it.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_chain(&self) -> Result<Verified, JournalError> {
        self.verify_with(None)
    }

    fn verify_with(&self, key: Option<&JournalKey>) -> Result<Verified, JournalError> {
        // The head is read first: the database is at least as new, also while a server appends.
        let noted = HeadFile::read(&self.head_path).map_err(JournalError::file(&self.head_path))?;
        let (mut at_head, mut keyed) = (None, key.map(Keyed::new));
        let last = self.follow(Head::EMPTY, |fields, hash, code| {
            if Some(fields.seq) == noted.map(|noted| noted.head.seq) {
                at_head = Some(hash);
            }
            let record = Head { seq: fields.seq, hash };
            keyed.as_mut().map_or(Ok(()), |keyed| keyed.take(record, code))?;
            Ok(ControlFlow::Continue(()))
        })?;
        // An end that was cut off is told before what the cut left without a code.
        if let Some(noted) = noted.filter(|noted| noted.head.seq > last.seq) {
            check_head(noted.head, last, None)?;
        }
        keyed.map_or(Ok(()), |keyed| keyed.end(last.seq))?;
        match noted {
            None if last.seq > 0 => return Err(self.head_missing(last.seq)),
            Some(noted) => {
                self.check_noted(noted, key)?;
                if noted.head.seq > 0 {
                    check_head(noted.head, last, at_head)?;
                }
            }
            None => {}
        }
        Ok(Verified::of(last, key))
    }

    /// Checks that a head was noted by who has the key.
    pub(super) fn check_noted(&self, noted: Noted, key: Option<&JournalKey>) -> Result<(), JournalError> {
        if key.is_none_or(|key| noted.is_by(key)) {
            return Ok(());
        }
        Err(JournalError::HeadForged { path: self.head_path.clone() })
    }

    pub(super) fn head_missing(&self, records: u64) -> JournalError {
        JournalError::HeadMissing { path: self.head_path.clone(), records }
    }

    pub(super) fn key_missing(&self) -> JournalError {
        JournalError::KeyMissing { path: self.key_file.path.clone() }
    }

    pub(super) fn not_keyed(&self) -> JournalError {
        let (path, key) = (self.path.clone(), self.key_file.path.clone());
        JournalError::NotKeyed { path, found: self.format.number(), key }
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
        mut each: impl FnMut(&Fields<'_>, Digest, Option<&[u8]>) -> Result<ControlFlow<()>, Tampered>,
    ) -> Result<Head, JournalError> {
        let failed = JournalError::database(&self.path);
        let mut chain = Chain::after(trusted);
        let code = if self.format == Format::Keyed { "code" } else { "NULL" };
        let select = format!(
            "SELECT seq, at, actor, event, previous, hash, {code} FROM record WHERE seq > ?1 ORDER BY seq"
        );
        let mut statement = self.db.prepare(&select).map_err(&failed)?;
        let mut rows = statement.query([trusted.seq.cast_signed()]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(|error| self.unreadable(chain.head(), error))? {
            let (fields, hash, code) = decode(row).map_err(|error| {
                Tampered::new(
                    chain.head().seq + 1,
                    Wrong::Altered,
                    "columns of their types",
                    error.to_string(),
                )
            })?;
            chain.accept(&fields, hash)?;
            if each(&fields, hash, code)?.is_break() {
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

fn decode<'a>(row: &'a Row<'_>) -> FromSqlResult<(Fields<'a>, Digest, Option<&'a [u8]>)> {
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
    Ok((fields, digest(5)?, value(6)?.as_blob_or_null()?))
}

impl Fields<'_> {
    /// Makes a record of checked fields; `None` when the actor's name breaks the rules of names.
    pub(super) fn to_record(self, hash: Digest) -> Option<Record> {
        let Self { seq, at, actor, event, previous } = self;
        Some(Record { seq, at, actor: actor.parse().ok()?, event: event.to_owned(), previous, hash })
    }
}

//! Beginning with a journal for writing: which states a start takes, which it finishes, and which it refuses.
//!
//! What an older program wrote, or nobody yet, gets a key in this order: key file, head file, database, key file again,
//! which then says that the key is in use. So a start that was interrupted anywhere is finished by the next one, a key of
//! which a record was written is never made anew, and a database without codes beside a key in use was put there.

use std::ops::ControlFlow;

use super::chain::{Tampered, Wrong};
use super::database::{self, Format};
use super::error::JournalError;
use super::head::{HeadFile, Noted};
use super::key::{JournalKey, Use};
use super::key_file;
use super::keyed::Keyed;
use super::lock::Lock;
use super::reader::{JournalReader, check_head};
use super::record::Head;
use super::{Journal, Writable};

/// Makes a journal for writing of what was opened, or says why not.
pub(super) fn begin(mut reader: JournalReader, lock: Lock) -> Result<Journal, JournalError> {
    let key = match (reader.format, reader.key_file.read()?) {
        (Format::Keyed, None) => return Err(reader.key_missing()),
        (Format::Keyed, Some(key)) => key,
        (Format::Empty | Format::Chained, found) => first_key(&mut reader, found.as_ref())?,
    };
    let key = in_use(&reader, key)?;
    reader.key_file.close_to_others();
    key_file::clean(&reader.key_file);
    let (head_file, noted) = open_head(&reader)?.ok_or_else(|| head_missing(&reader))?;
    reader.check_noted(noted, Some(&key))?;
    let last = check_end(&reader, noted.head)?;
    check_key(&reader, &key, last)?;
    Ok(Journal { reader, key, last, head_file, writable: Writable::Yes, _lock: lock })
}

/// Gives its first key to a journal that has none, or had one that nothing was appended with.
fn first_key(reader: &mut JournalReader, found: Option<&JournalKey>) -> Result<JournalKey, JournalError> {
    let last = match reader.format {
        Format::Empty => nothing_before(reader)?,
        Format::Chained | Format::Keyed => before_keys(reader)?,
    };
    if found.is_some_and(|key| key.used() == Use::Begun) {
        return Err(reader.not_keyed());
    }
    let key = key_file::make(last, Use::NotYet)?;
    reader.key_file.put(&key)?;
    HeadFile::replace(&reader.head_path, last, &key).map_err(JournalError::file(&reader.head_path))?;
    let made = match reader.format {
        Format::Empty => database::create_schema(&mut reader.db),
        Format::Chained | Format::Keyed => database::upgrade(&mut reader.db),
    };
    made.map_err(JournalError::database(&reader.path))?;
    reader.format = Format::Keyed;
    Ok(key)
}

/// An empty database is one that was never used, unless the head file knows of records.
fn nothing_before(reader: &JournalReader) -> Result<Head, JournalError> {
    let noted = HeadFile::read(&reader.head_path).map_err(JournalError::file(&reader.head_path))?;
    if let Some(Noted { head, .. }) = noted
        && head.seq > 0
    {
        check_head(head, Head::EMPTY, None)?;
    }
    Ok(Head::EMPTY)
}

/// Checks a journal of format 1 as the program that wrote it did; returns its last record.
fn before_keys(reader: &JournalReader) -> Result<Head, JournalError> {
    let last = reader.last()?;
    match HeadFile::read(&reader.head_path).map_err(JournalError::file(&reader.head_path))? {
        Some(noted) => check_end(reader, noted.head),
        None if last.seq > 0 => Err(reader.head_missing(last.seq)),
        None => Ok(last),
    }
}

/// Says in the key file that the key is in use, where it does not yet: nothing was appended since it was made.
fn in_use(reader: &JournalReader, key: JournalKey) -> Result<JournalKey, JournalError> {
    if key.used() == Use::Begun {
        return Ok(key);
    }
    check_key(reader, &key, reader.last()?)?;
    let key = key.in_use();
    reader.key_file.put(&key)?;
    Ok(key)
}

fn open_head(reader: &JournalReader) -> Result<Option<(HeadFile, Noted)>, JournalError> {
    HeadFile::open(&reader.head_path).map_err(JournalError::file(&reader.head_path))
}

fn head_missing(reader: &JournalReader) -> JournalError {
    match reader.last() {
        Ok(last) => reader.head_missing(last.seq),
        Err(error) => error,
    }
}

/// Compares the noted head with the database, and follows what came after it; returns the last record.
fn check_end(reader: &JournalReader, noted: Head) -> Result<Head, JournalError> {
    let last = reader.last()?;
    check_head(noted, last, database::hash_at(&reader.db, &reader.path, noted.seq)?)?;
    reader.follow(noted, |_, _, _| Ok(ControlFlow::Continue(())))
}

/// Checks that the key was made at a record of this journal, and that its last record was appended by who has it. The code of
/// the last one stands for all: what is before it cannot be changed without changing its hash.
fn check_key(reader: &JournalReader, key: &JournalKey, last: Head) -> Result<(), JournalError> {
    let mut keyed = Keyed::new(key);
    let since = key.since();
    if let Some(hash) = database::hash_at(&reader.db, &reader.path, since.seq)? {
        keyed.take(Head { seq: since.seq, hash }, None)?;
    }
    if last.seq > since.seq {
        let code = database::code_at(&reader.db, &reader.path, last.seq)?;
        let unkeyed = || no_code(last);
        keyed.take(last, Some(code.as_deref().ok_or_else(unkeyed)?))?;
    }
    Ok(keyed.end(last.seq)?)
}

fn no_code(last: Head) -> Tampered {
    Tampered::new(last.seq, Wrong::Unkeyed, "a code of the journal's key", "none")
}

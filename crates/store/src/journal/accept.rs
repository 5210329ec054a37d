//! Taking a journal as it is for complete, by a person's word: with a new key, and with a record that says so.
//!
//! Everything is written so that a server starts only when all of it is there. A copy of what was given up carries codes of the
//! old key only, so it cannot be put back later.

use std::ops::ControlFlow;
use std::path::Path;

use super::database::{self, Format};
use super::error::{AppendError, JournalError};
use super::head::HeadFile;
use super::key::{Purpose, Use};
use super::key_file::{self, KeyPlace};
use super::lock::Lock;
use super::reader::{JournalReader, Verified};
use super::record::{Head, NewRecord};
use super::{Journal, check_batch, insert};

impl Journal {
    /// Takes the journal as it is for complete: checks the chain, makes a new key at its last record, and appends what `record`
    /// makes of it as the first that is keyed by it.
    ///
    /// For an operator who restored an older database on purpose, lost the key, or wants another one; never called by
    /// Lockstep itself. Whatever it returns, either all of it is done or no server starts until it is done again.
    ///
    /// # Errors
    /// When the folder is in use, a record is wrong, or the key or the record cannot be written.
    pub fn accept(
        folder: &Path,
        place: &KeyPlace,
        record: impl FnOnce(&Verified) -> NewRecord,
    ) -> Result<Verified, JournalError> {
        let _lock = Lock::acquire(folder)?;
        // Read first: that makes no database where there is none.
        let last = end_of(&JournalReader::open(folder, place)?)?;
        let mut reader = JournalReader::with(folder, place, database::open_for_writing)?;
        let record = record(&Verified::of(last, None));
        check_batch(std::slice::from_ref(&record)).map_err(refused)?;
        let key = key_file::make(last, Use::Begun)?;
        reader.key_file.put_beside(&key)?;
        let failed = JournalError::database(&reader.path);
        if reader.format == Format::Chained {
            database::upgrade(&mut reader.db).map_err(&failed)?;
        }
        let record = record.chained(last);
        let code = key.code(Purpose::Records, record.head(), &[]);
        insert(&mut reader.db, std::slice::from_ref(&record), code).map_err(&failed)?;
        reader.key_file.take_beside()?;
        let head = record.head();
        HeadFile::replace(&reader.head_path, head, &key).map_err(JournalError::file(&reader.head_path))?;
        Ok(Verified::of(head, Some(&key)))
    }
}

/// Follows the chain of the whole journal.
fn end_of(reader: &JournalReader) -> Result<Head, JournalError> {
    reader.for_each_after(0, |_| ControlFlow::Continue(()))
}

fn refused(error: AppendError) -> JournalError {
    JournalError::Refused(Box::new(error))
}

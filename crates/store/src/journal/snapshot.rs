//! Snapshots: a state folded from the records up to a number, so that a start need not read them all.
//!
//! Invariant: a snapshot is only ever a shortcut. One that is damaged, of another format, taken from another chain of records,
//! or not kept by who has the key is passed over with a warning, and the records are folded from the beginning.

use rusqlite::{Connection, Row, ToSql, TransactionBehavior, params};

use super::database;
use super::error::JournalError;
use super::key::{JournalKey, Purpose};
use super::record::Head;
use super::{Journal, JournalReader, Writable};

/// Largest snapshot in bytes before compression: SQLite's own bound for one value is 1,000,000,000.
pub const MAX_SNAPSHOT_BYTES: usize = 900_000_000;
/// The newest is used; the one before it stays in case the newest turns out damaged.
const SNAPSHOTS_KEPT: i64 = 2;
/// zstd's default: about 500 MB/s, and states are repetitive.
const LEVEL: i32 = 3;

/// A state that stands for all records up to `seq`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last record that was folded into it; read on after it.
    pub seq: u64,
    /// The state, in the format that was asked for.
    pub body: Vec<u8>,
}

impl Journal {
    /// Stores the state after record `seq`; of the snapshots, the two newest are kept.
    ///
    /// # Errors
    /// When `seq` is not in the journal, the body is larger than [`MAX_SNAPSHOT_BYTES`], or the disk is full or
    /// fails; after a failure the journal takes nothing more, as with [`Self::append`].
    pub fn save_snapshot(&mut self, seq: u64, format: u32, body: &[u8]) -> Result<(), JournalError> {
        if body.len() > MAX_SNAPSHOT_BYTES {
            return Err(JournalError::SnapshotTooLarge { bytes: body.len(), limit: MAX_SNAPSHOT_BYTES });
        }
        let JournalReader { db, path, .. } = &mut self.reader;
        let failed = JournalError::database(path);
        let hash =
            database::hash_at(db, path, seq)?.ok_or_else(|| failed(rusqlite::Error::QueryReturnedNoRows))?;
        let of = [&format.to_be_bytes()[..], body];
        let code = self.key.code(Purpose::Snapshot, Head { seq, hash }, &of);
        let compressed = zstd::bulk::compress(body, LEVEL).map_err(JournalError::file(path))?;
        let bytes = body.len() as i64;
        let row = params![seq.cast_signed(), hash.as_bytes(), format, bytes, compressed, code.as_bytes()];
        let written = insert(db, row).map_err(failed);
        if matches!(written, Err(JournalError::Database { .. })) {
            self.writable = Writable::NotAfterFailure;
        }
        written?;
        self.sync_head();
        Ok(())
    }
}

impl JournalReader {
    /// Returns the newest good snapshot of this format, or `None` when every record has to be folded.
    ///
    /// # Errors
    /// When the database or the key cannot be read; a bad snapshot is not an error, only logged.
    pub fn latest_snapshot(&self, format: u32) -> Result<Option<Snapshot>, JournalError> {
        let Some(key) = self.key_file.read()? else { return Ok(None) };
        let failed = JournalError::database(&self.path);
        let select = "SELECT seq, hash, format, bytes, body, digest FROM snapshot ORDER BY seq DESC";
        let mut statement = self.db.prepare(select).map_err(&failed)?;
        let mut rows = statement.query([]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            match self.decode_snapshot(row, format, &key) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                Err(why) => tracing::warn!(path = %self.path.display(), %why, "snapshot passed over"),
            }
        }
        Ok(None)
    }

    fn decode_snapshot(&self, row: &Row<'_>, wanted: u32, key: &JournalKey) -> Result<Snapshot, String> {
        let words = |error: rusqlite::Error| error.to_string();
        let seq = row.get::<_, i64>(0).map_err(words)?.cast_unsigned();
        let (hash, code) =
            (database::digest(row, 1).map_err(words)?, database::digest(row, 5).map_err(words)?);
        let format: u32 = row.get(2).map_err(words)?;
        if format != wanted {
            return Err(format!("snapshot {seq} has format {format}, not {wanted}"));
        }
        if database::hash_at(&self.db, &self.path, seq).map_err(|error| error.to_string())? != Some(hash) {
            return Err(format!("snapshot {seq} was taken from other records"));
        }
        let bytes = row.get::<_, i64>(3).ok().and_then(|bytes| usize::try_from(bytes).ok());
        let bytes = bytes.filter(|bytes| *bytes <= MAX_SNAPSHOT_BYTES).ok_or("its size is out of bounds")?;
        let compressed = row.get_ref(4).map_err(words)?.as_blob().map_err(|error| error.to_string())?;
        let body = zstd::bulk::decompress(compressed, bytes)
            .map_err(|error| format!("snapshot {seq} cannot be decompressed: {error}"))?;
        let of = [&format.to_be_bytes()[..], &body];
        if !key.made(code.as_bytes(), Purpose::Snapshot, Head { seq, hash }, &of) {
            return Err(format!("snapshot {seq} does not carry a code of the journal's key"));
        }
        Ok(Snapshot { seq, body })
    }
}

fn insert(db: &mut Connection, row: &[&dyn ToSql]) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("INSERT OR REPLACE INTO snapshot VALUES (?1, ?2, ?3, ?4, ?5, ?6)", row)?;
    transaction.execute(
        "DELETE FROM snapshot WHERE seq NOT IN (SELECT seq FROM snapshot ORDER BY seq DESC LIMIT ?1)",
        [SNAPSHOTS_KEPT],
    )?;
    transaction.commit()
}

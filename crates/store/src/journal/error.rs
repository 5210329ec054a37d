//! How the journal fails: errors carry the file and a hint with what to do next.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, ffi};
use thiserror::Error;

use super::chain::Tampered;
use super::database::FORMAT;

/// Why the journal cannot be opened, read or checked.
#[derive(Debug, Error)]
pub enum JournalError {
    /// A file or folder of the data folder cannot be used.
    #[error("cannot use `{}`", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another process has the data folder open for writing.
    #[error("the data folder `{}` is in use by process {holder}", .folder.display())]
    InUse {
        /// The data folder.
        folder: PathBuf,
        /// The process id that the other one left in the lock file, or `unknown`.
        holder: String,
    },
    /// There is no journal in the folder.
    #[error("there is no journal at `{}`", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The journal was written by a newer Lockstep.
    #[error("`{}` has journal format {found}; this program knows formats up to {FORMAT}", .path.display())]
    NewerFormat {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The tables or triggers of the database are not those that Lockstep made.
    #[error("`{}` is not as Lockstep made it: `{object}` {problem}", .path.display())]
    Schema {
        /// The database.
        path: PathBuf,
        /// The table or trigger.
        object: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file that holds the journal's head is gone or damaged, so a cut end could not be seen.
    #[error("`{}` is missing or damaged while the journal has {records} records", .path.display())]
    HeadMissing {
        /// The head file.
        path: PathBuf,
        /// How many records the database has.
        records: u64,
    },
    /// The file that holds the journal's head was written by somebody without the key.
    #[error("`{}` does not carry a code of the journal's key", .path.display())]
    HeadForged {
        /// The head file.
        path: PathBuf,
    },
    /// The journal carries codes of a key that is not there.
    #[error("the key of the journal is missing: there is no `{}`", .path.display())]
    KeyMissing {
        /// The file that the key was looked for in.
        path: PathBuf,
    },
    /// The file of the key holds none.
    #[error("`{}` is no key of a journal: {why}", .path.display())]
    KeyUnusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is a key that was in use, and a journal that no key was used for.
    #[error(
        "`{}` {}, while the key in `{}` was in use: an older database was put there, or its codes were taken away",
        .path.display(), if *found == 0 { "holds nothing".to_owned() } else { format!("has journal format {found}") },
        .key.display()
    )]
    NotKeyed {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The file of the key.
        key: PathBuf,
    },
    /// A record is not what was appended.
    #[error(transparent)]
    Tampered(#[from] Tampered),
    /// A record cannot be appended.
    #[error(transparent)]
    Refused(Box<AppendError>),
    /// There is no space left; nothing was written.
    #[error("no space left to write `{}`", .path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// A snapshot is larger than the journal stores.
    #[error("a snapshot of {bytes} bytes is too large, at most {limit} are allowed")]
    SnapshotTooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The bound in bytes.
        limit: usize,
    },
    /// The database refuses to work.
    #[error("the database `{}` failed", .path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

impl JournalError {
    /// Says what to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => "check that the user who runs Lockstep owns the data folder",
            Self::InUse { .. } => {
                "`lockstep status` asks the server that runs on it; stop that one first, or name another folder with --data"
            }
            Self::Missing { .. } => {
                "check the path of the data folder; `lockstep server` makes a new journal"
            }
            Self::NewerFormat { .. } => "run the Lockstep that wrote it, or a newer one; nothing was changed",
            Self::Schema { .. } | Self::Tampered(_) | Self::Database { .. } => {
                "keep a copy of the data folder, run `lockstep journal verify`, and restore the folder from a backup"
            }
            Self::HeadMissing { .. } => {
                "restore the whole data folder from one backup; when the database alone was restored on purpose, \
                 run `lockstep journal accept`"
            }
            Self::HeadForged { .. } | Self::NotKeyed { .. } => {
                "restore the whole data folder from one backup; when an older journal was put there on purpose, \
                 run `lockstep journal accept`"
            }
            Self::KeyMissing { .. } | Self::KeyUnusable { .. } => {
                "put the key back from a backup, or name the file it is in with --journal-key; when it is lost, \
                 `lockstep journal accept` takes the journal as it is and makes a new one"
            }
            Self::Full { .. } => FULL_HINT,
            Self::Refused(error) => error.hint(),
            Self::SnapshotTooLarge { .. } => {
                "the journal works without snapshots, only the start takes longer"
            }
        }
    }

    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::File { path: path.to_owned(), source },
        }
    }

    pub(crate) fn database(path: &Path) -> impl Fn(rusqlite::Error) -> Self + '_ {
        |source| {
            let path = path.to_owned();
            if is_full(&source) { Self::Full { path } } else { Self::Database { path, source } }
        }
    }
}

/// Why nothing was appended.
#[derive(Debug, Error)]
pub enum AppendError {
    /// Others appended first: fold their records, decide again, append again.
    #[error("the journal has {actual} records, not {expected}: others appended first")]
    Conflict {
        /// The last number that the caller knew.
        expected: u64,
        /// The last number there is.
        actual: u64,
    },
    /// An event is not one line of JSON within the bound.
    #[error("event {index} of the batch cannot be appended: {why}")]
    Event {
        /// Its place in the batch, from 0.
        index: usize,
        /// The rule that it breaks.
        why: String,
    },
    /// A batch has more records than one transaction takes.
    #[error("a batch of {records} records is too large, at most {limit} are allowed")]
    TooMany {
        /// The size of the batch.
        records: usize,
        /// The bound.
        limit: usize,
    },
    /// There is no space left; nothing was written, and appending works again when there is space.
    #[error("no space left to append to `{}`", .path.display())]
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The disk or the database failed. Whether this batch was written shows only after opening the journal anew.
    #[error("appending to `{}` failed", .path.display())]
    Io {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// An earlier failure of the disk closed the journal for writing.
    #[error("`{}` is closed for writing after an earlier failure of the disk", .path.display())]
    Closed {
        /// The database.
        path: PathBuf,
    },
}

impl AppendError {
    /// Says what to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "run the command again",
            Self::Event { .. } | Self::TooMany { .. } => "this is a defect of Lockstep, please report it",
            Self::Full { .. } => FULL_HINT,
            Self::Io { .. } | Self::Closed { .. } => "check the disk, then restart the server",
        }
    }
}

const FULL_HINT: &str = "free space on the disk of the data folder (`lockstep store gc --dry-run` shows what could go), then try again";

/// Says whether the database found no space: nothing of the transaction is kept then.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        // The index of the write-ahead log is a file too; not being able to extend it has a code of its own.
        error.code == ErrorCode::DiskFull || error.extended_code == ffi::SQLITE_IOERR_SHMSIZE
    })
}

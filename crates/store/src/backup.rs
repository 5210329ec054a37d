//! A backup of a data folder as one file, taken beside a running server; and a data folder made of it again.
//!
//! ```text
//! FILE = zstd(tar):  lockstep-backup.json            what it is, how much it holds
//!                    journal.db, journal.head        every decision, at one number
//!                    journal.key                     where it lies in the data folder
//!                    secrets/NAME                    all that were there after that
//!                    blobs/sha256/XX/REST            those that the journal names
//!                    lockstep-backup-contents.json   every file with size and digest; without it the file was cut off
//! ```
//!
//! The journal is taken first, then what it names: blobs and secrets are written before the record that names them, and are
//! not removed while one does. So whatever is written meanwhile, nothing that the journal names is missing.
//!
//! Invariant: a backup has its name only when it is whole, and a folder is restored only when every digest and the chain of
//! the journal are right. It knows nothing of events: the caller says which blobs a record names.

mod archive;
mod create;
mod error;
mod layout;
mod restore;

use std::collections::BTreeMap;

use lockstep_domain::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

pub use create::{Taking, create};
pub use error::BackupError;
pub use layout::{IN_BACKUP, LEFT_OUT};
pub use restore::{restore, verify};

use crate::journal::{Keying, Record};

/// The format of the file that this program writes.
pub const FORMAT: u32 = 2;
/// The first entry.
const HEADER: &str = "lockstep-backup.json";
/// The last entry.
const CONTENTS: &str = "lockstep-backup-contents.json";

/// Says which blobs a record names, or why that cannot be told.
pub type BlobsOf<'a> = &'a mut dyn FnMut(&Record) -> Result<Vec<Digest>, String>;

/// Hears how far it is: files and bytes that are done, of all.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress);

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Files that are done.
    pub files: u64,
    /// Of so many.
    pub files_of: u64,
    /// Bytes that are done.
    pub bytes: u64,
    /// Of so many.
    pub bytes_of: u64,
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// When it was taken.
    pub created: Timestamp,
    /// The program that took it.
    pub program: String,
    /// The number of the journal's last record.
    pub seq: u64,
    /// The hash of that record. Noted elsewhere, it proves later that nothing before was changed.
    pub last_hash: Digest,
    /// Blobs.
    pub blobs: u64,
    /// Secrets and keys.
    pub secrets: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Where the key of the journal is.
    pub journal_key: KeyOf,
    /// Blobs that the journal names and that were lost or damaged already when the backup was taken.
    pub lost: Vec<Digest>,
}

/// Where the key of a journal that was backed up is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyOf {
    /// In the backup.
    Backup,
    /// Not in it, because it lies outside the data folder. Whoever restores it needs it.
    Elsewhere,
    /// There is none yet: the journal is of an older program.
    Nobody,
}

/// The first entry: enough to refuse before anything is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    format: u32,
    created: Timestamp,
    program: String,
    seq: u64,
    last_hash: Digest,
    /// Files between the first and the last entry, and their bytes.
    files: u64,
    bytes: u64,
}

/// The last entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Contents {
    files: BTreeMap<String, Seen>,
    lost: Vec<Digest>,
}

/// A file as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    bytes: u64,
    digest: Digest,
}

impl Summary {
    fn of(header: &Header, contents: &Contents, keying: Keying) -> Self {
        let journal_key = match keying {
            _ if contents.files.contains_key(layout::KEY) => KeyOf::Backup,
            Keying::Keyed => KeyOf::Elsewhere,
            Keying::Chained => KeyOf::Nobody,
        };
        let count =
            |folder: &str| contents.files.keys().filter(|path| path.starts_with(folder)).count() as u64;
        Self {
            created: header.created,
            program: header.program.clone(),
            seq: header.seq,
            last_hash: header.last_hash,
            blobs: count("blobs/"),
            secrets: count("secrets/"),
            bytes: contents.files.values().map(|seen| seen.bytes).sum(),
            journal_key,
            lost: contents.lost.clone(),
        }
    }
}

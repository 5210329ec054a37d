//! How backups fail: on which file, why, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::FORMAT;
use crate::journal::JournalError;

/// Why there is no backup, or none was restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The journal cannot be taken, or is not as it was written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A record does not say which blobs it names.
    #[error("record {seq} of the journal is not an event that this program knows: {why}")]
    Event {
        /// The record.
        seq: u64,
        /// What is wrong.
        why: String,
    },
    /// The file is there already.
    #[error("`{}` is there already", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The folder is not empty.
    #[error("`{}` is not an empty folder", .path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is a mount point, which cannot be put in place as a whole.
    #[error("`{}` is the root of a file system", .path.display())]
    MountPoint {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes there.
    #[error("another process is writing `{}`", .path.display())]
    InUse {
        /// The file or folder.
        path: PathBuf,
    },
    /// The data folder holds something that a backup would miss.
    #[error("`{}` is nothing that a backup holds", .path.display())]
    Unknown {
        /// The file or folder.
        path: PathBuf,
    },
    /// There is no space left.
    #[error("no space left to write `{}`", .path.display())]
    Full {
        /// The file or folder.
        path: PathBuf,
    },
    /// The backup needs more space than there is.
    #[error("`{}` has room for {room} bytes, and {needed} are needed", .path.display())]
    TooLarge {
        /// The folder.
        path: PathBuf,
        /// What there is.
        room: u64,
        /// What is needed.
        needed: u64,
    },
    /// The file was written by a newer program.
    #[error("the backup has format {found}; this program knows formats up to {FORMAT}")]
    NewerFormat {
        /// Its format.
        found: u32,
    },
    /// The file is not a whole backup, or was changed.
    #[error("this is not a whole backup: {why}")]
    Damaged {
        /// What is wrong.
        why: String,
    },
    /// A file or folder cannot be used.
    #[error("cannot use `{}`", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl BackupError {
    /// Says what to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Journal(error) => error.hint(),
            Self::Event { .. } | Self::NewerFormat { .. } => "run the Lockstep that wrote it, or a newer one",
            Self::Exists { .. } => "name another file, or replace it with --force",
            Self::NotEmpty { .. } => {
                "name a folder that does not exist yet; nothing is ever restored over another folder"
            }
            Self::MountPoint { .. } => "name a folder in it, as in --data DIR/lockstep",
            Self::InUse { .. } => "wait for it, or name another one",
            Self::Unknown { .. } => {
                "it was not put there by this program: take it away, or use the program that did"
            }
            Self::Full { .. } | Self::TooLarge { .. } => {
                "make room, or name a place on another disk; nothing was left there"
            }
            Self::Damaged { .. } => "use another backup; nothing was restored of this one",
            Self::File { .. } => "run the command as the user that the server runs as",
        }
    }

    /// Makes the error of a file that is read or written.
    pub(super) fn file(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::File { path: path.to_owned(), source },
        }
    }

    pub(super) fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged { why: why.into() }
    }
}

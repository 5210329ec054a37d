//! How blobs fail: which file, why, and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use lockstep_domain::Digest;
use thiserror::Error;

/// Why a blob cannot be stored or given out.
#[derive(Debug, Error)]
pub enum BlobError {
    /// There is no such blob.
    #[error("there is no blob {digest}")]
    Missing {
        /// What was asked for.
        digest: Digest,
    },
    /// The content does not fit the name; the file was moved away, or could not be.
    #[error("blob {digest} is damaged: its content has the digest {found}; it is now at `{}`", .path.display())]
    Damaged {
        /// What was asked for.
        digest: Digest,
        /// The digest of what is there.
        found: Digest,
        /// Where the damaged file lies.
        path: PathBuf,
    },
    /// The blob is larger than the caller or the store takes.
    #[error("the blob is larger than {limit} bytes")]
    TooLarge {
        /// The bound in bytes.
        limit: u64,
    },
    /// There is no space left; nothing was stored.
    #[error("no space left to write `{}`", .path.display())]
    Full {
        /// The file that was being written.
        path: PathBuf,
    },
    /// What should be stored cannot be read.
    #[error("cannot read what should be stored as a blob")]
    Source {
        /// The cause.
        source: io::Error,
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

impl BlobError {
    /// Says what to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } | Self::Damaged { .. } => {
                "restore the file from a backup of the data folder, or build the version again"
            }
            Self::TooLarge { .. } => "make it smaller: leave out what running the service does not need",
            Self::Full { .. } => {
                "free space on the disk of the data folder (`lockstep store gc --dry-run` shows what could go), \
                 then try again"
            }
            Self::Source { .. } => "check that the file exists and can be read",
            Self::File { .. } => "check that the user who runs Lockstep owns the data folder",
        }
    }

    /// Makes the error of a file of the store.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::File { path: path.to_owned(), source },
        }
    }
}

impl From<BlobError> for io::Error {
    /// Makes it an error of a reader: damage is invalid data.
    fn from(error: BlobError) -> Self {
        let kind = match &error {
            BlobError::Damaged { .. } => io::ErrorKind::InvalidData,
            BlobError::Missing { .. } => io::ErrorKind::NotFound,
            BlobError::File { source, .. } | BlobError::Source { source } => source.kind(),
            BlobError::Full { .. } => io::ErrorKind::StorageFull,
            BlobError::TooLarge { .. } => io::ErrorKind::FileTooLarge,
        };
        Self::new(kind, error)
    }
}

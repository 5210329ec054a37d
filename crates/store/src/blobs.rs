//! Blobs: files named by the SHA-256 of their content, below `blobs/` of the data folder.
//!
//! Invariant: a blob appears under its name only when it is whole and durable, and what is read back is compared with
//! the name. A blob that does not fit its name is moved to `quarantine/`, never given out as good.

mod error;
mod gc;
mod read;
mod write;

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lockstep_domain::Digest;

pub use error::BlobError;
pub use gc::{Collected, GcMode, GcReport, Kept};
pub use read::BlobReader;
pub use write::{MAX_BLOB_BYTES, Stored};

/// The blobs of one data folder. Cheap to clone; everything is on disk.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
}

impl Blobs {
    /// Opens the blobs below `folder` and removes what writers left behind that did not finish.
    ///
    /// # Errors
    /// When the folders cannot be made or read.
    pub fn open(folder: &Path) -> Result<Self, BlobError> {
        let blobs = Self { root: folder.join("blobs") };
        for path in [blobs.sha256(), blobs.temporary(), blobs.quarantine()] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(BlobError::file(&path))?;
        }
        blobs.remove_leftovers()?;
        Ok(blobs)
    }

    /// Says whether a blob is there; its content is checked only when it is read.
    ///
    /// Who wants to name a blob in a new record stores it again even so: that keeps it from being collected meanwhile.
    #[must_use]
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Returns the size of a blob in bytes, or `None` when it is not there.
    ///
    /// # Errors
    /// When the file cannot be looked at.
    pub fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BlobError::file(&path)(error)),
        }
    }

    /// Lists all blobs in the order of their digests. Files with other names are passed over.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn list(&self) -> Result<Vec<Digest>, BlobError> {
        Ok(self.entries()?.into_iter().map(|(digest, _)| digest).collect())
    }

    /// Removes a blob; says whether it was there. Nothing asks here whether someone needs it: [`Self::gc`] does.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self, digest: &Digest) -> Result<bool, BlobError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(BlobError::file(&path)(error)),
        }
    }

    /// Keeps putting a blob in place and collecting one apart, in all processes, until the file is dropped.
    fn lock(&self) -> Result<File, BlobError> {
        let path = self.root.join("lock");
        let open = || {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        open().map_err(BlobError::file(&path))
    }

    fn sha256(&self) -> PathBuf {
        self.root.join("sha256")
    }

    fn temporary(&self) -> PathBuf {
        self.root.join("temporary")
    }

    fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        let (fan, rest) = name.split_at(2);
        self.sha256().join(fan).join(rest)
    }

    fn entries(&self) -> Result<Vec<(Digest, Metadata)>, BlobError> {
        let mut found = Vec::new();
        for fan in read_folder(&self.sha256())? {
            if !fan.is_dir() {
                continue;
            }
            for path in read_folder(&fan)? {
                let metadata = match fs::symlink_metadata(&path) {
                    Ok(metadata) => metadata,
                    // Removed since the folder was read.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(BlobError::file(&path)(error)),
                };
                if let Some(digest) = digest_of(&fan, &path).filter(|_| metadata.is_file()) {
                    found.push((digest, metadata));
                }
            }
        }
        found.sort_unstable_by_key(|(digest, _)| *digest);
        Ok(found)
    }
}

fn digest_of(fan: &Path, path: &Path) -> Option<Digest> {
    let name = format!("{}{}", fan.file_name()?.to_str()?, path.file_name()?.to_str()?);
    name.parse().ok()
}

fn read_folder(path: &Path) -> Result<Vec<PathBuf>, BlobError> {
    let entries = fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    entries.map_err(BlobError::file(path))
}

fn sync_folder(path: &Path) -> Result<(), BlobError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(BlobError::file(path))
}

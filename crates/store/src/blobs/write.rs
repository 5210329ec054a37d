//! Storing a blob: write under a temporary name, sync, rename, sync the folder.
//!
//! A writer holds a lock on its temporary file, so that opening the store in another process removes only what a
//! crashed writer left.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_domain::Digest;
use lockstep_files::foreign;
use sha2::{Digest as _, Sha256};

use super::{BlobError, Blobs, read_folder, sync_folder};

/// Largest blob in bytes: far above any package, so that an endless source cannot fill the disk unnoticed.
pub const MAX_BLOB_BYTES: u64 = 16 << 30;
/// Copy buffer: large enough that system calls do not matter.
pub(super) const BUFFER_BYTES: usize = 128 << 10;
/// A temporary name is taken only by another writer of this very moment.
const NAME_ATTEMPTS: usize = 16;

/// Tells apart the writers of this process.
static NEXT_NAME: AtomicU64 = AtomicU64::new(0);

/// A blob that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A file that is being written; dropped before it is in place, it is removed.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Blobs {
    /// Stores everything that `reader` gives, at most [`MAX_BLOB_BYTES`]; it is durable on return.
    ///
    /// Storing what is there already makes it new again for [`Self::gc`], and replaces a damaged file.
    ///
    /// # Errors
    /// [`BlobError::Source`] when reading fails, [`BlobError::Full`] when there is no space; nothing is stored then.
    pub fn put(&self, reader: impl Read) -> Result<Stored, BlobError> {
        self.put_at_most(reader, MAX_BLOB_BYTES)
    }

    /// Stores everything that `reader` gives if it has at most `limit` bytes.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] when there are more; others as [`Self::put`].
    pub fn put_at_most(&self, mut reader: impl Read, limit: u64) -> Result<Stored, BlobError> {
        let mut temporary = self.create_temporary()?;
        let mut hasher = Sha256::new();
        let (mut bytes, mut buffer) = (0, vec![0; BUFFER_BYTES]);
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(BlobError::Source { source }),
            };
            bytes += read as u64;
            if bytes > limit {
                return Err(BlobError::TooLarge { limit });
            }
            hasher.update(&buffer[..read]);
            temporary.file.write_all(&buffer[..read]).map_err(BlobError::file(&temporary.path))?;
        }
        let digest = Digest::from_bytes(hasher.finalize().into());
        self.put_in_place(&temporary, &digest)?;
        Ok(Stored { digest, bytes })
    }

    /// Stores the content of a file.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn put_file(&self, path: &Path) -> Result<Stored, BlobError> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
        self.put(File::open(path).map_err(|error| BlobError::Source { source: named(error) })?)
    }

    fn put_in_place(&self, temporary: &Temporary, digest: &Digest) -> Result<(), BlobError> {
        temporary.file.sync_all().map_err(BlobError::file(&temporary.path))?;
        let path = self.path(digest);
        let fan = path.parent().unwrap_or(&self.root);
        match DirBuilder::new().mode(0o700).create(fan) {
            Ok(()) => sync_folder(&self.sha256())?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(BlobError::file(fan)(error)),
        }
        let _lock = self.lock()?;
        fs::rename(&temporary.path, &path).map_err(BlobError::file(&path))?;
        sync_folder(fan)
    }

    fn create_temporary(&self) -> Result<Temporary, BlobError> {
        let mut path = self.temporary();
        for _ in 0..NAME_ATTEMPTS {
            let name = format!("{}-{}", std::process::id(), NEXT_NAME.fetch_add(1, Ordering::Relaxed));
            path = self.temporary().join(name);
            if let Some(temporary) = Temporary::create(&path).map_err(BlobError::file(&path))? {
                return Ok(temporary);
            }
        }
        Err(BlobError::file(&path)(io::ErrorKind::AlreadyExists.into()))
    }

    /// Removes the temporary files that no writer holds any more.
    pub(super) fn remove_leftovers(&self) -> Result<(), BlobError> {
        for path in read_folder(&self.temporary())? {
            // What cannot be opened or removed is in nobody's way: names are not used again.
            let Ok(file) = foreign::open_no_link(&path) else { continue };
            if file.try_lock().is_err() {
                continue;
            }
            match fs::remove_file(&path) {
                Ok(()) => tracing::info!(path = %path.display(), "removed a blob that was never finished"),
                Err(error) => tracing::warn!(path = %path.display(), %error, "an unfinished blob stays"),
            }
        }
        Ok(())
    }
}

impl Temporary {
    /// Makes and locks the file; `None` when the name is taken or the file was swept away before it was locked.
    fn create(path: &Path) -> io::Result<Option<Self>> {
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(error),
        };
        file.lock()?;
        Ok((file.metadata()?.nlink() > 0).then(|| Self { path: path.to_owned(), file }))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing at this path; a file that stays is removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

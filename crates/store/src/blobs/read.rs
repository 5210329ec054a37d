//! Reading a blob: whatever comes out is good only when the end was reached without an error.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lockstep_domain::Digest;
use lockstep_files::foreign;
use sha2::{Digest as _, Sha256};

use super::write::BUFFER_BYTES;
use super::{BlobError, Blobs};

/// Reads a blob and compares it with its name at the end.
///
/// The content must not be trusted before `read` has returned `Ok(0)`: damage shows only there, as an error of the kind
/// `InvalidData` in the place of the end.
#[derive(Debug)]
pub struct BlobReader {
    file: File,
    path: PathBuf,
    quarantine: PathBuf,
    digest: Digest,
    hasher: Sha256,
}

impl Blobs {
    /// Opens a blob for reading from its beginning.
    ///
    /// # Errors
    /// [`BlobError::Missing`] when it is not there.
    pub fn reader(&self, digest: &Digest) -> Result<BlobReader, BlobError> {
        let path = self.path(digest);
        let file = match foreign::open_no_link(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BlobError::Missing { digest: *digest });
            }
            Err(error) => return Err(BlobError::file(&path)(error)),
        };
        let quarantine = self.quarantine().join(digest.to_string());
        Ok(BlobReader { file, path, quarantine, digest: *digest, hasher: Sha256::new() })
    }

    /// Reads a whole blob of at most `limit` bytes into memory.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Damaged`], [`BlobError::TooLarge`].
    pub fn read_to_vec(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, BlobError> {
        let mut reader = self.reader(digest)?;
        let mut content = Vec::new();
        reader.each_chunk(|chunk| {
            if (content.len() + chunk.len()) as u64 > limit {
                return Err(BlobError::TooLarge { limit });
            }
            content.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(content)
    }

    /// Reads a blob to its end, only to compare it with its name.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Damaged`].
    pub fn verify(&self, digest: &Digest) -> Result<(), BlobError> {
        self.reader(digest)?.each_chunk(|_| Ok(()))
    }

    /// Copies a blob to a path that does not exist yet; on an error nothing is left there.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Damaged`], [`BlobError::File`] when the path exists.
    pub fn copy_verified_to(&self, digest: &Digest, target: &Path) -> Result<(), BlobError> {
        let mut reader = self.reader(digest)?;
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target);
        let mut file = created.map_err(BlobError::file(target))?;
        let copied = reader.each_chunk(|chunk| file.write_all(chunk).map_err(BlobError::file(target)));
        copied.inspect_err(|_| {
            let _ = fs::remove_file(target);
        })
    }
}

impl BlobReader {
    /// Gives everything to `each`, then compares.
    fn each_chunk(&mut self, mut each: impl FnMut(&[u8]) -> Result<(), BlobError>) -> Result<(), BlobError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match self.next_chunk(&mut buffer)? {
                0 => return Ok(()),
                read => each(&buffer[..read])?,
            }
        }
    }

    fn next_chunk(&mut self, buffer: &mut [u8]) -> Result<usize, BlobError> {
        let read = loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(BlobError::file(&self.path))?,
            }
        };
        self.hasher.update(&buffer[..read]);
        if read == 0 && !buffer.is_empty() {
            self.compare()?;
        }
        Ok(read)
    }

    fn compare(&self) -> Result<(), BlobError> {
        let found = Digest::from_bytes(self.hasher.clone().finalize().into());
        if found != self.digest {
            return Err(BlobError::Damaged { digest: self.digest, found, path: self.move_away() });
        }
        Ok(())
    }

    /// Moves the damaged file out of the way, so that it is never read again and can be looked at; returns where it is.
    fn move_away(&self) -> PathBuf {
        match fs::rename(&self.path, &self.quarantine) {
            Ok(()) => self.quarantine.clone(),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "cannot move a damaged blob away");
                self.path.clone()
            }
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.next_chunk(buffer)?)
    }
}

//! Files that were sent ahead of the request that uses them.
//!
//! Invariant: a file is there whole or not at all, is used by one request at most, and goes with that, after an hour, or when the
//! server ends, however it ends: nothing that is decided rests on it. The hour is of the machine's own clock that never jumps.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockstep_api::types::Upload;
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};

use crate::{Control, internal, lock, random, storage_problem};

/// How long a file waits for its request, which comes right after it.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);
/// Most files that arrive or wait at a time.
const MAX_FILES: usize = 32;
/// Most bytes that wait at a time, not counted what arrives just now.
const MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// What its request names it by, in bytes of randomness.
const ID_BYTES: usize = 16;

/// The files that wait for their requests.
#[derive(Debug)]
pub(crate) struct Uploads {
    folder: PathBuf,
    waiting: Mutex<BTreeMap<String, Waiting>>,
    /// One for each file that arrives or waits.
    seats: Arc<()>,
}

#[derive(Debug)]
struct Waiting {
    file: Received,
    since: Instant,
}

/// A file that has arrived; it is removed with this.
#[derive(Debug)]
pub(crate) struct Received {
    path: TempPath,
    pub(crate) digest: Digest,
    pub(crate) bytes: u64,
    _seat: Arc<()>,
}

impl Received {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// A file that is arriving; what is there of it goes with this.
#[derive(Debug)]
pub struct Receiving<'a> {
    uploads: &'a Uploads,
    file: NamedTempFile,
    hasher: Sha256,
    bytes: u64,
    seat: Arc<()>,
}

impl Uploads {
    /// Keeps files in a folder, in which nothing is that has to stay.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder, waiting: Mutex::default(), seats: Arc::default() }
    }

    fn receive(&self) -> Result<Receiving<'_>, Problem> {
        let seat = self.take_seat()?;
        let made = fs::create_dir_all(&self.folder).and_then(|()| NamedTempFile::new_in(&self.folder));
        let file = made.map_err(|error| storage_problem("the file could not be kept", &error))?;
        Ok(Receiving { uploads: self, file, hasher: Sha256::new(), bytes: 0, seat })
    }

    fn take_seat(&self) -> Result<Arc<()>, Problem> {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|_, waiting| waiting.since.elapsed() < KEPT_FOR);
        let bytes = waiting.values().fold(0_u64, |sum, one| sum.saturating_add(one.file.bytes));
        if Arc::strong_count(&self.seats) > MAX_FILES || bytes > MAX_BYTES {
            return Err(Problem::new(ErrorCode::Unavailable, "too many files wait for their releases")
                .with_hint("try again when those are done; what nobody uses goes after an hour"));
        }
        Ok(Arc::clone(&self.seats))
    }

    /// Takes a file out; nobody else gets it.
    pub(crate) fn take(&self, upload: &str) -> Result<Received, Problem> {
        let waiting = lock(&self.waiting).remove(upload);
        let waiting = waiting.filter(|waiting| waiting.since.elapsed() < KEPT_FOR);
        waiting.map(|waiting| waiting.file).ok_or_else(|| {
            Problem::new(ErrorCode::NotFound, "the file that was sent is not there any more").with_hint(
                "send it again: the server was started anew, an hour has passed, or a request has used it",
            )
        })
    }
}

impl Receiving<'_> {
    /// Takes a piece.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), Problem> {
        self.hasher.update(piece);
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        self.file.write_all(piece).map_err(|error| not_kept(&error))
    }

    /// Keeps what has arrived, all of it.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn keep(self) -> Result<Upload, Problem> {
        let Self { uploads, mut file, hasher, bytes, seat } = self;
        file.flush().map_err(|error| not_kept(&error))?;
        let digest = Digest::from_bytes(hasher.finalize().into());
        let upload = random::random_hex(ID_BYTES).map_err(internal)?;
        let file = Received { path: file.into_temp_path(), digest, bytes, _seat: seat };
        lock(&uploads.waiting).insert(upload.clone(), Waiting { file, since: Instant::now() });
        Ok(Upload { upload, digest, bytes })
    }
}

fn not_kept(error: &io::Error) -> Problem {
    storage_problem("the file could not be kept", error)
}

impl Control {
    /// Begins to receive a file.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn receive_upload(&self) -> Result<Receiving<'_>, Problem> {
        self.uploads.receive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uploads() -> (tempfile::TempDir, Uploads) {
        let folder = tempfile::tempdir().unwrap();
        let uploads = Uploads::at(folder.path().join("uploads"));
        (folder, uploads)
    }

    fn files(uploads: &Uploads) -> usize {
        fs::read_dir(&uploads.folder).map_or(0, Iterator::count)
    }

    fn sent(uploads: &Uploads, text: &str) -> Upload {
        let mut receiving = uploads.receive().unwrap();
        text.as_bytes().chunks(2).for_each(|piece| receiving.write(piece).unwrap());
        receiving.keep().unwrap()
    }

    #[test]
    fn a_file_is_used_once_and_goes_with_who_used_it() {
        let (_folder, uploads) = uploads();
        let (one, same) = (sent(&uploads, "content"), sent(&uploads, "content"));
        assert_eq!((one.digest, one.bytes), (same.digest, 7));
        assert_ne!(one.upload, same.upload, "who sends the same has a file of its own");
        let taken = uploads.take(&one.upload).unwrap();
        assert_eq!(fs::read(taken.path()).unwrap(), b"content");
        assert_eq!(uploads.take(&one.upload).unwrap_err().code, ErrorCode::NotFound);
        assert_eq!(files(&uploads), 2);
        drop(taken);
        drop(uploads.take(&same.upload).unwrap());
        assert_eq!(files(&uploads), 0);
    }

    #[test]
    fn of_what_is_cut_off_nothing_is_left() {
        let (_folder, uploads) = uploads();
        let mut receiving = uploads.receive().unwrap();
        receiving.write(b"half").unwrap();
        assert_eq!(files(&uploads), 1);
        drop(receiving);
        assert_eq!(files(&uploads), 0);
    }

    #[test]
    fn there_is_an_end_of_files_that_wait_and_one_that_is_used_makes_room() {
        let (_folder, uploads) = uploads();
        let all: Vec<_> = (0..MAX_FILES).map(|_| sent(&uploads, "x")).collect();
        assert_eq!(uploads.receive().unwrap_err().code, ErrorCode::Unavailable);
        let used = uploads.take(&all[0].upload).unwrap();
        assert_eq!(uploads.receive().unwrap_err().code, ErrorCode::Unavailable, "it is still there");
        drop(used);
        drop(uploads.receive().unwrap());
        // What nobody uses makes room by itself.
        let long_ago = Instant::now().checked_sub(KEPT_FOR).unwrap();
        lock(&uploads.waiting).values_mut().for_each(|waiting| waiting.since = long_ago);
        assert!(uploads.take(&all[1].upload).is_err());
        drop(uploads.receive().unwrap());
        assert_eq!(files(&uploads), 0);
    }
}

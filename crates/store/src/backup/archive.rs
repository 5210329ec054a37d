//! The file of a backup: tar in zstd, written and read in one pass with bounded memory.
//!
//! Only regular files with names of at most 100 bytes are in it, so none of tar's extensions is needed; one that is found is
//! refused, because it could make a reader keep any amount in memory.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read};

use lockstep_domain::{Digest, Timestamp};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::{BackupError, Seen};

/// Artifacts are compressed already: the fastest level is enough for journal and documents.
const LEVEL: i32 = 1;
/// Largest window that is kept while reading: four times what level 1 writes.
const WINDOW_LOG: u32 = 22;
/// Copy buffer: large enough that system calls do not matter.
const BUFFER: usize = 128 << 10;

/// A backup that is being written.
pub(super) struct Writer<'a> {
    tar: Builder<zstd::Encoder<'static, BufWriter<&'a File>>>,
    at: Timestamp,
}

impl<'a> Writer<'a> {
    pub(super) fn new(file: &'a File, at: Timestamp) -> io::Result<Self> {
        let mut zstd = zstd::Encoder::new(BufWriter::with_capacity(BUFFER, file), LEVEL)?;
        zstd.include_checksum(true)?;
        Ok(Self { tar: Builder::new(zstd), at })
    }

    /// Adds a file of exactly so many bytes. What cannot be read of it is filled up with zeros, which its digest shows.
    pub(super) fn add(&mut self, path: &str, bytes: u64, content: impl Read) -> io::Result<Seen> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o600);
        header.set_mtime(self.at.0 / 1_000);
        header.set_size(bytes);
        let mut content = Exactly { content, left: bytes, hasher: Sha256::new() };
        self.tar.append_data(&mut header, path, &mut content)?;
        Ok(Seen { bytes, digest: Digest::from_bytes(content.hasher.finalize().into()) })
    }

    /// Ends it; it is durable on return.
    pub(super) fn finish(self) -> io::Result<()> {
        let buffered = self.tar.into_inner()?.finish()?;
        buffered.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

/// Gives exactly so many bytes, whatever the content does meanwhile.
struct Exactly<R> {
    content: R,
    left: u64,
    hasher: Sha256,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let window = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..window];
        let read = match self.content.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Ok(read) if read > 0 => read,
            Ok(_) | Err(_) => {
                buffer.fill(0);
                window
            }
        };
        self.hasher.update(&buffer[..read]);
        self.left -= read as u64;
        Ok(read)
    }
}

/// A backup that is being read.
pub(super) struct Reader {
    zstd: zstd::Decoder<'static, BufReader<File>>,
}

/// An entry of it.
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) bytes: u64,
}

impl Reader {
    pub(super) fn new(file: File) -> Result<Self, BackupError> {
        let reader = BufReader::with_capacity(BUFFER, file);
        let mut zstd = zstd::Decoder::with_buffer(reader).map_err(|error| unreadable(&error))?.single_frame();
        zstd.window_log_max(WINDOW_LOG).map_err(|error| unreadable(&error))?;
        Ok(Self { zstd })
    }

    /// Returns the next entry, or `None` at the proper end. The content of the one before must have been read.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, BackupError> {
        let mut block = [0; 512];
        self.zstd.read_exact(&mut block).map_err(|error| unreadable(&error))?;
        if block.iter().all(|byte| *byte == 0) {
            return self.end().map(|()| None);
        }
        let header = Header::from_byte_slice(&block);
        let damaged = |why: &str| BackupError::damaged(why);
        if header.cksum().ok() != Some(checksum(&block)) {
            return Err(damaged("the checksum of a header is wrong"));
        }
        let path = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        if header.entry_type() != EntryType::Regular {
            return Err(BackupError::damaged(format!("`{}` is not a file", shown(&path))));
        }
        let bytes = header.entry_size().map_err(|_| damaged("the size of an entry is no number"))?;
        Ok(Some(Entry { path, bytes }))
    }

    /// Copies the content of the entry that was returned last.
    pub(super) fn copy(
        &mut self,
        entry: &Entry,
        mut to: impl FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<Seen, BackupError> {
        let (mut hasher, mut left, mut buffer) = (Sha256::new(), entry.bytes, vec![0; BUFFER]);
        while left > 0 {
            let window = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let read = self.zstd.read(&mut buffer[..window]).map_err(|error| unreadable(&error))?;
            if read == 0 {
                return Err(BackupError::damaged("it was cut off"));
            }
            hasher.update(&buffer[..read]);
            to(&buffer[..read])?;
            left -= read as u64;
        }
        let padding = usize::try_from(entry.bytes.wrapping_neg() % 512).unwrap_or_default();
        self.zstd.read_exact(&mut buffer[..padding]).map_err(|error| unreadable(&error))?;
        Ok(Seen { bytes: entry.bytes, digest: Digest::from_bytes(hasher.finalize().into()) })
    }

    /// Reads the whole content of an entry that must have at most `limit` bytes.
    pub(super) fn read(&mut self, entry: &Entry, limit: u64) -> Result<Vec<u8>, BackupError> {
        if entry.bytes > limit {
            return Err(BackupError::damaged(format!("`{}` has {} bytes", shown(&entry.path), entry.bytes)));
        }
        let mut content = Vec::new();
        self.copy(entry, |chunk| {
            content.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(content)
    }

    /// Nothing but the second empty block may follow, and nothing may follow the compressed stream.
    fn end(&mut self) -> Result<(), BackupError> {
        let mut rest = Vec::new();
        Read::by_ref(&mut self.zstd).take(513).read_to_end(&mut rest).map_err(|error| unreadable(&error))?;
        let after = self.zstd.get_mut().read(&mut [0]).map_err(|error| unreadable(&error))?;
        if rest.len() > 512 || rest.iter().any(|byte| *byte != 0) || after > 0 {
            return Err(BackupError::damaged("something follows its end"));
        }
        Ok(())
    }
}

/// The sum of all bytes of a header, its own field counted as spaces.
fn checksum(block: &[u8; 512]) -> u32 {
    let (before, field, after) = (&block[..148], 8 * u32::from(b' '), &block[156..]);
    field + before.iter().chain(after).map(|byte| u32::from(*byte)).sum::<u32>()
}

fn unreadable(error: &io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::damaged("it was cut off"),
        _ => BackupError::damaged(error.to_string()),
    }
}

/// A path of a stranger, short enough to be shown.
pub(super) fn shown(path: &str) -> String {
    path.chars().filter(|c| !c.is_control()).take(80).collect()
}

//! Writes the archive: tar into zstd into a file, in one pass with bounded memory, while computing digests.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use lockstep_domain::Digest;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::contents::{CHUNK_BYTES, Entry, EntryKind, Mode, PackageManifest};
use super::{COMPRESSION_LEVEL, PACKAGE_MANIFEST_FILE, PackageError, io_error, open_file};
use crate::cancel::CancelToken;

/// Threads that compress. The bytes do not depend on the number as long as it is not 0; more threads take more memory.
const COMPRESSION_THREADS: u32 = 4;
/// What one of them takes at a time at this level: with no more than that, a second one has nothing to do, and the buffers for
/// all of them, 50 MB, would be taken and given back for nothing.
const COMPRESSION_PART: u64 = 8 * 1024 * 1024;
/// The window of this level, as a power of two. A smaller one is enough for less, and costs whoever packs and unpacks less memory.
const COMPRESSION_WINDOW_LOG: u32 = 21;
/// What an entry takes beside its content, at most, in the archive and in the list of files; only a long path takes more.
const BYTES_AROUND: u64 = 2_048;

pub(super) type Archive<'a> = Builder<zstd::Encoder<'a, Measured<BufWriter<File>>>>;

/// Writes the archive to `path` and returns its digest and size.
pub(crate) fn write(
    root: &Path,
    contents: &PackageManifest,
    mtime: u64,
    path: &Path,
    cancel: &CancelToken,
) -> Result<(Digest, u64), PackageError> {
    let failed = |source| io_error(path, "written", source);
    let file = File::create(path).map_err(failed)?;
    let mut archive = open(file, size(contents)).map_err(failed)?;
    append_list(&mut archive, contents, mtime).map_err(failed)?;
    for entry in &contents.files {
        append(&mut archive, root, entry, mtime, cancel)?;
    }
    finish(archive).map_err(failed)
}

/// Says about how large the archive is before it is compressed. The same contents give the same number.
fn size(contents: &PackageManifest) -> u64 {
    let of = |entry: &Entry| match entry.kind {
        EntryKind::File { size, .. } => size,
        EntryKind::Link { .. } => 0,
    };
    contents
        .files
        .iter()
        .fold(BYTES_AROUND, |sum, entry| sum.saturating_add(of(entry)).saturating_add(BYTES_AROUND))
}

pub(super) fn open<'a>(file: File, bytes: u64) -> io::Result<Archive<'a>> {
    let measured = Measured::new(BufWriter::with_capacity(CHUNK_BYTES, file));
    let mut encoder = zstd::Encoder::new(measured, COMPRESSION_LEVEL)?;
    if bytes > COMPRESSION_PART {
        let threads = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
        encoder.multithread(threads.min(COMPRESSION_THREADS))?;
    } else {
        encoder.window_log(bytes.next_power_of_two().ilog2().min(COMPRESSION_WINDOW_LOG))?;
    }
    encoder.include_checksum(true)?;
    Ok(Builder::new(encoder))
}

pub(super) fn finish(archive: Archive<'_>) -> io::Result<(Digest, u64)> {
    let measured = archive.into_inner()?.finish()?;
    let (inner, digest, bytes) = measured.finish();
    inner.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok((digest, bytes))
}

fn header(mode: Mode, mtime: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    header.set_mode(mode.bits());
    header.set_entry_type(EntryType::Regular);
    header
}

fn append_list(archive: &mut Archive<'_>, contents: &PackageManifest, mtime: u64) -> io::Result<()> {
    let mut list = serde_json::to_vec_pretty(contents)?;
    list.push(b'\n');
    let mut header = header(Mode::Plain, mtime);
    header.set_size(list.len() as u64);
    archive.append_data(&mut header, PACKAGE_MANIFEST_FILE, list.as_slice())
}

fn append(
    archive: &mut Archive<'_>,
    root: &Path,
    entry: &Entry,
    mtime: u64,
    cancel: &CancelToken,
) -> Result<(), PackageError> {
    let path = root.join(&entry.path);
    let failed = |source: io::Error| match cancel.is_cancelled() {
        true => PackageError::Cancelled,
        false => io_error(&path, "packaged", source),
    };
    match &entry.kind {
        EntryKind::Link { target } => {
            let mut header = header(Mode::Executable, mtime);
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, &entry.path, target).map_err(failed)
        }
        EntryKind::File { size, digest, mode } => {
            let mut header = header(*mode, mtime);
            header.set_size(*size);
            let mut content = Content::new(open_file(&path)?, cancel);
            archive.append_data(&mut header, &entry.path, content.by_ref().take(*size)).map_err(failed)?;
            let unchanged = content.ends_as(*size, digest).map_err(failed)?;
            unchanged.then_some(()).ok_or_else(|| PackageError::Changed { path: entry.path.clone() })
        }
    }
}

/// A file on its way into the archive: its digest is computed again, so that what was listed is what was packed.
struct Content<'a> {
    file: File,
    hasher: Sha256,
    read: u64,
    cancel: &'a CancelToken,
}

impl<'a> Content<'a> {
    fn new(file: File, cancel: &'a CancelToken) -> Self {
        Self { file, hasher: Sha256::new(), read: 0, cancel }
    }

    fn ends_as(mut self, size: u64, digest: &Digest) -> io::Result<bool> {
        let ended = self.file.read(&mut [0])? == 0;
        Ok(ended && self.read == size && self.hasher.finalize().as_slice() == digest.as_bytes())
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        let length = self.file.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        self.read += length as u64;
        Ok(length)
    }
}

/// A writer that knows the digest and the number of the bytes that went through.
pub(super) struct Measured<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W> Measured<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), bytes: 0 }
    }

    fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest::from_bytes(self.hasher.finalize().into()), self.bytes)
    }
}

impl<W: Write> Write for Measured<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..length]);
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(threads: u32, chunk: usize, input: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), COMPRESSION_LEVEL).unwrap();
        encoder.multithread(threads).unwrap();
        encoder.include_checksum(true).unwrap();
        input.chunks(chunk).for_each(|chunk| encoder.write_all(chunk).unwrap());
        encoder.finish().unwrap()
    }

    #[test]
    fn the_number_of_threads_and_the_chunks_do_not_change_the_bytes() {
        let input: Vec<u8> = (0..5_000_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        let one = compressed(1, 512, &input);
        assert_eq!(one, compressed(2, 100_003, &input));
        assert_eq!(one, compressed(COMPRESSION_THREADS, CHUNK_BYTES, &input));
    }

    #[test]
    fn a_small_archive_is_compressed_and_read_with_a_small_window() {
        let folder = tempfile::tempdir().unwrap();
        for (bytes, window_log) in
            [(3_000_u64, 12), (200_000, 18), (COMPRESSION_PART, COMPRESSION_WINDOW_LOG)]
        {
            let path = folder.path().join(bytes.to_string());
            let content: Vec<u8> =
                (0..bytes / 8).flat_map(|number| (number * number).to_le_bytes()).collect();
            let mut archive = open(File::create(&path).unwrap(), bytes).unwrap();
            archive.get_mut().write_all(&content).unwrap();
            finish(archive).unwrap();
            let mut decoder = zstd::Decoder::new(File::open(&path).unwrap()).unwrap();
            decoder.window_log_max(window_log).unwrap();
            let mut read = Vec::new();
            decoder.read_to_end(&mut read).unwrap();
            assert!(read.starts_with(&content), "{bytes}");
        }
    }
}

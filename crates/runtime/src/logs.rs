//! The log of an instance: what its process writes, a line at a time, with the time and where it came from.
//!
//! A line is `2026-01-31T12:00:00.000Z out TEXT`; the second word is `out`, `err`, or `lockstep` for what the supervisor
//! did. Files are `log/current` and, older, `log/1`, `log/2`, ... Invariant: the files together are never larger than
//! [`LogLimits`] allow, whatever the process writes; what cannot be written is dropped, so that a full disk never
//! blocks the process.

pub(crate) mod reader;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_domain::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest line that is kept whole; a longer one is cut into several.
pub(crate) const MAX_LINE_BYTES: usize = 16 * 1024;

/// How much log of one instance is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLimits {
    /// Size at which a file is put aside; at least a line of the longest kind, 17,000 bytes.
    pub file_bytes: u64,
    /// Number of files, with the one being written.
    pub files: u32,
}

impl Default for LogLimits {
    /// 32 MiB an instance: hours of an ordinary service, and a hundred instances still fit on a small disk.
    fn default() -> Self {
        Self { file_bytes: 8 * 1024 * 1024, files: 4 }
    }
}

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Standard output of the process.
    Out,
    /// Standard error of the process.
    Err,
    /// The supervisor.
    Lockstep,
}

impl Source {
    const fn word(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
            Self::Lockstep => "lockstep",
        }
    }
}

/// Lines are written together up to this size, so that a flood costs few system calls.
const BUFFER_BYTES: usize = 64 * 1024;

/// Writes the log of one instance. Lines are in the files after [`LogWriter::flush`].
#[derive(Debug)]
pub(crate) struct LogWriter {
    folder: PathBuf,
    limits: LogLimits,
    file: Option<File>,
    /// Bytes in the present file and the buffer.
    size: u64,
    buffer: Vec<u8>,
    buffered_lines: u64,
    dropped_lines: u64,
}

impl LogWriter {
    /// Opens the log in a folder and goes on where it ends.
    #[must_use]
    pub(crate) const fn new(folder: PathBuf, limits: LogLimits) -> Self {
        let buffer = Vec::new();
        Self { folder, limits, file: None, size: 0, buffer, buffered_lines: 0, dropped_lines: 0 }
    }

    /// Adds one line. When it cannot be written it is dropped, and counted.
    pub(crate) fn line(&mut self, source: Source, text: &[u8]) {
        if self.dropped_lines > 0 && self.open().is_ok() {
            let note = format!("{} lines were lost because the log could not be written", self.dropped_lines);
            self.dropped_lines = 0;
            self.add(Source::Lockstep, note.as_bytes());
        }
        self.add(source, text);
    }

    /// Writes what was added.
    pub(crate) fn flush(&mut self) {
        if !self.buffer.is_empty() && self.try_flush().is_err() {
            self.dropped_lines = self.dropped_lines.saturating_add(self.buffered_lines);
            self.file = None;
        }
        self.buffer.clear();
        self.buffered_lines = 0;
    }

    fn add(&mut self, source: Source, text: &[u8]) {
        let start = format!("{} {} ", now(), source.word());
        let text = text.get(..MAX_LINE_BYTES).unwrap_or(text);
        let length = start.len() + text.len() + 1;
        if self.make_room(length).is_err() {
            self.dropped_lines = self.dropped_lines.saturating_add(1);
            return;
        }
        self.buffer.extend_from_slice(start.as_bytes());
        self.buffer.extend_from_slice(text);
        self.buffer.push(b'\n');
        self.buffered_lines += 1;
        self.size += length as u64;
    }

    fn make_room(&mut self, length: usize) -> io::Result<()> {
        self.open()?;
        if self.buffer.len() + length > BUFFER_BYTES {
            self.flush();
            self.open()?;
        }
        if self.size > 0 && self.size.saturating_add(length as u64) > self.limits.file_bytes {
            self.flush();
            self.rotate()?;
            self.open()?;
        }
        Ok(())
    }

    fn try_flush(&mut self) -> io::Result<()> {
        self.open()?;
        match &mut self.file {
            Some(file) => file.write_all(&self.buffer),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            let file = OpenOptions::new().append(true).create(true).open(current(&self.folder))?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        let last = self.limits.files.saturating_sub(1);
        let oldest = if last == 0 { current(&self.folder) } else { older(&self.folder, last) };
        remove_if_there(&oldest)?;
        for number in (1..last).rev() {
            rename_if_there(&older(&self.folder, number), &older(&self.folder, number + 1))?;
        }
        if last > 0 {
            rename_if_there(&current(&self.folder), &older(&self.folder, 1))?;
        }
        Ok(())
    }
}

/// Returns the end of the log: at most so many lines, oldest first.
#[must_use]
pub(crate) fn tail(folder: &Path, lines: usize) -> Vec<String> {
    let window = MAX_LINE_BYTES as u64 * 4;
    let read = || -> io::Result<String> {
        let mut file = File::open(current(folder))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(window)))?;
        let mut bytes = Vec::new();
        file.take(window).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).map(|line| (*line).to_owned()).collect()
}

/// Returns the wall-clock time, for people to read; nothing is decided by it.
#[must_use]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn current(folder: &Path) -> PathBuf {
    folder.join("current")
}

fn older(folder: &Path, number: u32) -> PathBuf {
    folder.join(number.to_string())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    ignore_missing(fs::remove_file(path))
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    ignore_missing(fs::rename(from, to))
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(folder: &Path) -> Vec<u64> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect()
    }

    #[test]
    fn files_together_stay_below_the_limits() {
        let folder = tempfile::tempdir().unwrap();
        let limits = LogLimits { file_bytes: 1_000, files: 3 };
        let mut log = LogWriter::new(folder.path().to_owned(), limits);
        for number in 0..500 {
            log.line(Source::Out, format!("line {number}").as_bytes());
        }
        log.flush();
        let sizes = sizes(folder.path());
        assert_eq!(sizes.len(), 3);
        assert!(sizes.iter().all(|size| *size <= 1_000), "{sizes:?}");
        assert!(tail(folder.path(), 1)[0].ends_with(" out line 499"));
    }

    #[test]
    fn a_single_file_starts_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = LogWriter::new(folder.path().to_owned(), LogLimits { file_bytes: 200, files: 1 });
        for _ in 0..50 {
            log.line(Source::Err, b"something went wrong");
        }
        log.flush();
        let sizes = sizes(folder.path());
        assert!(matches!(sizes[..], [size] if size <= 200), "{sizes:?}");
    }

    #[test]
    fn another_writer_goes_on_and_respects_the_size_it_finds() {
        let folder = tempfile::tempdir().unwrap();
        let limits = LogLimits { file_bytes: 100, files: 2 };
        for number in 0..10 {
            let mut log = LogWriter::new(folder.path().to_owned(), limits);
            log.line(Source::Out, format!("run {number}").as_bytes());
            log.flush();
        }
        assert!(sizes(folder.path()).iter().all(|size| *size <= 100));
        assert!(tail(folder.path(), 2)[0].ends_with("run 8"));
    }

    #[test]
    fn lost_lines_are_counted_once_the_log_can_be_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = LogWriter::new(path.clone(), LogLimits::default());
        log.line(Source::Out, b"lost");
        log.line(Source::Out, b"lost too");
        fs::create_dir(&path).unwrap();
        log.line(Source::Out, b"kept");
        log.flush();
        let lines = tail(&path, 5);
        assert!(lines[0].ends_with("lockstep 2 lines were lost because the log could not be written"));
        assert!(lines[1].ends_with("out kept"));
    }
}

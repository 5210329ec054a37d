//! The folder of a log, as a port: what a writer needs of it, so that tests can fill the disk and tear writes.
//!
//! Invariant of the real one: nothing but a regular file is opened or written, and nothing is waited for.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use lockstep_files::foreign;

use super::{LOST, MAX_LINE_BYTES};

/// How far back from its end a line is looked for that was not written whole.
const LONGEST_TORN: u64 = MAX_LINE_BYTES as u64 + 128;

/// Where a writer puts its files.
pub(crate) trait Disk: Debug + Send {
    /// A file that is open to be added to.
    type File: Debug + Send;

    /// Opens a file at its end, makes it when it is not there, and returns its size. A line at its end that is not whole is gone.
    fn open(&mut self, name: &str) -> io::Result<(Self::File, u64)>;

    /// Adds what it can, and returns how many bytes that were.
    fn add(&mut self, file: &mut Self::File, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts a file to a size.
    fn cut(&mut self, file: &mut Self::File, size: u64) -> io::Result<()>;

    /// Gives a file another name, if it is there.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, if it is there.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Reads what was noted last; empty when nothing was.
    fn noted(&mut self) -> Vec<u8>;

    /// Notes a text in the place of the one before, which has the same length: it needs no new room on the disk.
    fn note(&mut self, text: &[u8]) -> io::Result<()>;
}

/// A folder on a disk.
#[derive(Debug)]
pub(crate) struct LogFolder {
    path: PathBuf,
    note: Option<File>,
}

impl LogFolder {
    pub(crate) const fn at(path: PathBuf) -> Self {
        Self { path, note: None }
    }
}

impl Disk for LogFolder {
    type File = File;

    fn open(&mut self, name: &str) -> io::Result<(File, u64)> {
        let path = self.path.join(name);
        let file = foreign::open_to_append(&path)?;
        let size = file.metadata()?.len();
        let whole = whole_lines(&foreign::open_no_link(&path)?, size)?;
        if whole < size {
            file.set_len(whole)?;
        }
        Ok((file, whole))
    }

    fn add(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn cut(&mut self, file: &mut File, size: u64) -> io::Result<()> {
        file.set_len(size)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        ignore_missing(fs::rename(self.path.join(from), self.path.join(to)))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        ignore_missing(fs::remove_file(self.path.join(name)))
    }

    fn noted(&mut self) -> Vec<u8> {
        super::lost::noted(&self.path)
    }

    fn note(&mut self, text: &[u8]) -> io::Result<()> {
        if self.note.is_none() {
            self.note = Some(foreign::open_to_overwrite(&self.path.join(LOST))?);
        }
        let noted = self.note.as_ref().map_or(Ok(()), |file| file.write_all_at(text, 0));
        if noted.is_err() {
            self.note = None;
        }
        noted
    }
}

/// Returns where the last line that is whole ends.
fn whole_lines(mut file: &File, size: u64) -> io::Result<u64> {
    let start = size.saturating_sub(LONGEST_TORN);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(LONGEST_TORN).read_to_end(&mut end)?;
    match end.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => Ok(start + newline as u64 + 1),
        // Whatever this is, it is no line of ours.
        None => Ok(if start == 0 { 0 } else { size }),
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

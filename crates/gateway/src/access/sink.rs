//! Where lines of the access log go: a file that is put aside when it is full, or standard error.
//!
//! Another process may write to the same file, as the gateway before does after a takeover, and somebody else may put it aside.
//! Invariant: nobody renames a file but the one that the path names, and nobody writes on to one that the path does not name any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::AccessLogTarget;

/// Longest file; with its former one it is twice that.
pub(super) const MAX_FILE: u64 = 64 * 1_024 * 1_024;

/// Where lines go.
pub(super) enum Sink {
    StandardError,
    File(LogFile),
}

impl Sink {
    pub(super) fn open(target: &AccessLogTarget) -> io::Result<Self> {
        match target {
            AccessLogTarget::StandardError => Ok(Self::StandardError),
            AccessLogTarget::File(path) => LogFile::open(path.clone(), MAX_FILE).map(Self::File),
        }
    }

    /// Writes lines, each with its end, and says how many of them are there whole, and what went wrong.
    pub(super) fn write(&mut self, lines: &str) -> Written {
        match self {
            Self::StandardError => append(&mut io::stderr().lock(), lines),
            Self::File(file) => file.write(lines),
        }
    }
}

/// What became of some lines.
#[derive(Debug)]
pub(super) struct Written {
    /// How many bytes of them are there.
    bytes: usize,
    /// Why not all.
    pub(super) error: Option<io::Error>,
}

impl Written {
    /// Says how many lines are there whole.
    pub(super) fn whole(&self, lines: &str) -> u64 {
        lines.as_bytes()[..self.bytes].iter().filter(|byte| **byte == b'\n').count() as u64
    }
}

/// A file with a bound.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    most: u64,
}

impl LogFile {
    fn open(path: PathBuf, most: u64) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self { path, file, most })
    }

    fn write(&mut self, lines: &str) -> Written {
        if let Err(error) = self.make_ready() {
            return Written { bytes: 0, error: Some(error) };
        }
        let before = self.file.metadata().map(|found| found.len()).unwrap_or_default();
        let written = append(&mut self.file, lines);
        if written.error.is_some() {
            self.cut_off(before, lines, written.bytes);
        }
        written
    }

    /// Opens the file that the path names, where that is another one by now, and puts a full one aside.
    fn make_ready(&mut self) -> io::Result<()> {
        if !self.is_named()? {
            self.file = open(&self.path)?;
        }
        let length = self.file.metadata()?.len();
        if length < self.most {
            return Ok(());
        }
        match self.put_aside() {
            // Better a file that is too long, for a while, than a request without a line.
            Err(_) if length < self.most.saturating_mul(2) => Ok(()),
            aside => aside,
        }
    }

    /// Puts a full file aside, unless another process has done it meanwhile.
    fn put_aside(&mut self) -> io::Result<()> {
        // Held by whoever renames, and let go with the file.
        rustix::fs::flock(&self.file, FlockOperation::LockExclusive)?;
        if self.is_named()? {
            fs::rename(&self.path, former(&self.path))?;
        }
        self.file = open(&self.path)?;
        Ok(())
    }

    /// Tells whether the path names this very file.
    fn is_named(&self) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match fs::metadata(&self.path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes half a line away again, unless somebody else has written behind it.
    fn cut_off(&self, before: u64, lines: &str, bytes: usize) {
        let end = before.saturating_add(bytes as u64);
        let is_ours = self.file.metadata().is_ok_and(|found| found.len() == end);
        let whole = lines[..bytes].rfind('\n').map_or(0, |at| at + 1);
        if is_ours && whole < bytes {
            // Where that fails as well, half a line stays.
            let _ = self.file.set_len(before.saturating_add(whole as u64));
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for somebody who reads it.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn former(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Writes lines one after another, as far as that can be done.
fn append(to: &mut impl Write, lines: &str) -> Written {
    let mut rest = lines.as_bytes();
    let error = loop {
        match to.write(rest) {
            _ if rest.is_empty() => break to.flush().err(),
            Ok(0) => break Some(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Some(error),
        }
    };
    Written { bytes: lines.len() - rest.len(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path, most: u64) -> LogFile {
        LogFile::open(path.to_owned(), most).unwrap()
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn of_two_processes_with_one_file_neither_puts_aside_what_the_other_has_begun_and_no_line_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let (mut one, mut two) = (file(&path, 8), file(&path, 8));
        assert!(one.write("1234567\n").error.is_none());
        // It is full, and both know it.
        assert!(two.write("a\n").error.is_none());
        assert!(one.write("b\n").error.is_none());
        assert_eq!((read(&former(&path)), read(&path)), ("1234567\n".into(), "a\nb\n".into()));
        // Somebody else puts it aside.
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        assert!(two.write("c\n").error.is_none() && one.write("d\n").error.is_none());
        assert_eq!(read(&path), "c\nd\n");
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_is_written_on_and_not_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        // What stands in the place of the former file cannot be replaced.
        fs::create_dir_all(former(&path).join("in-the-way")).unwrap();
        let mut log = file(&path, 4);
        assert!(log.write("123\n").error.is_none() && log.write("456\n").error.is_none());
        let refused = log.write("789\n");
        assert!(refused.error.is_some() && refused.whole("789\n") == 0);
        assert_eq!(read(&path), "123\n456\n");
        fs::remove_dir_all(former(&path)).unwrap();
        assert!(log.write("789\n").error.is_none());
        assert_eq!((read(&former(&path)), read(&path)), ("123\n456\n".into(), "789\n".into()));
    }

    /// Takes so many bytes, and then none.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.0.min(bytes.len());
            self.0 -= taken;
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn of_what_a_full_disk_took_only_whole_lines_count_and_half_a_line_is_taken_away_again() {
        let lines = "one\ntwo\nthree\n";
        for (room, whole) in [(0, 0), (3, 0), (4, 1), (7, 1), (8, 2), (13, 2)] {
            let written = append(&mut Full(room), lines);
            assert_eq!((written.whole(lines), written.error.is_some()), (whole, true), "{room}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        fs::write(&path, "zero\none\ntw").unwrap();
        file(&path, 1_000).cut_off(5, lines, 6);
        assert_eq!(read(&path), "zero\none\n");
        file(&path, 1_000).cut_off(5, lines, 3);
        assert_eq!(read(&path), "zero\none\n", "somebody else has written meanwhile");
    }
}

//! Writes the log of one instance, and keeps the account of what it could not write.
//!
//! Invariant: every line that was handed in is whole in a file, or is waiting in memory, or counts as lost; and a line that says
//! how many were lost takes them off the count only when it is whole in a file itself. So what is said and what is kept are together
//! what was written, whatever fails and in whatever order. (Old files are put aside and end: what was in them was kept.)
//! When the supervisor is killed between a line about lost ones and the count, the next one says them again:
//! never fewer are said than were lost.

use std::io;

use super::disk::Disk;
use super::lost::{Lost, said};
use super::{LogLimits, MAX_LINE_BYTES, Source, now};

/// Lines are written together up to this size, so that a flood costs few system calls.
const BUFFER_BYTES: usize = 64 * 1024;
/// The name of the file that is written.
const CURRENT: &str = "current";

/// Writes the log of one instance. Lines are in the files after [`LogWriter::flush`], or are counted as lost.
#[derive(Debug)]
pub(crate) struct LogWriter<D: Disk> {
    disk: D,
    limits: LogLimits,
    /// The present file and its size.
    file: Option<(D::File, u64)>,
    waiting: Lines,
    lost: Lost,
    /// What `log/lost` says.
    noted: Lost,
}

/// Lines that wait to be written, one after the other.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Lines {
    fn add(&mut self, source: Source, text: &[u8]) {
        self.bytes.extend_from_slice(format!("{} {} ", now(), source.word()).as_bytes());
        self.bytes.extend_from_slice(text);
        self.bytes.push(b'\n');
        self.ends.push(self.bytes.len());
    }

    /// Counts the lines from `first` on that end within so many bytes after `start`.
    fn within(&self, first: usize, start: usize, bytes: u64) -> usize {
        let fits = |end: &&usize| end.saturating_sub(start) as u64 <= bytes;
        self.ends.iter().skip(first).take_while(fits).count()
    }

    fn start_of(&self, line: usize) -> usize {
        line.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default()
    }
}

impl<D: Disk> LogWriter<D> {
    /// Goes on where a log ends, with what the writer before had lost.
    pub(crate) fn new(mut disk: D, limits: LogLimits) -> Self {
        let lost = Lost::parse(&disk.noted());
        let mut log = Self { disk, limits, file: None, waiting: Lines::default(), lost, noted: lost };
        if lost.is_in_hand() {
            log.line(
                Source::Lockstep,
                b"the supervisor before was killed: lines that it had in hand may be missing",
            );
            log.flush();
            [Source::Out, Source::Err].into_iter().for_each(|source| log.lost.hold(source, false));
            log.note();
        }
        log
    }

    /// Adds one line.
    pub(crate) fn line(&mut self, source: Source, text: &[u8]) {
        let text = text.get(..MAX_LINE_BYTES).unwrap_or(text);
        if self.waiting.bytes.len() + text.len() > BUFFER_BYTES {
            self.flush();
        }
        self.waiting.add(source, text);
    }

    /// Notes that something of a source is taken and not in the log yet, or that nothing is any more.
    pub(crate) fn hold(&mut self, source: Source, held: bool) {
        self.lost.hold(source, held);
        self.note();
    }

    /// Writes what was added, after a line about what was lost before.
    pub(crate) fn flush(&mut self) {
        let mut lines = std::mem::take(&mut self.waiting);
        if self.lost.lines == 0 || self.say_lost().is_ok() {
            self.write_or_lose(&lines);
        } else {
            self.lose(lines.ends.len());
        }
        self.note();
        // Its room is used again.
        lines.bytes.clear();
        lines.ends.clear();
        self.waiting = lines;
    }

    fn say_lost(&mut self) -> io::Result<()> {
        let mut line = Lines::default();
        line.add(Source::Lockstep, said(self.lost.lines).as_bytes());
        self.write(&line, 0)?;
        self.lost.lines = 0;
        Ok(())
    }

    fn write_or_lose(&mut self, lines: &Lines) {
        let mut written = 0;
        while written < lines.ends.len() {
            match self.write(lines, written) {
                Ok(count) => written += count,
                Err(Torn { whole }) => return self.lose(lines.ends.len() - written - whole),
            }
        }
    }

    fn lose(&mut self, lines: usize) {
        self.lost.lines = self.lost.lines.saturating_add(lines as u64);
    }

    /// Writes as many lines from `first` on as the present file has room for, at least one, and returns how many.
    fn write(&mut self, lines: &Lines, first: usize) -> Result<usize, Torn> {
        let start = lines.start_of(first);
        let size = self.open().map_err(|_| Torn { whole: 0 })?;
        let mut count = lines.within(first, start, self.limits.file_bytes.saturating_sub(size));
        if count == 0 && size > 0 {
            self.rotate().map_err(|_| Torn { whole: 0 })?;
            count = lines.within(first, start, self.limits.file_bytes);
        }
        let count = count.max(1);
        let bytes = lines.bytes.get(start..lines.start_of(first + count)).unwrap_or_default();
        match self.write_all(bytes) {
            written if written == bytes.len() => Ok(count),
            written => {
                let whole = lines.within(first, start, written as u64);
                self.cut(lines.start_of(first + whole) - start, written);
                Err(Torn { whole })
            }
        }
    }

    /// Writes what it can, and returns how many bytes that were.
    fn write_all(&mut self, bytes: &[u8]) -> usize {
        let Ok(before) = self.open() else { return 0 };
        let Some((file, size)) = &mut self.file else { return 0 };
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.disk.add(file, rest) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        *size = before + written as u64;
        written
    }

    /// Takes back what was written of a line that is not whole. When that fails too, opening the file again does it.
    fn cut(&mut self, whole: usize, written: usize) {
        if let Some((mut file, size)) = self.file.take() {
            let _ = self.disk.cut(&mut file, size - (written - whole) as u64);
        }
    }

    /// Opens the present file, and returns its size.
    fn open(&mut self) -> io::Result<u64> {
        if let Some((_, size)) = &self.file {
            return Ok(*size);
        }
        let opened = self.disk.open(CURRENT)?;
        let size = opened.1;
        self.file = Some(opened);
        Ok(size)
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        let last = self.limits.files.saturating_sub(1);
        self.disk.remove(&if last == 0 { CURRENT.to_owned() } else { last.to_string() })?;
        for number in (1..last).rev() {
            self.disk.rename(&number.to_string(), &(number + 1).to_string())?;
        }
        if last > 0 {
            self.disk.rename(CURRENT, "1")?;
        }
        self.open().map(|_| ())
    }

    /// Keeps the account where the next supervisor finds it.
    fn note(&mut self) {
        if self.noted != self.lost && self.disk.note(self.lost.text().as_bytes()).is_ok() {
            self.noted = self.lost;
        }
    }
}

/// A write that failed after so many lines.
#[derive(Debug)]
struct Torn {
    whole: usize,
}

impl From<Torn> for io::Error {
    fn from(_: Torn) -> Self {
        io::ErrorKind::WriteZero.into()
    }
}

#[cfg(test)]
mod tests;

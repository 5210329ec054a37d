//! Reads the log of an instance while it is being written: all lines in order, across files that are put aside, and at the end
//! how many are missing that the log itself could not say.
//!
//! It holds the folder, so the instance may end and its folder move meanwhile. Invariant: nothing that lies in the place of a
//! file of the log is waited for.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_files::foreign;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::lost::{self, Lost, said};
use super::{MAX_LINE_BYTES, Source, current, now, older};
use crate::folder::InstanceFolder;
use crate::status::Status;

/// How often a log that has ended is looked at again: fast enough for a person who looks on.
const POLL: Duration = Duration::from_millis(50);
/// Most files of a log that are opened: far more than a log has.
const MAX_FILES: u32 = 64;
/// Longest line that is read: what a writer writes, with time and source.
const MAX_READ: u64 = MAX_LINE_BYTES as u64 + 64;

/// What happens at the end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Reading ends there.
    No,
    /// More is waited for until the instance is over.
    Yes,
}

/// Reads the lines of a log.
#[derive(Debug)]
pub struct LogReader {
    folder: InstanceFolder,
    /// The folder itself, wherever it is now.
    _held: std::fs::File,
    follow: Follow,
    /// Files that are still to be read, oldest first. Open, so that putting them aside does not lose them.
    next: VecDeque<File>,
    open: Option<BufReader<File>>,
    /// The file that was current when it was opened.
    newest: Option<u64>,
    /// A line whose end has not been written yet.
    partial: Vec<u8>,
    /// Whether it was said what is missing.
    has_ended: bool,
}

impl LogReader {
    /// Begins to read the log of an instance.
    ///
    /// # Errors
    ///
    /// When there is no such folder.
    pub(crate) fn open(folder: &InstanceFolder, follow: Follow) -> io::Result<Self> {
        let (held, folder) = folder.hold()?;
        let (next, partial) = (VecDeque::new(), Vec::new());
        Ok(Self { folder, _held: held, follow, next, open: None, newest: None, partial, has_ended: false })
    }

    /// Reads the next line, such as `2026-01-31T12:00:00.000Z out listening`, without its end.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(line) = self.read_line().await? {
                return Ok(Some(line));
            }
            // Asked before looking for more, so that what was written before the end is not missed.
            let is_over = self.follow == Follow::No || self.is_over();
            if self.open_newer().await? {
                continue;
            }
            if is_over {
                return Ok(self.read_line().await?.or_else(|| self.missing()));
            }
            sleep(POLL).await;
        }
    }

    /// Says once, at the end, how many lines were lost and never said.
    fn missing(&mut self) -> Option<String> {
        let lost = Lost::parse(&lost::noted(&self.folder.log()));
        let is_news = !std::mem::replace(&mut self.has_ended, true) && lost.lines > 0;
        is_news.then(|| format!("{} {} {}", now(), Source::Lockstep.word(), said(lost.lines)))
    }

    fn is_over(&self) -> bool {
        match Status::read(&self.folder) {
            Ok(Some(status)) if status.state.is_over() => true,
            // What has ended has no spec any more; and a supervisor that has not begun has written no status.
            _ => !self.folder.spec().exists(),
        }
    }

    async fn read_line(&mut self) -> io::Result<Option<String>> {
        loop {
            let Some(file) = &mut self.open else { return Ok(None) };
            (&mut *file).take(MAX_READ).read_until(b'\n', &mut self.partial).await?;
            if self.partial.last() == Some(&b'\n') {
                self.partial.pop();
                let line = String::from_utf8_lossy(&self.partial).into_owned();
                self.partial.clear();
                return Ok(Some(line));
            }
            match self.next.pop_front() {
                Some(next) => self.open = Some(BufReader::new(next)),
                None => return Ok(None),
            }
        }
    }

    /// Opens what is newer than the file being read, and tells whether there was any.
    async fn open_newer(&mut self) -> io::Result<bool> {
        let mut newer: VecDeque<(File, u64)> = VecDeque::new();
        for (number, path) in newest_first(&self.folder.log()).enumerate() {
            let file = match open(path).await {
                Ok(file) => file,
                // Between two steps of putting files aside there is no current one.
                Err(_) if number == 0 => continue,
                Err(_) => break,
            };
            let inode = file.metadata().await?.ino();
            if Some(inode) == self.newest {
                break;
            }
            // A file that was put aside in this moment is met twice.
            if newer.iter().all(|(_, other)| *other != inode) {
                newer.push_front((file, inode));
            }
        }
        let Some((_, newest)) = newer.back() else { return Ok(false) };
        self.newest = Some(*newest);
        self.next.extend(newer.into_iter().map(|(file, _)| file));
        if self.open.is_none() {
            self.open = self.next.pop_front().map(BufReader::new);
        }
        Ok(true)
    }
}

async fn open(path: PathBuf) -> io::Result<File> {
    let opened = spawn_blocking(move || foreign::open_no_link(&path)).await;
    opened.map_err(io::Error::other).flatten().map(File::from_std)
}

fn newest_first(log: &Path) -> impl Iterator<Item = PathBuf> {
    std::iter::once(current(log)).chain((1..MAX_FILES).map(move |number| older(log, number)))
}

//! The log of an instance: what its process writes, a line at a time, with the time and where it came from.
//!
//! A line is `2026-01-31T12:00:00.000Z out TEXT`; the second word is `out`, `err`, or `lockstep` for what the supervisor
//! did. Files are `log/current` and, older, `log/1`, `log/2`, ...; `log/lost` is the account of what is in none of them.
//! Invariant: the files together are never larger than [`LogLimits`] allow, whatever the process writes; what cannot be
//! written is dropped and counted, so that a full disk never blocks the process.

pub(crate) mod disk;
pub(crate) mod lost;
pub(crate) mod reader;
pub(crate) mod writer;

use std::ffi::OsStr;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_domain::Timestamp;
use lockstep_files::foreign;
use serde::{Deserialize, Serialize};

/// Longest line that is kept whole; a longer one is cut into several.
pub(crate) const MAX_LINE_BYTES: usize = 16 * 1024;
/// The name of the account of lost lines.
pub(crate) const LOST: &str = "lost";

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

/// Returns the end of the log: at most so many lines, oldest first.
#[must_use]
pub(crate) fn tail(folder: &Path, lines: usize) -> Vec<String> {
    let window = MAX_LINE_BYTES as u64 * 4;
    let read = || -> io::Result<String> {
        let mut file = foreign::open_no_link(&current(folder))?;
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

/// Tells whether a name is that of a file of a log.
#[must_use]
pub(crate) fn is_file_of_log(name: &OsStr) -> bool {
    let numbered =
        |name: &str| name.parse::<u32>().is_ok_and(|number| number > 0 && number.to_string() == name);
    name.to_str().is_some_and(|name| name == "current" || name == LOST || numbered(name))
}

fn current(folder: &Path) -> PathBuf {
    folder.join("current")
}

fn older(folder: &Path, number: u32) -> PathBuf {
    folder.join(number.to_string())
}

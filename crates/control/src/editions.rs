//! Numbers of route tables that are never given twice, kept so that a restart, whatever the clock says, goes on above them.
//!
//! Invariant: a number is used only after a mark at or above it is on the disk. When no mark can be read, or none can be
//! written, numbers of a new history are given: its name was never used, so nobody can have a higher number of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lockstep_domain::edition::{Edition, TableHistory};
use lockstep_files::{foreign, whole};
use serde::{Deserialize, Serialize};

use crate::lock;
use crate::random::random_hex;

/// Where the mark is, in the data folder.
pub(crate) const EDITIONS: &str = "editions.json";
/// So many numbers are taken with one write: far more than tables of a minute, far fewer than there are numbers.
const BLOCK: u64 = 1_000;
/// Largest file that is read; a mark has about a hundred bytes.
const MAX_BYTES: u64 = 4_096;
/// Random bytes of a history's name: nobody gives the same twice.
const NAME_BYTES: usize = 16;

/// What is on the disk: all numbers of the history up to this one may have been used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    history: TableHistory,
    reserved: u64,
}

/// Gives each route table its place.
#[derive(Debug)]
pub(crate) struct Editions {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Edition,
    reserved: u64,
}

impl Editions {
    /// Goes on above the mark of a data folder; begins a new history where there is none that can be read.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(EDITIONS);
        let mark = match read(&path) {
            Ok(mark) => mark,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "route tables are numbered anew");
                }
                Mark { history: new_history()?, reserved: 0 }
            }
        };
        let last = Edition { history: mark.history, revision: mark.reserved };
        Ok(Self { path, state: Mutex::new(State { last, reserved: mark.reserved }) })
    }

    /// Returns the next place.
    pub(crate) fn next(&self) -> Edition {
        let mut state = lock(&self.state);
        if state.last.revision >= state.reserved {
            self.reserve(&mut state);
        }
        state.last = state.last.next();
        state.last.clone()
    }

    /// Marks a block as used. A disk that is full must stop no route table: numbers of a history that is never written
    /// down are safe for as long as this server runs, and the next one begins another or goes on above the old mark.
    fn reserve(&self, state: &mut State) {
        let wanted = Mark { history: state.last.history.clone(), reserved: state.last.revision + BLOCK };
        match self.write(&wanted) {
            Ok(()) => state.reserved = wanted.reserved,
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "route tables are numbered in a history of this run only");
                if let Ok(history) = new_history() {
                    state.last = Edition { history, revision: 0 };
                }
                state.reserved = state.last.revision + BLOCK;
            }
        }
    }

    fn write(&self, mark: &Mark) -> io::Result<()> {
        whole::put(&self.path, &serde_json::to_vec(mark).map_err(io::Error::other)?, 0o600)
    }
}

fn read(path: &Path) -> io::Result<Mark> {
    let text = foreign::read(foreign::open(path)?, MAX_BYTES)?;
    serde_json::from_slice::<Mark>(&text).map_err(io::Error::other).and_then(|mark| {
        if mark.history.is_empty() { Err(io::ErrorKind::InvalidData.into()) } else { Ok(mark) }
    })
}

fn new_history() -> io::Result<TableHistory> {
    random_hex(NAME_BYTES)?.parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_over_restarts_whatever_the_clock_says() {
        let folder = tempfile::tempdir().unwrap();
        let mut last = Editions::open(folder.path()).unwrap().next();
        for _ in 0..3 {
            let editions = Editions::open(folder.path()).unwrap();
            for _ in 0..2 * BLOCK {
                let next = editions.next();
                assert_eq!(next.history, last.history);
                assert!(next.revision > last.revision);
                last = next;
            }
        }
    }

    #[test]
    fn a_mark_that_is_lost_or_damaged_begins_another_history() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Editions::open(folder.path()).unwrap().next().history;
        let first = open();
        let whole = std::fs::read(folder.path().join(EDITIONS)).unwrap();
        for length in 0..whole.len() {
            std::fs::write(folder.path().join(EDITIONS), &whole[..length]).unwrap();
            assert_ne!(open(), first, "cut at {length}");
        }
        std::fs::remove_file(folder.path().join(EDITIONS)).unwrap();
        assert_ne!(open(), first);
        std::fs::write(folder.path().join(EDITIONS), r#"{"history":"","reserved":7}"#).unwrap();
        assert_ne!(open().as_str(), "");
    }

    #[test]
    fn a_disk_that_takes_no_mark_stops_no_table_and_repeats_no_number() {
        let folder = tempfile::tempdir().unwrap();
        let editions = Editions::open(folder.path()).unwrap();
        let first = editions.next();
        std::fs::remove_file(folder.path().join(EDITIONS)).unwrap();
        std::fs::create_dir_all(folder.path().join(EDITIONS).join("in the way")).unwrap();
        let places: Vec<_> = (0..2 * BLOCK).map(|_| editions.next()).collect();
        let after = places.last().unwrap();
        assert_ne!(after.history, first.history);
        let different: std::collections::BTreeSet<_> =
            places.iter().map(|place| (place.history.clone(), place.revision)).collect();
        assert_eq!(different.len(), places.len());
    }
}

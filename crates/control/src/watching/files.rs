//! The files of watching, below the data folder.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lockstep_files::{foreign, whole};
use lockstep_monitor::History;
use lockstep_monitor::state::State;

use super::{Known, TurnKept};
use crate::{counted_file, lock};

/// Alerts, and what is to be sent.
const STATE: &str = "alerts.json";
/// What services did lately.
const HISTORY: &str = "alerts-history.json";
/// When alerts fired and recovered.
const TURNS: &str = "alerts-turns.json";
/// The largest file that is read.
const MAX_BYTES: u64 = 256 << 20;
/// For its owner alone: it says what is wrong where.
const MODE: u32 = 0o600;

/// Where the files are.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// The version that was written last.
    written: Mutex<u64>,
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Text {
    version: u64,
    state: String,
    turns: VecDeque<TurnKept>,
}

impl Known {
    /// Makes the text of what is kept.
    pub(super) fn text(&mut self) -> Option<Text> {
        self.version += 1;
        let state = self.state.store();
        let state =
            state.inspect_err(|error| tracing::error!(%error, "the state of alerts could not be written"));
        Some(Text { version: self.version, state: state.ok()?, turns: self.turns.clone() })
    }
}

impl Files {
    pub(super) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), written: Mutex::new(0) }
    }

    /// Reads the state. What cannot be understood is put aside and is as good as nothing: what is wrong is told again.
    pub(super) fn state(&self) -> State {
        let path = self.folder.join(STATE);
        let text = foreign::open(&path).and_then(|file| foreign::read_text(file, MAX_BYTES));
        let read = text.and_then(|text| State::load(&text).map_err(io::Error::other));
        read.unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                let lost = "the state of alerts is put aside: what is wrong is told again";
                tracing::warn!(path = %path.display(), %error, "{lost}");
                let _ = fs::rename(&path, path.with_extension("unreadable"));
            }
            State::default()
        })
    }

    pub(super) fn turns(&self) -> VecDeque<TurnKept> {
        counted_file::read(&self.folder.join(TURNS), MAX_BYTES, "when alerts fired is lost")
    }

    pub(super) fn history(&self) -> History {
        let lost = "what services did lately is lost: shares are counted anew";
        counted_file::read(&self.folder.join(HISTORY), MAX_BYTES, lost)
    }

    /// Writes the state, unless a newer one was written. Tells whether it, or a newer one, is there.
    pub(super) fn put(&self, text: &Text) -> bool {
        let mut written = lock(&self.written);
        if *written >= text.version {
            return true;
        }
        if let Err(error) = whole::put(&self.folder.join(STATE), text.state.as_bytes(), MODE) {
            tracing::warn!(%error, "the state of alerts could not be kept");
            return false;
        }
        *written = text.version;
        counted_file::put(&self.folder.join(TURNS), &text.turns);
        true
    }

    pub(super) fn put_history(&self, history: &History) {
        counted_file::put(&self.folder.join(HISTORY), history);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_state_is_not_written_over_a_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::of(folder.path());
        let text = |version, state: &str| Text { version, state: state.to_owned(), turns: VecDeque::new() };
        assert!(files.put(&text(2, "newer")) && files.put(&text(1, "older")));
        assert_eq!(fs::read_to_string(folder.path().join(STATE)).unwrap(), "newer");
        assert_eq!(files.state(), State::default(), "it is none, and is put aside");
        assert!(folder.path().join("alerts.unreadable").exists());
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(!files.put(&text(3, "lost")));
    }
}

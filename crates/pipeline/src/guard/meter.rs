//! Measures a folder again and again while a command runs, in small portions so that the guard stays responsive.

use std::fs::ReadDir;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Entries looked at before the guard turns to its other duties: about a millisecond.
const PORTION: usize = 1_000;
/// Shortest pause between two measurements.
const MIN_PAUSE: Duration = Duration::from_millis(500);
/// A measurement that took `t` is followed by a pause of `t` times this, so that measuring costs at most about 5 %.
const PAUSE_FACTOR: u32 = 20;
/// Each entry counts at least this much, so that millions of empty files also fill a quota.
const MIN_ENTRY_BYTES: u64 = 512;

/// Measures the disk space below a folder.
#[derive(Debug)]
pub(crate) struct Meter {
    root: PathBuf,
    state: State,
}

#[derive(Debug)]
enum State {
    Pausing { until: Instant },
    Measuring(Box<Measurement>),
}

#[derive(Debug)]
struct Measurement {
    folders: Vec<PathBuf>,
    open: Option<ReadDir>,
    bytes: u64,
    spent: Duration,
}

impl Meter {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), state: State::Pausing { until: Instant::now() + MIN_PAUSE } }
    }

    /// Works on the measurement for a moment; returns the bytes seen so far when there is something to tell.
    pub(crate) fn advance(&mut self) -> Option<u64> {
        let now = Instant::now();
        let measurement = match &mut self.state {
            State::Pausing { until } if now < *until => return None,
            State::Pausing { .. } => {
                self.state = State::Measuring(Box::new(Measurement::new(&self.root)));
                return self.advance();
            }
            State::Measuring(measurement) => measurement,
        };
        let done = measurement.portion();
        measurement.spent += now.elapsed();
        let bytes = measurement.bytes;
        if done {
            let pause = (measurement.spent * PAUSE_FACTOR).max(MIN_PAUSE);
            self.state = State::Pausing { until: Instant::now() + pause };
        }
        Some(bytes)
    }

    /// Returns how long the guard may wait for other things.
    pub(crate) fn rest(&self) -> Duration {
        match &self.state {
            State::Pausing { until } => until.saturating_duration_since(Instant::now()),
            State::Measuring(_) => Duration::ZERO,
        }
    }
}

impl Measurement {
    fn new(root: &Path) -> Self {
        Self { folders: vec![root.to_owned()], open: None, bytes: 0, spent: Duration::ZERO }
    }

    /// Looks at up to [`PORTION`] entries; tells whether that was all. What vanishes meanwhile counts nothing.
    fn portion(&mut self) -> bool {
        for _ in 0..PORTION {
            let Some(open) = &mut self.open else {
                match self.folders.pop() {
                    None => return true,
                    Some(folder) => self.open = std::fs::read_dir(folder).ok(),
                }
                continue;
            };
            match open.next() {
                None => self.open = None,
                Some(Err(_)) => {}
                Some(Ok(entry)) => self.count(&entry),
            }
        }
        false
    }

    fn count(&mut self, entry: &std::fs::DirEntry) {
        let Ok(metadata) = entry.metadata() else { return };
        self.bytes = self.bytes.saturating_add((metadata.blocks() * 512).max(MIN_ENTRY_BYTES));
        if metadata.is_dir() {
            self.folders.push(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_below_all_folders_are_added() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b/c");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("file"), vec![7; 100_000]).unwrap();
        for number in 0..2_500 {
            std::fs::write(root.path().join(number.to_string()), "").unwrap();
        }
        let mut measurement = Measurement::new(root.path());
        let portions = std::iter::repeat_with(|| measurement.portion()).take_while(|done| !done).count();
        assert!(portions >= 2, "{portions}");
        assert!((1_380_000..2_000_000).contains(&measurement.bytes), "{}", measurement.bytes);
    }
}

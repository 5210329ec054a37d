//! The clock of a server: time by which durations are measured, and which is shown to people.
//!
//! Invariant: while a server runs, its clock advances as the machine's monotonic clock does, whatever becomes of the wall
//! clock. It never turns. When the wall clock is ahead (it was set, or the machine slept), the difference is no time that
//! passed: it is added by a *skip*, which is recorded, and which moves everything that a duration is measured from.
//!
//! Over a restart the monotonic clock tells how long the server was away, for as long as the machine was not started anew.
//! Otherwise nobody knows: then the clock goes on from the last record, and the rest is a skip.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_domain::Timestamp;
use lockstep_files::{foreign, whole};
use serde::{Deserialize, Serialize};

use crate::lock;

/// Where it is written which time the monotonic clock means, in the data folder.
const CLOCK: &str = "clock.json";
/// Largest file that is read.
const MAX_BYTES: u64 = 4_096;

/// A time, and what the monotonic clock of one start of the machine said then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Anchor {
    boot: String,
    monotonic_ms: u64,
    time: Timestamp,
}

impl Anchor {
    /// Returns the time when the monotonic clock of the same start of the machine has come to a value.
    fn at(&self, monotonic_ms: u64) -> Timestamp {
        self.time.plus_ms(monotonic_ms.saturating_sub(self.monotonic_ms))
    }
}

/// The clock of a server.
#[derive(Debug)]
pub(crate) struct Clock {
    path: PathBuf,
    anchor: Mutex<Anchor>,
}

impl Clock {
    /// Starts the clock of a data folder whose last record was written at `last`; an empty journal begins with the time of
    /// the wall clock.
    #[must_use]
    pub(crate) fn start(folder: &Path, last: Option<Timestamp>) -> Self {
        let path = folder.join(CLOCK);
        let noted = foreign::open(&path).and_then(|file| foreign::read(file, MAX_BYTES)).ok();
        let noted = noted.and_then(|text| serde_json::from_slice(&text).ok());
        let anchor = resume(last.unwrap_or_else(wall), noted.as_ref(), &boot(), monotonic_ms());
        let clock = Self { path, anchor: Mutex::new(anchor) };
        clock.note();
        clock
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> Timestamp {
        lock(&self.anchor).at(monotonic_ms())
    }

    /// Adds time that did not pass. It is recorded before.
    pub(crate) fn skip(&self, ms: u64) {
        {
            let mut anchor = lock(&self.anchor);
            anchor.time = anchor.time.plus_ms(ms);
        }
        self.note();
    }

    /// Without the note the next server takes the time that it was away for a skip.
    fn note(&self) {
        let anchor = lock(&self.anchor).clone();
        let noted = serde_json::to_vec(&anchor).map_err(io::Error::other);
        if let Err(error) = noted.and_then(|text| whole::put(&self.path, &text, 0o600)) {
            tracing::warn!(path = %self.path.display(), %error, "the clock could not be noted");
        }
    }
}

/// Returns where the clock goes on: never before the last record, and after it only by what has certainly passed.
fn resume(last: Timestamp, noted: Option<&Anchor>, boot: &str, monotonic_ms: u64) -> Anchor {
    let known = noted.filter(|noted| noted.boot == boot && noted.monotonic_ms <= monotonic_ms);
    let time = known.map_or(last, |noted| noted.at(monotonic_ms).max(last));
    Anchor { boot: boot.to_owned(), monotonic_ms, time }
}

/// Returns what the wall clock says.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn monotonic_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds.saturating_mul(1_000).saturating_add(nanoseconds / 1_000_000)
}

/// Returns the name of this start of the machine; every start of a server is one where the system has none.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| format!("process {}", std::process::id()), |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn anchor(boot: &str, monotonic_ms: u64, time: u64) -> Anchor {
        Anchor { boot: boot.into(), monotonic_ms, time: Timestamp(time) }
    }

    #[test]
    fn a_restart_counts_what_has_certainly_passed_and_nothing_else() {
        let noted = anchor("monday", 5_000, 100_000);
        let resumed = |boot, monotonic| resume(Timestamp(102_000), Some(&noted), boot, monotonic).time;
        assert_eq!(resumed("monday", 65_000), Timestamp(160_000), "a minute away, on the same start");
        assert_eq!(
            resumed("tuesday", 9_000),
            Timestamp(102_000),
            "nobody knows how long the machine was off"
        );
        assert_eq!(resumed("monday", 5_500), Timestamp(102_000), "never before the last record");
        assert_eq!(resumed("monday", 4_000), Timestamp(102_000), "a note from the future is none");
        assert_eq!(resume(Timestamp(7), None, "monday", 1).time, Timestamp(7));
    }

    #[test]
    fn the_clock_of_a_folder_goes_on_and_an_empty_one_begins_with_the_wall_clock() {
        let folder = tempfile::tempdir().unwrap();
        let first = Clock::start(folder.path(), None);
        assert!(wall().since_ms(first.now()) < 60_000);
        first.skip(3_600_000);
        let later = first.now();
        drop(first);
        let again = Clock::start(folder.path(), Some(Timestamp(1)));
        assert!(again.now() >= later);
        std::fs::write(folder.path().join(CLOCK), "{").unwrap();
        assert!(Clock::start(folder.path(), Some(Timestamp(1))).now().since_ms(Timestamp(1)) < 60_000);
    }

    proptest! {
        #[test]
        fn no_sequence_of_restarts_makes_more_time_than_has_passed(
            steps in prop::collection::vec((0_u64..5_000, any::<bool>()), 1..30),
        ) {
            let (mut monotonic, mut passed, mut boots) = (10_000, 0, 0);
            let mut now = anchor("0", monotonic, 1_000_000);
            for (ms, reboots) in steps {
                (monotonic, passed) = (monotonic + ms, passed + ms);
                let last = now.at(if reboots { now.monotonic_ms } else { monotonic });
                boots += u32::from(reboots);
                now = resume(last, Some(&now), &boots.to_string(), monotonic);
                prop_assert!(now.time >= last && now.time <= Timestamp(1_000_000 + passed));
            }
        }
    }
}

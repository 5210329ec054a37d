//! The clock of a server: real time that never goes back.

use std::sync::Mutex;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lockstep_domain::Timestamp;

/// Real time that never goes back and never stands still: when the wall clock is set back, time goes on from where it
/// was, by the machine's monotonic clock, until the wall clock has caught up.
#[derive(Debug)]
pub(crate) struct Clock {
    last: Mutex<(Timestamp, Instant)>,
}

impl Clock {
    /// Starts a clock that is not before `earliest`, the time of the last record of the journal.
    #[must_use]
    pub(crate) fn starting_at(earliest: Timestamp) -> Self {
        Self { last: Mutex::new((earliest, Instant::now())) }
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> Timestamp {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *last = next(*last, wall(), Instant::now());
        last.0
    }
}

fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Returns the later of the wall clock and of the last time plus what has really passed. The anchor only moves by whole
/// milliseconds, so that frequent questions do not lose time.
fn next((time, anchor): (Timestamp, Instant), wall: Timestamp, now: Instant) -> (Timestamp, Instant) {
    let passed = now.saturating_duration_since(anchor);
    let passed_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
    let by_anchor = time.plus_ms(passed_ms);
    if wall >= by_anchor {
        (wall, now)
    } else {
        (by_anchor, anchor + std::time::Duration::from_millis(passed_ms))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_back_does_not_stop_or_turn_time() {
        let anchor = Instant::now();
        let later = anchor + Duration::from_millis(250);
        let (time, anchor) = next((Timestamp(10_000), anchor), Timestamp(3), later);
        assert_eq!(time, Timestamp(10_250));
        let (time, _) = next((time, anchor), Timestamp(4), later + Duration::from_micros(1_500));
        assert_eq!(time, Timestamp(10_251));
    }

    #[test]
    fn the_wall_clock_wins_when_it_is_ahead() {
        let anchor = Instant::now();
        assert_eq!(next((Timestamp(5), anchor), Timestamp(99), anchor).0, Timestamp(99));
    }
}

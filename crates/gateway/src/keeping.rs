//! Whether connections to an instance are worth keeping.
//!
//! Some programs close after each answer and do not say so before. A request that is sent in that very moment is lost, and
//! whether it was read cannot be told; so such an instance gets a new connection for each request.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::moment::Moment;

/// A kept connection that ends within this time was ended because of the answer and not because it was idle.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(1);
/// Connections in a row that end so and show that the program is one that closes.
const IN_ROW: u32 = 3;
/// For how long no connection is kept then; doubles each time.
const FIRST: Duration = Duration::from_secs(60);
/// The longest time.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Whether connections to an instance are worth keeping.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    ended_in_row: AtomicU32,
    times: AtomicU32,
    not_until: AtomicU64,
}

impl Keeping {
    /// Tells whether to keep a connection.
    pub(crate) fn is_worth_it(&self, now: Moment) -> bool {
        now.0 >= self.not_until.load(Ordering::Relaxed)
    }

    /// Notes that a kept connection served another request.
    pub(crate) fn worked(&self) {
        if self.ended_in_row.load(Ordering::Relaxed) > 0 {
            self.ended_in_row.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that the instance ended a connection that had been kept for so long.
    pub(crate) fn ended(&self, kept: Duration, now: Moment) {
        if kept >= AT_ONCE || self.ended_in_row.fetch_add(1, Ordering::Relaxed) + 1 < IN_ROW {
            return;
        }
        self.ended_in_row.store(0, Ordering::Relaxed);
        let times = self.times.fetch_add(1, Ordering::Relaxed).min(16);
        let pause = FIRST.saturating_mul(1 << times).min(LONGEST);
        self.not_until.store((now + pause).0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_three_connections_in_a_row_at_once_gets_new_ones_for_a_growing_time() {
        let (keeping, now) = (Keeping::default(), Moment(1));
        let end = |times, kept, now| (0..times).for_each(|_| keeping.ended(kept, now));
        end(2, Duration::ZERO, now);
        keeping.worked();
        end(2, Duration::ZERO, now);
        end(9, AT_ONCE, now);
        assert!(keeping.is_worth_it(now), "one of them worked, and others ended because they were idle");
        end(1, Duration::ZERO, now);
        assert!(!keeping.is_worth_it(now) && keeping.is_worth_it(now + FIRST));
        let later = now + FIRST;
        end(3, Duration::ZERO, later);
        assert!(!keeping.is_worth_it(later + FIRST) && keeping.is_worth_it(later + FIRST * 2));
    }
}

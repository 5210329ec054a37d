//! Saying in the log what was refused: who, what, why, and never a token. Bounded, so that a flood fills no disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Method, Uri};
use lockstep_api::Problem;

/// Refused requests that are told of in each second.
const A_SECOND: u32 = 10;
/// Longest path that is written.
const MAX_PATH: usize = 200;

/// What was told of lately.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<Rate>);

#[derive(Debug, Default)]
struct Rate {
    second: Option<Instant>,
    told: u32,
    untold: u64,
}

/// Whether something is told of, and how much was not since the last time.
#[derive(Debug, PartialEq, Eq)]
enum Telling {
    Now { untold_before: u64 },
    Not,
}

impl Rate {
    fn next(&mut self, now: Instant) -> Telling {
        if self.second.is_none_or(|second| now.saturating_duration_since(second) >= Duration::from_secs(1)) {
            (self.second, self.told) = (Some(now), 0);
        }
        if self.told >= A_SECOND {
            self.untold += 1;
            return Telling::Not;
        }
        self.told += 1;
        Telling::Now { untold_before: std::mem::take(&mut self.untold) }
    }
}

impl Refusals {
    /// Tells of a refused request.
    pub(crate) fn tell(&self, who: Option<&str>, method: &Method, uri: &Uri, problem: &Problem) {
        let telling = self.0.lock().unwrap_or_else(PoisonError::into_inner).next(Instant::now());
        let Telling::Now { untold_before } = telling else { return };
        let caller = who.unwrap_or("unknown");
        // The path alone: a query may hold what does not belong into a log.
        let path: String = uri.path().chars().take(MAX_PATH).collect();
        let (status, why) = (problem.status, problem.detail.as_str());
        tracing::warn!(caller, %method, ?path, status, ?why, untold_before, "request refused");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_by_its_number() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        let told = (0..1_000).filter(|_| rate.next(now) != Telling::Not).count();
        assert_eq!(told, 10);
        assert_eq!(rate.next(now + Duration::from_secs(1)), Telling::Now { untold_before: 990 });
        assert_eq!(rate.next(now + Duration::from_secs(1)), Telling::Now { untold_before: 0 });
    }
}

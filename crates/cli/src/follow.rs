//! Waiting for what the server does, across a restart of the server and with Ctrl-C explained.

pub(crate) mod build;
pub(crate) mod certificate;
pub(crate) mod events;
pub(crate) mod hosts;
pub(crate) mod lanes;
pub(crate) mod operation;
pub(crate) mod prefetch;
pub(crate) mod readiness;
pub(crate) mod rules;

use std::thread;
use std::time::{Duration, Instant};

use lockstep_api::client::ClientError;

/// How long a server may be away before waiting ends: a restart with a long journal takes seconds.
const SERVER_AWAY_AT_MOST: Duration = Duration::from_secs(30);
/// Between two tries to reach it.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// How long waiting goes on without an answer.
struct Patience {
    tried: Instant,
    away: Duration,
}

impl Patience {
    fn new() -> Self {
        Self { tried: Instant::now(), away: Duration::ZERO }
    }

    /// The server answered, and what is awaited goes on.
    fn renew(&mut self) {
        thread::sleep(TRY_EVERY);
        *self = Self::new();
    }

    /// Waits before the next try, unless the server said no or was away for too long.
    fn bear(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.count(self.tried.elapsed());
        if error.is_final() || self.away > SERVER_AWAY_AT_MOST {
            return Err(error);
        }
        self.tried = Instant::now();
        thread::sleep(TRY_EVERY);
        Ok(())
    }

    /// Counts a try that failed. One that took longer than a server may be away was an answer, which broke off only now.
    fn count(&mut self, took: Duration) {
        self.away = if took > SERVER_AWAY_AT_MOST { Duration::ZERO } else { self.away + took };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_answered_for_long_may_be_away_from_when_its_answer_broke_off() {
        let mut patience = Patience::new();
        patience.count(SERVER_AWAY_AT_MOST * 4);
        assert!(patience.away <= SERVER_AWAY_AT_MOST, "it was restarted in the middle of a long answer");
        (0..200).for_each(|_| patience.count(TRY_EVERY));
        assert!(patience.away > SERVER_AWAY_AT_MOST);
    }
}

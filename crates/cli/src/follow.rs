//! Waiting for what the server does, across a restart of the server and with Ctrl-C explained.

pub(crate) mod build;
pub(crate) mod operation;
pub(crate) mod rules;

use std::thread;
use std::time::{Duration, Instant};

use lockstep_api::client::ClientError;

use crate::failure::Failure;

/// How long a server may be away before waiting ends: a restart with a long journal takes seconds.
const SERVER_AWAY_AT_MOST: Duration = Duration::from_secs(30);
/// Between two tries to reach it.
const TRY_EVERY: Duration = Duration::from_millis(200);

/// How long waiting goes on without an answer.
struct Patience {
    last_answer: Instant,
}

impl Patience {
    fn new() -> Self {
        Self { last_answer: Instant::now() }
    }

    /// The server answered, and what is awaited goes on.
    fn renew(&mut self) {
        self.last_answer = Instant::now();
        thread::sleep(TRY_EVERY);
    }

    /// Waits before the next try, unless the server said no or was away for too long.
    fn bear(&self, error: ClientError) -> Result<(), Failure> {
        if error.is_final() || self.last_answer.elapsed() > SERVER_AWAY_AT_MOST {
            return Err(error.into());
        }
        thread::sleep(TRY_EVERY);
        Ok(())
    }
}

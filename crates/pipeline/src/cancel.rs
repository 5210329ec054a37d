//! A token by which one thread asks a build on another to stop.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Asks a build to stop; clones ask for the same build.
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    cancelled: Mutex<bool>,
    changed: Condvar,
}

impl CancelToken {
    /// Makes a token that nobody has used yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the build to stop. It leaves no process behind and says [`Cancelled`](crate::BuildFault::Cancelled).
    pub fn cancel(&self) {
        *self.shared.cancelled.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.changed.notify_all();
    }

    /// Tells whether somebody asked.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        *self.shared.cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `time` or until somebody asks, and tells whether somebody did.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let guard = self.shared.cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.shared.changed.wait_timeout_while(guard, time, |cancelled| !*cancelled);
        *result.unwrap_or_else(PoisonError::into_inner).0
    }
}

//! One timer for all that a connection waits for.
//!
//! Nearly every wait ends long before its limit, so moving a timer for each would be work for nothing. This one is only
//! moved when a limit comes nearer, or when it fires and the limit of that moment lies further on.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep_until};

/// One timer for all that a connection waits for.
#[derive(Debug)]
pub(crate) struct Deadline {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// Makes a timer that fires after `limit`, unless it is set again.
    pub(crate) fn after(limit: Duration) -> Self {
        let at = Instant::now() + limit;
        Self { at, timer: Box::pin(sleep_until(at.into())) }
    }

    /// Sets the limit of the next wait.
    pub(crate) fn set(&mut self, at: Instant) {
        self.at = at;
        if at < self.timer.deadline().into_std() {
            self.timer.as_mut().reset(at.into());
        }
    }

    /// Becomes ready when the limit has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at.into());
        }
    }

    /// Waits until the limit has passed.
    pub(crate) async fn passed(&mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_limit_can_move_in_both_directions() {
        let begun = Instant::now();
        let mut deadline = Deadline::after(Duration::from_millis(1));
        deadline.set(begun + Duration::from_millis(60));
        deadline.passed().await;
        assert!(begun.elapsed() >= Duration::from_millis(60));
        deadline.set(Instant::now() + Duration::from_secs(3_600));
        deadline.set(Instant::now());
        deadline.passed().await;
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}

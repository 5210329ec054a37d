//! Being told to stop: once to end in order, twice to end at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on the signals do not end the process by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Works until the work has ended after the first word, which cancels `stop`; a second word does not wait for it.
pub(crate) async fn unless_told_twice<T>(
    work: impl Future<Output = T>,
    mut told: impl AsyncFnMut(),
    stop: &CancellationToken,
) {
    let told_twice = async {
        told().await;
        tracing::info!("the server stops; instances go on running");
        stop.cancel();
        told().await;
        tracing::warn!("told again: the server ends at once");
    };
    tokio::select! {
        _ = work => {}
        () = told_twice => {}
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use super::*;

    /// Works until it is stopped, or for ever; is told to stop so many times. Returns whether it was stopped.
    async fn work(times: u32, work_ends: bool) -> bool {
        let (left, stop) = (Cell::new(times), CancellationToken::new());
        let told = async || match left.get().checked_sub(1) {
            Some(fewer) => left.set(fewer),
            None => pending().await,
        };
        let work = async {
            stop.cancelled().await;
            if !work_ends {
                pending::<()>().await;
            }
        };
        unless_told_twice(work, told, &stop).await;
        stop.is_cancelled()
    }

    #[tokio::test]
    async fn the_second_word_does_not_wait_for_the_work() {
        assert!(work(1, true).await);
        assert!(work(2, false).await);
    }
}

//! Threads that do the same again and again at an even pace, until they are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The pace of one thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beat {
    /// How long it waits before the first time.
    pub(crate) delay: Duration,
    /// From one time to the next.
    pub(crate) interval: Duration,
    /// How far it may fall behind before it gives up what it missed.
    pub(crate) largest_lag: Duration,
}

/// Threads that do the same again and again.
#[derive(Debug, Default)]
pub(crate) struct Paced {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Paced {
    /// Begins one more thread.
    pub(crate) fn begin(&mut self, beat: Beat, mut work: impl FnMut() + Send + 'static) {
        let Beat { delay, interval, largest_lag } = beat;
        let stop = Arc::clone(&self.stop);
        self.threads.push(thread::spawn(move || {
            let mut due = Instant::now() + delay;
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                work();
                due = (due + interval).max(Instant::now().checked_sub(largest_lag).unwrap_or(due));
            }
        }));
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

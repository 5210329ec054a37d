//! Clients that keep calling, and count.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{eventually, get};

/// Time between two requests: enough of them for every moment of a rollout, few enough to leave the machine to it.
const PACE: Duration = Duration::from_millis(2);

/// A thread that asks for paths in turn, each time as another client.
pub(crate) struct Callers {
    seen: Arc<Seen>,
    stop: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    /// The bodies that a good answer may have; any where there are none.
    expected: &'static [&'static str],
    requests: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Callers {
    pub(crate) fn begin(address: &str, paths: &'static [&'static str]) -> Self {
        Self::begin_expecting(address, paths, &[])
    }

    /// The same where an answer with any other body than these is a failure.
    pub(crate) fn begin_expecting(
        address: &str,
        paths: &'static [&'static str],
        expected: &'static [&'static str],
    ) -> Self {
        let (stop, stopped) = mpsc::channel();
        let seen = Arc::new(Seen { expected, ..Seen::default() });
        let (address, counts) = (address.to_owned(), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            for (key, path) in (0..).zip(paths.iter().cycle()) {
                counts.note(path, &get(&address, path, key));
                if stopped.recv_timeout(PACE) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Self { seen, stop, thread: Some(thread) }
    }

    /// Waits until so many more requests were answered or failed.
    pub(crate) fn wait_for(&self, more: u64) {
        let until = self.requests() + more;
        eventually("the clients go on calling", || (self.requests() >= until).then_some(()));
    }

    fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// Takes what failed since the last time.
    pub(crate) fn failures(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.failures.lock().unwrap())
    }

    /// Ends calling; every request must have been answered well.
    pub(crate) fn end(mut self) -> u64 {
        self.finish();
        let failures = self.failures();
        assert!(failures.is_empty(), "{} failed requests: {failures:#?}", failures.len());
        self.requests()
    }

    fn finish(&mut self) {
        let _ = self.stop.send(());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Seen {
    fn note(&self, path: &str, answer: &Result<(u16, String), String>) {
        let is_expected = |body: &String| self.expected.is_empty() || self.expected.contains(&body.as_str());
        if !matches!(answer, Ok((200, body)) if is_expected(body)) {
            self.failures.lock().unwrap().push(format!("{path}: {answer:?}"));
        }
        self.requests.fetch_add(1, Ordering::SeqCst);
    }
}

//! What happens, in lines on standard error: written by a thread of its own, so that nobody who serves waits for whoever reads them.
//!
//! Lines that come faster than they can be written, and those that cannot be written at all, are lost, and the next line that is
//! written says how many. (`tracing-appender` does as much and does not say how many.)

use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::output::style;

/// Lines that wait to be written; at 200 bytes a line it is 800 KB.
const QUEUE: usize = 4_096;
/// How long the last lines may take.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What the thread is told.
enum Message {
    Line(Vec<u8>),
    /// Everything before this is to be written; then this is told.
    Written(SyncSender<()>),
}

/// Held as long as something is logged: when it is dropped, the last lines are written, if that can be done.
#[must_use]
pub(crate) struct Log {
    lines: Option<SyncSender<Message>>,
}

impl Log {
    /// Says something to people, without waiting for who reads it.
    pub(crate) fn say(&self, text: &str) {
        let line = format!("{}\n", style::safe(text)).into_bytes();
        // Lost where nobody reads.
        let _ = self.lines.as_ref().map(|lines| lines.try_send(Message::Line(line)));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let (written, wait) = sync_channel(1);
        let sent = self.lines.take().is_some_and(|lines| lines.try_send(Message::Written(written)).is_ok());
        if sent {
            // It is told, or the limit is over.
            let _ = wait.recv_timeout(LAST_LINES);
        }
    }
}

/// Writes what happens to standard error: warnings and changes, and everything with `--verbose`.
pub(crate) fn start(verbose: bool) -> Log {
    let level = if verbose { tracing::Level::DEBUG } else { tracing::Level::INFO };
    let usual = tracing_subscriber::EnvFilter::builder().with_default_directive(level.into());
    let filter = usual.with_env_var("LOCKSTEP_LOG").from_env_lossy();
    let (lines, received) = sync_channel(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lost);
    let writing = move || write_all(&received, io::stderr, &counted);
    if thread::Builder::new().name("log".to_owned()).spawn(writing).is_err() {
        return Log { lines: None };
    }
    let writer = Lines { lines: lines.clone(), lost };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone());
    // Fails only where logging was started before, and then it works.
    let _ = log.with_ansi(io::stderr().is_terminal()).try_init();
    Log { lines: Some(lines) }
}

/// Takes lines, each whole, and never waits.
#[derive(Clone)]
struct Lines {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all<W: Write>(received: &Receiver<Message>, to: impl Fn() -> W, lost: &AtomicU64) {
    while let Ok(message) = received.recv() {
        let line = match message {
            Message::Line(line) => line,
            Message::Written(written) => {
                // Nobody waits any more where that fails.
                let _ = written.send(());
                continue;
            }
        };
        match write(&line, to(), lost.load(Ordering::Relaxed)) {
            Ok(told) => lost.fetch_sub(told, Ordering::Relaxed),
            Err(_) => lost.fetch_add(1, Ordering::Relaxed),
        };
    }
}

/// Writes a line, and before it how many were lost; returns how many that are.
fn write(line: &[u8], mut to: impl Write, lost: u64) -> io::Result<u64> {
    let before = if lost > 0 { format!("{lost} lines of the log were lost here\n") } else { String::new() };
    to.write_all(&[before.as_bytes(), line].concat())?;
    to.flush()?;
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Fails a few times, then takes what comes.
    struct Full<'a>(&'a Mutex<(u32, Vec<u8>)>);

    impl Write for Full<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.lock().unwrap();
            if state.0 > 0 {
                state.0 -= 1;
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_where_they_are_missing() {
        let (lines, received) = sync_channel(8);
        let lost = Arc::new(AtomicU64::new(2));
        let mut writer = Lines { lines, lost: Arc::clone(&lost) };
        for line in ["one\n", "two\n", "three\n"] {
            writer.write_all(line.as_bytes()).unwrap();
        }
        drop(writer);
        let state = Mutex::new((2, Vec::new()));
        write_all(&received, || Full(&state), &lost);
        let written = String::from_utf8(state.into_inner().unwrap().1).unwrap();
        assert_eq!(written, "4 lines of the log were lost here\nthree\n");
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_logs_never_waits() {
        let (lines, _received) = sync_channel(1);
        let mut writer = Lines { lines, lost: Arc::default() };
        for _ in 0..10 {
            writer.write_all(b"a line\n").unwrap();
        }
        assert_eq!(writer.lost.load(Ordering::Relaxed), 9);
    }
}

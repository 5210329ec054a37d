//! What the main process of an instance leaves when it was asked to end and has: it is asked, too, and may finish.
//!
//! Programs that have others ask them by themselves, and wait for them; what starts a program and nothing else (a shell, a launcher)
//! often does not. So the main process is asked alone, and what it has left after it.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, pidfd_send_signal};

use crate::process::{ProcessIdentity, wait_for};

/// What is killed when its time is over is gone within this time, unless the kernel holds it.
const KILLED_WITHIN: Duration = Duration::from_secs(5);

/// Asks processes to end, and calls back when all of them have, or when they should long have been killed.
///
/// # Errors
///
/// When nobody can wait for them.
pub(super) fn ask(
    left: &[ProcessIdentity],
    signal: Signal,
    time: Duration,
    ended: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let handles: Vec<OwnedFd> = left.iter().filter_map(ProcessIdentity::open).collect();
    for handle in &handles {
        let _ = pidfd_send_signal(handle, signal);
    }
    let until = Instant::now() + time + KILLED_WITHIN;
    let wait = move || {
        for handle in &handles {
            let _ = wait_for(handle, Some(until.saturating_duration_since(Instant::now())));
        }
        ended();
    };
    thread::Builder::new().name("left".to_owned()).spawn(wait).map(drop)
}

//! The second net, used by the server when a guard ended without a report (a step killed it, or the machine ran out of
//! memory): processes are known by the guard's session or by the build's mark in their environment.

use std::fs;
use std::time::{Duration, Instant};

use super::tree;

/// The environment variable that marks the processes of a build; its value is the build's folder.
pub(crate) const MARK: &str = "LOCKSTEP_BUILD";

/// Pause between two looks.
const ROUND_PAUSE: Duration = Duration::from_millis(5);

/// Kills all processes of a session and all that carry the mark, until a look finds none.
pub(crate) fn sweep(session: i32, mark: &str) -> Swept {
    let deadline = Instant::now() + tree::END_TIMEOUT;
    let wanted = format!("{MARK}={mark}").into_bytes();
    loop {
        let found: Vec<i32> =
            tree::all_processes().into_iter().filter(|pid| belongs(*pid, session, &wanted)).collect();
        if found.is_empty() {
            return Swept::Clean;
        }
        if Instant::now() > deadline {
            return Swept::Left;
        }
        for pid in found {
            tree::kill(pid);
        }
        std::thread::sleep(ROUND_PAUSE);
    }
}

/// Whether a sweep got everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Swept {
    Clean,
    Left,
}

fn belongs(pid: i32, session: i32, mark: &[u8]) -> bool {
    let alive = tree::stat(pid).filter(|stat| !matches!(stat.state, 'Z' | 'X'));
    alive.is_some_and(|stat| stat.session == session || has_mark(pid, mark))
}

fn has_mark(pid: i32, mark: &[u8]) -> bool {
    let env = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    env.split(|byte| *byte == 0).any(|entry| entry == mark)
}

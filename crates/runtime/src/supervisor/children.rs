//! The children of a supervisor: the process of the instance, commands that check health, and orphans that the kernel
//! hands over because the supervisor is their reaper.
//!
//! Invariant: only [`Children`] reaps, so that no exit status is taken by the wrong reader.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus};

use crate::process::wait_for;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It was not a child of this supervisor, so that the kernel does not tell.
    Unknown,
}

impl From<WaitStatus> for Exit {
    fn from(status: WaitStatus) -> Self {
        let code = status.exit_status().map(Self::Code);
        code.or_else(|| status.terminating_signal().map(Self::Signal)).unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match signal_name(*number) {
                Some(name) => write!(f, "signal {number} ({name})"),
                None => write!(f, "signal {number}"),
            },
            Self::Unknown => f.write_str("an unknown exit code, while its supervisor was being replaced"),
        }
    }
}

const fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        15 => "TERM",
        _ => return None,
    })
}

/// A process that was started here.
#[derive(Debug)]
pub(super) struct Child {
    /// Its id, which cannot be reused before its status was taken.
    pub(super) pid: Pid,
    /// A handle to wait on.
    pub(super) pidfd: OwnedFd,
}

/// Starts and reaps.
#[derive(Debug, Default)]
pub(super) struct Children {
    /// Each child that was started, with its status once it has ended.
    statuses: Mutex<HashMap<Pid, Option<Exit>>>,
}

impl Children {
    /// Starts a process.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        // Held until the child is known, so that `reap` cannot take it for an orphan.
        let mut statuses = self.lock();
        let child = command.spawn()?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = id.ok_or_else(|| io::Error::other("the new process has no id"))?;
        statuses.insert(pid, None);
        Ok(Child { pid, pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// Waits for a child, at most so long, and takes its status. `None` when it still runs.
    pub(super) fn wait(&self, child: &Child, limit: Option<Duration>) -> Option<Exit> {
        if !matches!(wait_for(&child.pidfd, limit), Ok(true)) {
            return None;
        }
        self.reap();
        let mut statuses = self.lock();
        // The handle says that it has ended, so a missing status is one that somebody else took.
        Some(statuses.remove(&child.pid).flatten().unwrap_or(Exit::Unknown))
    }

    /// Reaps whatever has ended, and forgets orphans.
    pub(super) fn reap(&self) {
        let mut statuses = self.lock();
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if let Some(slot) = statuses.get_mut(&pid) {
                *slot = Some(status.into());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Pid, Option<Exit>>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

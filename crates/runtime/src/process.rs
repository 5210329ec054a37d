//! Processes as the kernel shows them: who is who, what belongs to an instance, and ending all of it.
//!
//! Process ids are reused. Invariant: a signal goes only to a process whose identity was checked while a handle to it
//! (a pidfd) was held, or to the group of a process that has not been reaped, or was only a moment ago: ids are given
//! out in a cycle, so that none comes back at once.

pub(crate) mod exposed;
pub(crate) mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::control_group::ControlGroup;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

/// The variable by which every process of an instance can be found: the path of the folder of the instance.
pub(crate) const MARKER: &str = "LOCKSTEP_INSTANCE_FOLDER";
/// How long everything of an instance may take to die of SIGKILL before that is reported: the kernel needs
/// milliseconds, more only for processes stuck in a disk or network file system.
const KILL_DEADLINE: Duration = Duration::from_secs(5);
/// How long one process is waited for before the others are looked at again.
const KILL_ROUND: Duration = Duration::from_millis(50);

/// Variables that supervisors and instances get from the environment of the server: what programs need to run at all,
/// and nothing that could carry the server's own secrets.
const HANDED_ON: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// Returns what is handed on of the environment of this process.
pub(crate) fn handed_on() -> impl Iterator<Item = (&'static str, OsString)> {
    HANDED_ON.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}

/// A process, told apart from every other that had or will have the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    /// The id.
    pub(crate) pid: i32,
    /// When it started, in clock ticks after the boot.
    pub(crate) started: u64,
    /// The id of the boot.
    pub(crate) boot: String,
}

impl ProcessIdentity {
    /// Returns the identity of a process that runs, or is waiting to be reaped.
    #[must_use]
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        let stat = Stat::read(pid.as_raw_nonzero().get())?;
        Some(Self { pid: stat.pid, started: stat.started, boot: boot_id()? })
    }

    /// Returns how long the process has run, by the clock that is never set.
    #[must_use]
    pub(crate) fn age(&self) -> Option<Duration> {
        let booted = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let now_ms =
            u64::try_from(booted.tv_sec).ok()? * 1_000 + u64::try_from(booted.tv_nsec).ok()? / 1_000_000;
        let started_ms = self.started * 1_000 / rustix::param::clock_ticks_per_second();
        Some(Duration::from_millis(now_ms.saturating_sub(started_ms)))
    }

    /// Opens a handle to the process when it still runs.
    #[must_use]
    pub(crate) fn open(&self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(self.pid)?;
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let stat = Stat::read(self.pid)?;
        let same = stat.started == self.started && boot_id().as_deref() == Some(&self.boot);
        (same && stat.runs()).then_some(handle)
    }
}

fn boot_id() -> Option<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().map(|text| text.trim().to_owned())
}

/// What is needed of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: i32,
    state: u8,
    parent: i32,
    pub(crate) group: i32,
    /// Ticks of processors that it has used, with its children that it has waited for.
    pub(crate) ticks: u64,
    started: u64,
    /// Pages of memory that it has.
    pub(crate) pages: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Parses `PID (NAME) STATE PARENT GROUP ... STARTED`; the name may hold spaces, parentheses and any other byte.
    fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|b| *b == b'(')?;
        let close = line.iter().rposition(|b| *b == b')')?;
        let pid = std::str::from_utf8(line.get(..open)?).ok()?.trim().parse().ok()?;
        let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Self {
            pid,
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            ticks: fields.get(11..15)?.iter().filter_map(|it| it.parse::<u64>().ok()).sum(),
            started: fields.get(19)?.parse().ok()?,
            pages: fields.get(21)?.parse().ok()?,
        })
    }

    pub(crate) const fn runs(&self) -> bool {
        !matches!(self.state, b'Z' | b'X')
    }

    fn identity(&self, boot: &str) -> ProcessIdentity {
        ProcessIdentity { pid: self.pid, started: self.started, boot: boot.to_owned() }
    }
}

/// Where to look for the processes of an instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Belongings<'a> {
    /// The folder of the instance, as it stands in [`MARKER`].
    pub(crate) folder: &'a Path,
    /// The process group of the main process, while that one has not been reaped.
    pub(crate) group: Option<Pid>,
    /// The control group of the instance, where it has one.
    pub(crate) control: Option<&'a ControlGroup>,
}

impl Belongings<'_> {
    /// Finds every process of the instance that runs, except this one: descendants of this process, members of the
    /// group, and whatever carries the marker.
    #[must_use]
    pub(crate) fn find(&self) -> Vec<ProcessIdentity> {
        let Some(boot) = boot_id() else { return Vec::new() };
        let me = i32::try_from(std::process::id()).unwrap_or_default();
        let group = self.group.map(|pid| pid.as_raw_nonzero().get());
        let marker = marker_of(self.folder);
        let all = every_process();
        let descendants = descendants_of(me, &all);
        let held: BTreeSet<i32> = self.control.map(ControlGroup::pids).into_iter().flatten().collect();
        all.iter()
            .filter(|stat| stat.pid != me && stat.runs())
            .filter(|stat| {
                descendants.contains(&stat.pid)
                    || held.contains(&stat.pid)
                    || Some(stat.group) == group
                    || carries(stat.pid, &marker)
            })
            .map(|stat| stat.identity(&boot))
            .collect()
    }

    /// Kills every process of the instance and waits until none is left.
    ///
    /// # Errors
    ///
    /// When some do not die in time; the error names them.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let deadline = Instant::now() + KILL_DEADLINE;
        if let Some(group) = self.group {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        if let Some(control) = self.control {
            control.kill();
        }
        loop {
            let left = self.find();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let pids: Vec<String> = left.iter().map(|process| process.pid.to_string()).collect();
                return Err(io::Error::other(format!("processes {} cannot be killed", pids.join(", "))));
            }
            kill_each(&left);
        }
    }
}

/// Finds the processes that carry the marker of an instance.
pub(crate) fn carriers_of(folder: &Path) -> impl Iterator<Item = i32> {
    let marker = marker_of(folder);
    every_pid().filter(move |pid| carries(*pid, &marker))
}

pub(crate) fn marker_of(folder: &Path) -> Vec<u8> {
    [MARKER.as_bytes(), b"=", folder.as_os_str().as_encoded_bytes(), b"\0"].concat()
}

fn kill_each(processes: &[ProcessIdentity]) {
    let handles: Vec<OwnedFd> = processes.iter().filter_map(ProcessIdentity::open).collect();
    for handle in &handles {
        let _ = rustix::process::pidfd_send_signal(handle, Signal::KILL);
    }
    for handle in &handles {
        let _ = wait_for(handle, Some(KILL_ROUND));
    }
}

/// Waits until the process behind a pidfd has ended, or the time is over.
///
/// # Errors
///
/// When the kernel refuses to wait.
pub(crate) fn wait_for(pidfd: &OwnedFd, limit: Option<Duration>) -> io::Result<bool> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    loop {
        let timeout = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// Reads every process of this host.
pub(crate) fn every_process() -> Vec<Stat> {
    every_pid().filter_map(Stat::read).collect()
}

fn every_pid() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Names a process and all that it is an ancestor of.
pub(crate) fn descendants_of(root: i32, all: &[Stat]) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for stat in all {
        children.entry(stat.parent).or_default().push(stat.pid);
    }
    let (mut found, mut next) = (BTreeSet::from([root]), vec![root]);
    while let Some(parent) = next.pop() {
        // A process table that changed while it was read may hold a cycle: every id is followed once.
        let new = children.remove(&parent).unwrap_or_default().into_iter().filter(|pid| found.insert(*pid));
        next.extend(new);
    }
    found
}

fn carries(pid: i32, marker: &[u8]) -> bool {
    let Ok(variables) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    variables.windows(marker.len()).any(|window| window == marker)
}

/// Returns the name of a process for people, such as `nginx (pid 42)`.
#[must_use]
pub(crate) fn describe(pid: i32) -> String {
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("`{}` (pid {pid})", name.trim()),
        Err(_) => format!("pid {pid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_name_with_spaces_and_parentheses() {
        let line = b"77 (a) b (c) S 1 70 70 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 4096 3 18446";
        let stat = Stat {
            pid: 77,
            state: b'S',
            parent: 1,
            group: 70,
            ticks: 5 + 6 + 7 + 8,
            started: 9876,
            pages: 3,
        };
        assert_eq!(Stat::parse(line), Some(stat));
    }

    #[test]
    fn refuses_garbage() {
        for bad in [&b""[..], b"77", b"77 (a", b")77(", b"77 (a) S", b"x (a) S 1 2 3"] {
            assert_eq!(Stat::parse(bad), None);
        }
    }

    #[test]
    fn identity_of_another_start_or_boot_is_not_this_process() {
        let me = ProcessIdentity::of(rustix::process::getpid()).unwrap();
        assert!(me.open().is_some());
        assert!(ProcessIdentity { started: me.started + 1, ..me.clone() }.open().is_none());
        assert!(ProcessIdentity { boot: "other".to_owned(), ..me }.open().is_none());
    }

    #[test]
    fn descendants_end_on_a_cycle() {
        let stat = |pid, parent| Stat { pid, state: b'S', parent, group: 0, ticks: 0, started: 0, pages: 0 };
        let found = descendants_of(1, &[stat(2, 1), stat(3, 2), stat(4, 9), stat(1, 3)]);
        assert_eq!(found, BTreeSet::from([1, 2, 3]));
    }
}

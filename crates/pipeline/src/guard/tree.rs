//! The tree of processes below a process, and its end.
//!
//! A child subreaper is the ancestor of all that its command ever started: a process that loses its parent becomes its child.
//! So the tree is complete, and "no children left to wait for" proves that nothing is left.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgrp, getpid, kill_process, kill_process_group, wait,
};

use super::spec::Leftover;

/// Longest time spent on ending a tree. Only a process that the kernel itself holds (a dead network disk) takes so long.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two rounds when the last one found nothing new to kill.
const ROUND_PAUSE: Duration = Duration::from_millis(1);
/// Most processes named in a report.
const MAX_NAMED: usize = 20;

/// What the kernel says about a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) name: String,
    pub(crate) state: char,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
}

/// Reads what the kernel says about a process; `None` when it is gone.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

/// The name stands in parentheses and may itself contain anything, also `) R 1`.
fn parse_stat(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut fields = tail.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let mut number = || fields.next()?.parse().ok();
    Some(Stat { name: name.to_owned(), state, parent: number()?, group: number()?, session: number()? })
}

/// Lists all processes of the machine.
pub(crate) fn all_processes() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Lists the descendants of a process, children first.
pub(crate) fn descendants(root: i32) -> Vec<i32> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([root]);
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        for child in children(pid) {
            if seen.insert(child) {
                found.push(child);
                next.push(child);
            }
        }
    }
    found
}

/// Asks the kernel for the children of each thread; where it does not keep these lists, looks at every process.
fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists: Vec<_> =
        threads.flatten().map(|thread| fs::read_to_string(thread.path().join("children"))).collect();
    if lists.iter().any(Result::is_ok) {
        let numbers = |text: String| text.split_whitespace().flat_map(str::parse).collect::<Vec<i32>>();
        lists.into_iter().flatten().flat_map(numbers).collect()
    } else {
        let is_child = |other: &i32| stat(*other).is_some_and(|stat| stat.parent == pid);
        all_processes().into_iter().filter(is_child).collect()
    }
}

/// Takes note of children that ended; tells whether there are any others.
pub(crate) fn reap(mut ended: impl FnMut(Pid, WaitStatus)) -> Children {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => ended(pid, status),
            Ok(None) => return Children::Left,
            Err(Errno::INTR) => {}
            Err(_) => return Children::None,
        }
    }
}

/// Whether a process has children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Children {
    Left,
    None,
}

/// Names the processes below this one that are still alive.
pub(crate) fn leftovers() -> Vec<Leftover> {
    let alive = |pid: i32| Some((pid, stat(pid).filter(|stat| !matches!(stat.state, 'Z' | 'X'))?));
    let named = |(pid, stat): (i32, Stat)| Leftover { pid, name: stat.name };
    descendants(own_pid()).into_iter().filter_map(alive).map(named).take(MAX_NAMED).collect()
}

/// Kills everything below this process until nothing is left; tells whether that succeeded in [`END_TIMEOUT`].
pub(crate) fn end_all(mut ended: impl FnMut(Pid, WaitStatus)) -> Children {
    let deadline = Instant::now() + END_TIMEOUT;
    loop {
        for pid in descendants(own_pid()) {
            kill_with_group(pid);
        }
        let children = reap(&mut ended);
        if children == Children::None || Instant::now() > deadline {
            return children;
        }
        std::thread::sleep(ROUND_PAUSE);
    }
}

/// Kills a process with its group. The kernel does that to a group at once, so a program that forks without end cannot
/// run away; only the guard's own group, which a descendant may have joined, is spared.
fn kill_with_group(pid: i32) {
    let group = stat(pid).and_then(|stat| Pid::from_raw(stat.group)).filter(|group| *group != getpgrp());
    if let Some(group) = group {
        kill_process_group(group, Signal::KILL).ok();
    }
    kill(pid);
}

/// Kills a process; that it is already gone is as good.
pub(crate) fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        kill_process(pid, Signal::KILL).ok();
    }
}

fn own_pid() -> i32 {
    getpid().as_raw_nonzero().get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse_the_parser() {
        let stat = parse_stat("12 (a) R 1 (x) S 7 8 9 0 -1").unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.parent), ("a) R 1 (x", 'S', 7));
        assert_eq!((stat.group, stat.session), (8, 9));
        for bad in ["", "12 (a", "12 (a) S", "12 (a) S x y z"] {
            assert_eq!(parse_stat(bad), None, "{bad}");
        }
    }

    #[test]
    fn this_process_is_among_all_and_below_its_parent() {
        let parent = stat(own_pid()).unwrap().parent;
        assert!(all_processes().contains(&own_pid()));
        assert!(descendants(parent).contains(&own_pid()));
    }
}

//! Finding the processes of hosts. Each carries its machine as an argument of its command line; the first process of a host is a child of one.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::name::SetName;
use crate::processes::{Signal, signal};

/// How long processes that were killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long `systemd-nspawn` has to put its own things away once its host is dead.
const GRACE: Duration = Duration::from_secs(2);

/// A process that runs or serves a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) id: u32,
    /// The program, without its folder.
    pub(crate) program: String,
    /// The machine that it is for.
    pub(crate) machine: String,
}

/// The argument by which a process is found.
pub(crate) fn argument(machine: &str) -> String {
    format!("--machine={machine}")
}

/// All processes of all hosts.
pub(crate) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| read(id, &fs::read(format!("/proc/{id}/cmdline")).ok()?)).collect()
}

fn read(id: u32, command_line: &[u8]) -> Option<Process> {
    let text = String::from_utf8_lossy(command_line);
    let mut words = text.split('\0');
    let program = words.next()?.rsplit('/').next()?.to_owned();
    let machine = words.find_map(|word| word.strip_prefix("--machine="))?;
    SetName::of(machine)?;
    Some(Process { id, program, machine: machine.to_owned() })
}

/// The processes of one machine.
pub(crate) fn of(machine: &str) -> Vec<Process> {
    all().into_iter().filter(|process| process.machine == machine).collect()
}

/// The first process of a host, as this machine counts: the child of `systemd-nspawn` that is number 1 where it lives.
pub(crate) fn init_of(machine: &str) -> Option<u32> {
    let nspawn = of(machine).into_iter().find(|process| process.program == "systemd-nspawn")?;
    children(nspawn.id).into_iter().find(|&id| is_first_of_its_namespace(id))
}

fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|&id| stat(id).is_some_and(|stat| stat.parent == parent)).collect()
}

fn is_first_of_its_namespace(id: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_whitespace().skip(1).last() == Some("1"))
}

/// What `/proc/ID/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    parent: u32,
    ended: bool,
    /// When it began, in ticks since the machine booted.
    pub(crate) began: u64,
}

/// Looks at a process. One that ended and is not yet collected is gone as well.
pub(crate) fn alive(id: u32) -> Option<Stat> {
    stat(id).filter(|stat| !stat.ended)
}

fn stat(id: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name may have spaces and brackets: what counts begins after the last one.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let (state, parent, began) = (fields.first()?, fields.get(1)?, fields.get(19)?);
    Some(Stat { parent: parent.parse().ok()?, ended: ["Z", "X"].contains(state), began: began.parse().ok()? })
}

/// Kills everything of some machines: first what would boot them again, and their first processes, with which all others die.
pub(crate) fn kill(machines: &[String]) -> Result<()> {
    let ours = || all().into_iter().filter(|process| machines.contains(&process.machine));
    let inits = machines.iter().filter_map(|machine| init_of(machine));
    let firsts: Vec<u32> = ours()
        .filter(|process| process.program != "systemd-nspawn")
        .map(|process| process.id)
        .chain(inits)
        .collect();
    signal(&firsts, Signal::Kill)?;
    wait_until_gone(&firsts, PATIENCE)?;
    let rest: Vec<u32> = ours().map(|process| process.id).collect();
    if wait_until_gone(&rest, GRACE).is_err() {
        signal(&rest, Signal::Kill)?;
    }
    wait_until_gone(&rest, PATIENCE)
}

/// Waits until processes are gone.
pub(crate) fn wait_until_gone(ids: &[u32], patience: Duration) -> Result<()> {
    let begin = Instant::now();
    while ids.iter().any(|&id| alive(id).is_some()) {
        if begin.elapsed() > patience {
            bail!("processes {ids:?} do not end");
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_found_by_its_machine_and_only_by_one_of_ours() {
        let found = read(7, b"/usr/bin/systemd-nspawn\0--boot\0--machine=lockstep-hosts-a-web1\0").unwrap();
        assert_eq!(
            (found.program.as_str(), found.machine.as_str()),
            ("systemd-nspawn", "lockstep-hosts-a-web1")
        );
        for foreign in
            [&b"systemd-nspawn\0--machine=web1\0"[..], b"sh\0-c\0x --machine=lockstep-hosts-a-web1\0", b""]
        {
            assert_eq!(read(7, foreign), None);
        }
    }

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields() {
        let text = "42 (a) S 1) Z 17 1 1 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        assert_eq!(parse_stat(text), Some(Stat { parent: 17, ended: true, began: 98765 }));
        assert_eq!(parse_stat("42 (a"), None);
    }

    #[test]
    fn this_process_is_alive_and_none_is_that_never_was() {
        assert!(alive(std::process::id()).is_some());
        assert!(alive(u32::MAX).is_none());
    }
}

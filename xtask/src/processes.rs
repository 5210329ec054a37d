//! Finding and ending the processes that belong to a folder, so that a demonstration leaves nothing behind.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How long processes have to end when they are asked to.
const GRACE: Duration = Duration::from_secs(15);
/// How often it is looked whether they did.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The variable by which all processes of an instance carry its folder.
const MARKER: &[u8] = b"LOCKSTEP_INSTANCE_FOLDER=";

/// A signal to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// It may finish what it does.
    Terminate,
    /// It may not.
    Kill,
    /// What Ctrl-C sends; the first process of a host boots it again.
    Interrupt,
    /// It stands still until it may go on.
    Stop,
    /// It may go on.
    Continue,
}

/// Sends a signal. Processes that are gone already are passed over.
pub(crate) fn signal(processes: &[u32], signal: Signal) -> Result<()> {
    let name = match signal {
        Signal::Terminate => "TERM",
        Signal::Kill => "KILL",
        Signal::Interrupt => "INT",
        Signal::Stop => "STOP",
        Signal::Continue => "CONT",
    };
    let script = r#"name=$1; shift; for process; do kill -s "$name" "$process" 2>/dev/null; done; true"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", name]).args(processes.iter().map(ToString::to_string));
    let status = command.status().context("cannot run sh")?;
    ensure!(status.success(), "signal {name} could not be sent");
    Ok(())
}

/// Waits until no process belongs to a folder; what does not end by itself is asked to, and then made to.
pub(crate) fn end_all_of(folder: &Path, patience: Duration) -> Result<()> {
    if is_empty_within(folder, patience) {
        return Ok(());
    }
    for (how, patience) in [(Signal::Terminate, GRACE), (Signal::Kill, GRACE)] {
        signal(&all_of(folder), how)?;
        if is_empty_within(folder, patience) {
            return Ok(());
        }
    }
    bail!("processes {:?} of {} do not end", all_of(folder), folder.display())
}

fn is_empty_within(folder: &Path, patience: Duration) -> bool {
    let begin = Instant::now();
    loop {
        if all_of(folder).is_empty() {
            return true;
        }
        if begin.elapsed() >= patience {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Finds the processes of an instance of a server with this data folder, which are not its supervisor.
pub(crate) fn of_instance(data: &Path, instance: &str) -> Result<Vec<u32>> {
    let is_its = |&id: &u32| {
        let variables = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        let folder = variables.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(MARKER));
        let folder = folder.map(|folder| Path::new(OsStr::from_bytes(folder)));
        folder.is_some_and(|folder| folder.starts_with(data) && folder.ends_with(instance))
    };
    let found: Vec<u32> = all().filter(is_its).collect();
    ensure!(!found.is_empty(), "the instance {instance} has no process");
    Ok(found)
}

/// Finds the processes that work in a folder or were started with a path below it, apart from this one.
pub(crate) fn all_of(folder: &Path) -> Vec<u32> {
    all().filter(|&id| id != std::process::id() && belongs(id, folder)).collect()
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn belongs(id: u32, folder: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{id}"));
    let works_there = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    let needle = folder.as_os_str().as_bytes();
    let names_it = || {
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        words.windows(needle.len()).any(|window| window == needle)
    };
    works_there || names_it()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_work_in_a_folder_are_found_and_ended() {
        let folder = std::env::temp_dir().join(format!("lockstep-xtask-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut child = Command::new("sleep").arg("600").current_dir(&folder).spawn().unwrap();
        assert_eq!(all_of(&folder), [child.id()]);
        let waiting = thread::spawn(move || child.wait());
        end_all_of(&folder, Duration::ZERO).unwrap();
        assert!(!waiting.join().unwrap().unwrap().success());
        fs::remove_dir(&folder).unwrap();
    }
}

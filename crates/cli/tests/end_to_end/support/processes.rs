//! Finding processes by what they say of themselves in `/proc`, and ending them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};

use super::eventually;

/// The variable that marks all processes of an instance with its folder.
const MARKER: &str = "LOCKSTEP_INSTANCE_FOLDER=";

/// Ends a process at once.
pub(crate) fn kill(process: Pid) {
    let _ = kill_process(process, Signal::KILL);
}

/// Tells whether a process runs; a zombie does not.
pub(crate) fn is_alive(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, tail)| tail.starts_with(['Z', 'X'])))
}

/// Returns the process of each instance below a data folder: of all that carry its mark, the one that leads the group. What it has begun itself and
/// given a group, as PostgreSQL does, is none.
pub(crate) fn of_instances(data: &str) -> BTreeMap<String, Pid> {
    let leads = |process: &Pid| rustix::process::getpgid(Some(*process)) == Ok(*process);
    let instances: Vec<_> = all()
        .filter_map(|process| {
            let environment = read(process, "environ")?;
            let folder = environment.split('\0').find_map(|variable| variable.strip_prefix(MARKER))?;
            (folder.starts_with(data) && leads(&process)).then(|| (name_of(folder), process))
        })
        .collect();
    let is_begun_by_it = |(instance, process): &&(String, Pid)| {
        let parent = parent(*process);
        instances.iter().any(|(of, other)| of == instance && parent == Some(*other))
    };
    let mut found = BTreeMap::new();
    for (instance, process) in instances.iter().filter(|it| !is_begun_by_it(it)) {
        let other = found.insert(instance.clone(), *process);
        assert_eq!(other, None, "{instance} runs twice");
    }
    found
}

/// Returns the supervisor of each instance below a data folder.
pub(crate) fn of_supervisors(data: &str) -> BTreeMap<String, Pid> {
    all()
        // What a supervisor is about to start is a copy of it for a moment: its child, not another supervisor.
        .filter(|process| parent(*process).and_then(folder_of_supervisor).is_none())
        .filter_map(|process| Some((folder_of_supervisor(process)?, process)))
        .filter(|(folder, _)| folder.starts_with(data))
        .map(|(folder, process)| (name_of(&folder), process))
        .collect()
}

/// Returns the folder of the instance whose supervisor a process is.
fn folder_of_supervisor(process: Pid) -> Option<String> {
    let command = read(process, "cmdline")?;
    let mut words = command.split('\0').skip(1);
    words.next().filter(|word| *word == "supervisor").and(words.next()).map(str::to_owned)
}

/// Lists all processes that name a folder in their command or environment, or work in it.
pub(crate) fn of_folder(folder: &str) -> Vec<Pid> {
    let names = |process: &Pid| {
        let says = |file| read(*process, file).is_some_and(|text| text.contains(folder));
        says("cmdline") || says("environ") || works_in(*process, folder)
    };
    all()
        .filter(|process| process.as_raw_nonzero().get().unsigned_abs() != std::process::id())
        .filter(names)
        .collect()
}

/// Ends everything that has to do with a folder.
pub(crate) fn end_all(folder: &str) {
    // Supervisors start what is killed again, so it is looked for until nothing is left.
    eventually("all processes of the test are ended", || {
        let left = of_folder(folder);
        left.iter().copied().for_each(kill);
        left.is_empty().then_some(())
    });
}

fn all() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let numbers =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    numbers.filter(|process| is_alive(*process))
}

fn read(process: Pid, file: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{}/{file}", process.as_raw_nonzero())).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn parent(process: Pid) -> Option<Pid> {
    let stat = read(process, "stat")?;
    let (_, tail) = stat.rsplit_once(") ")?;
    Pid::from_raw(tail.split(' ').nth(1)?.parse().ok()?)
}

fn works_in(process: Pid, folder: &str) -> bool {
    let cwd = PathBuf::from(format!("/proc/{}/cwd", process.as_raw_nonzero()));
    fs::read_link(cwd).is_ok_and(|cwd| cwd.starts_with(folder))
}

fn name_of(folder: &str) -> String {
    Path::new(folder).file_name().unwrap().to_str().unwrap().to_owned()
}

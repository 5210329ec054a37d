//! The processes that belong to a data folder, by what they are, and what each of them holds.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// What a process of Lockstep is there for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Looks after the instance with this id.
    Supervisor(String),
    /// Is the instance with this id, or was started by it.
    Instance(String),
    /// Looks after a command of a build.
    Guard,
    /// A command of a build, or what it started.
    Build,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) id: u32,
    pub(super) role: Role,
}

/// Finds the processes of a data folder, and of its program.
pub(super) fn of(data: &Path, program: &Path) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| Some(Process { id, role: role(id, data, program)? })).collect()
}

fn role(id: u32, data: &Path, program: &Path) -> Option<Role> {
    let process = PathBuf::from(format!("/proc/{id}"));
    let words = fs::read(process.join("cmdline")).ok()?;
    let words: Vec<_> = words.split(|byte| *byte == 0).collect();
    let instances = data.join("runtime/instances");
    let is_ours = words.first().is_some_and(|first| *first == program.as_os_str().as_bytes());
    match words.get(1) {
        Some(word) if is_ours && *word == b"supervisor" => {
            let folder = String::from_utf8_lossy(words.get(2)?).into_owned();
            return Some(Role::Supervisor(below(&folder, &instances)?));
        }
        Some(word) if is_ours && *word == b"guard" => return Some(Role::Guard),
        _ => {}
    }
    let environment = fs::read(process.join("environ")).ok()?;
    let value = |name: &[u8]| environment.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(name));
    if let Some(folder) = value(b"LOCKSTEP_INSTANCE_FOLDER=") {
        return Some(Role::Instance(below(&String::from_utf8_lossy(folder), &instances)?));
    }
    let build = value(b"LOCKSTEP_BUILD=")?;
    String::from_utf8_lossy(build).starts_with(data.to_str()?).then_some(Role::Build)
}

fn below(folder: &str, instances: &Path) -> Option<String> {
    let folder = Path::new(folder);
    (folder.parent() == Some(instances)).then(|| folder.file_name()?.to_str().map(str::to_owned))?
}

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Held {
    /// Bytes of memory of its own: what it maps of files is not counted, the kernel takes that back when it likes.
    pub(super) memory: u64,
    /// Threads.
    pub(super) threads: u64,
    /// Open files; `None` where only root may look.
    pub(super) files: Option<u64>,
}

/// Looks at what a process holds, while it is there.
pub(super) fn held(id: u32) -> Option<Held> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let number = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let files = fs::read_dir(format!("/proc/{id}/fd")).ok().map(|entries| entries.count() as u64);
    Some(Held { memory: number("RssAnon:")? * 1_024, threads: number("Threads:")?, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_holds_is_seen() {
        let held = held(std::process::id()).unwrap();
        assert!(held.memory > 50_000 && held.threads >= 1 && held.files.unwrap() > 2, "{held:?}");
    }

    #[test]
    fn only_folders_of_instances_count() {
        let instances = Path::new("/data/runtime/instances");
        assert_eq!(below("/data/runtime/instances/a-1", instances).as_deref(), Some("a-1"));
        assert_eq!(below("/other/runtime/instances/a-1", instances), None);
    }
}

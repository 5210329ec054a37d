//! The control group of a host: its systemd has it for itself, on the unified hierarchy and, where the machine is mixed, on systemd's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::mounts::{self, Mount};
use super::name::{PREFIX, SetName};

/// How deep the groups within a host may lie, so that a walk through them has an end.
const DEEPEST: usize = 32;
/// How long a group may stay busy after its last process ended.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What instances are limited by.
const HANDED_ON: [&str; 3] = ["cpu", "memory", "pids"];

/// The hierarchies in which a host gets a group.
pub(crate) fn hierarchies() -> Result<Vec<PathBuf>> {
    let found = among(&mounts::all()?);
    ensure!(!found.is_empty(), "no control groups of version 2 are mounted for writing");
    Ok(found)
}

/// Finds the unified hierarchy, and systemd's own where there is one. None where the first cannot be written to.
fn among(mounts: &[Mount]) -> Vec<PathBuf> {
    let writable = |mount: &&Mount| !mount.has("ro");
    let unified = mounts.iter().filter(writable).find(|mount| mount.kind == "cgroup2");
    let of_systemd = mounts.iter().filter(writable).find(|mount| mount.has("name=systemd"));
    match unified {
        Some(unified) => {
            std::iter::once(unified).chain(of_systemd).map(|mount| mount.point.clone()).collect()
        }
        None => Vec::new(),
    }
}

/// Makes the groups of a host and returns them. What controllers there are, it may hand on.
pub(crate) fn make(name: &str) -> Result<Vec<PathBuf>> {
    let hierarchies = hierarchies()?;
    for hierarchy in &hierarchies {
        let group = hierarchy.join(name);
        fs::create_dir_all(&group).with_context(|| format!("cannot make the group {}", group.display()))?;
        hand_on_controllers(hierarchy);
    }
    Ok(hierarchies.iter().map(|hierarchy| hierarchy.join(name)).collect())
}

/// Gives the groups below a hierarchy's root its controllers. One that cannot be given is one that a host then does not have.
fn hand_on_controllers(hierarchy: &Path) {
    let controllers = fs::read_to_string(hierarchy.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace().filter(|name| HANDED_ON.contains(name)) {
        let _ = fs::write(hierarchy.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// Ends what still lives in the groups of a host, and removes them with all below.
///
/// A host whose `systemd-nspawn` was killed lives on without it, and is known only by its group.
pub(crate) fn remove(name: &str) -> Result<()> {
    let hierarchies = hierarchies()?;
    for kill in hierarchies.iter().map(|hierarchy| hierarchy.join(name).join("cgroup.kill")) {
        if kill.exists() {
            fs::write(&kill, "1").with_context(|| format!("cannot write to {}", kill.display()))?;
        }
    }
    hierarchies.iter().try_for_each(|hierarchy| remove_in_time(&hierarchy.join(name)))
}

fn remove_in_time(group: &Path) -> Result<()> {
    let begin = Instant::now();
    loop {
        match remove_group(group, DEEPEST) {
            Err(_) if begin.elapsed() < PATIENCE => thread::sleep(LOOK_EVERY),
            done => return done,
        }
    }
}

fn remove_group(group: &Path, deepest: usize) -> Result<()> {
    if !group.is_dir() || deepest == 0 {
        return Ok(());
    }
    for below in fs::read_dir(group)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove_group(&below.path(), deepest - 1)?;
    }
    fs::remove_dir(group).with_context(|| format!("cannot remove the group {}", group.display()))
}

/// The names of all groups of ours, of a set or of all.
pub(crate) fn names(set: Option<&SetName>) -> Result<Vec<String>> {
    let hierarchies = hierarchies()?;
    let entries = hierarchies.iter().filter_map(|hierarchy| fs::read_dir(hierarchy).ok()).flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let ours = names.filter(|name| name.starts_with(PREFIX));
    Ok(ours.filter(|name| set.is_none_or(|set| SetName::of(name).as_ref() == Some(set))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(point: &str, kind: &str, options: &str) -> Mount {
        Mount { point: point.into(), kind: kind.to_owned(), options: options.to_owned() }
    }

    #[test]
    fn on_a_mixed_machine_a_host_has_a_group_in_both_hierarchies() {
        let mounts = [
            mount("/sys/fs/cgroup/memory", "cgroup", "rw,memory"),
            mount("/sys/fs/cgroup/systemd", "cgroup", "rw,name=systemd"),
            mount("/sys/fs/cgroup/unified", "cgroup2", "rw"),
        ];
        let expected = [Path::new("/sys/fs/cgroup/unified"), Path::new("/sys/fs/cgroup/systemd")];
        assert_eq!(among(&mounts), expected);
        assert_eq!(among(&mounts[2..]), expected[..1]);
    }

    #[test]
    fn without_a_unified_hierarchy_that_may_be_written_to_there_is_none() {
        assert!(among(&[mount("/sys/fs/cgroup", "cgroup2", "ro,rw")]).is_empty());
        assert!(among(&[mount("/sys/fs/cgroup/systemd", "cgroup", "rw,name=systemd")]).is_empty());
    }
}

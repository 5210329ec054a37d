//! Control groups (version 2): which folder of them Lockstep may use on a host, and the group of one instance in it.
//!
//! All of an instance is in its group, whatever its processes do to their session, parent or environment: it is limited as a
//! whole, and ended as a whole. Groups are files; nothing here needs more than to write them. Invariant: no group is made where
//! it would take instances out of a limit that somebody has set for the server.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use lockstep_domain::InstanceId;
use lockstep_domain::limits::{Limits, Means};
use rustix::process::{Pid, Signal};
use sha2::{Digest as _, Sha256};

/// The group in which a service manager leaves the server when it hands a part of the tree over.
pub const GROUP_OF_SERVER: &str = "server";
/// Where the kernel says in which groups this process is.
const OWN: &str = "/proc/self/cgroup";
/// Where it says what is mounted.
const MOUNTS: &str = "/proc/self/mountinfo";
/// The group of all instances.
const OF_INSTANCES: &str = "lockstep";
/// What is used of the kernel.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// The time in which a share of the processors is given, in microseconds.
const PERIOD_US: u64 = 100_000;
/// How long a group that was killed may take to be empty.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked whether it is.
const EMPTY_PAUSE: Duration = Duration::from_millis(5);
/// Groups in groups that are looked at: an instance cannot make any where it is confined.
const MAX_DEPTH: usize = 8;
/// An empty group of another server is left by it when it is older: it fills one a moment after it made it.
const LEFT_AFTER: Duration = Duration::from_secs(60 * 60);
/// Longest name of a file.
const MAX_NAME: usize = 255;

/// Which groups are used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum GroupChoice {
    /// Those that may be used, where it is plain that they may.
    #[default]
    Found,
    /// Those in a folder that whoever runs the server has named.
    In(PathBuf),
}

/// The folder in which the groups of the instances of a driver are, or why there is none.
#[derive(Debug, Clone)]
pub(crate) struct ControlGroups {
    folder: Result<PathBuf, String>,
    /// Tells the groups of one driver apart from those of another on the same host.
    tag: String,
}

impl ControlGroups {
    /// Finds the folder, and makes it.
    pub(crate) fn find(choice: &GroupChoice, root: &Path) -> Self {
        let hash = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let tag: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let folder = match choice {
            GroupChoice::In(folder) => Ok(folder.clone()),
            GroupChoice::Found => {
                let has = |path: &Path| path.join("cgroup.events").exists();
                find(&read(OWN), &read(MOUNTS), &has)
            }
        };
        let made = folder.and_then(|folder| match make(&folder) {
            Ok(()) => Ok(folder),
            Err(error) => Err(format!("no control group can be made in `{}`: {error}", folder.display())),
        });
        Self { folder: made, tag }
    }

    /// Names the group of an instance.
    pub(crate) fn of(&self, id: &InstanceId) -> Option<PathBuf> {
        let folder = self.folder.as_ref().ok()?;
        let name = format!("{}-{id}", self.tag);
        (name.len() <= MAX_NAME).then(|| folder.join(name))
    }

    /// Says with what this host holds limits.
    pub(crate) fn means(&self, counts_processes: bool) -> Means {
        let (has, why) = match &self.folder {
            Err(why) => (BTreeSet::new(), why.clone()),
            Ok(folder) => (enabled(folder), lacks_controllers(folder)),
        };
        let has = |name: &str| has.contains(name);
        Means {
            group_memory: has("memory"),
            group_cpu: has("cpu"),
            group_processes: has("pids"),
            counts_processes,
            most_open_files: most_open_files(),
            why,
        }
    }

    /// Ends and removes the groups of instances of this driver that are not there any more, and what others have left empty: a
    /// data folder that was deleted has no driver that would.
    pub(crate) fn clean(&self, instances: &Path) {
        let Ok(folder) = &self.folder else { return };
        for path in folders_in(folder) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match name.strip_prefix(&self.tag).and_then(|rest| rest.strip_prefix('-')) {
                Some(id) if !instances.join(id).exists() => remove(&path),
                None if is_old(&path) => {
                    // Fails where something is in it.
                    let _ = fs::remove_dir(&path);
                }
                Some(_) | None => {}
            }
        }
    }
}

/// Ends everything in a group and removes it; what cannot be removed is looked at again when a driver opens.
pub(crate) fn remove(path: &Path) {
    let group = ControlGroup { path: path.to_owned() };
    if let Err(error) = group.empty() {
        tracing::warn!(group = %path.display(), %error, "the control group of an ended instance could not be removed");
    }
}

/// Tells whether a group was made so long ago that nobody is about to put the first process into it.
fn is_old(path: &Path) -> bool {
    let made = fs::metadata(path).and_then(|found| found.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > LEFT_AFTER))
}

fn lacks_controllers(folder: &Path) -> String {
    format!("no controller for it in the control groups `{}`", folder.display())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Says with what a driver that is opened by this process would hold limits.
#[must_use]
pub fn means_here() -> Means {
    ControlGroups::find(&GroupChoice::Found, Path::new("")).means(false)
}

/// Returns the folder of the control group (version 2) of this process, and the path of the group in the tree that is mounted there.
#[must_use]
pub fn own_group() -> Option<(PathBuf, PathBuf)> {
    let (own, mounts) = (read(OWN), read(MOUNTS));
    own_of(&own, &mounts).ok().map(|(mount, below)| (mount.join(below), below.to_owned()))
}

/// Tells whether this process may put another one that is where it is into a group: that takes the right to write to the group in which
/// both lie.
pub(crate) fn may_take_in(path: &Path) -> bool {
    let Some((own, _)) = own_group() else { return true };
    let common = own.ancestors().find(|above| path.starts_with(above)).unwrap_or(&own);
    rustix::fs::access(common.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok()
}

/// Finds where groups are mounted, and that of this process below.
fn own_of<'a>(own: &'a str, mounts: &str) -> Result<(PathBuf, &'a Path), String> {
    let mounted =
        mounts.lines().find_map(mount_of_groups).ok_or("this host has no control groups (version 2)")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::"));
    let own = own.ok_or("the server is in no control group (version 2)")?;
    let (root, mount) = mounted;
    let below =
        Path::new(own).strip_prefix(root).map_err(|_| "the control group of the server is not mounted")?;
    Ok((mount, below))
}

/// Finds the folder for the groups of instances, from what the kernel says of this process.
fn find(own: &str, mounts: &str, has_parent: &dyn Fn(&Path) -> bool) -> Result<PathBuf, String> {
    let (mount, below) = own_of(own, mounts)?;
    let own = mount.join(below);
    if below.file_name().is_some_and(|name| name == GROUP_OF_SERVER)
        && let Some(above) = own.parent()
    {
        return Ok(above.join(OF_INSTANCES));
    }
    // The whole host: nobody has set limits for the server that instances could be taken out of.
    if below == Path::new("") && !has_parent(&own) {
        return Ok(own.join(OF_INSTANCES));
    }
    Err("no control group is handed over to Lockstep".to_owned())
}

/// Reads `ID PARENT MAJOR:MINOR ROOT MOUNT OPTIONS ... - TYPE SOURCE OPTIONS`.
fn mount_of_groups(line: &str) -> Option<(&Path, PathBuf)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut fields = place.split(' ').skip(3);
    let (root, mount) = (fields.next()?, fields.next()?);
    kind.starts_with("cgroup2 ").then(|| (Path::new(root), PathBuf::from(mount)))
}

/// Makes the folder, and lets groups in it have what the kernel offers there.
fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if !folder.join("cgroup.procs").exists() {
        return Err(io::Error::other("it is no control group"));
    }
    for place in folder.parent().into_iter().chain([folder]) {
        let offered = words(&place.join("cgroup.controllers"));
        for name in CONTROLLERS.into_iter().filter(|name| offered.contains(*name)) {
            // What is not allowed shows when it is read what is enabled.
            let _ = fs::write(place.join("cgroup.subtree_control"), format!("+{name}"));
        }
    }
    Ok(())
}

fn enabled(folder: &Path) -> BTreeSet<String> {
    words(&folder.join("cgroup.subtree_control"))
}

fn words(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The most open files that a process of this one's can be given; `None` where any number can.
pub(crate) fn most_open_files() -> Option<u64> {
    use rustix::thread::CapabilitySet;
    let rights = rustix::thread::capabilities(None).map(|rights| rights.effective);
    if rights.is_ok_and(|rights| rights.contains(CapabilitySet::SYS_RESOURCE)) {
        return None;
    }
    rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum
}

/// The group of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlGroup {
    path: PathBuf,
}

/// What has happened in a group since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Happened {
    /// Times that it had no memory left below its limit.
    pub(crate) short_of_memory: u64,
    /// Processes that were killed for want of memory.
    pub(crate) killed_for_memory: u64,
    /// Processes that it was refused.
    pub(crate) refused_processes: u64,
}

impl ControlGroup {
    /// Makes the group anew, with nothing in it, for limits; says with what they are held.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn begin(path: &Path, limits: &Limits, means: &Means) -> io::Result<(Self, Means)> {
        let group = Self { path: path.to_owned() };
        group.empty()?;
        if let Some(above) = path.parent() {
            // After a start of the host nothing is there.
            make(above)?;
        }
        fs::create_dir(path)?;
        let means = Means {
            group_memory: group.limit_memory(limits.memory_bytes),
            group_cpu: group.limit("cpu.max", limits.cpu_thousandths.map(quota)),
            group_processes: group.limit("pids.max", limits.processes.map(|most| most.to_string())),
            why: path.parent().map_or_else(String::new, lacks_controllers),
            ..means.clone()
        };
        Ok((group, means))
    }

    /// The group as it was made before, by an earlier supervisor.
    pub(crate) fn begun(path: &Path) -> Option<Self> {
        path.is_dir().then(|| Self { path: path.to_owned() })
    }

    fn limit_memory(&self, bytes: Option<u64>) -> bool {
        let is_limited = self.limit("memory.max", bytes.map(|bytes| bytes.to_string()));
        if is_limited {
            // All of it ends, not the one process that asked last. A kernel without swap has no file for that.
            let _ = fs::write(self.path.join("memory.oom.group"), "1");
            let _ = fs::write(self.path.join("memory.swap.max"), "0");
        }
        is_limited
    }

    fn limit(&self, file: &str, value: Option<String>) -> bool {
        value.is_some_and(|value| fs::write(self.path.join(file), value).is_ok())
    }

    /// Takes a process in.
    ///
    /// # Errors
    /// When it has ended, or the group has gone.
    pub(crate) fn take_in(&self, pid: Pid) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.as_raw_nonzero().to_string())
    }

    /// Kills everything in it, as far as the kernel can at once.
    pub(crate) fn kill(&self) {
        // Before Linux 5.14 there is no such file, and what is in it is killed one by one.
        if fs::write(self.path.join("cgroup.kill"), "1").is_err() {
            for pid in self.pids().into_iter().filter_map(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
    }

    /// Lists what is in it, and in groups below.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let (mut found, mut next) = (Vec::new(), vec![(self.path.clone(), 0)]);
        while let Some((folder, depth)) = next.pop() {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            if depth < MAX_DEPTH {
                next.extend(folders_in(&folder).map(|below| (below, depth + 1)));
            }
        }
        found
    }

    /// Says what has happened in it.
    pub(crate) fn happened(&self) -> Happened {
        let memory = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let processes = fs::read_to_string(self.path.join("pids.events")).unwrap_or_default();
        Happened {
            short_of_memory: count(&memory, "oom"),
            killed_for_memory: count(&memory, "oom_kill"),
            refused_processes: count(&processes, "max"),
        }
    }

    /// Kills what is in it, and removes it; nothing there is as good as done.
    ///
    /// # Errors
    /// When something in it does not end.
    pub(crate) fn empty(&self) -> io::Result<()> {
        let deadline = Instant::now() + EMPTY_WITHIN;
        loop {
            match remove_folders(&self.path, 0) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => {
                    self.kill();
                    thread::sleep(EMPTY_PAUSE);
                }
            }
        }
    }
}

/// A group is removed by removing its folder; its files go with it.
fn remove_folders(path: &Path, depth: usize) -> io::Result<()> {
    if depth < MAX_DEPTH {
        folders_in(path).try_for_each(|below| remove_folders(&below, depth + 1))?;
    }
    fs::remove_dir(path)
}

fn folders_in(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn quota(thousandths: u32) -> String {
    format!("{} {PERIOD_US}", u64::from(thousandths) * PERIOD_US / 1_000)
}

fn count(text: &str, name: &str) -> u64 {
    let number = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(number).unwrap_or_default()
}

#[cfg(test)]
mod tests;

//! What stays of instances that have ended: their logs and the few lines that name them, in `ended/ENV/SERVICE/ID/NUMBER/`; of the runs of
//! a job in `ended/ENV/SERVICE.JOB/ID/NUMBER/`, so that a job of every minute leaves the log of a crash where it is.
//!
//! `NUMBER` grows with every instance of the service, and is at least the seconds that servers have run on this folder: so order
//! and age do not depend on the wall clock. Nothing has to be written to end an instance, so that a full disk does not stop
//! what frees it. Invariant: of each service in an environment no more is kept than [`EndedLimits`] say, and nothing in here belongs
//! to an instance that may still live: a folder comes here by one rename, by who holds the lock of its supervisor.

mod keep;
mod put_away;

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use lockstep_domain::{EnvironmentName, Instance, InstanceId};
use lockstep_files::{foreign, tree, whole};
use serde::{Deserialize, Serialize};

pub(crate) use self::put_away::{Left, SAID, said_in};
use crate::folder::InstanceFolder;

/// The format of `ended.json`, and the only one so far.
const FORMAT: u32 = 1;
/// Longest `ended.json` that is read: that of a status.
const MAX_BYTES: u64 = crate::status::MAX_STATUS_BYTES;
/// Start of the name of what is being removed.
const OLD_PREFIX: &str = ".old-";
/// The name of the file with the few lines that name an instance.
const NAMES: &str = "ended.json";
/// The extension of the file beside the folder that counts the seconds.
const CLOCK: &str = "seconds";
/// Most bytes of the file that counts the seconds.
const MAX_CLOCK_BYTES: u64 = 64;

/// How much is kept of the ended instances of one service in one environment, and of the runs of one of its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedLimits {
    /// How many instances.
    pub instances: usize,
    /// Bytes of all their logs.
    pub bytes: u64,
    /// For how long, in seconds that a server ran.
    pub seconds: u64,
}

impl Default for EndedLimits {
    /// Twenty instances are some releases and a crash loop of a night; 64 MiB are two logs of the largest kind; a week is the time
    /// after which nobody asks why it crashed.
    fn default() -> Self {
        Self { instances: 20, bytes: 64 * 1024 * 1024, seconds: 7 * 24 * 60 * 60 }
    }
}

impl fmt::Display for EndedLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instances, bytes, seconds } = self;
        let (mebibytes, days) = (bytes >> 20, seconds / (24 * 60 * 60));
        write!(
            f,
            "of a service in an environment, and of each of its jobs, the logs of the {instances} instances that ended last are \
             kept, {mebibytes} MiB in all, for {days} days"
        )
    }
}

/// The few lines that name an instance.
#[derive(Debug, Serialize, Deserialize)]
struct EndedFile {
    format: u32,
    instance: Instance,
}

/// The ended instances of a driver.
#[derive(Debug)]
pub(crate) struct Ended {
    root: PathBuf,
    limits: EndedLimits,
    /// Seconds that servers had run on this folder before this one.
    seconds_before: u64,
    begun: Instant,
}

/// One that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    number: u64,
    id: InstanceId,
    path: PathBuf,
}

impl Ended {
    /// Opens the folder, removes what was being removed, and brings everything below the limits.
    ///
    /// # Errors
    ///
    /// When the folder cannot be used.
    pub(crate) fn open(root: PathBuf, limits: EndedLimits) -> io::Result<Self> {
        make_folder(&root)?;
        let clock = foreign::open_no_link(&root.with_extension(CLOCK))
            .and_then(|file| foreign::read_text(file, MAX_CLOCK_BYTES));
        let counted = clock.ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default();
        let mut ended = Self { root, limits, seconds_before: counted, begun: Instant::now() };
        let groups = ended.groups()?;
        let newest = groups.iter().flat_map(|group| kept_in(group)).map(|kept| kept.number).max();
        ended.seconds_before = counted.max(newest.unwrap_or_default());
        for group in groups {
            tidy(&group);
        }
        ended.look_after();
        Ok(ended)
    }

    /// Seconds that servers have run on this folder.
    fn seconds(&self) -> u64 {
        self.seconds_before.saturating_add(self.begun.elapsed().as_secs())
    }

    /// Notes how long servers have run, and removes what is too old. To be called every hour.
    pub(crate) fn look_after(&self) {
        let noted = whole::put_unsynced(
            &self.root.with_extension(CLOCK),
            self.seconds().to_string().as_bytes(),
            0o600,
        );
        if let Err(error) = noted {
            tracing::debug!(%error, "the age of the logs of ended instances could not be noted");
        }
        for group in self.groups().unwrap_or_default() {
            self.bring_below_limits(&group);
        }
    }

    /// Removes what is more than is kept of one service.
    fn bring_below_limits(&self, group: &Path) {
        let all: Vec<_> = kept_in(group).into_iter().rev().map(|kept| (bytes_of(&kept.path), kept)).collect();
        let sizes = all.iter().map(|(bytes, kept)| (kept.number, *bytes));
        let surplus = keep::surplus(sizes, self.seconds(), &self.limits);
        for (_, kept) in all.iter().filter(|(_, kept)| surplus.contains(&kept.number)) {
            if let Err(error) = remove(&kept.path) {
                tracing::warn!(instance = %kept.id, %error, "the log of an ended instance could not be removed");
            }
        }
    }

    /// Finds what is kept of an instance.
    pub(crate) fn find(&self, environment: &EnvironmentName, id: &InstanceId) -> Option<InstanceFolder> {
        self.newest_of(environment, id).map(|kept| InstanceFolder::at(kept.path))
    }

    /// Returns what was seen last of an instance that has ended, as long as it is kept.
    pub(crate) fn seen(&self, environment: &EnvironmentName, id: &InstanceId) -> Option<Instance> {
        read(&self.newest_of(environment, id)?)
    }

    fn newest_of(&self, environment: &EnvironmentName, id: &InstanceId) -> Option<Kept> {
        let services = folders_in(&self.root.join(environment.as_str())).unwrap_or_default();
        let kept = services.iter().flat_map(|service| kept_of(&service.join(id.as_str()), id));
        kept.max_by_key(|kept| kept.number)
    }

    /// Returns the newest that are kept, so many of each service.
    pub(crate) fn newest(&self, of_each: usize) -> Vec<Instance> {
        let groups = self.groups().unwrap_or_default();
        let newest = groups.iter().flat_map(|group| kept_in(group).into_iter().rev().take(of_each));
        newest.filter_map(|kept| read(&kept)).collect()
    }

    /// The folder of those that are kept together: the instances of a service, and the runs of each of its jobs. No name of a service has
    /// a dot.
    fn group(&self, instance: &Instance) -> PathBuf {
        let service = &instance.arm.service;
        let name = instance.job.as_ref().map_or(service.to_string(), |job| format!("{service}.{job}"));
        self.root.join(instance.environment.as_str()).join(name)
    }

    fn groups(&self) -> io::Result<Vec<PathBuf>> {
        let mut groups = Vec::new();
        for environment in folders_in(&self.root)? {
            groups.extend(folders_in(&environment)?);
        }
        Ok(groups)
    }
}

/// Reads the few lines that name one. Without them (the disk was full) it is not shown, and its log is there all the same.
fn read(kept: &Kept) -> Option<Instance> {
    let file = foreign::open_no_link(&kept.path.join(NAMES)).ok()?;
    let ended: EndedFile = serde_json::from_slice(&foreign::read(file, MAX_BYTES).ok()?).ok()?;
    let is_it = ended.format == FORMAT && ended.instance.id == kept.id && ended.instance.state.is_over();
    is_it.then_some(ended.instance)
}

/// Returns what is kept of a service, oldest first.
fn kept_in(group: &Path) -> Vec<Kept> {
    let of_id = |folder: PathBuf| {
        let id: Option<InstanceId> = folder.file_name().and_then(|name| name.to_str()?.parse().ok());
        id.into_iter().flat_map(move |id| kept_of(&folder, &id))
    };
    let mut all: Vec<_> = folders_in(group).unwrap_or_default().into_iter().flat_map(of_id).collect();
    all.sort_by_key(|kept| kept.number);
    all
}

/// Returns what is kept under an id; more than one when the id was used again.
fn kept_of(folder: &Path, id: &InstanceId) -> Vec<Kept> {
    let kept = |path: PathBuf| {
        let number = path.file_name()?.to_str()?.parse().ok()?;
        Some(Kept { number, id: id.clone(), path })
    };
    folders_in(folder).unwrap_or_default().into_iter().filter_map(kept).collect()
}

/// Removes what an interrupted removal or an interrupted end has left in the folder of a service.
fn tidy(group: &Path) {
    for folder in folders_in(group).unwrap_or_default() {
        for path in folders_in(&folder).unwrap_or_default() {
            let is_old = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(OLD_PREFIX));
            let tidied = if is_old { tree::remove(&path) } else { put_away::strip_to_log(&path) };
            if let Err(error) = tidied {
                tracing::warn!(path = %path.display(), %error, "what is left of an ended instance could not be removed");
            }
        }
        remove_if_empty(&folder);
    }
}

/// Removes one that was kept: first its name, so that nothing half-removed has it.
fn remove(path: &Path) -> io::Result<()> {
    let mut name = OsString::from(OLD_PREFIX);
    name.push(path.file_name().unwrap_or_default());
    let old = path.with_file_name(name);
    match fs::rename(path, &old) {
        Ok(()) => tree::remove(&old)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => tree::remove(path)?,
    }
    path.parent().into_iter().for_each(remove_if_empty);
    Ok(())
}

fn remove_if_empty(folder: &Path) {
    // One that is not empty stays.
    let _ = fs::remove_dir(folder);
}

/// Returns the room that a log takes, or claims to take.
fn bytes_of(path: &Path) -> u64 {
    let files = fs::read_dir(path.join("log")).into_iter().flatten().flatten();
    let sizes = files.filter_map(|file| file.path().symlink_metadata().ok());
    sizes.map(|file| file.len().max(file.blocks().saturating_mul(512))).fold(0, u64::saturating_add)
}

fn folders_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests;

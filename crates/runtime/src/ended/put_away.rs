//! Puts an instance that has ended away: what is large goes first, then the folder moves, then the rest goes.
//!
//! It may be cut off after every step, and begins again: until the move the folder is that of an instance that is over, afterwards
//! one of an ended instance, and both are looked at when a driver opens.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lockstep_domain::Instance;
use lockstep_domain::database::TOLD_FILE;
use lockstep_files::{foreign, tree, whole};
use rustix::fs::FlockOperation;

use super::{Ended, EndedFile, FORMAT, NAMES, kept_in, make_folder};
use crate::folder::InstanceFolder;
use crate::logs;
use crate::process::carriers_of;

/// What a step at a database has said, once its working folder is gone.
pub(crate) const SAID: &str = "database.json";
/// Most bytes of it: the names of some thousand migrations.
const MAX_SAID: u64 = 4 * 1024 * 1024;
/// What the first steps leave: by these an instance is known to be over.
const KEPT_TO_THE_MOVE: [&str; 6] = ["spec.json", "status.json", "lock", "log", NAMES, SAID];
/// What stays in the end.
const KEPT: [&str; 4] = ["status.json", "log", NAMES, SAID];

/// What became of a folder that was to be put away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Left {
    /// It is put away, or there is none any more.
    Away,
    /// The instance may still live: a supervisor works for it, it is not over, or processes of it run.
    Alive(&'static str),
}

impl Ended {
    /// Puts an instance away.
    ///
    /// # Errors
    ///
    /// When something cannot be removed or moved; the next try goes on from there.
    pub(crate) fn put_away(&self, folder: &InstanceFolder, instance: &Instance) -> io::Result<Left> {
        let (_held, folder_itself) = match folder.hold() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Left::Away),
            held => held?,
        };
        let lock = match lock(&folder_itself)? {
            Lock::Ours(lock) => lock,
            Lock::Taken => return Ok(Left::Alive("its supervisor has not ended")),
        };
        if !instance.state.is_over() {
            return Ok(Left::Alive("it is not over"));
        }
        if carriers_of(folder.path()).next().is_some() {
            return Ok(Left::Alive("a process of it runs"));
        }
        let names = serde_json::to_vec(&EndedFile { format: FORMAT, instance: instance.clone() })?;
        let write = || whole::put_unsynced(&folder_itself.path().join(NAMES), &names, 0o600);
        let written = write();
        keep_said(&folder_itself)?;
        strip(folder_itself.path(), &KEPT_TO_THE_MOVE)?;
        if written.is_err() {
            // There may be room now. Without it the log is kept all the same.
            let _ = write();
        }
        let place = self.give_place(folder, instance)?;
        drop(lock);
        strip_to_log(&place)?;
        self.bring_below_limits(&self.group(instance));
        Ok(Left::Away)
    }

    fn give_place(&self, folder: &InstanceFolder, instance: &Instance) -> io::Result<PathBuf> {
        let group = self.group(instance);
        let newest = kept_in(&group).last().map_or(0, |kept| kept.number.saturating_add(1));
        let of_id = group.join(instance.id.as_str());
        make_folder(&of_id)?;
        let place = of_id.join(newest.max(self.seconds()).to_string());
        fs::rename(folder.path(), &place)?;
        Ok(place)
    }
}

/// Keeps what a step at a database has said: nobody may have read it yet.
fn keep_said(folder: &InstanceFolder) -> io::Result<()> {
    match said_in(&folder.work(), TOLD_FILE) {
        Some(said) => whole::put_unsynced(&folder.path().join(SAID), &said, 0o600),
        None => Ok(()),
    }
}

/// Reads a file of a folder that is not ours; `None` where there is none that can be read, or a larger one.
pub(crate) fn said_in(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let file = foreign::open_no_link(&folder.join(name)).ok()?;
    foreign::read(file, MAX_SAID).ok()
}

enum Lock {
    /// Nobody works for the instance, and nobody begins to as long as this is held.
    Ours(Option<File>),
    Taken,
}

fn lock(folder: &InstanceFolder) -> io::Result<Lock> {
    let file = match foreign::open_no_link(&folder.lock()) {
        // No supervisor ever came so far.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::Ours(None)),
        opened => opened?,
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock::Ours(Some(file))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Lock::Taken),
        Err(error) => Err(error.into()),
    }
}

/// Removes everything but the log and the few lines that name the instance.
pub(super) fn strip_to_log(path: &Path) -> io::Result<()> {
    strip(path, &KEPT)?;
    let log = path.join("log");
    if log.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
        return tree::remove(&log);
    }
    for entry in entries(&log)? {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !(is_file && logs::is_file_of_log(&entry.file_name())) {
            tree::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes everything but some names, and these too where something else than a file or the folder of the log lies there.
fn strip(path: &Path, kept: &[&str]) -> io::Result<()> {
    for entry in entries(path)? {
        let kind = entry.file_type()?;
        let is_kept = kept.iter().any(|name| entry.file_name() == **name);
        let is_what_it_should = if entry.file_name() == "log" { kind.is_dir() } else { kind.is_file() };
        if !(is_kept && is_what_it_should) {
            tree::remove(&entry.path())?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.collect(),
    }
}

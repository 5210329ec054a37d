//! The data folder as a place: whether it is the one it says it is, and whether it is whole enough to begin with.
//!
//! Invariant: a server begins nothing in a folder that is a copy, that lost its journal, or whose journal is older than
//! what was done by it. It says why, changes nothing there, and ends no instance.

mod suspicion;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lockstep_files::{foreign, tree, whole};
use lockstep_store::backup::{IN_BACKUP, LEFT_OUT};
use serde::{Deserialize, Serialize};

use crate::editions::EDITIONS;
use crate::lock;

pub use suspicion::Suspicion;
use suspicion::{Contents, Directory, examine, examine_journal};

/// Where a folder says which one it is.
const IDENTITY: &str = "place.json";
/// Where a folder says up to which record of the journal something was done.
const DONE: &str = "done.json";
/// What only a folder that was used has in it, by the folder in which the first entry is looked for.
const USED: [&str; 7] = [
    "blobs/sha256",
    "secrets",
    "mirrors",
    "builds",
    "runtime/instances",
    "runtime/releases",
    "runtime/resources",
];
/// Largest file of ours that is read here.
const MAX_BYTES: u64 = 64 * 1024;
/// Largest `spec.json` that is looked into.
const MAX_SPEC_BYTES: u64 = 16 * 1024 * 1024;

/// What is done with a folder that is not where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Adopt {
    /// It is refused.
    #[default]
    No,
    /// It is taken for the one that counts from now on: a person says that the other is gone.
    Yes,
}

/// A data folder that was examined.
#[derive(Debug)]
pub(crate) struct Place {
    folder: PathBuf,
    done: Mutex<u64>,
    /// Whether what runs by it belongs to another folder.
    is_copy: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Done {
    record: u64,
}

/// The part of an instance's `spec.json` that tells where it was started.
#[derive(Debug, Deserialize)]
struct StartedIn {
    release_folder: PathBuf,
}

impl Place {
    /// Examines a folder before anything is opened or made in it.
    ///
    /// # Errors
    /// What is suspicious about it, or that it cannot be read.
    pub(crate) fn examine(folder: &Path, adopt: Adopt) -> Result<Self, Box<Suspicion>> {
        let read = |source| Suspicion::Unreadable { folder: folder.to_owned(), source };
        let contents = contents(folder).map_err(read)?;
        let done = read_file::<Done>(&folder.join(DONE)).map_or(0, |done| done.record);
        let is_copy = match examine(folder, &contents) {
            Ok(()) => false,
            Err(Suspicion::Copy { .. }) if adopt == Adopt::Yes => true,
            Err(suspicion) => return Err(Box::new(suspicion)),
        };
        Ok(Self { folder: folder.to_owned(), done: Mutex::new(done), is_copy })
    }

    /// Goes on when the journal was folded and nobody else can open the folder: compares the two, then makes the folder
    /// the one that it says it is.
    ///
    /// # Errors
    /// That the journal is empty or older than what was done by it, or that something cannot be written.
    pub(crate) fn settle(&self, last_record: u64, adopt: Adopt) -> Result<(), Box<Suspicion>> {
        let write = |source| Suspicion::Unreadable { folder: self.folder.clone(), source };
        let contents = contents(&self.folder).map_err(write)?;
        let done = *lock(&self.done);
        match examine_journal(&self.folder, &contents, last_record, done) {
            Err(Suspicion::JournalOlder { .. }) if adopt == Adopt::Yes => {
                self.note(last_record).map_err(write)?;
            }
            other => other?,
        }
        let settled = match self.is_copy {
            true => self.leave_to_the_original(),
            false => self.say_which_it_is(contents.identity.as_ref()),
        };
        Ok(settled.map_err(write)?)
    }

    /// Makes a copy the folder that counts, once everything in it was settled that must not be as in the original: whoever is cut
    /// off before has a copy still.
    ///
    /// # Errors
    /// That it cannot be written.
    pub(crate) fn take_over(&self) -> Result<(), Box<Suspicion>> {
        let write = |source| Suspicion::Unreadable { folder: self.folder.clone(), source };
        if self.is_copy {
            self.say_which_it_is(None).map_err(write)?;
        }
        Ok(())
    }

    fn say_which_it_is(&self, said: Option<&Directory>) -> io::Result<()> {
        let here = directory(&self.folder)?;
        if said == Some(&here) { Ok(()) } else { put(&self.folder.join(IDENTITY), &here) }
    }

    /// Tells whether what runs by it belongs to another folder, which it was copied from.
    pub(crate) const fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// Notes, before something is done, up to which record it was decided.
    ///
    /// # Errors
    /// When it cannot be written; nothing must be done then.
    pub(crate) fn note_done(&self, record: u64) -> io::Result<()> {
        if *lock(&self.done) >= record { Ok(()) } else { self.note(record) }
    }

    fn note(&self, record: u64) -> io::Result<()> {
        let mut done = lock(&self.done);
        put(&self.folder.join(DONE), &Done { record })?;
        *done = record;
        Ok(())
    }

    /// Forgets what speaks of processes and tables of the folder that this one was copied from. Only files in here go.
    fn leave_to_the_original(&self) -> io::Result<()> {
        let instances = self.folder.join("runtime/instances");
        for entry in entries(&instances)? {
            tree::remove(&instances.join(entry))?;
        }
        tree::remove(&self.folder.join(EDITIONS))?;
        tracing::warn!(folder = %self.folder.display(), "the folder is taken for the one that counts; its instances are started anew");
        Ok(())
    }
}

fn contents(folder: &Path) -> io::Result<Contents> {
    let mut used = Vec::new();
    for name in USED {
        let entries = entries(&folder.join(name))?;
        // The key for callers and the server's own token are made at every start.
        let is_made = |entry: &str| entry == "callers.key" || entry == crate::own_token::FILE;
        if entries.iter().any(|entry| !entry.starts_with('.') && !is_made(entry)) {
            used.push(name);
        }
    }
    let stem = |name: &str| name.split('.').next().map(str::to_owned);
    // A disk of its own has a folder for what was found on it.
    let known = IN_BACKUP.into_iter().chain(LEFT_OUT).chain(["lost+found"]);
    let known: BTreeSet<_> = known.map(stem).collect();
    let is_known = |name: &String| known.contains(&stem(name));
    let names = entries(folder)?;
    let identity = read_file::<Directory>(&folder.join(IDENTITY));
    Ok(Contents {
        here: directory(folder).ok(),
        journal: fs::metadata(folder.join("journal.db")).is_ok_and(|file| file.len() > 0),
        used,
        foreign: names.into_iter().find(|name| !is_known(name) && !name.starts_with('.')),
        // A folder that says which one it is need not be asked by what its instances say.
        started_elsewhere: if identity.is_none() { started_elsewhere(folder)? } else { None },
        original_is_there: identity.as_ref().is_some_and(is_there),
        identity,
    })
}

/// Tells whether the directory that a folder says it is can be found where it was.
fn is_there(original: &Directory) -> bool {
    directory(&original.path).is_ok_and(|there| there.inode == original.inode)
}

/// Finds an instance that was started from another folder, which is there still.
fn started_elsewhere(folder: &Path) -> io::Result<Option<PathBuf>> {
    let Ok(here) = folder.canonicalize() else { return Ok(None) };
    let ours = fs::metadata(&here)?.ino();
    let instances = here.join("runtime/instances");
    for entry in entries(&instances)? {
        let Some(spec) = read_bounded::<StartedIn>(&instances.join(entry).join("spec.json"), MAX_SPEC_BYTES)
        else {
            continue;
        };
        // DATA/runtime/releases/DIGEST
        let Some(data) = spec.release_folder.ancestors().nth(3) else { continue };
        if fs::metadata(data).is_ok_and(|there| there.ino() != ours) {
            return Ok(Some(data.to_owned()));
        }
    }
    Ok(None)
}

fn entries(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn directory(folder: &Path) -> io::Result<Directory> {
    let path = folder.canonicalize()?;
    let metadata = fs::metadata(&path)?;
    let line = |path| fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    Ok(Directory {
        path,
        device: metadata.dev(),
        inode: metadata.ino(),
        machine: line("/etc/machine-id"),
        boot: line("/proc/sys/kernel/random/boot_id"),
    })
}

/// Reads a file of ours; one that cannot be understood is as good as none.
fn read_file<T: for<'a> Deserialize<'a>>(path: &Path) -> Option<T> {
    read_bounded(path, MAX_BYTES)
}

fn read_bounded<T: for<'a> Deserialize<'a>>(path: &Path, limit: u64) -> Option<T> {
    let text = foreign::open(path).and_then(|file| foreign::read(file, limit)).ok()?;
    serde_json::from_slice(&text).ok()
}

fn put(path: &Path, content: &impl Serialize) -> io::Result<()> {
    whole::put(path, &serde_json::to_vec(content).map_err(io::Error::other)?, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as a server leaves it: with a journal, an instance and a blob.
    fn used(folder: &Path) {
        for name in ["blobs/sha256", "runtime/instances/orders-1", "runtime/releases"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        fs::write(folder.join("journal.db"), "SQLite").unwrap();
        fs::write(folder.join("blobs/sha256/ab"), "artifact").unwrap();
        let release = folder.canonicalize().unwrap().join("runtime/releases/sha256:ab");
        let spec = serde_json::json!({ "release_folder": release });
        fs::write(folder.join("runtime/instances/orders-1/spec.json"), spec.to_string()).unwrap();
        let place = Place::examine(folder, Adopt::No).unwrap();
        place.settle(9, Adopt::No).unwrap();
        place.note_done(7).unwrap();
    }

    fn begin(folder: &Path, last_record: u64, adopt: Adopt) -> Result<(), Box<Suspicion>> {
        let place = Place::examine(folder, adopt)?;
        place.settle(last_record, adopt)?;
        place.take_over()
    }

    fn copy(from: &Path, to: &Path) {
        let status = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
        assert!(status.success());
    }

    #[test]
    fn a_folder_is_begun_once_and_found_again_also_when_it_was_moved() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, moved) = (parent.path().join("data"), parent.path().join("moved"));
        begin(&folder, 0, Adopt::No).unwrap_err();
        fs::create_dir(&folder).unwrap();
        begin(&folder, 0, Adopt::No).unwrap();
        used(&folder);
        begin(&folder, 9, Adopt::No).unwrap();
        fs::rename(&folder, &moved).unwrap();
        begin(&moved, 9, Adopt::No).unwrap();
        assert!(moved.join("runtime/instances/orders-1").exists());
    }

    #[test]
    fn a_copy_is_refused_and_taken_only_by_a_persons_word_without_its_instances() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, other) = (parent.path().join("data"), parent.path().join("copy"));
        fs::create_dir(&folder).unwrap();
        used(&folder);
        copy(&folder, &other);
        for _ in 0..2 {
            let refused = begin(&other, 9, Adopt::No).unwrap_err();
            assert!(matches!(*refused, Suspicion::Copy { .. }), "{refused}");
            assert!(other.join("runtime/instances/orders-1").exists());
        }
        // Cut off before it has taken over, it is asked again.
        Place::examine(&other, Adopt::Yes).unwrap().settle(9, Adopt::Yes).unwrap();
        assert!(matches!(*begin(&other, 9, Adopt::No).unwrap_err(), Suspicion::Copy { .. }));
        begin(&other, 9, Adopt::Yes).unwrap();
        assert!(!other.join("runtime/instances/orders-1").exists());
        assert!(folder.join("runtime/instances/orders-1").exists());
        begin(&other, 9, Adopt::No).unwrap();
        begin(&folder, 9, Adopt::No).unwrap();
    }

    #[test]
    fn a_copy_of_a_folder_that_no_identity_was_written_in_is_told_by_its_instances() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, other) = (parent.path().join("data"), parent.path().join("copy"));
        fs::create_dir(&folder).unwrap();
        used(&folder);
        fs::remove_file(folder.join(IDENTITY)).unwrap();
        copy(&folder, &other);
        assert!(matches!(*begin(&other, 9, Adopt::No).unwrap_err(), Suspicion::Copy { .. }));
        begin(&folder, 9, Adopt::No).unwrap();
    }

    #[test]
    fn every_part_that_is_lost_or_older_is_noticed_or_does_no_harm() {
        let lost = |part: &'static str| {
            let parent = tempfile::tempdir().unwrap();
            let folder = parent.path().join("data");
            fs::create_dir(&folder).unwrap();
            used(&folder);
            tree::remove(&folder.join(part)).unwrap();
            let records = if part == "journal.db" { 0 } else { 9 };
            begin(&folder, records, Adopt::No).map_err(|it| it.to_string())
        };
        let journal = lost("journal.db").unwrap_err();
        assert!(journal.contains("journal.db") && journal.contains("runtime/instances"), "{journal}");
        for part in ["blobs", "secrets", "mirrors", "builds", "runtime", IDENTITY, DONE, EDITIONS] {
            assert_eq!(lost(part), Ok(()), "{part}");
        }
    }

    #[test]
    fn an_empty_or_older_journal_ends_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("data");
        fs::create_dir(&folder).unwrap();
        used(&folder);
        assert!(matches!(*begin(&folder, 0, Adopt::No).unwrap_err(), Suspicion::JournalLost { .. }));
        assert!(matches!(*begin(&folder, 0, Adopt::Yes).unwrap_err(), Suspicion::JournalLost { .. }));
        let older = begin(&folder, 6, Adopt::No).unwrap_err();
        assert!(matches!(*older, Suspicion::JournalOlder { last: 6, done: 7, .. }), "{older}");
        begin(&folder, 6, Adopt::Yes).unwrap();
        begin(&folder, 6, Adopt::No).unwrap();
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "").unwrap();
        let refused = begin(folder.path(), 0, Adopt::Yes).unwrap_err();
        assert!(matches!(*refused, Suspicion::NotOurs { .. }), "{refused}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

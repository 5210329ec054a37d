//! Finding mirrors on disk and removing them; which of them are needed is for the caller to say.
//!
//! Invariant: a mirror that a build has is not removed. A build shares the lock of the folder as long as it has the mirror,
//! and who fetches holds the lock beside it.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::mirror_name;
use crate::repository::RepositoryLocation;

/// What an interrupted clone leaves behind.
const PARTIAL: &str = ".git.partial";

/// A mirror on disk, whole or what an interrupted clone has left of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundMirror {
    /// Its name.
    pub name: String,
    /// Its folders.
    pub folders: Vec<PathBuf>,
}

/// Whether a mirror is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is, or was not there.
    Removed,
    /// A build has it or fetches into it.
    InUse,
}

/// Returns the name that the mirror of a repository has.
#[must_use]
pub fn name_of(location: &RepositoryLocation) -> String {
    mirror_name(location)
}

/// Lists the mirrors of a folder by name.
///
/// # Errors
/// When the folder cannot be read; one that is not there has no mirrors.
pub fn list(mirrors: &Path) -> io::Result<Vec<FoundMirror>> {
    let entries = match fs::read_dir(mirrors) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str() else { continue };
        let name = file_name.strip_suffix(".git").or_else(|| file_name.strip_suffix(PARTIAL));
        if let Some(name) = name {
            found.entry(name.to_owned()).or_default().push(entry.path());
        }
    }
    Ok(found.into_iter().map(|(name, folders)| FoundMirror { name, folders }).collect())
}

/// Tells whether a build has a mirror or fetches into it.
///
/// # Errors
/// When its locks cannot be asked.
pub fn is_in_use(mirrors: &Path, name: &str) -> io::Result<bool> {
    Ok(hold(mirrors, name)?.is_none())
}

/// Removes a mirror, unless a build has it. The next build of its repository clones it again.
///
/// # Errors
/// When it cannot be removed; what is left of it is no mirror any more.
pub fn remove(mirrors: &Path, name: &str) -> io::Result<Removal> {
    let Some(_held) = hold(mirrors, name)? else { return Ok(Removal::InUse) };
    let (folder, partial) = (mirrors.join(format!("{name}.git")), mirrors.join(format!("{name}{PARTIAL}")));
    remove_folder(&partial)?;
    match fs::rename(&folder, &partial) {
        Ok(()) => remove_folder(&partial)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(Removal::Removed)
}

/// Both locks of a mirror, so that nobody fetches into it and nobody has it.
struct Held {
    _beside: File,
    _folder: Option<File>,
}

fn hold(mirrors: &Path, name: &str) -> io::Result<Option<Held>> {
    let beside = File::create(mirrors.join(format!("{name}.lock")))?;
    if !try_lock(&beside)? {
        return Ok(None);
    }
    let folder = match File::open(mirrors.join(format!("{name}.git"))) {
        Ok(folder) if !try_lock(&folder)? => return Ok(None),
        Ok(folder) => Some(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(Some(Held { _beside: beside, _folder: folder }))
}

fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrors(folders: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        folders
            .iter()
            .for_each(|folder| fs::create_dir_all(root.path().join(folder).join("objects")).unwrap());
        root
    }

    #[test]
    fn whole_and_partial_mirrors_are_found_by_name() {
        let root = mirrors(&["a-1.git", "a-1.git.partial", "b-2.git.partial"]);
        fs::write(root.path().join("c-3.lock"), "").unwrap();
        let names: Vec<_> = list(root.path())
            .unwrap()
            .into_iter()
            .map(|mirror| (mirror.name, mirror.folders.len()))
            .collect();
        assert_eq!(names, [("a-1".to_owned(), 2), ("b-2".to_owned(), 1)]);
        assert_eq!(list(&root.path().join("nowhere")).unwrap(), []);
    }

    #[test]
    fn a_mirror_goes_only_when_nobody_has_it_and_nobody_fetches_into_it() {
        let root = mirrors(&["a-1.git", "a-1.git.partial"]);
        let fetching = File::create(root.path().join("a-1.lock")).unwrap();
        fetching.lock().unwrap();
        assert_eq!(remove(root.path(), "a-1").unwrap(), Removal::InUse);
        drop(fetching);
        let had = File::open(root.path().join("a-1.git")).unwrap();
        had.lock_shared().unwrap();
        assert!(is_in_use(root.path(), "a-1").unwrap());
        assert_eq!(remove(root.path(), "a-1").unwrap(), Removal::InUse);
        assert!(root.path().join("a-1.git/objects").exists());
        drop(had);
        assert!(!is_in_use(root.path(), "a-1").unwrap());
        assert_eq!(remove(root.path(), "a-1").unwrap(), Removal::Removed);
        assert_eq!(list(root.path()).unwrap(), []);
        assert_eq!(remove(root.path(), "a-1").unwrap(), Removal::Removed);
    }
}

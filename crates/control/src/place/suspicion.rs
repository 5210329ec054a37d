//! What speaks against beginning in a data folder. Pure: what was seen goes in, a suspicion or none comes out.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Which directory of which machine a folder is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// The id of the machine; empty where it has none.
    #[serde(default)]
    pub(super) machine: String,
    /// Which start of the machine it was: numbers of devices may change with each.
    #[serde(default)]
    pub(super) boot: String,
}

/// What is in a data folder.
#[derive(Debug)]
pub(super) struct Contents {
    /// The folder itself, once it is there.
    pub(super) here: Option<Directory>,
    /// What it says of itself.
    pub(super) identity: Option<Directory>,
    /// Whether there is a journal with something in it.
    pub(super) journal: bool,
    /// What only a folder that was used has in it.
    pub(super) used: Vec<&'static str>,
    /// Something that no data folder has in it.
    pub(super) foreign: Option<String>,
    /// Another folder, still there, in which an instance of this one was started.
    pub(super) started_elsewhere: Option<PathBuf>,
    /// Whether the folder that it says it is is there as well.
    pub(super) original_is_there: bool,
}

/// Why a server does not begin in a data folder.
#[derive(Debug, Error)]
pub enum Suspicion {
    /// It is not where it was, and not the same directory.
    #[error("{}", copy_words(here, original, *relation))]
    Copy {
        /// The folder.
        here: PathBuf,
        /// The one that it was.
        original: PathBuf,
        /// How the two are related.
        relation: CopyRelation,
    },
    /// Everything is there but the journal.
    #[error(
        "the data folder `{}` has no records in `journal.db`, but was used: there is something in {}",
        folder.display(), used.join(", ")
    )]
    JournalLost {
        /// The folder.
        folder: PathBuf,
        /// What is there.
        used: Vec<&'static str>,
    },
    /// The journal ends before what was done by it.
    #[error(
        "the journal of `{}` ends with record {last}, but instances were started by record {done}: an older journal was put there",
        folder.display()
    )]
    JournalOlder {
        /// The folder.
        folder: PathBuf,
        /// Its last record.
        last: u64,
        /// The last record by which something was done.
        done: u64,
    },
    /// It belongs to something else.
    #[error("`{}` is no data folder of Lockstep: `{name}` is in it", folder.display())]
    NotOurs {
        /// The folder.
        folder: PathBuf,
        /// What is in it.
        name: String,
    },
    /// It cannot be read or written.
    #[error("the data folder `{}` cannot be used", folder.display())]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Where the folder is that a copy was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyRelation {
    /// Elsewhere, and it is there still.
    IsThere,
    /// It was elsewhere.
    WasThere,
    /// It was where the copy is now: a backup was restored there, or a copy put back.
    WasHere,
    /// At the same place of another machine.
    OtherMachine,
}

fn copy_words(here: &Path, original: &Path, relation: CopyRelation) -> String {
    let (here, original) = (here.display(), original.display());
    let (what, whose) = match relation {
        CopyRelation::IsThere => (format!("is a copy of `{original}`, which is there still"), "that one"),
        CopyRelation::WasThere => (format!("is a copy of `{original}`"), "that one"),
        CopyRelation::WasHere => {
            ("is not the one that was there: it was restored or copied to its place".to_owned(), "that one")
        }
        CopyRelation::OtherMachine => ("is a copy of that of another machine".to_owned(), "that one there"),
    };
    format!("the data folder `{here}` {what}: what runs may belong to {whose}")
}

impl Suspicion {
    /// Says what to do next.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Copy { .. } => {
                "start the server on the original; or, when that is gone for good: lockstep server --adopt --data FOLDER"
            }
            Self::JournalLost { .. } => {
                "instances go on running; put journal.db and journal.head back, or restore a backup into a new folder: lockstep backup restore FILE --data FOLDER"
            }
            Self::JournalOlder { .. } => {
                "put the newer journal back; or, when it is gone for good: lockstep server --adopt --data FOLDER"
            }
            Self::NotOurs { .. } => {
                "name an empty folder, or one that does not exist: lockstep server --data FOLDER"
            }
            Self::Unreadable { .. } => "check that the user who runs Lockstep owns the data folder",
        }
    }
}

/// Examines a folder by what is in it.
pub(super) fn examine(folder: &Path, contents: &Contents) -> Result<(), Suspicion> {
    if let (false, Some(name)) = (contents.journal, &contents.foreign) {
        return Err(Suspicion::NotOurs { folder: folder.to_owned(), name: name.clone() });
    }
    if !contents.journal && !contents.used.is_empty() {
        return Err(Suspicion::JournalLost { folder: folder.to_owned(), used: contents.used.clone() });
    }
    match original(contents) {
        Some(original) => Err(Suspicion::Copy {
            here: folder.to_owned(),
            original: original.to_owned(),
            relation: relation(contents),
        }),
        None => Ok(()),
    }
}

/// Returns the folder that this one is a copy of.
fn original(contents: &Contents) -> Option<&Path> {
    let Some(identity) = &contents.identity else { return contents.started_elsewhere.as_deref() };
    let here = contents.here.as_ref()?;
    let is_same = here.inode == identity.inode
        && here.machine == identity.machine
        && (here.device == identity.device || (here.boot != identity.boot && here.path == identity.path));
    (!is_same).then_some(identity.path.as_path())
}

fn relation(contents: &Contents) -> CopyRelation {
    let both = contents.here.as_ref().zip(contents.identity.as_ref());
    match both.filter(|(here, identity)| here.path == identity.path) {
        Some((here, identity)) if here.machine == identity.machine => CopyRelation::WasHere,
        Some(_) => CopyRelation::OtherMachine,
        None if contents.original_is_there || contents.started_elsewhere.is_some() => CopyRelation::IsThere,
        None => CopyRelation::WasThere,
    }
}

/// Compares what is in a folder with its journal.
pub(super) fn examine_journal(
    folder: &Path,
    contents: &Contents,
    last: u64,
    done: u64,
) -> Result<(), Suspicion> {
    if last == 0 && !contents.used.is_empty() {
        return Err(Suspicion::JournalLost { folder: folder.to_owned(), used: contents.used.clone() });
    }
    if last < done {
        return Err(Suspicion::JournalOlder { folder: folder.to_owned(), last, done });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(path: &str, device: u64, inode: u64, boot: &str) -> Directory {
        Directory { path: path.into(), device, inode, machine: "m".into(), boot: boot.into() }
    }

    fn contents(here: Directory, identity: Option<Directory>) -> Contents {
        Contents {
            here: Some(here),
            identity,
            journal: true,
            used: vec!["secrets"],
            foreign: None,
            started_elsewhere: None,
            original_is_there: false,
        }
    }

    #[test]
    fn a_folder_is_the_same_by_its_inode_and_devices_may_be_numbered_anew_by_a_start() {
        let was = directory("/a", 1, 5, "monday");
        let is_own = |here: Directory| examine(Path::new("/a"), &contents(here, Some(was.clone()))).is_ok();
        assert!(is_own(was.clone()) && is_own(directory("/moved", 1, 5, "monday")));
        assert!(is_own(directory("/a", 2, 5, "tuesday")));
        assert!(!is_own(directory("/a", 2, 5, "monday")) && !is_own(directory("/b", 2, 5, "tuesday")));
        assert!(!is_own(directory("/a", 1, 6, "tuesday")));
        assert!(!is_own(Directory { machine: "other".into(), ..was.clone() }));
    }

    #[test]
    fn a_folder_that_was_restored_to_the_very_same_path_is_no_copy_of_itself() {
        let was = directory("/a", 1, 5, "monday");
        let said = |here: Directory, is_there| {
            let mut contents = contents(here, Some(was.clone()));
            contents.original_is_there = is_there;
            examine(Path::new("/a"), &contents).unwrap_err().to_string()
        };
        let restored = said(directory("/a", 1, 6, "monday"), false);
        assert!(restored.contains("`/a` is not the one that was there") && !restored.contains("copy of"));
        assert!(said(directory("/b", 1, 6, "monday"), false).contains("is a copy of `/a`:"));
        assert!(said(directory("/b", 1, 6, "monday"), true).contains("is a copy of `/a`, which is there"));
        let elsewhere = Directory { machine: "other".into(), ..was.clone() };
        assert!(said(elsewhere, false).contains("is a copy of that of another machine"));
    }

    #[test]
    fn a_first_start_that_was_cut_off_is_not_suspicious() {
        let here = directory("/a", 1, 5, "monday");
        let mut cut = contents(here.clone(), None);
        (cut.journal, cut.used) = (false, vec![]);
        assert!(examine(Path::new("/a"), &cut).is_ok());
        cut.identity = Some(here);
        assert!(
            examine(Path::new("/a"), &cut).is_ok() && examine_journal(Path::new("/a"), &cut, 0, 0).is_ok()
        );
    }
}

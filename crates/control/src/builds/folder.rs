//! The folder of all builds on disk: numbers, states, and what goes.
//!
//! Invariant: a build has its number from the moment its folder is there. A state that is empty, cut off, or of a newer
//! program makes its build unreadable and nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lockstep_api::types::BuildView;
use lockstep_files::{foreign, tree, whole};

/// Name of the file with a build's state.
const STATE_FILE: &str = "build.json";
/// Name of the file with a build's log, as the pipeline writes it.
pub(super) const LOG_FILE: &str = "log";
/// Largest state that is read: its problem repeats some lines of the log.
const MAX_STATE_BYTES: u64 = 16 * 1024 * 1024;
/// Highest number that is taken for one of ours, so that there is always a next one.
const MAX_NUMBER: u64 = 999_999_999_999_999;
/// Start of the name of a folder on its way out.
const OLD_PREFIX: &str = ".old-";

/// A build that has a name in the folder.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    /// Its state, or why it cannot be told.
    pub(super) state: Result<Box<BuildView>, String>,
}

/// Reads the number of a build from its id: `b` and a number without leading zeros.
pub(super) fn number(id: &str) -> Option<u64> {
    let number = id.strip_prefix('b')?.parse().ok().filter(|number| (1..=MAX_NUMBER).contains(number))?;
    (self::id(number) == id).then_some(number)
}

pub(super) fn id(number: u64) -> String {
    format!("b{number}")
}

/// Lists all builds and removes what was on its way out. A folder in which nothing was written yet is on its way in.
pub(super) fn find(folder: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with(OLD_PREFIX) {
            remove_rest(&entry.path());
        }
        let Some(number) = number(&name) else { continue };
        let state = state(&entry.path());
        if !(state.is_err() && remove_unbegun(&entry.path())) {
            found.push(Found { number, path: entry.path(), state });
        }
    }
    Ok(found)
}

/// Makes the folder of the next build after a number.
pub(super) fn take(folder: &Path, last: u64) -> io::Result<(u64, PathBuf)> {
    for number in last + 1..=MAX_NUMBER {
        let path = folder.join(id(number));
        match fs::create_dir(&path) {
            Ok(()) => return Ok((number, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("all numbers of builds are taken"))
}

/// Keeps the state of a build.
pub(super) fn keep(folder: &Path, view: &BuildView) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(view).map_err(io::Error::other)?;
    whole::put(&folder.join(STATE_FILE), &text, 0o644)
}

/// Removes the sources and temporary files of a build, and nothing that an unknown program may have kept.
pub(super) fn clear_sources(folder: &Path) {
    ["source", "tmp"].iter().for_each(|rest| remove_rest(&folder.join(rest)));
}

/// Removes everything that a build under way has, and leaves its state and log.
pub(super) fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name != STATE_FILE && name != LOG_FILE {
            remove_rest(&entry.path());
        }
    }
}

fn remove_rest(path: &Path) {
    if let Err(error) = tree::remove(path) {
        tracing::warn!(path = %path.display(), %error, "the rest of a build could not be removed");
    }
}

/// Removes the folder of a build: first its name, then what is in it.
pub(super) fn remove(folder: &Path, number: u64) -> io::Result<()> {
    let old = folder.join(format!("{OLD_PREFIX}{}", id(number)));
    match fs::rename(folder.join(id(number)), &old) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed?,
    }
    tree::remove(&old)
}

fn state(path: &Path) -> Result<Box<BuildView>, String> {
    let read = |path: &Path| foreign::read(foreign::open_no_link(path)?, MAX_STATE_BYTES);
    let text = read(&path.join(STATE_FILE)).map_err(|error| format!("`{STATE_FILE}`: {error}"))?;
    let view: BuildView =
        serde_json::from_slice(&text).map_err(|error| format!("`{STATE_FILE}`: {error}"))?;
    let name = path.file_name().unwrap_or_default();
    if name == view.id.as_str() {
        Ok(Box::new(view))
    } else {
        Err(format!("it is the state of `{}`", view.id))
    }
}

/// Removes the folder of a build that never began: nobody was told its number.
fn remove_unbegun(path: &Path) -> bool {
    let unfinished = path.join(STATE_FILE).with_added_extension(whole::UNFINISHED);
    let alone =
        fs::read_dir(path).is_ok_and(|entries| entries.flatten().all(|entry| entry.path() == unfinished));
    alone && tree::remove(path).is_ok()
}

//! A bare mirror of each repository, fetched once and then brought up to date; everything else is asked of the mirror.
//!
//! Invariant: only the holder of a mirror's lock changes it. So a lock of git's own that is found then is stale. Who has a
//! mirror shares the lock of its folder, so that it is not removed meanwhile.

pub mod collect;
pub(crate) mod nowhere;

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::Digest;
use lockstep_files::tree;
use sha2::{Digest as _, Sha256};

use crate::cancel::CancelToken;
use crate::failure::{BuildFault, describe_end, io_fault};
use crate::git::{self, CommitId, Git};
use crate::guard::End;
use crate::repository::RepositoryLocation;
use crate::workplace::{CommandBounds, GuardedCommand, OWN_LOG_BYTES, Workplace};

/// Longest time of a fetch: the first clone of a very large repository over a slow line.
const FETCH_TIME_MS: u64 = 60 * 60 * 1_000;
/// Largest mirror.
const MIRROR_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// How often a thread that waits for another build's fetch looks again.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Present in a mirror in which git found something missing.
const DOUBT: &str = "lockstep-doubt";
/// Lines of git's that a failed fetch repeats.
const COMPLAINT_LINES: usize = 5;

/// An up-to-date mirror of a repository.
#[derive(Debug, Clone)]
pub struct Mirror {
    folder: PathBuf,
    location: RepositoryLocation,
    cancel: CancelToken,
    /// Shared with everybody who has the mirror.
    _in_use: Arc<File>,
}

impl Mirror {
    pub(crate) fn git(&self) -> Git<'_> {
        Git { folder: &self.folder, cancel: &self.cancel }
    }

    pub(crate) const fn location(&self) -> &RepositoryLocation {
        &self.location
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Looks what lies at a path of a commit, and reads it when it is a file.
    pub(crate) fn at(&self, commit: &CommitId, path: &str) -> Result<AtCommit, git::GitError> {
        let entry = self.git().ask(&["ls-tree", "-z", commit.as_str(), "--", path])?;
        let entry = String::from_utf8_lossy(&entry).into_owned();
        Ok(match entry.split(' ').next().unwrap_or_default() {
            "" => AtCommit::Nothing,
            "120000" => AtCommit::Other("link"),
            mode if mode.starts_with("100") => {
                AtCommit::File(self.git().ask(&["cat-file", "blob", &format!("{commit}:{path}")])?)
            }
            _ => AtCommit::Other("folder"),
        })
    }

    /// Tells whether a commit is another one, or comes after it.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn contains(&self, commit: &CommitId, other: &CommitId) -> Result<bool, git::GitError> {
        self.git().is_ancestor(other, commit)
    }

    /// Tells whether two commits have a history in common.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn is_related(&self, commit: &CommitId, other: &CommitId) -> Result<bool, git::GitError> {
        self.git().have_common_ancestor(commit, other)
    }

    /// Tells whether a branch or tag of the repository leads to a commit.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn leads_to(&self, commit: &CommitId) -> Result<bool, git::GitError> {
        self.git().leads_to(commit)
    }

    /// Lists tags, with the commits that they lead to.
    ///
    /// # Errors
    /// When git cannot be asked.
    pub fn tags(&self) -> Result<Vec<lockstep_domain::earlier::Tag>, git::GitError> {
        self.git().tags()
    }

    /// Tells whether a part of the history is not there, because the repository is a shallow clone.
    #[must_use]
    pub fn is_shallow(&self) -> bool {
        self.folder.join("shallow").exists()
    }
}

/// What lies at a path of a commit.
pub(crate) enum AtCommit {
    Nothing,
    File(Vec<u8>),
    /// Something that cannot be read as a file: what it is.
    Other(&'static str),
}

/// Brings the mirror of a repository up to date, or makes it.
pub(crate) fn update(
    location: &RepositoryLocation,
    mirrors: &Path,
    place: &Workplace<'_>,
) -> Result<Mirror, BuildFault> {
    fs::create_dir_all(mirrors).map_err(|source| io_fault(mirrors, "created", source))?;
    let name = mirror_name(location);
    let folder = mirrors.join(format!("{name}.git"));
    let _lock = lock(&mirrors.join(format!("{name}.lock")), place.cancel)?;
    if *location == RepositoryLocation::Nowhere {
        nowhere::make(&folder, place)?;
    } else if folder.join("HEAD").exists() {
        remove_rests(&folder);
        fetch_or_clone_anew(&folder, location, place)?;
    } else {
        clone(&folder, location, place)?;
    }
    forget_address(&folder, place)?;
    let in_use = Arc::new(share(&folder)?);
    Ok(Mirror { folder, location: location.clone(), cancel: place.cancel.clone(), _in_use: in_use })
}

/// Takes the address out of the mirror's settings, where git writes it: what is fetched is named each time. Mirrors of earlier
/// releases have it there, perhaps with a password.
fn forget_address(folder: &Path, place: &Workplace<'_>) -> Result<(), BuildFault> {
    let git = Git { folder, cancel: place.cancel };
    match git.try_ask(&["config", "--local", "--get-regexp", "^remote\\.origin\\."])? {
        git::Answer::No { .. } => Ok(()),
        git::Answer::Yes(_) => {
            Ok(git.ask(&["config", "--local", "--remove-section", "remote.origin"]).map(|_| ())?)
        }
    }
}

/// Shares the lock of a mirror's folder. Only who holds the lock beside it locks out others, so this never waits.
fn share(folder: &Path) -> Result<File, BuildFault> {
    let failed = |source| io_fault(folder, "locked", source);
    let file = File::open(folder).map_err(failed)?;
    file.lock_shared().map_err(failed)?;
    Ok(file)
}

/// A name that tells people what it is, and tells repositories apart.
fn mirror_name(location: &RepositoryLocation) -> String {
    let digest = Digest::from_bytes(Sha256::digest(location.identity()).into());
    let text = location.to_string();
    let last = text.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let readable: String = last.trim_end_matches(".git").chars().filter(plain).take(40).collect();
    format!("{readable}-{}", digest.short())
}

fn lock(path: &Path, cancel: &CancelToken) -> Result<File, BuildFault> {
    let failed = |source| io_fault(path, "locked", source);
    let file = File::create(path).map_err(failed)?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) if cancel.wait(LOCK_PAUSE) => return Err(BuildFault::Cancelled),
            Err(TryLockError::WouldBlock) => {}
        }
    }
}

/// Brings a mirror up to date. One that a crash or a bad disk has damaged is cloned again: it holds nothing of its own.
fn fetch_or_clone_anew(
    folder: &Path,
    location: &RepositoryLocation,
    place: &Workplace<'_>,
) -> Result<(), BuildFault> {
    let doubt = folder.join(DOUBT);
    if !doubt.exists() {
        match fetch(folder, location, place) {
            Err(BuildFault::Fetch { repository, reason }) if is_sound(folder, place)? => {
                return Err(BuildFault::Fetch { repository, reason });
            }
            Err(BuildFault::Fetch { .. }) => {}
            other => return other,
        }
    } else if is_sound(folder, place)? {
        fs::remove_file(&doubt).map_err(|source| io_fault(&doubt, "removed", source))?;
        return fetch(folder, location, place);
    }
    place.say("the mirror of the repository is damaged and is cloned again");
    clone(folder, location, place)
}

/// Asks git whether every branch and tag of a mirror leads to objects that are there.
fn is_sound(folder: &Path, place: &Workplace<'_>) -> Result<bool, BuildFault> {
    let words = ["fsck", "--connectivity-only", "--no-dangling", "--no-progress"].map(OsStr::new);
    match run_git(place, folder, folder, None, &words) {
        Ok(()) => Ok(true),
        Err(Unfinished::Because(_)) => Ok(false),
        Err(Unfinished::Fault(fault)) => Err(fault),
    }
}

impl Mirror {
    /// Notes that git found something missing or unreadable in it, so that the next build looks before it fetches.
    pub(crate) fn doubt(&self) {
        let path = self.folder.join(DOUBT);
        // A disk that does not even take the note has a fault of its own, which the next fetch reports.
        let _ = fs::write(path, "");
    }
}

/// Removes what a git that was killed in the middle of a fetch leaves: its locks, and objects that were not finished.
fn remove_rests(folder: &Path) {
    remove_stale_locks(folder);
    let objects = folder.join("objects");
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    for place in [objects.clone(), objects.join("pack")].iter().flat_map(|folder| entries(folder)) {
        let name = place.file_name().to_string_lossy().into_owned();
        if name.starts_with("tmp_") {
            tree::remove(&place.path()).ok();
        } else if name.len() == 2 {
            let unfinished = entries(&place.path())
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("tmp_obj_"));
            unfinished.for_each(|entry| drop(fs::remove_file(entry.path())));
        }
    }
}

/// Removes the locks of a git that was killed in the middle of a fetch.
fn remove_stale_locks(folder: &Path) {
    let mut folders = vec![folder.to_owned(), folder.join("refs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension() == Some(OsStr::new("lock")) {
                fs::remove_file(&path).ok();
            } else if path.is_dir() && folder.components().any(|part| part.as_os_str() == "refs") {
                folders.push(path);
            }
        }
    }
}

fn fetch(folder: &Path, location: &RepositoryLocation, place: &Workplace<'_>) -> Result<(), BuildFault> {
    // Whatever has become of the mirror's own settings: the address and what is fetched are named here.
    let options = ["fetch", "--prune", "--no-progress", "--quiet", "--update-shallow"].map(OsStr::new);
    // The mirror of a shallow clone grows with it.
    let deeper = folder.join("shallow").exists().then_some(OsStr::new("--unshallow"));
    let what = [OsStr::new("--"), location.as_argument(), OsStr::new("+refs/*:refs/*")];
    let words: Vec<_> = options.into_iter().chain(deeper).chain(what).collect();
    run_git(place, folder, folder, Some(location), &words).map_err(|reason| fetch_fault(location, reason))
}

fn clone(folder: &Path, location: &RepositoryLocation, place: &Workplace<'_>) -> Result<(), BuildFault> {
    made_beside(folder, |partial| {
        // Without links, so that a mirror shares no file with a repository of this machine.
        let options =
            ["clone", "--mirror", "--no-hardlinks", "--no-progress", "--quiet", "--"].map(OsStr::new);
        let words = [&options[..], &[location.as_argument(), OsStr::new(".")]].concat();
        run_git(place, partial, partial, Some(location), &words)
            .map_err(|reason| fetch_fault(location, reason))
    })
}

/// Makes a mirror beside its final name, so that it is whole or not there. A damaged one gives way when there is a whole one.
fn made_beside(folder: &Path, make: impl FnOnce(&Path) -> Result<(), BuildFault>) -> Result<(), BuildFault> {
    let partial = folder.with_added_extension("partial");
    tree::remove(&partial).map_err(|source| io_fault(&partial, "removed", source))?;
    fs::create_dir_all(&partial).map_err(|source| io_fault(&partial, "created", source))?;
    let moved = make(&partial).and_then(|()| {
        tree::remove(folder)
            .and_then(|()| fs::rename(&partial, folder))
            .map_err(|source| io_fault(folder, "created", source))
    });
    if moved.is_err() {
        tree::remove(&partial).ok();
    }
    moved
}

fn fetch_fault(location: &RepositoryLocation, problem: Unfinished) -> BuildFault {
    match problem {
        Unfinished::Fault(fault) => fault,
        Unfinished::Because(reason) => BuildFault::Fetch { repository: location.to_string(), reason },
    }
}

/// Why a guarded git did not finish.
pub(crate) enum Unfinished {
    Fault(BuildFault),
    Because(String),
}

/// Runs git under the guard, with its words in the log; `disk` is what it fills, `location` the repository elsewhere that it
/// talks to.
pub(crate) fn run_git(
    place: &Workplace<'_>,
    folder: &Path,
    disk: &Path,
    location: Option<&RepositoryLocation>,
    words: &[&OsStr],
) -> Result<(), Unfinished> {
    run_git_allowing(git::PROTOCOLS, place, folder, disk, location, words)
}

/// Runs git like [`run_git`]; only what `protocols` names is fetched.
pub(crate) fn run_git_allowing(
    protocols: &str,
    place: &Workplace<'_>,
    folder: &Path,
    disk: &Path,
    location: Option<&RepositoryLocation>,
    words: &[&OsStr],
) -> Result<(), Unfinished> {
    let utf8 = |word: std::ffi::OsString| {
        word.into_string().map_err(|word| Unfinished::Because(format!("{} is not UTF-8", word.display())))
    };
    let arguments: Result<Vec<String>, Unfinished> =
        git::arguments(folder, words).into_iter().map(utf8).collect();
    let mut env = git::environment();
    env.extend(location.map(git::credential).unwrap_or_default());
    env.insert("GIT_ALLOW_PROTOCOL".into(), protocols.to_owned());
    env.insert(crate::guard::MARK.into(), place.mark().to_owned());
    let bounds = CommandBounds { time_ms: FETCH_TIME_MS, log_bytes: OWN_LOG_BYTES, disk_bytes: MIRROR_BYTES };
    let command = GuardedCommand {
        command: std::iter::once("git".to_owned()).chain(arguments?).collect(),
        folder: folder.to_owned(),
        env,
        secrets: location.map(RepositoryLocation::secrets).unwrap_or_default(),
        output: None,
        disk: Some(disk.to_owned()),
        // It is ours, and writes mirrors, which no build may.
        confine: None,
        bounds,
    };
    let before = place.last_lines();
    match place.run(command).map_err(Unfinished::Fault)?.end {
        End::Exited { code: 0 } => Ok(()),
        end => Err(Unfinished::Because(complaint(&before, &place.last_lines(), &end, bounds))),
    }
}

/// What git said, or how it ended when it said nothing.
fn complaint(before: &[String], after: &[String], end: &End, bounds: CommandBounds) -> String {
    let new: Vec<&str> = after.iter().filter(|line| !before.contains(line)).map(String::as_str).collect();
    if new.is_empty() {
        return format!("git {}", describe_end(end, bounds));
    }
    new[new.len().saturating_sub(COMPLAINT_LINES)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_have_readable_and_different_names() {
        let name = |text: &str| mirror_name(&text.parse().unwrap());
        assert!(name("https://example.com/shop/orders.git").starts_with("orders-"));
        assert!(name("git@example.com:orders").starts_with("orders-"));
        assert_ne!(name("https://a.example.com/orders"), name("https://b.example.com/orders"));
        assert!(name("/").starts_with('-'));
    }

    #[test]
    fn stale_locks_are_removed_at_every_depth() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("refs/heads/feature");
        fs::create_dir_all(&deep).unwrap();
        let locks = [root.path().join("packed-refs.lock"), deep.join("login.lock")];
        let kept = deep.join("login");
        locks.iter().chain([&kept]).for_each(|file| fs::write(file, "").unwrap());
        remove_stale_locks(root.path());
        assert!(kept.exists() && !locks.iter().any(|lock| lock.exists()));
    }
}

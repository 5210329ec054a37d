//! A bare mirror of each repository, fetched once and then brought up to date; everything else is asked of the mirror.
//!
//! Invariant: only the holder of a mirror's lock changes it. So a lock of git's own that is found then is stale. Who has a
//! mirror shares the lock of its folder, so that it is not removed meanwhile.

pub mod collect;

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::Digest;
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

    /// Reads a file at a commit; `None` when there is none.
    pub(crate) fn file(&self, commit: &CommitId, path: &str) -> Result<Option<Vec<u8>>, git::GitError> {
        let name = format!("{commit}:{path}");
        match self.git().try_ask(&["cat-file", "-e", &name])? {
            git::Answer::No { .. } => Ok(None),
            git::Answer::Yes(_) => self.git().ask(&["cat-file", "blob", &name]).map(Some),
        }
    }
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
    if folder.join("HEAD").exists() {
        remove_stale_locks(&folder);
        fetch(&folder, location, place)?;
    } else {
        clone(&folder, location, place)?;
    }
    let in_use = Arc::new(share(&folder)?);
    Ok(Mirror { folder, location: location.clone(), cancel: place.cancel.clone(), _in_use: in_use })
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
    let argument = location.as_argument();
    let digest = Digest::from_bytes(Sha256::digest(argument.as_encoded_bytes()).into());
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
    let words = ["fetch", "--prune", "--no-progress", "--quiet", "origin"].map(OsStr::new);
    run_git(place, folder, folder, location.password(), &words)
        .map_err(|reason| fetch_fault(location, reason))
}

/// Clones beside the final name, so that a mirror is whole or not there.
fn clone(folder: &Path, location: &RepositoryLocation, place: &Workplace<'_>) -> Result<(), BuildFault> {
    let partial = folder.with_added_extension("partial");
    fs::remove_dir_all(&partial).ok();
    fs::create_dir_all(&partial).map_err(|source| io_fault(&partial, "created", source))?;
    let options = ["clone", "--mirror", "--no-progress", "--quiet", "--"].map(OsStr::new);
    let words = [&options[..], &[location.as_argument(), OsStr::new(".")]].concat();
    let cloned = run_git(place, &partial, &partial, location.password(), &words)
        .map_err(|reason| fetch_fault(location, reason));
    let moved = cloned
        .and_then(|()| fs::rename(&partial, folder).map_err(|source| io_fault(folder, "created", source)));
    if moved.is_err() {
        fs::remove_dir_all(&partial).ok();
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

/// Runs git under the guard, with its words in the log; `disk` is what it fills, `secret` what the log must not show.
pub(crate) fn run_git(
    place: &Workplace<'_>,
    folder: &Path,
    disk: &Path,
    secret: Option<&str>,
    words: &[&OsStr],
) -> Result<(), Unfinished> {
    let utf8 = |word: std::ffi::OsString| {
        word.into_string().map_err(|word| Unfinished::Because(format!("{} is not UTF-8", word.display())))
    };
    let arguments: Result<Vec<String>, Unfinished> =
        git::arguments(folder, words).into_iter().map(utf8).collect();
    let mut env = git::environment();
    env.insert(crate::guard::MARK.into(), place.mark().to_owned());
    let bounds = CommandBounds { time_ms: FETCH_TIME_MS, log_bytes: OWN_LOG_BYTES, disk_bytes: MIRROR_BYTES };
    let command = GuardedCommand {
        command: std::iter::once("git".to_owned()).chain(arguments?).collect(),
        folder: folder.to_owned(),
        env,
        secrets: secret.map(str::to_owned).into_iter().collect(),
        output: None,
        disk: Some(disk.to_owned()),
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

//! Folders that a build finds as an earlier one left them: what was installed or compiled before, by the files that lock it.
//!
//! ```text
//! CACHES/SERVICE/lock          held while a cache is copied out or put in
//! CACHES/SERVICE/KEY/tree      the folder as it was when a build had ended well
//! CACHES/SERVICE/KEY/bytes     how large it is
//! ```
//!
//! A cache only saves time: whatever is wrong with one, the build goes on without it. It is taken as it is under exactly the same lock
//! files, tools and path, and from the branch of the build or the main one alone, so a branch that anybody may push to cannot reach what is
//! released. Invariant: no link is followed, neither in a cache nor in a checkout.

use std::cell::RefCell;
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lockstep_domain::Digest;
use lockstep_files::tree;
use lockstep_manifest::{CacheFolder, RelativePath};
use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps, flock, utimensat};
use sha2::{Digest as _, Sha256};

use crate::cancel::CancelToken;
use crate::check::Checked;
use crate::git::{Answer, Git};
use crate::mirror::Mirror;
use crate::package::counted;
use crate::workplace::Workplace;

/// Most caches of a service: one a folder, a branch and a state of its lock files.
const MOST: usize = 12;
/// Most bytes of all caches of a service.
const MOST_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Most bytes of a lock file.
const MOST_OF_LOCK_FILE: u64 = 64 * 1024 * 1024;
/// How deep lock files are looked for.
const DEPTH: usize = 4;
/// Files that say exactly what is installed, or that everything which is installed follows from.
const LOCK_FILES: [&str; 24] = [
    "Cargo.lock",
    "Gemfile.lock",
    "Pipfile.lock",
    "build.gradle",
    "build.gradle.kts",
    "bun.lock",
    "bun.lockb",
    "composer.lock",
    "deno.lock",
    "go.sum",
    "gradle.lockfile",
    "libs.versions.toml",
    "mix.lock",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "packages.lock.json",
    "pdm.lock",
    "pnpm-lock.yaml",
    "poetry.lock",
    "pom.xml",
    "pubspec.lock",
    "requirements.txt",
    "uv.lock",
    "yarn.lock",
];

/// The caches of one build.
pub(crate) struct Caches<'a> {
    place: &'a Workplace<'a>,
    checked: &'a Checked,
    /// The folder of the service in the checkout.
    folder: &'a Path,
    /// Where the caches of the service lie.
    root: PathBuf,
    /// Lock files and tools.
    inputs: Digest,
    /// The branch that everybody builds on.
    main: Option<String>,
    /// What was put into the checkout.
    used: RefCell<Vec<(RelativePath, PathBuf)>>,
}

impl<'a> Caches<'a> {
    /// Looks what the caches of a build go by; `None` where it has none. Nothing of the build has run yet.
    pub(crate) fn of(
        place: &'a Workplace<'a>,
        (checked, mirror): (&'a Checked, &Mirror),
        folder: &'a Path,
        caches: Option<&Path>,
    ) -> Option<Self> {
        let all = &checked.manifest.build.cache;
        for home in all.iter().filter(|it| matches!(it, CacheFolder::Home(_))) {
            place.say(&format!("cache {home}: the home folder stays as it is between builds"));
        }
        let root = caches.filter(|_| own(all).next().is_some())?.join(checked.manifest.name.as_str());
        let inputs = inputs(checked, folder, &place.source());
        let main = main_branch(mirror, place.cancel);
        Some(Self { place, checked, folder, root, inputs, main, used: RefCell::default() })
    }

    /// Puts into the checkout what was kept.
    pub(crate) fn restore(&self) {
        for path in own(&self.checked.manifest.build.cache) {
            let told = match self.restore_one(path) {
                Ok(Some(bytes)) => format!("as it was kept, {}", mib(bytes)),
                Ok(None) => "nothing was kept for these lock files and tools".to_owned(),
                Err(error) => format!("left out: {error}"),
            };
            self.place.say(&format!("cache {path}: {told}"));
        }
    }

    fn restore_one(&self, path: &RelativePath) -> io::Result<Option<u64>> {
        let to = self.folder.join(path.as_str());
        self.must_be_inside(&to)?;
        if fs::symlink_metadata(&to).is_ok() {
            return Err(io::Error::other("the repository has it"));
        }
        let _nobody_replaces_it = match self.lock(FlockOperation::LockShared) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            locked => locked?,
        };
        let branches = [self.checked.branch.as_deref(), self.main.as_deref()];
        let kept = branches.into_iter().flatten().map(|branch| self.entry(branch, path));
        let Some(entry) = kept.into_iter().find(|entry| entry.join("tree").is_dir()) else { return Ok(None) };
        fs::create_dir_all(to.parent().unwrap_or(self.folder))?;
        let copied = copy(&entry.join("tree"), &to, self.place.cancel);
        if copied.is_err() {
            tree::remove(&to).ok();
        }
        touch(&entry);
        self.used.borrow_mut().push((path.clone(), entry));
        copied.map(Some)
    }

    /// Removes what was put into a checkout in which a step failed: it may be what made it fail, and only a good build would replace it.
    pub(crate) fn doubt(&self) {
        for (path, entry) in self.used.take() {
            let removed = self.lock(FlockOperation::LockExclusive).and_then(|_alone| tree::remove(&entry));
            let told = match removed {
                Ok(()) => "removed, because a step failed with it; the next build begins without".to_owned(),
                Err(error) => format!("a step failed with it, and it cannot be removed: {error}"),
            };
            self.place.say(&format!("cache {path}: {told}"));
        }
    }

    /// Keeps what a build leaves that went well.
    pub(crate) fn keep(&self) {
        let Some(branch) = &self.checked.branch else { return };
        for path in own(&self.checked.manifest.build.cache) {
            if let Err(error) = self.keep_one(branch, path) {
                self.place.say(&format!("cache {path}: not kept: {error}"));
            }
        }
        if let Err(error) = self.lock(FlockOperation::LockExclusive).and_then(|_alone| prune(&self.root)) {
            self.place.say(&format!("caches: {error}"));
        }
    }

    fn keep_one(&self, branch: &str, path: &RelativePath) -> io::Result<()> {
        let from = self.folder.join(path.as_str());
        self.must_be_inside(&from)?;
        match fs::symlink_metadata(&from) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(io::Error::other("it is no folder")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        fs::create_dir_all(&self.root)?;
        let _alone = self.lock(FlockOperation::LockExclusive)?;
        let (entry, bytes) = (self.entry(branch, path), measure(&from)?);
        if bytes > MOST_BYTES {
            return Err(io::Error::other(format!(
                "it has {}, and at most {} are kept",
                mib(bytes),
                mib(MOST_BYTES)
            )));
        }
        tree::remove(&entry)?;
        fs::create_dir_all(&entry)?;
        fs::write(entry.join("bytes"), bytes.to_string())?;
        // The checkout is removed in any case, so it need not be copied. Only a whole tree has the name by which it is found.
        match fs::rename(&from, entry.join("tree")) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                copy(&from, &entry.join("whole"), self.place.cancel)?;
                fs::rename(entry.join("whole"), entry.join("tree"))
            }
            renamed => renamed,
        }
    }

    fn entry(&self, branch: &str, path: &RelativePath) -> PathBuf {
        let mut hasher = Sha256::new();
        for part in ["lockstep cache 1", branch, path.as_str()] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(self.inputs.as_bytes());
        self.root.join(Digest::from_bytes(hasher.finalize().into()).to_string())
    }

    fn lock(&self, operation: FlockOperation) -> io::Result<File> {
        let path = self.root.join("lock");
        let is_shared = matches!(operation, FlockOperation::LockShared);
        let file =
            File::options().read(true).write(!is_shared).create(!is_shared).truncate(false).open(path)?;
        flock(&file, operation)?;
        Ok(file)
    }

    /// The way to a folder may have a link in it, of the repository or of a step.
    fn must_be_inside(&self, path: &Path) -> io::Result<()> {
        let source = self.place.source().canonicalize()?;
        let mut above = path.ancestors().skip(1);
        let nearest = above.find(|it| fs::symlink_metadata(it).is_ok()).unwrap_or(self.folder);
        if nearest.canonicalize()?.starts_with(source) {
            return Ok(());
        }
        Err(io::Error::other("it leads out of the checkout"))
    }
}

fn own(all: &[CacheFolder]) -> impl Iterator<Item = &RelativePath> {
    all.iter().filter_map(|one| match one {
        CacheFolder::Own(path) => Some(path),
        CacheFolder::Home(_) => None,
    })
}

fn main_branch(mirror: &Mirror, cancel: &CancelToken) -> Option<String> {
    let git = Git { folder: mirror.folder(), cancel };
    let Ok(Answer::Yes(name)) = git.try_ask(&["symbolic-ref", "--short", "HEAD"]) else { return None };
    String::from_utf8(name).ok().map(|name| name.trim().to_owned())
}

/// What everything that is cached depends on: the lock files of what the service is built from, and the tools.
fn inputs(checked: &Checked, folder: &Path, source: &Path) -> Digest {
    let mut hasher = Sha256::new();
    let mut add = |part: &[u8]| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    for (name, version) in &checked.tools {
        add(name.as_bytes());
        add(version.as_bytes());
    }
    let mut found = Vec::new();
    lock_files(folder, DEPTH, &mut found);
    for part in &checked.manifest.build.sources {
        let part = source.join(part.as_str());
        found.extend(is_lock_file(&part).then(|| part.clone()));
        lock_files(&part, DEPTH, &mut found);
    }
    found.sort();
    found.dedup();
    for path in found {
        let below = path.strip_prefix(source).unwrap_or(&path);
        add(below.as_os_str().as_encoded_bytes());
        add(&fs::read(&path).unwrap_or_default());
    }
    Digest::from_bytes(hasher.finalize().into())
}

fn lock_files(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (Ok(kind), name) = (entry.file_type(), entry.file_name()) else { continue };
        if kind.is_dir() && depth > 1 && name != ".git" {
            lock_files(&entry.path(), depth - 1, found);
        } else if is_lock_file(&entry.path()) {
            found.push(entry.path());
        }
    }
}

/// Tells whether it is a lock file, or a link to a file that goes by such a name.
fn is_lock_file(path: &Path) -> bool {
    let is_known = path.file_name().is_some_and(|name| LOCK_FILES.iter().any(|known| name == *known));
    is_known && fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() <= MOST_OF_LOCK_FILE)
}

/// Copies a folder with modes and times; returns how many bytes its files have. What is neither file, folder nor link is left out.
fn copy(from: &Path, to: &Path, cancel: &CancelToken) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    let mut made = Vec::new();
    while let Some((from, to)) = folders.pop() {
        fs::create_dir(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (found, to) = (entry.metadata()?, to.join(entry.file_name()));
            if cancel.is_cancelled() {
                return Err(io::Error::other("the build was cancelled"));
            } else if found.is_symlink() {
                symlink(fs::read_link(entry.path())?, &to)?;
            } else if found.is_dir() {
                folders.push((entry.path(), to));
            } else if found.is_file() {
                bytes += fs::copy(entry.path(), &to)?;
                let times = FileTimes::new().set_modified(found.modified()?);
                File::open(&to)?.set_times(times)?;
            }
        }
        made.push((from, to));
    }
    // The deepest first, because a folder may not let anything be written to it, and is changed by what is made in it.
    for (from, to) in made.iter().rev() {
        let found = fs::metadata(from)?;
        File::open(to)?.set_times(FileTimes::new().set_modified(found.modified()?))?;
        fs::set_permissions(to, fs::Permissions::from_mode(found.permissions().mode()))?;
    }
    Ok(bytes)
}

fn measure(folder: &Path) -> io::Result<u64> {
    let (mut bytes, mut folders) = (0, vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let found = entry.metadata()?;
            if found.is_dir() { folders.push(entry.path()) } else { bytes += found.len() }
        }
    }
    Ok(bytes)
}

/// Notes that a cache was used.
fn touch(entry: &Path) {
    let now = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    utimensat(CWD, entry, &times, AtFlags::empty()).ok();
}

/// Removes what was used least recently, until what is left is within the bounds, and what a build that was killed left half made.
fn prune(root: &Path) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        if !entry.path().join("tree").is_dir() {
            tree::remove(&entry.path())?;
            continue;
        }
        let bytes = fs::read_to_string(entry.path().join("bytes")).ok().and_then(|text| text.parse().ok());
        let used = entry.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        entries.push((used, bytes.unwrap_or(MOST_BYTES), entry.path()));
    }
    entries.sort();
    let (mut sum, mut kept) = (0_u64, 0);
    for (_, bytes, path) in entries.iter().rev() {
        sum = sum.saturating_add(*bytes);
        kept += 1;
        if kept > MOST || sum > MOST_BYTES {
            tree::remove(path)?;
        }
    }
    Ok(())
}

fn mib(bytes: u64) -> String {
    match bytes / (1024 * 1024) {
        0 => counted(usize::try_from(bytes).unwrap_or(usize::MAX), "byte"),
        mib => format!("{mib} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_copy_has_the_same_modes_times_and_links_and_follows_none() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        write(&from.join("a/tool"), "run");
        fs::set_permissions(from.join("a/tool"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("/etc", from.join("out")).unwrap();
        symlink("a/tool", from.join("in")).unwrap();
        rustix::fs::mknodat(CWD, from.join("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        let old = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        File::open(from.join("a/tool")).unwrap().set_times(FileTimes::new().set_modified(old)).unwrap();
        fs::set_permissions(from.join("a"), fs::Permissions::from_mode(0o555)).unwrap();
        assert_eq!(copy(&from, &to, &CancelToken::new()).unwrap(), 3);
        let found = fs::metadata(to.join("a/tool")).unwrap();
        assert_eq!((found.permissions().mode() & 0o777, found.modified().unwrap()), (0o755, old));
        assert_eq!(fs::metadata(to.join("a")).unwrap().permissions().mode() & 0o777, 0o555);
        assert_eq!(fs::read_link(to.join("out")).unwrap(), Path::new("/etc"));
        assert!(fs::symlink_metadata(to.join("pipe")).is_err(), "a pipe is no file");
        assert_eq!(measure(&from.join("a")).unwrap(), 3);
    }

    #[test]
    fn the_least_recently_used_go_first_and_what_is_half_made_at_once() {
        let root = tempfile::tempdir().unwrap();
        let entry = |number: u64, bytes: u64| {
            let entry = root.path().join(format!("{number:02}"));
            fs::create_dir_all(entry.join("tree")).unwrap();
            fs::write(entry.join("bytes"), bytes.to_string()).unwrap();
            let used = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000 + number);
            File::open(&entry).unwrap().set_times(FileTimes::new().set_modified(used)).unwrap();
        };
        let left = || {
            let mut names: Vec<_> = fs::read_dir(root.path())
                .unwrap()
                .map(|it| it.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        (0..MOST as u64 + 2).for_each(|number| entry(number, 1));
        fs::create_dir(root.path().join("half")).unwrap();
        prune(root.path()).unwrap();
        assert_eq!((left().len(), left()[0].as_str()), (MOST, "02"));
        entry(90, MOST_BYTES - 1);
        prune(root.path()).unwrap();
        assert_eq!(left(), ["13", "90"], "the bytes of all are bounded");
    }

    #[test]
    fn lock_files_are_found_in_the_folders_of_a_service() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["Cargo.lock", "web/package-lock.json", "web/a/b/c/d/yarn.lock", ".git/go.sum", "other.txt"]
        {
            write(&folder.path().join(name), name);
        }
        let mut found = Vec::new();
        lock_files(folder.path(), DEPTH, &mut found);
        found.sort();
        assert_eq!(found, ["Cargo.lock", "web/package-lock.json"].map(|name| folder.path().join(name)));
    }
}

//! Unpacks an artifact (`tar.zst`) into a folder named by its digest.
//!
//! An artifact may come from anybody, so nothing in it is trusted: neither names, links, sizes nor the compression.
//! Invariant: a folder `releases/DIGEST` is complete and holds nothing that leads out of it; when an artifact is refused,
//! nothing of it is left. Whether the bytes have this digest is the caller's to check.

mod archive;
mod metered;
mod tree;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use thiserror::Error;

use self::archive::{Archive, Entry, Kind};
use self::metered::{Counted, Metered};
use self::tree::{Node, Tree, inner_path};

/// The file that every artifact begins with.
pub const PACKAGE_FILE: &str = "lockstep-package.json";
/// Start of the name of a folder into which is being unpacked. A digest cannot begin with a dot.
const NEW_PREFIX: &str = ".new-";
/// Largest window that a compressed stream may ask for, as a power of two: 128 MiB, what `zstd` itself accepts.
const MAX_WINDOW_LOG: u32 = 27;

/// Most files and folders that are made durable one by one. For more it is faster to write out the whole file system,
/// which has to wait for what other programs have written too.
const SYNCED_ONE_BY_ONE: usize = 64;

/// How large an artifact may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Most bytes of all files and headers together.
    pub bytes: u64,
    /// Most files, folders and links together.
    pub entries: usize,
    /// Most bytes that one compressed byte may become, on average. Programs and texts stay below 20.
    pub ratio: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self { bytes: 4 * 1024 * 1024 * 1024, entries: 200_000, ratio: 250 }
    }
}

/// Why an artifact was not unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// It cannot be read, is not compressed as it should be, or ends too early.
    #[error("the artifact cannot be read: it is damaged or not a tar.zst file")]
    Read {
        /// What went wrong.
        source: io::Error,
    },
    /// The files cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not begin with [`PACKAGE_FILE`].
    #[error(
        "the artifact begins with `{found}` instead of `{PACKAGE_FILE}`: it was not made by `lockstep release`"
    )]
    NotAPackage {
        /// What it begins with.
        found: String,
    },
    /// It holds something that an artifact must not hold.
    #[error("the artifact holds `{path}`, {problem}")]
    Refused {
        /// The path as it stands in the artifact.
        path: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// It has more entries than allowed.
    #[error("the artifact has more than {limit} files")]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
    /// It is larger than allowed.
    #[error("the artifact has more than {limit} bytes when unpacked")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// It grows more than allowed.
    #[error("the artifact grows to more than {limit} times its size when unpacked")]
    Bomb {
        /// The limit.
        limit: u64,
    },
}

impl UnpackError {
    /// Takes an error of reading apart: a limit that was reached while reading is reported as such.
    fn reading(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(source) => Self::Read { source },
        }
    }

    fn refused(path: &Path, problem: Problem) -> Self {
        Self::Refused { path: path.display().to_string(), problem }
    }
}

/// What is wrong with an entry of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Problem {
    /// It begins with `/`.
    #[error("an absolute path")]
    Absolute,
    /// It has a part `..`.
    #[error("a path with `..`")]
    Parent,
    /// It is empty or has a zero byte.
    #[error("which is not a path")]
    NotAPath,
    /// It is longer than a path may be.
    #[error("a path that is too long")]
    TooLong,
    /// It was there before.
    #[error("which it held before")]
    Duplicate,
    /// One of its folders is a file or a link.
    #[error("which lies below a file or a link")]
    BelowNonFolder,
    /// It is a link to something outside.
    #[error("a link that leads out of it")]
    LeadsOut,
    /// It is a link that never arrives.
    #[error("a link that leads in a circle")]
    Circle,
    /// It is a hard link to something that is not a file before it.
    #[error("a hard link to what is not a file before it")]
    HardLinkTarget,
    /// It is a device, a pipe, or another kind of file that no program needs.
    #[error("which is neither a file, a folder nor a link")]
    Special,
}

/// Unpacks an artifact into a folder below `releases`, which must not be there. What has to be true before anybody can
/// see the folder is done by `before`, which is given where it lies until then.
///
/// # Errors
///
/// When the artifact is refused or cannot be written; nothing of it is left then.
pub(crate) fn unpack_to(
    artifact: impl Read,
    target: &Path,
    releases: &Path,
    limits: &UnpackLimits,
    before: impl FnOnce(&Path) -> Result<(), UnpackError>,
) -> Result<(), UnpackError> {
    let writing = |path: &Path| {
        let path = path.to_owned();
        move |source| UnpackError::Write { path, source }
    };
    let new = tempfile::Builder::new().prefix(NEW_PREFIX).tempdir_in(releases).map_err(writing(releases))?;
    let tree = unpack_into(artifact, new.path(), limits)?;
    make_durable(&tree, new.path()).map_err(writing(new.path()))?;
    before(new.path())?;
    publish(new.path(), target, releases).map_err(writing(target))
}

/// Removes what an interrupted [`unpack`] has left.
///
/// # Errors
///
/// When it cannot be removed.
pub(crate) fn remove_rests(releases: &Path) -> io::Result<()> {
    for entry in fs::read_dir(releases)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(NEW_PREFIX) {
            let is_folder = entry.file_type()?.is_dir();
            if is_folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }?;
        }
    }
    Ok(())
}

/// Removes an unpacked artifact: first its name, so that nothing half-removed has it.
///
/// # Errors
///
/// When it cannot be removed.
pub(crate) fn remove(release: &Path) -> io::Result<()> {
    let name = release.file_name().unwrap_or_default().to_string_lossy();
    let rest = release.with_file_name(format!("{NEW_PREFIX}{name}"));
    match fs::rename(release, &rest) {
        Ok(()) => fs::remove_dir_all(rest),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Waits until what was unpacked is on the disk.
fn make_durable(tree: &Tree, folder: &Path) -> io::Result<()> {
    if tree.len() > SYNCED_ONE_BY_ONE {
        return rustix::fs::syncfs(File::open(folder)?).map_err(io::Error::from);
    }
    for path in tree.files_and_folders() {
        File::open(folder.join(path))?.sync_all()?;
    }
    File::open(folder)?.sync_all()
}

/// Gives what was unpacked its name.
fn publish(new: &Path, target: &Path, releases: &Path) -> io::Result<()> {
    match fs::rename(new, target) {
        Ok(()) => {}
        // Somebody else was faster, with the same bytes.
        Err(_) if target.is_dir() => return Ok(()),
        Err(error) => return Err(error),
    }
    File::open(releases)?.sync_all()
}

fn unpack_into(artifact: impl Read, folder: &Path, limits: &UnpackLimits) -> Result<Tree, UnpackError> {
    let (input, count) = Counted::new(artifact);
    let read = |source| UnpackError::Read { source };
    let mut decoder = zstd::Decoder::new(input).map_err(read)?;
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(read)?;
    let mut archive = Archive::new(Metered::new(decoder, count, limits));
    let mut tree = Tree::new(limits.entries);
    check_first(archive.next()?, &mut archive, &mut tree, folder)?;
    while let Some(entry) = archive.next()? {
        unpack_entry(&entry, &mut archive, &mut tree, folder)?;
    }
    make_links(&tree, folder)?;
    Ok(tree)
}

fn check_first(
    first: Option<Entry>,
    archive: &mut Archive<impl Read>,
    tree: &mut Tree,
    folder: &Path,
) -> Result<(), UnpackError> {
    match first {
        Some(entry) if entry.path == Path::new(PACKAGE_FILE) && matches!(entry.kind, Kind::File { .. }) => {
            unpack_entry(&entry, archive, tree, folder)
        }
        Some(entry) => Err(UnpackError::NotAPackage { found: entry.path.display().to_string() }),
        None => Err(UnpackError::NotAPackage { found: "nothing".to_owned() }),
    }
}

fn unpack_entry(
    entry: &Entry,
    archive: &mut Archive<impl Read>,
    tree: &mut Tree,
    folder: &Path,
) -> Result<(), UnpackError> {
    let refused = |problem| UnpackError::refused(&entry.path, problem);
    let Some(path) = inner_path(&entry.path).map_err(refused)? else {
        // `./`, which many programs write, is the folder itself.
        return if entry.kind == Kind::Folder { Ok(()) } else { Err(refused(Problem::NotAPath)) };
    };
    let node = match &entry.kind {
        Kind::Folder => Node::Folder,
        Kind::File { .. } => Node::File,
        Kind::Symlink(target) => Node::Link(target.clone()),
        Kind::HardLink(target) => tree.hard_link(target).map_err(refused)?,
        Kind::Special => return Err(refused(Problem::Special)),
    };
    tree.add(&path, node)?;
    write_entry(&entry.kind, archive, &folder.join(&path), folder)
}

/// Writes one entry. All folders above it are real ones: links are made when everything else is there.
fn write_entry(
    kind: &Kind,
    archive: &mut Archive<impl Read>,
    path: &Path,
    folder: &Path,
) -> Result<(), UnpackError> {
    let writing = |source| UnpackError::Write { path: path.to_owned(), source };
    match kind {
        Kind::Folder => fs::create_dir_all(path).map_err(writing),
        Kind::File { executable } => {
            make_parent(path).map_err(writing)?;
            // Several instances share the file, so nobody may change it.
            let mode = if *executable { 0o555 } else { 0o444 };
            let file =
                OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(writing)?;
            archive.copy_to(file, path)
        }
        Kind::HardLink(target) => {
            make_parent(path).map_err(writing)?;
            let target = inner_path(target).ok().flatten().unwrap_or_default();
            fs::hard_link(folder.join(target), path).map_err(writing)
        }
        Kind::Symlink(_) | Kind::Special => Ok(()),
    }
}

fn make_links(tree: &Tree, folder: &Path) -> Result<(), UnpackError> {
    for (path, _) in tree.links() {
        tree.check_link(path).map_err(|problem| UnpackError::refused(path, problem))?;
    }
    for (path, target) in tree.links() {
        let path = folder.join(path);
        let made = make_parent(&path).and_then(|()| symlink(target, &path));
        made.map_err(|source| UnpackError::Write { path, source })?;
    }
    Ok(())
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

#[cfg(test)]
mod tests;

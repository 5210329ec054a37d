//! Unpacks a package that holds the root of an image. Its links lead anywhere: they are followed only where that root is the root.
//!
//! Invariant: nothing is written through a link, because links are made when everything else is there. Whoever reads what was
//! unpacked must not follow them on the host.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::error::{Problem, UnpackError};
use crate::stream::{Archive, Entry, Kind};
use crate::tree::{Node, Tree, inner_path};
use crate::{make_parent, put_links};

/// The file that a package of an image begins with.
pub const FIRST_OF_IMAGE: &str = "lockstep-image.json";
/// The folder in which the root of the image lies.
pub const ROOT: &str = "root";
/// What others than the owner need for writing. Only the one user that the image names gets it.
const WRITABLE: u32 = 0o002;

/// Unpacks what follows the first file.
pub(crate) fn unpack(
    archive: &mut Archive<impl Read>,
    tree: &mut Tree,
    folder: &Path,
) -> Result<(), UnpackError> {
    fs::create_dir_all(folder.join(ROOT)).map_err(|source| writing(folder, source))?;
    while let Some(entry) = archive.next()? {
        unpack_entry(&entry, archive, tree, folder)?;
    }
    put_links(tree, folder)
}

fn writing(path: &Path, source: io::Error) -> UnpackError {
    UnpackError::Write { path: path.to_owned(), source }
}

fn unpack_entry(
    entry: &Entry,
    archive: &mut Archive<impl Read>,
    tree: &mut Tree,
    folder: &Path,
) -> Result<(), UnpackError> {
    let refused = |problem| UnpackError::refused(&entry.path, problem);
    let path = inner_path(&entry.path).map_err(refused)?.ok_or_else(|| refused(Problem::NotAPath))?;
    if !path.starts_with(ROOT) || path == Path::new(ROOT) {
        return Err(refused(Problem::NotAPath));
    }
    let node = match &entry.kind {
        Kind::Folder => Node::Folder,
        Kind::File { .. } => Node::File,
        Kind::Symlink(target) => Node::Link(target.clone()),
        Kind::HardLink(_) | Kind::Special | Kind::Unknown => return Err(refused(Problem::Special)),
    };
    tree.add(&path, node)?;
    let path = folder.join(path);
    match &entry.kind {
        Kind::Folder => make_folder(&path, entry.facts.mode).map_err(|source| writing(&path, source)),
        Kind::File { executable } => write_file(entry, *executable, archive, &path),
        _ => Ok(()),
    }
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let mode = if mode & WRITABLE == 0 { 0o755 } else { 0o777 };
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn write_file(
    entry: &Entry,
    executable: bool,
    archive: &mut Archive<impl Read>,
    path: &Path,
) -> Result<(), UnpackError> {
    let failed = |source| writing(path, source);
    make_parent(path).map_err(failed)?;
    let mut mode = if executable { 0o555 } else { 0o444 };
    if entry.facts.mode & WRITABLE != 0 {
        mode |= 0o222;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    archive.copy_to(file.try_clone().map_err(failed)?, path)?;
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(entry.facts.changed)).map_err(failed)
}

//! Unpacks an artifact (`tar.zst`) into a folder named by its digest.
//!
//! An artifact may come from anybody, so nothing in it is trusted: neither names, links, sizes nor the compression.
//! Invariant: a folder `releases/DIGEST` is complete and holds nothing that leads out of it; when an artifact is refused,
//! nothing of it is left. Whether the bytes have this digest is the caller's to check.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use lockstep_archive::{Begins, Compression, Tree, UnpackError, UnpackLimits};
use lockstep_files::tree;

/// The file that every artifact begins with.
pub const PACKAGE_FILE: &str = "lockstep-package.json";
/// Start of the name of a folder into which is being unpacked. A digest cannot begin with a dot.
const NEW_PREFIX: &str = ".new-";
/// Most files and folders that are made durable one by one. For more it is faster to write out the whole file system,
/// which has to wait for what other programs have written too.
const SYNCED_ONE_BY_ONE: usize = 64;

/// Unpacks an artifact, compressed or not, into a folder below `releases`, which must not be there. What has to be true before anybody can
/// see the folder is done by `before`, which is given where it lies until then.
///
/// # Errors
///
/// When the artifact is refused or cannot be written; nothing of it is left then.
pub(crate) fn unpack_to(
    (archive, compression): (impl Read, Compression),
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
    let begins = Begins::With(PACKAGE_FILE);
    let tree = lockstep_archive::unpack(archive, compression, begins, new.path(), limits)?;
    make_durable(&tree, new.path()).map_err(writing(new.path()))?;
    before(new.path())?;
    let published = publish(new.path(), target, releases).map_err(writing(target));
    // It is still there where somebody else was faster, and its folders may be read-only.
    let removed = tree::remove(new.path()).map_err(writing(new.path()));
    published.and(removed)
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
            tree::remove(&entry.path())?;
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
        Ok(()) => tree::remove(&rest),
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

#[cfg(test)]
mod tests;

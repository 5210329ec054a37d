//! Folders that are for one user alone: made so, set right when they are ours, refused when they cannot be.
//!
//! Invariant: when [`prepare`] returned, only the user of this process (and root) can list the folder, or open anything in it that is
//! closed itself (without root: anything at all), and
//! nobody else can put another folder in its place, as far as modes and owners of its parents say.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;
use thiserror::Error;

/// Bits of everybody but the owner.
const OTHERS: u32 = 0o077;
/// Such bits that let pass to what is in a folder, and show nothing: users of services go that way where the server is root.
const PASS: u32 = 0o011;
/// Everybody may write.
const WRITABLE_BY_ALL: u32 = 0o002;
/// In such a folder only owners rename and remove what is theirs.
const STICKY: u32 = 0o1000;

/// Why a folder is not used.
#[derive(Debug, Error)]
pub enum FolderFault {
    /// It belongs to somebody else, who can read and change all of it.
    #[error("`{}` belongs to user {owner}, and this is user {user}", path.display())]
    Owner {
        /// The folder, or the link to it.
        path: PathBuf,
        /// The owner's id.
        owner: u32,
        /// Our id.
        user: u32,
    },
    /// Everybody can put another folder in its place.
    #[error("everybody may rename and replace what is in `{}`", path.display())]
    OpenParent {
        /// The folder above.
        path: PathBuf,
    },
    /// It is no folder.
    #[error("`{}` is not a folder", path.display())]
    NoFolder {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be made or looked at.
    #[error("`{}` cannot be used", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl FolderFault {
    /// Says what to do next.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Owner { .. } => "run it as the owner, or give the folder to its user: chown -R USER DIR",
            Self::OpenParent { .. } => "take the right from everybody: chmod o-w DIR",
            Self::NoFolder { .. } | Self::Io { .. } => "name another folder with --data DIR",
        }
    }
}

/// What was done to a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prepared {
    /// It was there and closed to others.
    AsItWas,
    /// It was made.
    Made,
    /// Others could use it; not any more.
    Closed {
        /// The mode it had.
        before: u32,
    },
}

/// Makes a folder for this user alone, or makes sure that it is one.
///
/// # Errors
/// When it belongs to another user, or everybody could put another one in its place, or it cannot be made.
pub fn prepare(folder: &Path) -> Result<Prepared, FolderFault> {
    let there = fs::symlink_metadata(folder);
    let made = match there {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
            true
        }
        Err(error) => return Err(failed(folder)(error)),
        Ok(link) => {
            // Whoever owns a link says where it leads.
            check_owner(folder, &link)?;
            false
        }
    };
    let path = folder.canonicalize().map_err(failed(folder))?;
    let metadata = fs::metadata(&path).map_err(failed(&path))?;
    if !metadata.is_dir() {
        return Err(FolderFault::NoFolder { path });
    }
    check_owner(&path, &metadata)?;
    check_parents(&path)?;
    if folder.is_symlink() {
        folder.parent().map_or(Ok(()), |parent| check_parents(&absolute(parent)?.join("link")))?;
    }
    let before = metadata.mode() & 0o7777;
    let allowed = if geteuid().is_root() { PASS } else { 0 };
    if before & OTHERS & !allowed == 0 {
        return Ok(if made { Prepared::Made } else { Prepared::AsItWas });
    }
    fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(failed(&path))?;
    Ok(Prepared::Closed { before })
}

fn absolute(path: &Path) -> Result<PathBuf, FolderFault> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    path.canonicalize().map_err(failed(path))
}

fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), FolderFault> {
    let (owner, user) = (metadata.uid(), geteuid().as_raw());
    // What root owns, root could change anyway; a link of root's is a way to set up a machine.
    if owner == user || (metadata.is_symlink() && owner == 0) {
        return Ok(());
    }
    Err(FolderFault::Owner { path: path.to_owned(), owner, user })
}

fn check_parents(path: &Path) -> Result<(), FolderFault> {
    for parent in path.ancestors().skip(1) {
        let mode = fs::metadata(parent).map_err(failed(parent))?.mode();
        if mode & WRITABLE_BY_ALL != 0 && mode & STICKY == 0 {
            return Err(FolderFault::OpenParent { path: parent.to_owned() });
        }
    }
    Ok(())
}

fn failed(path: &Path) -> impl Fn(io::Error) -> FolderFault + '_ {
    move |source| FolderFault::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn open(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_is_made_or_set_right_for_its_owner_alone() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a/b");
        assert_eq!(prepare(&folder).unwrap(), Prepared::Made);
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(prepare(&folder).unwrap(), Prepared::AsItWas);
        for before in [0o755, 0o777, 0o750, 0o705, 0o2770] {
            open(&folder, before);
            assert_eq!(prepare(&folder).unwrap(), Prepared::Closed { before });
            assert_eq!(mode(&folder) & 0o777, 0o700);
        }
        let link = place.path().join("link");
        symlink(&folder, &link).unwrap();
        open(&folder, 0o755);
        assert_eq!(prepare(&link).unwrap(), Prepared::Closed { before: 0o755 });
        assert_eq!(mode(&folder), 0o700);
    }

    #[test]
    fn a_folder_that_everybody_could_replace_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let parent = place.path().join("parent");
        let folder = parent.join("data");
        prepare(&folder).unwrap();
        open(&parent, 0o777);
        assert!(matches!(prepare(&folder), Err(FolderFault::OpenParent { .. })));
        // So is one that is led to by a link from such a place.
        let elsewhere = place.path().join("elsewhere");
        prepare(&elsewhere).unwrap();
        symlink(&elsewhere, parent.join("link")).unwrap();
        assert!(matches!(prepare(&parent.join("link")), Err(FolderFault::OpenParent { .. })));
        open(&parent, 0o1777);
        assert_eq!(prepare(&folder).unwrap(), Prepared::AsItWas);
        assert_eq!(prepare(&parent.join("link")).unwrap(), Prepared::AsItWas);
    }

    #[test]
    fn what_belongs_to_another_user_or_is_no_folder_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(prepare(&file), Err(FolderFault::NoFolder { .. })));
        if geteuid().is_root() {
            let folder = place.path().join("data");
            prepare(&folder).unwrap();
            std::os::unix::fs::chown(&folder, Some(65_534), None).unwrap();
            assert!(matches!(prepare(&folder), Err(FolderFault::Owner { owner: 65_534, .. })));
        }
    }
}

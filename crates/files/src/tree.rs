//! Removes whatever lies at a path: builds and instances leave folders that nobody may write to, or that are nested deeper than a
//! stack or a path is long, and a crash may leave a file for a folder.
//!
//! A folder in a folder is moved to the top before it is emptied, so what is held is two folders, however deep the tree is.
//! Invariant: no link is followed.

use std::ffi::CStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

/// Looks at one folder. Each finds it emptier than the one before, unless somebody goes on filling it.
const MAX_LOOKS: usize = 10_000_000;

/// Removes a file or a folder with everything in it, also folders that were made read-only. Nothing there is as good as gone.
///
/// # Errors
/// When something cannot be removed; what was removed before is gone.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => remove_folder(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn remove_folder(path: &Path) -> io::Result<()> {
    let top = open_writable(CWD, path)?;
    let mut next = 0;
    for _ in 0..MAX_LOOKS {
        if empty_level(&top, |name| remove_level(&top, name, &mut next))? == 0 {
            return fs::remove_dir(path);
        }
    }
    Err(Errno::NOTEMPTY.into())
}

/// Goes once through a folder: files go, with folders `with` does something. Returns how much there was. What fails is passed over
/// as long as anything else went: on a full disk nothing can be moved before something was removed.
fn empty_level(folder: &OwnedFd, mut with: impl FnMut(&CStr) -> io::Result<()>) -> io::Result<usize> {
    let (mut found, mut gone, mut failed) = (0, 0, None);
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        found += 1;
        match remove_entry(folder, name, &mut with) {
            Ok(()) => gone += 1,
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if gone == 0 => Err(error),
        _ => Ok(found),
    }
}

fn remove_entry(
    folder: &OwnedFd,
    name: &CStr,
    with: &mut impl FnMut(&CStr) -> io::Result<()>,
) -> io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => match unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => with(name),
            removed => gone(removed),
        },
        removed => gone(removed),
    }
}

fn gone(removed: rustix::io::Result<()>) -> io::Result<()> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

/// Removes a folder at the top; the folders in it that are not empty become folders at the top.
fn remove_level(top: &OwnedFd, name: &CStr, next: &mut u64) -> io::Result<()> {
    let folder = open_writable(top, name)?;
    while empty_level(&folder, |inner| move_up(&folder, inner, top, next))? > 0 {}
    gone(unlinkat(top, name, AtFlags::REMOVEDIR))
}

fn move_up(folder: &OwnedFd, name: &CStr, top: &OwnedFd, next: &mut u64) -> io::Result<()> {
    loop {
        *next += 1;
        match renameat(folder, name, top, format!(".removed-{next}")) {
            Ok(()) => return Ok(()),
            // That name is taken.
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            // A folder that cannot be written cannot be moved either.
            Err(Errno::ACCESS) => drop(open_writable(folder, name)?),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Opens a folder that is not a link, and makes it writable for us.
fn open_writable(folder: impl AsFd, name: impl rustix::path::Arg + Copy) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(&folder, name, OFlags::PATH | flags, Mode::empty())?;
    let mode = rustix::fs::fstat(&found)?.st_mode;
    if mode & 0o700 != 0o700 {
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(openat(&found, c".", OFlags::RDONLY | flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use rustix::fs::{FileType, mkdirat, mknodat};

    use super::*;

    #[test]
    fn files_links_and_folders_go_and_what_a_link_leads_to_stays() {
        let place = tempfile::tempdir().unwrap();
        let (kept, tree) = (place.path().join("kept"), place.path().join("tree"));
        fs::create_dir_all(kept.join("in")).unwrap();
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::create_dir_all(tree.join(".removed-1/x")).unwrap();
        fs::write(tree.join(".removed-2"), "").unwrap();
        fs::write(tree.join("a/b/c/file"), "").unwrap();
        symlink(&kept, tree.join("a/link")).unwrap();
        symlink(&kept, tree.join("a/b/link")).unwrap();
        mknodat(CWD, tree.join("a/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        for closed in ["a/b/c", "a/b", "a"] {
            fs::set_permissions(tree.join(closed), Permissions::from_mode(0o000)).unwrap();
        }
        remove(&tree).unwrap();
        symlink(&kept, &tree).unwrap();
        remove(&tree).unwrap();
        remove(&tree).unwrap();
        fs::write(&tree, "").unwrap();
        remove(&tree).unwrap();
        assert!(kept.join("in").exists() && !tree.exists());
    }

    #[test]
    fn a_tree_of_any_depth_goes() {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut inner = openat(CWD, &tree, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..3_000 {
            mkdirat(&inner, c"deeper", Mode::RWXU).unwrap();
            mkdirat(&inner, c"beside", Mode::RWXU).unwrap();
            inner = openat(&inner, c"deeper", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        remove(&tree).unwrap();
        assert!(!tree.exists());
    }

    #[test]
    fn a_wide_tree_goes_and_what_cannot_be_removed_is_said() {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        for number in 0..300 {
            let folder: PathBuf = tree.join(number.to_string()).join("in");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("file"), "").unwrap();
        }
        remove(&tree).unwrap();
        assert!(!tree.exists());
        assert!(remove(Path::new("/proc/self/task")).is_err());
    }
}

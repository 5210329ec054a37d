//! Data folders of services that have a user: made for that user, and changed over to it when they are there already.
//!
//! What a service wrote is never trusted: no link of its own is followed, and no file changes hands that has a name elsewhere
//! too, because that one is not only its own. Invariant: a folder that belongs to the user has been changed over wholly.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::thread;

use lockstep_confine::User;
use lockstep_domain::work_path::WorkPath;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchown, fstat, mkdirat, openat,
    statat,
};
use rustix::io::Errno;

/// Deepest folder in a data folder that is changed over.
const MAX_DEPTH: usize = 128;
/// Folders on the way: others may pass them.
const WAY: u32 = 0o711;

/// Makes a data folder for a user, unless it is there, and changes it over to that user where it belongs to another. Returns how
/// many files stay with their owner, because they have names elsewhere.
///
/// # Errors
/// When it cannot be made, a link stands on the way to it, or something in it cannot be changed over.
pub(crate) fn make(base: &Path, folder: &WorkPath, user: User) -> io::Result<usize> {
    for above in [base.parent(), Some(base)].into_iter().flatten() {
        DirBuilder::new().recursive(true).mode(WAY).create(above)?;
        fs::set_permissions(above, Permissions::from_mode(WAY))?;
    }
    let top = open_or_make(base, folder)?;
    if is_of(&fstat(&top)?, user) { Ok(0) } else { change_over(&top, user) }
}

/// Changes a data folder over to a user, also where it belongs to that user already: another may have worked in it meanwhile.
///
/// # Errors
/// When something in it cannot be changed over.
pub(crate) fn again(base: &Path, folder: &WorkPath, user: User) -> io::Result<usize> {
    change_over(&open_or_make(base, folder)?, user)
}

/// Does something as a user, with no more rights than that user has.
///
/// # Errors
/// When the user cannot be taken on, or what is done fails.
pub(crate) fn as_user<T: Send>(user: User, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let become_it = move || {
        set_thread_groups(&[])?;
        let (group, id) = (Gid::from_raw(user.group), Uid::from_raw(user.id));
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(id, id, id)
    };
    // Of this thread alone: it ends afterwards.
    thread::scope(|scope| {
        let thread = scope.spawn(move || become_it().map_err(io::Error::from).and_then(|()| work()));
        thread.join().unwrap_or_else(|_| Err(io::Error::other("it was given up")))
    })
}

fn open_or_make(base: &Path, folder: &WorkPath) -> io::Result<OwnedFd> {
    let mut at = openat(CWD, base, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut parts = folder.as_str().split('/').peekable();
    while let Some(part) = parts.next() {
        let mode = if parts.peek().is_some() { WAY } else { 0o700 };
        match mkdirat(&at, part, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let next = open_step(&at, part)?;
        if parts.peek().is_some() && is_ours(&fstat(&next)?) {
            rustix::fs::fchmod(&next, Mode::from_raw_mode(WAY))?;
        }
        at = next;
    }
    Ok(at)
}

/// Opens a folder in a folder. A link is followed where only whoever runs the server can have made it.
fn open_step(at: &OwnedFd, part: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat(at, part, flags | OFlags::NOFOLLOW, Mode::empty()) {
        Err(Errno::LOOP | Errno::NOTDIR) if is_ours(&fstat(at)?) => {
            Ok(openat(at, part, flags, Mode::empty())?)
        }
        Err(Errno::LOOP | Errno::NOTDIR) => {
            Err(io::Error::other(format!("a link or file stands on the way to it, `{part}`")))
        }
        opened => Ok(opened?),
    }
}

/// Tells whether a folder belongs to the user of this process, and nobody else may write in it.
fn is_ours(found: &Stat) -> bool {
    found.st_uid == rustix::process::geteuid().as_raw() && found.st_mode & 0o022 == 0
}

const fn is_of(found: &Stat, user: User) -> bool {
    found.st_uid == user.id && found.st_gid == user.group
}

/// The names that files have in a folder, of those that have several.
type Names = HashMap<u64, u64>;

fn change_over(top: &OwnedFd, user: User) -> io::Result<usize> {
    let mut tree = Tree { device: fstat(top)?.st_dev, user, names: Names::new(), left: 0 };
    tree.count(top, MAX_DEPTH)?;
    tree.give(top, MAX_DEPTH)?;
    // At last, so that one that was changed over half is changed over again.
    fchown(top, Some(Uid::from_raw(user.id)), Some(Gid::from_raw(user.group)))?;
    Ok(tree.left)
}

struct Tree {
    /// What is mounted below is somebody else's.
    device: u64,
    user: User,
    names: Names,
    left: usize,
}

impl Tree {
    fn count(&mut self, folder: &OwnedFd, depth: usize) -> io::Result<()> {
        for (name, found) in self.entries(folder)? {
            if is_folder(&found) {
                self.count(&below(folder, &name)?, deeper(depth)?)?;
            } else if found.st_nlink > 1 {
                *self.names.entry(found.st_ino).or_default() += 1;
            }
        }
        Ok(())
    }

    fn give(&mut self, folder: &OwnedFd, depth: usize) -> io::Result<()> {
        let (id, group) = (Some(Uid::from_raw(self.user.id)), Some(Gid::from_raw(self.user.group)));
        for (name, found) in self.entries(folder)? {
            if is_folder(&found) {
                let below = below(folder, &name)?;
                self.give(&below, deeper(depth)?)?;
                fchown(&below, id, group)?;
            } else if found.st_nlink > 1 && self.names.get(&found.st_ino) != Some(&names_of(&found)) {
                self.left += 1;
            } else if !is_of(&found, self.user) {
                chownat(folder, &name, id, group, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        Ok(())
    }

    fn entries(&self, folder: &OwnedFd) -> io::Result<Vec<(std::ffi::CString, Stat)>> {
        let mut all = Vec::new();
        for entry in Dir::read_from(folder.as_fd())? {
            let name = entry?.file_name().to_owned();
            if name.as_c_str() == c"." || name.as_c_str() == c".." {
                continue;
            }
            match statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(found) if found.st_dev == self.device => all.push((name, found)),
                // Mounted there, or gone meanwhile.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }
}

#[expect(clippy::useless_conversion, reason = "it is narrower on other machines")]
fn names_of(found: &Stat) -> u64 {
    u64::from(found.st_nlink)
}

fn is_folder(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Directory
}

fn below(folder: &OwnedFd, name: &std::ffi::CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, Mode::empty())?)
}

fn deeper(depth: usize) -> io::Result<usize> {
    depth.checked_sub(1).ok_or_else(|| io::Error::other(format!("it has folders more than {MAX_DEPTH} deep")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    const USER: User = User { id: 1_900_000_001, group: 1_900_000_001, binds: false };

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    /// Only root gives files away.
    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn data_is_changed_over_without_its_links_and_without_files_that_are_not_only_its_own() {
        if !is_root() {
            return eprintln!("left out: only root gives files away");
        }
        let place = tempfile::tempdir().unwrap();
        let (base, foreign) = (place.path().join("data/production/shop"), place.path().join("foreign"));
        let var = base.join("storage/var");
        fs::create_dir_all(var.join("deep/er")).unwrap();
        fs::write(&foreign, "foreign").unwrap();
        for (file, other) in [("mine", None), ("deep/er/mine", None), ("hard", Some(&foreign))] {
            match other {
                None => fs::write(var.join(file), file).unwrap(),
                Some(other) => fs::hard_link(other, var.join(file)).unwrap(),
            }
        }
        fs::hard_link(var.join("mine"), var.join("deep/also-mine")).unwrap();
        symlink(&foreign, var.join("link")).unwrap();
        assert_eq!(make(&base, &"storage/var".parse().unwrap(), USER).unwrap(), 1);
        for path in ["", "mine", "deep", "deep/er/mine", "deep/also-mine", "link"] {
            assert_eq!(owner(&var.join(path)), USER.id, "{path}");
        }
        assert_eq!(
            [owner(&foreign), owner(&var.join("hard")), owner(&base), owner(&base.join("storage"))],
            [0; 4]
        );
        // What came in meanwhile from somebody else.
        fs::write(var.join("later"), "").unwrap();
        assert_eq!(make(&base, &"storage/var".parse().unwrap(), USER).unwrap(), 0);
        assert_eq!(owner(&var.join("later")), 0);
        again(&base, &"storage/var".parse().unwrap(), USER).unwrap();
        assert_eq!(owner(&var.join("later")), USER.id);
    }

    #[test]
    fn a_link_of_the_service_leads_nowhere_and_one_of_whoever_runs_the_server_does() {
        if !is_root() {
            return eprintln!("left out: only root gives files away");
        }
        let place = tempfile::tempdir().unwrap();
        let (base, elsewhere) = (place.path().join("shop"), place.path().join("elsewhere"));
        fs::create_dir_all(elsewhere.join("db")).unwrap();
        make(&base, &"var".parse().unwrap(), USER).unwrap();
        symlink(&elsewhere, base.join("var/link")).unwrap();
        assert!(make(&base, &"var/link/db".parse().unwrap(), USER).unwrap_err().to_string().contains("link"));
        assert_eq!(owner(&elsewhere.join("db")), 0);
        symlink(&elsewhere, base.join("disk")).unwrap();
        make(&base, &"disk/db".parse().unwrap(), USER).unwrap();
        assert_eq!(owner(&elsewhere.join("db")), USER.id);
    }

    #[test]
    fn what_is_done_as_a_user_has_no_more_rights() {
        if !is_root() {
            return eprintln!("left out: only root becomes another user");
        }
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
        let secret = place.path().join("secret");
        fs::write(&secret, "").unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        let read = as_user(USER, || fs::read(&secret));
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        as_user(USER, || fs::write(place.path().join("own"), "")).unwrap();
        assert_eq!(owner(&place.path().join("own")), USER.id);
        fs::read(&secret).unwrap();
    }
}

//! Writes a file of ours so that it is there whole or not at all, whenever the machine stops: written beside, synced,
//! renamed, folder synced.
//!
//! Invariant: under the name lies what was there before or all of the new content, also when the disk is full.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, renameat_with, statvfs, syncfs};
use rustix::io::Errno;

/// The end of the name under which a file is written before it gets its own.
pub const UNFINISHED: &str = "new";

/// Puts content in the place of a file; it is durable on return. One writer a path at a time.
///
/// # Errors
/// When it cannot be written; what was there before is there still.
pub fn put(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let unfinished = unfinished(path);
    let synced = write(&unfinished, content, mode).and_then(|file| file.sync_all());
    let put = synced.and_then(|()| fs::rename(&unfinished, path));
    if put.is_err() {
        // What cannot be removed is replaced by the next writer.
        let _ = fs::remove_file(&unfinished);
    }
    put?;
    sync_folder_of(path)
}

/// Writes a file that is not there yet; it is durable on return. Several may do so at the same time, and one that is killed leaves nothing.
///
/// # Errors
/// When something is there (`AlreadyExists`), or it cannot be written.
pub fn put_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(CWD, folder, flags, Mode::from_raw_mode(mode)) else {
        return put_new_by_name(path, content, mode);
    };
    let mut file = File::from(file);
    file.write_all(content)?;
    file.sync_all()?;
    let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(CWD, nameless.as_str(), CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => sync_folder_of(path),
        Err(Errno::EXIST) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => put_new_by_name(path, content, mode),
    }
}

/// The same on a file system that has no files without names; one that is killed leaves one that is named after its process.
fn put_new_by_name(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let unfinished = path.with_added_extension(format!("{}.{UNFINISHED}", std::process::id()));
    let synced = write(&unfinished, content, mode).and_then(|file| file.sync_all());
    let named = synced.and_then(|()| give_name(&unfinished, path, Occupied::Refuse));
    if named.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    named
}

/// Puts content in the place of a file in one step, without waiting for the disk: after a power cut it may be empty. For what is
/// made anew anyway.
///
/// # Errors
/// As [`put`].
pub fn put_unsynced(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let unfinished = unfinished(path);
    let written = write(&unfinished, content, mode).and_then(|_| fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// What happens to what lies at a name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupied {
    /// It is replaced.
    Replace,
    /// It stays, and the new one does not get the name.
    Refuse,
}

/// Gives a finished file or folder its name; it is durable on return. What is in it must be durable before.
///
/// # Errors
/// When the name is taken and that is refused (`AlreadyExists`), or the system does not rename.
pub fn give_name(from: &Path, to: &Path, occupied: Occupied) -> io::Result<()> {
    match occupied {
        Occupied::Replace => fs::rename(from, to)?,
        Occupied::Refuse => rename_to_free(from, to)?,
    }
    sync_folder_of(to)
}

fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that does not know the flag: looked at just before, which is as good as it can be there.
        Err(Errno::INVAL | Errno::NOSYS) if !to.try_exists()? => fs::rename(from, to),
        Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
        renamed => Ok(renamed?),
    }
}

/// Opens a file for writing and locks it, and makes it when it is not there; `None` while another process has it. Its content
/// is what the last one left. The lock ends with the process, however that ends.
///
/// # Errors
/// When the file cannot be opened.
pub fn claim(path: &Path) -> io::Result<Option<File>> {
    loop {
        let mut options = OpenOptions::new();
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        // Whoever put a pipe there must not make us wait for its other end.
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had the lock before may have renamed or removed the file since it was opened here.
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

/// Tells whether an open file still has a name.
#[must_use]
pub fn is_at(file: &File, path: &Path) -> bool {
    let same = |one: &Metadata, other: &Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    matches!((file.metadata(), fs::symlink_metadata(path)), (Ok(one), Ok(other)) if same(&one, &other))
}

/// Makes everything durable that was written to the file system of a path.
///
/// # Errors
/// When the path cannot be opened, or the disk fails.
pub fn sync_file_system_of(path: &Path) -> io::Result<()> {
    Ok(syncfs(File::open(path)?)?)
}

/// A file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// What can still be written to it by this user.
    pub free: u64,
    /// What it has.
    pub size: u64,
}

/// Returns how much there is of the file system of a path.
///
/// # Errors
/// When it cannot be asked.
pub fn file_system_of(path: &Path) -> io::Result<Room> {
    let found = statvfs(path)?;
    Ok(Room {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        size: found.f_blocks.saturating_mul(found.f_frsize),
    })
}

/// Returns how many bytes can still be written to the file system of a path by this user.
///
/// # Errors
/// When it cannot be asked.
pub fn room_of(path: &Path) -> io::Result<u64> {
    file_system_of(path).map(|room| room.free)
}

/// Makes the names in the folder of a path durable.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_added_extension(UNFINISHED)
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_an_interrupted_writer_left_is_replaced_and_never_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("state.json"), folder.path().join("other"));
        fs::write(&other, "other").unwrap();
        symlink(&other, unfinished(&path)).unwrap();
        put(&path, b"one", 0o600).unwrap();
        fs::write(unfinished(&path), "ha").unwrap();
        put(&path, b"two", 0o600).unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), fs::read(&other).unwrap()),
            (b"two".to_vec(), b"other".to_vec())
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!unfinished(&path).exists());
    }

    #[test]
    fn a_new_file_is_written_once_and_nothing_beside_it() {
        for put in [put_new, put_new_by_name] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("new");
            put(&path, b"one", 0o644).unwrap();
            assert_eq!(put(&path, b"two", 0o644).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            let dangling = folder.path().join("link");
            symlink(folder.path().join("nowhere"), &dangling).unwrap();
            assert_eq!(put(&dangling, b"two", 0o644).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            put(&folder.path().join("no/folder"), b"", 0o644).unwrap_err();
            assert_eq!(fs::read(&path).unwrap(), b"one");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn a_name_that_is_taken_is_given_only_when_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::write(&one, "one").unwrap();
        fs::write(&two, "two").unwrap();
        let error = give_name(&one, &two, Occupied::Refuse).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        give_name(&one, &two, Occupied::Replace).unwrap();
        give_name(&two, &one, Occupied::Refuse).unwrap();
        assert_eq!((fs::read(&one).unwrap(), two.exists()), (b"one".to_vec(), false));
        assert!(room_of(folder.path()).unwrap() > 0);
        sync_file_system_of(folder.path()).unwrap();
    }

    #[test]
    fn a_file_is_claimed_by_one_and_not_by_a_name_that_it_lost() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("file"), folder.path().join("other"));
        let first = claim(&path).unwrap().unwrap();
        assert!(claim(&path).unwrap().is_none());
        fs::rename(&path, &other).unwrap();
        let second = claim(&path).unwrap().unwrap();
        assert!(is_at(&second, &path) && is_at(&first, &other) && !is_at(&first, &path));
        drop(second);
        assert!(claim(&path).unwrap().is_some());
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        put(&path, b"one", 0o600).unwrap();
        fs::create_dir(unfinished(&path)).unwrap();
        put(&path, b"two", 0o600).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        put(&folder.path().join("nowhere/state.json"), b"", 0o600).unwrap_err();
    }
}

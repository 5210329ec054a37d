//! Writes a file of ours so that it is there whole or not at all, whenever the machine stops: written beside, synced,
//! renamed, folder synced.
//!
//! Invariant: under the name lies what was there before or all of the new content, also when the disk is full.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The end of the name under which a file is written before it gets its own.
pub const UNFINISHED: &str = "new";

/// Puts content in the place of a file; it is durable on return. One writer a path at a time.
///
/// # Errors
/// When it cannot be written; what was there before is there still.
pub fn put(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let unfinished = unfinished(path);
    let put = write(&unfinished, content, mode).and_then(|()| fs::rename(&unfinished, path));
    if put.is_err() {
        // What cannot be removed is replaced by the next writer.
        let _ = fs::remove_file(&unfinished);
    }
    put?;
    sync_folder_of(path)
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

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
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

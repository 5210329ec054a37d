//! Values of secret variables: one file each, readable by the owner only. The journal knows their names, never their content.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use lockstep_files::{foreign, whole};

use crate::random::random_hex;

/// Longest secret value: environment variables must fit into what a process can be given.
pub(crate) const MAX_SECRET_BYTES: usize = 64 * 1024;

/// Mode of every file in it.
pub(crate) const MODE: u32 = 0o600;

/// Reads a key or token that the server made; `None` where there is none. `exchange` says what to do when others could read it.
///
/// # Errors
/// When it is no file, cannot be read, is longer than `limit` bytes, or cannot be closed to others.
pub(crate) fn read_own(path: &Path, limit: u64, exchange: &str) -> io::Result<Option<String>> {
    match foreign::open_no_link(path) {
        Ok(file) => {
            close_to_others(path, &file, exchange)?;
            foreign::read_text(file, limit).map(Some)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Closes a file to others who could read it, and says so: whether they have read it, nobody knows.
fn close_to_others(path: &Path, file: &File, exchange: &str) -> io::Result<()> {
    let mode = file.metadata()?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(MODE))?;
        let (path, mode) = (path.display(), format!("{mode:o}"));
        tracing::warn!(%path, mode, exchange, "others could use a key or token; it is 600 now");
    }
    Ok(())
}

/// The secret store of one data folder.
#[derive(Debug)]
pub(crate) struct Secrets {
    folder: PathBuf,
}

impl Secrets {
    /// Opens the store.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        whole::sync_folder_of(folder)?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension() == Some(OsStr::new(whole::UNFINISHED)) {
                // A value that was never finished; no record names it.
                let _ = fs::remove_file(path);
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Keeps a value and returns the name by which it is found again; it is durable on return, because a record will name
    /// it. A name is random and so never given twice: an earlier configuration keeps its values.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn put(&self, value: &str) -> io::Result<String> {
        let name = random_hex(16)?;
        whole::put(&self.folder.join(&name), value.as_bytes(), MODE)?;
        Ok(name)
    }

    /// Removes a value that nothing names; one that is not there is gone already.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        if !name.bytes().all(|b| b.is_ascii_hexdigit()) || name.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a secret"));
        }
        Ok(self.folder.join(name))
    }

    /// Returns a value.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) fn get(&self, name: &str) -> io::Result<String> {
        foreign::read_text(foreign::open_no_link(&self.path(name)?)?, MAX_SECRET_BYTES as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn values_come_back_and_are_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(&folder.path().join("secrets")).unwrap();
        let (one, two) = (secrets.put("hunter2").unwrap(), secrets.put("hunter3").unwrap());
        assert_eq!(secrets.get(&one).unwrap(), "hunter2");
        assert_eq!(secrets.get(&two).unwrap(), "hunter3");
        let mode = fs::metadata(folder.path().join("secrets").join(&one)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(secrets.get("../journal.db").is_err() && secrets.remove("../journal.db").is_err());
        secrets.remove(&one).unwrap();
        secrets.remove(&one).unwrap();
        assert!(secrets.get(&one).is_err() && secrets.get(&two).is_ok());
    }

    #[test]
    fn a_value_that_was_never_finished_is_gone_after_the_next_start() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("secrets");
        let name = Secrets::open(&folder).unwrap().put("hunter2").unwrap();
        fs::write(folder.join("0123.new"), "hun").unwrap();
        assert_eq!(Secrets::open(&folder).unwrap().get(&name).unwrap(), "hunter2");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}

//! Values of secret variables: one file each, readable by the owner only. The journal knows their names, never their content.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::random::random_hex;

/// Longest secret value: environment variables must fit into what a process can be given.
pub(crate) const MAX_SECRET_BYTES: usize = 64 * 1024;

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
        Ok(Self { folder: folder.to_owned() })
    }

    /// Keeps a value and returns the name by which it is found again. Nothing is ever overwritten, so that an earlier
    /// configuration keeps its values.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn put(&self, value: &str) -> io::Result<String> {
        let name = random_hex(16)?;
        let path = self.folder.join(&name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(value.as_bytes())?;
        file.sync_all()?;
        Ok(name)
    }

    /// Returns a value.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) fn get(&self, name: &str) -> io::Result<String> {
        if !name.bytes().all(|b| b.is_ascii_hexdigit()) || name.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a secret"));
        }
        fs::read_to_string(self.folder.join(name))
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
        assert!(secrets.get("../journal.db").is_err());
    }
}

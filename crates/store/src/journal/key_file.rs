//! Where the key of a journal lies: in the data folder, or where the operator wants it.
//!
//! Invariant: the file is whole or not there, is a file (in the data folder no link either), and is never waited for.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use lockstep_files::foreign;
use lockstep_files::whole::{self, Occupied};

use super::error::JournalError;
use super::key::{JournalKey, MAX_TEXT, SECRET_BYTES, Use};
use super::record::Head;

/// The key file in a data folder.
pub(crate) const KEY_FILE: &str = "journal.key";
/// The end of the name under which a key lies that is about to be accepted.
const NEXT: &str = "next";
/// Mode of a key file: for its owner alone.
const MODE: u32 = 0o600;

/// Where the key is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KeyPlace {
    /// `journal.key` in the data folder: whoever may write there may write a journal that verifies.
    #[default]
    DataFolder,
    /// A file that the operator named.
    File(PathBuf),
}

impl From<Option<PathBuf>> for KeyPlace {
    fn from(file: Option<PathBuf>) -> Self {
        file.map_or(Self::DataFolder, Self::File)
    }
}

impl KeyPlace {
    /// Returns where the key of the journal in a folder is.
    #[must_use]
    pub fn path_in(&self, folder: &Path) -> PathBuf {
        KeyFile::of(folder, self).path
    }
}

/// The file of a key, which may not be there.
#[derive(Debug, Clone)]
pub(crate) struct KeyFile {
    pub(crate) path: PathBuf,
    is_ours: bool,
}

impl KeyFile {
    pub(crate) fn of(folder: &Path, place: &KeyPlace) -> Self {
        match place {
            KeyPlace::DataFolder => Self { path: folder.join(KEY_FILE), is_ours: true },
            KeyPlace::File(path) => Self { path: path.clone(), is_ours: false },
        }
    }

    /// Reads the key; `None` when there is no file.
    pub(crate) fn read(&self) -> Result<Option<JournalKey>, JournalError> {
        match self.open().and_then(|file| foreign::read(file, MAX_TEXT)) {
            Ok(text) => self.parse(&text).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unusable(error.to_string())),
        }
    }

    /// Reads the key from a text that is to be in the file.
    pub(crate) fn parse(&self, text: &[u8]) -> Result<JournalKey, JournalError> {
        JournalKey::parse(text).map_err(|why| self.unusable(why.to_owned()))
    }

    /// Puts a key there as a whole; it is durable on return.
    pub(crate) fn put(&self, key: &JournalKey) -> Result<(), JournalError> {
        whole::put(&self.path, key.to_text().as_bytes(), MODE).map_err(JournalError::file(&self.path))
    }

    /// Writes a key beside, so that nothing but a change of names is left to do.
    pub(crate) fn put_beside(&self, key: &JournalKey) -> Result<(), JournalError> {
        let beside = self.beside();
        whole::put(&beside, key.to_text().as_bytes(), MODE).map_err(JournalError::file(&beside))
    }

    /// Puts the key that lies beside in the place of the one that is there.
    pub(crate) fn take_beside(&self) -> Result<(), JournalError> {
        whole::give_name(&self.beside(), &self.path, Occupied::Replace)
            .map_err(JournalError::file(&self.path))
    }

    /// A key that others could read is closed to them where the folder is ours, and said.
    pub(crate) fn close_to_others(&self) {
        let Ok(file) = self.open() else { return };
        let Ok(metadata) = file.metadata() else { return };
        let mode = format!("{:o}", metadata.mode() & 0o7777);
        if metadata.mode() & 0o077 == 0 {
            return;
        }
        let path = self.path.display();
        if self.is_ours && file.set_permissions(Permissions::from_mode(MODE)).is_ok() {
            tracing::warn!(%path, mode, "others could use the key of the journal; it is 600 now");
        } else {
            tracing::warn!(%path, mode, "others may use the key of the journal");
        }
    }

    fn open(&self) -> io::Result<File> {
        if self.is_ours { foreign::open_no_link(&self.path) } else { foreign::open(&self.path) }
    }

    fn beside(&self) -> PathBuf {
        self.path.with_added_extension(NEXT)
    }

    fn unusable(&self, why: String) -> JournalError {
        JournalError::KeyUnusable { path: self.path.clone(), why }
    }
}

/// Makes a key by the system's randomness.
pub(crate) fn make(since: Head, used: Use) -> Result<JournalKey, JournalError> {
    let source = Path::new("/dev/urandom");
    let mut secret = [0; SECRET_BYTES];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut secret))
        .map_err(JournalError::file(source))?;
    Ok(JournalKey::new(secret, since, used))
}

/// Takes away what an interrupted change of keys left; what cannot be removed is replaced by the next.
pub(crate) fn clean(file: &KeyFile) {
    let _ = fs::remove_file(file.beside());
}

//! What is served.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use lockstep_domain::static_files::StaticFiles;
use serde::{Deserialize, Serialize};

/// What an instance serves. It is handed over as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Which files.
    pub files: StaticFiles,
    /// What tells these files from those of every other version and configuration: letters, digits and hyphens.
    pub tag: String,
    /// Where the artifact is: the working folder.
    #[serde(skip)]
    place: PathBuf,
}

impl Site {
    /// Describes files of the artifact in the working folder.
    #[must_use]
    pub fn new(files: StaticFiles, tag: String) -> Self {
        Self { files, tag, place: PathBuf::from(".") }
    }

    /// Returns what an instance is started with: the program of Lockstep, and what it serves.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn command(&self, program: &str) -> Result<Vec<String>, serde_json::Error> {
        Ok(vec![program.to_owned(), crate::WORD.to_owned(), serde_json::to_string(self)?])
    }

    /// Looks for the artifact elsewhere.
    #[must_use]
    pub fn at(self, place: PathBuf) -> Self {
        Self { place, ..self }
    }

    /// Reads what is handed over, and looks whether it is there.
    ///
    /// # Errors
    /// When it cannot be read, or a folder or file of it is missing in the working folder.
    pub(crate) fn read(text: &OsStr) -> io::Result<Self> {
        let site: Self = serde_json::from_slice(text.as_encoded_bytes())?;
        let site = site.at(PathBuf::from("."));
        let missing = |what: &str, path: &Path| {
            io::Error::other(format!("the artifact has no {what} `{}`", path.display()))
        };
        let root = site.root();
        if !root.is_dir() {
            return Err(missing("folder", &root));
        }
        match site.fallback().filter(|path| !path.is_file()) {
            Some(path) => Err(missing("file", &path)),
            None => Ok(site),
        }
    }

    /// The folder that is served, below the working folder.
    pub(crate) fn root(&self) -> PathBuf {
        self.files.root.as_ref().map_or_else(|| self.place.clone(), |root| self.place.join(root.as_str()))
    }

    /// What a browser is given where there is no such file.
    pub(crate) fn fallback(&self) -> Option<PathBuf> {
        self.files.fallback.as_ref().map(|path| self.root().join(path.as_str()))
    }

    /// Tells whether what is at a path never changes.
    pub(crate) fn is_immutable(&self, path: &str) -> bool {
        let path = path.trim_start_matches('/');
        let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        self.files.immutable.iter().any(|folder| below(folder.as_str()))
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.files.root {
            Some(root) => write!(f, "`{root}`"),
            None => f.write_str("the artifact"),
        }
    }
}

//! The list of files in a package, which is its first entry.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use lockstep_domain::{Digest, ServiceName};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::select::{Selected, SelectedKind};
use super::{PACKAGE_FORMAT, PackageError, PackageFacts, io_error, open_file};
use crate::cancel::CancelToken;

/// Read at once from a file: large enough that system calls do not count.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// What is in a package and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageManifest {
    /// [`PACKAGE_FORMAT`] when it was written.
    pub format: u32,
    /// The service.
    pub service: ServiceName,
    /// The git commit it was built from, in packages of format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The program that built it.
    pub builder: String,
    /// The tools it was built with, by name.
    pub tools: BTreeMap<String, String>,
    /// All files and links, sorted by path.
    pub files: Vec<Entry>,
}

/// A file or link in a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative path with `/` between its parts.
    pub path: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: EntryKind,
}

impl Entry {
    /// Tells whether it is a symbolic link.
    #[must_use]
    pub const fn is_link(&self) -> bool {
        matches!(self.kind, EntryKind::Link { .. })
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EntryKind {
    /// A file.
    File {
        /// Size of its content.
        size: u64,
        /// Digest of its content.
        digest: Digest,
        /// Its mode.
        mode: Mode,
    },
    /// A symbolic link that stays inside the package.
    Link {
        /// Where it leads, relative to its own folder.
        target: String,
    },
}

/// The two modes a file can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mode {
    /// Readable by all.
    #[serde(rename = "0644")]
    Plain,
    /// Readable and executable by all.
    #[serde(rename = "0755")]
    Executable,
}

impl Mode {
    /// Reduces a mode to what a umask does not change: whether the owner may execute.
    #[must_use]
    pub const fn of(mode: u32) -> Self {
        if mode & 0o100 == 0 { Self::Plain } else { Self::Executable }
    }

    /// Returns the mode as a number.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Plain => 0o644,
            Self::Executable => 0o755,
        }
    }
}

/// Reads all selected files once for their sizes and digests.
pub(crate) fn describe(
    root: &Path,
    selected: &[Selected],
    facts: &PackageFacts,
    cancel: &CancelToken,
) -> Result<PackageManifest, PackageError> {
    let files: Result<Vec<Entry>, PackageError> =
        selected.iter().map(|selected| entry(root, selected, cancel)).collect();
    Ok(PackageManifest {
        format: PACKAGE_FORMAT,
        service: facts.service.clone(),
        commit: None,
        builder: facts.builder.clone(),
        tools: facts.tools.clone(),
        files: files?,
    })
}

fn entry(root: &Path, selected: &Selected, cancel: &CancelToken) -> Result<Entry, PackageError> {
    let kind = match &selected.kind {
        SelectedKind::Link(target) => EntryKind::Link { target: target.clone() },
        SelectedKind::File(mode) => {
            let (size, digest) = digest_of(&root.join(&selected.path), cancel)?;
            EntryKind::File { size, digest, mode: *mode }
        }
    };
    Ok(Entry { path: selected.path.clone(), kind })
}

fn digest_of(path: &Path, cancel: &CancelToken) -> Result<(u64, Digest), PackageError> {
    let mut file = open_file(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut size = 0;
    loop {
        if cancel.is_cancelled() {
            return Err(PackageError::Cancelled);
        }
        match file.read(&mut buffer).map_err(|source| io_error(path, "read", source))? {
            0 => return Ok((size, Digest::from_bytes(hasher.finalize().into()))),
            length => {
                hasher.update(&buffer[..length]);
                size += length as u64;
            }
        }
    }
}

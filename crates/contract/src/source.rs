//! The bytes of a contract: named in-memory files, so that documents over several files are read without any I/O.
//!
//! A source does not know its format and is never changed by reading it. How large it may be is for those to bound who read
//! what somebody else has written; nothing here takes more than some 20 times its size, and none of it for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The files of one contract, by path, with the one to start from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    files: BTreeMap<String, Arc<[u8]>>,
    entry: Option<String>,
}

impl Source {
    /// A contract that starts in one file. Others are added by [`Source::with_file`].
    pub fn file(path: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Self {
        let path = normalise(&path.into());
        Self { files: BTreeMap::from([(path.clone(), bytes.into())]), entry: Some(path) }
    }

    /// A contract that is a whole tree of files with none to start from, as migrations or `.proto` files are.
    pub fn tree<P: Into<String>, B: Into<Arc<[u8]>>>(files: impl IntoIterator<Item = (P, B)>) -> Self {
        let files = files.into_iter().map(|(path, bytes)| (normalise(&path.into()), bytes.into())).collect();
        Self { files, entry: None }
    }

    /// The same files with one to start from, when it is among them.
    #[must_use]
    pub fn starting_in(mut self, path: &str) -> Self {
        self.entry = Some(normalise(path)).filter(|path| self.files.contains_key(path));
        self
    }

    /// The path of the file that was named to start from.
    pub(crate) fn start(&self) -> Option<&str> {
        self.entry.as_deref()
    }

    /// Adds a file that others may refer to.
    #[must_use]
    pub fn with_file(mut self, path: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.files.insert(normalise(&path.into()), bytes.into());
        self
    }

    /// The path and bytes to start from; of a tree with a single file, that file.
    #[must_use]
    pub fn entry(&self) -> Option<(&str, &[u8])> {
        match &self.entry {
            Some(path) => self.files.get_key_value(path),
            None if self.files.len() == 1 => self.files.first_key_value(),
            None => None,
        }
        .map(|(path, bytes)| (path.as_str(), &**bytes))
    }

    /// The bytes of the file at `path`, with `.` and `..` resolved.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.files.get(&normalise(path)).map(|bytes| &**bytes)
    }

    /// All files, in the order of their paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(path, bytes)| (path.as_str(), &**bytes))
    }

    /// The same files under other paths.
    pub(crate) fn renamed(self, name: impl Fn(&str) -> String) -> Self {
        let files = self.files.into_iter().map(|(path, bytes)| (name(&path), bytes)).collect();
        Self { files, entry: self.entry.map(|path| name(&path)) }
    }

    /// True when both sources hold the same bytes under the same paths.
    #[must_use]
    pub fn same_bytes(&self, other: &Self) -> bool {
        self.files.values().eq(other.files.values())
    }
}

/// Resolves `.`, `..` and `\` in a relative path; a path never climbs above its root.
pub(crate) fn normalise(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

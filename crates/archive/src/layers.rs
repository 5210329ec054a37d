//! Puts the layers of an image on each other, in memory: names never touch a disk here, only contents do, each in a file with a
//! number for a name. So no link, whiteout or path of a layer can lead anywhere.
//!
//! As the specification of OCI images has it, and as other programs do where it is silent: a link on the way to a name is followed
//! inside the root; a folder that is named takes the place of a link; a whiteout removes what layers below have, whatever its place in
//! its own. Set-user-ID bits, capabilities and other extended attributes are dropped. Invariant: everything above a name is a folder.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::compression::Compression;
use crate::error::{Problem, UnpackError, UnpackLimits};
use crate::metered::{Counted, Metered};
use crate::stream::{Archive, End, Entry, Facts, Kind};
use crate::tree::{MAX_LINKS, Part, inner_path, parts_of};

/// How the name of what hides a name of a layer below begins.
const WHITEOUT: &[u8] = b".wh.";
/// Hides everything that layers below have in a folder.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What else a file system that is long gone has left in layers; it means nothing.
const OF_AUFS: &[u8] = b".wh..wh.";
/// How many entries all layers together may have for each name that an image may have in the end.
const ENTRIES_A_NAME: usize = 5;

/// What stands under a name of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder,
    /// A file.
    File {
        /// Where its content is.
        content: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// A symbolic link.
    Link(PathBuf),
}

/// A name of an image, with whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// What stands there.
    pub node: Node,
    /// Whether somebody may run it.
    pub executable: bool,
    /// When it was changed last, in seconds since 1970.
    pub changed: u64,
    facts: Facts,
    layer: usize,
}

impl Named {
    /// Tells whether a user may write it by its mode; root may write everything without it.
    #[must_use]
    pub const fn is_writable_for(&self, user: u32, group: u32) -> bool {
        let Facts { mode, user: owner, group: of_group, .. } = self.facts;
        if user == 0 {
            return false;
        }
        (owner == user as u64 && mode & 0o200 != 0)
            || (of_group == group as u64 && mode & 0o020 != 0)
            || mode & 0o002 != 0
    }
}

/// The root of an image while its layers are put on each other.
#[derive(Debug)]
pub struct Root {
    nodes: BTreeMap<PathBuf, Named>,
    contents: PathBuf,
    limits: UnpackLimits,
    layer: usize,
    entries: usize,
    files: usize,
    bytes: u64,
    left_out: usize,
}

impl Root {
    /// Begins with nothing. Contents are written to a folder, which is the caller's to remove.
    #[must_use]
    pub const fn new(contents: PathBuf, limits: UnpackLimits) -> Self {
        let nodes = BTreeMap::new();
        Self { nodes, contents, limits, layer: 0, entries: 0, files: 0, bytes: 0, left_out: 0 }
    }

    /// Puts a layer on those before. All of it, as it is without compression, passes by `seen`.
    ///
    /// # Errors
    /// When it is refused, or a content cannot be written.
    pub fn apply(
        &mut self,
        layer: impl Read,
        compression: Compression,
        seen: impl FnMut(&[u8]),
    ) -> Result<(), UnpackError> {
        self.layer += 1;
        let left = UnpackLimits { bytes: self.limits.bytes.saturating_sub(self.bytes), ..self.limits };
        let (input, count) = Counted::new(layer);
        let decoder = compression.open(input).map_err(|source| UnpackError::Read { source })?;
        let mut archive =
            Archive::new(Metered::new(Passing { inner: decoder, seen }, count, &left), End::AfterAnyEntry);
        let applied = self.apply_entries(&mut archive);
        self.bytes = self.bytes.saturating_add(left.bytes - archive.left());
        applied.map_err(|error| match error {
            UnpackError::TooLarge { .. } => UnpackError::TooLarge { limit: self.limits.bytes },
            error => error,
        })
    }

    /// Goes through all names, a folder before what is in it.
    pub fn names(&self) -> impl Iterator<Item = (&Path, &Named)> {
        self.nodes.iter().map(|(path, named)| (path.as_path(), named))
    }

    /// Returns how many devices and pipes were left out.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    /// Finds what stands at a path, following links inside the root.
    #[must_use]
    pub fn find(&self, path: &Path) -> Option<&Named> {
        let found = self.follow(path, Last::Followed).ok()?;
        self.nodes.get(&found)
    }

    fn apply_entries(&mut self, archive: &mut Archive<impl Read>) -> Result<(), UnpackError> {
        while let Some(entry) = archive.next()? {
            self.entries += 1;
            if self.entries > self.limits.entries.saturating_mul(ENTRIES_A_NAME) {
                return Err(UnpackError::TooManyEntries { limit: self.limits.entries * ENTRIES_A_NAME });
            }
            self.apply_entry(&entry, archive)?;
        }
        Ok(())
    }

    fn apply_entry(&mut self, entry: &Entry, archive: &mut Archive<impl Read>) -> Result<(), UnpackError> {
        let refused = |problem| UnpackError::refused(&entry.path, problem);
        // Some programs write names as they are in the image, from `/` on.
        let path = entry.path.strip_prefix("/").unwrap_or(&entry.path);
        let Some(path) = inner_path(path).map_err(refused)? else {
            return if entry.kind == Kind::Folder { Ok(()) } else { Err(refused(Problem::NotAPath)) };
        };
        let path = self.follow(&path, Last::Kept).map_err(refused)?;
        if let Some(hidden) = hidden_by(&path).map_err(refused)? {
            self.hide(&hidden);
            return Ok(());
        }
        let node = match &entry.kind {
            Kind::Folder => Node::Folder,
            Kind::File { .. } => self.write_content(archive)?,
            Kind::Symlink(target) => Node::Link(target.clone()),
            Kind::HardLink(target) => return self.link(&path, target).map_err(refused),
            Kind::Special => {
                self.left_out += 1;
                self.make_room(&path, false).map_err(refused)?;
                return Ok(());
            }
            Kind::Unknown => return Err(refused(Problem::Special)),
        };
        let executable = matches!(entry.kind, Kind::File { executable: true });
        let (facts, layer) = (entry.facts, self.layer);
        self.add(path, Named { node, executable, changed: facts.changed, facts, layer }).map_err(refused)?;
        self.must_fit()
    }

    /// A hard link is the same file, from this layer or one below.
    fn link(&mut self, path: &Path, target: &Path) -> Result<(), Problem> {
        let target = target.strip_prefix("/").unwrap_or(target);
        let target = inner_path(target).map_err(|_| Problem::LeadsOut)?.ok_or(Problem::HardLinkTarget)?;
        let target = self.follow(&target, Last::Kept)?;
        let named = self.nodes.get(&target).filter(|named| named.node != Node::Folder);
        let named = named.cloned().ok_or(Problem::HardLinkTarget)?;
        self.add(path.to_owned(), Named { layer: self.layer, ..named })
    }

    fn write_content(&mut self, archive: &mut Archive<impl Read>) -> Result<Node, UnpackError> {
        let content = self.contents.join(self.files.to_string());
        self.files += 1;
        let writing = |source| UnpackError::Write { path: content.clone(), source };
        let file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&content).map_err(writing)?;
        archive.copy_to(file, &content)?;
        let bytes = fs::metadata(&content).map_err(writing)?.len();
        Ok(Node::File { content, bytes })
    }

    fn add(&mut self, path: PathBuf, named: Named) -> Result<(), Problem> {
        self.make_room(&path, named.node == Node::Folder)?;
        let layer = self.layer;
        for folder in path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
            let implied = || Named {
                node: Node::Folder,
                executable: false,
                changed: 0,
                facts: Facts { mode: 0o755, ..Facts::default() },
                layer,
            };
            self.nodes.entry(folder.to_owned()).or_insert_with(implied).layer = layer;
        }
        self.nodes.insert(path, named);
        Ok(())
    }

    /// Takes away what something new replaces: of layers below anything, of its own only a folder that is named again.
    fn make_room(&mut self, path: &Path, for_folder: bool) -> Result<(), Problem> {
        match self.nodes.get(path) {
            Some(Named { node: Node::Folder, .. }) if for_folder => Ok(()),
            Some(named) if named.layer == self.layer => Err(Problem::Duplicate),
            Some(_) => {
                self.remove(path, |_| true);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn hide(&mut self, hidden: &Hidden) {
        let layer = self.layer;
        match hidden {
            Hidden::Nothing => {}
            Hidden::Name(path) => self.remove(path, |named| named.layer < layer),
            Hidden::Folder(folder) => {
                let inside = self.below(folder).filter(|(path, _)| path.as_path() != folder.as_path());
                let gone: Vec<_> =
                    inside.filter(|(_, named)| named.layer < layer).map(|(path, _)| path.clone()).collect();
                gone.iter().for_each(|path| drop(self.nodes.remove(path)));
            }
        }
    }

    fn remove(&mut self, path: &Path, which: impl Fn(&Named) -> bool) {
        let gone: Vec<_> =
            self.below(path).filter(|(_, named)| which(named)).map(|(path, _)| path.clone()).collect();
        gone.iter().for_each(|path| drop(self.nodes.remove(path)));
    }

    /// Goes through a name and everything below it.
    fn below<'a>(&'a self, top: &'a Path) -> impl Iterator<Item = (&'a PathBuf, &'a Named)> {
        self.nodes.range(top.to_owned()..).take_while(move |(path, _)| path.starts_with(top))
    }

    /// Returns where a path leads inside the root.
    fn follow(&self, path: &Path, last: Last) -> Result<PathBuf, Problem> {
        let mut at = PathBuf::new();
        let mut parts = parts_of(path);
        let mut followed = 0;
        while let Some(part) = parts.pop() {
            let name = match part {
                Part::Root => {
                    at.clear();
                    continue;
                }
                Part::Up => {
                    // Above the root is the root.
                    at.pop();
                    continue;
                }
                Part::Down(name) => name,
            };
            at.push(name);
            if parts.is_empty() && last == Last::Kept {
                break;
            }
            match self.nodes.get(&at).map(|named| &named.node) {
                Some(Node::Link(target)) => {
                    followed += 1;
                    if followed > MAX_LINKS {
                        return Err(Problem::Circle);
                    }
                    at.pop();
                    parts.extend(parts_of(target));
                }
                Some(Node::File { .. }) if !parts.is_empty() => return Err(Problem::BelowNonFolder),
                _ => {}
            }
        }
        Ok(at)
    }

    fn must_fit(&self) -> Result<(), UnpackError> {
        if self.nodes.len() > self.limits.entries {
            return Err(UnpackError::TooManyEntries { limit: self.limits.entries });
        }
        Ok(())
    }
}

/// Shows what is read to somebody.
struct Passing<R, F> {
    inner: R,
    seen: F,
}

impl<R: Read, F: FnMut(&[u8])> Read for Passing<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        (self.seen)(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }
}

/// Whether a link that is the last part of a path is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Followed,
    Kept,
}

/// What a whiteout hides.
enum Hidden {
    Nothing,
    Name(PathBuf),
    Folder(PathBuf),
}

fn hidden_by(path: &Path) -> Result<Option<Hidden>, Problem> {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok(match name.strip_prefix(WHITEOUT) {
        None => None,
        Some(_) if name == OPAQUE => Some(Hidden::Folder(folder.to_owned())),
        Some(_) if name.starts_with(OF_AUFS) => Some(Hidden::Nothing),
        Some(b"" | b"." | b"..") => return Err(Problem::NotAPath),
        Some(hidden) => Some(Hidden::Name(folder.join(OsStr::from_bytes(hidden)))),
    })
}

/// Reads a small text of an image, as `/etc/passwd`. What is not there is `None`.
///
/// # Errors
/// When it cannot be read.
pub fn read_text(root: &Root, path: &Path, limit: u64) -> io::Result<Option<String>> {
    let Some(Named { node: Node::File { content, .. }, .. }) = root.find(path) else { return Ok(None) };
    let mut text = Vec::new();
    fs::File::open(content)?.take(limit).read_to_end(&mut text)?;
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

#[cfg(test)]
mod tests;

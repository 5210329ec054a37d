//! Unpacks archives that anybody may have made: artifacts of ours, and those that were made elsewhere.
//!
//! Nothing in an archive is trusted: neither names, links, sizes nor the compression. Invariant: whatever is in it, nothing is
//! written outside the folder that is given, no more than the limits allow, and no link there leads out of it. What was written
//! before an archive was refused is left to the caller, who removes the folder.

mod compression;
mod error;
pub mod layers;
mod metered;
mod rooted;
mod stream;
mod tree;

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;

pub use self::compression::{Compression, NoArchive};
pub use self::error::{Problem, UnpackError, UnpackLimits};
use self::metered::{Counted, Metered};
pub use self::rooted::{FIRST_OF_IMAGE, ROOT};
use self::stream::{Archive, End, Entry, Kind};
pub use self::tree::Tree;
use self::tree::{Node, inner_path};

/// What an archive has to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begins {
    /// This file: it is one of our own packages.
    With(&'static str),
    /// Anything: it was made elsewhere.
    Anyhow,
}

/// Unpacks an archive into a folder that is empty.
///
/// # Errors
/// When the archive is refused or cannot be written.
pub fn unpack(
    archive: impl Read,
    compression: Compression,
    begins: Begins,
    folder: &Path,
    limits: &UnpackLimits,
) -> Result<Tree, UnpackError> {
    let (input, count) = Counted::new(archive);
    let decoder = compression.open(input).map_err(|source| UnpackError::Read { source })?;
    let mut archive = Archive::new(Metered::new(decoder, count, limits), End::Marked);
    let mut tree = Tree::new(limits.entries);
    if let Begins::With(expected) = begins
        && check_first(expected, &mut archive, &mut tree, folder)? == First::OfImage
    {
        rooted::unpack(&mut archive, &mut tree, folder)?;
        return Ok(tree);
    }
    while let Some(entry) = archive.next()? {
        unpack_entry(&entry, &mut archive, &mut tree, folder)?;
    }
    make_links(&tree, folder)?;
    Ok(tree)
}

/// Which of our packages an archive is.
#[derive(PartialEq, Eq)]
enum First {
    OfFiles,
    OfImage,
}

fn check_first(
    expected: &'static str,
    archive: &mut Archive<impl Read>,
    tree: &mut Tree,
    folder: &Path,
) -> Result<First, UnpackError> {
    let found = match archive.next()? {
        Some(entry) => match which(&entry, expected) {
            Some(first) => return unpack_entry(&entry, archive, tree, folder).map(|()| first),
            None => entry.path.display().to_string(),
        },
        None => "nothing".to_owned(),
    };
    Err(UnpackError::NotAPackage { found, expected })
}

fn which(first: &Entry, expected: &str) -> Option<First> {
    let is = |name: &str| first.path == Path::new(name) && matches!(first.kind, Kind::File { .. });
    if is(expected) {
        return Some(First::OfFiles);
    }
    is(FIRST_OF_IMAGE).then_some(First::OfImage)
}

fn unpack_entry(
    entry: &Entry,
    archive: &mut Archive<impl Read>,
    tree: &mut Tree,
    folder: &Path,
) -> Result<(), UnpackError> {
    let refused = |problem| UnpackError::refused(&entry.path, problem);
    let Some(path) = inner_path(&entry.path).map_err(refused)? else {
        // `./`, which many programs write, is the folder itself.
        return if entry.kind == Kind::Folder { Ok(()) } else { Err(refused(Problem::NotAPath)) };
    };
    let node = match &entry.kind {
        Kind::Folder => Node::Folder,
        Kind::File { .. } => Node::File,
        Kind::Symlink(target) => Node::Link(target.clone()),
        Kind::HardLink(target) => tree.hard_link(target).map_err(refused)?,
        Kind::Special | Kind::Unknown => return Err(refused(Problem::Special)),
    };
    tree.add(&path, node)?;
    write_entry(&entry.kind, archive, &folder.join(&path), folder)
}

/// Writes one entry. All folders above it are real ones: links are made when everything else is there.
fn write_entry(
    kind: &Kind,
    archive: &mut Archive<impl Read>,
    path: &Path,
    folder: &Path,
) -> Result<(), UnpackError> {
    let writing = |source| UnpackError::Write { path: path.to_owned(), source };
    match kind {
        Kind::Folder => fs::create_dir_all(path).map_err(writing),
        Kind::File { executable } => {
            make_parent(path).map_err(writing)?;
            // Several instances share the file, so nobody may change it.
            let mode = if *executable { 0o555 } else { 0o444 };
            let file =
                OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(writing)?;
            archive.copy_to(file, path)
        }
        Kind::HardLink(target) => {
            make_parent(path).map_err(writing)?;
            let target = inner_path(target).ok().flatten().unwrap_or_default();
            fs::hard_link(folder.join(target), path).map_err(writing)
        }
        Kind::Symlink(_) | Kind::Special | Kind::Unknown => Ok(()),
    }
}

fn make_links(tree: &Tree, folder: &Path) -> Result<(), UnpackError> {
    for (path, _) in tree.links() {
        tree.check_link(path).map_err(|problem| UnpackError::refused(path, problem))?;
    }
    put_links(tree, folder)
}

/// Makes the links of a tree, once everything else is there.
fn put_links(tree: &Tree, folder: &Path) -> Result<(), UnpackError> {
    for (path, target) in tree.links() {
        let path = folder.join(path);
        let made = make_parent(&path).and_then(|()| symlink(target, &path));
        made.map_err(|source| UnpackError::Write { path, source })?;
    }
    Ok(())
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

#[cfg(test)]
mod tests;

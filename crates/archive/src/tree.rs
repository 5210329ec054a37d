//! The files of an artifact as a tree in memory: which names it holds, and where its links lead. Pure.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use crate::error::{Problem, UnpackError};

/// Longest path in an artifact: a quarter of what Linux allows, so that the folder above always fits.
pub(crate) const MAX_PATH_BYTES: usize = 1024;
/// Most links that are followed from one, as Linux does.
pub(crate) const MAX_LINKS: usize = 40;

/// What stands under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    /// A folder that the artifact names.
    Folder,
    /// A folder that is only there because something is in it.
    ImpliedFolder,
    /// A file.
    File,
    /// A symbolic link with its target.
    Link(PathBuf),
}

/// The files of an artifact.
#[derive(Debug)]
pub struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
    limit: usize,
}

impl Tree {
    /// Makes an empty tree that takes at most so many names.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { nodes: BTreeMap::new(), limit }
    }

    /// Adds a name, with the folders above it.
    pub(crate) fn add(&mut self, path: &Path, node: Node) -> Result<(), UnpackError> {
        for folder in path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()) {
            match self.nodes.get(folder) {
                // What is above a known folder is known too.
                Some(Node::Folder | Node::ImpliedFolder) => break,
                Some(Node::File | Node::Link(_)) => {
                    return Err(UnpackError::refused(path, Problem::BelowNonFolder));
                }
                None => self.insert(folder, Node::ImpliedFolder)?,
            }
        }
        match (self.nodes.get(path), &node) {
            (None, _) | (Some(Node::ImpliedFolder), Node::Folder) => self.insert(path, node),
            _ => Err(UnpackError::refused(path, Problem::Duplicate)),
        }
    }

    fn insert(&mut self, path: &Path, node: Node) -> Result<(), UnpackError> {
        self.nodes.insert(path.to_owned(), node);
        if self.nodes.len() > self.limit {
            Err(UnpackError::TooManyEntries { limit: self.limit })
        } else {
            Ok(())
        }
    }

    /// Returns what a hard link to a path is: the same file. The path begins at the top of the artifact.
    pub(crate) fn hard_link(&self, target: &Path) -> Result<Node, Problem> {
        let path = inner_path(target).map_err(|_| Problem::LeadsOut)?;
        match path.and_then(|path| self.nodes.get(&path)) {
            Some(Node::File) => Ok(Node::File),
            _ => Err(Problem::HardLinkTarget),
        }
    }

    /// Returns the symbolic links with their targets.
    pub(crate) fn links(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.nodes.iter().filter_map(|(path, node)| match node {
            Node::Link(target) => Some((path.as_path(), target.as_path())),
            _ => None,
        })
    }

    /// Returns how many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns the names that are not symbolic links.
    pub fn files_and_folders(&self) -> impl Iterator<Item = &Path> {
        self.nodes.iter().filter(|(_, node)| !matches!(node, Node::Link(_))).map(|(path, _)| path.as_path())
    }

    /// Follows a link as the kernel would, through further links, and refuses it when it ever leaves the tree.
    pub(crate) fn check_link(&self, link: &Path) -> Result<(), Problem> {
        let mut at = PathBuf::new();
        let mut parts: Vec<Part> = parts_of(link);
        let mut followed = 0;
        while let Some(part) = parts.pop() {
            let name = match part {
                Part::Root => return Err(Problem::LeadsOut),
                Part::Up if at.pop() => continue,
                Part::Up => return Err(Problem::LeadsOut),
                Part::Down(name) => name,
            };
            at.push(name);
            if let Some(Node::Link(target)) = self.nodes.get(&at) {
                followed += 1;
                if followed > MAX_LINKS {
                    return Err(Problem::Circle);
                }
                at.pop();
                parts.extend(parts_of(target));
            }
        }
        Ok(())
    }
}

pub(crate) enum Part {
    Root,
    Up,
    Down(OsString),
}

/// Returns the parts of a path, the first one last.
pub(crate) fn parts_of(path: &Path) -> Vec<Part> {
    let part = |component| match component {
        Component::Prefix(_) | Component::RootDir => Some(Part::Root),
        Component::CurDir => None,
        Component::ParentDir => Some(Part::Up),
        Component::Normal(name) => Some(Part::Down(name.to_owned())),
    };
    path.components().rev().filter_map(part).collect()
}

/// Returns a path without `.` parts, or `None` when nothing is left of it.
pub(crate) fn inner_path(path: &Path) -> Result<Option<PathBuf>, Problem> {
    let mut inner = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) if name.len() <= 255 => inner.push(name),
            Component::Normal(_) => return Err(Problem::TooLong),
            Component::ParentDir => return Err(Problem::Parent),
            Component::RootDir | Component::Prefix(_) => return Err(Problem::Absolute),
        }
    }
    Ok((!inner.as_os_str().is_empty()).then_some(inner))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tree(nodes: &[(&str, Node)]) -> Tree {
        let mut tree = Tree::new(1_000);
        for (path, node) in nodes {
            tree.add(Path::new(path), node.clone()).unwrap();
        }
        tree
    }

    fn link(target: &str) -> Node {
        Node::Link(target.into())
    }

    #[test]
    fn links_inside_are_followed_and_links_out_are_refused() {
        let tree = tree(&[
            ("bin/run", Node::File),
            ("current", link("bin/run")),
            ("lib/self", link("../lib/./../bin")),
            ("out", link("..")),
            ("deep/out", link("../../etc/passwd")),
            ("root", link("/etc/passwd")),
            ("missing", link("nowhere/at/all")),
        ]);
        for (path, expected) in [
            ("current", Ok(())),
            ("lib/self", Ok(())),
            ("missing", Ok(())),
            ("out", Err(Problem::LeadsOut)),
            ("deep/out", Err(Problem::LeadsOut)),
            ("root", Err(Problem::LeadsOut)),
        ] {
            assert_eq!(tree.check_link(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_chain_of_harmless_links_that_leads_out_is_refused() {
        // By its text alone `b` stays inside: a/.. would be the top. Through the link it is the folder above.
        let tree = tree(&[
            ("x/y", Node::Folder),
            ("a", link("x")),
            ("x/up", link("../a/..")),
            ("b", link("x/up/..")),
        ]);
        assert_eq!(tree.check_link(Path::new("x/up")), Ok(()));
        assert_eq!(tree.check_link(Path::new("b")), Err(Problem::LeadsOut));
    }

    #[test]
    fn circles_are_refused() {
        let tree = tree(&[("a", link("b")), ("b", link("a")), ("c", link("c/x"))]);
        for path in ["a", "b", "c"] {
            assert_eq!(tree.check_link(Path::new(path)), Err(Problem::Circle), "{path}");
        }
    }

    #[test]
    fn nothing_lies_below_a_file_or_a_link() {
        let mut tree = tree(&[("file", Node::File), ("link", link("file"))]);
        for path in ["file/x", "link/x", "link/deep/x"] {
            let error = tree.add(Path::new(path), Node::File).unwrap_err();
            assert!(matches!(error, UnpackError::Refused { problem: Problem::BelowNonFolder, .. }), "{path}");
        }
    }

    #[test]
    fn implied_folders_count() {
        let mut tree = Tree::new(3);
        let error = tree.add(Path::new("a/b/c/d"), Node::File).unwrap_err();
        assert!(matches!(error, UnpackError::TooManyEntries { limit: 3 }));
    }

    proptest! {
        /// Whatever links there are: one that is accepted, made for real, leads to nothing outside.
        #[test]
        fn accepted_links_stay_inside_on_a_real_file_system(
            targets in proptest::collection::vec("(\\.\\./|a/|b/|c/|\\./){0,4}(a|b|c|\\.\\.)", 3),
        ) {
            let top = tempfile::tempdir().unwrap();
            let inside = top.path().canonicalize().unwrap().join("inside");
            std::fs::create_dir_all(inside.join("a")).unwrap();
            let mut tree = tree(&[("a", Node::Folder)]);
            for (path, target) in ["a/a", "b", "c"].iter().zip(&targets) {
                tree.add(Path::new(path), link(target)).unwrap();
                std::os::unix::fs::symlink(target, inside.join(path)).unwrap();
            }
            for path in ["a/a", "b", "c"] {
                if let Ok(real) = inside.join(path).canonicalize() {
                    let accepted = tree.check_link(Path::new(path)).is_ok();
                    prop_assert!(!accepted || real.starts_with(&inside), "{path}: {targets:?} -> {real:?}");
                }
            }
        }
    }
}

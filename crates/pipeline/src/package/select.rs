//! Which files a package has: walks the folder, applies the patterns, and reports every problem at once.

use std::fs::{self, DirEntry, FileType};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Component, Path};

use lockstep_archive::UnpackLimits;
use lockstep_manifest::{Package, Pattern, Selection};

use super::contents::Mode;
use super::{PACKAGE_MANIFEST_FILE, PackageError, PackageProblem, io_error};
use crate::nearest::nearest;

/// Most files of a package: as many as are unpacked where it is to run, and some times what a large Node service brings along.
const MAX_FILES: usize = UnpackLimits::USUAL.entries;
/// Most names kept to find those similar to a pattern that matches nothing.
const MAX_SEEN: usize = 20_000;
/// Most problems that are reported: more than a person mends before trying again.
const MAX_PROBLEMS: usize = 100;

/// A selected file or link, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selected {
    /// Relative to the root, with `/` between its parts.
    pub(crate) path: String,
    pub(crate) kind: SelectedKind,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SelectedKind {
    File(Mode),
    Link(String),
}

/// Selects files below `root`.
pub(crate) fn select(root: &Path, package: &Package) -> Result<Vec<Selected>, PackageError> {
    let mut walk = Walk::new(package)?;
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        let entries = fs::read_dir(&path).map_err(|source| io_error(&path, "read", source))?;
        for entry in entries {
            let entry = entry.map_err(|source| io_error(&path, "read", source))?;
            if let Some(below) = walk.visit(&folder, &entry)? {
                folders.push(below);
            }
            if walk.selected.len() > MAX_FILES {
                return Err(PackageError::Problems(vec![PackageProblem::TooMany { limit: MAX_FILES }]));
            }
        }
    }
    walk.finish()
}

struct Walk {
    selection: Selection,
    excluded: Selection,
    patterns: Vec<(Pattern, Selection, Matches)>,
    seen: Vec<String>,
    selected: Vec<Selected>,
    problems: Vec<PackageProblem>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Matches {
    Nothing,
    Something,
}

impl Walk {
    fn new(package: &Package) -> Result<Self, PackageError> {
        let git: Pattern = "**/.git".parse().map_err(PackageError::Patterns)?;
        let excluded: Vec<Pattern> = package.exclude.iter().cloned().chain([git]).collect();
        let single = |pattern: &Pattern| {
            let selection = Selection::new(std::slice::from_ref(pattern), &[])?;
            Ok((pattern.clone(), selection, Matches::Nothing))
        };
        let patterns: Result<_, _> = package.include.iter().map(single).collect();
        Ok(Self {
            selection: package.selection().map_err(PackageError::Patterns)?,
            excluded: Selection::new(&excluded, &[]).map_err(PackageError::Patterns)?,
            patterns: patterns.map_err(PackageError::Patterns)?,
            seen: Vec::new(),
            selected: Vec::new(),
            problems: Vec::new(),
        })
    }

    /// Looks at one entry; returns the folder that must be walked, if it is one.
    fn visit(&mut self, folder: &str, entry: &DirEntry) -> Result<Option<String>, PackageError> {
        let name = entry.file_name();
        let path = joined(folder, &name.to_string_lossy());
        let kind = entry.file_type().map_err(|source| io_error(&entry.path(), "read", source))?;
        if self.excluded.contains(&path) {
            return Ok(None);
        }
        if name.to_str().is_none() {
            self.problem(PackageProblem::NotUtf8 { path });
            return Ok(None);
        }
        if self.seen.len() < MAX_SEEN {
            self.seen.push(path.clone());
        }
        if kind.is_dir() {
            return Ok(Some(path));
        }
        if self.selection.contains(&path) {
            self.take(path, kind, entry)?;
        }
        Ok(None)
    }

    fn take(&mut self, path: String, kind: FileType, entry: &DirEntry) -> Result<(), PackageError> {
        let mut matched = self.patterns.iter_mut().filter(|(_, selection, _)| selection.contains(&path));
        matched.by_ref().for_each(|(_, _, matches)| *matches = Matches::Something);
        if path == PACKAGE_MANIFEST_FILE {
            self.problem(PackageProblem::ReservedName);
        } else if kind.is_symlink() {
            self.take_link(path, entry)?;
        } else if kind.is_file() {
            let metadata = entry.metadata().map_err(|source| io_error(&entry.path(), "read", source))?;
            let mode = Mode::of(metadata.permissions().mode());
            self.selected.push(Selected { path, kind: SelectedKind::File(mode) });
        } else {
            self.problem(PackageProblem::Special { path, what: special(kind) });
        }
        Ok(())
    }

    fn take_link(&mut self, path: String, entry: &DirEntry) -> Result<(), PackageError> {
        let target = fs::read_link(entry.path()).map_err(|source| io_error(&entry.path(), "read", source))?;
        match target.to_str() {
            Some(text) if stays_inside(&path, &target) => {
                self.selected.push(Selected { path, kind: SelectedKind::Link(text.to_owned()) });
            }
            _ => {
                let target = target.to_string_lossy().into_owned();
                self.problem(PackageProblem::LinkLeadsOut { path, target });
            }
        }
        Ok(())
    }

    fn problem(&mut self, problem: PackageProblem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn finish(mut self) -> Result<Vec<Selected>, PackageError> {
        let unmatched = self.patterns.iter().filter(|(_, _, matches)| *matches == Matches::Nothing);
        for (pattern, _, _) in unmatched {
            let literal = literal_part(pattern.as_str());
            let others = self.seen.iter().map(String::as_str).filter(|name| *name != literal);
            let nearest = nearest(literal, others);
            self.problems.push(PackageProblem::NothingMatches { pattern: pattern.to_string(), nearest });
        }
        if !self.problems.is_empty() {
            return Err(PackageError::Problems(self.problems));
        }
        self.selected.sort_unstable();
        Ok(self.selected)
    }
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// The folders in front of the first wildcard, which is what people misspell.
fn literal_part(pattern: &str) -> &str {
    let wildcard = pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len());
    let literal = pattern[..wildcard].trim_end_matches('/');
    if literal.is_empty() { pattern } else { literal }
}

/// Tells whether a link stays inside the root whatever other links in the package do: its `..` come first, and there are
/// not more of them than folders above the link. What follows goes down, or through a link of which the same holds.
fn stays_inside(path: &str, target: &Path) -> bool {
    let mut depth = path.matches('/').count();
    let mut went_down = false;
    for component in target.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(_) => went_down = true,
            Component::ParentDir if !went_down && depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

fn special(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "named pipe"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside_or_are_refused() {
        for (path, target) in
            [("a", "b"), ("d/a", "../b"), ("d/e/a", "../../x/y"), ("d/a", "./b"), ("a", ".")]
        {
            assert!(stays_inside(path, Path::new(target)), "{path} -> {target}");
        }
        for (path, target) in
            [("a", "/etc/passwd"), ("a", ".."), ("d/a", "../../b"), ("d/a", "x/../../b"), ("a", "x/..")]
        {
            assert!(!stays_inside(path, Path::new(target)), "{path} -> {target}");
        }
    }

    #[test]
    fn what_people_misspell_stands_before_the_wildcard() {
        for (pattern, literal) in
            [("dist/**", "dist"), ("src/*.js", "src"), ("**", "**"), ("*.py", "*.py"), ("app", "app")]
        {
            assert_eq!(literal_part(pattern), literal);
        }
    }
}

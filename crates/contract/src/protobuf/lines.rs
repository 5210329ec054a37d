//! The lines of a file's elements, by their paths in the descriptor.
//!
//! Only elements are kept. Compilers note many more places (names, numbers, types) that nobody is shown.

use std::collections::HashMap;

/// Lines, from 1, by path.
#[derive(Debug, Default)]
pub(super) struct Lines(HashMap<Box<[i32]>, u32>);

impl Lines {
    /// Collects lines from pairs of path and span.
    pub(super) fn of<'a>(locations: impl Iterator<Item = (&'a [i32], &'a [i32])>) -> Self {
        // An element's path has an even length; odd ones are of its name, number or type.
        let elements = locations.filter(|(path, _)| path.len() % 2 == 0);
        let lines = elements.filter_map(|(path, span)| {
            let line = u32::try_from(*span.first()?).ok()?;
            Some((path.into(), line.saturating_add(1)))
        });
        Self(lines.collect())
    }

    /// Gives the line of an element.
    pub(super) fn get(&self, path: &[i32]) -> Option<u32> {
        self.0.get(path).copied()
    }

    /// Gives the line of the innermost element that a path leads into.
    pub(super) fn nearest(&self, path: &[i32]) -> Option<u32> {
        (1..=path.len()).rev().find_map(|length| self.get(&path[..length]))
    }
}

//! On which line of a file something stands.

use std::collections::BTreeMap;

use super::node::Node;
use crate::table::TableProblem;

/// Where the lines of a text begin.
#[derive(Debug)]
pub(crate) struct Starts(Vec<usize>);

impl Starts {
    pub(super) fn new(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    /// Returns the line of an offset in bytes, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|&start| start <= offset)
    }
}

/// Where the parts of a table stand in its file: `routes[3]`, `services.orders`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Lines(BTreeMap<String, Place>);

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// What it is called there.
    name: String,
    line: usize,
}

impl Lines {
    /// Takes the lines of all parts that a problem of a table as a whole can be about.
    pub(super) fn of(document: &Node, starts: &Starts) -> Self {
        let mut lines = BTreeMap::new();
        let mut add = |name: String, node: &Node| {
            lines.insert(name.clone(), Place { name, line: starts.line(node.offset) });
        };
        for member in document.members() {
            add(member.key.clone(), &member.value);
            for (index, element) in member.value.elements().iter().enumerate() {
                add(format!("{}[{index}]", member.key), element);
            }
            for inner in member.value.members() {
                add(format!("{}.{}", member.key, inner.key), &inner.value);
            }
        }
        Self(lines)
    }

    /// Takes the places of a table in TOML.
    pub(super) fn of_toml(places: Vec<(String, String, usize)>) -> Self {
        Self(places.into_iter().map(|(place, name, line)| (place, Place { name, line })).collect())
    }

    /// Names a problem by where it stands in the file, or by what that is in.
    pub(crate) fn place(&self, problem: TableProblem) -> TableProblem {
        let whole = problem.place.as_str();
        let mut shorter = std::iter::successors(Some(whole), |it| it.rfind(['.', '[']).map(|end| &it[..end]));
        let Some((part, Place { name, line })) = shorter.find_map(|it| Some((it, self.0.get(it)?))) else {
            return problem;
        };
        let place = format!("{name}{}", &whole[part.len()..]);
        TableProblem { place, line: Some(*line), ..problem }
    }
}

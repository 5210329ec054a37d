//! Many changes as few entries: one cause at many places is told once, with all its places.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::summary::MANY;
use crate::Change;

/// Width to which lists of places are broken.
const WIDTH: usize = 96;

/// Changes of one rule and one cause, the first of which stands for all.
pub(super) struct Group<'r> {
    pub(super) first: &'r Change,
    pub(super) others: Vec<&'r Change>,
}

impl<'r> Group<'r> {
    /// All of them, the first included.
    pub(super) fn all(&self) -> impl Iterator<Item = &'r Change> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }
}

/// Joins changes that have one cause: the same rule and the same before and after, whatever uses it. Of many changes the
/// operation does not count either: what is demanded of two hundred is told once.
pub(super) fn by_cause<'r>(changes: impl Iterator<Item = &'r Change>, count: usize) -> Vec<Group<'r>> {
    joined(changes, |change| {
        let words = cause(change).split(' ').filter(|word| count <= MANY || !word.starts_with('/'));
        (change.rule.id, words.collect::<Vec<_>>().join(" "))
    })
}

/// Joins changes of one rule.
pub(super) fn by_rule<'r>(changes: impl Iterator<Item = &'r Change>) -> Vec<Group<'r>> {
    joined(changes, |change| (change.rule.id, String::new()))
}

fn joined<'r>(
    changes: impl Iterator<Item = &'r Change>,
    key: impl Fn(&'r Change) -> (&'static str, String),
) -> Vec<Group<'r>> {
    let mut groups: Vec<Group<'r>> = Vec::new();
    let mut known: HashMap<(&str, String, bool), usize> = HashMap::new();
    for change in changes {
        let (rule, what) = key(change);
        let place = *known.entry((rule, what, change.accepted.is_some())).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.others.push(change),
            None => groups.push(Group { first: change, others: Vec::new() }),
        }
    }
    groups
}

/// What a message says before it tells who uses the place.
fn cause(change: &Change) -> &str {
    change.message.rsplit_once("; ").map_or(change.message.as_str(), |(cause, _)| cause)
}

/// Places one after another, broken between them, with an indent.
pub(super) fn list(out: &mut String, indent: &str, places: impl Iterator<Item = String>) {
    let mut line = String::new();
    for place in places {
        if !line.is_empty() && indent.len() + line.len() + 2 + place.len() > WIDTH {
            let _ = writeln!(out, "{indent}{line},");
            line.clear();
        }
        if !line.is_empty() {
            line.push_str(", ");
        }
        line.push_str(&place);
    }
    let _ = writeln!(out, "{indent}{line}");
}

//! What a report of many changes begins with: how many there are of each rule, whom they hurt, and where the breaks are.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::hurts;
use crate::openapi::METHODS;
use crate::{Change, Level};

/// From how many changes on a report begins with a summary and joins what is alike: fewer fit on a screen.
pub(super) const MANY: usize = 30;

/// Most lines of one part.
const LINES: usize = 15;

/// What a summary counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Changes of each rule, the worst first.
    pub(super) rules: Vec<(Level, &'static str, usize)>,
    /// Breaks by whom they hurt, the most first.
    pub(super) hurt: Vec<(&'static str, usize)>,
    /// Breaks by operation, message, type or table, the most first.
    pub(super) subjects: Vec<(String, usize)>,
}

/// Counts changes; `None` when they are few.
pub(super) fn summary(changes: &[Change]) -> Option<Summary> {
    (changes.len() > MANY).then(|| {
        let mut rules: BTreeMap<(Reverse<Level>, &'static str), usize> = BTreeMap::new();
        for change in changes {
            *rules.entry((Reverse(change.level), change.rule.id)).or_default() += 1;
        }
        let breaks = || changes.iter().filter(|change| change.breaks());
        Summary {
            rules: rules.into_iter().map(|((level, rule), count)| (level.0, rule, count)).collect(),
            hurt: most(breaks().map(hurts)),
            subjects: most(breaks().map(|change| subject(&change.place))),
        }
    })
}

/// A summary as lines of text with an empty one before it; nothing when the changes are few.
pub(super) fn text(changes: &[Change]) -> String {
    let Some(Summary { rules, hurt, subjects }) = summary(changes) else { return String::new() };
    let mut out = String::from("\nsummary:\n");
    for (level, rule, count) in rules {
        let _ = writeln!(out, "  {count:>6} {:<8} {rule}", level.as_str());
    }
    write_part(&mut out, "who is hurt", "groups", &hurt);
    write_part(&mut out, "where the breaks are", "places", &subjects);
    out
}

fn write_part(out: &mut String, title: &str, what: &str, counts: &[(impl AsRef<str>, usize)]) {
    if counts.iter().all(|(_, count)| *count == 1) && counts.len() > LINES {
        let _ = writeln!(out, "{title}: one each in {} {what}", counts.len());
        return;
    }
    if counts.is_empty() {
        return;
    }
    let _ = writeln!(out, "{title}:");
    for (name, count) in counts.iter().take(LINES) {
        let _ = writeln!(out, "  {count:>6} {}", name.as_ref());
    }
    if let Some(more) = counts.len().checked_sub(LINES).filter(|more| *more > 0) {
        let _ = writeln!(out, "  and {more} more {what}");
    }
}

fn most<T: Ord>(items: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    let mut counts: Vec<(T, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(*count));
    counts
}

/// What a place belongs to: `POST /charges`, `schemas/Charge`, a message, a type, a table.
pub(super) fn subject(place: &str) -> String {
    if let Some((file, pointer)) = place.split_once("#/") {
        return format!("{file}#/{}", pointer.split('/').next().unwrap_or_default());
    }
    let Some(pointer) = place.strip_prefix('/') else {
        return place.rsplit_once('.').map_or(place, |(owner, _)| owner).to_owned();
    };
    let mut parts = pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~"));
    match (parts.next().as_deref(), parts.next(), parts.next()) {
        (Some("paths"), Some(path), Some(method)) if METHODS.contains(&method.as_str()) => {
            format!("{} {path}", method.to_uppercase())
        }
        (Some("paths"), Some(path), _) => path,
        (Some("components"), Some(kind), Some(name)) => format!("{kind}/{name}"),
        (Some(first), Some(second), _) => format!("{first}/{second}"),
        _ => place.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_belongs_to_an_operation_a_schema_a_type_or_a_table() {
        for (place, expected) in [
            ("/paths/~1charges~1{id}/post/requestBody/content", "POST /charges/{id}"),
            ("/paths/~1charges/parameters/0", "/charges"),
            ("/paths/~1charges", "/charges"),
            ("/components/schemas/Charge/properties/n", "schemas/Charge"),
            ("/definitions/Charge/properties/n", "definitions/Charge"),
            ("/properties", "/properties"),
            ("common/charge.yaml#/Charge/properties/n", "common/charge.yaml#/Charge"),
            ("shop.v1.Order.id", "shop.v1.Order"),
            ("orders.note", "orders"),
            ("orders", "orders"),
            ("", ""),
        ] {
            assert_eq!(subject(place), expected, "{place}");
        }
    }
}

//! What the columns of a recording are, by their names.

use super::Mistake;
use crate::status::StatusClass;

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Column {
    Interval,
    Arm,
    Class,
    Weight,
    Requests,
    Status(StatusClass, Part),
    Slower(u64, Part),
}

/// Which count of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Answers,
    Keys,
}

/// The columns in their order, with their names.
#[derive(Debug, Clone)]
pub(super) struct Columns(pub(super) Vec<(String, Column)>);

impl Columns {
    pub(super) fn read(line: usize, head: &str) -> Result<Self, Vec<Mistake>> {
        let names: Vec<_> = head.split(',').map(str::trim).collect();
        let mut mistakes = Vec::new();
        let mut columns: Vec<(String, Column)> = Vec::new();
        let mut wrong = |name: &str, why: &str| mistakes.push(super::mistake(line, name, why));
        for name in names {
            match column(name) {
                None => wrong(name, "is not a column: see the description of recordings"),
                Some(column) if columns.iter().any(|(_, other)| *other == column) => {
                    wrong(name, "is there twice");
                }
                Some(column) => columns.push((name.to_owned(), column)),
            }
        }
        for (name, needed) in
            [("interval", Column::Interval), ("arm", Column::Arm), ("requests", Column::Requests)]
        {
            if !columns.iter().any(|(_, column)| *column == needed) {
                wrong(name, "is missing");
            }
        }
        if mistakes.is_empty() { Ok(Self(columns)) } else { Err(mistakes) }
    }

    pub(super) fn latency_bounds(&self) -> Vec<u64> {
        let bound = |(_, column): &(String, Column)| match column {
            Column::Slower(bound, Part::Answers) => Some(*bound),
            _ => None,
        };
        let mut bounds: Vec<_> = self.0.iter().filter_map(bound).collect();
        bounds.sort_unstable();
        bounds
    }
}

fn column(name: &str) -> Option<Column> {
    let (count, part) = match name.strip_suffix(" keys") {
        Some(count) => (count, Part::Keys),
        None => (name, Part::Answers),
    };
    match (name, count.strip_prefix("slower ")) {
        ("interval", _) => Some(Column::Interval),
        ("arm", _) => Some(Column::Arm),
        ("class", _) => Some(Column::Class),
        ("weight", _) => Some(Column::Weight),
        ("requests", _) => Some(Column::Requests),
        (_, Some(bound)) => Some(Column::Slower(bound.parse().ok()?, part)),
        (_, None) => Some(Column::Status(count.parse().ok().filter(is_status)?, part)),
    }
}

/// A misspelt column must not be taken for a class of answers.
fn is_status(class: &StatusClass) -> bool {
    let text = class.as_str();
    text == StatusClass::NO_ANSWER
        || text.starts_with("grpc:")
        || text.starts_with(|c: char| c.is_ascii_digit())
}

//! Statements that worked on the old schema and fail on the new one.
//!
//! A row is made of the columns that the old table demands, with the plainest value of their types. Where such a row
//! cannot be made, as for types we know nothing of, there is no witness.

use serde_json::{Value, json};

use super::{
    state::{Column, ConstraintRule, Table},
    types::{ColumnType, Family},
};

/// Shows a query of a whole table.
pub(super) fn select(table: &str, before: &Table) -> Option<Value> {
    let columns: Vec<String> = before.columns.keys().map(|column| quoted(column)).collect();
    (!columns.is_empty()).then(|| {
        json!({
            "statements": [format!("SELECT {} FROM {}", columns.join(", "), quoted(table))],
            "outcome": "there is no such table",
        })
    })
}

/// Shows a query of everything in a view.
pub(super) fn select_from(view: &str, outcome: &str) -> Value {
    json!({ "statements": [format!("SELECT * FROM {}", quoted(view))], "outcome": outcome })
}

/// Shows a query of one column; qualified, because SQLite takes unknown quoted names for text.
pub(super) fn select_column(table: &str, column: &str, outcome: &str) -> Option<Value> {
    let statement = format!("SELECT {0}.{1} FROM {0}", quoted(table), quoted(column));
    Some(json!({ "statements": [statement], "outcome": outcome }))
}

/// Shows an insert of a plain row, with some columns given as wanted (or plainly).
pub(super) fn insert(
    table: &str,
    before: &Table,
    wanted: &[(&str, Option<&str>)],
    outcome: &str,
) -> Option<Value> {
    let statement = row(table, before, wanted, 0)?;
    Some(json!({ "statements": [statement], "outcome": outcome }))
}

/// Shows two rows that are equal in some columns, and differ in whatever must differ.
pub(super) fn twice(table: &str, before: &Table, columns: &[String]) -> Option<Value> {
    let values = plain_values(before, columns)?;
    let wanted = borrowed(&values);
    let rows = [row(table, before, &wanted, 0)?, row(table, before, &wanted, 1)?];
    Some(json!({ "statements": rows, "outcome": "the second row is not unique" }))
}

/// Shows a row whose reference leads nowhere.
pub(super) fn without_parent(table: &str, before: &Table, columns: &[String]) -> Option<Value> {
    let values = plain_values(before, columns)?;
    insert(table, before, &borrowed(&values), "there is no row it refers to")
}

fn plain_values<'a>(before: &Table, columns: &'a [String]) -> Option<Vec<(&'a str, String)>> {
    columns.iter().map(|column| Some((column.as_str(), plain(before.columns.get(column)?, 0)?))).collect()
}

fn borrowed<'a>(values: &'a [(&str, String)]) -> Vec<(&'a str, Option<&'a str>)> {
    values.iter().map(|(column, value)| (*column, Some(value.as_str()))).collect()
}

/// Shows a value that the old type held and the new one does not.
pub(super) fn too_large(
    table: &str,
    before: &Table,
    column: &str,
    (old, new): (&ColumnType, &ColumnType),
) -> Option<Value> {
    let value = match (&old.family, &new.family) {
        (Family::Integer { low, high }, Family::Integer { low: new_low, high: new_high }) => {
            if new_high < high {
                (new_high + 1).to_string()
            } else {
                new_low.min(&0).checked_sub(1)?.max(*low).to_string()
            }
        }
        (Family::Text { .. }, Family::Text { longest: Some(longest) }) if *longest < 1_000 => {
            format!("'{}'", "a".repeat(usize::try_from(*longest).ok()? + 1))
        }
        (Family::Labels(old), Family::Labels(new)) => {
            format!("'{}'", old.iter().find(|label| !new.contains(label))?)
        }
        _ => return None,
    };
    insert(table, before, &[(column, Some(&value))], "the value does not fit the new type")
}

/// Shows a row that does not meet a condition, for conditions that compare one column with one number or list.
pub(super) fn against_check(
    table: &str,
    before: &Table,
    columns: &[String],
    condition: &str,
) -> Option<Value> {
    let [column] = columns else { return None };
    let bare = condition.trim_matches(['(', ')']).replace(['"', '`'], "");
    let rest = bare.strip_prefix(column.as_str())?.trim_start();
    let value = if rest.starts_with("IN (") || rest.starts_with("IN(") {
        let of = &before.columns.get(column)?.of.family;
        let text = matches!(of, Family::Text { .. });
        (text && !rest.contains("'none of these'")).then(|| "'none of these'".to_owned())?
    } else {
        let (operator, number) = rest.split_once(' ')?;
        let number: i64 = number.trim().parse().ok()?;
        match operator {
            ">" | ">=" => number.checked_sub(1)?.to_string(),
            "<" | "<=" => number.checked_add(1)?.to_string(),
            "<>" | "!=" => number.to_string(),
            "=" => number.checked_add(1)?.to_string(),
            _ => return None,
        }
    };
    insert(table, before, &[(column, Some(&value))], &format!("the row does not meet {condition}"))
}

/// Writes an insert of the columns that the table demands, and of those wanted; `variant` makes keys differ.
fn row(table: &str, before: &Table, wanted: &[(&str, Option<&str>)], variant: usize) -> Option<String> {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    let bound = |column: &str| {
        before.constraints.iter().any(|one| {
            matches!(one.rule, ConstraintRule::ForeignKey { .. } | ConstraintRule::Check(_))
                && one.columns.iter().any(|name| name == column)
        })
    };
    for (name, column) in &before.columns {
        let value = match wanted.iter().find(|(wanted, _)| wanted == name) {
            Some((_, Some(value))) => (*value).to_owned(),
            Some((_, None)) => plain(column, variant)?,
            None if column.may_be_left_out() => continue,
            // A value that old constraints might refuse proves nothing.
            None if bound(name) => return None,
            None => plain(column, variant)?,
        };
        names.push(quoted(name));
        values.push(value);
    }
    if names.is_empty() {
        return Some(format!("INSERT INTO {} DEFAULT VALUES", quoted(table)));
    }
    Some(format!("INSERT INTO {} ({}) VALUES ({})", quoted(table), names.join(", "), values.join(", ")))
}

/// Writes the plainest value of a column.
fn plain(column: &Column, variant: usize) -> Option<String> {
    let digit = variant + 1;
    Some(match &column.of.family {
        Family::Integer { .. } | Family::Decimal { before: None, .. } | Family::Float { .. } => {
            digit.to_string()
        }
        Family::Decimal { before: Some(0), .. } => "0".to_owned(),
        Family::Decimal { .. } => digit.to_string(),
        Family::Text { .. } => format!("'{}'", if variant == 0 { "a" } else { "b" }),
        Family::Labels(labels) => format!("'{}'", labels.first()?),
        Family::Named(name) if name == "BOOLEAN" => "true".to_owned(),
        Family::Bytes { .. } | Family::Named(_) => return None,
    })
}

/// Quotes a name only where it must be, so that statements read as people write them.
fn quoted(name: &str) -> String {
    let plain = |part: &str| {
        let mut letters = part.bytes();
        letters.next().is_some_and(|first| first == b'_' || first.is_ascii_lowercase())
            && letters.all(|letter| letter == b'_' || letter.is_ascii_lowercase() || letter.is_ascii_digit())
            && !RESERVED.contains(&part)
    };
    let quote =
        |part: &str| if plain(part) { part.to_owned() } else { format!("\"{}\"", part.replace('"', "\"\"")) };
    name.split('.').map(quote).collect::<Vec<_>>().join(".")
}

/// Words that all three dialects reserve and that people use as names nevertheless.
const RESERVED: [&str; 20] = [
    "order",
    "group",
    "user",
    "table",
    "index",
    "select",
    "from",
    "where",
    "default",
    "check",
    "primary",
    "references",
    "unique",
    "values",
    "column",
    "limit",
    "key",
    "to",
    "desc",
    "end",
];

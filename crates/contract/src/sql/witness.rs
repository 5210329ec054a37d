//! Statements that worked on the old schema and fail on the new one.
//!
//! A row is made of the columns that the old table demands, with the plainest value of their types. Where such a row
//! cannot be made, as for types we know nothing of, there is no witness.

use serde_json::{Value, json};

use super::{
    evaluate::{Condition, Value as Known},
    state::{Column, Constraint, ConstraintRule, NEXT_NUMBER, Nulls, Table},
    types::{ColumnType, Family},
};
use crate::SqlDialect;

/// Shows a query of a whole table.
pub(super) fn select(dialect: SqlDialect, table: &str, before: &Table) -> Option<Value> {
    let columns: Vec<String> = before.columns.keys().map(|column| quoted(dialect, column)).collect();
    (!columns.is_empty()).then(|| {
        json!({
            "statements": [format!("SELECT {} FROM {}", columns.join(", "), quoted(dialect, table))],
            "outcome": "there is no such table",
        })
    })
}

/// Shows a query of everything in a view.
pub(super) fn select_from(dialect: SqlDialect, view: &str, outcome: &str) -> Value {
    json!({ "statements": [format!("SELECT * FROM {}", quoted(dialect, view))], "outcome": outcome })
}

/// Shows a query of one column; qualified, because SQLite takes unknown quoted names for text.
pub(super) fn select_column(dialect: SqlDialect, table: &str, column: &str, outcome: &str) -> Option<Value> {
    let statement = format!("SELECT {0}.{1} FROM {0}", quoted(dialect, table), quoted(dialect, column));
    Some(json!({ "statements": [statement], "outcome": outcome }))
}

/// The rows that a table of the old schema takes.
pub(super) struct Rows<'a> {
    pub(super) dialect: SqlDialect,
    pub(super) name: &'a str,
    pub(super) before: &'a Table,
}

/// The columns and values of an insert.
type Row<'a> = Vec<(&'a str, String)>;

impl Rows<'_> {
    /// Shows an insert of a plain row, with some columns given as wanted (or plainly).
    pub(super) fn insert(&self, wanted: &[(&str, Option<&str>)], outcome: &str) -> Option<Value> {
        let statement = self.written(&self.row(wanted, 0)?);
        Some(json!({ "statements": [statement], "outcome": outcome }))
    }

    /// Shows two rows that are equal in some columns, and differ in whatever must differ.
    pub(super) fn twice(&self, columns: &[String], condition: Option<&str>) -> Option<Value> {
        let values = self.plain_values(columns, 0)?;
        let plain = borrowed(&values);
        let met = self.meeting(condition);
        let chosen = met.iter().filter(|(name, _)| !columns.contains(name));
        let chosen =
            chosen.map(|(name, value)| [plain.as_slice(), &[(name.as_str(), Some(value.as_str()))]].concat());
        std::iter::once(plain.clone()).chain(chosen).find_map(|wanted| {
            let (first, second) = (self.row(&wanted, 0)?, self.row(&wanted, 1)?);
            let shows = self.are_unique(&first, &second, None) && self.surely_meets(&first, condition);
            let rows = [self.written(&first), self.written(&second)];
            shows.then(|| json!({ "statements": rows, "outcome": "the second row is not unique" }))
        })
    }

    /// Values of a column that may well meet a condition: those that stand in it, and those beside them.
    fn meeting(&self, condition: Option<&str>) -> Vec<(String, String)> {
        let Some(condition) = condition.and_then(|text| Condition::read(self.dialect, text)) else {
            return Vec::new();
        };
        let literals = condition.literals();
        let values = literals.iter().flat_map(|literal| match literal {
            Known::Number(number) => {
                [number - 1.0, *number, number + 1.0].map(|one| one.to_string()).to_vec()
            }
            Known::Text(text) => vec![format!("'{}'", text.replace('\'', "''"))],
            _ => Vec::new(),
        });
        let values: Vec<String> = values.collect();
        let named = condition.columns(self.before.columns.keys());
        named.iter().flat_map(|name| values.iter().map(|value| ((*name).clone(), value.clone()))).collect()
    }

    /// Shows an upsert that names a key.
    pub(super) fn upsert(&self, key: &Constraint) -> Option<Value> {
        if self.dialect == SqlDialect::MySql {
            return self.second_row(key);
        }
        let known: Vec<String> =
            key.columns.iter().filter(|name| self.before.columns.contains_key(*name)).cloned().collect();
        // A row without any column takes no upsert in SQLite.
        let row = self.row(&borrowed(&self.plain_values(&known, 0)?), 0).filter(|row| !row.is_empty())?;
        let names: Vec<_> = key
            .columns
            .iter()
            .map(|name| if name.contains('(') { name.clone() } else { quoted(self.dialect, name) })
            .collect();
        let condition = match &key.rule {
            ConstraintRule::Unique { condition: Some(condition), .. } => format!(" WHERE {condition}"),
            _ => String::new(),
        };
        let statement =
            format!("{} ON CONFLICT ({}){condition} DO NOTHING", self.written(&row), names.join(", "));
        Some(json!({ "statements": [statement], "outcome": "there is no such key" }))
    }

    /// Shows an upsert of MySQL that finds no key, and leaves a second row.
    fn second_row(&self, key: &Constraint) -> Option<Value> {
        let values = self.plain_values(&key.columns, 0)?;
        let wanted = borrowed(&values);
        let (first, second) = (self.row(&wanted, 0)?, self.row(&wanted, 1)?);
        let (column, _) = values.first()?;
        let column = quoted(self.dialect, column);
        let statements = [
            self.written(&first),
            format!("{} ON DUPLICATE KEY UPDATE {column} = {column}", self.written(&second)),
            format!("SELECT count(*) FROM {}", quoted(self.dialect, self.name)),
        ];
        self.are_unique(&first, &second, Some(key)).then(|| {
            json!({ "statements": statements, "was": [[1]], "is": [[2]], "outcome": "a second row comes to be" })
        })
    }

    /// Shows what stands in a column that the database numbered, where it is left out.
    pub(super) fn unnumbered(&self, column: &str, new: &Column) -> Option<Value> {
        let insert = self.written(&self.row(&[], 0)?);
        let table = quoted(self.dialect, self.name);
        let select = format!("SELECT {} FROM {table}", quoted(self.dialect, column));
        let is = match &new.default {
            None => Value::Null,
            Some(_) => return None,
        };
        Some(json!({
            "statements": [insert, select],
            "outcome": "the row has no number",
            "was": [[1]],
            "is": [[is]],
        }))
    }

    /// Shows a row whose reference leads nowhere.
    pub(super) fn without_parent(&self, columns: &[String]) -> Option<Value> {
        // A row with a key of 1 may refer to itself.
        let values = self.plain_values(columns, 1)?;
        self.insert(&borrowed(&values), "there is no row it refers to")
    }

    fn plain_values<'c>(&self, columns: &'c [String], variant: usize) -> Option<Vec<(&'c str, String)>> {
        let plain = |column: &String| plain(self.before.columns.get(column)?, variant);
        columns.iter().map(|column| Some((column.as_str(), plain(column)?))).collect()
    }

    /// Shows a value that the old type held and the new one does not.
    pub(super) fn too_large(&self, column: &str, (old, new): (&ColumnType, &ColumnType)) -> Option<Value> {
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
        self.insert(&[(column, Some(&value))], "the value does not fit the new type")
    }

    /// Makes an insert of the columns that the table demands, and of those wanted; `variant` makes keys differ. None when
    /// the table's own conditions or references might refuse it: such a row proves nothing.
    fn row(&self, wanted: &[(&str, Option<&str>)], variant: usize) -> Option<Row<'_>> {
        let mut row = Row::new();
        for (name, column) in &self.before.columns {
            let value = match wanted.iter().find(|(wanted, _)| wanted == name) {
                Some((_, Some(value))) => (*value).to_owned(),
                Some((_, None)) => plain(column, variant)?,
                None if column.may_be_left_out() => continue,
                None => plain(column, variant)?,
            };
            row.push((name, value));
        }
        let referring =
            self.before.constraints.iter().filter(|one| matches!(one.rule, ConstraintRule::ForeignKey(_)));
        let mut bound = referring.flat_map(|one| &one.columns);
        let given = |name: &String| self.known(&row, name) != Known::Null;
        (!bound.any(given) && self.meets_conditions(&row)).then_some(row)
    }

    fn meets_conditions(&self, row: &Row<'_>) -> bool {
        self.before.constraints.iter().all(|one| {
            let ConstraintRule::Check(text) = &one.rule else { return true };
            let condition = Condition::read(self.dialect, text);
            condition.is_some_and(|condition| !condition.value(&|name| self.known(row, name)).truth().no)
        })
    }

    /// Says whether a row is one of those that a partial index is about.
    fn surely_meets(&self, row: &Row<'_>, condition: Option<&str>) -> bool {
        let Some(text) = condition else { return true };
        Condition::read(self.dialect, text).is_some_and(|condition| {
            let truth = condition.value(&|name| self.known(row, name)).truth();
            truth.yes && !truth.no && !truth.unknown
        })
    }

    /// Says whether two rows are surely apart wherever the table demands it, but for one key.
    fn are_unique(&self, first: &Row<'_>, second: &Row<'_>, except: Option<&Constraint>) -> bool {
        let counts = |one: &&Constraint| except.is_none_or(|except| !one.demands_same(except));
        self.before.constraints.iter().filter(counts).all(|one| {
            let nulls = match &one.rule {
                ConstraintRule::PrimaryKey => Nulls::Distinct,
                ConstraintRule::Unique { nulls, .. } => *nulls,
                _ => return true,
            };
            one.columns.iter().any(|column| {
                let numbered = |column: &Column| column.default.as_deref() == Some(NEXT_NUMBER);
                let counted = self.before.columns.get(column).is_some_and(numbered);
                let (one, other) = (self.known(first, column), self.known(second, column));
                let null = one == Known::Null || other == Known::Null;
                let told = [&one, &other]
                    .into_iter()
                    .all(|known| matches!(known, Known::Number(_) | Known::Text(_)));
                counted || null && nulls == Nulls::Distinct || told && one != other
            })
        })
    }

    /// What is known of a column of a row: what it is given, or its default.
    fn known(&self, row: &Row<'_>, name: &str) -> Known {
        let Some(column) = self.before.columns.get(name) else { return Known::Any };
        let given = row.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str());
        match given.or(column.default.as_deref()) {
            _ if column.computed.is_some() => Known::Any,
            None => Known::Null,
            Some(NEXT_NUMBER) => Known::Present,
            Some(text) => {
                Condition::read(self.dialect, text).map_or(Known::Any, |text| text.value(&|_| Known::Any))
            }
        }
    }

    fn written(&self, row: &Row<'_>) -> String {
        let table = quoted(self.dialect, self.name);
        if row.is_empty() && self.dialect != SqlDialect::MySql {
            return format!("INSERT INTO {table} DEFAULT VALUES");
        }
        let names: Vec<_> = row.iter().map(|(name, _)| quoted(self.dialect, name)).collect();
        let values: Vec<_> = row.iter().map(|(_, value)| value.as_str()).collect();
        format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "))
    }
}

fn borrowed<'a>(values: &'a [(&str, String)]) -> Vec<(&'a str, Option<&'a str>)> {
    values.iter().map(|(column, value)| (*column, Some(value.as_str()))).collect()
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
fn quoted(dialect: SqlDialect, name: &str) -> String {
    // In MySQL, double quotes are about text.
    let sign = if dialect == SqlDialect::MySql { '`' } else { '"' };
    let plain = |part: &str| {
        let mut letters = part.bytes();
        letters.next().is_some_and(|first| first == b'_' || first.is_ascii_lowercase())
            && letters.all(|letter| letter == b'_' || letter.is_ascii_lowercase() || letter.is_ascii_digit())
            && !RESERVED.contains(&part)
    };
    let quote = |part: &str| {
        if plain(part) {
            part.to_owned()
        } else {
            format!("{sign}{}{sign}", part.replace(sign, &sign.to_string().repeat(2)))
        }
    };
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

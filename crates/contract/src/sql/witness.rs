//! Statements that worked on the old schema and fail on the new one.
//!
//! A row is made of the columns that the old table demands, with the plainest value of their types. Where such a row
//! cannot be made, as for types we know nothing of, there is no witness.

use serde_json::{Value, json};

use super::{
    evaluate::{Condition, Value as Known},
    state::{Column, Constraint, ConstraintRule, NEXT_NUMBER, Nulls, Table},
    types::{ColumnType, Family, Relation},
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

/// What is left of the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    Unknown,
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

    /// Shows an upsert that names a key by its own name.
    pub(super) fn upsert_by_name(&self, key: &Constraint, name: &str) -> Option<Value> {
        let row = self.row(&borrowed(&self.plain_values(&key.columns, 0)?), 0)?;
        let name = quoted(self.dialect, name);
        let statement = format!("{} ON CONFLICT ON CONSTRAINT {name} DO NOTHING", self.written(&row));
        Some(json!({ "statements": [statement], "outcome": "there is no such key" }))
    }

    /// Shows two rows of which one gives what the other holds by a new default.
    pub(super) fn like_default(&self, column: &str, new: &Column, others: &[String]) -> Option<Value> {
        let default = new.default.as_deref()?;
        let literal = matches!(value_of(default)?, Value::Number(_) | Value::String(_));
        let values = self.plain_values(others, 0)?;
        let wanted = borrowed(&values);
        let given = [wanted.as_slice(), &[(column, Some(default))]].concat();
        let (first, second) = (self.row(&given, 0)?, self.row(&wanted, 1)?);
        let rows = [self.written(&first), self.written(&second)];
        (literal && self.are_unique(&first, &second, None))
            .then(|| json!({ "statements": rows, "outcome": "the second row is not unique" }))
    }

    /// Shows a 0 that becomes another number.
    pub(super) fn renumbered(&self, column: &str) -> Option<Value> {
        let insert = self.written(&self.row(&[(column, Some("0"))], 0)?);
        let answer = Answer {
            rows: &[],
            was: json!([[0]]),
            is: Some(json!([[1]])),
            outcome: "0 became the next number",
        };
        Some(self.answer(&[insert], &[column], answer))
    }

    /// Shows what stands in a column that the database numbered, where it is left out.
    pub(super) fn unnumbered(&self, column: &str, new: &Column) -> Option<Value> {
        let insert = self.written(&self.row(&[], 0)?);
        let is = new.default.is_none().then(|| json!([[null]]))?;
        let answer = Answer { rows: &[], was: json!([[1]]), is: Some(is), outcome: "the row has no number" };
        Some(self.answer(&[insert], &[column], answer))
    }

    /// Shows a row that is not there any more.
    pub(super) fn all_gone(&self, left: Left) -> Option<Value> {
        let some = self.before.columns.iter().find(|(_, column)| plain(column, 0).is_some())?.0;
        let row = self.row(&[(some, None)], 0)?;
        let (columns, values): (Vec<_>, Vec<_>) =
            row.iter().map(|(name, value)| (*name, value_of(value))).unzip();
        let was = json!([values.into_iter().collect::<Option<Vec<_>>>()?]);
        let is = (left == Left::Nothing).then(|| json!([]));
        let answer = Answer { rows: &[self.written(&row)], was, is, outcome: "the row is gone" };
        Some(self.answer(&[], &columns, answer))
    }

    /// Shows a value in whose place a column that was made anew holds its default.
    pub(super) fn value_gone(&self, column: &str, now: &Column) -> Option<Value> {
        let is = match &now.default {
            None if now.not_null => return None,
            None => Value::Null,
            Some(default) => value_of(default)?,
        };
        let (row, value) = (0..2).find_map(|variant| {
            let value = plain(self.before.columns.get(column)?, variant)?;
            let differs = value_of(&value)? != is;
            Some((self.row(&[(column, Some(&value))], 0)?, value)).filter(|_| differs)
        })?;
        let answer = Answer {
            rows: &[self.written(&row)],
            was: json!([[value_of(&value)?]]),
            is: Some(json!([[is]])),
            outcome: "the value is lost",
        };
        Some(self.answer(&[], &[column], answer))
    }

    /// Shows a value that does not go through a narrower type.
    pub(super) fn value_worn(&self, column: &str, types: (&ColumnType, &ColumnType)) -> Option<Value> {
        let value = beyond(types).filter(|_| types.1.since(types.0) == Relation::Narrower)?;
        let row = self.row(&[(column, Some(&value))], 0)?;
        let answer = Answer {
            rows: &[self.written(&row)],
            was: json!([[value_of(&value)?]]),
            is: None,
            outcome: "the migration stops at this row, or leaves something else in it",
        };
        Some(self.answer(&[], &[column], answer))
    }

    /// Shows a value in whose place another column's stands.
    pub(super) fn values_exchanged(&self, column: &str, source: &str) -> Option<Value> {
        let (own, other) = (self.before.columns.get(column)?, self.before.columns.get(source)?);
        let (value, foreign) = (plain(own, 0)?, plain(other, 1)?);
        let row = self.row(&[(column, Some(&value)), (source, Some(&foreign))], 0)?;
        let same_kind = std::mem::discriminant(&own.of.family) == std::mem::discriminant(&other.of.family);
        let answer = Answer {
            rows: &[self.written(&row)],
            was: json!([[value_of(&value)?]]),
            is: same_kind.then(|| Some(json!([[value_of(&foreign)?]]))).flatten(),
            outcome: "the column holds what another held",
        };
        (value != foreign).then(|| self.answer(&[], &[column], answer))
    }

    /// Writes statements, and behind them a query of some columns with what it gives before and after.
    fn answer(&self, statements: &[String], columns: &[&str], answer: Answer<'_>) -> Value {
        let names: Vec<_> = columns.iter().map(|column| quoted(self.dialect, column)).collect();
        let select = format!("SELECT {} FROM {}", names.join(", "), quoted(self.dialect, self.name));
        let statements: Vec<&String> = statements.iter().chain([&select]).collect();
        let mut shown = json!({ "statements": statements, "was": answer.was, "outcome": answer.outcome });
        if !answer.rows.is_empty() {
            shown["rows"] = json!(answer.rows);
        }
        if let Some(is) = answer.is {
            shown["is"] = is;
        }
        shown
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
        let value = beyond((old, new))?;
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

/// What a query gives before and after a migration; nobody knows what after, where nothing is said.
struct Answer<'a> {
    rows: &'a [String],
    was: Value,
    is: Option<Value>,
    outcome: &'static str,
}

/// Gives a literal of SQL as JSON.
fn value_of(literal: &str) -> Option<Value> {
    match literal.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(text) => Some(Value::String(text.replace("''", "'"))),
        None => literal.parse::<i64>().ok().map(Value::from),
    }
}

/// Writes a value that an old type held and a new one does not.
fn beyond((old, new): (&ColumnType, &ColumnType)) -> Option<String> {
    Some(match (&old.family, &new.family) {
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
    })
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
        Family::Bytes { .. } | Family::Named(_) | Family::Time { .. } => return None,
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

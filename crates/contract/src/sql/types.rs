//! Column types by what they can hold.
//!
//! Names are folded into families with bounds; two types are then compared as sets of values. What is in no family is
//! compared by its text.

use sqlparser::ast::DataType;

use crate::SqlDialect;

/// A type as written, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnType {
    pub(super) text: String,
    pub(super) family: Family,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Family {
    /// Whole numbers from low to high.
    Integer {
        low: i128,
        high: i128,
    },
    /// Digits before and after the point; none where there is no bound.
    Decimal {
        before: Option<u64>,
        after: Option<u64>,
    },
    Float {
        bits: u8,
    },
    /// Characters; none where there is no bound.
    Text {
        longest: Option<u64>,
    },
    Bytes {
        longest: Option<u64>,
    },
    /// The labels of an enum written at the column.
    Labels(Vec<String>),
    /// Times, with so many digits of a second.
    Time {
        name: String,
        digits: u64,
    },
    /// Everything else, by its name: dates, documents, user-defined types.
    Named(String),
}

/// How the values of a new type relate to those of an old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Same,
    /// Every old value fits; others do too.
    Wider,
    /// Some old values do not fit any more.
    Narrower,
    /// Values of another kind.
    Other,
}

impl ColumnType {
    /// Reads a type.
    pub(super) fn new(dialect: SqlDialect, of: &DataType) -> Self {
        let text = of.to_string();
        let family = match of {
            DataType::Enum(members, _) => Family::Labels(members.iter().map(label).collect()),
            _ if dialect == SqlDialect::Sqlite => affinity(&text),
            _ => family(dialect, &text),
        };
        Self { text, family }
    }

    /// Says whether the database fills such a column by itself, and never leaves it empty.
    pub(super) fn is_serial(&self) -> bool {
        let upper = self.text.to_ascii_uppercase();
        ["SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL4", "SERIAL8", "SERIAL2"].contains(&upper.as_str())
    }

    /// Says whether texts are filled with spaces up to its length, which do not count.
    pub(super) fn is_padded(&self) -> bool {
        let (name, _) = parts(&self.text.to_ascii_uppercase());
        matches!(name.as_str(), "CHAR" | "CHARACTER" | "BPCHAR" | "NCHAR")
    }

    /// Says whether texts that differ in capital letters only are equal.
    pub(super) fn folds_case(&self) -> bool {
        self.text.eq_ignore_ascii_case("CITEXT")
    }

    /// Says whether every value of another type survives in this one, whatever it looks like there.
    pub(super) fn keeps(&self, known: &Self) -> bool {
        let anything = matches!(self.family, Family::Text { longest: None });
        let number = |of: &Self| matches!(of.family, Family::Integer { .. });
        let exact = matches!(self.family, Family::Decimal { before: None, .. }) && number(known);
        anything || exact || matches!(self.since(known), Relation::Same | Relation::Wider)
    }

    /// Compares with an older type.
    pub(super) fn since(&self, old: &Self) -> Relation {
        match (&old.family, &self.family) {
            (old, new) if old == new => Relation::Same,
            (Family::Integer { low, high }, Family::Integer { low: new_low, high: new_high }) => {
                width(new_low <= low && new_high >= high)
            }
            (Family::Decimal { before, after }, Family::Decimal { before: new_before, after: new_after }) => {
                width(reaches(*new_before, *before) && reaches(*new_after, *after))
            }
            (Family::Float { bits }, Family::Float { bits: new_bits }) => width(new_bits >= bits),
            (Family::Text { longest }, Family::Text { longest: new_longest })
            | (Family::Bytes { longest }, Family::Bytes { longest: new_longest }) => {
                width(reaches(*new_longest, *longest))
            }
            (Family::Time { name, digits }, Family::Time { name: new_name, digits: new_digits })
                if name == new_name =>
            {
                width(new_digits >= digits)
            }
            (Family::Labels(old), Family::Labels(new)) => width(old.iter().all(|label| new.contains(label))),
            _ => Relation::Other,
        }
    }
}

fn label(member: &sqlparser::ast::EnumMember) -> String {
    match member {
        sqlparser::ast::EnumMember::Name(name) | sqlparser::ast::EnumMember::NamedValue(name, _) => {
            name.clone()
        }
    }
}

fn width(fits: bool) -> Relation {
    if fits { Relation::Wider } else { Relation::Narrower }
}

fn reaches(new: Option<u64>, old: Option<u64>) -> bool {
    new.is_none_or(|new| old.is_some_and(|old| new >= old))
}

fn signed(bits: u32, unsigned: bool) -> Family {
    let half = 1_i128 << (bits - 1);
    if unsigned {
        Family::Integer { low: 0, high: 2 * half - 1 }
    } else {
        Family::Integer { low: -half, high: half - 1 }
    }
}

/// Finds the family of a type by its name and arguments.
fn family(dialect: SqlDialect, text: &str) -> Family {
    let upper = text.to_ascii_uppercase();
    if upper.ends_with(']') || upper.starts_with("ARRAY") {
        return Family::Named(upper);
    }
    let unsigned = upper.contains("UNSIGNED");
    let (name, arguments) = parts(&upper);
    let first = arguments.first().copied();
    let mysql = dialect == SqlDialect::MySql;
    let digits = first.unwrap_or(if mysql { 0 } else { 6 });
    let time = |name: &str| Family::Time { name: name.to_owned(), digits };
    match name.as_str() {
        "TINYINT" | "BOOL" | "BOOLEAN" if mysql => signed(8, unsigned),
        "BOOL" | "BOOLEAN" => Family::Named("BOOLEAN".to_owned()),
        "TINYINT" => signed(8, unsigned),
        "SMALLINT" | "INT2" | "SMALLSERIAL" | "SERIAL2" => signed(16, unsigned),
        "MEDIUMINT" => signed(24, unsigned),
        "INT" | "INTEGER" | "INT4" | "SERIAL4" => signed(32, unsigned),
        "SERIAL" if mysql => signed(64, true),
        "SERIAL" => signed(32, unsigned),
        "BIGINT" | "INT8" | "BIGSERIAL" | "SERIAL8" => signed(64, unsigned),
        "NUMERIC" | "DECIMAL" | "DEC" => decimal(mysql, first, arguments.get(1).copied()),
        "REAL" | "FLOAT4" if !mysql => Family::Float { bits: 32 },
        "FLOAT" if mysql && first.is_none_or(|bits| bits <= 24) => Family::Float { bits: 32 },
        "FLOAT" if first.is_some_and(|bits| bits <= 24) => Family::Float { bits: 32 },
        "FLOAT" | "FLOAT8" | "DOUBLE" | "DOUBLE PRECISION" | "REAL" => Family::Float { bits: 64 },
        "VARCHAR" | "CHARACTER VARYING" | "CHAR VARYING" | "NVARCHAR" => Family::Text { longest: first },
        "CHAR" | "CHARACTER" | "BPCHAR" | "NCHAR" => Family::Text { longest: first.or(Some(1)) },
        "TINYTEXT" => Family::Text { longest: Some(255) },
        "TEXT" if mysql => Family::Text { longest: Some(65_535) },
        "MEDIUMTEXT" => Family::Text { longest: Some(16_777_215) },
        "TEXT" | "LONGTEXT" | "CITEXT" | "CLOB" | "STRING" => Family::Text { longest: None },
        "TINYBLOB" => Family::Bytes { longest: Some(255) },
        "BLOB" if mysql => Family::Bytes { longest: Some(65_535) },
        "MEDIUMBLOB" => Family::Bytes { longest: Some(16_777_215) },
        "BINARY" | "VARBINARY" => Family::Bytes { longest: first.or(Some(1)) },
        "BYTEA" | "BLOB" | "LONGBLOB" => Family::Bytes { longest: None },
        "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" => time("TIMESTAMP WITH TIME ZONE"),
        "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE" => time("TIMESTAMP"),
        "TIMETZ" | "TIME WITH TIME ZONE" => time("TIME WITH TIME ZONE"),
        "TIME" | "TIME WITHOUT TIME ZONE" => time("TIME"),
        "DATETIME" => time("DATETIME"),
        _ => Family::Named(text.to_owned()),
    }
}

fn decimal(mysql: bool, precision: Option<u64>, scale: Option<u64>) -> Family {
    let precision = precision.or(mysql.then_some(10));
    match precision {
        None => Family::Decimal { before: None, after: None },
        Some(precision) => {
            let after = scale.unwrap_or(0);
            Family::Decimal { before: Some(precision.saturating_sub(after)), after: Some(after) }
        }
    }
}

/// Parts `NUMERIC(10,2) UNSIGNED` into its name and its arguments.
fn parts(upper: &str) -> (String, Vec<u64>) {
    let (before, rest) = upper.split_once('(').unwrap_or((upper, ""));
    let (inside, after) = rest.split_once(')').unwrap_or((rest, ""));
    let arguments =
        inside.split(',').filter_map(|part| part.split_whitespace().next()?.parse().ok()).collect();
    let words: Vec<&str> = before
        .split_whitespace()
        .chain(after.split_whitespace())
        .filter(|word| !matches!(*word, "UNSIGNED" | "SIGNED" | "ZEROFILL"))
        .collect();
    (words.join(" "), arguments)
}

/// Finds the affinity of a type in SQLite, where a type bounds nothing.
fn affinity(text: &str) -> Family {
    let upper = text.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| upper.contains(word));
    if has(&["INT"]) {
        signed(64, false)
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        Family::Text { longest: None }
    } else if upper.is_empty() || has(&["BLOB"]) {
        Family::Bytes { longest: None }
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        Family::Float { bits: 64 }
    } else {
        Family::Decimal { before: None, after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(dialect: SqlDialect, old: &str, new: &str) -> Relation {
        let of = |text: &str| ColumnType { text: text.to_owned(), family: family(dialect, text) };
        of(new).since(&of(old))
    }

    #[test]
    fn types_are_compared_as_sets_of_values() {
        let cases = [
            ("INT", "BIGINT", Relation::Wider),
            ("BIGINT", "INTEGER", Relation::Narrower),
            ("INT", "INT4", Relation::Same),
            ("VARCHAR(10)", "CHARACTER VARYING(20)", Relation::Wider),
            ("TEXT", "VARCHAR(20)", Relation::Narrower),
            ("NUMERIC(10,2)", "NUMERIC(10,4)", Relation::Narrower),
            ("NUMERIC(10,2)", "NUMERIC", Relation::Wider),
            ("REAL", "DOUBLE PRECISION", Relation::Wider),
            ("TEXT", "UUID", Relation::Other),
            ("INT[]", "INT[]", Relation::Same),
            ("TIMESTAMPTZ", "TIMESTAMP(3) WITH TIME ZONE", Relation::Narrower),
            ("TIMESTAMP(3)", "TIMESTAMP", Relation::Wider),
            ("TIMESTAMP", "TIMESTAMPTZ", Relation::Other),
            ("TIME", "TIME(6)", Relation::Same),
        ];
        for (old, new, relation) in cases {
            assert_eq!(since(SqlDialect::PostgreSql, old, new), relation, "{old} -> {new}");
        }
        assert_eq!(since(SqlDialect::MySql, "INT", "INT UNSIGNED"), Relation::Narrower);
        assert_eq!(since(SqlDialect::MySql, "TINYINT(1)", "BOOLEAN"), Relation::Same);
    }
}

//! Which SQL a folder of migrations is written in.
//!
//! Told by the caller, or guessed from words that only one of the three knows. Both sides of a comparison are read in
//! the same dialect.

use sqlparser::{
    ast::{Ident, ObjectName},
    dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect},
};

use crate::{Source, SqlDialect};

/// Marks of each dialect; every file that contains one counts once for it.
const MARKS: [(SqlDialect, &[&str]); 3] = [
    (
        SqlDialect::PostgreSql,
        &[
            "serial",
            "jsonb",
            "timestamptz",
            "::",
            "$$",
            "create type",
            "create extension",
            "bytea",
            "using gin",
            "text[]",
        ],
    ),
    (
        SqlDialect::MySql,
        &["`", "auto_increment", "engine=", "engine =", "unsigned", "charset", "delimiter", "modify column"],
    ),
    (SqlDialect::Sqlite, &["autoincrement", "pragma", "without rowid", "datetime('now')", "sqlite_"]),
];

/// Guesses the dialect of two sources together; without any mark it is PostgreSQL.
pub(super) fn guess<const N: usize>(sources: [&Source; N]) -> SqlDialect {
    let mut points = [0_usize; 3];
    for (_, content) in sources.into_iter().flat_map(Source::files) {
        let text = String::from_utf8_lossy(content).to_ascii_lowercase();
        for (index, (_, marks)) in MARKS.iter().enumerate() {
            points[index] += marks.iter().filter(|mark| text.contains(**mark)).count();
        }
    }
    let best = points.iter().max().copied().unwrap_or_default();
    let first = points.iter().position(|count| *count == best).unwrap_or_default();
    MARKS[first].0
}

/// Gives the parser's name for a dialect.
pub(super) fn parser_dialect(dialect: SqlDialect) -> &'static dyn Dialect {
    match dialect {
        SqlDialect::PostgreSql => &PostgreSqlDialect {},
        SqlDialect::MySql => &MySqlDialect {},
        SqlDialect::Sqlite => &SQLiteDialect {},
    }
}

/// Folds an identifier as the database does.
pub(super) fn fold(dialect: SqlDialect, ident: &Ident) -> String {
    match (dialect, ident.quote_style) {
        (SqlDialect::PostgreSql, Some(_)) => ident.value.clone(),
        _ => ident.value.to_ascii_lowercase(),
    }
}

/// Folds the name of an object; the schema that every connection starts in is left away.
pub(super) fn fold_name(dialect: SqlDialect, name: &ObjectName) -> String {
    let mut parts: Vec<String> = name
        .0
        .iter()
        .map(|part| part.as_ident().map_or_else(|| part.to_string(), |ident| fold(dialect, ident)))
        .collect();
    let usual = match dialect {
        SqlDialect::PostgreSql => "public",
        SqlDialect::Sqlite => "main",
        SqlDialect::MySql => "",
    };
    if parts.len() > 1 && parts[0] == usual {
        parts.remove(0);
    }
    parts.join(".")
}

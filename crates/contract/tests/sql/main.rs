//! SQL contracts: every rule on a small pair, witnesses on a real database, classes, history, and hostile input.

mod demands;
mod hostile;
mod locks;
mod migrations;
mod names;
mod properties;
mod rows;
mod rules;
mod views;
mod ways;
mod witnesses;

use lockstep_contract::{Kind, Options, Report, Source, SqlDialect, diff_as};

const FIRST: &str = "0001_first.sql";
const SECOND: &str = "0002_second.sql";

/// Compares a schema with the same schema after one more migration.
fn migrated(dialect: SqlDialect, before: &str, migration: &str) -> Report {
    let old = Source::tree([(FIRST, before.as_bytes())]);
    let new = Source::tree([(FIRST, before.as_bytes()), (SECOND, migration.as_bytes())]);
    let options = Options { sql_dialect: Some(dialect), ..Options::default() };
    diff_as(Kind::Sql, &old, &new, &options).expect("both sides are text")
}

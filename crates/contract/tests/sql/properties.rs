//! What holds for every schema: no difference with itself, no regard for order, and safety that adds up.

use lockstep_contract::{Kind, Options, Report, Source, SqlDialect, Verdict, diff_as};
use proptest::prelude::*;

const TYPES: [&str; 6] = ["int", "bigint", "text", "varchar(10)", "numeric(8,2)", "uuid"];
const OPTIONS: [&str; 5] = ["", "NOT NULL", "DEFAULT NULL", "UNIQUE", "NOT NULL UNIQUE"];

/// The columns of a table: name, type and options.
fn columns() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_map(0..4_u8, (0..TYPES.len(), 0..OPTIONS.len()), 1..4).prop_map(|columns| {
        columns
            .into_iter()
            .map(|(name, (of, option))| format!("c{name} {} {}", TYPES[of], OPTIONS[option]))
            .collect()
    })
}

fn schema(columns: &[String]) -> String {
    format!("CREATE TABLE t ({});", columns.join(", "))
}

fn report(old: &str, new: &str) -> Report {
    let source = |text: &str| Source::file("schema.sql", text.as_bytes());
    let options = Options { sql_dialect: Some(SqlDialect::PostgreSql), ..Options::default() };
    diff_as(Kind::Sql, &source(old), &source(new), &options).expect("valid")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_schema_does_not_differ_from_itself_in_any_order(columns in columns()) {
        let mut reversed = columns.clone();
        reversed.reverse();
        let report = report(&schema(&columns), &schema(&reversed));
        prop_assert!(report.changes.is_empty() && report.may_deploy && report.may_roll_back);
    }

    #[test]
    fn two_safe_steps_are_one_safe_step(a in columns(), b in columns(), c in columns()) {
        let safe = |from: &[String], to: &[String]| report(&schema(from), &schema(to)).verdict == Verdict::Compatible;
        prop_assert!(!(safe(&a, &b) && safe(&b, &c)) || safe(&a, &c));
    }

    #[test]
    fn one_file_or_many_make_the_same_schema(old in columns(), new in columns()) {
        let whole = report(&schema(&old), &schema(&new));
        let steps: Vec<String> = new.iter().skip(1).map(|column| format!("ALTER TABLE t ADD COLUMN {column};")).collect();
        let split = report(&schema(&old), &format!("{} {}", schema(&new[..1]), steps.join("\n")));
        let facts = |report: &Report| -> Vec<_> {
            report.changes.iter().map(|change| (change.rule.id, change.place.clone())).collect()
        };
        prop_assert_eq!(facts(&whole), facts(&split));
    }

    #[test]
    fn any_text_ends_in_a_report(text in "(CREATE|ALTER|DROP|TABLE|BEGIN|END|CASE|TRIGGER|a|b|int|[(),;'\"`$. \n-]){0,60}") {
        for dialect in [SqlDialect::PostgreSql, SqlDialect::MySql, SqlDialect::Sqlite] {
            let source = Source::file("schema.sql", text.as_bytes());
            let options = Options { sql_dialect: Some(dialect), ..Options::default() };
            prop_assert!(diff_as(Kind::Sql, &source, &source, &options).is_ok());
        }
    }
}

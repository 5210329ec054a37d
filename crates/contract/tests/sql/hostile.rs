//! Input made to harm: every one ends quickly in an error or in a place that was not checked.

use lockstep_contract::{Kind, Options, Source, SqlDialect, Verdict, diff_as};

use super::{SECOND, migrated};

const A: &str = "CREATE TABLE a (b int);";

fn not_checked(migration: &str) {
    for dialect in [SqlDialect::PostgreSql, SqlDialect::MySql, SqlDialect::Sqlite] {
        let report = migrated(dialect, A, migration);
        let start: String = migration.chars().take(60).collect();
        assert_eq!(report.verdict, Verdict::NotChecked, "{dialect:?}: {start}");
        assert!(
            report.not_checked[0].place.starts_with(SECOND),
            "{dialect:?}: {:?}",
            report.not_checked[0].place
        );
    }
}

#[test]
fn deep_nesting_is_not_checked() {
    not_checked(&format!("ALTER TABLE a ADD CHECK ({}b{})", "(".repeat(100_000), ")".repeat(100_000)));
    not_checked(&format!("ALTER TABLE a ADD CHECK ({}b)", "(".repeat(9_000)));
    not_checked(&format!("ALTER TABLE a ADD CHECK (b > 0 {})", "OR b > 1 ".repeat(50_000)));
    not_checked(&format!("ALTER TABLE a ADD CHECK ({}b)", "- ".repeat(100_000)));
    not_checked(&format!(
        "CREATE VIEW v AS {}SELECT 1{}",
        "SELECT * FROM (".repeat(5_000),
        ")".repeat(5_000)
    ));
}

#[test]
fn long_flat_conditions_are_read() {
    let report = migrated(
        SqlDialect::PostgreSql,
        A,
        &format!("ALTER TABLE a ADD CHECK (b > 0 {})", "OR b > 1 ".repeat(600)),
    );
    assert_eq!(report.verdict, Verdict::Breaking, "{:?}", report.not_checked);
}

#[test]
fn text_without_an_end_is_not_checked() {
    not_checked("ALTER TABLE a ADD CHECK (b <> 'x");
    not_checked("CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM a; ");
    not_checked("ALTER TABLE a ADD COLUMN");
}

#[test]
fn text_that_is_not_utf8_names_its_line() {
    let good = Source::tree([("1.sql", A.as_bytes().to_vec())]);
    let bad = Source::tree([("1.sql", b"CREATE TABLE a (b int);\n-- \xff".to_vec())]);
    let errors = diff_as(Kind::Sql, &good, &bad, &Options::default()).expect_err("not text");
    assert_eq!(errors[0].to_string(), "1.sql:2: not valid UTF-8");
}

#[test]
fn a_folder_without_sql_is_an_error() {
    let good = Source::tree([("1.sql", A.as_bytes().to_vec())]);
    let bad = Source::tree([("readme.md", b"none".to_vec())]);
    let errors = diff_as(Kind::Sql, &good, &bad, &Options::default()).expect_err("no SQL");
    assert_eq!(errors[0].message, "there is no .sql file");
}

#[test]
fn a_million_rows_are_data_and_not_a_tree() {
    let rows = "(1),".repeat(1_000_000);
    let report = migrated(SqlDialect::PostgreSql, A, &format!("INSERT INTO a VALUES {rows}(1);"));
    assert_eq!(report.verdict, Verdict::Compatible);
}

#[test]
fn many_statements_that_are_not_understood_are_matched_quickly() {
    let before: String = (0..20_000).map(|index| format!("FROBNICATE {index};\n")).collect();
    let report = migrated(SqlDialect::PostgreSql, &before, A);
    assert_eq!((report.verdict, report.not_checked.len()), (Verdict::Compatible, 0));
}

#[test]
fn many_changes_of_one_table_are_replayed_quickly() {
    let columns: String =
        (0..5_000).map(|index| format!("ALTER TABLE a ADD COLUMN c{index} int;\n")).collect();
    let report = migrated(SqlDialect::PostgreSql, A, &columns);
    assert_eq!((report.verdict, report.changes.len()), (Verdict::Compatible, 5_000));
}

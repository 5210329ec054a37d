//! How long statements hold tables, with the version of the database in mind. `sql_oracle` measures the same on real ones.

use lockstep_contract::{Kind, Options, ServerVersion, Source, SqlDialect, Verdict, diff_as};

use super::{FIRST, SECOND};
use SqlDialect::{MySql, PostgreSql, Sqlite};

const NOTES: &str = "CREATE TABLE people (id int PRIMARY KEY);
    CREATE TABLE notes (id int PRIMARY KEY, size int, name varchar(20), kind int CONSTRAINT known CHECK (kind IS NOT NULL));";

/// The rules that a migration is told by, without what is said of the schema.
fn told(dialect: SqlDialect, version: Option<&str>, migration: &str) -> Vec<&'static str> {
    let first = (FIRST, NOTES.as_bytes());
    let (old, new) = (Source::tree([first]), Source::tree([first, (SECOND, migration.as_bytes())]));
    let sql_version: Option<ServerVersion> = version.map(|version| version.parse().expect("a version"));
    let options = Options { sql_dialect: Some(dialect), sql_version, ..Options::default() };
    let report = diff_as(Kind::Sql, &old, &new, &options).expect("text");
    let about = |id: &&str| id.starts_with("sql-lock-") || *id == "sql-transaction-refused";
    report.changes.iter().map(|change| change.rule.id).filter(about).collect()
}

fn assert_told(dialect: SqlDialect, version: Option<&str>, migration: &str, expected: &[&str]) {
    let waiting = "sql-lock-unbounded";
    let found: Vec<_> = told(dialect, version, migration).into_iter().filter(|id| *id != waiting).collect();
    assert_eq!(found, expected, "{version:?}: {migration}");
}

#[test]
fn the_version_of_postgresql_decides_what_a_default_and_a_proof_are_worth() {
    let default = "ALTER TABLE notes ADD n int NOT NULL DEFAULT 4";
    assert_told(PostgreSql, None, default, &[]);
    assert_told(PostgreSql, Some("11"), default, &[]);
    assert_told(PostgreSql, Some("10.4"), default, &["sql-lock-rewrite"]);
    let proved = "ALTER TABLE notes ALTER kind SET NOT NULL";
    assert_told(PostgreSql, Some("12"), proved, &[]);
    assert_told(PostgreSql, Some("11"), proved, &["sql-lock-scan"]);
    let value = "BEGIN; ALTER TYPE colour ADD VALUE 'red'; COMMIT;";
    assert_told(PostgreSql, Some("11"), value, &["sql-transaction-refused"]);
    assert_told(PostgreSql, Some("12"), value, &[]);
}

#[test]
fn a_proof_counts_once_it_was_made() {
    let steps = |validate: &str| {
        format!(
            "ALTER TABLE notes ADD CONSTRAINT sized CHECK (size IS NOT NULL) NOT VALID; {validate} ALTER TABLE notes ALTER size SET NOT NULL;"
        )
    };
    assert_told(PostgreSql, None, &steps(""), &["sql-lock-scan"]);
    assert_told(PostgreSql, None, &steps("ALTER TABLE notes VALIDATE CONSTRAINT sized;"), &[]);
}

#[test]
fn a_table_that_the_same_migrations_make_is_nobodys_yet() {
    for statement in [
        "CREATE TABLE tags (id int); CREATE INDEX i ON tags (id); ALTER TABLE tags ALTER id TYPE bigint",
        "CREATE TABLE tags (id int, note int REFERENCES notes (id))",
        "CREATE TABLE tags (id int); ALTER TABLE tags RENAME TO labels; CREATE INDEX i ON labels (id)",
    ] {
        assert_told(PostgreSql, None, statement, &[]);
    }
    // A parent that is there already is read and held.
    let reference =
        "CREATE TABLE tags (note int); ALTER TABLE tags ADD FOREIGN KEY (note) REFERENCES notes (id)";
    assert_told(PostgreSql, None, reference, &["sql-lock-scan"]);
}

#[test]
fn what_can_be_done_beside_others_is_not_told() {
    for statement in [
        "CREATE INDEX CONCURRENTLY i ON notes (size)",
        "DROP INDEX CONCURRENTLY i",
        "REINDEX TABLE CONCURRENTLY notes",
        "VACUUM notes",
        "ALTER TABLE notes ADD CHECK (size > 0) NOT VALID",
        "ALTER TABLE notes RENAME COLUMN size TO length",
    ] {
        assert_told(PostgreSql, None, statement, &[]);
    }
    assert_told(PostgreSql, None, "VACUUM FULL notes", &["sql-lock-rewrite"]);
    assert_told(PostgreSql, None, "REINDEX TABLE notes", &["sql-lock-index"]);
    assert_told(PostgreSql, None, "CLUSTER notes", &["sql-lock-rewrite"]);
    assert_told(PostgreSql, None, "ALTER TABLE notes SET TABLESPACE fast", &["sql-lock-rewrite"]);
}

#[test]
fn a_transaction_keeps_what_its_statements_took() {
    let cases = [
        ("BEGIN; ALTER TABLE notes ADD n int; UPDATE notes SET n = 1; COMMIT;", true),
        ("ALTER TABLE notes ADD n int; UPDATE notes SET n = 1;", false),
        ("BEGIN; ALTER TABLE notes ADD n int; COMMIT; UPDATE notes SET n = 1;", false),
        ("BEGIN; ALTER TABLE notes ADD n int; ALTER TABLE people ADD n int; COMMIT;", true),
        ("BEGIN; ALTER TABLE notes ADD n int; ALTER TABLE notes ADD m int; COMMIT;", false),
        (
            "START TRANSACTION; ALTER TABLE notes ADD n int; CREATE TABLE x (y int); INSERT INTO x VALUES (1); COMMIT;",
            false,
        ),
    ];
    for (migration, expected) in cases {
        let found = told(PostgreSql, None, migration).contains(&"sql-lock-transaction");
        assert_eq!(found, expected, "{migration}");
    }
    let refused = "BEGIN; CREATE INDEX CONCURRENTLY i ON notes (size); COMMIT;";
    assert_told(PostgreSql, None, refused, &["sql-transaction-refused"]);
}

#[test]
fn a_timeout_bounds_the_waiting() {
    let slow = "ALTER TABLE notes ALTER size TYPE bigint";
    assert!(told(PostgreSql, None, slow).contains(&"sql-lock-unbounded"));
    for set in ["SET lock_timeout = '2s'", "SET LOCAL lock_timeout TO 2000"] {
        assert!(!told(PostgreSql, None, &format!("{set}; {slow}")).contains(&"sql-lock-unbounded"), "{set}");
    }
}

#[test]
fn mysql_tells_of_copies_and_sqlite_of_the_whole_database() {
    assert_told(MySql, None, "ALTER TABLE notes MODIFY size bigint", &["sql-lock-rewrite"]);
    assert_told(MySql, None, "ALTER TABLE notes ADD n int, ALGORITHM=COPY", &["sql-lock-rewrite"]);
    assert_told(MySql, None, "ALTER TABLE notes ADD n int", &[]);
    assert_told(MySql, None, "CREATE INDEX i ON notes (size)", &[]);
    assert_told(MySql, Some("8"), "ALTER TABLE notes MODIFY name varchar(200)", &["sql-lock-rewrite"]);
    assert_told(MySql, Some("10.4"), "ALTER TABLE notes MODIFY name varchar(200)", &[]);
    assert_told(Sqlite, None, "CREATE INDEX i ON notes (size)", &["sql-lock-index"]);
    assert_told(
        Sqlite,
        None,
        "CREATE TABLE n (id int); INSERT INTO n SELECT id FROM notes",
        &["sql-lock-rewrite"],
    );
    assert_told(Sqlite, None, "ALTER TABLE notes ADD n int", &[]);
}

#[test]
fn what_holds_a_table_breaks_nothing_and_owes_no_more_than_a_patch() {
    let first = (FIRST, NOTES.as_bytes());
    let (old, new) = (
        Source::tree([first]),
        Source::tree([first, (SECOND, b"CREATE INDEX i ON notes (size)".as_slice())]),
    );
    let options = Options { sql_dialect: Some(PostgreSql), ..Options::default() };
    let report = diff_as(Kind::Sql, &old, &new, &options).expect("text");
    assert_eq!((report.verdict, report.may_deploy, report.may_roll_back), (Verdict::Compatible, true, true));
    assert_eq!(report.bump, lockstep_contract::Bump::Patch);
}

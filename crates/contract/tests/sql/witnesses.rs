//! Every witness in the dialect of SQLite, run on a real SQLite: it works on the old schema and fails on the new one.

use lockstep_contract::{Level, SqlDialect};
use rusqlite::{Connection, types::Value as Stored};
use serde_json::Value;

use super::migrated;

/// Rebuilds the table `a`, as SQLite needs for most changes.
fn rebuilt(columns: &str) -> String {
    format!("CREATE TABLE new_a ({columns}); DROP TABLE a; ALTER TABLE new_a RENAME TO a;")
}

fn run(schema: &[&str], statements: &[&str]) -> Result<(), rusqlite::Error> {
    let database = Connection::open_in_memory()?;
    database.execute_batch("PRAGMA foreign_keys = ON")?;
    for migration in schema {
        database.execute_batch(migration).expect("migrations of the test are valid");
    }
    statements.iter().try_for_each(|statement| database.execute_batch(statement))
}

/// What a statement gives, as JSON.
fn answers(database: &Connection, statement: &str) -> rusqlite::Result<Value> {
    let mut prepared = database.prepare(statement)?;
    let (columns, mut rows, mut found) = (prepared.column_count(), prepared.query([])?, Vec::new());
    while let Some(row) = rows.next()? {
        let value = |at| {
            Ok(match row.get(at)? {
                Stored::Null => Value::Null,
                Stored::Integer(number) => number.into(),
                Stored::Real(number) => number.into(),
                Stored::Text(text) => text.into(),
                Stored::Blob(bytes) => bytes.len().into(),
            })
        };
        found.push((0..columns).map(value).collect::<rusqlite::Result<Value>>()?);
    }
    Ok(found.into())
}

/// Runs a witness over a schema, with a migration behind its rows: what the last statement gives.
fn given(witness: &Value, before: &str, migration: &str) -> rusqlite::Result<Value> {
    let database = Connection::open_in_memory()?;
    database.execute_batch("PRAGMA foreign_keys = ON")?;
    database.execute_batch(before)?;
    let texts = |key: &str| witness[key].as_array().into_iter().flatten().filter_map(Value::as_str);
    texts("rows").try_for_each(|row| database.execute_batch(row))?;
    database.execute_batch(migration)?;
    texts("statements").map(|statement| answers(&database, statement)).last().expect("a statement")
}

/// A witness works before; after, it fails, or gives what it says.
fn show(witness: &Value, before: &str, migration: &str) {
    let was = given(witness, before, "")
        .unwrap_or_else(|error| panic!("{migration}: {witness} fails before: {error}"));
    let is = given(witness, before, migration);
    match witness.get("is") {
        Some(told) => {
            assert_eq!((&was, is.as_ref().ok()), (&witness["was"], Some(told)), "{migration}: {witness}");
        }
        None => assert!(is.is_err(), "{migration}: {witness} works after"),
    }
}

#[test]
fn witnesses_work_before_and_fail_after() {
    const A: &str =
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b varchar(10) NOT NULL, c int, d int NOT NULL DEFAULT 7);";
    let others = "CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE VIEW v AS SELECT id, b FROM a;";
    let cases = [
        (A, "DROP TABLE a".to_owned()),
        (A, "ALTER TABLE a RENAME TO z".to_owned()),
        (A, "ALTER TABLE a DROP COLUMN c".to_owned()),
        (A, "ALTER TABLE a RENAME COLUMN c TO e".to_owned()),
        (
            A,
            rebuilt(
                "id INTEGER PRIMARY KEY, b varchar(10) NOT NULL, c int, d int NOT NULL DEFAULT 7, e int NOT NULL",
            ),
        ),
        (
            A,
            rebuilt(
                "id INTEGER PRIMARY KEY, b varchar(10) NOT NULL, c int NOT NULL, d int NOT NULL DEFAULT 7",
            ),
        ),
        (A, rebuilt("id INTEGER PRIMARY KEY, b varchar(10) NOT NULL, c int, d int NOT NULL")),
        (
            A,
            rebuilt(
                "id INTEGER PRIMARY KEY, b varchar(10) NOT NULL, c int GENERATED ALWAYS AS (id) VIRTUAL, d int NOT NULL DEFAULT 7",
            ),
        ),
        (A, "CREATE UNIQUE INDEX u ON a (b)".to_owned()),
        (A, "CREATE UNIQUE INDEX u ON a (c, b)".to_owned()),
        (
            A,
            rebuilt(
                "id INTEGER PRIMARY KEY, b varchar(10) NOT NULL, c int CHECK (c > 3), d int NOT NULL DEFAULT 7",
            ),
        ),
        (
            A,
            rebuilt(
                "id INTEGER PRIMARY KEY, b varchar(10) NOT NULL CHECK (b IN ('x', 'y')), c int, d int NOT NULL DEFAULT 7",
            ),
        ),
        (
            A,
            rebuilt(
                "id INTEGER PRIMARY KEY, b varchar(10) NOT NULL, c int, d int NOT NULL DEFAULT 7 CHECK (d <= 100)",
            ),
        ),
        (
            A,
            rebuilt(
                "id INTEGER PRIMARY KEY, b varchar(10) NOT NULL, c int REFERENCES p (id), d int NOT NULL DEFAULT 7",
            ),
        ),
        ("CREATE TABLE a (\"order\" int, \"a b\" int);", "ALTER TABLE a DROP COLUMN \"a b\"".to_owned()),
        ("CREATE TABLE a (b int);", "CREATE UNIQUE INDEX u ON a (b)".to_owned()),
        (A, rebuilt("id INT PRIMARY KEY, b varchar(10) NOT NULL, c int, d int NOT NULL DEFAULT 7")),
        ("CREATE TABLE a (id INT PRIMARY KEY, b int);", rebuilt("id INTEGER PRIMARY KEY, b int")),
        (A, rebuilt("id INTEGER PRIMARY KEY, b varchar(10) NOT NULL, c int, d int NOT NULL DEFAULT 7")),
        (A, "ALTER TABLE a DROP COLUMN c; ALTER TABLE a ADD COLUMN c int".to_owned()),
        (A, "ALTER TABLE a DROP COLUMN c; ALTER TABLE a ADD COLUMN c int DEFAULT 1".to_owned()),
        (A, "ALTER TABLE a DROP COLUMN d; ALTER TABLE a ADD COLUMN d int NOT NULL DEFAULT 7".to_owned()),
        (
            A,
            "ALTER TABLE a RENAME COLUMN c TO x; ALTER TABLE a RENAME COLUMN d TO c; ALTER TABLE a RENAME COLUMN x TO d"
                .to_owned(),
        ),
        ("CREATE TABLE a (k int PRIMARY KEY, b int);", rebuilt("k int PRIMARY KEY, b int UNIQUE")),
        (
            "CREATE TABLE a (id int); CREATE VIEW w AS SELECT id, id AS e FROM a;",
            "DROP VIEW w; CREATE VIEW w AS SELECT id FROM a".to_owned(),
        ),
        ("CREATE TABLE a (id int); CREATE VIEW w AS SELECT id, id AS e FROM a;", "DROP VIEW w".to_owned()),
    ];
    let mut shown = 0;
    for (before, migration) in &cases {
        let needs_view = *before == A && migration.starts_with("CREATE UNIQUE");
        let before = if needs_view {
            format!("{before} {others}")
        } else {
            format!("{before} CREATE TABLE p (id INTEGER PRIMARY KEY);")
        };
        let report = migrated(SqlDialect::Sqlite, &before, migration);
        assert_eq!(report.not_checked, [], "{migration}");
        let broken: Vec<_> = report.changes.iter().filter(|change| change.level == Level::Error).collect();
        assert!(!broken.is_empty(), "{migration} breaks");
        for change in broken {
            let witness = change
                .witness
                .as_ref()
                .unwrap_or_else(|| panic!("{migration}: {} has a witness", change.rule.id));
            show(witness, &before, migration);
            shown += 1;
        }
    }
    assert!(shown >= cases.len());
}

#[test]
fn compatible_migrations_let_old_statements_work() {
    let before = "CREATE TABLE a (id INTEGER PRIMARY KEY, b text NOT NULL);";
    let statements =
        ["INSERT INTO a (b) VALUES ('x')", "INSERT INTO a (id, b) VALUES (9, 'x')", "SELECT id, b FROM a"];
    for migration in [
        "ALTER TABLE a ADD COLUMN c int",
        "ALTER TABLE a ADD COLUMN c int NOT NULL DEFAULT 1",
        "ALTER TABLE a ADD COLUMN c int REFERENCES a (id)",
        "CREATE INDEX i ON a (b)",
        "ALTER TABLE a ADD COLUMN c text; CREATE UNIQUE INDEX u ON a (c)",
        "ALTER TABLE a ADD COLUMN c int CHECK (c > 3)",
        "CREATE TABLE d (a_id int REFERENCES a (id))",
    ] {
        assert!(migrated(SqlDialect::Sqlite, before, migration).may_deploy, "{migration}");
        run(&[before, migration], &statements).unwrap_or_else(|error| panic!("{migration}: {error}"));
    }
}

#[test]
fn rows_that_are_gone_are_shown_by_what_a_query_gives() {
    let a = "CREATE TABLE a (id INTEGER PRIMARY KEY, b text NOT NULL, c int);";
    for migration in [
        "DELETE FROM a",
        "ALTER TABLE a RENAME TO z; CREATE TABLE a (id INTEGER PRIMARY KEY, b text NOT NULL, c int)",
    ] {
        let report = migrated(SqlDialect::Sqlite, a, migration);
        let found = report.roll_back.changes.iter().find(|change| change.level == Level::Error);
        let witness = found.and_then(|change| change.witness.as_ref()).expect("a witness");
        assert_eq!(witness["is"], Value::Array(Vec::new()));
        show(witness, a, migration);
    }
}

//! What happens on the way counts, whatever the schema looks like in the end.

use lockstep_contract::{
    Bump, Kind, Level, Options, Report, Source, SqlDialect, Verdict, assemble, diff_as, sql,
};

use super::{FIRST, SECOND, migrated};
use SqlDialect::{MySql, PostgreSql, Sqlite};
use Verdict::{Breaking, Compatible, NotChecked};

const FOO: &str = "CREATE TABLE foo (id bigint PRIMARY KEY, a int NOT NULL, b int, name varchar(20));";

/// The verdict for deploying, for coming back, and the ids of what was found about values.
fn judged(dialect: SqlDialect, before: &str, migration: &str) -> (Verdict, Verdict, Vec<(String, String)>) {
    let report = migrated(dialect, before, migration);
    let about_values = |id: &str| id.starts_with("sql-values") || id.starts_with("sql-rows");
    let found = report.changes.iter().filter(|change| about_values(change.rule.id));
    let found = found.map(|change| (change.rule.id.to_owned(), change.place.clone())).collect();
    (report.verdict, report.roll_back.verdict(), found)
}

#[test]
fn values_that_go_are_a_change_whatever_the_end_looks_like() {
    let (lost, moved, removed, exchanged) =
        ("sql-values-lost", "sql-values-moved", "sql-rows-removed", "sql-values-exchanged");
    let cases = [
        (
            PostgreSql,
            "ALTER TABLE foo DROP COLUMN name; ALTER TABLE foo ADD COLUMN name varchar(20)",
            Breaking,
            vec![(lost, "foo.name")],
        ),
        (PostgreSql, "ALTER TABLE foo DROP name, ADD name varchar(20)", Breaking, vec![(lost, "foo.name")]),
        (
            PostgreSql,
            "DROP TABLE foo; CREATE TABLE foo (id bigint PRIMARY KEY, a int NOT NULL, b int, name varchar(20))",
            Breaking,
            vec![(lost, "foo")],
        ),
        (
            MySql,
            "DROP TABLE foo; CREATE TABLE foo (id bigint PRIMARY KEY, a int NOT NULL, b int, name varchar(20))",
            Breaking,
            vec![(lost, "foo")],
        ),
        (
            PostgreSql,
            "CREATE TABLE bar (LIKE foo); DROP TABLE foo; ALTER TABLE bar RENAME TO foo",
            Breaking,
            vec![(lost, "foo")],
        ),
        (
            PostgreSql,
            "ALTER TABLE foo ALTER name TYPE varchar(5) USING left(name, 5); ALTER TABLE foo ALTER name TYPE varchar(20)",
            Breaking,
            vec![(lost, "foo.name")],
        ),
        (
            PostgreSql,
            "ALTER TABLE foo ALTER a TYPE smallint; ALTER TABLE foo ALTER a TYPE int",
            Breaking,
            vec![(lost, "foo.a")],
        ),
        (
            PostgreSql,
            "ALTER TABLE foo ALTER a TYPE text; ALTER TABLE foo ALTER a TYPE int USING a::int",
            Compatible,
            vec![],
        ),
        (
            PostgreSql,
            "ALTER TABLE foo ALTER a TYPE bigint; ALTER TABLE foo ALTER a TYPE int",
            Compatible,
            vec![],
        ),
        (PostgreSql, "ALTER TABLE foo ALTER a TYPE int USING 0", Breaking, vec![(lost, "foo.a")]),
        (
            MySql,
            "ALTER TABLE foo MODIFY name varchar(5); ALTER TABLE foo MODIFY name varchar(20)",
            Breaking,
            vec![(lost, "foo.name")],
        ),
        (PostgreSql, "ALTER TABLE foo RENAME a TO x; ALTER TABLE foo RENAME x TO a", Compatible, vec![]),
        (
            PostgreSql,
            "ALTER TABLE foo RENAME a TO x; ALTER TABLE foo RENAME b TO a; ALTER TABLE foo RENAME x TO b",
            Breaking,
            vec![(exchanged, "foo.a"), (exchanged, "foo.b")],
        ),
        (
            PostgreSql,
            "ALTER TABLE foo RENAME TO foo_old; CREATE TABLE foo (id bigint PRIMARY KEY, a int NOT NULL, b int, name varchar(20))",
            Compatible,
            vec![(moved, "foo")],
        ),
        (PostgreSql, "ALTER TABLE foo RENAME TO x; ALTER TABLE x RENAME TO foo", Compatible, vec![]),
        (PostgreSql, "TRUNCATE TABLE foo", Compatible, vec![(removed, "foo")]),
        (PostgreSql, "DELETE FROM foo", Compatible, vec![(removed, "foo")]),
        (PostgreSql, "DELETE FROM foo WHERE a = 1", Compatible, vec![]),
        (PostgreSql, "CREATE TABLE t (a int); INSERT INTO t VALUES (1); TRUNCATE t", Compatible, vec![]),
        (
            PostgreSql,
            "ALTER TABLE foo ADD c varchar(20); UPDATE foo SET c = name; ALTER TABLE foo DROP name; ALTER TABLE foo RENAME c TO name",
            Compatible,
            vec![],
        ),
        (
            PostgreSql,
            "ALTER TABLE foo ADD c varchar(20); UPDATE foo SET c = name WHERE a > 0; ALTER TABLE foo DROP name; ALTER TABLE foo RENAME c TO name",
            Breaking,
            vec![(lost, "foo.name")],
        ),
        (PostgreSql, "UPDATE foo SET b = a", Compatible, vec![(removed, "foo.b")]),
        (
            Sqlite,
            "CREATE TABLE n (id bigint PRIMARY KEY, a int NOT NULL, b int, name varchar(20)); INSERT INTO n SELECT * FROM foo; DROP TABLE foo; ALTER TABLE n RENAME TO foo",
            Compatible,
            vec![],
        ),
        (
            Sqlite,
            "CREATE TABLE n (id bigint PRIMARY KEY, a int NOT NULL, b int, name varchar(20)); INSERT INTO n SELECT * FROM foo LIMIT 3; DROP TABLE foo; ALTER TABLE n RENAME TO foo",
            Breaking,
            vec![(lost, "foo")],
        ),
        (
            Sqlite,
            "CREATE TABLE n (id bigint PRIMARY KEY, b int, a int NOT NULL, name varchar(20)); INSERT INTO n SELECT * FROM foo; DROP TABLE foo; ALTER TABLE n RENAME TO foo",
            Breaking,
            vec![(exchanged, "foo.a"), (exchanged, "foo.b")],
        ),
        (
            Sqlite,
            "CREATE TABLE n (id bigint PRIMARY KEY, a int NOT NULL, b int, name varchar(20)); INSERT INTO n (id, a, b) SELECT id, a, b FROM foo; DROP TABLE foo; ALTER TABLE n RENAME TO foo",
            Breaking,
            vec![(lost, "foo.name")],
        ),
    ];
    let mut wrong = Vec::new();
    for (dialect, migration, verdict, values) in cases {
        let values: Vec<_> =
            values.into_iter().map(|(id, place)| (id.to_owned(), place.to_owned())).collect();
        let some = migration.starts_with("DELETE FROM foo WHERE");
        let unharmed = if some { NotChecked } else { Compatible };
        let back = if values.is_empty() && verdict == Compatible { unharmed } else { Breaking };
        let found = judged(dialect, FOO, migration);
        if found != (verdict, back, values) {
            wrong.push(format!("{migration}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rows_that_are_lost_owe_more_than_a_patch() {
    for (migration, bump) in [
        ("ALTER TABLE foo DROP name, ADD name varchar(20)", Bump::Major),
        ("TRUNCATE foo", Bump::Minor),
        ("DELETE FROM foo", Bump::Minor),
    ] {
        assert_eq!(migrated(PostgreSql, FOO, migration).bump, bump, "{migration}");
    }
}

#[test]
fn what_does_not_come_back_is_told_with_its_place() {
    let told = |migration: &str| -> Vec<String> {
        migrated(PostgreSql, FOO, migration).roll_back.changes.iter().filter_map(sql::one_way).collect()
    };
    assert_eq!(
        told("ALTER TABLE foo ADD c int;\nALTER TABLE foo DROP COLUMN name;"),
        [format!("going back does not bring back the values of `foo.name`, dropped by {SECOND}:2")]
    );
    assert_eq!(
        told("\n\nDROP TABLE foo"),
        [format!("going back does not bring back the rows of `foo`, dropped by {SECOND}:3")]
    );
    assert_eq!(
        told("TRUNCATE foo"),
        [format!("going back does not bring back the rows of `foo`, removed by {SECOND}:1")]
    );
    assert_eq!(told("ALTER TABLE foo ADD c int").len(), 0);
}

#[test]
fn what_is_rolled_back_did_not_happen() {
    let cases = [
        (PostgreSql, "BEGIN; DROP TABLE foo; ROLLBACK;", Compatible),
        (PostgreSql, "BEGIN; SAVEPOINT s; DROP TABLE foo; ROLLBACK TO SAVEPOINT s; COMMIT;", Compatible),
        (
            PostgreSql,
            "BEGIN; SAVEPOINT s; DROP TABLE foo; ROLLBACK TO s; ALTER TABLE foo DROP name; COMMIT;",
            Breaking,
        ),
        (PostgreSql, "BEGIN; SAVEPOINT s; DROP TABLE foo; RELEASE s; COMMIT;", Breaking),
        (PostgreSql, "BEGIN; DROP TABLE foo; COMMIT;", Breaking),
        (PostgreSql, "BEGIN; FROBNICATE foo; ROLLBACK;", Compatible),
        (PostgreSql, "BEGIN; DELETE FROM foo; ABORT;", Compatible),
        // What a tool began, only the tool knows.
        (PostgreSql, "ALTER TABLE foo ADD c int; ROLLBACK;", NotChecked),
        (PostgreSql, "BEGIN; ALTER TABLE foo ADD c int;", NotChecked),
        (Sqlite, "BEGIN; DROP TABLE foo; ROLLBACK;", Compatible),
        // MySQL commits with every statement that shapes the schema.
        (MySql, "START TRANSACTION; DROP TABLE foo; ROLLBACK;", Breaking),
        (MySql, "START TRANSACTION; DELETE FROM foo; ROLLBACK;", Compatible),
    ];
    for (dialect, migration, verdict) in cases {
        let report = migrated(dialect, FOO, migration);
        assert_eq!(report.verdict, verdict, "{migration}: {:?} {:?}", report.changes, report.not_checked);
        if verdict == Compatible {
            assert_eq!(report.changes, [], "{migration}");
        }
    }
}

#[test]
fn of_several_constraints_one_is_meant_by_a_name() {
    let twice = "CREATE TABLE a (b int, UNIQUE (b), UNIQUE NULLS NOT DISTINCT (b));";
    let report = migrated(PostgreSql, twice, "ALTER TABLE a DROP CONSTRAINT a_b_key");
    let told: Vec<_> = report.changes.iter().map(|change| (change.rule.id, change.level)).collect();
    // The other answers upserts that name the column; none has the name.
    assert_eq!(told, [("sql-key-renamed", Level::Error), ("sql-unique-removed", Level::Warning)]);
    let both = "ALTER TABLE a DROP CONSTRAINT a_b_key; ALTER TABLE a DROP CONSTRAINT a_b_key1";
    assert_eq!(migrated(PostgreSql, twice, both).verdict, Breaking);
    let checks = "CREATE TABLE a (b int, CHECK (b > 0), CHECK (b < 9));";
    let report = migrated(MySql, checks, "ALTER TABLE a DROP CONSTRAINT a_chk_2");
    assert_eq!(report.verdict, NotChecked);
}

#[test]
fn what_touches_no_row_is_compatible() {
    for migration in [
        "ALTER TABLE foo SET (fillfactor = 70)",
        "ALTER TABLE foo RESET (fillfactor)",
        "ALTER TABLE ONLY public.foo ALTER COLUMN name SET STORAGE EXTERNAL, ALTER a SET STATISTICS 500",
        "ALTER TABLE foo CLUSTER ON foo_pkey",
        "ALTER TABLE foo ALTER CONSTRAINT foo_fkey DEFERRABLE INITIALLY DEFERRED",
        "ALTER TABLE foo ATTACH PARTITION foo_2026 FOR VALUES FROM (1) TO (2)",
        "ALTER TABLE foo REPLICA IDENTITY FULL, SET (autovacuum_enabled = false)",
        "COMMENT ON TABLE foo IS 'x'",
        "ANALYZE foo",
    ] {
        let report = migrated(PostgreSql, FOO, migration);
        assert_eq!(
            (report.verdict, report.changes.len()),
            (Compatible, 0),
            "{migration}: {:?}",
            report.not_checked
        );
    }
    let mixed = migrated(PostgreSql, FOO, "ALTER TABLE foo SET (fillfactor = 70), DROP COLUMN name");
    assert_eq!((mixed.verdict, mixed.changes.len()), (Breaking, 1));
}

#[test]
fn what_is_not_understood_is_told_in_our_words() {
    for (migration, reason) in [
        ("ALTER TABLE foo FROBNICATE", "it is not understood from `FROBNICATE` on"),
        ("ALTER TABLE foo ALTER CONSTRAINT c NOT ENFORCED", "it is not understood from `c` on"),
        (
            "ALTER TABLE foo ADD EXCLUDE USING gist (a WITH =)",
            "which rows an exclusion constraint refuses is not modelled",
        ),
        ("ALTER SEQUENCE foo_id_seq RESTART WITH 1", ""),
    ] {
        let report = migrated(PostgreSql, FOO, migration);
        assert_eq!(report.verdict, NotChecked, "{migration}");
        assert!(!report.not_checked[0].reason.contains("sql parser"), "{:?}", report.not_checked);
        assert!(report.not_checked[0].reason.contains(reason), "{:?}", report.not_checked);
    }
}

#[test]
fn a_reference_of_sqlite_means_what_has_its_name_after_a_rebuild() {
    let migration = "CREATE TABLE n (id INTEGER PRIMARY KEY, b int, FOREIGN KEY (b) REFERENCES t (id)); INSERT INTO n SELECT id, b FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t;";
    let report = migrated(Sqlite, "CREATE TABLE t (id INTEGER PRIMARY KEY, b int);", migration);
    assert!(report.changes.iter().any(|change| change.rule.id == "sql-foreign-key-added"), "{report:?}");
    assert_eq!(report.verdict, Breaking);
}

#[test]
fn a_folder_told_from_elsewhere_is_the_same_folder() {
    let tree = |folder: &str, files: &[(&str, &str)]| {
        let files = files.iter().map(|(name, text)| (format!("{folder}{name}"), text.as_bytes().to_vec()));
        Source::tree(files)
    };
    let first = ("1_a.sql", FOO);
    let second =
        ("2_b.sql", "UPDATE foo SET a = 1; FROBNICATE; ALTER TABLE foo DROP name, ADD name varchar(20);");
    let (old, same) = (tree("migrations/", &[first, second]), tree("", &[first, second]));
    let compared =
        |old: &Source, new: &Source| diff_as(Kind::Sql, old, new, &Options::default()).expect("valid");
    assert_eq!((compared(&old, &same).verdict, compared(&old, &same).changes.len()), (Compatible, 0));
    let third = ("3_c.sql", "ALTER TABLE foo DROP b, ADD b int;");
    let rules = |report: &Report| report.changes.iter().map(|change| change.rule.id).collect::<Vec<_>>();
    assert_eq!(rules(&compared(&old, &tree("", &[first, second, third]))), ["sql-values-lost"]);
    // A folder with a number is a migration, and no folder of migrations.
    let old = tree("", &[("1_a/migration.sql", FOO)]);
    let new = tree("db/", &[("1_a/migration.sql", FOO), ("2_b/migration.sql", "DROP TABLE foo;")]);
    assert_eq!(rules(&compared(&old, &new)), ["sql-table-dropped"]);
}

fn folders(more: &[(&str, &str)]) -> Report {
    let folder = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()));
        assemble(files.collect(), Some(Kind::Sql)).expect("a folder of migrations")
    };
    let first = [(FIRST, FOO), ("README.md", "x"), ("settings.json", "{}"), ("helpers.py", "x")];
    let all: Vec<_> = first.iter().chain(more).copied().collect();
    diff_as(Kind::Sql, &folder(&first), &folder(&all), &Options::default()).expect("valid")
}

#[test]
fn migrations_that_are_not_sql_are_named_and_not_checked() {
    for name in [
        "V2__drop.java",
        "0002_auto.py",
        "20240101120000_add.rb",
        "db.changelog-2.xml",
        "002_more.psql",
        "views.pgsql",
        "20240101_add.js",
        "1695_Add.ts",
        "2024_01_01_add.php",
        "R__seed.kt",
        "ae1027a6acf0_add.py",
        "003_changes.yaml",
    ] {
        let report = folders(&[(name, "x")]);
        assert_eq!(report.verdict, NotChecked, "{name}");
        assert!(
            report.not_checked[0].reason.contains("only .sql is read"),
            "{name}: {:?}",
            report.not_checked
        );
    }
    assert_eq!(folders(&[("notes.txt", "x"), ("main.py", "x"), ("package.json", "{}")]).verdict, Compatible);
    let source =
        |text: &'static str| Source::tree([(FIRST, FOO.as_bytes()), ("V2__x.java", text.as_bytes())]);
    let same = diff_as(Kind::Sql, &source("x"), &source("x"), &Options::default()).expect("valid");
    assert_eq!(same.verdict, Compatible);
    let other = diff_as(Kind::Sql, &source("x"), &source("y"), &Options::default()).expect("valid");
    assert_eq!(other.changes[0].rule.id, "sql-history-altered");
}

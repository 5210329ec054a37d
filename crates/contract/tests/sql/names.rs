//! Names that statements of the old version may use beside tables and columns, and names whose meaning moves.

use lockstep_contract::{SqlDialect, Verdict};

use super::migrated;
use SqlDialect::{MySql, PostgreSql, Sqlite};
use Verdict::{Breaking, Compatible, NotChecked};

const T: &str =
    "CREATE TABLE t (id int PRIMARY KEY, a int CONSTRAINT one UNIQUE, b int UNIQUE, c int NOT NULL);";

#[test]
fn a_key_that_upserts_name_keeps_its_name() {
    let cases = [
        ("ALTER TABLE t RENAME CONSTRAINT one TO two", Breaking),
        ("ALTER TABLE t RENAME CONSTRAINT t_b_key TO two", Breaking),
        ("ALTER INDEX one RENAME TO two", Breaking),
        (
            "ALTER TABLE t RENAME CONSTRAINT one TO two; ALTER TABLE t RENAME CONSTRAINT two TO one",
            Compatible,
        ),
        ("ALTER TABLE t ADD CONSTRAINT two UNIQUE (a); ALTER TABLE t DROP CONSTRAINT one", Breaking),
        (
            "ALTER TABLE t ADD CONSTRAINT two UNIQUE (a); ALTER TABLE t DROP CONSTRAINT one; ALTER TABLE t RENAME CONSTRAINT two TO one",
            Compatible,
        ),
        (
            "CREATE UNIQUE INDEX two ON t (a); ALTER TABLE t DROP CONSTRAINT one, ADD CONSTRAINT one UNIQUE USING INDEX two",
            Compatible,
        ),
        ("CREATE UNIQUE INDEX two ON t (a); ALTER TABLE t DROP CONSTRAINT one", Breaking),
        (
            "CREATE UNIQUE INDEX two ON t (id); ALTER TABLE t DROP CONSTRAINT t_pkey, ADD CONSTRAINT t_pkey PRIMARY KEY USING INDEX two",
            Compatible,
        ),
        (
            "CREATE UNIQUE INDEX two ON t (id); ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY USING INDEX two",
            Breaking,
        ),
        ("ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME TO t", Compatible),
    ];
    let mut wrong = Vec::new();
    for (migration, verdict) in cases {
        let report = migrated(PostgreSql, T, migration);
        if report.verdict != verdict {
            let told: Vec<_> = report.changes.iter().map(|change| &change.message).collect();
            wrong.push(format!("{migration}: {:?}: {told:?} {:?}", report.verdict, report.not_checked));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_index_that_queries_may_name_is_not_checked_when_it_goes() {
    let t = "CREATE TABLE t (id int PRIMARY KEY, a int, b int); CREATE INDEX i ON t (a); CREATE INDEX j ON t (b);";
    let of = |dialect, migration: &str| migrated(dialect, t, migration).verdict;
    assert_eq!(of(MySql, "DROP INDEX i ON t"), NotChecked);
    assert_eq!(of(MySql, "DROP INDEX i ON t; CREATE INDEX i ON t (a, b)"), Compatible);
    assert_eq!(of(Sqlite, "DROP INDEX i"), NotChecked);
    let rebuilt = "CREATE TABLE n (id int PRIMARY KEY, a int, b int); INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t; CREATE INDEX i ON t (a);";
    assert_eq!(of(Sqlite, rebuilt), NotChecked, "the other index went with its table");
    assert_eq!(of(Sqlite, &format!("{rebuilt} CREATE INDEX j ON t (b)")), Compatible);
    // No statement of PostgreSQL names an index.
    assert_eq!(of(PostgreSql, "DROP INDEX i"), Compatible);
    assert_eq!(of(PostgreSql, "ALTER INDEX i RENAME TO k; DROP INDEX k"), Compatible);
}

#[test]
fn what_a_name_means_is_known_or_not_checked() {
    let cases = [
        (PostgreSql, "SET search_path TO other; CREATE TABLE x (id int)"),
        (PostgreSql, "SET search_path = 'other'"),
        (PostgreSql, "SET LOCAL search_path TO \"Other\", public"),
        (PostgreSql, "ALTER ROLE app SET search_path TO other"),
        (PostgreSql, "ALTER DATABASE shop SET default_transaction_read_only = on"),
        (PostgreSql, "DROP TABLE IF EXISTS app.t"),
        (PostgreSql, "ALTER TABLE IF EXISTS app.t DROP COLUMN a"),
        (MySql, "USE one; USE other; DROP TABLE IF EXISTS t2"),
        (MySql, "SET GLOBAL sql_mode = ''"),
        (MySql, "DROP TABLE IF EXISTS other.t"),
        (PostgreSql, "ALTER ROLE app NOLOGIN"),
        (PostgreSql, "ALTER EXTENSION postgis UPDATE"),
        (MySql, "ALTER DATABASE shop READ ONLY = 1"),
        (MySql, "SET PASSWORD FOR app = 'x'"),
        (MySql, "ALTER TABLE t ENGINE = MyISAM"),
        (Sqlite, "CREATE TABLE n (id INTEGER PRIMARY KEY DESC)"),
        (Sqlite, "PRAGMA writable_schema = ON"),
        (Sqlite, "ATTACH 'x' AS other"),
    ];
    for (dialect, migration) in cases {
        let report = migrated(dialect, T, migration);
        assert_eq!(report.verdict, NotChecked, "{dialect:?}: {migration}: {:?}", report.changes);
    }
    let report = migrated(PostgreSql, T, "SET search_path TO other; DROP TABLE IF EXISTS t");
    assert_ne!(report.verdict, Compatible);
    for migration in [
        "SET search_path TO public",
        "SET search_path = \"$user\", public",
        "DROP TABLE IF EXISTS other_table",
        "ALTER TABLE IF EXISTS other_table DROP COLUMN a",
        "CREATE TEMP TABLE x AS SELECT * FROM t; UPDATE x SET a = 1; DROP TABLE x",
        "SET lock_timeout = '2s'",
    ] {
        let report = migrated(PostgreSql, T, migration);
        assert_eq!(report.verdict, Compatible, "{migration}: {:?}", report.not_checked);
    }
}

#[test]
fn what_was_not_understood_may_be_what_a_name_means() {
    let made = format!(
        "{T} CREATE TABLE copy AS SELECT * FROM t; CREATE VIEW w AS SELECT id FROM t WITH CHECK OPTION; DO $$ BEGIN EXECUTE 'CREATE TABLE hidden (id int)'; END $$;"
    );
    for migration in [
        "DROP TABLE IF EXISTS copy",
        "ALTER TABLE IF EXISTS copy DROP COLUMN a",
        "DROP VIEW IF EXISTS w",
        "CREATE OR REPLACE VIEW w AS SELECT a AS id FROM t",
        "DROP TABLE IF EXISTS hidden",
        "UPDATE copy SET a = 1",
        "DELETE FROM hidden",
    ] {
        let report = migrated(PostgreSql, &made, migration);
        assert_eq!(report.verdict, NotChecked, "{migration}: {:?}", report.changes);
    }
}

#[test]
fn what_hangs_on_a_table_falls_with_it() {
    let t = "CREATE TABLE t (id INTEGER PRIMARY KEY, a int); CREATE TRIGGER g AFTER INSERT ON t BEGIN UPDATE t SET a = 1; END;";
    let rebuilt = "CREATE TABLE n (id INTEGER PRIMARY KEY, a int); INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t;";
    assert_eq!(migrated(Sqlite, t, rebuilt).verdict, NotChecked, "the trigger is gone");
}

#[test]
fn another_sequence_may_give_numbers_that_are_there() {
    let t = "CREATE TABLE t (id bigserial PRIMARY KEY, a int);";
    for migration in [
        "ALTER TABLE t ALTER id DROP DEFAULT; ALTER TABLE t ALTER id ADD GENERATED BY DEFAULT AS IDENTITY",
        "ALTER TABLE t ALTER id SET DEFAULT nextval('other')",
        "CREATE TABLE n (id bigserial CONSTRAINT t_pkey PRIMARY KEY, a int); INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t",
    ] {
        let report = migrated(PostgreSql, t, migration);
        assert_eq!(report.verdict, NotChecked, "{migration}: {:?}", report.changes);
    }
    let given = "CREATE TABLE t (id bigint PRIMARY KEY);";
    let identity = "ALTER TABLE t ALTER id ADD GENERATED BY DEFAULT AS IDENTITY";
    assert_eq!(migrated(PostgreSql, given, identity).verdict, Compatible);
}

#[test]
fn what_a_type_does_to_texts_and_times_is_told() {
    let t = "CREATE TABLE t (a text UNIQUE, b text, c timestamptz);";
    let of = |migration: &str| migrated(PostgreSql, t, &format!("ALTER TABLE t ALTER {migration}")).verdict;
    assert_eq!(of("a TYPE citext"), NotChecked);
    assert_eq!(of("b TYPE citext"), Compatible);
    assert_eq!(of("c TYPE timestamptz(0)"), Breaking);
    assert_eq!(of("c TYPE timestamptz(6)"), Compatible);
}

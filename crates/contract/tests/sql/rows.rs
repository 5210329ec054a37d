//! Rows that a migration changes or removes, and what that means for coming back.

use lockstep_contract::{SqlDialect, Verdict};

use super::{SECOND, migrated};
use SqlDialect::{MySql, PostgreSql, Sqlite};
use Verdict::{Breaking, Compatible, NotChecked};

const T: &str = "CREATE TABLE t (id int PRIMARY KEY, n int, m int, name varchar(20)); CREATE TABLE archive (id int PRIMARY KEY, n int);
    CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t (id) ON DELETE CASCADE, x int); CREATE TABLE s (id int PRIMARY KEY, t int REFERENCES t (id) ON DELETE SET NULL, y int);
    CREATE VIEW v AS SELECT id, n FROM t;";

fn judged(dialect: SqlDialect, migration: &str) -> (Verdict, Verdict) {
    let report = migrated(dialect, T, migration);
    (report.verdict, report.roll_back.verdict())
}

#[test]
fn what_rows_held_decides_whether_the_old_version_comes_back() {
    let (gone, some, kept) = ((Compatible, Breaking), (Compatible, NotChecked), (Compatible, Compatible));
    let cases = [
        ("UPDATE t SET n = 0", gone),
        ("UPDATE t SET n = n + 1", gone),
        ("UPDATE t SET n = NULL", gone),
        ("UPDATE t SET name = upper(name)", gone),
        ("UPDATE t SET n = (SELECT max(x) FROM c)", gone),
        ("UPDATE t SET n = m", gone),
        ("UPDATE t SET n = n", kept),
        ("UPDATE t SET n = coalesce(n, 0)", some),
        ("UPDATE t SET n = 0 WHERE n IS NULL", some),
        ("UPDATE t SET n = 0 WHERE id > 3", some),
        ("DELETE FROM t", gone),
        ("DELETE FROM t WHERE n = 1", some),
        ("INSERT INTO t (id, n) VALUES (1, 2)", kept),
        ("INSERT INTO archive SELECT id, n FROM t", kept),
        ("INSERT INTO archive SELECT id, n FROM t WHERE n > 0", kept),
        ("INSERT INTO archive SELECT id, n FROM t; DELETE FROM t", gone),
        // What the old version does not know is not missed.
        ("ALTER TABLE t ADD fresh int; UPDATE t SET fresh = n", kept),
        ("ALTER TABLE t ADD fresh int; UPDATE t SET fresh = 0 WHERE n > 3", kept),
        (
            "CREATE TABLE made (id int); INSERT INTO made SELECT id FROM t; UPDATE made SET id = 1; DELETE FROM made WHERE id = 1",
            kept,
        ),
        // They are elsewhere under the old name all the same.
        (
            "ALTER TABLE t RENAME COLUMN n TO k; UPDATE t SET k = 0 WHERE id = 1; ALTER TABLE t RENAME COLUMN k TO n",
            some,
        ),
        ("UPDATE v SET n = 3 WHERE id = 1", some),
        ("BEGIN; UPDATE t SET n = 0; DELETE FROM archive WHERE n = 1; ROLLBACK", kept),
    ];
    let mut wrong = Vec::new();
    for dialect in [PostgreSql, MySql, Sqlite] {
        for (migration, expected) in cases {
            let found = judged(dialect, migration);
            if found != expected {
                wrong.push(format!("{dialect:?}: {migration}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_database_has_its_ways_of_replacing_rows() {
    let some = (Compatible, NotChecked);
    let kept = (Compatible, Compatible);
    let cases = [
        (PostgreSql, "INSERT INTO t (id, n) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET n = 2", some),
        (PostgreSql, "INSERT INTO t (id, n) VALUES (1, 2) ON CONFLICT DO NOTHING", kept),
        (
            PostgreSql,
            "MERGE INTO t USING archive ON t.id = archive.id WHEN MATCHED THEN UPDATE SET n = archive.n",
            some,
        ),
        (
            PostgreSql,
            "WITH gone AS (DELETE FROM t WHERE n = 1 RETURNING id, n) INSERT INTO archive SELECT id, n FROM gone",
            some,
        ),
        (PostgreSql, "WITH x AS (SELECT 1 AS id) UPDATE t SET n = 1 FROM x WHERE x.id = t.id", some),
        (PostgreSql, "UPDATE t SET (n, m) = (1, 2) WHERE id = 1", some),
        (PostgreSql, "UPDATE ONLY t SET n = 1 WHERE id = 1", some),
        (PostgreSql, "DELETE FROM t USING archive WHERE t.id = archive.id", some),
        (PostgreSql, "UPDATE t AS o SET n = 1 FROM archive a WHERE a.id = o.id", some),
        (PostgreSql, "TRUNCATE t CASCADE", (Compatible, Breaking)),
        (PostgreSql, "COPY archive FROM STDIN", kept),
        (PostgreSql, "COPY archive TO STDOUT", kept),
        (PostgreSql, "DELETE FROM pg_enum WHERE enumlabel = 'x'", (NotChecked, NotChecked)),
        (PostgreSql, "WITH x AS (SELECT f()) SELECT * FROM x", (NotChecked, NotChecked)),
        (MySql, "REPLACE INTO t (id, n) VALUES (1, 2)", some),
        (MySql, "INSERT INTO t (id, n) VALUES (1, 2) ON DUPLICATE KEY UPDATE n = 2", some),
        (MySql, "UPDATE t JOIN archive a ON a.id = t.id SET t.n = a.n", some),
        (MySql, "DELETE t FROM t JOIN archive a ON a.id = t.id", some),
        (MySql, "UPDATE t SET n = 1 ORDER BY id LIMIT 5", some),
        (MySql, "INSERT IGNORE INTO t (id, n) VALUES (1, 2)", kept),
        (MySql, "LOAD DATA INFILE 'x' REPLACE INTO TABLE t", some),
        (Sqlite, "INSERT OR REPLACE INTO t (id, n) VALUES (1, 2)", some),
        (Sqlite, "REPLACE INTO t (id, n) VALUES (1, 2)", some),
        (Sqlite, "UPDATE OR REPLACE t SET id = 2 WHERE id = 1", some),
    ];
    let wrong = cases.iter().filter_map(|(dialect, migration, expected)| {
        let found = judged(*dialect, migration);
        (found != *expected).then(|| format!("{dialect:?}: {migration}: {found:?}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rows_that_refer_to_what_goes_go_with_it() {
    let open = |migration: &str| -> Vec<String> {
        let report = migrated(PostgreSql, T, migration);
        report.roll_back.not_checked.iter().map(|open| open.place.clone()).collect()
    };
    assert_eq!(open("DELETE FROM t WHERE id = 1"), ["c", "s.t", "t"]);
    assert_eq!(open("UPDATE t SET n = 1 WHERE id = 1"), ["t.n"]);
    let rebuilt = "CREATE TABLE t2 (id int PRIMARY KEY, n int, m int, name varchar(20)); INSERT INTO t2 SELECT id, n, m, name FROM t; DROP TABLE t; ALTER TABLE t2 RENAME TO t;";
    // SQLite deletes the rows of a table that it drops, where it follows references.
    assert_eq!(judged(Sqlite, rebuilt).1, NotChecked);
    let places = |migration: &str| {
        let report = migrated(Sqlite, T, migration);
        report.not_checked.iter().map(|open| open.place.clone()).collect::<Vec<_>>()
    };
    assert_eq!(places(rebuilt), [format!("{SECOND}:1")], "rows of the running version go");
    assert_eq!(
        judged(Sqlite, &format!("PRAGMA foreign_keys = OFF; {rebuilt} PRAGMA foreign_keys = ON;")),
        (Compatible, Compatible)
    );
}

#[test]
fn the_same_statement_on_both_sides_changes_nothing() {
    let before = format!(
        "{T} UPDATE t SET n = 0; UPDATE t SET m = 1 WHERE id = 1; DELETE FROM c WHERE id = 1; DELETE FROM s;"
    );
    let report = migrated(PostgreSql, &before, "ALTER TABLE t ADD fresh int");
    assert_eq!((report.verdict, report.roll_back.verdict()), (Compatible, Compatible));
    let again = migrated(PostgreSql, &before, "UPDATE t SET m = 1 WHERE id = 1");
    assert_eq!(again.roll_back.verdict(), NotChecked);
}

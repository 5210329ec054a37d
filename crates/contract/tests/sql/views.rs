//! What a view shows is the same, fewer rows, or not checked; for deploying and for coming back alike.

use lockstep_contract::{SqlDialect, Verdict};

use super::migrated;
use SqlDialect::{MySql, PostgreSql, Sqlite};
use Verdict::{Breaking, Compatible, NotChecked};

const TABLES: &str =
    "CREATE TABLE a (id int PRIMARY KEY, b int, c text, d int); CREATE TABLE p (id int PRIMARY KEY);";

/// Both verdicts, and what was told of the view.
fn judged(dialect: SqlDialect, old: &str, new: &str) -> (Verdict, Verdict, Vec<&'static str>) {
    let before = format!("{TABLES} CREATE VIEW v AS {old};");
    let report = migrated(dialect, &before, &format!("DROP VIEW v; CREATE VIEW v AS {new}"));
    let told = report.changes.iter().map(|change| change.rule.id).collect();
    (report.verdict, report.roll_back.verdict(), told)
}

#[test]
fn another_query_is_not_checked_unless_it_shows_the_same_or_fewer_rows() {
    let same = "SELECT id, b FROM a";
    let positive = "SELECT id, b FROM a WHERE b > 0";
    let cases = [
        (same, "SELECT  id,b FROM a", Compatible, 0),
        (positive, "SELECT id, b FROM a WHERE 0 < b", Compatible, 0),
        (positive, "SELECT id, b FROM a WHERE b > 5", Compatible, 1),
        (same, positive, Compatible, 1),
        (positive, "SELECT id, b FROM a WHERE b > 0 AND d IS NULL", Compatible, 1),
        (positive, "SELECT id, b FROM a WHERE b IN (1, 2)", Compatible, 1),
        (positive, "SELECT id, b, c FROM a WHERE b > 0", Compatible, 1),
        // More rows, other rows, other values.
        (positive, same, NotChecked, 0),
        (positive, "SELECT id, b FROM a WHERE b > -1", NotChecked, 0),
        (positive, "SELECT id, b FROM a WHERE d > 0", NotChecked, 0),
        (positive, "SELECT id, b FROM a WHERE b > 0 OR d > 0", NotChecked, 0),
        (same, "SELECT id, d AS b FROM a", NotChecked, 0),
        (same, "SELECT id, b + 1 AS b FROM a", NotChecked, 0),
        (same, "SELECT id, b FROM a UNION ALL SELECT id, b FROM a", NotChecked, 0),
        (same, "SELECT DISTINCT id, b FROM a", NotChecked, 0),
        (same, "SELECT id, b FROM a LIMIT 3", NotChecked, 0),
        (same, "SELECT a.id, a.b FROM a JOIN p ON p.id = a.id", NotChecked, 0),
        (same, "SELECT id, b FROM a WHERE 1 / b > 0", NotChecked, 0),
        (positive, "SELECT id, b FROM a WHERE b > 0 AND 1 / d > 0", NotChecked, 0),
        (positive, "SELECT id, b FROM a WHERE b > 0 AND length(c) > 0", NotChecked, 0),
        // One row of all, whatever is filtered, changes its value.
        ("SELECT count(*) AS n FROM a", "SELECT count(*) AS n FROM a WHERE b > 0", NotChecked, 0),
        (
            "SELECT id, row_number() OVER () AS n FROM a",
            "SELECT id, row_number() OVER () AS n FROM a WHERE b > 0",
            NotChecked,
            0,
        ),
        ("SELECT 1 AS n FROM a", "SELECT 1 AS n, count(*) AS m FROM a", NotChecked, 0),
        ("SELECT * FROM a", "SELECT * FROM a WHERE b > 0", NotChecked, 0),
        (same, "SELECT id FROM a", Breaking, 1),
    ];
    let mut wrong = Vec::new();
    for dialect in [PostgreSql, MySql, Sqlite] {
        for (old, new, verdict, told) in cases {
            let found = judged(dialect, old, new);
            if (found.0, found.1, found.2.len()) != (verdict, verdict, told) {
                wrong.push(format!("{dialect:?}: {old} -> {new}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_view_that_is_kept_or_asked_in_another_way_is_not_checked() {
    let of = |old: &str, new: &str| {
        let report = migrated(PostgreSql, &format!("{TABLES} {old}"), new);
        (report.verdict, report.roll_back.verdict())
    };
    let plain = "CREATE VIEW v AS SELECT id, b FROM a;";
    let open = (NotChecked, NotChecked);
    assert_eq!(of(plain, "DROP VIEW v; CREATE MATERIALIZED VIEW v AS SELECT id, b FROM a"), open);
    assert_eq!(
        of(plain, "CREATE OR REPLACE VIEW v WITH (security_invoker = true) AS SELECT id, b FROM a"),
        open
    );
    assert_eq!(of(plain, "DROP VIEW v; CREATE VIEW v (b, id) AS SELECT id, b FROM a"), open);
    assert_eq!(
        of(plain, "DROP VIEW v; CREATE VIEW v (id, b) AS SELECT id, b FROM a"),
        (Compatible, Compatible)
    );
    assert_eq!(of(plain, "ALTER VIEW v SET (security_barrier = true)"), open);
}

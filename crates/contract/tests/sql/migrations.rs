//! Migrations by class, and whether they can be undone.

use lockstep_contract::{
    Source, SqlDialect,
    sql::{Class, Migration, classify},
};

fn classified(files: &[(&str, &str)]) -> Vec<Migration> {
    let source = Source::tree(files.iter().map(|(name, text)| (*name, text.as_bytes())));
    classify(&source, Some(SqlDialect::PostgreSql)).expect("valid")
}

#[test]
fn each_migration_has_its_class_and_its_way_back() {
    let found = classified(&[
        (
            "01_make.up.sql",
            "CREATE TABLE a (b bigint, c text); CREATE TYPE e AS ENUM ('x'); CREATE TABLE d (f e);",
        ),
        ("01_make.down.sql", "DROP TABLE a;"),
        ("02_fill.sql", "INSERT INTO a VALUES (1);"),
        ("03_move.sql", "-- migrate:up\nUPDATE a SET b = 2;\n-- migrate:down\nUPDATE a SET b = 1;"),
        ("04_demand.sql", "ALTER TABLE a ALTER COLUMN b SET NOT NULL;"),
        ("05_drop.sql", "ALTER TABLE a DROP COLUMN c;"),
        ("06_enum.sql", "ALTER TYPE e ADD VALUE 'y';"),
        (
            "07_rebuild.sql",
            "CREATE TABLE n (b bigint NOT NULL); INSERT INTO n SELECT b FROM a; DROP TABLE a; ALTER TABLE n RENAME TO a;",
        ),
        ("10_late.sql", "CREATE INDEX ON a (b);"),
    ]);
    let facts: Vec<_> = found
        .iter()
        .map(|one| (one.file.as_str(), one.class, one.one_way.is_empty(), one.has_way_back))
        .collect();
    assert_eq!(
        facts,
        [
            ("01_make.up.sql", Class::Expand, true, true),
            ("02_fill.sql", Class::Data, true, false),
            ("03_move.sql", Class::Data, false, true),
            ("04_demand.sql", Class::Contract, true, false),
            ("05_drop.sql", Class::Contract, false, false),
            ("06_enum.sql", Class::Expand, false, false),
            ("07_rebuild.sql", Class::Data, true, false),
            ("10_late.sql", Class::Expand, true, false),
        ]
    );
    assert_eq!(
        found[4].one_way,
        ["going back does not bring back the values of `a.c`, dropped by 05_drop.sql:1"]
    );
    assert_eq!(
        found[2].one_way,
        ["going back does not bring back the values of `a.b`, overwritten by 03_move.sql:2"]
    );
}

#[test]
fn what_is_not_understood_is_named() {
    let found = classified(&[("1.sql", "CREATE TABLE a (b int);\nDO $$ BEGIN END $$;")]);
    assert_eq!(found[0].not_understood.len(), 1);
    assert_eq!(found[0].not_understood[0].0.to_string(), "1.sql:2");
    let found = classified(&[
        ("1.sql", "CREATE TABLE a (b int); ALTER TABLE a OWNER TO c;"),
        ("2.sql", "ALTER TABLE a OWNER TO d;"),
        ("3.sql", "CREATE TABLE e (f int);\n-- rollback\nDROP TABLE e;"),
        ("4_rollback.sql", "CREATE TABLE g (f int);"),
        ("5_rollback.sql", "-- lockstep: forward\nCREATE TABLE h (f int);"),
    ]);
    let unread: Vec<_> = found.iter().map(|it| it.not_understood.len()).collect();
    assert_eq!(unread, [0, 1, 1, 1, 0], "what changes hands, or may be a way down: {found:?}");
}

#[test]
fn a_way_down_is_told_by_what_it_takes_and_what_it_does_not_restore() {
    let found = classified(&[
        ("01_a.up.sql", "CREATE TABLE a (b bigint PRIMARY KEY, c text NOT NULL);"),
        ("01_a.down.sql", "DROP TABLE a;"),
        (
            "02_d.sql",
            "-- migrate:up\nALTER TABLE a ADD COLUMN d int;\n-- migrate:down\nALTER TABLE a DROP COLUMN d;",
        ),
        ("03_c.sql", "ALTER TABLE a DROP COLUMN c;"),
        ("03_c.down.sql", "ALTER TABLE a ADD COLUMN c text;"),
        ("04_e.sql", "CREATE INDEX ON a (d);"),
        ("05_f.sql", "CREATE TABLE f (g int);"),
        ("05_f.down.sql", "DO $$ BEGIN END $$;"),
    ]);
    let ways: Vec<_> = found.iter().map(|one| one.way_down.as_ref()).collect();
    let way = |at: usize| ways[at].unwrap();
    assert_eq!((way(0).way.file.as_str(), way(0).class), ("01_a.down.sql", Class::Contract));
    assert!(way(0).takes.iter().any(|it| it.contains('a')) && way(0).leaves.is_empty(), "{:?}", way(0));
    assert_eq!((way(1).way.file.as_str(), way(1).class), ("02_d.sql", Class::Contract));
    assert!(way(1).takes.iter().any(|it| it.contains("a.d")), "{:?}", way(1));
    // It only adds; and what was dropped comes again as another column.
    assert_eq!(way(2).class, Class::Expand);
    assert!(!way(2).leaves.is_empty(), "{:?}", way(2));
    assert_eq!(ways[3].unwrap_err().0, None);
    assert!(!way(4).not_understood.is_empty(), "{:?}", way(4));
    // What is judged of a migration does not know of its way down.
    assert_eq!(found[4].class, Class::Expand);
}

#[test]
fn what_is_no_plain_way_down_says_why() {
    let found = classified(&[
        ("01_a.sql", "-- migrate:up\nCREATE TABLE a (b int);\n-- migrate:down\nDROP TABLE a;"),
        ("01_a.down.sql", "DROP TABLE a;"),
        ("02_b.sql", "CREATE TABLE b (b int);"),
        ("02_b.down.sql", "DROP TABLE b;"),
        ("02_b.undo.sql", "DROP TABLE b;"),
        ("03_c.up.sql", "CREATE TABLE c (b int);"),
        ("03_c.sql", "CREATE TABLE d (b int);"),
        ("03_c.down.sql", "DROP TABLE c;"),
        ("04_e.sql", "CREATE TABLE e (b int);"),
        ("04_e.down.sql", "\\i other.sql\nDROP TABLE e;"),
        ("05_f.sql", "-- +goose Up\nCREATE TABLE f (b int);\n-- +goose Down\nCOPY f FROM stdin;\n1\n\\.\n"),
    ]);
    let why = |file: &str| {
        let found = found.iter().find(|one| one.file == file).unwrap();
        found.way_down.as_ref().unwrap_err().0.clone().unwrap_or_default()
    };
    for (file, part) in [
        ("01_a.sql", "both `01_a.down.sql` and a part of `01_a.sql`"),
        ("02_b.sql", "both `02_b.down.sql` and `02_b.undo.sql`"),
        ("03_c.sql", "`03_c.down.sql` is by its name the way down of several"),
        ("03_c.up.sql", "`03_c.down.sql` is by its name the way down of several"),
        ("04_e.sql", "04_e.down.sql:1: `\\i` is a command"),
        ("05_f.sql", "05_f.sql:4: `COPY"),
    ] {
        assert!(why(file).contains(part), "{file}: {}", why(file));
    }
}

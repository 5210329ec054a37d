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

//! What is the same for SQLite and PostgreSQL.

use lockstep_domain::database::Act;

use crate::place::{Kind, Place};

const KINDS: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];
const ALL: [&str; 3] = ["1_notes.sql", "2_text.sql", "10_tags.sql"];

#[test]
fn migrations_are_applied_once_in_the_order_of_their_numbers_and_up_to_the_one_that_is_named() {
    for kind in KINDS {
        let place = Place::with_three(kind);
        assert_eq!(place.apply("2_text.sql").good().has(), ALL[..2]);
        assert_eq!(place.ask("SELECT count(*) FROM notes"), "1");
        let again = place.apply("10_tags.sql").good();
        assert_eq!(again.has(), ALL);
        assert!(!again.said.contains("2_text.sql begins"), "{}", again.said);
        assert_eq!(place.apply("10_tags.sql").good().has(), ALL);
        assert_eq!(place.ask("SELECT count(*) FROM notes"), "1");
        assert_eq!(
            place.ask("SELECT count(*) FROM lockstep_migrations WHERE applied_by = 'notes@1.0.0'"),
            "3"
        );
    }
}

#[test]
fn a_look_changes_nothing_and_finds_what_is_there() {
    for kind in KINDS {
        let place = Place::with_three(kind);
        assert_eq!(place.run(Act::Look).good().has(), [""; 0]);
        assert!(
            place.ask("SELECT count(*) FROM lockstep_migrations").contains("lockstep_migrations"),
            "no table"
        );
        place.apply("1_notes.sql").good();
        assert_eq!(place.run(Act::Look).good().has(), ALL[..1]);
    }
}

#[test]
fn a_migration_that_fails_leaves_nothing_of_itself_and_all_before_it() {
    for kind in KINDS {
        let place = Place::with_three(kind);
        place.write("2_text.sql", "CREATE TABLE half (id integer);\n\nCREATE TABLE notes (id integer);");
        let ended = place.apply("10_tags.sql").bad("2_text.sql:3:");
        assert_eq!(ended.has(), ALL[..1]);
        let told = ended.told.unwrap();
        assert!(!told.untouched && told.half.is_none(), "the first was applied: {told:?}");
        let told = place.apply("10_tags.sql").bad("2_text.sql:3:").told.unwrap();
        let failure = told.failure.clone().unwrap();
        assert!(
            told.untouched && failure.contains("2_text.sql:3:") && failure.contains("already exists"),
            "{told:?}"
        );
        assert!(place.ask("SELECT count(*) FROM half").contains("half"), "it was undone");
        place.write("2_text.sql", "ALTER TABLE notes ADD COLUMN text text");
        assert_eq!(place.apply("10_tags.sql").good().has(), ALL);
    }
}

#[test]
fn of_two_at_once_one_waits_and_each_migration_runs_once() {
    for kind in KINDS {
        let mut place = Place::with_three(kind);
        place.lock_ms = 30_000;
        let through = || Act::Apply { through: Some("10_tags.sql".to_owned()) };
        let other = place.beside();
        let both = [place.begin(through()), other.begin(through())];
        for child in both {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(place.run(Act::Look).good().has(), ALL);
        assert_eq!(place.ask("SELECT count(*) FROM notes"), "1");
    }
}

#[test]
fn text_that_changed_after_it_ran_stops_everything_and_is_drift() {
    for kind in KINDS {
        let place = Place::with_three(kind);
        place.apply("2_text.sql").good();
        place.write("1_notes.sql", "CREATE TABLE notes (id integer);");
        let ended = place.apply("10_tags.sql").bad("`1_notes.sql` was changed after it ran");
        assert_eq!(ended.has(), ALL[..2]);
        assert_eq!(ended.told.unwrap().drift.len(), 1);
        assert_eq!(place.run(Act::Look).good().told.unwrap().drift.len(), 1);
        place.run(Act::Apply { through: None }).bad("was changed");
    }
}

#[test]
fn a_file_that_is_gone_from_the_middle_stops_everything() {
    for kind in KINDS {
        let place = Place::with_three(kind);
        place.apply("2_text.sql").good();
        place.remove("2_text.sql");
        place.apply("10_tags.sql").bad("`2_text.sql` ran, and is not in the folder");
        place.remove("10_tags.sql");
        let older = place.run(Act::Look).good();
        assert_eq!(older.told.unwrap().drift, [""; 0], "a version without it is an older one");
    }
}

#[test]
fn a_history_by_other_means_is_taken_over_without_running_anything() {
    for kind in KINDS {
        let place = Place::with_three(kind);
        place.apply("1_notes.sql").good();
        place.ask("DROP TABLE lockstep_migrations");
        place.apply("10_tags.sql").bad("1_notes.sql:1:");
        assert_eq!(place.run(Act::Adopt { through: "1_notes.sql".to_owned() }).good().has(), ALL[..1]);
        assert_eq!(place.apply("10_tags.sql").good().has(), ALL);
    }
}

#[test]
fn one_that_is_no_transaction_is_told_when_it_fails_and_waits_for_a_person() {
    for (kind, text) in [
        (Kind::Sqlite, "-- lockstep: alone\nCREATE TABLE a (b integer);\nCREATE TABLE notes (id integer);"),
        (
            Kind::Postgres,
            "CREATE INDEX CONCURRENTLY i ON notes (id);\nCREATE INDEX CONCURRENTLY j ON none (id);",
        ),
    ] {
        let place = Place::with_three(kind);
        place.write("2_text.sql", text);
        let ended = place.apply("10_tags.sql").bad("what it did before that stays");
        assert_eq!(ended.has(), ALL[..1]);
        assert_eq!(ended.told.unwrap().half.as_deref(), Some("2_text.sql"));
        place.apply("10_tags.sql").bad("lockstep database settle");
        let done = |done| Act::Settle { migration: "2_text.sql".to_owned(), done };
        place.run(Act::Settle { migration: "1_notes.sql".to_owned(), done: true }).bad("is not one of which");
        assert_eq!(place.run(done(true)).good().has(), ALL[..2]);
        place.run(done(true)).bad("is not one of which");
        assert_eq!(place.apply("10_tags.sql").good().has(), ALL);
    }
}

#[test]
fn one_that_is_settled_as_not_done_runs_again() {
    let place = Place::with_three(Kind::Postgres);
    place.write("2_text.sql", "CREATE INDEX CONCURRENTLY i ON none (id);");
    place.apply("10_tags.sql").bad("2_text.sql:1:");
    place.write("2_text.sql", "CREATE INDEX CONCURRENTLY i ON notes (id);");
    place.run(Act::Settle { migration: "2_text.sql".to_owned(), done: false }).good();
    assert_eq!(place.apply("10_tags.sql").good().has(), ALL);
}

#[test]
fn a_file_with_its_own_transaction_runs_as_it_stands() {
    for kind in KINDS {
        let place = Place::with_three(kind);
        place.write("2_text.sql", "BEGIN;\nALTER TABLE notes ADD COLUMN text text;\nCOMMIT;");
        assert_eq!(place.apply("10_tags.sql").good().has(), ALL);
        place.write(
            "11_own.sql",
            "START TRANSACTION;\nCREATE TABLE lost (id integer);\nCREATE TABLE notes (id integer);\nCOMMIT;",
        );
        if kind == Kind::Postgres {
            let ended = place.apply("11_own.sql").bad("11_own.sql:3:");
            assert!(ended.told.unwrap().half.is_none(), "nothing of it is there");
            assert!(place.ask("SELECT count(*) FROM lost").contains("lost"));
        }
        place.remove("11_own.sql");
        place.write("11_open.sql", "BEGIN;\nCREATE TABLE lost (id integer);");
        let ended = place.apply("11_open.sql").bad("it leaves a transaction open");
        assert_eq!(ended.told.unwrap().half.as_deref(), Some("11_open.sql"));
    }
}

#[test]
fn a_table_of_sqlite_is_made_anew_without_taking_along_what_refers_to_it() {
    let place = Place::new(Kind::Sqlite);
    place.write(
        "1_a.sql",
        "CREATE TABLE a (id integer PRIMARY KEY); CREATE TABLE b (a integer REFERENCES a ON DELETE CASCADE); \
        INSERT INTO a VALUES (1); INSERT INTO b VALUES (1);",
    );
    place.write("2_b.sql", "CREATE TABLE n (id integer PRIMARY KEY, t text); INSERT INTO n SELECT id, '' FROM a; DROP TABLE a; ALTER TABLE n RENAME TO a;");
    place.apply("2_b.sql").good();
    assert_eq!(place.ask("SELECT count(*) FROM b"), "1");
    place.write("3_c.sql", "DELETE FROM a;");
    place.apply("3_c.sql").bad("rows refer to others that are not there");
    assert_eq!(place.ask("SELECT count(*) FROM a"), "1");
}

#[test]
fn the_way_back_in_a_file_never_runs() {
    for kind in KINDS {
        let place = Place::with_three(kind);
        place.write(
            "2_text.sql",
            "-- migrate:up\nCREATE TABLE more (id integer);\n-- migrate:down\nDROP TABLE notes;",
        );
        place.write("2_text.down.sql", "DROP TABLE notes;");
        place.write("3_more.sql", "\u{feff}CREATE TABLE bom (id integer);");
        place.write("3_more.undo.sql", "DROP TABLE notes;");
        place.write(
            "4_w.sql",
            "CREATE TABLE w1 (id integer);\n-- rollback is not possible here\nCREATE TABLE w2 (id integer);",
        );
        place.write(
            "5_liquibase.sql",
            "--liquibase formatted sql\n--changeset a:1\nCREATE TABLE l1 (id integer);\n--rollback DROP TABLE l1;\n--changeset a:2\nCREATE TABLE l2 (id integer);",
        );
        let ended = place.apply("10_tags.sql").good();
        assert_eq!(
            ended.has(),
            ["1_notes.sql", "2_text.sql", "3_more.sql", "4_w.sql", "5_liquibase.sql", "10_tags.sql"]
        );
        assert!(ended.said.contains("2_text.sql without line 4, its way down"), "{}", ended.said);
        for table in ["notes", "bom", "w1", "w2", "l1", "l2"] {
            assert_eq!(place.ask(&format!("SELECT count(*) FROM {table}")), "0", "{table}");
        }
    }
}

#[test]
fn what_may_be_a_way_down_runs_nothing_until_somebody_says_what_it_is() {
    for kind in KINDS {
        let place = Place::with_three(kind);
        place.write("2_text.sql", "CREATE TABLE w1 (id integer);\n-- Rollback:\nDROP TABLE notes;");
        assert_eq!(place.apply("10_tags.sql").bad("2_text.sql:2: `-- Rollback:`").has(), [""; 0]);
        place.write("2_text.sql", "CREATE TABLE w1 (id integer);\n-- until the rollback:\n");
        place.write("3_rollback.sql", "CREATE TABLE w2 (id integer);");
        assert_eq!(place.apply("10_tags.sql").bad("`3_rollback.sql` sounds like a way back").has(), [""; 0]);
        place.write("3_rollback.sql", "-- lockstep: forward\nCREATE TABLE w2 (id integer);");
        let all = ["1_notes.sql", "2_text.sql", "3_rollback.sql", "10_tags.sql"];
        assert_eq!(place.apply("10_tags.sql").good().has(), all);
        place.write("1_notes.sql", "-- lockstep: forward\nCREATE TABLE notes (id integer PRIMARY KEY);");
        assert_eq!(
            place.apply("10_tags.sql").good().has(),
            all,
            "what it says of its form is none of its text"
        );
    }
}

#[test]
fn what_was_there_when_it_was_planned_and_is_not_stops_a_step_before_it_applies_anything() {
    for kind in KINDS {
        let place = Place::with_three(kind);
        let lacks = "lacks `1_notes.sql`, which it had when this was planned";
        place.apply_as_planned("10_tags.sql", &["10_tags.sql"]).bad(lacks);
        assert_eq!(place.run(Act::Look).good().has(), [""; 0]);
        assert_eq!(place.run(Act::Accept).good().has(), [""; 0]);
        place.apply("2_text.sql").good();
        place.apply_as_planned("10_tags.sql", &["10_tags.sql"]).good();
        assert_eq!(place.run(Act::Look).good().has(), ALL);
    }
}

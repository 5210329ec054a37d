//! Ways down: each once, with its record, and nothing but what was named.

use lockstep_domain::database::Act;

use crate::place::{Kind, Place, wait_for};
use crate::server::server;

const KINDS: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

fn back(names: &[&str], to: Option<&str>) -> Act {
    Act::Revert { migrations: names.iter().map(|&name| name.to_owned()).collect(), to: to.map(str::to_owned) }
}

/// Three migrations: one without a way down, one with a file beside it, one with a part of its own.
fn with_ways(kind: Kind) -> Place {
    let place = Place::with_three(kind);
    place.write("2_text.down.sql", "ALTER TABLE notes DROP COLUMN text;\nDELETE FROM notes;");
    place.write(
        "10_tags.sql",
        "-- migrate:up\nCREATE TABLE tags (id integer);\n-- migrate:down\nDROP TABLE tags;\n",
    );
    place.apply("10_tags.sql").good();
    place
}

#[test]
fn migrations_are_taken_back_the_last_one_first_and_can_be_applied_anew() {
    for kind in KINDS {
        let place = with_ways(kind);
        let ended = place.run(back(&["10_tags.sql", "2_text.sql"], Some("1_notes.sql"))).good();
        assert_eq!(ended.has(), ["1_notes.sql"]);
        let at = |what: &str| ended.said.find(what).unwrap_or_else(|| panic!("{what}: {}", ended.said));
        assert!(at("10_tags.sql is taken back") < at("2_text.sql is taken back by 2_text.down.sql"));
        assert!(place.ask("SELECT count(*) FROM tags").contains("tags"), "no table");
        assert!(place.ask("SELECT count(text) FROM notes").contains("text"), "no column");
        let again = place.run(back(&["10_tags.sql", "2_text.sql"], Some("1_notes.sql")));
        again.bad("were to be taken back");
        assert_eq!(place.apply("10_tags.sql").good().has().len(), 3);
        assert_eq!(place.ask("SELECT count(text) FROM notes"), "1");
    }
}

#[test]
fn only_what_was_named_is_taken_back_and_only_from_the_end() {
    for kind in KINDS {
        let place = with_ways(kind);
        for wrong in [back(&["2_text.sql"], Some("1_notes.sql")), back(&["10_tags.sql"], Some("1_notes.sql"))]
        {
            let ended = place.run(wrong).bad("were to be taken back");
            assert_eq!(ended.has().len(), 3);
        }
        let all = back(&["10_tags.sql", "2_text.sql", "1_notes.sql"], None);
        let ended = place.run(all).bad("`1_notes.sql` has no way down: the version brings none");
        assert_eq!(ended.has().len(), 3, "nothing is taken back where something cannot be");
    }
}

#[test]
fn a_way_down_that_fails_leaves_its_migration_and_all_before_it_stays_taken_back() {
    for kind in KINDS {
        let place = with_ways(kind);
        place.write("2_text.down.sql", "DELETE FROM notes;\nDROP TABLE nowhere;");
        let ended =
            place.run(back(&["10_tags.sql", "2_text.sql"], Some("1_notes.sql"))).bad("2_text.down.sql:2:");
        assert_eq!(ended.has(), ["1_notes.sql", "2_text.sql"]);
        let told = ended.told.unwrap();
        assert!(told.half.is_none() && !told.untouched, "{told:?}");
        assert_eq!(place.ask("SELECT count(*) FROM notes"), "1", "it was undone");
    }
}

#[test]
fn text_that_changed_after_it_ran_is_not_taken_back() {
    for kind in KINDS {
        let place = with_ways(kind);
        place.write("2_text.sql", "SELECT 1;");
        place.run(back(&["10_tags.sql"], Some("2_text.sql"))).bad("was changed after it ran");
    }
}

#[test]
fn what_may_be_several_ways_down_is_none() {
    for kind in KINDS {
        let place = with_ways(kind);
        for (file, text, why) in [
            ("10_tags.down.sql", "DROP TABLE tags;", "both `10_tags.down.sql` and a part of `10_tags.sql`"),
            ("10_tags.undo.sql", "DROP TABLE tags;", "both `10_tags.undo.sql` and a part of `10_tags.sql`"),
        ] {
            place.write(file, text);
            place.run(back(&["10_tags.sql"], Some("2_text.sql"))).bad(why);
            place.remove(file);
        }
        place.write("2_text.undo.sql", "SELECT 1;");
        let both = back(&["10_tags.sql", "2_text.sql"], Some("1_notes.sql"));
        assert_eq!(place.run(both.clone()).bad("both `2_text").has().len(), 3);
        place.remove("2_text.undo.sql");
        place.write("2_text.down.sql", "\\set a b\nDROP TABLE notes;");
        place.run(both).bad("2_text.down.sql:1: `\\set` is a command");
    }
}

#[test]
fn one_that_is_no_transaction_is_half_way_until_a_person_settles_it() {
    for kind in KINDS {
        let place = with_ways(kind);
        place.write("2_text.down.sql", "-- lockstep: alone\nDELETE FROM notes;\nDROP TABLE nowhere;");
        let both = back(&["10_tags.sql", "2_text.sql"], Some("1_notes.sql"));
        let ended = place.run(both.clone()).bad("what it did before that stays");
        assert_eq!(ended.has(), ["1_notes.sql"]);
        assert_eq!(ended.told.unwrap().half.as_deref(), Some("2_text.sql"));
        assert_eq!(place.ask("SELECT count(*) FROM notes"), "0");
        place.run(both).bad("lockstep database settle");
        place.run(Act::Settle { migration: "2_text.sql".to_owned(), done: true }).good();
        place.write("2_text.down.sql", "-- lockstep: alone\nALTER TABLE notes DROP COLUMN text;");
        assert_eq!(place.run(back(&["2_text.sql"], Some("1_notes.sql"))).good().has(), ["1_notes.sql"]);
    }
}

#[test]
fn one_that_is_killed_in_its_transaction_never_was() {
    let place = with_ways(Kind::Postgres);
    place.write(
        "10_tags.sql",
        "-- migrate:up\nCREATE TABLE tags (id integer);\n-- migrate:down\nDROP TABLE tags;\n",
    );
    place.write("2_text.down.sql", "ALTER TABLE notes DROP COLUMN text;\nSELECT pg_sleep(600);");
    let mut child = place.begin(back(&["10_tags.sql", "2_text.sql"], Some("1_notes.sql")));
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%' AND state = 'active'";
    let sleeps = || server().psql(&place.database, sleeping) == "1";
    wait_for("the way down", sleeps);
    child.kill().unwrap();
    let told = place.end(child).told.unwrap();
    assert!(told.unread && !told.untouched && told.half.is_none(), "{told:?}");
    wait_for("the end of the statement", || !sleeps());
    assert_eq!(place.run(Act::Look).good().has(), ["1_notes.sql", "2_text.sql"]);
    assert_eq!(place.ask("SELECT count(text) FROM notes"), "1");
}

#[test]
fn of_two_at_once_each_migration_is_taken_back_once() {
    for kind in KINDS {
        let mut place = with_ways(kind);
        place.lock_ms = 30_000;
        let other = place.beside();
        let act = || back(&["10_tags.sql", "2_text.sql"], Some("1_notes.sql"));
        let ended: Vec<_> = [place.begin(act()), other.begin(act())]
            .into_iter()
            .map(|child| child.wait_with_output().unwrap().status.success())
            .collect();
        assert_eq!(
            ended.iter().filter(|good| **good).count(),
            1,
            "the second finds nothing that it was told"
        );
        assert_eq!(place.run(Act::Look).good().has(), ["1_notes.sql"]);
    }
}

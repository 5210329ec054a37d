//! Migrations that a program of the version applies.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lockstep_domain::database::{Act, Applied};

use crate::place::{Kind, Place};

const MIGRATE: &str = r#"#!/bin/sh
case "$1" in
  up | down) [ -e broken ] && exit 3; echo "going to $2"; echo "$2" > level ;;
  status) if [ -e level ]; then printf '{"level": "%s"}' "$(cat level)"; else printf null; fi ;;
esac
"#;

fn place() -> Place {
    let mut place = Place::with_three(Kind::Sqlite);
    let program = place.folder.path().join("migrate");
    fs::write(&program, MIGRATE).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    place.applied = Applied::ByProgram {
        apply: words(&["./migrate", "up", "{to}"]),
        level: words(&["./migrate", "status", "--json"]),
        revert: words(&["./migrate", "down", "{to}"]),
    };
    place
}

#[test]
fn a_program_applies_and_another_says_what_the_database_has() {
    let place = place();
    assert_eq!(place.run(Act::Look).good().has(), [""; 0]);
    let ended = place.apply("2_text.sql").good();
    assert_eq!(ended.has(), ["1_notes.sql", "2_text.sql"]);
    assert!(ended.said.contains("going to 2_text.sql"), "{}", ended.said);
    assert_eq!(place.run(Act::Apply { through: None }).good().has().len(), 2);
}

#[test]
fn a_program_that_fails_leaves_a_half_state_and_what_is_there_is_asked_all_the_same() {
    let place = place();
    place.apply("1_notes.sql").good();
    fs::write(place.folder.path().join("broken"), "").unwrap();
    let ended = place.apply("10_tags.sql").bad("exit status: 3");
    assert_eq!(ended.has(), ["1_notes.sql"]);
    assert_eq!(ended.told.unwrap().half.as_deref(), Some("10_tags.sql"));
}

#[test]
fn a_program_that_is_not_there_has_done_nothing_and_one_whose_level_fails_has_done_what_nobody_knows() {
    let mut place = place();
    if let Applied::ByProgram { apply, .. } = &mut place.applied {
        *apply = vec!["./none".to_owned()];
    }
    let told = place.apply("1_notes.sql").bad("cannot be started").told.unwrap();
    assert!(told.untouched && told.half.is_none(), "{told:?}");
    let mut place = self::place();
    if let Applied::ByProgram { level, .. } = &mut place.applied {
        *level = vec!["false".to_owned()];
    }
    let told = place.apply("1_notes.sql").bad("`false` failed").told.unwrap();
    assert!(told.unread && told.half.as_deref() == Some("1_notes.sql"), "{told:?}");
}

#[test]
fn a_program_that_ends_well_and_did_nothing_is_not_believed() {
    let mut place = place();
    if let Applied::ByProgram { apply, .. } = &mut place.applied {
        *apply = vec!["true".to_owned()];
    }
    place.apply("1_notes.sql").bad("ended well, and the database does not have `1_notes.sql`");
    place.run(Act::Adopt { through: "1_notes.sql".to_owned() }).bad("keeps the record");
}

fn back(names: &[&str], to: Option<&str>) -> Act {
    Act::Revert { migrations: names.iter().map(|&name| name.to_owned()).collect(), to: to.map(str::to_owned) }
}

#[test]
fn a_program_takes_back_to_what_stays_and_is_not_believed_without_a_look() {
    let mut place = place();
    place.apply("10_tags.sql").good();
    place.run(back(&["2_text.sql"], Some("1_notes.sql"))).bad("were to be taken back");
    place.run(back(&["10_tags.sql", "2_text.sql", "1_notes.sql"], None)).bad("to one that stays");
    let ended = place.run(back(&["10_tags.sql", "2_text.sql"], Some("1_notes.sql"))).good();
    assert_eq!(ended.has(), ["1_notes.sql"]);
    place.apply("2_text.sql").good();
    fs::write(place.folder.path().join("broken"), "").unwrap();
    let told = place.run(back(&["2_text.sql"], Some("1_notes.sql"))).bad("exit status: 3").told.unwrap();
    assert_eq!(told.half.as_deref(), Some("2_text.sql"));
    if let Applied::ByProgram { revert, .. } = &mut place.applied {
        *revert = vec!["true".to_owned()];
    }
    place.run(back(&["2_text.sql"], Some("1_notes.sql"))).bad("still has `2_text.sql`");
}

#[test]
fn a_program_is_not_started_where_what_was_there_when_it_was_planned_is_not() {
    let place = place();
    let ended =
        place.apply_as_planned("2_text.sql", &["2_text.sql"]).bad("lacks `1_notes.sql`, which it had");
    assert!(!ended.said.contains("going to") && ended.told.unwrap().untouched);
    place.apply("1_notes.sql").good();
    assert_eq!(place.apply_as_planned("2_text.sql", &["2_text.sql"]).good().has().len(), 2);
}

//! A step that is killed: between statements, between migrations, and while another one waits for it.

use lockstep_domain::database::Act;

use crate::place::{Kind, Place, wait_for};
use crate::server::server;

const SLEEPS: &str = "SELECT pg_sleep(600)";
/// Counts for minutes.
const COUNTS: &str = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 10000000000) SELECT max(n) FROM c";

fn sleeps(place: &Place) -> bool {
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT pg_sleep%' AND state = 'active'";
    server().psql(&place.database, sleeping) == "1"
}

#[test]
fn what_was_killed_in_a_transaction_never_was_and_runs_again() {
    let place = Place::with_three(Kind::Postgres);
    place.write("2_text.sql", &format!("CREATE TABLE half (id integer);\n{SLEEPS};"));
    let mut child = place.begin(Act::Apply { through: Some("10_tags.sql".to_owned()) });
    wait_for("the migration", || sleeps(&place));
    child.kill().unwrap();
    let told = place.end(child).told.unwrap();
    assert!(told.unread && !told.untouched && told.half.is_none(), "{told:?}");
    // The server notices within a second that nobody is there any more.
    wait_for("the end of the statement", || !sleeps(&place));
    assert_eq!(place.run(Act::Look).good().has(), ["1_notes.sql"]);
    place.write("2_text.sql", "CREATE TABLE half (id integer);");
    assert_eq!(place.apply("10_tags.sql").good().has().len(), 3);
}

#[test]
fn what_was_killed_in_a_transaction_of_sqlite_never_was_and_runs_again() {
    let place = Place::with_three(Kind::Sqlite);
    place.apply("1_notes.sql").good();
    place.write("2_text.sql", &format!("CREATE TABLE half (id integer);\n{COUNTS};"));
    let mut child = place.begin(Act::Apply { through: Some("10_tags.sql".to_owned()) });
    wait_for("the migration", || place.folder.path().join("var/notes.db-journal").exists());
    child.kill().unwrap();
    place.end(child);
    assert_eq!(place.run(Act::Look).good().has(), ["1_notes.sql"]);
    place.write("2_text.sql", "CREATE TABLE half (id integer);");
    assert_eq!(place.apply("10_tags.sql").good().has().len(), 3);
}

#[test]
fn what_was_killed_without_a_transaction_is_half_and_waits_for_a_person() {
    let place = Place::with_three(Kind::Postgres);
    place.write("2_text.sql", &format!("-- lockstep: alone\nCREATE TABLE half (id integer);\n{SLEEPS};"));
    let mut child = place.begin(Act::Apply { through: Some("10_tags.sql".to_owned()) });
    wait_for("the migration", || sleeps(&place));
    child.kill().unwrap();
    assert_eq!(place.end(child).told.unwrap().half.as_deref(), Some("2_text.sql"));
    assert_eq!(place.ask("SELECT count(*) FROM half"), "0", "it stays");
    let found = place.run(Act::Look).good();
    assert_eq!(found.has(), ["1_notes.sql"]);
    assert_eq!(found.told.unwrap().half.as_deref(), Some("2_text.sql"));
    wait_for("the end of the statement", || !sleeps(&place));
    place.apply("10_tags.sql").bad("nobody knows how far it came");
}

#[test]
fn who_comes_while_another_is_at_work_is_refused_when_it_takes_too_long() {
    let mut place = Place::with_three(Kind::Postgres);
    place.write("2_text.sql", SLEEPS);
    let mut first = place.begin(Act::Apply { through: Some("10_tags.sql".to_owned()) });
    wait_for("the migration", || sleeps(&place));
    place.lock_ms = 200;
    place.apply("10_tags.sql").bad("another step applies migrations");
    assert_eq!(place.run(Act::Look).good().has(), ["1_notes.sql"], "who looks is not kept waiting");
    first.kill().unwrap();
    place.end(first);
    wait_for("the end of the statement", || !sleeps(&place));
}

#[test]
fn who_comes_while_another_is_at_work_on_sqlite_is_refused_when_it_takes_too_long() {
    let mut place = Place::with_three(Kind::Sqlite);
    place.write("2_text.sql", &format!("-- lockstep: alone\nCREATE TABLE half (id integer);\n{COUNTS};"));
    let mut first = place.begin(Act::Apply { through: Some("10_tags.sql".to_owned()) });
    wait_for("the migration", || place.ask("SELECT count(*) FROM half") == "0");
    place.lock_ms = 200;
    place.apply("10_tags.sql").bad("another step applies migrations");
    first.kill().unwrap();
    place.end(first);
    assert_eq!(place.run(Act::Look).good().told.unwrap().half.as_deref(), Some("2_text.sql"));
}

#[test]
fn a_lock_that_somebody_else_holds_is_not_waited_for_longer_than_was_said() {
    let mut place = Place::with_three(Kind::Postgres);
    place.apply("1_notes.sql").good();
    place.lock_ms = 300;
    let holds = std::thread::spawn({
        let database = place.database.clone();
        move || server().psql(&database, &format!("BEGIN; LOCK TABLE notes; {SLEEPS}"))
    });
    wait_for("the lock", || sleeps_with_lock(&place));
    place.apply("10_tags.sql").bad("lock timeout");
    place.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK TABLE%' AND datname = current_database()");
    holds.join().unwrap();
    assert_eq!(place.apply("10_tags.sql").good().has().len(), 3);
}

fn sleeps_with_lock(place: &Place) -> bool {
    let held = "SELECT count(*) FROM pg_locks WHERE relation = to_regclass('notes') AND mode = 'AccessExclusiveLock' AND granted";
    place.ask(held) == "1"
}

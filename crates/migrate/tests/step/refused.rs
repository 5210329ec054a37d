//! Databases that are not there, do not let in, or do not take anything; and that no word of it has the password.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lockstep_domain::database::Act;

use crate::place::{Kind, Place};
use crate::server::{PASSWORD, server};

#[test]
fn a_wrong_password_is_told_without_it() {
    let mut place = Place::with_three(Kind::Postgres);
    place.url = server().url(&place.database, "wrong-s3cret");
    let ended = place.apply("10_tags.sql").bad("password authentication failed");
    assert!(!ended.said.contains("s3cret"), "{}", ended.said);
    assert!(ended.told.is_none());
}

#[test]
fn nobody_there_and_no_such_database_are_told() {
    let mut place = Place::with_three(Kind::Postgres);
    place.url = format!("postgresql://postgres:{PASSWORD}@127.0.0.1:1/d");
    let ended = place.run(Act::Look).bad("refused");
    assert!(!ended.said.contains(PASSWORD), "{}", ended.said);
    place.url = server().url("none", PASSWORD);
    place.run(Act::Look).bad("does not exist");
    place.url = String::new();
    place.run(Act::Look).bad("`DATABASE_URL` is not set");
    place.url = format!("mysql://a:{PASSWORD}@b/c");
    assert!(!place.run(Act::Look).bad("no address").said.contains(PASSWORD));
}

#[test]
fn a_server_without_tls_is_not_spoken_to_where_it_was_asked_for() {
    let mut place = Place::with_three(Kind::Postgres);
    place.url = format!("{}?sslmode=require", place.url);
    let ended = place.run(Act::Look).bad("is not reached");
    assert!(!ended.said.contains(PASSWORD), "{}", ended.said);
}

#[test]
fn a_database_that_only_reads_takes_nothing_and_says_so() {
    let place = Place::with_three(Kind::Postgres);
    server().psql(
        "postgres",
        &format!("ALTER DATABASE {} SET default_transaction_read_only = on", place.database),
    );
    place.apply("10_tags.sql").bad("read-only");
    let place = Place::with_three(Kind::Sqlite);
    place.apply("1_notes.sql").good();
    let file = place.folder.path().join("notes.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    if fs::OpenOptions::new().write(true).open(&file).is_err() {
        place.apply("10_tags.sql").bad("readonly");
    }
}

#[test]
fn a_file_that_is_no_database_and_a_folder_that_is_not_there_are_told() {
    let mut place = Place::with_three(Kind::Sqlite);
    fs::write(place.folder.path().join("notes.db"), "this is a text and no database at all, and long enough")
        .unwrap();
    place.apply("10_tags.sql").bad("not a database");
    place.url = "sqlite:none/notes.db".to_owned();
    place.apply("10_tags.sql").bad("unable to open");
}

#[test]
fn a_migration_that_is_not_there_runs_nothing() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let place = Place::with_three(kind);
        let ended = place.apply("99_none.sql").bad("there is no migration `99_none.sql`");
        assert_eq!(ended.has(), [""; 0]);
    }
}

#[test]
fn a_full_disk_leaves_what_was_there() {
    let place = Place::with_three(Kind::Sqlite);
    place.apply("1_notes.sql").good();
    // A database that may not grow fails as one on a full disk does.
    place.write(
        "2_text.sql",
        "PRAGMA max_page_count = 5;\nCREATE TABLE big (t text);\nWITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 10000) INSERT INTO big SELECT hex(randomblob(100)) FROM c;",
    );
    let ended = place.apply("10_tags.sql").bad("full");
    assert_eq!(ended.has(), ["1_notes.sql"]);
    assert!(place.ask("SELECT count(*) FROM big").contains("big"));
}

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
    let told = ended.told.unwrap();
    assert!(told.unread && told.untouched && told.half.is_none(), "{told:?}");
    assert!(told.failure.unwrap().contains("password authentication failed"));
}

#[test]
fn a_database_that_would_be_gone_with_the_step_is_refused() {
    let mut place = Place::with_three(Kind::Sqlite);
    let here = place.folder.path().join("x.db").display().to_string();
    for url in [
        "sqlite:x.db",
        "sqlite:../x.db",
        "sqlite::memory:",
        "file:var/x.db?mode=memory",
        &format!("sqlite:{here}"),
    ] {
        place.url = url.to_owned();
        let ended = place
            .apply("10_tags.sql")
            .bad("keep it in a data folder of the service: write sqlite:var/NAME.db");
        assert!(ended.told.unwrap().untouched, "{url}");
    }
    assert!(!place.folder.path().join("x.db").exists());
}

#[test]
fn a_record_that_is_none_of_ours_is_told_and_judged() {
    for kind in [Kind::Sqlite, Kind::Postgres] {
        let place = Place::with_three(kind);
        place.apply("1_notes.sql").good();
        place.ask("INSERT INTO lockstep_migrations (name, checksum, applied_by, finished) SELECT '2' || x || '.sql', 'a', 'b', finished \
            FROM (SELECT 'a\nb' AS x, finished FROM lockstep_migrations) AS y RETURNING 1");
        let seen = place.run(Act::Look).good();
        assert!(seen.said.contains("no migration") && seen.has() == ["1_notes.sql"], "{}", seen.said);
        let told = seen.told.unwrap();
        assert!(told.drift.len() == 1 && told.is_sound(), "{told:?}");
        place.apply("10_tags.sql").bad("no migration");
    }
    let place = Place::with_three(Kind::Postgres);
    place.apply("1_notes.sql").good();
    place.ask("ALTER TABLE lockstep_migrations ALTER checksum DROP NOT NULL; UPDATE lockstep_migrations SET checksum = NULL");
    place.run(Act::Look).bad("none that Lockstep made");
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
    let file = place.folder.path().join("var/notes.db");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    if fs::OpenOptions::new().write(true).open(&file).is_err() {
        place.apply("10_tags.sql").bad("readonly");
    }
}

#[test]
fn a_file_that_is_no_database_and_a_folder_that_is_not_there_are_told() {
    let mut place = Place::with_three(Kind::Sqlite);
    fs::write(
        place.folder.path().join("var/notes.db"),
        "this is a text and no database at all, and long enough",
    )
    .unwrap();
    place.apply("10_tags.sql").bad("not a database");
    place.url = "sqlite:var/none/notes.db".to_owned();
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

//! What is let into a database and back: what comes first, what was approved, and which versions may.

use std::fs;
use std::path::{Path, PathBuf};

use super::databases::{ADDS, DROPS, MAKES, Shop, number};
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{manifest, misbehaving};

/// The word under which a contraction was shown.
fn word(shown: &str) -> String {
    shown.split("--approve ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

/// Writes a version that notes that it was started.
fn write_noting(shop: &Shop<'_>, notes: &Path, text: &str, after: &str) {
    let more = "data = [\"var\"]\nenv = { DATABASE_URL = \"sqlite:var/shop.db\" }";
    shop.repository.write("lockstep.toml", &manifest(shop.name, more, after));
    let starts = format!("open('{}/{text}', 'w').close()", notes.display());
    shop.repository.write("service.py", &misbehaving(text, &starts, "pass"));
}

#[test]
fn a_version_whose_migration_or_job_failed_is_never_started() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let notes = PathBuf::from(place.path("notes"));
    fs::create_dir(&notes).unwrap();
    let database = "[database.main]\nmigrations = \"db\"\n";
    shop.repository.write(&format!("db/{}", MAKES.0), MAKES.1);
    write_noting(&shop, &notes, "one", database);
    let one = shop.cut("one");
    shop.deploy(&one);
    shop.repository.write("db/0002_bad.sql", "INSERT INTO nowhere VALUES (1);");
    write_noting(&shop, &notes, "two", database);
    let two = shop.cut("two");
    shop.repository.git(&["rm", "-q", "-f", "db/0002_bad.sql"]);
    let job = "[[job]]\nname = \"first\"\nwhen = \"before-switch\"\ncommand = \"false\"\n";
    write_noting(&shop, &notes, "three", job);
    let three = shop.cut("three");
    assert!(notes.join("one").exists());
    for _ in 0..6 {
        for (version, why) in
            [(&two, "failed: 0002_bad.sql:1: no such table"), (&three, "failed: ended with exit code 1")]
        {
            let failed = place.fail(&["deploy", version, "--env", ENVIRONMENT], 1);
            assert!(failed.contains(why), "{failed}");
        }
    }
    let started: Vec<_> = ["two", "three"].into_iter().filter(|it| notes.join(it).exists()).collect();
    assert_eq!(started, [] as [&str; 0], "it ran although what comes first had failed");
    assert_eq!(place.ask("/shop").1.trim(), "one");
}

#[test]
fn a_word_approves_the_migrations_of_one_version_and_what_nobody_understood_is_named() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id, note", MAKES);
    let two = shop.release("id", DROPS);
    let three = shop.release("id ", (DROPS.0, "ALTER TABLE orders DROP COLUMN note;\nCREATE TRIGGER gone AFTER INSERT ON orders BEGIN DELETE FROM orders; END;"));
    shop.deploy(&one);
    shop.deploy(&two);
    let contract = ["database", "contract", "main", "--env", ENVIRONMENT];
    let of = |version: &str, more: &[&str]| {
        let all = [&contract[..], &["--version", version], more].concat();
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let fail =
        |arguments: &[String]| place.fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), 3);
    let shown = fail(&of(&two, &[]));
    assert!(shown.contains(&format!("as {two} brings them")) && shown.contains("SHA-256"), "{shown}");
    assert!(!shown.contains("NOT UNDERSTOOD"), "{shown}");
    let other = fail(&of(&three, &[]));
    assert!(other.contains("0003_no_note.sql: NOT UNDERSTOOD"), "{other}");
    assert_ne!(word(&shown), word(&other));
    let refused = fail(&of(&three, &["--approve", &word(&shown)]));
    assert!(
        refused.contains("is not approved as it is now") && refused.contains("not understood"),
        "{refused}"
    );
    assert!(refused.contains(&format!("--version {three} --approve {}", word(&other))), "{refused}");
    assert_eq!(shop.level(), MAKES.0);
    place.run(&[&contract[..], &["--approve", &word(&shown)]].concat());
    assert_eq!(shop.level(), DROPS.0);
}

#[test]
fn a_version_that_an_environment_does_not_take_runs_nothing_at_its_database() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id", MAKES);
    place.run(&["environment", "create", "guarded", "--accepts-from", "production-validation"]);
    for act in [
        &["look", "main"][..],
        &["adopt", "main", "--through", MAKES.0],
        &["settle", "main", MAKES.0, "--done"],
    ] {
        let command = [&["database"], act, &["--env", "guarded", "--version", &one]].concat();
        let refused = place.fail(&command, 3);
        assert!(refused.contains("guarded") && refused.contains("production-validation"), "{refused}");
    }
    let two = shop.release("id, state", ADDS);
    shop.deploy(&one);
    shop.deploy(&two);
    place.run(&["rollback", "shop", "--to", number(&one), "--env", ENVIRONMENT]);
    let look = ["database", "look", "main", "--env", ENVIRONMENT];
    let held = place.fail(&[&look[..], &["--version", &two]].concat(), 3);
    assert!(held.contains("is held"), "{held}");
    place.run(&look);
}

#[test]
fn what_ran_and_was_not_understood_is_not_proved_wherever_it_is_asked() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id", MAKES);
    let trigger = "CREATE TRIGGER noted AFTER INSERT ON orders BEGIN UPDATE orders SET note = 'b' WHERE id = new.id; END;";
    let two = shop.release("id, note", ("0002_noted.sql", trigger));
    shop.deploy(&one);
    shop.deploy(&two);
    let can = place.json_ending(&["can-i-roll-back", "shop", "--env", ENVIRONMENT], 3);
    assert!(can["verdict"] == "not_checked" && can.to_string().contains("0002_noted.sql"), "{can}");
    let readiness = place.json_ending(&["readiness", ENVIRONMENT], 3);
    assert_eq!(readiness["services"][0]["standing"], "not_proved", "{readiness}");
    let plan = place.told(&["rollback", "shop", "--to", number(&one), "--env", ENVIRONMENT, "--dry-run"]);
    assert!(plan.contains("`0002_noted.sql` of database `main` was applied and not understood"), "{plan}");
}

/// A version whose database is a file outside of its environment.
fn release_at(shop: &Shop<'_>, file: &str, (name, text): (&str, &str), what: &str) -> String {
    let more = format!("env = {{ DATABASE_URL = \"sqlite:{file}\" }}");
    shop.repository
        .write("lockstep.toml", &manifest(shop.name, &more, "[database.main]\nmigrations = \"db\"\n"));
    shop.repository.write(&format!("db/{name}"), text);
    shop.repository.write("service.py", &misbehaving(what, "pass", "pass"));
    shop.cut(what)
}

#[test]
fn two_environments_with_one_database_ask_each_other() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let folder = place.path("shared");
    fs::create_dir(&folder).unwrap();
    let file = format!("{folder}/shop.db");
    let one = release_at(&shop, &file, MAKES, "one");
    let two = release_at(&shop, &file, DROPS, "two");
    for name in ["other", "third"] {
        place.run(&["environment", "create", name, "--accepts-from", "created"]);
    }
    place.run(&["deploy", &one, "--env", "other"]);
    // The first deployment elsewhere would apply everything, and is the first to look.
    let back = place.fail(&["deploy", &two, "--env", ENVIRONMENT], 1);
    assert!(back.contains(&format!("{one} needs the old form in `other`")), "{back}");
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    place.run(&["deploy", &two, "--env", ENVIRONMENT]);
    assert_eq!(shop.level(), MAKES.0);
    let contract = ["database", "contract", "main", "--env", ENVIRONMENT];
    let refused = place.fail(&contract, 3);
    assert!(refused.contains(&format!("{one} of `other`, which has the same database")), "{refused}");
    assert!(refused.contains("lockstep status other"), "{refused}");
    place.run(&["deploy", &two, "--env", "other"]);
    let shown = place.fail(&contract, 3);
    assert!(shown.contains("nor these in other, which has the same database: shop@1.0.0"), "{shown}");
    place.run(&[&contract[..], &["--approve", &word(&shown)]].concat());
    assert_eq!(shop.level(), DROPS.0);
    let closed = place.fail(&["rollback", "shop", "--to", number(&one), "--env", "other"], 3);
    assert!(closed.contains("0003_no_note.sql"), "{closed}");
    // And where nobody has looked yet, what was written for the form that is gone is taken back before anything of it starts.
    let gone = place.fail(&["deploy", &one, "--env", "third"], 1);
    assert!(gone.contains("`0003_no_note.sql` was applied, which it does not know"), "{gone}");
}

#[test]
fn undoing_the_first_baseline_asks_before_it_empties_the_environment() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id", MAKES);
    shop.deploy(&one);
    let asked = place.fail(&["undo", ENVIRONMENT], 3);
    assert!(
        asked.contains("this takes everything out of the environment") && asked.contains(&one),
        "{asked}"
    );
    assert_eq!(place.ask("/shop").0, 200);
    place.run(&["undo", ENVIRONMENT, "--yes"]);
    assert_ne!(place.ask("/shop").0, 200);
}

//! Databases that do not have what they had, or are not reached: nothing is made anew without a word, and what was done stays in the history.

use std::path::Path;
use std::process::Command;

use super::databases::{ADDS, DROPS, MAKES, Shop};
use super::support::place::{ENVIRONMENT, Place};

const MORE: (&str, &str) = ("0003_more.sql", "CREATE TABLE more (id INTEGER);");

/// Where the file of the shop is.
fn file(place: &Place) -> String {
    let find = Command::new("find").args([&place.data(), "-name", "shop.db"]).output().unwrap();
    String::from_utf8(find.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_database_that_was_lost_is_not_made_anew_by_a_plan_that_says_something_else() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id, note", MAKES);
    let two = shop.release("id, state", ADDS);
    let three = shop.release("id", MORE);
    shop.deploy(&one);
    shop.deploy(&two);
    let path = file(&place);
    let kept = format!("{path}.kept");
    std::fs::rename(&path, &kept).unwrap();
    let plan = place.told(&["deploy", &three, "--env", ENVIRONMENT, "--dry-run"]);
    assert!(plan.contains("applies 0003_more.sql\n"), "{plan}");
    let failed = place.fail(&["deploy", &three, "--env", ENVIRONMENT], 1);
    assert!(failed.contains("the database lacks `0001_orders.sql`, which it had"), "{failed}");
    let shown = place.told(&["database", "show", "main", "--env", ENVIRONMENT]);
    for words in
        ["has lost migrations: waits for a person", "lost: 0001_orders.sql, 0002_state.sql", "--accept-loss"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let refused = place.fail(&["deploy", &three, "--env", ENVIRONMENT], 3);
    assert!(refused.contains("has lost `0001_orders.sql`, `0002_state.sql`"), "{refused}");
    let look = ["database", "look", "main", "--env", ENVIRONMENT];
    place.run(&look);
    place.fail(&["deploy", &three, "--env", ENVIRONMENT], 3);

    // It is back, and all is as it was.
    std::fs::rename(&kept, &path).unwrap();
    place.run(&look);
    shop.deploy(&three);
    assert_eq!(shop.level(), MORE.0);

    // It is gone on purpose: that is said, stands in the history, and is planned as what it is.
    std::fs::remove_file(&path).unwrap();
    place.run(&look);
    let four = shop.release("id", ("0004_other.sql", "CREATE TABLE other (id INTEGER);"));
    place.fail(&["deploy", &four, "--env", ENVIRONMENT], 3);
    place.run(&[&look[..], &["--accept-loss", "--reason", "a new one"]].concat());
    let plan = place.told(&["deploy", &four, "--env", ENVIRONMENT, "--dry-run"]);
    assert!(
        plan.contains("applies 0001_orders.sql, 0002_state.sql, 0003_more.sql, 0004_other.sql"),
        "{plan}"
    );
    shop.deploy(&four);
    assert_eq!(place.ask("/shop").0, 200);
    let history = place.told(&["history", ENVIRONMENT]);
    assert!(history.contains("take database main as it is") && history.contains("a new one"), "{history}");
}

#[test]
fn a_contraction_stands_in_the_history_and_is_told_as_what_it_is_to_who_would_undo_it() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id, note", MAKES);
    shop.deploy(&one);
    let two = shop.release("id", DROPS);
    shop.deploy(&two);
    let contract = ["database", "contract", "main", "--env", ENVIRONMENT];
    let asked = place.fail(&contract, 3);
    let word = asked.split("--approve ").nth(1).unwrap().split_whitespace().next().unwrap();
    place.run(&[&contract[..], &["--approve", word, "--reason", "nobody reads it"]].concat());
    let history = place.json(&["history", ENVIRONMENT]);
    let done = &history["databases"][0];
    assert_eq!(done["reason"], "nobody reads it");
    let told = place.told(&["history", ENVIRONMENT]);
    for words in
        ["contract database main", "0003_no_note.sql applied;", "shop@1.0.0 cannot", "nobody reads it"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    let id = done["id"].to_string();
    let refused = place.fail(&["undo", ENVIRONMENT, "--operation", &id], 6);
    assert!(refused.contains("made no baseline"), "{refused}");
    place.run(&["database", "look", "main", "--env", ENVIRONMENT]);
    assert_eq!(
        place.json(&["history", ENVIRONMENT])["databases"].as_array().unwrap().len(),
        1,
        "a look is none"
    );
}

#[test]
fn a_look_that_failed_is_told_until_one_succeeds() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id", MAKES);
    shop.deploy(&one);
    let path = file(&place);
    let kept = format!("{path}.kept");
    std::fs::rename(&path, &kept).unwrap();
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    let look = ["database", "look", "main", "--env", ENVIRONMENT];
    place.fail(&look, 1);
    let listed = place.told(&["database", "list", "--env", ENVIRONMENT]);
    assert!(listed.contains("the last look failed") && !listed.contains("as it should be"), "{listed}");
    let shown = place.told(&["database", "show", "main", "--env", ENVIRONMENT]);
    assert!(shown.contains("not a database") && shown.contains("it has 1 migrations"), "{shown}");
    assert!(Path::new(&kept).exists());
    std::fs::rename(&kept, &path).unwrap();
    place.run(&look);
    assert!(place.told(&["database", "list", "--env", ENVIRONMENT]).contains("as it should be"));
}

#[test]
fn what_is_not_there_is_told_as_that_by_every_command() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id", MAKES);
    shop.deploy(&one);
    for command in ["show", "look", "contract"] {
        place.fail(&["database", command, "nope", "--env", ENVIRONMENT], 4);
    }
    let gone = ["database", "contract", "main", "--env", ENVIRONMENT, "--version", "shop@9.0.0"];
    let gone = place.fail(&gone, 4);
    assert!(gone.contains("shop@9.0.0") && !gone.contains("brings no migrations"), "{gone}");
    let neither = place.fail(&["database", "settle", "main", MAKES.0, "--env", ENVIRONMENT], 2);
    assert!(neither.contains("--done") && neither.contains("--not-done"), "{neither}");
    let neither = place.fail(&["plan"], 2);
    assert!(neither.contains("--world") && neither.contains("--export"), "{neither}");
    place.fail(&["calls", ENVIRONMENT, "nosuch"], 4);
    let stage = place.fail(&["environment", "set", ENVIRONMENT, "--lanes-accept", "nosuch"], 3);
    assert!(stage.contains("lockstep lifecycle list"), "{stage}");
}

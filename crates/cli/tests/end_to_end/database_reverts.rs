//! Migrations that are taken back by name, on SQLite and on a PostgreSQL that Lockstep runs.

use rustix::process::Signal;

use super::databases::{ADDS, DROPS, MAKES, Shop, number, step_of, write_postgres};
use super::support::place::{ENVIRONMENT, Place};

fn word(shown: &str) -> String {
    shown.split("--approve ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}

fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

const REVERT: [&str; 5] = ["database", "revert", "main", "--env", ENVIRONMENT];

/// Shows what would be taken, and takes it back by its word.
fn take_back(place: &Place, arguments: &[&str]) -> String {
    let asked = [&REVERT[..], arguments].concat();
    let shown = place.fail(&asked, 3);
    place.run(&[&asked[..], &["--approve", &word(&shown)]].concat());
    shown
}

#[test]
fn what_was_gone_back_from_is_taken_back_by_name_and_comes_again_with_a_deployment() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id, note", MAKES);
    shop.repository.write("db/0002_state.down.sql", "ALTER TABLE orders DROP COLUMN state;");
    let two = shop.release("id, state", ADDS);
    shop.deploy(&one);
    shop.deploy(&two);

    // What runs works with it.
    let used = place.fail(&[&REVERT[..], &["--to", MAKES.0]].concat(), 3);
    says(&used, &[&format!("is not taken back: {two} works with it"), "lockstep readiness"]);
    let none = place.fail(&[&REVERT[..], &["--to", "9.sql"]].concat(), 4);
    says(&none, &["does not have `9.sql`", "lockstep database show main"]);
    place.fail(&REVERT, 2);

    place.run(&["rollback", "shop", "--to", number(&one), "--env", ENVIRONMENT]);
    assert_eq!(shop.level(), ADDS.0, "going back touches nothing");
    let shown = place.told(&["database", "show", "main", "--env", ENVIRONMENT]);
    says(&shown, &[&format!("brought by: {one}")]);
    let asked = [&REVERT[..], &["--to", MAKES.0]].concat();
    let shown = place.fail(&asked, 3);
    says(
        &shown,
        &[
            "WAY DOWN: 1 migration is taken back of database main; `0001_orders.sql` stays",
            &format!("as {two} brings the ways down (artifact "),
            "0002_state.sql by 0002_state.down.sql (SHA-256 ",
            "takes: ",
            &format!("only a deployment applies it anew: {two}"),
            "these baselines cannot be gone back to as a whole: 2",
            "nobody is here to be asked",
        ],
    );
    let wrong = place.fail(&[&asked[..], &["--approve", "0123456789abcdef"]].concat(), 3);
    says(&wrong, &["is not approved as it is now", &word(&shown), "--to 0001_orders.sql"]);
    assert_eq!(shop.level(), ADDS.0);
    let done = place.told(&[&asked[..], &["--approve", &word(&shown)]].concat());
    says(&done, &[&format!("way down of database `main` of {two}")]);
    assert_eq!((shop.level().as_str(), place.ask("/shop").0), (MAKES.0, 200));
    shop.by_hand("INSERT INTO orders (note) VALUES ('b');");

    // The way to what was written for it is closed, and says what opens it.
    let closed = place.fail(&["rollback", ENVIRONMENT, "--to", "2"], 3);
    says(
        &closed,
        &["`0002_state.sql`, which it was written for, is not there", &format!("lockstep deploy {two}")],
    );
    place.run(&["deploy", &two, "--env", ENVIRONMENT, "--release-holds"]);
    assert_eq!((shop.level().as_str(), place.ask("/shop").1.trim()), (ADDS.0, "id, state"));
}

#[test]
fn a_contraction_that_is_taken_back_opens_the_way_back_that_it_closed() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id, note", MAKES);
    let both =
        format!("-- migrate:up\n{}\n-- migrate:down\nALTER TABLE orders ADD COLUMN note TEXT;\n", DROPS.1);
    let two = shop.release("id", (DROPS.0, &both));
    shop.deploy(&one);
    shop.deploy(&two);
    let contract = ["database", "contract", "main", "--env", ENVIRONMENT];
    let shown = place.fail(&contract, 3);
    place.run(&[&contract[..], &["--approve", &word(&shown)]].concat());
    let back = ["rollback", "shop", "--to", number(&one), "--env", ENVIRONMENT];
    place.fail(&back, 3);
    let shown = take_back(&place, &["--step", DROPS.0]);
    says(
        &shown,
        &[
            "0003_no_note.sql by 0003_no_note.sql (SHA-256 ",
            "takes nothing away",
            "is not as before: `orders.note` was dropped and made anew",
            &format!("can come back again: {one}"),
        ],
    );
    assert_eq!(shop.level(), MAKES.0);
    place.run(&back);
    assert_eq!(place.ask("/shop").1.trim(), "id, note");
}

#[test]
fn what_has_no_way_down_stays_and_says_so() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id", MAKES);
    shop.repository.write("db/0002_state.down.sql", "ALTER TABLE orders DROP COLUMN state;");
    shop.repository.write("db/0002_state.undo.sql", "SELECT 1;");
    let two = shop.release("id, note", ADDS);
    shop.deploy(&one);
    shop.deploy(&two);
    place.run(&["rollback", "shop", "--to", number(&one), "--env", ENVIRONMENT]);
    let refused = place.fail(&[&REVERT[..], &["--step", ADDS.0]].concat(), 3);
    says(
        &refused,
        &["`0002_state.sql` of database `main` has no way down", "both `0002_state.", "NAME.down.sql"],
    );
    let under = place.fail(&[&REVERT[..], &["--step", MAKES.0]].concat(), 3);
    says(&under, &["`0002_state.sql` was applied after it"]);
    assert_eq!(shop.level(), ADDS.0);
}

#[test]
fn a_way_down_that_is_killed_is_told_truthfully_and_the_server_may_die_meanwhile() {
    let mut place = Place::begin();
    place.run(&["resource", "run", "db", "--kind", "postgresql", "--env", ENVIRONMENT]);
    let shop = Shop::begin(&place, "shop");
    write_postgres(&shop, &[("1_a.sql", "CREATE TABLE a (id int);")]);
    let one = shop.cut("first");
    let slow = "-- +goose Up\nALTER TABLE a ADD COLUMN more int;\n-- +goose Down\nALTER TABLE a DROP COLUMN more;\nCREATE TEMP TABLE slow AS SELECT 1 AS id FROM pg_sleep(4);\n";
    let alone = "-- lockstep: alone\nDROP TABLE b;\nCREATE TABLE slow AS SELECT 1 AS id FROM pg_sleep(600);";
    write_postgres(
        &shop,
        &[("2_more.sql", slow), ("3_b.sql", "CREATE TABLE b (id int);"), ("3_b.down.sql", alone)],
    );
    let two = shop.cut("second");
    drop(shop);
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    place.run(&["deploy", &two, "--env", ENVIRONMENT]);
    place.run(&["rollback", "shop", "--to", number(&one), "--env", ENVIRONMENT]);
    let known =
        |place: &Place| place.json(&["database", "show", "main", "--env", ENVIRONMENT])["known"].clone();

    // Killed in what is no transaction: half-way, for a person.
    let asked = [&REVERT[..], &["--step", "3_b.sql"]].concat();
    let approve = word(&place.fail(&asked, 3));
    let operation = place.begin_operation(&[&asked[..], &["--approve", &approve]].concat());
    rustix::process::kill_process(step_of(&place), Signal::KILL).unwrap();
    assert_eq!(place.settled(operation)["phase"], "reverted");
    assert!(known(&place)["doubt"].to_string().contains("`3_b.sql` began"), "{}", known(&place));
    says(
        &place.fail(&asked, 3),
        &["nothing is applied to database `main`", "lockstep database settle main 3_b.sql"],
    );
    assert_eq!(place.ask("/shop").0, 200);
    let settle =
        ["database", "settle", "main", "3_b.sql", "--not-done", "--env", ENVIRONMENT, "--version", &two];
    place.run(&settle);

    // The server dies, the step goes on.
    let asked = [&REVERT[..], &["--to", "1_a.sql"]].concat();
    let approve = word(&place.fail(&asked, 3));
    let operation = place.begin_operation(&[&asked[..], &["--approve", &approve]].concat());
    step_of(&place);
    place.kill_server();
    place.start_server();
    assert_eq!(place.settled(operation)["phase"], "done");
    let has = known(&place)["told"]["has"].clone();
    assert_eq!(has.as_array().unwrap().len(), 1, "{has}");
}

//! Databases whose migrations are part of what is deployed, on SQLite and on a PostgreSQL that Lockstep runs.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::processes;
use super::support::repository::{Repository, manifest, misbehaving, python, service};

/// A shop that reads columns of a table that its migrations make, in a folder that it keeps.
pub(super) struct Shop<'a> {
    pub(super) place: &'a Place,
    pub(super) repository: Repository,
    pub(super) name: &'static str,
}

impl<'a> Shop<'a> {
    pub(super) fn begin(place: &'a Place, name: &'static str) -> Self {
        Self { place, repository: place.repository(name), name }
    }

    /// Releases a version that reads columns, with one more migration.
    pub(super) fn release(&self, columns: &str, (file, text): (&str, &str)) -> String {
        let more = "data = [\"var\"]\nenv = { DATABASE_URL = \"sqlite:var/shop.db\" }";
        self.repository
            .write("lockstep.toml", &manifest(self.name, more, "[database.main]\nmigrations = \"db\"\n"));
        self.repository.write(&format!("db/{file}"), text);
        let reads = format!(
            "__import__('sqlite3').connect('var/shop.db').execute('SELECT {columns} FROM orders').fetchall()"
        );
        self.repository.write("service.py", &misbehaving(columns, "pass", &reads));
        self.cut(columns)
    }

    pub(super) fn cut(&self, what: &str) -> String {
        let is_known = self.place.told(&["services"]).contains(self.name);
        if is_known {
            self.repository.commit(&format!("feat: {what}"));
            return self.place.release(self.name);
        }
        self.place.first_release(&self.repository, self.name)
    }

    pub(super) fn deploy(&self, version: &str) -> String {
        self.place.told(&["deploy", version, "--env", ENVIRONMENT])
    }

    /// What is known of the database.
    pub(super) fn known(&self) -> Value {
        self.place.json(&["database", "show", "main", "--env", ENVIRONMENT])
    }

    pub(super) fn level(&self) -> String {
        self.known()["known"]["told"]["has"].as_array().unwrap().last().unwrap()["name"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Runs statements by hand, past Lockstep.
    pub(super) fn by_hand(&self, statements: &str) {
        let find = Command::new("find").args([&self.place.data(), "-name", "shop.db"]).output().unwrap();
        let path = String::from_utf8(find.stdout).unwrap().trim().to_owned();
        let program = format!(
            "import sqlite3; db = sqlite3.connect('{path}'); db.executescript(\"\"\"{statements}\"\"\"); db.commit()"
        );
        assert!(Command::new(python()).args(["-c", &program]).status().unwrap().success());
    }
}

pub(super) const MAKES: (&str, &str) = (
    "0001_orders.sql",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT);\nINSERT INTO orders (note) VALUES ('a');",
);
pub(super) const ADDS: (&str, &str) = ("0002_state.sql", "ALTER TABLE orders ADD COLUMN state TEXT;");
pub(super) const DROPS: (&str, &str) = ("0003_no_note.sql", "ALTER TABLE orders DROP COLUMN note;");

pub(super) fn number(version: &str) -> &str {
    version.split_once('@').unwrap().1
}

#[test]
fn what_adds_comes_before_the_code_and_what_takes_away_is_a_move_of_its_own() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id, note", MAKES);
    let two = shop.release("id, state", ADDS);
    let three = shop.release("state", DROPS);
    shop.deploy(&one);
    assert_eq!((shop.level().as_str(), place.ask("/shop").0), (MAKES.0, 200));
    let plan = place.told(&["deploy", &two, "--env", ENVIRONMENT, "--dry-run"]);
    assert!(
        plan.contains(&format!("before anything starts: migration of database `main` of {two}")),
        "{plan}"
    );
    assert!(plan.contains("applies 0002_state.sql"), "{plan}");
    shop.deploy(&two);
    assert_eq!((shop.level().as_str(), place.ask("/shop").1.trim()), (ADDS.0, "id, state"));

    // Going back touches nothing of the database.
    let back = place.told(&["rollback", "shop", "--to", number(&one), "--env", ENVIRONMENT, "--dry-run"]);
    assert!(back.contains("nothing of it is undone") && !back.contains("before anything starts"), "{back}");
    place.run(&["rollback", "shop", "--to", number(&one), "--env", ENVIRONMENT]);
    assert_eq!((shop.level().as_str(), place.ask("/shop").1.trim()), (ADDS.0, "id, note"));
    place.run(&["deploy", &two, "--env", ENVIRONMENT, "--release-holds"]);

    // What contracts is held back, and the code works without it.
    let told = shop.deploy(&three);
    assert!(told.contains("`0003_no_note.sql` of database `main` contracts and is not applied"), "{told}");
    assert_eq!((shop.level().as_str(), place.ask("/shop").1.trim()), (ADDS.0, "state"));
    let listed = place.told(&["database", "list", "--env", ENVIRONMENT]);
    assert!(listed.contains("waits to be contracted"), "{listed}");

    // Nobody is there to be asked, and a word of another time is no approval.
    let contract = ["database", "contract", "main", "--env", ENVIRONMENT];
    let asked = place.fail(&contract, 3);
    assert!(asked.contains("POINT OF NO RETURN") && asked.contains(&one) && asked.contains(&two), "{asked}");
    let word = asked.split("--approve ").nth(1).unwrap().split_whitespace().next().unwrap();
    let wrong = place.fail(&[&contract[..], &["--approve", "0123456789abcdef"]].concat(), 3);
    assert!(wrong.contains("is not approved as it is now") && wrong.contains(word), "{wrong}");
    assert_eq!(shop.level(), ADDS.0);
    place.run(&[&contract[..], &["--approve", word]].concat());
    assert_eq!((shop.level().as_str(), place.ask("/shop").1.trim()), (DROPS.0, "state"));

    // The way back is closed, and says so.
    let refused = place.fail(&["rollback", "shop", "--to", number(&two), "--env", ENVIRONMENT], 3);
    assert!(refused.contains("`0003_no_note.sql` was applied, which it does not know"), "{refused}");
    assert!(refused.contains("no baseline before what runs can be gone back to"), "{refused}");
    let can = place.json_ending(&["can-i-roll-back", "shop", "--env", ENVIRONMENT], 1);
    assert!(can.to_string().contains("0003_no_note.sql"), "{can}");
    let nothing = place.fail(&contract, 3);
    assert!(nothing.contains("no version that runs"), "{nothing}");
    assert!(place.told(&["database", "list", "--env", ENVIRONMENT]).contains("as it should be"));
}

#[test]
fn what_runs_and_needs_the_old_form_keeps_it_and_nothing_stands_behind_a_contraction() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id, note", MAKES);
    let two = shop.release("id", DROPS);
    let three = shop.release("id", ("0004_more.sql", "ALTER TABLE orders ADD COLUMN more TEXT;"));
    shop.deploy(&one);
    let by = ["database", "contract", "main", "--env", ENVIRONMENT, "--version", two.as_str()];
    let needed = place.fail(&by, 3);
    assert!(needed.contains(&format!("{one} needs the old form")), "{needed}");
    let behind = place.fail(&["deploy", &three, "--env", ENVIRONMENT], 3);
    assert!(
        behind.contains("brings `0004_more.sql`") && behind.contains("stands `0003_no_note.sql`"),
        "{behind}"
    );
    shop.deploy(&two);
    let asked = place.fail(&["database", "contract", "main", "--env", ENVIRONMENT], 3);
    let word = asked.split("--approve ").nth(1).unwrap().split_whitespace().next().unwrap();
    place.run(&["database", "contract", "main", "--env", ENVIRONMENT, "--approve", word]);
    shop.deploy(&three);
    assert_eq!(shop.level(), "0004_more.sql");
}

#[test]
fn a_first_deployment_applies_everything_because_nobody_needs_the_old_form() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    shop.release("id, note", MAKES);
    let two = shop.release("id", DROPS);
    shop.deploy(&two);
    assert_eq!((shop.level().as_str(), place.ask("/shop").0), (DROPS.0, 200));
}

#[test]
fn a_migration_that_fails_is_undone_and_one_that_is_no_transaction_waits_for_a_person() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id", MAKES);
    shop.deploy(&one);
    let bad = shop
        .release("id", ("0002_bad.sql", "CREATE TABLE more (id INTEGER);\nINSERT INTO nowhere VALUES (1);"));
    let failed = place.fail(&["deploy", &bad, "--env", ENVIRONMENT], 1);
    assert!(failed.contains("failed: 0002_bad.sql:2: ") && failed.contains("nowhere"), "{failed}");
    assert!(!failed.contains("is not undone"), "nothing was done: {failed}");
    assert_eq!((shop.level().as_str(), place.ask("/shop").0), (MAKES.0, 200));

    let alone = "-- lockstep: alone\nCREATE TABLE more (id INTEGER);\nINSERT INTO nowhere VALUES (1);";
    let half = shop.release("id", ("0002_bad.sql", alone));
    place.fail(&["deploy", &half, "--env", ENVIRONMENT], 1);
    let shown = place.told(&["database", "show", "main", "--env", ENVIRONMENT]);
    assert!(shown.contains("half-way: waits for a person") && shown.contains("0002_bad.sql"), "{shown}");
    let refused = place.fail(&["deploy", &half, "--env", ENVIRONMENT], 3);
    assert!(refused.contains("nothing is applied to database `main`"), "{refused}");
    assert_eq!(place.ask("/shop").0, 200);

    // A person mends it.
    shop.by_hand("DROP TABLE more;");
    let settle = ["database", "settle", "main", "0002_bad.sql", "--not-done", "--env", ENVIRONMENT];
    place.run(&[&settle[..], &["--version", &half]].concat());
    let good = shop.release("id", ("0002_bad.sql", "CREATE TABLE more (id INTEGER);"));
    shop.deploy(&good);
    assert_eq!(shop.level(), "0002_bad.sql");
}

#[test]
fn what_of_a_file_does_not_run_is_told_by_its_lines_and_what_may_be_a_way_down_is_refused() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id, note", MAKES);
    shop.deploy(&one);
    let both = "-- migrate:up\nALTER TABLE orders ADD COLUMN state TEXT;\n-- rollback is not possible here\nCREATE TABLE more (id INTEGER);\n-- migrate:down\nDROP TABLE orders;\n";
    shop.repository.write("db/0002_state.sql", both);
    shop.repository.commit("feat: state");
    let told = "without line 6, which is its way down";
    let checked = place.told(&["check", shop.repository.folder()]);
    assert!(checked.contains(told), "{checked}");
    let released = place.told(&["release", "shop"]);
    assert!(released.contains(told), "{released}");
    let plan = place.told(&["deploy", "shop@1.1.0", "--env", ENVIRONMENT, "--dry-run"]);
    assert!(plan.contains("applies 0002_state.sql (without line 6: its way down)"), "{plan}");
    shop.deploy("shop@1.1.0");
    shop.by_hand("INSERT INTO more VALUES (1); UPDATE orders SET state = 'a';");

    shop.repository.write("db/0003_rollback.sql", "SELECT 1;");
    shop.repository.write("db/0004_more.sql", "CREATE TABLE a (id INTEGER);\n-- Rollback\nDROP TABLE a;");
    shop.repository.commit("feat: wrong");
    for refused in [place.fail(&["check", shop.repository.folder()], 2), place.fail(&["release", "shop"], 1)]
    {
        for words in [
            "db/0004_more.sql:2",
            "`-- Rollback` looks like the mark",
            "`0003_rollback.sql` sounds like",
            "lockstep: forward",
        ] {
            assert!(refused.contains(words), "{words}: {refused}");
        }
        assert!(!refused.contains("has to be among the files"), "{refused}");
    }
    shop.repository.write("db/0003_rollback.sql", "-- lockstep: forward\nSELECT 1;");
    shop.repository.write(
        "db/0004_more.sql",
        "CREATE TABLE a (id INTEGER);\n-- until the rollback\nCREATE TABLE b (id INTEGER);",
    );
    shop.repository.write("db/0004_more.undo.sql", "DROP TABLE orders;");
    shop.deploy(&shop.cut("good"));
    assert_eq!(shop.level(), "0004_more.sql");
    shop.by_hand("INSERT INTO b VALUES (1); SELECT id FROM orders;");
}

#[test]
fn a_database_that_is_not_reached_or_would_not_stay_is_told_and_stops_nothing_else() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let at = |url: &str| {
        let more = format!("env = {{ DATABASE_URL = \"{url}\" }}");
        shop.repository
            .write("lockstep.toml", &manifest("shop", &more, "[database.main]\nmigrations = \"db\"\n"));
    };
    shop.repository.write("service.py", &service("shop"));
    shop.repository.write(&format!("db/{}", MAKES.0), MAKES.1);
    at("postgresql://ann:s3cret@127.0.0.1:1/none");
    let one = shop.cut("one");
    for _ in 0..2 {
        let failed = place.fail(&["deploy", &one, "--env", ENVIRONMENT], 1);
        assert!(failed.contains("the database is not reached") && !failed.contains("s3cret"), "{failed}");
        assert!(!failed.contains("is not undone"), "{failed}");
    }
    assert_eq!(place.told(&["database", "list", "--env", ENVIRONMENT]).matches("half-way").count(), 0);

    at("sqlite:shop.db");
    shop.repository.commit("feat: lost");
    for refused in [place.fail(&["check", shop.repository.folder()], 2), place.fail(&["release", "shop"], 1)]
    {
        assert!(
            refused.contains("`shop.db`, which is in no data folder") && refused.contains("data = [\"var\"]"),
            "{refused}"
        );
    }
}

#[test]
fn drift_is_found_by_a_look_and_stops_what_would_be_applied() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id", MAKES);
    shop.deploy(&one);
    shop.by_hand("UPDATE lockstep_migrations SET checksum = 'another';");
    place.run(&["database", "look", "main", "--env", ENVIRONMENT]);
    let shown = place.told(&["database", "show", "main", "--env", ENVIRONMENT]);
    assert!(shown.contains("drifted") && shown.contains("was changed after it ran"), "{shown}");
    let two = shop.release("id", ADDS);
    let failed = place.fail(&["deploy", &two, "--env", ENVIRONMENT], 1);
    assert!(
        failed.contains("is not as it should be") && failed.contains("was changed after it ran"),
        "{failed}"
    );
    assert_eq!(shop.level(), MAKES.0);
}

#[test]
fn a_database_with_a_history_by_other_means_is_adopted() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let one = shop.release("id", MAKES);
    shop.deploy(&one);
    shop.by_hand("DROP TABLE lockstep_migrations;");
    let two = shop.release("id", ADDS);
    place.fail(&["deploy", &two, "--env", ENVIRONMENT], 1);
    place.run(&["database", "adopt", "main", "--through", MAKES.0, "--env", ENVIRONMENT]);
    shop.deploy(&two);
    assert_eq!(shop.level(), ADDS.0);
    let unknown = place.fail(&["database", "adopt", "main", "--through", "9.sql", "--env", ENVIRONMENT], 4);
    assert!(unknown.contains("the last one is `0002_state.sql`"), "{unknown}");
}

#[test]
fn services_that_share_a_database_do_not_move_beside_each_other() {
    let place = Place::begin();
    place.run(&["resource", "run", "db", "--kind", "postgresql", "--env", ENVIRONMENT]);
    let version = |name: &'static str, files: &[(&str, &str)]| {
        let shop = Shop::begin(&place, name);
        write_postgres(&shop, files);
        shop.cut("first")
    };
    let slow = [("1_a.sql", "CREATE TABLE a (id int);"), ("2_slow.sql", "SELECT pg_sleep(3);")];
    let one = version("shop", &slow);
    let two = version("desk", &slow[..1]);
    let operation = place.begin_operation(&["deploy", &one, "--env", ENVIRONMENT]);
    let busy = place.fail(&["deploy", &two, "--env", ENVIRONMENT], 6);
    assert!(busy.contains("both work with database main"), "{busy}");
    assert_eq!(place.settled(operation)["phase"], "done");
    place.run(&["deploy", &two, "--env", ENVIRONMENT]);
    let known = place.json(&["database", "show", "main", "--env", ENVIRONMENT]);
    assert_eq!(known["known"]["told"]["has"].as_array().unwrap().len(), 2, "{known}");
    assert_eq!(known["brought_by"].as_array().unwrap().len(), 2, "{known}");
}

/// A service whose database is the resource `db`.
pub(super) fn write_postgres(shop: &Shop<'_>, files: &[(&str, &str)]) {
    let needs =
        "[resource.db]\nkind = \"postgresql\"\n[database.main]\nmigrations = \"db\"\nvariable = \"DB\"\n";
    let more = "env = { DB = \"${resource.db.url}\" }";
    shop.repository.write("lockstep.toml", &manifest(shop.name, more, needs));
    shop.repository.write("service.py", &service("shop"));
    files.iter().for_each(|(file, text)| shop.repository.write(&format!("db/{file}"), text));
}

#[test]
fn a_migration_goes_on_without_the_server_and_one_that_is_killed_is_told_truthfully() {
    let mut place = Place::begin();
    place.run(&["resource", "run", "db", "--kind", "postgresql", "--env", ENVIRONMENT]);
    let shop = Shop::begin(&place, "shop");
    write_postgres(&shop, &[("1_slow.sql", "CREATE TABLE a AS SELECT 1 AS id FROM pg_sleep(3);")]);
    let one = shop.cut("first");
    write_postgres(
        &shop,
        &[("2_alone.sql", "-- lockstep: alone\nCREATE TABLE b AS SELECT 1 AS id FROM pg_sleep(600);")],
    );
    let two = shop.cut("second");
    drop(shop);
    let operation = place.begin_operation(&["deploy", &one, "--env", ENVIRONMENT]);
    step_of(&place);
    place.kill_server();
    place.start_server();
    assert_eq!(place.settled(operation)["phase"], "done");
    let recorded = |place: &Place| {
        let known = place.json(&["database", "show", "main", "--env", ENVIRONMENT]);
        (known["known"]["told"]["has"].as_array().unwrap().len(), known["known"]["doubt"].to_string())
    };
    assert_eq!(recorded(&place), (1, "null".to_owned()));

    let operation = place.begin_operation(&["deploy", &two, "--env", ENVIRONMENT]);
    let step = step_of(&place);
    rustix::process::kill_process(step, Signal::KILL).unwrap();
    let phase = place.settled(operation);
    assert_eq!(phase["phase"], "reverted", "{phase}");
    assert!(recorded(&place).1.contains("`2_alone.sql` began"), "{:?}", recorded(&place));
    assert_eq!(place.ask("/shop").0, 200);
    let refused = place.fail(&["deploy", &two, "--env", ENVIRONMENT], 3);
    assert!(refused.contains("lockstep database"), "{refused}");
    place.run(&["database", "look", "main", "--env", ENVIRONMENT, "--version", &two]);
    assert!(recorded(&place).1.contains("`2_alone.sql` began"), "{:?}", recorded(&place));
    place.run(&[
        "database",
        "settle",
        "main",
        "2_alone.sql",
        "--done",
        "--env",
        ENVIRONMENT,
        "--version",
        &two,
    ]);
    place.run(&["deploy", &two, "--env", ENVIRONMENT]);
    assert_eq!(recorded(&place), (2, "null".to_owned()));
}

/// Waits until a step is at work in the database, and returns its process.
pub(super) fn step_of(place: &Place) -> rustix::process::Pid {
    eventually("a step is at work", || {
        let data = place.data();
        let all = processes::of_instances(&data);
        let is_step = |pid: &rustix::process::Pid| {
            let line = std::fs::read_to_string(format!("/proc/{}/cmdline", pid.as_raw_nonzero()))
                .unwrap_or_default();
            line.contains("database-step") && is_asleep_in_database(Path::new(&data))
        };
        all.into_values().find(is_step)
    })
}

/// Tells whether the server of PostgreSQL in a data folder carries out a statement that only these migrations have; it
/// says so in the names of its processes. Those of other tests do not count.
fn is_asleep_in_database(data: &Path) -> bool {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let of_this =
        all.filter(|it| std::fs::read_link(it.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(data)));
    of_this
        .filter_map(|it| std::fs::read_to_string(it.path().join("cmdline")).ok())
        .any(|line| line.starts_with("postgres:") && line.contains("CREATE TABLE AS"))
}

#[test]
fn a_program_of_the_version_applies_and_says_the_level() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let own =
        "[database.main]\nmigrations = \"db\"\napply = \"./migrate up {to}\"\nlevel = \"./migrate status\"\n";
    let write = |files: &[&str]| {
        shop.repository.write("lockstep.toml", &manifest("shop", "data = [\"var\"]", own));
        shop.repository.write("service.py", &service("shop"));
        shop.repository.write("migrate", "#!/bin/sh\ncase $1 in up) echo $2 > var/level ;; *) printf '\"%s\"' \"$(cat var/level)\" ;; esac\n");
        shop.repository.git(&["update-index", "--add", "--chmod=+x", "migrate"]);
        files.iter().for_each(|file| shop.repository.write(&format!("db/{file}"), "migrate()"));
    };
    write(&["0001_a.py"]);
    let made = Command::new("chmod")
        .args(["+x", &format!("{}/migrate", shop.repository.folder())])
        .status()
        .unwrap();
    assert!(made.success());
    let one = shop.cut("first");
    write(&["0002_b.py"]);
    let two = shop.cut("second");
    shop.deploy(&one);
    assert_eq!(shop.level(), "0001_a.py");
    let told = shop.deploy(&two);
    assert!(told.contains("was not understood"), "{told}");
    assert_eq!(shop.level(), "0002_b.py");
}

#[test]
fn a_migration_outside_of_lockstep_is_a_warning_and_a_no() {
    let place = Place::begin();
    let shop = Shop::begin(&place, "shop");
    let write = |file: &str, text: &str| {
        shop.repository.write(
            "lockstep.toml",
            &manifest("shop", "", "[database.main]\nmigrations = \"db\"\nexternal = true\n"),
        );
        shop.repository.write("service.py", &service("shop"));
        shop.repository.write(&format!("db/{file}"), text);
    };
    write(MAKES.0, MAKES.1);
    let one = shop.cut("first");
    write(DROPS.0, DROPS.1);
    let two = shop.cut("second");
    shop.deploy(&one);
    let told = shop.deploy(&two);
    assert!(!told.contains("migration of database"), "{told}");
    let plan = place.told(&["rollback", "shop", "--to", number(&one), "--env", ENVIRONMENT, "--dry-run"]);
    assert!(plan.contains("is applied outside of Lockstep"), "{plan}");
    let can = place.json_ending(&["can-i-roll-back", "shop", "--env", ENVIRONMENT], 1);
    assert!(can.to_string().contains("0003_no_note.sql"), "{can}");
    place.run(&["rollback", "shop", "--to", number(&one), "--env", ENVIRONMENT]);
}

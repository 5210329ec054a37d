//! Jobs on real processes: migrations of a SQLite database before the switch, and what dies while one runs.

use std::fs;
use std::path::PathBuf;

use super::support::callers::Callers;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, python};
use super::support::{eventually, processes};

/// Says that it runs, does what it is for, and says that it is through.
const JOB: &str = r#"
import os, sqlite3, sys, time
folder, version = os.environ["MARKS"], os.environ["LOCKSTEP_VERSION"]

def mark(what):
    with open(folder + "/marks", "a") as marks:
        marks.write(f"{version} {what}\n")

assert "PORT" not in os.environ
mark("begins")
DOES
mark("ends")
"#;

/// A shop with a database in a folder that it keeps.
struct Shop<'a> {
    place: &'a Place,
    repository: Repository,
    marks: PathBuf,
}

impl<'a> Shop<'a> {
    fn begin(place: &'a Place) -> Self {
        let marks = PathBuf::from(place.path("marks"));
        fs::create_dir(&marks).unwrap();
        Self { place, repository: place.repository("shop"), marks }
    }

    /// Releases a version that reads columns of its table, after its migration did something.
    fn release(&self, columns: &str, migration: &str) -> String {
        let python = python();
        let job = |name: &str, when: &str| {
            format!(
                "[[job]]\nname = \"{name}\"\nwhen = \"{when}\"\ncommand = \"{python} {name}.py\"\ntimeout = \"1m\"\n"
            )
        };
        let jobs = [("migrate", "before-switch"), ("seed", "after-deploy"), ("count", "by-hand")]
            .map(|(n, w)| job(n, w));
        let more = format!("data = [\"var\"]\nenv = {{ MARKS = \"{}\" }}", self.marks.display());
        self.repository.write("lockstep.toml", &manifest("shop", &more, &jobs.concat()));
        let does = |does: &str| JOB.replace("DOES", does);
        self.repository.write("migrate.py", &does(migration));
        let seed = sql("INSERT INTO orders (id) VALUES (NULL)");
        self.repository.write(
            "seed.py",
            &does(&format!("if os.path.exists(folder + '/fail'): sys.exit('no seed')\n{seed}")),
        );
        let count =
            "print(sqlite3.connect('var/shop.db').execute('SELECT count(*) FROM orders').fetchone()[0])";
        self.repository.write("count.py", &does(count));
        let reads =
            format!("sqlite3.connect('var/shop.db').execute('SELECT {columns} FROM orders').fetchall()");
        self.repository.write("service.py", &misbehaving(columns, "import sqlite3", &reads));
        if fs::exists(self.marks.join("registered")).unwrap() {
            self.repository.commit(&format!("feat: {columns}"));
            return self.place.release("shop");
        }
        fs::write(self.marks.join("registered"), "").unwrap();
        self.place.first_release(&self.repository, "shop")
    }

    /// What jobs of a version have done.
    fn marks_of(&self, version: &str) -> Vec<String> {
        let number = version.split_once('@').unwrap().1;
        let text = fs::read_to_string(self.marks.join("marks")).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix(number)).map(|what| what.trim().to_owned()).collect()
    }

    fn waits_for(&self, version: &str) {
        eventually("the job runs", || (self.marks_of(version) == ["begins"]).then_some(()));
    }

    fn deploy(&self, version: &str) -> String {
        self.place.told(&["deploy", version, "--env", ENVIRONMENT])
    }
}

/// What a job does that carries out a statement.
fn sql(statement: &str) -> String {
    format!("db = sqlite3.connect('var/shop.db'); db.execute('{statement}'); db.commit()")
}

/// A migration that goes on until a file is there, and makes the table then.
fn waiting(shop: &Shop<'_>) -> String {
    let table = sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)");
    format!("while not os.path.exists(\"{}\"): time.sleep(0.01)\n{table}", shop.marks.join("go").display())
}

#[test]
fn a_migration_runs_once_before_anything_switches_and_one_that_fails_changes_nothing_else() {
    let place = Place::begin();
    let shop = Shop::begin(&place);
    let one = shop.release("id", &sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)"));
    let two = shop.release("id, state", &sql("ALTER TABLE orders ADD COLUMN state TEXT"));
    let bad = shop.release("id, gone", "sys.exit('no such tablespace')");
    let told = shop.deploy(&one);
    assert!(told.contains(&format!("job `migrate` of {one} has run")), "{told}");
    let callers =
        Callers::begin(place.status()["gateway"].as_str().unwrap().trim_start_matches("http://"), &["/shop"]);
    callers.wait_for(20);
    let plan = place.told(&["deploy", &two, "--env", ENVIRONMENT, "--dry-run"]);
    assert!(
        plan.contains(&format!("before anything starts: job `migrate` of {two}, for at most 1m")),
        "{plan}"
    );
    assert!(plan.contains(&format!("afterwards: job `seed` of {two}")), "{plan}");
    shop.deploy(&two);
    callers.wait_for(20);
    assert_eq!(shop.marks_of(&two), ["begins", "ends", "begins", "ends"], "a migration and a seed");
    let refused = place.fail(&["deploy", &bad, "--env", ENVIRONMENT], 1);
    assert!(refused.contains(&format!("job `migrate` of {bad} failed: ended with exit code 1")), "{refused}");
    assert!(refused.contains("is not undone") && !refused.contains("no such tablespace"), "{refused}");
    let run = refused.split("lockstep logs ").nth(1).unwrap().split_whitespace().next().unwrap();
    let log = place.told(&["logs", run]);
    assert!(log.contains("no such tablespace"), "what it wrote stands in its log alone: {log}");
    assert_eq!(place.status()["holds"], serde_json::json!([]), "the next try needs nobody's word");
    let number = one.split_once('@').unwrap().1;
    let back = place.told(&["rollback", "shop", "--to", number, "--env", ENVIRONMENT]);
    assert!(!back.contains("has run"), "{back}");
    let plan = place.fail(&["undo", ENVIRONMENT, "--dry-run", "--release-holds"], 0);
    assert!(!plan.contains("job `"), "{plan}");
    callers.wait_for(20);
    callers.end();
    assert_eq!(place.ask("/shop").1.trim(), "id");
}

#[test]
fn a_job_is_run_by_hand_and_its_log_is_kept() {
    let place = Place::begin();
    let shop = Shop::begin(&place);
    let one = shop.release("id", &sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)"));
    shop.deploy(&one);
    place.run(&["job", "run", "shop", "count", "--env", ENVIRONMENT]);
    let listed = place.json(&["job", "list", "--env", ENVIRONMENT]);
    let count = listed.as_array().unwrap().iter().find(|it| it["job"]["name"] == "count").unwrap();
    let run = count["last_run"]["run"]["instance"].as_str().unwrap();
    let log = place.told(&["logs", run, "--env", ENVIRONMENT]);
    assert!(log.contains(" 1\n"), "the seed has run: {log}");
    let failed = place.fail(&["job", "run", "shop", "migrate", "--env", ENVIRONMENT], 1);
    assert!(failed.contains("ended with exit code 1") && !failed.contains("taken back"), "{failed}");
    let unknown = place.fail(&["job", "run", "shop", "gone", "--env", ENVIRONMENT], 4);
    assert!(unknown.contains("there are migrate, seed, count"), "{unknown}");
    let text = place.told(&["job", "list", "--env", ENVIRONMENT]);
    assert!(text.contains("by-hand") && text.contains("done after"), "{text}");
}

#[test]
fn a_job_goes_on_without_its_server_and_is_not_begun_again() {
    let mut place = Place::begin();
    let shop = Shop::begin(&place);
    let one = shop.release("1", &waiting(&shop));
    let marks = shop.marks.clone();
    let operation = place.begin_operation(&["deploy", &one, "--env", ENVIRONMENT]);
    shop.waits_for(&one);
    drop(shop);
    place.kill_server();
    place.start_server();
    fs::write(marks.join("go"), "").unwrap();
    eventually("the migration is through", || {
        let text = fs::read_to_string(marks.join("marks")).unwrap();
        (text.matches("ends").count() >= 1).then_some(())
    });
    assert_eq!(place.settled(operation)["phase"], "done");
    let text = fs::read_to_string(marks.join("marks")).unwrap();
    assert_eq!((text.matches("begins").count(), text.matches("ends").count()), (2, 2), "{text}");
}

#[test]
fn a_job_whose_supervisor_was_killed_is_not_begun_again_and_its_end_is_not_made_up() {
    let place = Place::begin();
    let shop = Shop::begin(&place);
    let one = shop.release("1", &waiting(&shop));
    let operation = place.begin_operation(&["deploy", &one, "--env", ENVIRONMENT]);
    shop.waits_for(&one);
    let supervisors = processes::of_supervisors(&place.data());
    assert_eq!(supervisors.len(), 1, "{supervisors:?}");
    supervisors.values().for_each(|supervisor| processes::kill(*supervisor));
    fs::write(shop.marks.join("go"), "").unwrap();
    let phase = place.settled(operation);
    assert_eq!(phase["phase"], "reverted", "{phase}");
    assert!(phase["cause"].as_str().unwrap().contains("an unknown exit code"), "{phase}");
    assert_eq!(shop.marks_of(&one), ["begins", "ends"]);
}

#[test]
fn a_job_that_fails_afterwards_is_told_and_takes_nothing_back() {
    let place = Place::begin();
    let shop = Shop::begin(&place);
    let one = shop.release("id", &sql("CREATE TABLE orders (id INTEGER PRIMARY KEY)"));
    fs::write(shop.marks.join("fail"), "").unwrap();
    let told = place.fail(&["deploy", &one, "--env", ENVIRONMENT], 1);
    assert!(
        told.contains(&format!("job `seed` of {one} failed afterwards: ended with exit code 1")),
        "{told}"
    );
    assert!(told.contains(&format!("lockstep job run shop seed --env {ENVIRONMENT}")), "{told}");
    assert_eq!(place.ask("/shop").0, 200);
    let watched = place.fail(&["watch", "1"], 1);
    assert!(watched.contains("failed afterwards"), "{watched}");
    fs::remove_file(shop.marks.join("fail")).unwrap();
    place.run(&["job", "run", "shop", "seed", "--env", ENVIRONMENT]);
    let shown = place.told(&["show", &one]);
    assert!(shown.contains("migrate (before-switch), seed (after-deploy), count (by-hand)"), "{shown}");
}

#[test]
fn an_undo_ends_the_job_that_runs() {
    let place = Place::begin();
    let shop = Shop::begin(&place);
    let one = shop.release("1", &waiting(&shop));
    let operation = place.begin_operation(&["deploy", &one, "--env", ENVIRONMENT]);
    shop.waits_for(&one);
    place.run(&["undo", ENVIRONMENT]);
    assert_eq!(place.settled(operation)["phase"], "reverted");
    let all = place.json(&["operations"]);
    let ended = &all.as_array().unwrap().iter().find(|one| one["id"] == operation).unwrap()["jobs"][0]["end"];
    assert_eq!(ended["failure"], "it was told to end", "{all}");
    assert_eq!(processes::of_instances(&place.data()).len(), 0);
    assert_eq!(shop.marks_of(&one), ["begins"]);
}

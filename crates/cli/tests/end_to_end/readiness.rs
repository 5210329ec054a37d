//! Readiness and proven baselines with the real binary: what is proven, what is lost, and who is told.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use serde_json::Value;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, service};

fn says(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in:\n{text}"));
}

fn ask(place: &Place, path: &str, times: usize) {
    (0..times).for_each(|_| drop(place.ask(path)));
}

fn next(place: &Place, repository: &Repository, text: &str) -> String {
    repository.write("service.py", &service(text));
    repository.commit(&format!("feat: say {text}"));
    place.release("store")
}

fn history(place: &Place) -> Value {
    place.json(&["history", ENVIRONMENT])
}

/// Waits until so many requests are counted of the baseline that is current.
fn counted(place: &Place, at_least: u64) -> Value {
    eventually("requests are counted", || {
        let proving = history(place)["proving"].clone();
        (proving["requests"].as_u64() >= Some(at_least)).then_some(proving)
    })
}

fn proven(place: &Place, baseline: usize) -> Value {
    eventually("the baseline is proven", || {
        let history = history(place);
        let all = history["baselines"].as_array().unwrap();
        let found = all.iter().find(|it| it["number"] == baseline).unwrap()["proven"].clone();
        found.is_object().then_some(found)
    })
}

#[test]
fn a_baseline_that_served_is_proven_and_the_last_good_one_also_after_a_restart() {
    let mut place = Place::begin();
    let repository = place.deployed("store");
    let back = ["rollback", ENVIRONMENT, "--to-last-good"];
    place.run(&["environment", "set", ENVIRONMENT, "--proven-after", "1h", "--proven-requests", "20"]);
    says(&place.fail(&back, 3), &["has no proven baseline to go back to", "lockstep rollback development"]);
    ask(&place, "/store", 12);
    counted(&place, 12);
    says(&place.run(&["history", ENVIRONMENT]), &["baseline 1 is not proven yet: 12 of 20 requests"]);

    // What was counted is there when the server stops and comes again.
    place.stop_server();
    place.start_server();
    assert_eq!(counted(&place, 12)["requests"], 12);
    let set = place.run(&["environment", "set", ENVIRONMENT, "--proven-after", "1s"]);
    says(&set, &["proven after", "1s, 20 requests"]);
    ask(&place, "/store", 10);
    assert_eq!(proven(&place, 1)["failures"], 0);
    says(&place.run(&["history", ENVIRONMENT]), &["proven: 2"]);

    let second = next(&place, &repository, "two");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    place.kill_server();
    place.start_server();
    says(&place.run(&["rollback", ENVIRONMENT]), &["the last good one is 1", "--to-last-good --dry-run"]);
    let plan = place.run(&[&back[..], &["--dry-run", "--expect", "2"]].concat());
    says(&plan, &["roll back to the last good baseline", "baseline 1 is proven: "]);
    says(&place.fail(&[&back[..], &["--expect", "1"]].concat(), 6), &["is at baseline 2 and not at 1"]);
    place.run(&back);
    assert_eq!(place.ask("/store").1, "one");
    assert_eq!(
        history(&place)["baselines"][0]["intent"],
        "roll back to baseline 1",
        "it is recorded by its number"
    );
    // Where it went is what runs now, so there is nothing that is good before it.
    says(&place.fail(&back, 3), &["has no proven baseline"]);
}

#[test]
fn failures_begin_the_counting_anew_and_say_so() {
    let place = Place::begin();
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository
        .write("service.py", &misbehaving("one", "pass", "status = 500 if 'bad' in self.path else 200"));
    let version = place.first_release(&repository, "store");
    place.run(&["environment", "set", ENVIRONMENT, "--proven-after", "1h", "--proven-requests", "5"]);
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    ask(&place, "/store", 8);
    counted(&place, 8);
    // As many as are an alarm, so that none of them is counted after it.
    ask(&place, "/store/bad", 10);
    let alarm = eventually("it is an alarm", || {
        history(&place)["proving"]["alarm"]["what"].as_str().map(str::to_owned)
    });
    says(&alarm, &["store failed ", "requests within a minute"]);
    says(&place.run(&["history", ENVIRONMENT]), &["is not proven yet", "counted since", "store failed"]);
    place.run(&["environment", "set", ENVIRONMENT, "--proven-after", "0s"]);
    ask(&place, "/store", 5);
    proven(&place, 1);
}

/// Follows readiness as a script does.
struct Follower {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Follower {
    fn begin(place: &Place) -> Self {
        let mut command = place.command(&["readiness", ENVIRONMENT, "--watch", "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.next().expect("it goes on").unwrap();
            let view: Value = serde_json::from_str(&line).unwrap();
            if is_it(&view) {
                return view;
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn readiness_is_lost_with_a_migration_that_drops_a_column_and_everybody_who_follows_is_told() {
    let place = Place::begin();
    let stock = place.repository("stock");
    let sql = "[contract]\nsql = { path = \"migrations\", dialect = \"sqlite\" }";
    stock.write("lockstep.toml", &manifest("stock", "", sql));
    stock.write("service.py", &service("stock"));
    stock.write("migrations/001-items.sql", "CREATE TABLE items (id INTEGER PRIMARY KEY, place TEXT);\n");
    let first = place.first_release(&stock, "stock");
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    let nothing = place.run(&["readiness", ENVIRONMENT]);
    says(&nothing, &["development is at baseline 1; nothing ran before it"]);
    stock.write("migrations/002-colour.sql", "ALTER TABLE items ADD COLUMN colour TEXT;\n");
    stock.commit("feat: know colours");
    let second = place.release("stock");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    let ready = place.run(&["readiness", ENVIRONMENT, "stock"]);
    says(&ready, &["1 can be gone back to (warm)", "stock    1.1.0  1.0.0    warm"]);

    stock.write("migrations/003-no-place.sql", "ALTER TABLE items DROP COLUMN place;\n");
    stock.commit("fix: forget places");
    let third = place.release("stock");
    let mut follower = Follower::begin(&place);
    let view = follower.until(|_| true);
    assert_eq!(view["services"][0]["standing"], "open", "{view:#}");
    let deploy = ["deploy", &third, "--env", ENVIRONMENT];
    let plan = place.run(&[&deploy[..], &["--dry-run"]].concat());
    says(
        &plan,
        &[
            "a point of no return: after this, baseline 2 cannot be reached any more",
            "column `items.place` is gone",
        ],
    );
    place.run(&deploy);
    let lost = follower.until(|view| view["lost"].is_array());
    says(
        &lost["lost"].to_string(),
        &["stock 2.0.0 can no longer go back to 1.1.0", "baseline 2 cannot be reached any more"],
    );
    let shown = place.json_ending(&["readiness", ENVIRONMENT], 3);
    assert_eq!(shown["services"][0]["reasons"][0]["kind"], "migration", "{shown:#}");
    says(
        &place.fail(&["readiness", ENVIRONMENT, "stock"], 3),
        &["1 of 1 service cannot go back, or not surely: stock"],
    );
    place.fail(&["readiness", ENVIRONMENT, "nobody"], 4);
}

#[test]
fn an_artifact_that_is_gone_is_lost_readiness_and_a_server_that_comes_again_is_followed_on() {
    let mut place = Place::begin();
    let repository = place.deployed("store");
    let first = history(&place)["baselines"][0]["entries"]["store"]["version"].as_str().unwrap().to_owned();
    let second = next(&place, &repository, "two");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    let mut follower = Follower::begin(&place);
    assert_eq!(
        follower.until(|view| view["services"][0]["to"].is_object())["services"][0]["readiness"],
        "warm"
    );
    place.run(&["environment", "set", ENVIRONMENT, "--warm", "0s"]);
    let cold = follower.until(|view| view["services"][0]["readiness"] == "cold");
    assert!(cold["lost"].is_null(), "colder is not lost: {cold:#}");
    place.kill_server();
    place.start_server();
    let again = follower.until(|view| view["revision"] == 1);
    assert_eq!(again["services"][0]["standing"], "open");
    let digest =
        place.json(&["show", &format!("store@{first}")])["artifact"]["digest"].as_str().unwrap().to_owned();
    let hex = digest.trim_start_matches("sha256:");
    std::fs::remove_file(format!("{}/blobs/sha256/{}/{}", place.data(), &hex[..2], &hex[2..])).unwrap();
    let lost = follower.until(|view| view["lost"].is_array());
    says(&lost["lost"].to_string(), &[&format!("store@{first}"), "is not in the blob store"]);
    assert_eq!(lost["services"][0]["reasons"][0]["kind"], "artifact");
    says(&place.fail(&["readiness", ENVIRONMENT], 3), &["store"]);
}

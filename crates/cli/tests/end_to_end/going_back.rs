//! Going back with the real binary: what is listed, refused, named and asked before anything moves.

use std::io::Write as _;
use std::process::Stdio;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, service};

fn says(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in:\n{text}"));
}

fn next(place: &Place, repository: &Repository, name: &str, text: &str) -> String {
    repository.write("service.py", &service(text));
    repository.commit(&format!("feat: say {text}"));
    place.release(name)
}

/// A store whose first version runs and whose second and third were only released.
fn store() -> (Place, [String; 3]) {
    let place = Place::begin();
    let repository = place.deployed("store");
    let versions = [
        "store@0.1.0".to_owned(),
        next(&place, &repository, "store", "two"),
        next(&place, &repository, "store", "three"),
    ];
    (place, versions)
}

fn number(version: &str) -> &str {
    version.split_once('@').unwrap().1
}

fn set_secret(place: &Place, value: &str) {
    let mut command = place.command(&["config", "set", "store", "--secret", "API_KEY", "--env", ENVIRONMENT]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_there_is_to_go_back_to_is_listed_and_nothing_else_is_a_way_back() {
    let (place, [first, second, third]) = store();
    let first = place.json(&["show", "store"])["versions"].as_array().unwrap().last().unwrap()["number"]
        .as_str()
        .map_or(first, |number| format!("store@{number}"));
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    let list = place.run(&["rollback", "store", "--env", ENVIRONMENT]);
    says(&list, &["it can go back to", number(&first), "warm", "not watched", "--dry-run"]);
    assert!(!list.contains(number(&third)), "{list}");
    says(&place.run(&["rollback", ENVIRONMENT]), &["is at baseline 2", "the empty beginning"]);

    let back =
        |version: &str| place.fail(&["rollback", "store", "--to", number(version), "--env", ENVIRONMENT], 3);
    says(&back(&third), &["never ran in", &format!("hint: lockstep deploy {third} --env {ENVIRONMENT}")]);
    place.run(&["rollback", "store", "--to", number(&first), "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    says(&back(&second), &["a way forward, not back", "--release-holds"]);

    place.run(&["remove", "store", "--env", ENVIRONMENT]);
    let wrong = place.fail(&["rollback", ENVIRONMENT, "--to", "0"], 3);
    says(&wrong, &["would change"]);
    place.run(&["rollback", "store", "--to", number(&first), "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    let unasked = place.fail(&["rollback", ENVIRONMENT, "--to", "0"], 3);
    says(&unasked, &["takes everything out", &first, "--yes"]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    place.run(&["rollback", ENVIRONMENT, "--to", "0", "--yes"]);
    assert_eq!(place.ask("/store").0, 404);
}

#[test]
fn a_rotated_secret_is_named_in_a_plan_and_a_revoked_one_does_not_come_back() {
    let (place, [first, second, _]) = store();
    let first = first.replace(
        "0.1.0",
        number(
            &place.json(&["status", ENVIRONMENT])["services"][0]["entry"]["version"]
                .as_str()
                .map(|v| format!("store@{v}"))
                .unwrap(),
        ),
    );
    set_secret(&place, "old-value");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    set_secret(&place, "new-value");
    let back = ["rollback", "store", "--to", number(&first), "--env", ENVIRONMENT];
    let plan = place.run(&[&back[..], &["--dry-run"]].concat());
    says(
        &plan,
        &["secret API_KEY of store: the newer value stays, set on", "--old-secrets brings back the one of"],
    );
    says(
        &plan,
        &[
            &format!("lost with store {}: 1 feature of {}", number(&first), number(&second)),
            "feature  say two",
        ],
    );
    assert!(!plan.contains("old-value") && !plan.contains("new-value"), "{plan}");
    let can = place.run(&["can-i-roll-back", &first, "--env", ENVIRONMENT]);
    says(&can, &["yes", "secret API_KEY of store: the newer value stays"]);
    let old = place.run(&[&back[..], &["--old-secrets", "--dry-run"]].concat());
    says(&old, &["variable API_KEY of store: an OLDER secret, set on", "and replaced on"]);
    assert!(!old.contains("old-value") && !old.contains("new-value"), "{old}");
    let kept = place.run(&[&back[..], &["--keep-config", "--dry-run"]].concat());
    assert!(!kept.contains("API_KEY"), "{kept}");

    place.run(&["config", "revoke", "store", "API_KEY", "--env", ENVIRONMENT, "--reason", "it leaked"]);
    let plan = place.run(&[&back[..], &["--old-secrets", "--dry-run"]].concat());
    says(&plan, &["`API_KEY` of `store` was revoked on", "stands in its place"]);
    place.run(&back);
    let shown = place.run(&["config", "show", "store", "--env", ENVIRONMENT]);
    assert!(shown.contains("API_KEY") && !shown.contains("revoked"), "{shown}");
    place.run(&["config", "set", "store", "MODE=fast", "--env", ENVIRONMENT]);
    place.run(&["config", "use", "store", "--revision", "2", "--env", ENVIRONMENT]);
    says(&place.run(&["config", "show", "store", "--env", ENVIRONMENT]), &["c2"]);
}

#[test]
fn what_was_looked_at_is_what_is_changed() {
    let (place, [_, second, _]) = store();
    let stale = place.fail(&["deploy", &second, "--env", ENVIRONMENT, "--expect", "0"], 6);
    says(&stale, &["is at baseline 1 and not at 0: ann@example.org made it", "hint: lockstep history"]);
    let slow = ["--steps", "50,100", "--bake", "1h"];
    let deploy = ["deploy", &second, "--env", ENVIRONMENT, "--expect", "1"];
    let operation = place.begin_operation(&[&deploy[..], &slow].concat());
    let dry = place.run(&["undo", ENVIRONMENT, "--dry-run"]);
    says(&dry, &[&format!("operation {operation}"), "would be taken back", "would be as in baseline 1"]);
    // Who undoes the baseline that was looked at does not mean what has begun since.
    says(&place.fail(&["undo", ENVIRONMENT, "--expect", "1"], 6), &["is under way"]);
    place.run(&["undo", ENVIRONMENT]);
    assert_eq!(place.settled(operation)["phase"], "reverted");
    assert!(place.run(&["hold", "list", ENVIRONMENT]).lines().count() <= 1, "nobody is to blame");
    let source = format!("{ENVIRONMENT}@0");
    says(&place.fail(&["promote", &source, "staging"], 3), &["runs nothing that could be promoted"]);
}

/// A second service beside the store, with two versions of which the second runs.
fn with_other(place: &Place) -> [String; 2] {
    let repository = place.deployed("other");
    let first = place.json(&["show", "other"])["versions"][0]["number"].as_str().unwrap().to_owned();
    let second = next(place, &repository, "other", "two");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    [format!("other@{first}"), second]
}

#[test]
fn an_emergency_does_not_wait_for_the_canary_of_another_service_and_neither_does_scaling() {
    let (mut place, [_, second, _]) = store();
    let [first, left] = with_other(&place);
    let slow = ["deploy", &second, "--env", ENVIRONMENT, "--steps", "50,100", "--bake", "1h"];
    let canary = place.begin_operation(&slow);
    place.run(&["scale", "other", "2", "--env", ENVIRONMENT]);
    place.run(&["restart", "other", "--env", ENVIRONMENT]);
    says(&place.fail(&["scale", "store", "2", "--env", ENVIRONMENT], 6), &["is under way"]);

    let down = ["deploy", &first, "--env", ENVIRONMENT, "--steps", "50,100", "--bake", "1h"];
    let other = place.begin_operation(&down);
    let status = place.run(&["status", ENVIRONMENT]);
    says(&status, &[&format!("operation {canary}, "), &format!("operation {other}, ")]);
    let guess = place.fail(&["undo", ENVIRONMENT], 6);
    says(&guess, &["undo could mean more than one thing", &format!("--operation {canary}"), "or `"]);
    let whole = place.fail(&["rollback", ENVIRONMENT, "--to", "1"], 6);
    says(&whole, &[&format!("operation {canary}"), "both touch store", "`--interrupt`"]);

    let back = ["rollback", "other", "--to", number(&first), "--env", ENVIRONMENT];
    says(&place.fail(&back, 6), &[&format!("operation {other}"), "is under way", "both touch other"]);
    let interrupt = [&back[..], &["--interrupt"]].concat();
    let dry = place.run(&[&interrupt[..], &["--dry-run"]].concat());
    says(&dry, &[&format!("operation {other} (deploy {first}, by ann@example.org) is taken back first")]);
    place.run(&interrupt);
    assert_eq!(place.settled(other)["phase"], "reverted");
    assert_eq!(place.ask("/other").1, "one");
    assert_eq!(place.json(&["status", ENVIRONMENT])["operation"]["id"], canary, "it is in nobody's way");
    let held = place.run(&["hold", "list", ENVIRONMENT]);
    assert!(held.contains(&left) && !held.contains(&second), "{held}");
    let guess = place.fail(&["undo", ENVIRONMENT], 6);
    says(&guess, &[&format!("operation {canary}"), "came meanwhile"]);

    // Where taking back is all there is to do, nothing more is done, also when the server is killed in the middle.
    let store = ["rollback", "store", "--to", "0.1.0", "--env", ENVIRONMENT, "--interrupt"];
    let version = place.status()["services"]
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["service"] == "store")
        .unwrap()["entry"]["version"]
        .as_str()
        .unwrap()
        .to_owned();
    let store = store.map(|word| if word == "0.1.0" { version.as_str() } else { word });
    place.run(&[&store[..], &["--no-wait"]].concat());
    place.kill_server();
    place.start_server();
    assert_eq!(place.settled(canary)["phase"], "reverted");
    assert_eq!(place.ask("/store").1, "one");
}

#[test]
fn services_and_environments_can_be_removed_and_say_first_what_goes_with_them() {
    let (place, [_, second, _]) = store();
    says(&place.fail(&["service", "remove", "store", "--yes"], 3), &["runs in", "lockstep remove store"]);
    place.run(&["environment", "create", "review"]);
    place.run(&["deploy", &second, "--env", "review"]);
    says(&place.fail(&["environment", "remove", "review", "--yes"], 3), &["runs store", "--to 0"]);
    place.run(&["rollback", "review", "--to", "0", "--yes"]);
    let unasked = place.fail(&["environment", "remove", "review"], 3);
    says(&unasked, &["its history (3 baselines)", "--yes"]);
    let removed = || place.command(&["environment", "remove", "review", "--yes"]).output().unwrap();
    eventually("what ran has ended", || removed().status.success().then_some(()));
    assert!(!place.run(&["environments"]).contains("review"));
    place.fail(&["status", "review"], 4);
    // One of the same name begins anew.
    place.run(&["environment", "create", "review"]);
    place.run(&["deploy", &second, "--env", "review"]);
    assert_eq!(place.json(&["history", "review"])["baselines"].as_array().unwrap().len(), 2);
    place.run(&["rollback", "review", "--to", "0", "--yes"]);

    place.run(&["remove", "store", "--env", ENVIRONMENT]);
    says(&place.fail(&["service", "remove", "store"], 3), &["3 versions", "--yes"]);
    place.run(&["service", "remove", "store", "--yes"]);
    assert!(!place.run(&["services"]).contains("store"));
    place.fail(&["deploy", &second, "--env", ENVIRONMENT], 4);
    let back = place.fail(&["rollback", ENVIRONMENT, "--to", "1"], 4);
    says(&back, &["there is no service `store`"]);
    place.run(&["service", "add", &place.path("store")]);
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    let third = place.release_again("store");
    assert_ne!(third, second, "a number is never given twice");
}

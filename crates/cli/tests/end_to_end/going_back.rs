//! Going back with the real binary: what is listed, refused, named and asked before anything moves.

use std::io::Write as _;
use std::process::Stdio;

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
    says(&plan, &["variable API_KEY of store: an OLDER secret, set on", "and replaced on"]);
    assert!(!plan.contains("old-value") && !plan.contains("new-value"), "{plan}");
    let can = place.run(&["can-i-roll-back", &first, "--env", ENVIRONMENT]);
    says(&can, &["yes", "variable API_KEY of store: an OLDER secret"]);
    let kept = place.run(&[&back[..], &["--keep-config", "--dry-run"]].concat());
    assert!(!kept.contains("API_KEY"), "{kept}");

    place.run(&["config", "revoke", "store", "API_KEY", "--env", ENVIRONMENT, "--reason", "it leaked"]);
    let plan = place.run(&[&back[..], &["--dry-run"]].concat());
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
    says(&dry, &[&format!("operation {operation}"), "would be taken back", "would still be at baseline 1"]);
    // Who undoes the baseline that was looked at does not mean what has begun since.
    says(&place.fail(&["undo", ENVIRONMENT, "--expect", "1"], 6), &["is under way"]);
    place.run(&["undo", ENVIRONMENT]);
    assert_eq!(place.settled(operation)["phase"], "reverted");
    assert!(place.run(&["hold", "list", ENVIRONMENT]).lines().count() <= 1, "nobody is to blame");
    let source = format!("{ENVIRONMENT}@0");
    says(&place.fail(&["promote", &source, "staging"], 3), &["runs nothing that could be promoted"]);
}

//! What has to move along: named by a refusal, taken when it is asked for, and answered the same from a file.

use std::fs;

use serde_json::json;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, service};

/// `payments` 1.0.0 and 1.1.0; `orders` 1.0.0 works with both, and 1.1.0 with the newer one alone. The older ones run.
fn shop() -> Place {
    let place = Place::begin();
    let [payments, orders] = ["payments", "orders"].map(|name| place.repository(name));
    let release = |repository: &Repository, name: &str, text: &str, after: &str| {
        repository.write("lockstep.toml", &manifest(name, "", after));
        repository.write("service.py", &service(text));
        if text == "one" {
            return place.first_release(repository, name);
        }
        repository.commit("feat: another one");
        place.release(name)
    };
    let first = [
        release(&payments, "payments", "one", ""),
        release(&orders, "orders", "one", "[requires]\npayments = \">=1.0\""),
    ];
    assert_eq!(first, ["payments@1.0.0", "orders@1.0.0"]);
    place.run(&["deploy", "payments@1.0.0", "orders@1.0.0", "--env", ENVIRONMENT]);
    assert_eq!(release(&payments, "payments", "two", ""), "payments@1.1.0");
    let requires = "[requires]\npayments = \">=1.1\"";
    assert_eq!(release(&orders, "orders", "two", requires), "orders@1.1.0");
    place
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

fn answers(place: &Place, text: &str) {
    for path in ["/payments", "/orders"] {
        assert_eq!(place.ask(path), (200, text.to_owned()), "{path}");
    }
}

#[test]
fn what_a_refusal_names_is_taken_along_forward_and_back() {
    let place = shop();
    let deploy = ["deploy", "orders@1.1.0", "--env", ENVIRONMENT];
    let take = format!("hint: lockstep deploy orders@1.1.0 --env {ENVIRONMENT} --with-what-it-needs");
    let along = "payments 1.0.0 -> 1.1.0 must come along: `orders@1.1.0` requires payments >=1.1, and 1.0.0 would be there";
    assert_says(&place.fail(&deploy, 3), &["is refused", "the smallest set that works:", along, &take]);
    answers(&place, "one");
    assert_eq!(place.status()["baseline"], 1, "nothing is added silently");

    let with = [&deploy[..], &["--with-what-it-needs"]].concat();
    let plan = place.run(&[&with[..], &["--dry-run"]].concat());
    assert_says(&plan, &["comes along: `orders@1.1.0` requires payments >=1.1", "nothing was changed"]);
    place.run(&with);
    answers(&place, "two");

    let back = ["rollback", "payments", "--to", "1.0.0", "--env", ENVIRONMENT];
    let chain = format!("hint: lockstep rollback payments --to 1.0.0 --env {ENVIRONMENT} --chain");
    assert_says(&place.fail(&back, 3), &["orders 1.1.0 -> 1.0.0 must come along", &chain]);
    place.run(&[&back[..], &["--chain"]].concat());
    answers(&place, "one");
}

#[test]
fn several_wishes_hold_together_or_are_told_why_not() {
    let place = shop();
    let keep = place.fail(&["deploy", "orders@1.1.0", "payments=keep", "--env", ENVIRONMENT], 3);
    assert_says(
        &keep,
        &[
            "There is no way:",
            "orders is wanted at 1.1.0.",
            "payments is wanted to stay.",
            "It would work to give up",
        ],
    );
    let wrong = place.fail(&["deploy", "orders@1.1.0", "payments=stay", "--env", ENVIRONMENT], 2);
    assert_says(&wrong, &["payments=stay"]);
    assert_eq!(place.status()["baseline"], 1);
    // It is named, so it may move; how far, is found out.
    place.run(&["deploy", "orders@1.1.0", "payments!=1.0.1", "--env", ENVIRONMENT]);
    answers(&place, "two");
}

#[test]
fn an_environment_is_written_as_a_fleet_and_answers_the_same() {
    let place = shop();
    let mut fleet = place.json(&["plan", "--export", ENVIRONMENT]);
    assert_eq!(fleet["services"].as_array().unwrap().len(), 2);
    fleet["intent"] = json!([{ "service": "orders", "to": "1.1.0" }]);
    let file = place.path("fleet.json");
    fs::write(&file, fleet.to_string()).unwrap();
    let answer = place.json(&["plan", "--world", &file]);
    assert_eq!((&answer["cost"], &answer["is_smallest"]), (&json!(2), &json!(true)));
    assert_eq!(answer["steps"], json!([["payments"], ["orders"]]));
    assert_says(&place.fail(&["plan", "--export", "nowhere"], 4), &["nowhere"]);
}

//! What has to move along: named by a refusal, taken when it is asked for, and answered the same from a file.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

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
    let ready = place.run(&["readiness", ENVIRONMENT]);
    let command = format!("lockstep rollback payments --to 1.0.0 --env {ENVIRONMENT} --chain");
    assert_says(&ready, &["with --chain", &format!("payments and orders together: {command}")]);
    let known = place.json(&["readiness", ENVIRONMENT, "payments"]);
    assert_eq!(known["chains"]["payments"]["command"], command.as_str());
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

const SLOW: [&str; 6] = ["--strategy", "canary", "--steps", "5,100", "--bake", "5m"];

/// Types an answer to a question on a terminal, after something else has happened meanwhile; returns how it ended, and what was shown.
fn answered(place: &Place, arguments: &[&str], meanwhile: impl FnOnce()) -> (i32, String) {
    let command = place.command(arguments);
    let typed = format!("{} {}", env!("CARGO_BIN_EXE_lockstep"), arguments.join(" "));
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &typed, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    let mut running = terminal.spawn().unwrap();
    let (mut input, mut output) = (running.stdin.take().unwrap(), running.stdout.take().unwrap());
    let (mut shown, mut byte) = (String::new(), [0_u8]);
    while !shown.contains("[y/N]") && output.read(&mut byte).unwrap() > 0 {
        shown.push(byte[0].into());
    }
    meanwhile();
    input.write_all(b"y\n").unwrap();
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    shown.push_str(&String::from_utf8_lossy(&rest));
    (running.wait().unwrap().code().unwrap(), shown)
}

#[test]
fn a_yes_is_to_what_was_shown_and_to_nothing_else() {
    let place = shop();
    let deploy = ["deploy", "orders@1.1.0", "--env", ENVIRONMENT];
    let refused = place.fail(&deploy, 3);
    let hint = refused.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap();
    let (code, shown) = answered(&place, &deploy, || {
        drop(place.run(&["remove", "payments", "orders", "--env", ENVIRONMENT]));
    });
    assert_eq!(code, 6, "{shown}");
    assert_says(&shown, &["take along payments 1.1.0?", "is at baseline 2 and not at 1"]);
    assert_eq!(place.status()["baseline"], 2, "nothing that was removed came back");
    // A command that is copied means what it was shown with as well.
    let copied: Vec<_> = hint.split(' ').skip(1).collect();
    assert_says(&place.fail(&copied, 6), &["is at baseline 2 and not at 1"]);
    place.run(&["undo", ENVIRONMENT]);
    let (code, shown) = answered(&place, &deploy, || ());
    assert_eq!(code, 0, "{shown}");
    answers(&place, "two");
}

#[test]
fn what_is_under_way_is_named_followed_or_taken_back() {
    let place = shop();
    let all = ["deploy", "orders@1.1.0", "payments@1.1.0", "--env", ENVIRONMENT];
    let operation = place.begin_operation(&[&all[..], &SLOW].concat());
    let same = ["deploy", "orders@1.1.0", "--env", ENVIRONMENT, "--with-what-it-needs", "--no-wait"];
    let told = place.told(&[&same[..], &SLOW].concat());
    assert_says(&told, &[&format!("already going there: operation {operation}")]);
    let other = place.fail(&[&same[..], &["--strategy", "blue-green"]].concat(), 6);
    let undo = format!("lockstep undo {ENVIRONMENT} --operation {operation}");
    assert_says(
        &other,
        &[&format!("operation {operation} ("), &format!("lockstep watch {operation}"), &undo],
    );
    assert!(!other.contains("There is no way"), "{other}");
    place.run(&["undo", ENVIRONMENT]);
    place.run(&all);
    let restart = ["deploy", "orders@1.0.0", "--env", ENVIRONMENT];
    place.begin_operation(&[&restart[..], &SLOW].concat());
    let back = ["rollback", "payments", "--to", "1.0.0", "--env", ENVIRONMENT, "--chain"];
    assert_says(&place.fail(&back, 6), &["--interrupt"]);
    place.run(&[&back[..], &["--interrupt"]].concat());
    answers(&place, "one");
}

#[test]
fn a_command_that_is_suggested_asks_for_all_that_was_asked_for() {
    let place = shop();
    let all = ["deploy", "orders@1.1.0", "payments@1.1.0", "--env", ENVIRONMENT];
    place.run(&all);
    let back = ["rollback", "payments", "--to", "1.0.0", "--env", ENVIRONMENT];
    let said = ["--keep-warm", "--strategy", "all-at-once", "--reason", "slow"];
    let hint = format!(
        "hint: lockstep rollback payments --to 1.0.0 --env {ENVIRONMENT} --chain --keep-warm --strategy all-at-once --reason 'slow' --expect 2"
    );
    assert_says(&place.fail(&[&back[..], &said].concat(), 3), &[&hint]);
    let one = place.fail(&[&back[..], &["--with-config", "0", "--chain"]].concat(), 3);
    assert_says(&one, &["a revision belongs to one service", "--keep-config"]);
    let plan = place.run(&[&back[..], &["--chain", "--dry-run"]].concat());
    assert_says(&plan, &["comes along:", "asked for"]);
    assert_says(&place.fail(&["rollback", ENVIRONMENT, "--to", "1", "--chain"], 2), &["as a whole"]);

    place.run(&["undo", ENVIRONMENT]);
    place.run(&["hold", "release", "payments@1.1.0", "--env", ENVIRONMENT]);
    let deploy = ["deploy", "orders@1.1.0", "--env", ENVIRONMENT, "--release-holds"];
    assert_says(
        &place.fail(&deploy, 3),
        &["the smallest set that works:", "--with-what-it-needs --release-holds"],
    );
    assert_says(
        &place.fail(&["deploy", "payments>=9.0.0", "--env", ENVIRONMENT], 3),
        &["`deploy 'payments>=9.0.0'` in"],
    );
}

//! What is asked of the server for what was typed.

use std::process::Command;

use serde_json::{Value, json};

use crate::fake::{FakeServer, Reply};
use crate::fixtures::{DEPLOY, OPERATE, deploying, done, environment, plan, preparing, summary};
use crate::{code, err, lockstep, out};

#[test]
fn a_dry_run_shows_the_plan_with_every_reason_and_asks_for_nothing_else() {
    let usual = json!({
        "strategy": "canary", "steps": [{ "weight": 10_000, "bake_ms": 60_000 }],
        "bound": { "max_failures_in_10000": 10, "min_requests": 100 },
    });
    let server = FakeServer::start(vec![
        (OPERATE, Reply::json(200, &json!({ "plan": plan(), "operation": null }))),
        ("GET /api/v1/environments/production", Reply::json(200, &environment(&usual))),
    ]);
    let output =
        lockstep(&server.url(), &[&DEPLOY[..], &["--dry-run", "--steps", "5,100", "--bake", "1s"]].concat());
    assert_eq!(
        out(&output),
        "plan for production: deploy orders@1.4.0\n\
         from baseline 17, canary: 5 % for 1s, 100 % for 1s, back above 1 % failures\n\
         wave 1 of 1\n  orders 1.3.2 -> 1.4.0  (cold: instances are started)\n      asked for\n\
         warning: no requests were seen yet\nnothing was changed: this is a dry run\n"
    );
    assert_eq!(code(&output), 0);
    let asked = server.asked(OPERATE).json();
    assert_eq!(asked["mode"], "dry_run");
    let weights: Vec<_> =
        asked["strategy"]["steps"].as_array().unwrap().iter().map(|step| &step["weight"]).collect();
    assert_eq!(weights, [500, 10_000]);
    assert_eq!(asked["strategy"]["bound"], usual["bound"], "what was not typed is as the environment has it");
}

#[test]
fn rollback_tells_a_baseline_from_a_version() {
    let cases: [(&[&str], Value); 2] = [
        (&["rollback", "production", "--to", "17"], json!({ "intent": "roll_back_environment", "to": 17 })),
        (
            &["rollback", "orders", "--to", "1.3.2", "--env", "production"],
            json!({ "intent": "roll_back_service", "service": "orders", "to": "1.3.2" }),
        ),
    ];
    for (arguments, intent) in cases {
        let server = deploying(&done());
        assert_eq!(code(&lockstep(&server.url(), arguments)), 0);
        assert_eq!(server.asked(OPERATE).json()["intent"], intent);
    }
    let two = lockstep("http://127.0.0.1:9", &["rollback", "production", "--to", "17", "--env", "staging"]);
    assert_eq!(code(&two), 2);
    assert!(err(&two).contains("two are named: `production` and `staging`"), "{}", err(&two));
}

#[test]
fn several_services_go_back_together_with_the_configuration_that_is_chosen() {
    let server = deploying(&done());
    let rollback = ["rollback", "orders=1.3.2", "payments@1.1.0", "--env", "production", "--keep-config"];
    assert_eq!(code(&lockstep(&server.url(), &rollback)), 0);
    assert_eq!(
        server.asked(OPERATE).json()["intent"],
        json!({
            "intent": "roll_back_services",
            "versions": ["orders@1.3.2", "payments@1.1.0"],
            "config": "keep"
        })
    );
    for wrong in [&["rollback", "orders", "payments"][..], &["rollback", "orders=1.3.2", "payments"]] {
        assert_eq!(code(&lockstep("http://127.0.0.1:9", wrong)), 2);
    }
}

#[test]
fn a_promotion_names_what_was_looked_at() {
    let server = deploying(&done());
    let promote = ["promote", "staging@17", "production", "--expect", "18"];
    assert_eq!(code(&lockstep(&server.url(), &promote)), 0);
    let asked = server.asked(OPERATE).json();
    assert_eq!((&asked["intent"]["baseline"], &asked["expect"]), (&json!(17), &json!(18)));
    assert_eq!(code(&lockstep("http://127.0.0.1:9", &["promote", "staging@x", "production"])), 2);
}

#[test]
fn a_dry_run_of_undo_answers_at_once_while_an_operation_is_under_way() {
    let server = FakeServer::start(vec![(
        OPERATE,
        Reply::json(200, &json!({ "plan": null, "operation": preparing() })),
    )]);
    let output = lockstep(&server.url(), &["undo", "production", "--dry-run"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("would be taken back"), "{}", out(&output));
    assert_eq!(server.count(crate::fixtures::EVENTS), 0);
}

#[test]
fn a_strategy_of_a_rollback_is_asked_for_and_none_is_made_up() {
    let rollback = ["rollback", "orders", "--to", "1.3.2", "--env", "production"];
    for (options, strategy) in
        [(&[][..], Value::Null), (&["--strategy", "all-at-once"], json!("all_at_once"))]
    {
        let server = deploying(&done());
        assert_eq!(code(&lockstep(&server.url(), &[&rollback[..], options].concat())), 0);
        assert_eq!(server.asked(OPERATE).json()["strategy"]["strategy"], strategy);
    }
    let help = out(&lockstep("http://127.0.0.1:9", &["rollback", "--help"]));
    assert!(help.contains("all at once when left out"), "{help}");
}

#[test]
fn the_only_environment_in_use_may_be_left_out() {
    let answer = Reply::json(200, &json!({ "plan": plan(), "operation": preparing() }));
    let server = FakeServer::start(vec![
        (
            "GET /api/v1/environments",
            Reply::json(200, &json!([summary("development", 0), summary("production", 2)])),
        ),
        (OPERATE, answer),
    ]);
    assert_eq!(code(&lockstep(&server.url(), &["scale", "orders", "3", "--no-wait"])), 0);
    assert_eq!(
        server.asked(OPERATE).json()["intent"],
        json!({ "intent": "scale", "service": "orders", "replicas": 3 })
    );

    let server = FakeServer::start(vec![(
        "GET /api/v1/environments",
        Reply::json(200, &json!([summary("staging", 1), summary("production", 2)])),
    )]);
    let output = lockstep(&server.url(), &["undo"]);
    assert_eq!(code(&output), 2);
    assert_eq!(
        err(&output),
        "error: which environment? there are staging, production\nhint: add --env staging\n"
    );
}

#[test]
fn a_secret_is_read_from_standard_input_and_is_shown_nowhere() {
    let server = deploying(&done());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "hunter2\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args([
            "config",
            "set",
            "orders",
            "MODE=fast",
            "--secret",
            "API_KEY",
            "--unset",
            "OLD",
            "--env",
            "production",
        ])
        .env_clear()
        .env("LOCKSTEP_SERVER", server.url())
        .env("USER", "ann")
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", err(&output));
    let asked = server.asked(OPERATE);
    assert_eq!(asked.json()["secrets"], json!({ "API_KEY": "hunter2" }));
    assert_eq!(asked.json()["intent"]["set"], json!({ "MODE": { "plain": "fast" } }));
    assert_eq!(asked.json()["intent"]["unset"], json!(["OLD"]));
    assert!(asked.header("lockstep-actor").unwrap().starts_with("ann@"));
    assert!(!(out(&output) + &err(&output)).contains("hunter2"));
}

#[test]
fn what_is_wanted_of_services_is_asked_beside_the_versions() {
    let server = deploying(&done());
    let wanted = ["deploy", "orders@1.4.0", "payments!=1.3.0", "catalog=keep", "--env", "production"];
    assert_eq!(code(&lockstep(&server.url(), &[&wanted[..], &["--with-what-it-needs"]].concat())), 0);
    let asked = server.asked(OPERATE).json();
    assert_eq!(asked["intent"]["versions"], json!(["orders@1.4.0"]));
    let wishes = json!([
        { "service": "payments", "wanted": { "not": "1.3.0" } },
        { "service": "catalog", "wanted": "keep" },
    ]);
    assert_eq!((&asked["needs"], &asked["wishes"]), (&json!("take"), &wishes));

    let server = deploying(&done());
    let back = ["rollback", "orders", "--to", "1.3.2", "--env", "production", "--chain"];
    assert_eq!(code(&lockstep(&server.url(), &back)), 0);
    assert_eq!(server.asked(OPERATE).json()["needs"], "take");
}

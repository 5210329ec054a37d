//! The real binary against a server that gives fixed answers: output, exit codes, JSON, and what is asked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

#[path = "commands/fake.rs"]
mod fake;

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use fake::{FakeServer, Reply};
use serde_json::{Value, json};

fn lockstep(server: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(arguments)
        .env_clear()
        .env("LOCKSTEP_SERVER", server)
        .env("LOCKSTEP_ACTOR", "ann@example.org")
        .env("LOCKSTEP_TOKEN", "secret-token")
        .output()
        .expect("the binary starts")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("the process was not killed")
}

fn problem(status: u16, code: &str, detail: &str, hint: &str) -> Reply {
    let body = json!({ "status": status, "code": code, "title": code, "detail": detail, "hint": hint });
    Reply::json(status, &body)
}

fn summary(name: &str, services: u64) -> Value {
    json!({
        "name": name,
        "settings": {
            "accepts_from": "created",
            "strategy": { "strategy": "all_at_once" },
            "warm_ms": 1_800_000,
            "gateway_port": 8500,
        },
        "baseline": 3,
        "services": services,
        "operation": null,
    })
}

fn entry(version: &str) -> Value {
    json!({ "version": version, "config": 0 })
}

fn plan() -> Value {
    json!({
        "parent": 17,
        "target": { "orders": entry("1.4.0") },
        "strategy": { "strategy": "canary", "steps": [
            { "weight": 500, "bake_ms": 1000 }, { "weight": 10_000, "bake_ms": 1000 },
        ] },
        "waves": [[{
            "service": "orders",
            "from": entry("1.3.2"),
            "to": entry("1.4.0"),
            "readiness": "cold",
            "reasons": [{ "reason": "asked" }],
        }]],
        "warnings": ["no requests were seen yet"],
    })
}

fn operation(phase: &Value) -> Value {
    json!({
        "id": 12,
        "environment": "production",
        "actor": "ann@example.org",
        "intent": { "intent": "deploy", "versions": ["orders@1.4.0"] },
        "plan": plan(),
        "begun": 1_000,
        "phase": phase,
    })
}

fn preparing() -> Value {
    operation(&json!({ "phase": "preparing", "wave": 0, "since": 1_000 }))
}

fn done() -> Value {
    operation(&json!({ "phase": "done", "baseline": 18, "at": 5_200 }))
}

fn reverted() -> Value {
    operation(&json!({ "phase": "reverted", "cause": "5 of 100 requests failed", "at": 5_200 }))
}

fn events() -> Vec<Value> {
    let recorded = |seq: u64, mut event: Value| {
        event["seq"] = seq.into();
        event["at"] = (1_000 + seq).into();
        event["actor"] = "lockstep".into();
        event
    };
    vec![
        recorded(1, json!({ "event": "operation_begun", "operation": preparing() })),
        recorded(
            2,
            json!({ "event": "wave_prepared", "operation": 12, "environment": "production", "wave": 0 }),
        ),
        recorded(
            3,
            json!({
                "event": "wave_shifted", "operation": 12, "environment": "production", "wave": 0, "step": 0,
                "reason": "healthy",
            }),
        ),
    ]
}

const OPERATE: &str = "POST /api/v1/environments/production/operations";
const OPERATION: &str = "GET /api/v1/operations/12";
const EVENTS: &str = "GET /api/v1/operations/12/events";

/// A server on which a deployment ends as `end` says.
fn deploying(end: &Value) -> FakeServer {
    FakeServer::start(vec![
        (OPERATE, Reply::json(200, &json!({ "plan": plan(), "operation": preparing() }))),
        (EVENTS, Reply::events(&events())),
        (OPERATION, Reply::json(200, end)),
    ])
}

const DEPLOY: [&str; 4] = ["deploy", "orders@1.4.0", "--env", "production"];

#[test]
fn a_deployment_that_is_done_says_what_is_live_and_how_to_go_back() {
    let server = deploying(&done());
    let output = lockstep(&server.url(), &DEPLOY);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(
        out(&output),
        "done: production is at baseline 18 after 4.2 s\n  orders  1.3.2  ->  1.4.0\ngo back: lockstep undo production\n"
    );
    assert_eq!(
        err(&output),
        "warning: no requests were seen yet\n\
         operation 12 on production: deploy orders@1.4.0\n  \
         wave 1 of 1: preparing orders@1.4.0\n  \
         wave 1 of 1: 5 % of requests to orders@1.4.0 (healthy)\n"
    );
    let asked = server.asked(OPERATE);
    assert_eq!(asked.header("lockstep-actor"), Some("ann@example.org"));
    assert_eq!(asked.header("authorization"), Some("Bearer secret-token"));
    let intent = json!({ "intent": "deploy", "versions": ["orders@1.4.0"] });
    assert_eq!((&asked.json()["intent"], &asked.json()["mode"]), (&intent, &json!("execute")));
    assert_eq!(asked.json()["strategy"], Value::Null);
}

#[test]
fn a_deployment_that_was_taken_back_ends_with_code_1_and_the_cause() {
    let server = deploying(&reverted());
    let output = lockstep(&server.url(), &DEPLOY);
    assert_eq!((code(&output), out(&output).as_str()), (1, ""));
    let shown = err(&output);
    assert!(
        shown.contains("error: operation 12 (deploy orders@1.4.0) was taken back: 5 of 100 requests failed; production is still at baseline 17"),
        "{shown}"
    );
    assert!(shown.contains("hint: `lockstep watch 12`"), "{shown}");
}

#[test]
fn json_is_one_document_with_readable_times_and_an_error_is_one_on_standard_error() {
    let server = deploying(&done());
    let output = lockstep(&server.url(), &[&DEPLOY[..], &["--json"]].concat());
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["operation"]["begun"], "1970-01-01T00:00:01.000Z");
    assert_eq!(document["operation"]["phase"]["at"], "1970-01-01T00:00:05.200Z");
    assert_eq!(document["operation"]["plan"]["strategy"]["steps"][0]["bake_ms"], 1_000);
    assert_eq!(err(&output), "");

    let server = deploying(&reverted());
    let output = lockstep(&server.url(), &[&DEPLOY[..], &["--json"]].concat());
    assert_eq!(code(&output), 1);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["operation"]["phase"]["phase"], "reverted");
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["error"]["exit_code"], 1);
}

#[test]
fn a_dry_run_shows_the_plan_with_every_reason_and_asks_for_nothing_else() {
    let server =
        FakeServer::start(vec![(OPERATE, Reply::json(200, &json!({ "plan": plan(), "operation": null })))]);
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
}

#[test]
fn no_wait_returns_with_the_number_of_the_operation() {
    let server = deploying(&done());
    let output = lockstep(&server.url(), &[&DEPLOY[..], &["--no-wait"]].concat());
    assert_eq!(
        out(&output),
        "operation 12 on production began: deploy orders@1.4.0\nfollow it: lockstep watch 12\n"
    );
    assert_eq!(server.count(EVENTS), 0);
}

#[test]
fn waiting_survives_a_stream_that_breaks_and_tells_nothing_twice() {
    let events = events();
    let server = FakeServer::start(vec![
        (OPERATE, Reply::json(200, &json!({ "plan": plan(), "operation": preparing() }))),
        (EVENTS, Reply::events(&events[..2])),
        (OPERATION, Reply::json(200, &preparing())),
        (EVENTS, Reply::Hangup),
        (EVENTS, Reply::events(&events)),
        (OPERATION, Reply::json(200, &done())),
    ]);
    let output = lockstep(&server.url(), &DEPLOY);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(err(&output).matches("preparing orders@1.4.0").count(), 1, "{}", err(&output));
    assert_eq!(server.count(EVENTS), 3);
}

#[test]
fn ctrl_c_while_waiting_says_that_the_operation_goes_on() {
    let server = FakeServer::start(vec![
        (OPERATE, Reply::json(200, &json!({ "plan": plan(), "operation": preparing() }))),
        (EVENTS, Reply::events_without_end(&events())),
    ]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(DEPLOY)
        .env_clear()
        .env("LOCKSTEP_SERVER", server.url())
        .env("USER", "ann")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("5 % of requests")), "the command waits");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let rest: Vec<_> = lines.collect();
    assert_eq!(
        rest,
        [
            "",
            "operation 12 goes on without this command",
            "  follow it:    lockstep watch 12",
            "  take it back: lockstep undo production",
        ]
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn watch_writes_an_event_a_line() {
    let server = FakeServer::start(vec![
        (OPERATION, Reply::json(200, &done())),
        (EVENTS, Reply::events(&events())),
        (OPERATION, Reply::json(200, &done())),
    ]);
    let output = lockstep(&server.url(), &["watch", "12", "--json"]);
    let lines: Vec<Value> = out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[2]["event"], &lines[2]["at"]),
        (&json!("wave_shifted"), &json!("1970-01-01T00:00:01.003Z"))
    );
    assert_eq!(code(&output), 0);
}

#[test]
fn undo_of_an_operation_under_way_is_done_when_it_is_taken_back() {
    let server = FakeServer::start(vec![
        (OPERATE, Reply::json(200, &json!({ "plan": null, "operation": preparing() }))),
        (EVENTS, Reply::events(&events())),
        (OPERATION, Reply::json(200, &reverted())),
    ]);
    let output = lockstep(&server.url(), &["undo", "--env", "production"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(
        out(&output),
        "done: operation 12 was taken back; production is still at baseline 17 after 4.2 s\n"
    );
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
fn every_kind_of_refusal_has_its_exit_code() {
    let cases = [
        (400, "bad_request", 2),
        (401, "unauthorized", 7),
        (403, "forbidden", 7),
        (404, "not_found", 4),
        (409, "conflict", 6),
        (413, "too_large", 2),
        (422, "refused", 3),
        (500, "internal", 70),
        (503, "unavailable", 5),
    ];
    for (status, name, expected) in cases {
        let server = FakeServer::start(vec![(OPERATE, problem(status, name, "no", "lockstep status"))]);
        let output = lockstep(&server.url(), &DEPLOY);
        assert_eq!((code(&output), out(&output).as_str()), (expected, ""), "{name}");
        assert_eq!(err(&output), "error: no\nhint: lockstep status\n", "{name}");
    }
}

#[test]
fn every_part_of_a_refusal_is_shown_with_its_place() {
    let body = json!({
        "status": 422, "code": "refused", "title": "refused", "detail": "the manifest has 2 problems",
        "problems": [
            { "detail": "unknown field", "file": "lockstep.toml", "line": 3, "field": "run.prot", "hint": "did you mean `port`?" },
            { "detail": "missing", "file": "lockstep.toml", "line": 9 },
        ],
    });
    let server = FakeServer::start(vec![("POST /api/v1/services/orders/releases", Reply::json(422, &body))]);
    let output = lockstep(&server.url(), &["release", "orders"]);
    assert_eq!(code(&output), 3);
    assert_eq!(
        err(&output),
        "error: the manifest has 2 problems\n  - lockstep.toml:3: `run.prot`: unknown field\n    hint: did you mean `port`?\n  - lockstep.toml:9: missing\n"
    );
}

#[test]
fn without_a_server_the_hint_is_to_start_one() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = lockstep(&format!("http://{free}"), &["services"]);
    assert_eq!(code(&output), 5);
    assert!(err(&output).contains("hint: start one with `lockstep server`"), "{}", err(&output));
}

#[test]
fn another_program_on_the_port_is_not_taken_for_a_server() {
    let server = FakeServer::start(vec![("GET /api/v1/services", Reply::text(200, "<html>hello</html>"))]);
    let output = lockstep(&server.url(), &["services"]);
    assert_eq!(code(&output), 70);
    assert!(err(&output).contains("is that a Lockstep server"), "{}", err(&output));
}

fn build(state: &str) -> Value {
    let over = state != "running";
    json!({
        "id": "b7", "service": "orders", "state": state, "reference": "main", "actor": "ann", "requested": 1_000,
        "ended": if over { json!(3_500) } else { Value::Null },
        "phases": [
            { "name": "check", "began": 1_000, "duration_ms": 20 },
            { "name": "test unit", "began": 1_020, "duration_ms": if over { json!(900) } else { Value::Null } },
        ],
        "problem": if state == "failed" {
            json!({ "status": 422, "code": "refused", "title": "refused", "detail": "2 of 9 unit tests failed" })
        } else { Value::Null },
        "revision": if over { 2 } else { 1 },
    })
}

const RELEASE: &str = "POST /api/v1/services/orders/releases";
const BUILD: &str = "GET /api/v1/builds/b7";
const BUILD_EVENTS: &str = "GET /api/v1/builds/b7/events";

#[test]
fn a_build_that_fails_ends_with_code_1_and_says_where_its_log_is() {
    let server = FakeServer::start(vec![
        (RELEASE, Reply::json(200, &build("running"))),
        (BUILD_EVENTS, Reply::events(&[build("running"), build("failed")])),
        (BUILD, Reply::json(200, &build("failed"))),
    ]);
    let output = lockstep(&server.url(), &["release", "orders", "--ref", "main", "--bump", "minor", "--tag"]);
    assert_eq!((code(&output), out(&output).as_str()), (1, ""));
    assert_eq!(
        err(&output),
        "build b7 of orders from main\n  check        20 ms\n  test unit    900 ms\n\
         error: build b7 of orders failed: 2 of 9 unit tests failed\nhint: lockstep logs b7\n"
    );
    let asked = server.asked(RELEASE).json();
    assert_eq!(
        (&asked["reference"], &asked["bump"], &asked["tag"]),
        (&json!("main"), &json!("minor"), &json!("tag"))
    );
}

#[test]
fn notes_and_documents_are_sent_with_their_text() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (notes, design) = (write("notes.md", "better"), write("design.md", "# Design"));
    let server = FakeServer::start(vec![(RELEASE, Reply::json(200, &build("running")))]);
    let document = format!("design={design}");
    let arguments = ["release", "orders", "--notes", &notes, "--document", &document, "--no-wait"];
    assert_eq!(code(&lockstep(&server.url(), &arguments)), 0);
    let asked = server.asked(RELEASE).json();
    assert_eq!(asked["notes"], "better");
    assert_eq!(
        asked["documents"],
        json!([{ "kind": "design", "file_name": "design.md", "content": "# Design" }])
    );

    let missing = lockstep(&server.url(), &["release", "orders", "--notes", "no/such/file"]);
    assert_eq!(code(&missing), 2);
    assert!(err(&missing).contains("cannot read `no/such/file`"), "{}", err(&missing));
}

#[test]
fn logs_find_an_instance_where_no_build_has_the_id() {
    let instance = json!({
        "id": "orders-1.4.0-a", "environment": "production", "state": { "state": "healthy" }, "address": null,
        "arm": { "service": "orders", "version": "1.4.0", "config": 0 }, "since": 1_000, "restarts": 0,
    });
    let mut view = summary("production", 1);
    view["gateway"] = json!("http://127.0.0.1:8500");
    view["baseline_since"] = json!(1_000);
    view["holds"] = json!([]);
    view["gateways"] = json!([]);
    view["services"] = json!([{
        "service": "orders", "entry": entry("1.4.0"), "replicas": 1, "instances": [instance], "arms": [], "warm": [],
    }]);
    let log = "GET /api/v1/environments/production/instances/orders-1.4.0-a/log?follow=false";
    let server = FakeServer::start(vec![
        (
            "GET /api/v1/builds/orders-1.4.0-a/log?follow=false",
            problem(404, "not_found", "no such build", "x"),
        ),
        ("GET /api/v1/environments", Reply::json(200, &json!([summary("production", 1)]))),
        ("GET /api/v1/environments/production", Reply::json(200, &view)),
        (log, Reply::text(200, "hello\nworld")),
    ]);
    let output = lockstep(&server.url(), &["logs", "orders-1.4.0-a", "--json"]);
    assert_eq!(out(&output), "{\"line\":\"hello\"}\n{\"line\":\"world\"}\n", "{}", err(&output));
}

#[test]
fn a_tampered_journal_ends_with_code_1_and_names_the_record() {
    let report =
        json!({ "records": 41, "last_hash": null, "tampered": { "seq": 42, "what": "it was altered" } });
    let server = FakeServer::start(vec![("GET /api/v1/journal/verify", Reply::json(200, &report))]);
    let output = lockstep(&server.url(), &["journal", "verify"]);
    assert_eq!(code(&output), 1);
    assert!(
        err(&output).starts_with("error: record 42 is not as it was written: it was altered\n"),
        "{}",
        err(&output)
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let long = "x".repeat(1024 * 1024);
    let server = FakeServer::start(vec![("GET /api/v1/builds/b7/log?follow=false", Reply::text(200, &long))]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["logs", "b7"])
        .env_clear()
        .env("LOCKSTEP_SERVER", server.url())
        .env("USER", "ann")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
}

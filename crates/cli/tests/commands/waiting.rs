//! Waiting for an operation: progress, the last words, JSON, a stream that breaks, Ctrl-C.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::fake::{FakeServer, Reply};
use crate::fixtures::{
    DEPLOY, EVENTS, OPERATE, OPERATION, deploying, done, events, plan, preparing, reverted,
};
use crate::{code, err, lockstep, out};

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
        shown.contains("error: operation 12 (deploy orders@1.4.0) was taken back: 5 of 100 requests failed; its services in production are as in baseline 17"),
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
        // What a proxy says while the server behind it is away.
        (EVENTS, Reply::Answer(502, "text/html", b"<h1>502 Bad Gateway</h1>".to_vec())),
        (EVENTS, Reply::events(&events)),
        (OPERATION, Reply::json(200, &done())),
    ]);
    let output = lockstep(&server.url(), &DEPLOY);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(err(&output).matches("preparing orders@1.4.0").count(), 1, "{}", err(&output));
    assert_eq!(server.count(EVENTS), 4);
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
            "  take it back: lockstep undo production --operation 12",
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
        "done: operation 12 was taken back; its services in production are as in baseline 17 after 4.2 s\n"
    );
}

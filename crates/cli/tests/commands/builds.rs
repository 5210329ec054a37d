//! Builds, and the logs of builds and instances.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::fake::{FakeServer, Reply};
use crate::fixtures::{RELEASE, problem, summary};
use crate::{code, err, lockstep, out};

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
    let elsewhere = "GET /api/v1/environments/staging/instances/orders-1.4.0-a/log?follow=false";
    let log = "GET /api/v1/environments/production/instances/orders-1.4.0-a/log?follow=false";
    let server = FakeServer::start(vec![
        (
            "GET /api/v1/builds/orders-1.4.0-a/log?follow=false",
            problem(404, "not_found", "no such build", "x"),
        ),
        (
            "GET /api/v1/environments",
            Reply::json(200, &json!([summary("staging", 1), summary("production", 1)])),
        ),
        (elsewhere, problem(404, "not_found", "no such instance", "x")),
        (log, Reply::text(200, "hello\nworld")),
    ]);
    let output = lockstep(&server.url(), &["logs", "orders-1.4.0-a", "--json"]);
    assert_eq!(out(&output), "{\"line\":\"hello\"}\n{\"line\":\"world\"}\n", "{}", err(&output));
}

#[test]
fn a_log_that_is_nowhere_may_be_gone_and_it_is_said_how_long_logs_are_kept() {
    let server = FakeServer::start(vec![
        (
            "GET /api/v1/builds/orders-1.4.0-a/log?follow=false",
            problem(404, "not_found", "no such build", "x"),
        ),
        ("GET /api/v1/environments", Reply::json(200, &json!([summary("staging", 1)]))),
        (
            "GET /api/v1/environments/staging/instances/orders-1.4.0-a/log?follow=false",
            problem(404, "not_found", "no such instance", "x"),
        ),
    ]);
    let output = lockstep(&server.url(), &["logs", "orders-1.4.0-a"]);
    assert_eq!(code(&output), 4, "{}", err(&output));
    assert!(err(&output).contains("or its log is gone"), "{}", err(&output));
    assert!(
        err(&output).contains("the 20 instances that ended last are kept, 64 MiB in all"),
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

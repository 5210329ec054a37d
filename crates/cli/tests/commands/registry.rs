//! Contracts out of a schema registry: a small one answers here as the real one does.

use std::process::Output;

use serde_json::{Value, json};

use crate::fake::{FakeServer, Reply};
use crate::{code, err, lockstep, out};

const ORDER: &str =
    r#"{"type":"record","name":"shop.Order","fields":[{"name":"total","type":"shop.Money"}]}"#;
const MONEY: &str = r#"{"type":"record","name":"shop.Money","fields":[{"name":"cents","type":"long"}]}"#;

fn entry(schema: &str, references: &Value) -> Reply {
    Reply::json(
        200,
        &json!({"subject": "s", "id": 1, "version": 1, "schema": schema, "references": references}),
    )
}

/// The server of Lockstep is nobody here: a registry is asked without it.
fn ask(registry: &FakeServer, arguments: &[&str]) -> Output {
    let url = registry.url();
    let all: Vec<&str> =
        ["contract", "registry", &url].into_iter().chain(arguments.iter().copied()).collect();
    lockstep("http://127.0.0.1:1", &all)
}

#[test]
fn a_schema_comes_with_those_that_it_refers_to() {
    let references = json!([{"name": "shop.Money", "subject": "money", "version": 3}]);
    let first = "GET /subjects/orders%2Fa-value/versions/latest";
    let server = FakeServer::start(vec![
        (first, entry(ORDER, &references)),
        ("GET /subjects/money/versions/3", entry(MONEY, &json!([]))),
    ]);
    let output = ask(&server, &["orders/a-value"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let printed: Value = serde_json::from_str(&out(&output)).expect("a schema");
    assert_eq!(printed["fields"][0]["type"]["name"], "shop.Money");
    assert_eq!(
        server.asked(first).header("authorization"),
        None,
        "the token of Lockstep is none of its business"
    );
}

#[test]
fn what_is_no_answer_of_a_registry_says_so() {
    for (reply, words) in [
        (
            Reply::json(404, &json!({"error_code": 40401, "message": "Subject not found."})),
            "it has no version 7 of this subject",
        ),
        (Reply::json(401, &json!({"message": "Unauthorized"})), "--user-file"),
        (Reply::json(500, &json!({})), "it answered 500"),
        (Reply::text(200, "<html>"), "its answer is not that of a schema registry"),
        (Reply::Hangup, "closed the connection without an answer"),
    ] {
        let server = FakeServer::start(vec![("GET /subjects/a/versions/7", reply)]);
        let output = ask(&server, &["a", "--version", "7"]);
        assert_ne!(code(&output), 0);
        assert!(out(&output).is_empty());
        assert!(err(&output).contains(words), "{words}: {}", err(&output));
    }
    let server = FakeServer::start(Vec::new());
    assert_eq!(code(&ask(&server, &["a", "--version", "../../x"])), 2);
}

#[test]
fn references_that_go_in_circles_end() {
    let again = json!([{"name": "shop.Money", "subject": "money", "version": 1}]);
    let server = FakeServer::start(vec![
        ("GET /subjects/a/versions/latest", entry(ORDER, &again)),
        ("GET /subjects/money/versions/1", entry(MONEY, &again)),
    ]);
    assert_eq!(code(&ask(&server, &["a"])), 0);
}

//! What a person sees, and the exit code, when something is not done.

use serde_json::json;

use crate::fake::{FakeServer, Reply};
use crate::fixtures::{DEPLOY, OPERATE, problem};
use crate::{code, err, lockstep, out};

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
fn a_command_line_that_is_not_understood_is_told_in_json_to_who_asked_for_it() {
    let output = lockstep("http://127.0.0.1:9", &["promote", "staging", "--json"]);
    assert_eq!((code(&output), out(&output).as_str()), (2, ""));
    let told: serde_json::Value = serde_json::from_str(&err(&output)).unwrap();
    assert_eq!(told["error"]["exit_code"], 2);
    assert_eq!(told["error"]["detail"], "the following required arguments were not provided:\n  <TO>");
    let output = lockstep("http://127.0.0.1:9", &["show", "Orders!@1", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&err(&output)).unwrap();
    let detail = told["error"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("invalid value 'Orders!@1'") && !detail.contains("--help"), "{detail}");
    // For people it stays as it is, and help is no failure.
    assert!(
        err(&lockstep("http://127.0.0.1:9", &["promote", "staging"])).contains("Usage: lockstep promote")
    );
    let help = lockstep("http://127.0.0.1:9", &["rollback", "--help", "--json"]);
    assert_eq!(code(&help), 0);
    assert!(out(&help).contains("Examples:"));
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

#[test]
fn a_proxy_that_finds_no_server_is_told_from_a_server_that_fails() {
    for status in [502, 503, 504] {
        let page = Reply::Answer(status, "text/html", b"<h1>Bad Gateway</h1>".to_vec());
        let server = FakeServer::start(vec![("GET /api/v1/services", page)]);
        let output = lockstep(&server.url(), &["services"]);
        assert_eq!(code(&output), 5);
        let said = format!(
            "error: what stands before the server at {} answered {status} in its place\nhint: is the server running there",
            server.url()
        );
        assert!(err(&output).starts_with(&said), "{}", err(&output));
    }
}

#[test]
fn a_proxy_that_lets_nothing_so_large_through_is_told_from_the_server() {
    let page = Reply::Answer(413, "text/html", b"<h1>Request Entity Too Large</h1>".to_vec());
    let server = FakeServer::start(vec![("GET /api/v1/services", page)]);
    let output = lockstep(&server.url(), &["services"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("lets nothing so large through"), "{}", err(&output));
    assert!(err(&output).contains("client_max_body_size"), "{}", err(&output));
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

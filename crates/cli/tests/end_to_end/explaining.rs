//! What is said of requests and tables without a server: by exit codes and JSON.

use std::process::{Command, Output};

use serde_json::{Value, json};

fn lockstep(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lockstep")).args(arguments).output().unwrap()
}

fn table() -> Value {
    let endpoints = json!([{ "instance": "orders-1", "address": "127.0.0.1:9001" }]);
    let split = json!({ "version": "1.0.0", "config": 0, "weight": 10_000, "role": "stable", "endpoints": endpoints });
    json!({ "format": 8, "environment": "production", "revision": 1, "baseline": 0,
        "routes": [{ "path": "/orders", "service": "orders", "when": { "methods": ["GET"] } },
            { "path": "/gone", "service": "orders", "then": { "respond": { "status": 503 } } }],
        "services": { "orders": { "salt": "orders", "splits": [split] } } })
}

#[test]
fn a_request_is_explained_and_a_table_checked_from_a_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, table: &Value| -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, table.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = write("good.json", &table());
    for (method, path, code, result) in [
        ("GET", "/orders/%37", 0, json!({ "result": "served", "path": "/orders/7", "version": "1.0.0" })),
        ("POST", "/orders/7", 3, json!({ "result": "refused", "code": "no_route", "status": 404 })),
        ("GET", "/gone", 0, json!({ "result": "answered", "code": "respond", "status": 503 })),
        ("GET", "/..", 3, json!({ "result": "refused", "code": "bad_path", "status": 400 })),
    ] {
        let address = format!("https://shop.test{path}");
        let ended = lockstep(&["explain", method, &address, "--table", &good, "--json"]);
        assert_eq!(ended.status.code(), Some(code), "{method} {path}: {ended:?}");
        let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
        for (name, value) in result.as_object().unwrap() {
            assert_eq!(&told["outcome"][name], value, "{method} {path}: {told}");
        }
    }
    assert_eq!(lockstep(&["explain", "GET", "shop.test", "--table", &good]).status.code(), Some(2));
    assert_eq!(lockstep(&["gateway", "check", &good]).status.code(), Some(0));
    let mut wrong = table();
    wrong["services"]["orders"]["splits"][0]["weight"] = json!(1);
    wrong["routes"][0]["when"]["methods"] = json!(["get"]);
    let wrong = write("wrong.json", &wrong);
    let ended = lockstep(&["gateway", "check", &wrong]);
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("`services.orders.splits`") && said.contains("`routes[0]`"), "{said}");
    assert_eq!(lockstep(&["explain", "GET", "http://a/", "--table", &wrong]).status.code(), Some(2));
}

//! What is said of requests and tables without a server: by exit codes and JSON.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{manifest, service};

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

#[test]
fn a_request_is_explained_before_and_after_a_table_that_is_only_written() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, table: &Value| -> String {
        let path = folder.path().join(name);
        std::fs::write(&path, table.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut then = table();
    then["services"]["orders"]["splits"][0]["version"] = json!("1.1.0");
    then["routes"][1]["then"]["respond"]["status"] = json!(410);
    let (now, then) = (write("now.json", &table()), write("then.json", &then));
    let explain = |path: &str, json: bool| {
        let address = format!("http://shop.test{path}");
        let mut arguments = vec!["explain", "GET", &address, "--table", &now, "--after", &then];
        arguments.extend(json.then_some("--json"));
        let ended = lockstep(&arguments);
        (ended.status.code(), String::from_utf8(ended.stdout).unwrap())
    };
    let (code, text) = explain("/orders/7", true);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &told["now"]["outcome"]["version"]), (Some(0), &json!("1.0.0")), "{told}");
    assert_eq!(told["planned"]["outcome"]["version"], "1.1.0");
    let differs: Vec<_> = told["differs"].as_array().unwrap().iter().map(|it| &it["about"]).collect();
    assert!(differs.contains(&&json!("outcome")) && !differs.contains(&&json!("route")), "{told}");
    let (_, text) = explain("/orders/7", false);
    assert!(text.contains("after the table in") && text.contains("what differs:"), "{text}");
    assert!(explain("/gone", false).1.contains("the gateway answers 503 respond\n         -> "), "{text}");
    let (code, text) = explain("/none", false);
    assert_eq!(code, Some(3));
    assert!(text.contains("nothing differs for this request"), "{text}");
}

#[test]
fn a_request_is_explained_before_and_after_a_deployment_that_nobody_has_begun() {
    let place = Place::begin();
    let store = place.repository("store");
    store.write("lockstep.toml", &manifest("store", "", ""));
    store.write("service.py", &service("one"));
    let one = place.first_release(&store, "store");
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    store.write("lockstep.toml", &manifest("store", "", "[[route]]\npath = \"/new\"\n"));
    store.commit("feat: two");
    let two = place.release("store");
    let explain = |path: &str| {
        let address = format!("http://shop.test{path}");
        let arguments = ["explain", "GET", &address, "--env", ENVIRONMENT, "--with", &two];
        arguments.map(str::to_owned)
    };
    let kept = explain("/store");
    let told = place.json(&kept.each_ref().map(String::as_str));
    assert_eq!(told["now"]["outcome"]["version"], one[6..], "{told}");
    assert_eq!(told["planned"]["outcome"]["version"], two[6..], "{told}");
    assert_eq!(told["planned"]["outcome"]["result"], "served", "also where nothing runs yet: {told}");
    let added = place.run(&explain("/new").each_ref().map(String::as_str));
    assert!(added.contains(&format!("after lockstep deploy {two} --env {ENVIRONMENT}")), "{added}");
    assert!(added.contains("-> route 2 of 2, */new") && added.contains("404 no_route"), "{added}");
    assert_eq!(place.ask("/new").0, 404, "nothing was changed");
    let unknown = ["explain", "GET", "http://shop.test/", "--env", ENVIRONMENT, "--with", "store@9.9.9"];
    assert!(place.fail(&unknown, 4).contains("9.9.9"));
}

//! The whole life of a version with the real binary: a real server, a real git repository, real instances, real requests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod place;

use std::time::{Duration, Instant};

use place::Place;
use serde_json::Value;

const MANIFEST: &str = r#"name = "hello"
owner = "team-hello"

[[test]]
kind = "unit"
run = "python3 -m py_compile service.py"

[run]
command = "python3 service.py"
health = { http = "/health" }

[[route]]
path = "/hello"
"#;

fn service(text: &str) -> String {
    format!(
        "import http.server, os\n\
         class Handler(http.server.BaseHTTPRequestHandler):\n    \
             protocol_version = 'HTTP/1.1'\n    \
             def do_GET(self):\n        \
                 body = ('{text} ' + os.environ.get('GREETING', 'plain')).encode()\n        \
                 self.send_response(200)\n        \
                 self.send_header('Content-Length', str(len(body)))\n        \
                 self.end_headers()\n        \
                 self.wfile.write(body)\n\
         http.server.ThreadingHTTPServer((os.environ['HOST'], int(os.environ['PORT'])), Handler).serve_forever()\n"
    )
}

/// Reads a field of a JSON document by its path.
fn at<'v>(value: &'v Value, pointer: &str) -> &'v Value {
    value.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in {value:#}"))
}

fn version_of(build: &Value) -> String {
    format!("hello@{}", at(build, "/version").as_str().unwrap())
}

#[test]
fn a_version_goes_from_git_to_production_and_back() {
    let place = Place::begin();
    place.write("lockstep.toml", MANIFEST);
    place.write("service.py", &service("one"));
    place.commit("feat: say one");
    place.run(&["check", place.repository()]);

    // The first version, through staging to production.
    place.run(&["service", "add", place.repository()]);
    let one = version_of(&place.json(&["release", "hello"]));
    place.run(&["environment", "set", "staging", "--stay", "30d"]);
    place.run(&["deploy", &one, "--env", "staging"]);
    assert_eq!(place.get("staging"), "one plain");
    let early = place.fail(&["promote", "staging", "production"], 3);
    assert!(early.contains(&format!("staging has run {one} for")), "{early}");
    place.run(&["environment", "set", "staging", "--stay", "500ms"]);
    let promoted = place.run(&["promote", "staging", "production", "--strategy", "all-at-once"]);
    assert!(promoted.contains("done: production is at baseline 1"), "{promoted}");
    assert_eq!(place.get("production"), "one plain");
    place.run(&["environment", "set", "staging", "--stay", "0s"]);

    // A second one, by canary.
    place.write("service.py", &service("two"));
    place.commit("feat: say two");
    let two = version_of(&place.json(&["release", "hello"]));
    assert_ne!(one, two);
    place.run(&["deploy", &two, "--env", "staging"]);
    let plan = place.run(&["deploy", &two, "--env", "production", "--dry-run"]);
    assert!(plan.contains("nothing was changed"), "{plan}");
    let canary = ["deploy", &two, "--env", "production", "--steps", "50,100", "--bake", "200ms"];
    place.run(&[&canary[..], &["--no-wait"]].concat());
    let begun = Instant::now();
    let mut waits = String::new();
    while !waits.contains("--despite few-requests") && begun.elapsed() < Duration::from_secs(60) {
        waits = place.run(&["status", "production"]);
    }
    assert!(waits.contains("100 more requests") && waits.contains("--despite few-requests"), "{waits}");
    place.run(&["undo", "production"]);

    // Who asks is told what to type, and who answers stands in the record.
    let asked = place.fail(&[&canary[..], &["--without-evidence", "ask"]].concat(), 3);
    assert!(asked.contains("may it go on? lockstep accept"), "{asked}");
    let id = place.json(&["status", "production"])["operation"]["id"].to_string();
    let accept = ["accept", &id, "--despite", "few-requests", "--reason", "nobody is there", "--step"];
    let moved = place.fail(&[&accept[..], &["1.2"]].concat(), 6);
    assert!(moved.contains("is at step 1.1 now"), "{moved}");
    let accepted = place.run(&[&accept[..], &["1.1"]].concat());
    assert!(accepted.contains("could have missed"), "{accepted}");
    while place.json(&["status", "production"])["operation"]["phase"]["step"] != 1 {}
    while !place.run(&["status", "production"]).contains("--step 1.2") {}
    place.run(&[&accept[..], &["1.2"]].concat());
    place.run(&["watch", &id]);
    let history = place.json(&["history", "production"]);
    assert_eq!(history["baselines"][0]["accepted"].as_array().unwrap().len(), 2, "{history}");
    assert!(history["baselines"][0]["proof"].as_str().unwrap().contains("nobody is there"), "{history}");
    place.run(&["rollback", "production", "--to", "1"]);

    let unproven = place.run(&[&canary[..], &["--accept-unproven", "--release-holds"]].concat());
    assert!(unproven.contains("go back: lockstep undo production"), "{unproven}");
    assert!(unproven.contains("judged: ") && unproven.contains("passed, not proven"), "{unproven}");
    assert_eq!(place.get("production"), "two plain");

    // A configuration, which goes back with the baseline.
    place.run(&[
        "config",
        "set",
        "hello",
        "GREETING=loud",
        "--env",
        "production",
        "--strategy",
        "all-at-once",
    ]);
    assert_eq!(place.get("production"), "two loud");

    // Back: one service to a version, undone, and the environment to a baseline.
    let number = one.strip_prefix("hello@").unwrap();
    place.run(&["rollback", "hello", "--to", number, "--env", "production", "--strategy", "all-at-once"]);
    assert_eq!(place.get("production"), "one plain");
    let held = place.run(&["hold", "list", "production"]);
    assert!(held.contains(&two), "{held}");
    let refused = place.fail(&["deploy", &two, "--env", "production"], 3);
    assert!(refused.contains("held") && refused.contains("hint: "), "{refused}");
    place.run(&["undo", "production"]);
    assert_eq!(place.get("production"), "two loud");
    place.run(&["rollback", "production", "--to", "2", "--strategy", "all-at-once"]);
    assert_eq!(place.get("production"), "two plain");

    // What was done can be read.
    let history = place.json(&["history", "production"]);
    assert_eq!(at(&history, "/baselines").as_array().unwrap().len(), 9, "{history:#}");
    assert_eq!(at(&history, "/baselines/0/number"), 8);
    let diff = place.run(&["diff", "production", "4", "5"]);
    assert!(diff.contains("GREETING: not set -> loud"), "{diff}");
    let status = place.run(&["status", "production"]);
    assert!(status.contains("baseline 8") && status.contains("1 of 1"), "{status}");
    let shown = place.run(&["show", &two]);
    assert!(shown.contains("say two") && shown.contains("unit green"), "{shown}");
    assert!(place.run(&["journal", "verify"]).contains("as they were written"));
    let export = place.path("journal.jsonl");
    place.run(&["journal", "export", "--output", &export]);
    let records = std::fs::read_to_string(&export).unwrap();
    assert!(records.contains("passed, not proven"), "what a canary rests on is kept");
    place.run(&["journal", "verify", "--file", &export]);
    place.run(&["journal", "verify", "--data", &place.data()]);
    place.run(&["store", "gc", "--dry-run"]);

    // What does not exist is told apart from what is wrong.
    place.fail(&["show", "hello@9.9.9"], 4);
    place.fail(&["rollback", "production", "--to", "99"], 4);
}

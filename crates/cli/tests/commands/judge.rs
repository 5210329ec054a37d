//! The judge on recordings and before a rollout, with the real binary.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::{FakeServer, Reply};
use crate::{code, err, lockstep, out};

/// Where no server is.
const NOWHERE: &str = "http://127.0.0.1:9";

fn example(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/recordings");
    root.join(name).display().to_string()
}

fn recording(text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("orders.csv");
    std::fs::write(&path, text).unwrap();
    (folder, path.display().to_string())
}

fn document(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_recording_of_one_bad_route_fails_when_a_rollout_would_have() {
    let file = example("pay-fails.csv");
    let output = lockstep(NOWHERE, &["judge", "replay", &file]);
    assert_eq!(code(&output), 1, "{}", err(&output));
    let text = out(&output);
    assert!(text.contains("24 intervals of 10s, 1 without counters; 3 route classes and 3 bounds"), "{text}");
    assert!(text.contains("pay-fails new fails") && text.contains(" of POST /pay, old "), "{text}");
    assert!(err(&output).contains("is taken back"), "{}", err(&output));

    let output = lockstep(NOWHERE, &["judge", "replay", &file, "--json"]);
    let report = document(&output);
    assert_eq!((code(&output), &report["last"]["verdict"]), (1, &json!("fail")));
    assert_eq!(report["last"], report["changes"].as_array().unwrap().last().unwrap().clone());
    let faults = report["last"]["judgement"]["verdict"]["fail"].as_array().unwrap();
    let pay = json!({"class": "POST /pay"});
    assert!(faults.iter().any(|fault| fault["worse"]["scope"] == pay), "{report:#}");
}

#[test]
fn a_recording_passes_or_stays_undecided_each_with_a_code_of_its_own() {
    let output = lockstep(NOWHERE, &["judge", "replay", &example("as-good.csv")]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).lines().last().unwrap().starts_with("pass after 6m40s: "), "{}", out(&output));
    let (_folder, file) = recording("interval,arm,weight,requests,5xx\n1,new,10,5,0\n1,old,10,45,0\n");
    let output = lockstep(NOWHERE, &["judge", "replay", &file]);
    assert_eq!(code(&output), 3);
    assert!(out(&output).contains("none after 10s: waiting for about 95 more requests"), "{}", out(&output));
    assert!(!out(&output).contains("--accept-unproven"), "there is no rollout to ask");
    let output = lockstep(NOWHERE, &["judge", "replay", &file, "--min-requests", "5"]);
    assert_eq!(code(&output), 0, "{}", out(&output));
}

#[test]
fn what_is_a_failure_is_said_by_option() {
    let (_folder, file) = recording(
        "interval,arm,weight,requests,404\n1,new,10,100,40\n1,old,10,900,2\n2,new,10,100,40\n2,old,10,900,2\n",
    );
    let lost = lockstep(NOWHERE, &["judge", "replay", &file]);
    assert_eq!(code(&lost), 0, "{}", out(&lost));
    assert!(out(&lost).contains("note: orders new answers 404 to 40 %"), "{}", out(&lost));
    let failing = lockstep(NOWHERE, &["judge", "replay", &file, "--failing", "5xx,none,404"]);
    assert_eq!(code(&failing), 1, "{}", out(&failing));
}

#[test]
fn all_mistakes_of_a_recording_are_told_with_file_line_and_column() {
    let (_folder, file) =
        recording("interval,arm,weight,requests,5xx\n1,new,5,50,51\nx,old,500,9,1\n2,both,,-1,0\n");
    let output = lockstep(NOWHERE, &["judge", "replay", &file, "--json"]);
    assert_eq!((code(&output), out(&output).as_str()), (2, ""));
    let error: Value = serde_json::from_slice(&output.stderr).unwrap();
    let problems = error["error"]["problems"].as_array().unwrap();
    let place = |it: &Value| (it["line"].as_u64().unwrap(), it["field"].as_str().unwrap().to_owned());
    let places: Vec<_> = problems.iter().map(place).collect();
    let expected = [(2, "5xx"), (3, "interval"), (3, "weight"), (4, "arm"), (4, "requests")];
    assert_eq!(places, expected.map(|(line, field)| (line, field.to_owned())));
    let output = lockstep(NOWHERE, &["judge", "replay", &file]);
    assert!(err(&output).contains("orders.csv:2: `5xx`"), "{}", err(&output));
    for (arguments, said) in [
        (["--tolerated", "0.5"], "`tolerated` is 0.5"),
        (["--alpha", "50%"], "`alpha` is 50 %"),
        (["--failing", "5XX"], "is not a class of answers"),
    ] {
        let good = example("as-good.csv");
        let output = lockstep(NOWHERE, &[&["judge", "replay", &good], &arguments[..]].concat());
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(err(&output).contains(said), "{}", err(&output));
    }
}

#[test]
fn a_forecast_needs_no_server_when_everything_is_typed() {
    let all =
        ["judge", "forecast", "--rps", "100", "--failures", "0.1%", "--weight", "5%", "--tolerated", "1"];
    let output = lockstep(NOWHERE, &all);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = out(&output);
    // The figure that `cargo xtask bench judge` holds.
    assert!(text.lines().any(|line| line.trim().starts_with("1 %") && line.contains(" 1m30s ")), "{text}");
    assert!(text.contains("without traffic nothing can be seen"), "{text}");
    let report = document(&lockstep(NOWHERE, &[&all[..], &["--json"]].concat()));
    assert_eq!(report["traffic"]["requests_an_hour"], json!(360_000));
    assert_eq!(report["forecasts"].as_array().unwrap().last().unwrap()["new"], json!(1_000_000));
    let missing = lockstep(NOWHERE, &["judge", "forecast", "--rps", "100"]);
    assert_eq!(code(&missing), 2);
    assert!(err(&missing).contains("--env"), "{}", err(&missing));
}

#[test]
fn nobody_is_told_that_a_version_will_be_found_that_nobody_asks() {
    let idle = ["judge", "forecast", "--rps", "0", "--failures", "0", "--weight", "5%"];
    let text = out(&lockstep(NOWHERE, &idle));
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("without traffic nothing can be seen: a version that fails everything"),
        "{text}"
    );
    assert!(!text.contains("WITHIN"), "{text}");
    let alone = ["judge", "forecast", "--rps", "10", "--failures", "0", "--weight", "100%"];
    assert!(out(&lockstep(NOWHERE, &alone)).contains("nothing is beside the new version"));
}

fn counted(counted_ms: u64, requests: u64) -> Value {
    json!({
        "service": "orders", "environment": "production", "version": "1.3.2",
        "counted_ms": counted_ms, "requests": requests,
        "of_version": {"requests": requests, "failures": requests / 1_000},
        "first_step": {"weight": 500, "bake_ms": 60_000},
    })
}

#[test]
fn a_forecast_is_made_of_what_the_gateways_counted() {
    let path = "GET /api/v1/environments/production/traffic/orders";
    let server = FakeServer::start(vec![(path, Reply::json(200, &counted(1_800_000, 180_000)))]);
    let ask = ["judge", "forecast", "orders", "--env", "production"];
    let output = lockstep(&server.url(), &ask);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let text = out(&output);
    assert!(
        text.starts_with(
            "orders 1.3.2 in production: 180000 requests in the last 30 min 0 s, 180 of the 180000 of 1.3.2 failed; the first step is 5 % for 1m\nforecast for 100 requests a second, 0.1 % of which fail usually"
        ),
        "{text}"
    );
    let row = |fails: &str| text.lines().find(|line| line.trim().starts_with(fails)).unwrap().to_owned();
    assert!(row("100 %").ends_with("most") && row("0.2 %").ends_with("fewer than half"), "{text}");
    let report = document(&lockstep(&server.url(), &[&ask[..], &["--weight", "20%", "--json"]].concat()));
    assert_eq!(report["traffic"]["weight"], json!(2_000));
    assert_eq!(report["counted"]["requests"], json!(180_000));
}

#[test]
fn a_server_that_has_only_begun_to_count_makes_no_rate_of_it() {
    let path = "GET /api/v1/environments/production/traffic/orders";
    let server = FakeServer::start(vec![(path, Reply::json(200, &counted(900, 40)))]);
    let ask = ["judge", "forecast", "orders", "--env", "production"];
    let output = lockstep(&server.url(), &ask);
    assert_eq!(code(&output), 3, "{}", out(&output));
    assert!(err(&output).contains("--rps"), "{}", err(&output));
    assert_eq!(code(&lockstep(&server.url(), &[&ask[..], &["--rps", "7"]].concat())), 0);
}

//! Checks that gateways make by themselves, from the manifest to the alert.

use std::fs;

use serde_json::Value;

use super::super::support::eventually;
use super::super::support::place::{ENVIRONMENT, Place};
use super::super::support::repository::{manifest, misbehaving};

const CHECK: &str = "
[[check]]
name = \"deep\"
request = \"GET /orders/deep\"
every = \"1s\"
expect = { status = 200, within = \"5s\", contains = \"deep\" }
";

fn check(place: &Place) -> Option<Value> {
    place.json(&["checks", "orders", "--env", ENVIRONMENT])[0]["gateways"][0]
        .as_object()
        .cloned()
        .map(Value::from)
}

#[test]
fn a_check_finds_a_fault_where_nobody_asks_with_the_change_before_it_and_is_no_request_of_anybody() {
    let place = Place::begin();
    let repository = place.deployed("orders");
    assert!(place.run(&["checks", "--env", ENVIRONMENT]).contains("no version that serves has a check"));
    let broken = place.path("broken");
    let fails = format!("status = 500 if os.path.exists('{broken}') else 200");
    repository.write("service.py", &misbehaving("deep", "pass", &fails));
    repository.write("lockstep.toml", &manifest("orders", "", CHECK));
    repository.commit("feat: a check");
    let second = place.release("orders");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    eventually("it passes", || check(&place).filter(|it| it["passed"].as_u64() >= Some(2)));
    let counted = place.run(&["metrics", "show"]);
    let of_second = |line: &&str| {
        line.starts_with("lockstep_service_requests_total") && line.contains(&second[second.len() - 5..])
    };
    let requests: f64 = counted
        .lines()
        .filter(of_second)
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(requests, 0.0, "{counted}");

    fs::write(&broken, "").unwrap();
    let alert = eventually("it is told", || {
        let output = place.command(&["alerts", "--json"]).output().unwrap();
        let list: Value = serde_json::from_slice(&output.stdout).ok()?;
        let mut alerts = list["alerts"].as_array()?.iter();
        alerts.find(|it| it["rule"] == "check-fails" && it["stage"] == "firing").cloned()
    });
    assert_eq!(alert["subject"]["check"], "deep", "{alert}");
    let detail = alert["detail"].as_str().unwrap();
    assert!(detail.starts_with("GET /orders/deep was answered 500 instead of 200 by orders@"), "{detail}");
    assert!(alert["change"]["what"].as_str().unwrap().contains(&format!("deploy {second}")), "{alert}");
    let shown = place.run(&["checks", "--env", ENVIRONMENT]);
    assert!(shown.contains("was answered 500 instead of 200") && shown.contains("in a row"), "{shown}");

    // What is closed on purpose is no fault: nothing is known of it.
    place.run(&["maintenance", "on", "orders", "--env", ENVIRONMENT]);
    eventually("nothing is concluded", || {
        let output = place.command(&["alerts", "--json"]).output().unwrap();
        let list: Value = serde_json::from_slice(&output.stdout).ok()?;
        let mut alerts = list["alerts"].as_array()?.iter();
        alerts.find(|it| it["rule"] == "check-fails" && it["unknown"].is_string()).map(|_| ())
    });
    place.run(&["maintenance", "off", "1", "--env", ENVIRONMENT]);
    fs::remove_file(&broken).unwrap();
    eventually("it passes again", || check(&place).filter(|it| it["failed_in_a_row"] == 0));
}

//! Rules of people.

use std::fs;

use serde_json::Value;

use super::super::support::eventually;
use super::super::support::place::{ENVIRONMENT, Place};

const SLOW: &str = r#"
[[rule]]
name = "orders-slow"
severity = "info"
service = "orders"
condition = { kind = "slow_share", above_percent = 0.001, slower_than_ms = 1, over_seconds = 60, at_least_slow = 1 }

[[rule]]
name = "way-back-lost"
enabled = false
condition = { kind = "way_back_lost" }
"#;

#[test]
fn a_rule_of_a_person_fires_one_that_is_wrong_is_refused_with_all_that_is_and_one_that_goes_leaves_the_built_in()
 {
    let place = Place::begin();
    place.deployed("orders");
    let file = place.path("rules.toml");
    let wrong = SLOW.replace("slower_than_ms = 1,", "slower_than_ms = 3,").replace("0.001", "200");
    fs::write(&file, wrong).unwrap();
    let refused = place.fail(&["alerts", "rules", "set", &file], 2);
    assert!(refused.contains("above_percent") && refused.contains("1, 2, 4, 8"), "{refused}");
    fs::write(&file, SLOW).unwrap();
    place.run(&["alerts", "rules", "set", &file, "--dry-run"]);
    assert!(!place.run(&["alerts", "rules"]).contains("orders-slow"), "it was only looked at");

    place.run(&["alerts", "rules", "set", &file, "--reason", "half a second is promised"]);
    let rules = place.json(&["alerts", "rules", "list"]);
    let of = |name: &str| rules.as_array().unwrap().iter().find(|it| it["name"] == name).cloned().unwrap();
    assert_eq!(
        (of("way-back-lost")["enabled"].as_bool(), of("failing")["built_in"].as_bool()),
        (Some(false), Some(true))
    );
    eventually("it fires", || {
        place.ask("/orders/slow");
        let output = place.command(&["alerts", "--json"]).output().unwrap();
        let list: Value = serde_json::from_slice(&output.stdout).ok()?;
        list["alerts"]
            .as_array()?
            .iter()
            .find(|it| it["rule"] == "orders-slow" && it["stage"] == "firing")
            .cloned()
    });

    // What is shown can be set again.
    fs::write(&file, place.run(&["alerts", "rules", "show", "orders-slow", "failing"])).unwrap();
    place.run(&["alerts", "rules", "set", &file]);
    place.run(&["alerts", "rules", "remove", "way-back-lost"]);
    let left = place.run(&["alerts", "rules"]);
    assert!(left.lines().any(|line| line.starts_with("way-back-lost") && line.contains("warning")), "{left}");
    place.fail(&["alerts", "rules", "remove", "unwatched"], 4);
    place.run(&["alerts", "rules", "remove", "orders-slow"]);
    let said = place.run(&["events", "--env", ENVIRONMENT]);
    assert!(!said.contains("half a second"), "a rule is of no environment: {said}");
    assert!(place.run(&["events"]).contains("half a second is promised"));
}

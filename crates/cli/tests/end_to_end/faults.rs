//! Faults on purpose: refused until the environment allows them, met by requests, and over at their end.

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};

#[test]
fn requests_meet_faults_only_where_they_are_allowed_and_until_they_end() {
    let place = Place::begin();
    place.deployed("store");
    let add = ["fault", "add", "store", "--abort", "503", "--env", ENVIRONMENT];
    let refused = place.fail(&add, 3);
    assert!(refused.contains("does not allow") && refused.contains("--fault-injection allow"), "{refused}");
    place.run(&["environment", "set", ENVIRONMENT, "--fault-injection", "allow"]);
    let none = place.run(&["fault", "list", "--env", ENVIRONMENT]);
    assert!(none.contains("it allows them"), "{none}");
    let added = place.run(&add);
    assert!(added.contains("abort with 503") && added.contains("store"), "{added}");
    let met = |status: u16| {
        eventually("the gateway knows", || (place.ask("/store").0 == status).then(|| place.ask("/store").1))
    };
    assert!(met(503).contains("injected_fault"));
    place.run(&["fault", "remove", "1", "--env", ENVIRONMENT]);
    met(200);
    place.run(&[&add[..], &["--for", "1h"]].concat());
    met(503);
    place.run(&["environment", "set", ENVIRONMENT, "--fault-injection", "refuse"]);
    met(200);
    let journal = place.run(&["journal", "export"]);
    assert_eq!(journal.matches("faults_changed").count(), 3, "added, removed, added");
    let unknown = place.fail(&["fault", "remove", "1", "--env", ENVIRONMENT], 4);
    assert!(unknown.contains("has no fault 1"), "{unknown}");
}

//! What a server knows of the requests of a service before a rollout of it begins.

use serde_json::json;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{manifest, service};

#[test]
fn a_forecast_counts_what_was_asked_and_a_service_that_does_not_run_has_none() {
    let place = Place::begin();
    let store = place.repository("store");
    store.write("lockstep.toml", &manifest("store", "", ""));
    store.write("service.py", &service("the store"));
    let version = place.first_release(&store, "store");
    let forecast = ["judge", "forecast", "store", "--env", ENVIRONMENT, "--rps", "10"];
    let refused = place.fail(&forecast, 4);
    assert!(refused.contains("does not run in"), "{refused}");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    for _ in 0..3 {
        assert_eq!(place.ask("/store").0, 200);
    }
    let counted = eventually("all are counted", || {
        let counted = place.json(&forecast)["counted"].clone();
        (counted["requests"] == json!(3)).then_some(counted)
    });
    assert_eq!(counted["of_version"], json!({"requests": 3, "failures": 0}));
    assert_eq!(format!("store@{}", counted["version"].as_str().unwrap()), version);
}

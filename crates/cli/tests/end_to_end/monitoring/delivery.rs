//! DORA's figures, of deployments that really happened.

use serde_json::Value;

use super::super::support::place::{ENVIRONMENT, Place};
use super::super::support::repository::misbehaving;

fn figure<'a>(view: &'a Value, name: &str) -> &'a Value {
    view["figures"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap()
}

#[test]
fn what_was_deployed_and_taken_back_makes_doras_five_figures_each_with_its_definition() {
    let place = Place::begin();
    let repository = place.deployed("orders");
    let first = place.status()["services"][0]["entry"]["version"].as_str().unwrap().to_owned();
    let next = |text: &str| {
        repository.write("service.py", &misbehaving(text, "pass", "pass"));
        repository.commit(&format!("feat: {text}"));
        let version = place.release("orders");
        place.run(&["deploy", &version, "--env", ENVIRONMENT]);
        version
    };
    let second = next("two");
    place.run(&["rollback", "orders", "--to", &first, "--env", ENVIRONMENT]);
    next("three");
    let view = place.json(&["metrics", "delivery", "--service", "orders", "--env", ENVIRONMENT]);
    assert_eq!(figure(&view, "deployment frequency")["counted"], 3, "{view}");
    assert!(
        (figure(&view, "change fail rate")["amount"]["share"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-9
    );
    assert_eq!(
        figure(&view, "deployment rework rate")["amount"],
        figure(&view, "change fail rate")["amount"]
    );
    let recovery = figure(&view, "failed deployment recovery time");
    assert!(recovery["amount"]["median_ms"].as_u64().unwrap() < 600_000, "{view}");
    // The first version, and each commit of the two others once: what is in production already is not new in the next version.
    let lead = figure(&view, "change lead time");
    assert!(lead["counted"].as_u64().unwrap() >= 3, "{view}");
    assert!(lead["amount"]["median_ms"].as_u64().unwrap() < 3_600_000, "{view}");

    let text = place.run(&["metrics", "delivery", "--env", ENVIRONMENT, "--since", "90d"]);
    assert!(text.contains("change fail rate") && text.contains("33 %"), "{text}");
    assert!(text.contains("hotfix/"), "the definition stands beside the number: {text}");
    let wrong = place.fail(&["metrics", "delivery", "--service", "nobody", "--env", ENVIRONMENT], 4);
    assert!(wrong.contains("nobody"), "{wrong} {second}");
}

//! The history that charts are drawn from, without a Prometheus.

use serde_json::Value;

use super::super::support::place::{ENVIRONMENT, Place};
use super::super::support::{self, processes};

fn points(view: &Value, figure: &str) -> Vec<Value> {
    let all = view["series"].as_array().unwrap();
    let of = all.iter().find(|it| it["figure"] == figure && it.get("version").is_none());
    of.map(|it| it["points"].as_array().unwrap().clone()).unwrap_or_default()
}

#[test]
fn what_a_service_did_is_kept_and_shown_also_after_the_server_was_killed() {
    let mut place = Place::begin();
    place.deployed("orders");
    let history = ["metrics", "history", "orders", "--env", ENVIRONMENT];
    assert!(place.run(&history).contains("nothing is known"));
    let seen = support::next_minute("requests are in a row", || {
        assert_eq!(place.ask("/orders").0, 200);
        let view = place.json(&history);
        points(&view, "requests").iter().any(|it| it["average"].as_f64() > Some(0.0)).then_some(view)
    });
    assert!(points(&seen, "latency-p99")[0]["average"].as_f64() > Some(0.0), "{seen}");
    assert!(points(&seen, "memory")[0]["average"].as_f64() > Some(1e6), "{seen}");
    let kept = points(&seen, "healthy");
    assert_eq!(kept[0]["average"], 1.0);

    place.kill_server();
    assert!(!processes::of_instances(&place.data()).is_empty(), "instances go on");
    place.start_server();
    let again = points(&place.json(&history), "healthy");
    assert_eq!(again[..kept.len()], kept[..], "what was kept is there");
    let shown = place.run(&["metrics", "history", "orders", "--figure", "requests", "--since", "10m"]);
    assert!(shown.contains("a second") && !shown.contains("memory"), "{shown}");
    assert!(place.run(&["metrics", "show"]).contains("lockstep_history_bytes"));
    let wrong = place.fail(&["metrics", "history", "orders", "--figure", "tempers"], 2);
    assert!(wrong.contains("latency-p99"), "{wrong}");
}

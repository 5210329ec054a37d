//! Charts out of a real Prometheus, and of the own history where that is away.

use serde_json::Value;

use super::super::support::place::{ENVIRONMENT, Place};
use super::super::support::secure::free_port;
use super::super::support::{self, eventually};
use super::Prometheus;

/// What only the Prometheus is to see.
const KEY: &str = "s3cret-word";

fn curve<'a>(view: &'a Value, figure: &str) -> Option<&'a Vec<Value>> {
    let all = view["series"].as_array()?;
    all.iter().find(|it| it["figure"] == figure && it.get("version").is_none())?["points"].as_array()
}

fn averages(view: &Value, figure: &str) -> Vec<f64> {
    let points = curve(view, figure).into_iter().flatten();
    points.map(|point| point["average"].as_f64().unwrap()).collect()
}

/// How many came in all.
fn sum(view: &Value, figure: &str) -> f64 {
    averages(view, figure).iter().sum::<f64>() * view["step_ms"].as_f64().unwrap() / 1_000.0
}

#[test]
fn charts_are_of_the_prometheus_that_is_named_and_of_the_own_history_while_it_is_away_and_say_so() {
    let port = free_port();
    let headers = ("LOCKSTEP_PROMETHEUS_HEADERS", format!("Authorization=Bearer%20{KEY}"));
    let labels = ("LOCKSTEP_PROMETHEUS_LABELS", "job=lockstep".to_owned());
    let address = format!("http://127.0.0.1:{port}");
    let place = Place::begin_asking(&["--prometheus", &address], vec![headers, labels]);
    place.deployed("orders");
    let history = ["metrics", "history", "orders", "--env", ENVIRONMENT, "--since", "10m"];
    let away = place.json(&history);
    assert_eq!(away["source"], "own");
    let reason = away["reason"].as_str().unwrap();
    assert!(reason.contains(&address) && reason.contains("was not used"), "{reason}");
    assert!(!away.to_string().contains(KEY), "{away}");

    let written = place.run(&["metrics", "prometheus"]);
    let prometheus = Prometheus::at(&place, &written, port);
    let (labels, _) = prometheus.asks("lockstep_service_requests_total");
    assert_eq!(labels["service_name"], "orders");
    let mut asked = 0.0;
    let seen = support::next_minute("the requests are in the chart of Prometheus", || {
        assert_eq!(place.ask("/orders").0, 200);
        asked += 1.0;
        let view = place.json(&history);
        (view["source"] == "prometheus"
            && sum(&view, "requests") > 0.0
            && curve(&view, "latency-p99").is_some())
        .then_some(view)
    });
    assert_eq!(seen.get("reason"), None, "{seen}");
    assert!(sum(&seen, "requests") <= asked * 1.2 + 1.0, "none is counted twice: {asked} {seen}");
    for (figure, most) in [
        ("healthy", 1.0),
        ("instances", 1.0),
        ("failures", 0.0),
        ("processors", 64.0),
        ("memory", 1e10),
        ("latency-p50", 65_536.0),
        ("latency-p95", 65_536.0),
        ("latency-p99", 65_536.0),
    ] {
        let values = averages(&seen, figure);
        assert!(!values.is_empty() && values.iter().all(|value| *value <= most), "{figure}: {seen}");
    }
    assert_eq!(averages(&seen, "healthy").last(), Some(&1.0), "{seen}");
    assert!(averages(&seen, "memory").last() > Some(&1e6), "{seen}");
    let of_version = seen["series"].as_array().unwrap().iter().filter(|it| it.get("version").is_some());
    assert!(of_version.count() >= 9, "each figure is there for the version as well: {seen}");
    let shown = place.run(&[&history[..], &["--figure", "requests"]].concat());
    assert!(shown.contains("out of Prometheus") && !shown.contains("memory"), "{shown}");

    drop(prometheus);
    let again = eventually("the own history is the answer", || {
        let view = place.json(&history);
        (view["source"] == "own").then_some(view)
    });
    assert!(curve(&again, "requests").is_some(), "it went on: {again}");
    assert!(place.run(&history).contains("was not used"), "people read it too");
}

#[test]
fn a_prometheus_that_is_named_wrongly_is_refused_at_the_start() {
    let place = Place::begin();
    let other = place.path("other");
    let refused = place.fail(&["server", "--data", &other, "--prometheus", "prometheus:9090"], 2);
    assert!(refused.contains("--prometheus") && refused.contains("http://prometheus:9090"), "{refused}");
}

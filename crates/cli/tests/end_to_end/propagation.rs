//! Who passes on for whom it calls, and who called what: as gateways saw it, by listeners and by names behind tokens.

use serde_json::Value;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::switching::Chain;

fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

/// What each caller of the answer does.
fn passing(found: &Value) -> Vec<(String, String)> {
    let of = |caller: &Value, key: &str| caller[key].as_str().unwrap().to_owned();
    let callers = found["callers"].as_array().unwrap().iter();
    callers.map(|caller| (of(caller, "service"), of(caller, "passes"))).collect()
}

fn pairs<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected.map(|(one, other)| (one.to_owned(), other.to_owned())).into()
}

/// Calls that are known, by who calls whom and what.
fn calls(place: &Place) -> Vec<(String, u64)> {
    let view = place.json(&["calls", ENVIRONMENT]);
    let of = |call: &Value| {
        let name = |arm: &str| call[arm]["service"].as_str().unwrap().to_owned();
        let text = format!("{} {} {}", name("caller"), name("callee"), call["operation"].as_str().unwrap());
        (text, call["requests"].as_u64().unwrap())
    };
    view["calls"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn who_passes_on_for_whom_it_calls_is_found_by_asking() {
    let mut chain = Chain::begin();
    let place = &chain.place;
    let unseen = place.json_ending(&["propagation", "check", ENVIRONMENT, "--seen"], 3);
    assert_eq!(passing(&unseen), pairs([("desk", "unknown"), ("hub", "unknown"), ("web", "unknown")]));
    assert_eq!(calls(place), []);

    let found = place.json_ending(&["propagation", "check", ENVIRONMENT, "--path", "/web/now"], 3);
    assert_eq!(passing(&found), pairs([("desk", "nothing"), ("hub", "trace"), ("web", "baggage")]));
    assert_eq!(found["asked"][0]["answers"]["200"], 5);
    let five = |text: &str| (text.to_owned(), 5);
    let each = ["desk hub GET /now", "hub store GET /now", "web desk GET /now"].map(five);
    assert_eq!(calls(place), each);

    // Only what was called meanwhile counts for a check; all of it for the baseline.
    let args = ["propagation", "check", ENVIRONMENT, "--path", "/web/now", "--requests", "2"];
    let again = place.fail(&args, 3);
    says(&again, &["not passed on by desk@1.0.0", "called after the key was lost: hub@1.0.0", "--path PATH"]);
    assert_eq!(calls(place)[0], ("desk hub GET /now".to_owned(), 7));
    says(
        &place.run(&["calls", ENVIRONMENT, "web"]),
        &["web@1.0.0", "desk@1.0.0", "GET /now", "7", "baggage"],
    );
    says(
        &place.fail(&["calls", ENVIRONMENT, "--baseline", "900"], 4),
        &["no calls are kept of baseline 900"],
    );

    // Who comes from outside is counted by what was asked for, and what nobody knew has no name.
    let outside = place.json(&["calls", ENVIRONMENT, "web"]);
    let of =
        |call: &Value| (call["operation"].as_str().unwrap().to_owned(), call["requests"].as_u64().unwrap());
    let seen: Vec<_> = outside["clients"].as_array().unwrap().iter().map(of).collect();
    assert!(
        seen.contains(&("GET /web/now".to_owned(), 7)) || seen.contains(&("GET /web/*".to_owned(), 7)),
        "{seen:?}"
    );
    says(&place.run(&["calls", ENVIRONMENT, "web"]), &["clients", "web@1.0.0"]);

    // The routes of the environment are asked when nobody names a path.
    let by_routes = place.json_ending(&["propagation", "check", ENVIRONMENT, "--requests", "1"], 3);
    assert!(by_routes["asked"].as_array().unwrap().len() > 1);
    // The hub is asked first then, so that it can be seen what it does with a key.
    assert_eq!(passing(&by_routes), pairs([("desk", "nothing"), ("hub", "tracestate"), ("web", "baggage")]));

    // What was seen outlives the server, and stays with its baseline.
    let before = calls(place);
    chain.place.stop_server();
    chain.place.start_server();
    let place = &chain.place;
    eventually("what was seen is there again", || (calls(place) == before).then_some(()));
    let number = place.json(&["calls", ENVIRONMENT])["baseline"].as_u64().unwrap();
    place.run(&["scale", "store", "2", "--env", ENVIRONMENT]);
    place.run(&["config", "set", "store", "A=b", "--env", ENVIRONMENT]);
    assert_eq!(place.json(&["calls", ENVIRONMENT])["calls"], Value::Array(Vec::new()));
    let former = place.json(&["calls", ENVIRONMENT, "--baseline", &number.to_string()]);
    assert!(!former["calls"].as_array().unwrap().is_empty());
}

#[test]
fn a_path_that_is_none_and_a_gateway_that_is_not_there_are_said() {
    let place = Place::begin();
    place.deployed("store");
    says(
        &place.fail(&["propagation", "check", ENVIRONMENT, "--path", "store"], 2),
        &["write a path such as"],
    );
    says(&place.fail(&["propagation", "check", "nowhere"], 4), &["nowhere"]);
    let none = place.json(&["propagation", "check", ENVIRONMENT]);
    assert_eq!((&none["whole"], passing(&none)), (&Value::Bool(true), Vec::new()), "nobody requires another");
    let gone = ["propagation", "check", ENVIRONMENT, "--gateway", "http://127.0.0.1:1", "--requests", "1"];
    says(&place.run(&gone), &["1 x", "127.0.0.1:1"]);
}

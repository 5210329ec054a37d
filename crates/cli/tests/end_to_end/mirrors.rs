//! Copies of requests for a version, from the first command to the record of what was found.

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{manifest, service};

/// A service that answers with JSON: a document, and only when it is asked for something.
fn json(document: &str) -> String {
    let text = service(document);
    text.replace(
        "self.send_header('Content-Length'",
        "self.send_header('Content-Type', 'application/json')\n        self.send_header('Content-Length'",
    )
}

#[test]
fn a_version_is_tried_on_copies_and_what_was_found_is_kept() {
    let mut place = Place::begin();
    let store = place.repository("store");
    store.write("lockstep.toml", &manifest("store", "", ""));
    store.write("service.py", &json(r#"{"id": "s3cret", "price": 5}"#));
    let one = place.first_release(&store, "store");
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    store.write("service.py", &json(r#"{"id": "s3cret", "price": "5"}"#));
    store.commit("feat: two");
    let two = place.release("store");
    let to = two.split_once('@').unwrap().1;
    let add = ["mirror", "add", "store", "--to", to, "--share", "100%", "--env", ENVIRONMENT];
    let none = place.run(&["mirror", "show", "--env", ENVIRONMENT]);
    assert!(none.contains("no requests are copied"), "{none}");
    let added = place.run(&add);
    assert!(added.contains("rule 1: copies of 100 % of the requests -> store"), "{added}");
    let second = place.fail(&add, 3);
    assert!(second.contains("one at a time") && second.contains("lockstep route remove 1"), "{second}");
    let own =
        place.fail(&["mirror", "add", "store", "--to", &one[6..], "--share", "5%", "--env", ENVIRONMENT], 3);
    assert!(own.contains("requests of its own"), "{own}");

    for _ in 0..20 {
        let (status, body) = place.ask("/store");
        assert_eq!((status, body.contains(r#""price": 5"#)), (200, true), "{body}");
    }
    let show = ["mirror", "show", "store", "--env", ENVIRONMENT];
    let found = eventually("all copies are compared", || {
        let found = place.json(&show)["mirrors"][0]["found"].clone();
        (found["different"] == 20).then_some(found)
    });
    assert_eq!(found["differences"][0]["field"], "$.price", "{found}");
    let shown = place.run(&show);
    assert!(
        shown.contains("copies are sent") && shown.contains("$.price is string instead of number"),
        "{shown}"
    );
    assert!(!shown.contains("s3cret"));
    let status = place.status();
    let versions: Vec<_> =
        status["services"].as_array().unwrap().iter().map(|it| it["requests"].clone()).collect();
    assert!(!versions.contains(&serde_json::json!(40)), "copies are no requests: {versions:?}");
    let explained = place.run(&["explain", "GET", "http://shop.test/store", "--env", ENVIRONMENT]);
    assert!(explained.contains("100 % of such requests are copied to store@"), "{explained}");

    let removed = place.run(&["mirror", "remove", "store", "--env", ENVIRONMENT, "--reason", "seen enough"]);
    assert!(removed.contains("seen enough") && removed.contains("$.price"), "{removed}");
    assert!(place.fail(&["mirror", "remove", "store", "--env", ENVIRONMENT], 2).contains("has no mirror"));
    let shown = place.run(&["show", &two]);
    let evidence =
        format!("mirrored:{ENVIRONMENT} red: of 20 copies 0 were answered the same, 20 otherwise, 0 not");
    assert!(shown.contains(&evidence) && shown.contains("answers began within"), "{shown}");
    assert!(shown.contains("$.price is string instead of number (20 times)"), "{shown}");
    place.kill_server();
    place.start_server();
    let kept = place.json(&show);
    assert_eq!(kept["ended"][0]["result"]["different"], 20, "{kept}");
}

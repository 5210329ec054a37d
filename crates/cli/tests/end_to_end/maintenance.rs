//! Maintenance through a whole server: a page instead of a service or of a version, until somebody ends it, whatever is deployed meanwhile.

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::service;

#[test]
fn clients_get_a_page_instead_of_a_service_or_of_one_version_until_it_is_ended() {
    let place = Place::begin();
    let repository = place.deployed("store");
    let gets = |status: u16, text: &str| {
        eventually("the gateway knows", || {
            let (seen, body) = place.ask("/store");
            (seen == status && body.contains(text)).then_some(())
        });
    };
    gets(200, "");
    let first = place.status()["services"][0]["entry"]["version"].as_str().unwrap().to_owned();
    let on = ["maintenance", "on", "store", "--env", ENVIRONMENT];
    let added = place.run(&[&on[..], &["--body", "back at noon", "--retry-after", "1h"]].concat());
    assert!(added.contains("store: 503, retry-after 3600 s") && added.contains("back at noon"), "{added}");
    gets(503, "back at noon");
    for said in [
        place.run(&["status", ENVIRONMENT]),
        place.run(&["routes", "--env", ENVIRONMENT]),
        place.run(&["explain", "GET", "http://shop.test/store", "--env", ENVIRONMENT]),
    ] {
        assert!(said.contains("maintenance"), "{said}");
    }
    let healthy = |place: &Place| place.status()["services"][0]["instances"][0]["state"].to_string();
    assert!(healthy(&place).contains("healthy"), "{}", healthy(&place));
    // A deployment does not end it.
    repository.write("service.py", &service("two"));
    repository.commit("feat: two");
    let two = place.release("store");
    place.run(&["deploy", &two, "--env", ENVIRONMENT, "--strategy", "all-at-once"]);
    gets(503, "back at noon");
    place.run(&["maintenance", "off", "1", "--env", ENVIRONMENT]);
    gets(200, "two");

    let number = two.split('@').nth(1).unwrap();
    place.run(&[&on[..], &["--version", number, "--status", "200", "--body", "moving"]].concat());
    gets(200, "moving");
    place.run(&["rollback", "store", "--to", &first, "--env", ENVIRONMENT]);
    eventually("the page is not for the version before", || {
        (!place.ask("/store").1.contains("moving")).then_some(())
    });
    gets(200, "");
    let list = place.run(&["maintenance", "list", "--env", ENVIRONMENT]);
    assert!(list.contains(&format!("store {number}: 200")), "{list}");
    place.run(&["maintenance", "off", "--all", "--env", ENVIRONMENT]);
    let none = place.run(&["maintenance", "list", "--env", ENVIRONMENT]);
    assert!(none.contains("nothing of"), "{none}");
    let history = place.run(&["history", ENVIRONMENT]);
    for said in [
        "page 1 of maintenance set",
        "page 1 of maintenance lifted",
        "store: 503, retry-after 3600 s",
        &format!("store {number}: 200"),
    ] {
        assert!(history.contains(said), "{said}: {history}");
    }

    let unknown = place.fail(&["maintenance", "on", "nobody", "--env", ENVIRONMENT], 4);
    assert!(unknown.contains("does not run in"), "{unknown}");
    let unknown = place.fail(&[&on[..], &["--version", "9.9.9"]].concat(), 4);
    assert!(unknown.contains("no version 9.9.9"), "{unknown}");
    let bad = place.fail(&[&on[..], &["--path", "a/../b"]].concat(), 2);
    assert!(bad.contains("a/../b"), "{bad}");
    place.fail(&["maintenance", "off", "7", "--env", ENVIRONMENT], 4);
}

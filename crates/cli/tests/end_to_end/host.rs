//! A host that was started anew: nothing of ours runs any more, and plans must not promise what did.

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::processes;
use super::support::repository::service;

fn readiness(place: &Place, to: &str) -> String {
    let number = to.split_once('@').unwrap().1;
    let back = ["rollback", "store", "--to", number, "--env", ENVIRONMENT, "--dry-run"];
    place.json(&back)["plan"]["waves"][0][0]["readiness"].as_str().unwrap().to_owned()
}

#[test]
fn a_plan_says_warm_only_for_what_runs_also_after_a_start_of_the_host() {
    let mut place = Place::begin();
    let repository = place.deployed("store");
    let first = place.status()["services"][0]["entry"]["version"].as_str().unwrap().to_owned();
    let first = format!("store@{first}");
    repository.write("service.py", &service("two"));
    repository.commit("feat: say two");
    let second = place.release("store");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    assert_eq!(readiness(&place, &first), "warm");
    let listed = place.run(&["rollback", "store", "--env", ENVIRONMENT]);
    assert!(listed.contains("warm"), "{listed}");

    place.kill_server();
    processes::end_all(&place.data());
    place.start_server();
    // As long as nobody has started it again it is cold, before what is wanted runs and after.
    let said = readiness(&place, &first);
    eventually("what is wanted runs again", || (place.ask("/store").1 == "two").then_some(()));
    let warm = || {
        let status = place.status();
        let instances = status["services"][0]["instances"].as_array().unwrap().clone();
        let number = first.split_once('@').unwrap().1;
        instances.iter().any(|it| it["arm"]["version"] == *number && it["state"]["state"] == "healthy")
    };
    assert!(said == "cold" || warm(), "nothing of it ran");
    // What is kept warm becomes healthy at a moment of its own, perhaps between the two looks.
    eventually("a plan says what runs", || ((readiness(&place, &first) == "warm") == warm()).then_some(()));
    eventually("the ways back say what runs", || {
        let listed = place.run(&["rollback", "store", "--env", ENVIRONMENT]);
        (listed.contains("warm") == warm()).then_some(())
    });
    place.run(&["rollback", "store", "--to", first.split_once('@').unwrap().1, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store").1, "one");
}

//! Versions that cannot run beside each other, on real processes and a real port.

use std::net::TcpListener;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, service};
use super::support::{eventually, get};

/// A port outside of what instances and outgoing connections are given.
fn free_port(from: u16) -> u16 {
    (from..from + 100).find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).unwrap()
}

fn next(place: &Place, repository: &Repository, program: &str, text: &str) -> String {
    repository.write("service.py", program);
    repository.commit(&format!("feat: say {text}"));
    place.release("web")
}

#[test]
fn a_service_with_a_fixed_port_goes_forward_and_back_and_a_bad_version_is_taken_back() {
    let place = Place::begin();
    let port = free_port(30_300);
    let repository = place.repository("web");
    repository.write("lockstep.toml", &manifest("web", &format!("port = {port}"), ""));
    repository.write("service.py", &service("one"));
    let one = place.first_release(&repository, "web");
    let two = next(&place, &repository, &service("two"), "two");
    let bad = next(&place, &repository, &misbehaving("three", "raise SystemExit(3)", "pass"), "three");
    let deploy = |version: &str| place.run(&["deploy", version, "--env", ENVIRONMENT]);
    let says = |text: &str| {
        assert_eq!(get(&format!("127.0.0.1:{port}"), "/", 0).unwrap(), (200, text.to_owned()));
        assert_eq!(place.ask("/web"), (200, text.to_owned()));
    };
    deploy(&one);
    let plan = place.told(&["deploy", &two, "--env", ENVIRONMENT, "--dry-run"]);
    let told =
        ["the old instances end first", "nobody answers in between", &format!("both listen on port {port}")];
    told.iter().for_each(|words| assert!(plan.contains(words), "{plan}"));
    deploy(&two);
    says("two");
    let refused = place.fail(&["deploy", &bad, "--env", ENVIRONMENT], 1);
    assert!(refused.contains("was taken back"), "{refused}");
    says("two");
    place.run(&["rollback", "web", "--to", one.split_once('@').unwrap().1, "--env", ENVIRONMENT]);
    says("one");
    place.run(&["restart", "web", "--env", ENVIRONMENT]);
    place.run(&["config", "set", "web", "A=b", "--env", ENVIRONMENT]);
    says("one");

    place.run(&["environment", "create", "other", "--accepts-from", "created"]);
    let refused = place.fail(&["deploy", &one, "--env", "other"], 3);
    assert!(
        refused.contains(&format!("and so does `{one}` in `{ENVIRONMENT}` on the same host")),
        "{refused}"
    );
}

#[test]
fn a_server_that_dies_in_the_gap_goes_on_with_it() {
    let mut place = Place::begin();
    let repository = place.repository("web");
    let gate = place.path("gate");
    let old_first = "replace = \"old-first\"";
    repository.write("lockstep.toml", &manifest("web", old_first, ""));
    repository.write("service.py", &service("one"));
    let one = place.first_release(&repository, "web");
    let waits = format!("while not os.path.exists('{gate}'): time.sleep(0.05)");
    let two = next(&place, &repository, &misbehaving("two", &waits, "pass"), "two");
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    let operation = place.begin_operation(&["deploy", &two, "--env", ENVIRONMENT]);
    let versions = |place: &Place| {
        let status = place.status();
        let services = status["services"].as_array().unwrap().clone();
        let instances =
            services.into_iter().flat_map(|service| service["instances"].as_array().unwrap().clone());
        let running =
            instances.filter(|it| !matches!(it["state"]["state"].as_str(), Some("stopped" | "failed")));
        running
            .map(|it| it["id"].as_str().unwrap().split("-c").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let new = two.replace('@', "-");
    eventually("only the new one is there", || (versions(&place) == [new.as_str()]).then_some(()));
    place.kill_server();
    place.start_server();
    assert_eq!(versions(&place), [new.as_str()]);
    std::fs::write(gate, "").unwrap();
    assert_eq!(place.settled(operation)["phase"], "done");
    assert_eq!(place.ask("/web"), (200, "two".to_owned()));
}

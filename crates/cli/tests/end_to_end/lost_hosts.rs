//! Hosts that are lost while something starts there: begun anew on another one, or what the environment says where none is left.

use super::hosts::{Bench, on};
use super::support::place::ENVIRONMENT;
use super::support::repository::{manifest, misbehaving, service};
use super::support::{eventually, next_minute};

/// A service that takes its time, so that its host is lost before it is healthy.
fn slow(text: &str) -> String {
    misbehaving(text, "time.sleep(6)", "pass")
}

/// Two hosts, and a version that is registered and runs nowhere.
fn bench() -> (Bench, String) {
    let bench = Bench::begin();
    bench.added("web1");
    bench.added("web2");
    let repository = bench.place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &slow("one"));
    let version = bench.place.first_release(&repository, "store");
    (bench, version)
}

fn begin_on_web1(bench: &Bench, version: &str) -> u64 {
    let operation = bench.place.begin_operation(&["deploy", version, "--env", ENVIRONMENT]);
    eventually("it starts on web1", || {
        let host = bench.host("web1");
        host["instances"].as_array().is_some_and(|all| !all.is_empty()).then_some(())
    });
    operation
}

#[test]
fn a_start_on_a_host_that_is_lost_is_begun_anew_on_another_and_ends_where_it_was_begun() {
    let (mut bench, version) = bench();
    let dry = bench.place.run(&["deploy", &version, "--env", ENVIRONMENT, "--dry-run"]);
    assert!(
        dry.contains("if a host is lost before the switch, the others take what is to start there"),
        "{dry}"
    );
    let operation = begin_on_web1(&bench, &version);
    bench.sshd.get_mut("web1").unwrap().end();
    // A host is waited for half a minute.
    next_minute("it is begun on web2", || (bench.healthy() == on(&[("web2", 1)])).then_some(()));
    let phase = bench.place.settled(operation);
    assert_eq!(phase["phase"], "done", "{phase}");
    assert_eq!(bench.place.ask("/store").1, "one");
    let first = bench.host("web1")["instances"][0]["id"].clone();
    assert!(first.is_string(), "what was begun on the host that is away is known");

    // The next server knows both, and what is not wanted there any more ends when its host returns.
    bench.place.kill_server();
    bench.place.start_server();
    bench.sshd.get_mut("web1").unwrap().start();
    eventually("nothing is left on web1", || {
        let host = bench.host("web1");
        (host["connection"] == "here" && host["instances"].as_array().unwrap().is_empty()).then_some(())
    });
    assert_eq!(bench.healthy(), on(&[("web2", 1)]));
}

#[test]
fn an_operation_waits_for_a_lost_host_where_its_environment_says_so_and_goes_on_when_it_returns() {
    let (mut bench, version) = bench();
    let text = bench.place.run(&["environment", "set", ENVIRONMENT, "--host-lost", "wait"]);
    assert!(text.contains("host lost"), "{text}");
    bench.place.run(&["host", "cordon", "web2"]);
    let dry = bench.place.run(&["deploy", &version, "--env", ENVIRONMENT, "--dry-run"]);
    let words = "if web1 is lost before the switch, 1 of 1 instances of store@";
    assert!(dry.contains(words) && dry.contains("the operation waits for web1"), "{dry}");
    let operation = begin_on_web1(&bench, &version);
    bench.sshd.get_mut("web1").unwrap().end();
    let said = next_minute("it is said what is waited for", || {
        let status = bench.place.run(&["status", ENVIRONMENT]);
        status
            .contains("waits: host `web1`, which is not reached: 0 of 1 instance of store@")
            .then_some(status)
    });
    assert!(said.contains(&format!("lockstep undo {ENVIRONMENT}")), "{said}");
    bench.sshd.get_mut("web1").unwrap().start();
    let phase = bench.place.settled(operation);
    assert_eq!(phase["phase"], "done", "{phase}");
    assert_eq!(bench.healthy(), on(&[("web1", 1)]));
}

/// Two hosts that serve two instances of a version; what its manifest says of hosts comes with it.
fn serving(more: &str) -> (Bench, String) {
    let bench = Bench::begin();
    bench.added("web1");
    let repository = bench.place.repository("store");
    repository.write("lockstep.toml", &manifest("store", more, ""));
    repository.write("service.py", &service("one"));
    let version = bench.place.first_release(&repository, "store");
    (bench, version)
}

#[test]
fn what_runs_goes_to_a_new_host_and_away_from_labels_when_somebody_asks_for_it() {
    let (bench, version) = serving("hosts = { require = [\"role=web\"] }");
    let place = &bench.place;
    let text = place.fail(&["deploy", &version, "--env", ENVIRONMENT], 3);
    assert!(text.contains("`web1` lacks the label role=web"), "{text}");
    assert!(text.contains("lockstep host set"), "{text}");
    place.run(&["host", "set", "web1", "--label", "role=web"]);
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    place.run(&["scale", "store", "2", "--env", ENVIRONMENT]);
    let text = place.fail(&["rebalance", ENVIRONMENT], 3);
    assert!(text.contains("nothing"), "{text}");

    bench.added("web2");
    place.fail(&["rebalance", ENVIRONMENT, "--dry-run"], 3);
    place.run(&["host", "set", "web2", "--label", "role=web"]);
    let dry = place.run(&["rebalance", ENVIRONMENT, "--dry-run"]);
    assert!(dry.contains("from web1 to web2: web1 has 2 of store@"), "{dry}");
    assert_eq!(bench.healthy(), on(&[("web1", 2)]), "it was a dry run");
    let text = place.run(&["rebalance", ENVIRONMENT, "--reason", "web2 is new"]);
    assert!(text.contains("  moved: store-"), "{text}");
    assert_eq!(bench.healthy(), on(&[("web1", 1), ("web2", 1)]));

    let text = place.run(&["host", "set", "web1", "--label", "role=db"]);
    let words = format!(" is on web1, which lacks the label role=web (lockstep rebalance {ENVIRONMENT})");
    assert!(text.contains(&words), "{text}");
    let status = place.run(&["status", ENVIRONMENT]);
    assert!(status.contains(&words), "{status}");
    let text = place.run(&["rebalance", ENVIRONMENT]);
    assert!(text.contains("web1 lacks the label role=web"), "{text}");
    assert_eq!(bench.healthy(), on(&[("web2", 2)]));
    assert!(!place.run(&["status", ENVIRONMENT]).contains("lacks the label"));
    assert_eq!(place.ask("/store").1, "one");
}

#[test]
fn a_lost_host_is_evacuated_by_itself_after_the_time_that_its_environment_says_and_stays_drained() {
    let (mut bench, version) = serving("");
    bench.added("web2");
    bench.place.fail(&["environment", "set", ENVIRONMENT, "--evacuate-after", "1s"], 3);
    let text = bench.place.run(&["environment", "set", ENVIRONMENT, "--evacuate-after", "12s"]);
    assert!(text.contains("evacuated after"), "{text}");
    bench.place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    bench.place.run(&["scale", "store", "2", "--env", ENVIRONMENT]);
    assert_eq!(bench.healthy(), on(&[("web1", 1), ("web2", 1)]));
    bench.sshd.get_mut("web2").unwrap().end();
    eventually("it is said when it is evacuated", || {
        bench.place.run(&["status", ENVIRONMENT]).contains("evacuated by itself after 12s").then_some(())
    });
    eventually("what was on web2 is replaced", || (bench.healthy() == on(&[("web1", 2)])).then_some(()));
    let host = bench.host("web2");
    let reason = host["turned"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("it was not reached for 12 seconds, after which "), "{reason}");
    assert_eq!(host["turned"]["by"], "lockstep");
    bench.sshd.get_mut("web2").unwrap().start();
    eventually("what is surplus has ended", || {
        let host = bench.host("web2");
        (host["connection"] == "here" && host["instances"].as_array().unwrap().is_empty()).then_some(())
    });
    assert_eq!(bench.host("web2")["stance"], "draining", "a person opens it again");
    assert_eq!(bench.healthy(), on(&[("web1", 2)]));
}

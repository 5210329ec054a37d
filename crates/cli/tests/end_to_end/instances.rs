//! Single instances: restarted, ended, counted, and told whether they are routed.

use std::fs;
use std::path::Path;
use std::thread;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, service};
use super::support::{eventually, get};

/// A server is started so often: what is sought lasts as long as one write to the disk.
const STARTS: usize = 5;
/// Calls without a pause in between, while nobody listens.
const CALLS: u64 = 1_000;

fn commit(repository: &Repository, text: &str) {
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service(text));
    repository.commit(&format!("feat: say {text}"));
}

/// A place with two versions of the store, the first of which runs.
fn store() -> (Place, [String; 2]) {
    let place = Place::begin();
    let repository = place.repository("store");
    commit(&repository, "one");
    place.run(&["service", "add", repository.folder()]);
    let first = place.release("store");
    commit(&repository, "two");
    let second = place.release("store");
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    (place, [first, second])
}

/// The instances that are not over, by id, with their states.
fn instances(place: &Place) -> Vec<(String, String)> {
    let status = place.status();
    let services = status["services"].as_array().unwrap().iter();
    let all = services.flat_map(|service| service["instances"].as_array().unwrap());
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let all = all.map(|instance| (text(&instance["id"]), text(&instance["state"]["state"])));
    all.filter(|(_, state)| state != "stopped" && state != "failed").collect()
}

fn only(place: &Place) -> String {
    let all = instances(place);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].0.clone()
}

fn is_told(place: &Place, instance: &str, word: &str) {
    let file = Path::new(&place.data()).join("runtime/instances").join(instance).join("told/routed");
    eventually(&format!("{instance} is told {word}"), || {
        (fs::read_to_string(&file).unwrap_or_default().trim() == word).then_some(())
    });
}

#[test]
fn a_service_is_restarted_without_a_new_baseline_also_when_the_server_is_killed_meanwhile() {
    let (mut place, _) = store();
    place.run(&["scale", "store", "2", "--env", ENVIRONMENT]);
    let before = instances(&place);
    let restarted = place.run(&["restart", "store", "--env", ENVIRONMENT]);
    assert!(restarted.contains("2 instances replaced"), "{restarted}");
    let between = instances(&place);
    assert!(between.len() == 2 && between.iter().all(|one| !before.contains(one)), "{between:?}");
    let operation = place.begin_operation(&["restart", "store", "--env", ENVIRONMENT]);
    place.kill_server();
    place.start_server();
    assert_eq!(place.settled(operation)["phase"], "done");
    let after = instances(&place);
    assert!(after.len() == 2 && after.iter().all(|one| !between.contains(one)), "{after:?}");
    assert_eq!(place.status()["baseline"], 1);
}

#[test]
fn a_single_instance_is_ended_where_others_serve_and_restarted_where_none_does() {
    let (place, _) = store();
    let first = only(&place);
    let refused = place.fail(&["instance", "stop", &first], 3);
    assert!(refused.contains("only healthy instance") && refused.contains("instance restart"), "{refused}");
    place.run(&["instance", "restart", &first]);
    let second = only(&place);
    assert_ne!(first, second);
    place.run(&["scale", "store", "2", "--env", ENVIRONMENT]);
    place.run(&["instance", "stop", &second, "--reason", "it is odd"]);
    eventually("another has taken its place", || {
        let all = instances(&place);
        (all.len() == 2 && all.iter().all(|(id, state)| *id != second && state == "healthy")).then_some(())
    });
    place.run(&["scale", "store", "1", "--env", ENVIRONMENT]);
    only(&place);
}

#[test]
fn what_was_gone_back_from_ends_and_what_is_warm_knows_that_it_is_not_routed() {
    let (place, [_, second]) = store();
    let first = only(&place);
    is_told(&place, &first, "yes");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    is_told(&place, &first, "no");
    let newer = instances(&place).into_iter().find(|(id, _)| *id != first).unwrap().0;
    is_told(&place, &newer, "yes");
    place.run(&["rollback", ENVIRONMENT, "--to", "1", "--keep-warm"]);
    is_told(&place, &newer, "no");
    is_told(&place, &first, "yes");
    let kept = place.run(&["undo", ENVIRONMENT, "--dry-run"]);
    assert!(kept.contains("warm: only routes change") && kept.contains("--keep-warm"), "{kept}");
    place.run(&["undo", ENVIRONMENT]);
    eventually("the version that was left has ended", || {
        (instances(&place) == [(newer.clone(), "healthy".to_owned())]).then_some(())
    });
    let cold = place.run(&["undo", ENVIRONMENT, "--dry-run"]);
    assert!(cold.contains("cold: instances are started"), "{cold}");
}

#[test]
fn the_log_of_an_instance_that_has_ended_is_there_and_its_folder_is_not() {
    let (mut place, [_, second]) = store();
    let ended = only(&place);
    place.run(&["environment", "set", ENVIRONMENT, "--warm", "0s"]);
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    let folder = Path::new(&place.data()).join("runtime/instances").join(&ended);
    eventually("its folder is gone", || (!folder.exists()).then_some(()));
    for _ in 0..2 {
        let log = place.run(&["logs", &ended]);
        assert!(log.contains("started process") && log.trim_end().ends_with("lockstep stopped"), "{log}");
        place.kill_server();
        place.start_server();
    }
    let gone = place.fail(&["logs", "store-1.0.0-c0-000000", "--env", ENVIRONMENT], 4);
    assert!(gone.contains("or its log is gone"), "{gone}");
}

#[test]
fn the_gateway_of_a_server_that_starts_again_answers_nobody_before_it_knows_what_runs() {
    // To an address that is not that of the client: who calls often may otherwise be given the very port that nobody has.
    let mut place = Place::begin_asking(&["--gateway-address", "127.0.0.2"], vec![]);
    place.deployed("store");
    let status = place.status();
    let gateway = status["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    for _ in 0..STARTS {
        place.kill_server();
        let address = gateway.clone();
        let first = thread::spawn(move || {
            let call = || (0..CALLS).find_map(|key| get(&address, "/store", key).ok());
            eventually("somebody is answered", call)
        });
        place.start_server();
        assert_eq!(first.join().unwrap(), (200, "one".to_owned()));
    }
}

#[test]
fn what_a_failed_instance_wrote_is_shown_to_who_deploys_and_recorded_nowhere() {
    let (place, [first, _]) = store();
    let repository = Repository::at(&place.path("store"));
    repository.write(
        "service.py",
        &misbehaving("three", "raise SystemExit('no user shop with the password s3cr3t')", "pass"),
    );
    repository.commit("feat: three");
    let third = place.release("store");
    let told = place.fail(&["deploy", &third, "--env", ENVIRONMENT], 1);
    assert!(told.contains("no user shop with the password s3cr3t"), "{told}");
    for recorded in
        [&["journal", "export"][..], &["operations", "--json"], &["history", ENVIRONMENT, "--json"]]
    {
        assert!(!place.run(recorded).contains("s3cr3t"), "{recorded:?}");
    }
    assert!(place.status()["services"][0]["entry"]["version"] == first.split_once('@').unwrap().1);
}

#[test]
fn an_instance_that_others_can_call_past_the_gateway_is_named() {
    let (place, _) = store();
    assert!(place.status().get("exposed").is_none());
    let repository = Repository::at(&place.path("store"));
    let everywhere = service("four").replace("os.environ['HOST']", "'0.0.0.0'");
    repository.write("service.py", &everywhere);
    repository.commit("feat: four");
    let fourth = place.release("store");
    place.run(&["deploy", &fourth, "--env", ENVIRONMENT]);
    let exposed = eventually("it is named", || Some(place.status().get("exposed")?[0].clone()));
    let port = exposed["addresses"][0].as_str().unwrap().strip_prefix("0.0.0.0:").unwrap().to_owned();
    assert!(exposed["instance"].as_str().unwrap().starts_with("store-"), "{exposed}");
    let told = place.told(&["status", ENVIRONMENT]);
    assert!(told.contains("open to others:") && told.contains(&port), "{told}");
}

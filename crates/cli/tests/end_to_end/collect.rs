//! Collecting: what nothing needs goes, and what somebody needs stays and says why.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, service};

fn commit(repository: &Repository, text: &str) {
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service(text));
    repository.commit(&format!("feat: say {text}"));
}

/// A place where the store went through three versions, without keeping any warm.
fn three_versions() -> Place {
    let place = Place::begin();
    place.run(&["environment", "set", ENVIRONMENT, "--warm", "0s"]);
    let repository = place.repository("store");
    commit(&repository, "one");
    place.run(&["service", "add", repository.folder()]);
    for text in ["one", "two", "three"] {
        if text != "one" {
            commit(&repository, text);
        }
        let version = place.release("store");
        place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    }
    place
}

fn digest(place: &Place, version: &str) -> String {
    place.json(&["show", version])["artifact"]["digest"].as_str().unwrap().to_owned()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect()
}

fn reasons(list: &Value, name: &str) -> Vec<String> {
    let found = list.as_array().unwrap().iter().find(|it| it["name"] == name);
    let found = found.unwrap_or_else(|| panic!("{name} is not in {list}"));
    found["reasons"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_unpacked_artifact_goes_when_nothing_runs_it_or_would_need_it_at_once_and_comes_back_for_a_rollback() {
    let place = three_versions();
    let [first, second, third] =
        ["store@1.0.0", "store@1.1.0", "store@1.2.0"].map(|version| digest(&place, version));
    let folder = |digest: &str| Path::new(&place.data()).join("runtime/releases").join(digest);
    let dry = eventually("the first version is not needed any more", || {
        let report = place.json(&["store", "gc", "--dry-run"]);
        (names(&report["releases"]["goes"]) == [first.as_str()]).then_some(report)
    });
    assert!(folder(&first).exists(), "a dry run removes nothing");
    let stays = &dry["releases"]["stays"];
    assert!(reasons(stays, &second).contains(&format!("undo in {ENVIRONMENT}")), "{stays}");
    let current = reasons(stays, &third);
    assert!(current.contains(&format!("baseline 3 of {ENVIRONMENT}")), "{current:?}");
    assert!(current.iter().any(|reason| reason.starts_with("instance store-1.2.0")), "{current:?}");

    let text = place.run(&["store", "gc"]);
    assert!(text.contains("1 of 3 unpacked artifacts went"), "{text}");
    assert!(!folder(&first).exists() && folder(&second).exists() && folder(&third).exists());
    assert_eq!(place.ask("/store"), (200, "three".to_owned()));
    place.run(&["rollback", "store", "--to", "1.0.0", "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
}

#[test]
fn a_mirror_goes_when_no_service_comes_from_its_repository_and_not_while_a_build_uses_it() {
    let place = Place::begin();
    let old = place.repository("old");
    commit(&old, "one");
    place.run(&["service", "add", old.folder()]);
    place.release("store");
    let report = place.json(&["store", "gc"]);
    assert_eq!(names(&report["mirrors"]["goes"]), Vec::<&str>::new());
    let name = names(&report["mirrors"]["stays"])[0].to_owned();
    assert_eq!(reasons(&report["mirrors"]["stays"], &name), ["repository of store"]);

    // A build of the old repository is under way when the service moves to another one.
    // In a folder of its own: nothing new can be made directly in a folder on the way to the data folder.
    fs::create_dir(place.path("signs")).unwrap();
    let (gate, begun) = (place.path("gate"), place.path("signs/begun"));
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let waiting = format!("[build]\nsteps = [[\"sh\", \"-c\", \"touch {begun}; cat {gate}\"]]");
    old.write(
        "lockstep.toml",
        &manifest("store", "", &format!("{waiting}\n[package]\ninclude = [\"*.py\"]")),
    );
    old.commit("feat: build for long");
    let build = place.json(&["release", "store", "--no-wait"])["id"].as_str().unwrap().to_owned();
    eventually("the step runs", || fs::exists(&begun).unwrap().then_some(()));
    let new = place.repository("new");
    commit(&new, "two");
    place.run(&["service", "add", new.folder(), "--move", "--unrelated", "it is another one"]);
    let report = place.json(&["store", "gc"]);
    assert_eq!(reasons(&report["mirrors"]["stays"], &name), ["a build uses it"]);
    fs::write(&gate, "go on\n").unwrap();
    let built = place.run(&["logs", &build, "--follow"]);
    assert!(built.contains("go on"), "{built}");

    let gone = eventually("the build lets the mirror go", || {
        let report = place.json(&["store", "gc"]);
        names(&report["mirrors"]["goes"]).contains(&name.as_str()).then_some(report)
    });
    assert_eq!(names(&gone["mirrors"]["stays"]), Vec::<&str>::new());
    assert!(!Path::new(&place.data()).join(format!("mirrors/{name}.git")).exists());
    // Moving back, the repository is fetched again.
    old.write("lockstep.toml", &manifest("store", "", ""));
    old.commit("fix: build at once");
    place.run(&["service", "add", old.folder(), "--move"]);
    place.release("store");
}

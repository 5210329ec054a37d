//! A service stays with its history: it is not pointed elsewhere by accident, and no release lacks what the one before had.

use serde_json::Value;

use super::support::place::Place;
use super::support::repository::{Repository, manifest, service};

fn write(repository: &Repository, text: &str) {
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service(text));
    repository.commit(&format!("feat: {text}"));
}

/// A place with a service that has one release from `main`.
fn released() -> (Place, Repository) {
    let place = Place::begin();
    let repository = place.repository("store");
    write(&repository, "one");
    place.run(&["service", "add", repository.folder()]);
    assert_eq!(place.release("store"), "store@1.0.0");
    (place, repository)
}

fn source(place: &Place) -> Value {
    place.json(&["services"])[0]["source"].clone()
}

fn assert_says(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in:\n{text}"));
}

#[test]
fn a_service_is_pointed_to_another_repository_only_when_that_is_said() {
    let (place, repository) = released();
    let before = source(&place);
    let other = place.repository("other");
    write(&other, "something else");
    let said = place.fail(&["service", "add", other.folder()], 3);
    let commit = repository.git(&["rev-parse", "HEAD"]);
    let why = format!("no branch or tag there leads to commit {commit}, which store@1.0.0 was cut from");
    assert_says(&said, &["service `store` is registered already", "repository: ", other.folder(), &why]);
    assert_says(&said, &["--move --unrelated"]);
    place.fail(&["service", "add", other.folder(), "--move"], 3);
    place.fail(&["service", "add", other.folder(), "--move", "--unrelated", " "], 2);
    place.fail(&["service", "add", other.folder(), "--unrelated", "no reason to move"], 2);
    assert_eq!(source(&place), before);

    // The same address, in its words or others, is no change.
    let records = || place.json(&["journal", "verify"])["records"].clone();
    let count = records();
    place.run(&["service", "add", repository.folder()]);
    place.run(&["service", "add", &format!("file://{}/", repository.folder())]);
    assert_eq!((records(), source(&place)), (count, before));

    // A folder of the same repository is another place as well.
    repository.write("deep/lockstep.toml", &manifest("store", "", ""));
    repository.commit("feat: a second one");
    let said = place.fail(&["service", "add", repository.folder(), "--folder", "deep"], 3);
    assert_says(&said, &["folder: `` -> `deep`", "the versions of the service are in its history"]);
}

#[test]
fn a_service_moves_with_its_history_and_without_it_only_for_a_reason() {
    let (place, repository) = released();
    let moved = place.path("moved");
    repository.git(&["clone", "--quiet", repository.folder(), &moved]);
    let said = place.fail(&["service", "add", &moved], 3);
    assert_says(&said, &["the versions of the service are in its history", "--move"]);
    place.run(&["service", "add", &moved, "--move"]);
    assert_eq!(source(&place)["repository"], moved.as_str());
    let moved = Repository::at(&moved);
    write(&moved, "two");
    assert_eq!(place.release("store"), "store@1.1.0");

    // Where it came from does not have the newest version any more.
    place.fail(&["service", "add", repository.folder(), "--move"], 3);
    let anew = place.repository("anew");
    write(&anew, "from the beginning");
    let reason = "the history was too large";
    place.run(&["service", "add", anew.folder(), "--move", "--unrelated", reason]);
    let said = place.fail(&["release", "store"], 1);
    assert_says(&said, &["does not contain commit", "store@1.1.0", "lockstep release store --unrelated"]);
    place.run(&["release", "store", "--unrelated", reason]);
    assert_says(&place.run(&["show", "store@1.2.0"]), &["unrelated", reason]);
    assert!(place.run(&["journal", "export"]).matches(reason).count() >= 2);
    write(&anew, "goes on");
    assert_eq!(place.release("store"), "store@1.3.0");
}

#[test]
fn a_release_contains_the_one_before_it_on_its_branch_and_nothing_more_is_asked() {
    let (place, repository) = released();
    let first = repository.git(&["rev-parse", "HEAD"]);
    // Branches are cut before the next release, and released after it.
    repository.git(&["branch", "feature/login"]);
    repository.git(&["branch", "release/1.0"]);
    write(&repository, "two");
    assert_eq!(place.release("store"), "store@1.1.0");
    let on = |branch: &str, text: &str| {
        repository.git(&["checkout", "--quiet", branch]);
        write(&repository, text);
    };
    on("feature/login", "login");
    place.run(&["release", "store", "--ref", "feature/login"]);
    on("release/1.0", "a fix of the old line");
    place.run(&["release", "store", "--ref", "release/1.0"]);
    // A feature is rebased, and the branch of a candidate too: nothing was promised of them.
    repository.git(&["checkout", "--quiet", "feature/login"]);
    repository.write("service.py", &service("login, written anew"));
    repository.git(&["commit", "--quiet", "--all", "--amend", "--message", "feat: login, written anew"]);
    place.run(&["release", "store", "--ref", "feature/login"]);
    // An older commit of the same branch lacks what the release from it had.
    on("main", "half");
    let half = repository.git(&["rev-parse", "HEAD"]);
    write(&repository, "whole");
    assert_eq!(place.release("store"), "store@1.2.0");
    let said = place.fail(&["release", "store", "--ref", &half], 1);
    assert_says(&said, &["of branch `main` does not contain commit", "store@1.2.0"]);

    // A history that was rewritten is another one.
    repository.git(&["reset", "--quiet", "--hard", &first]);
    write(&repository, "three");
    place.fail(&["release", "store"], 1);
    repository.git(&["checkout", "--quiet", "--orphan", "feature/strange"]);
    write(&repository, "strange");
    let said = place.fail(&["release", "store", "--ref", "feature/strange"], 1);
    assert_says(&said, &["has no history in common with the versions of store"]);
    place.run(&["release", "store", "--ref", "main", "--unrelated", "the second one was taken back"]);
}

#[test]
fn a_shallow_clone_that_does_not_show_the_last_version_is_told_apart() {
    let (place, repository) = released();
    write(&repository, "two");
    write(&repository, "three");
    let shallow = place.path("shallow");
    let url = format!("file://{}", repository.folder());
    repository.git(&["clone", "--quiet", "--depth", "1", &url, &shallow]);
    place.fail(&["service", "add", &shallow, "--move"], 3);
    place.run(&["service", "add", &shallow, "--move", "--unrelated", "to look at it"]);
    let said = place.fail(&["release", "store"], 1);
    assert_says(&said, &["the repository is a shallow clone", "git fetch --unshallow"]);
    Repository::at(&shallow).git(&["fetch", "--quiet", "--unshallow"]);
    assert_eq!(place.release("store"), "store@1.1.0");
}

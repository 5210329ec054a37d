//! Services without any repository: a manifest that is kept, and archives that were made somewhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{manifest, service};

/// Registers a service by its manifest alone, from a folder that is in no repository.
fn begin(place: &Place) -> String {
    let path = place.path("store.toml");
    fs::write(&path, manifest("store", "", "")).unwrap();
    place.told(&["service", "add", "store", "--manifest", &path, "--no-repository"]);
    path
}

/// Makes an archive of a program.
fn archive(place: &Place, text: &str) -> String {
    let folder = place.path(&format!("dist-{text}"));
    fs::create_dir(&folder).unwrap();
    fs::write(Path::new(&folder).join("service.py"), service(text)).unwrap();
    let file = place.path(&format!("{text}.tar"));
    let made = Command::new("tar").args(["-cf", &file, "-C", &folder, "."]).status().unwrap();
    assert!(made.success());
    file
}

fn release(place: &Place, archive: &str) -> String {
    place.json(&["release", "store", "--artifact", archive])["version"].as_str().unwrap().to_owned()
}

fn deploy(place: &Place, version: &str) {
    place.run(&["deploy", &format!("store@{version}"), "--env", ENVIRONMENT, "--strategy", "all-at-once"]);
}

fn assert_says(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in:\n{text}"));
}

#[test]
fn archives_without_a_repository_have_versions_baselines_and_a_way_back() {
    let place = Place::begin();
    begin(&place);
    assert_says(&place.run(&["show", "store"]), &["no repository", "kept with the service"]);
    let (one, two) = (archive(&place, "one"), archive(&place, "two"));
    assert_eq!(release(&place, &one), "1.0.0");
    deploy(&place, "1.0.0");
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));

    // What is given is what counts: the same is no news, something else is.
    assert_says(&place.fail(&["release", "store", "--artifact", &one], 3), &["nothing to release"]);
    assert_eq!(release(&place, &two), "1.0.1");
    deploy(&place, "1.0.1");
    assert_eq!(place.ask("/store"), (200, "two".to_owned()));
    place.run(&["undo", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    assert_says(&place.run(&["show", "store@1.0.1"]), &["there was no repository", "two.tar"]);
    // However it was archived, it is what its files are.
    let again = place.path("again.tar.gz");
    let folder = place.path("dist-two");
    assert!(Command::new("tar").args(["-czf", &again, "-C", &folder, "."]).status().unwrap().success());
    assert_says(
        &place.fail(&["release", "store", "--artifact", &again], 3),
        &["its files are those of `store@1.0.1`"],
    );
    // Going back to what was is no release of the old archive as something new.
    assert_says(&place.fail(&["release", "store", "--artifact", &one], 3), &["store@1.0.0"]);
}

#[test]
fn what_lies_in_a_repository_cannot_be_asked_for_where_there_is_none() {
    let place = Place::begin();
    let path = begin(&place);
    let one = archive(&place, "one");
    assert_says(&place.fail(&["release", "store"], 3), &["no repository", "--artifact FILE"]);
    let with_commit = ["release", "store", "--artifact", &one, "--commit", &"a".repeat(40)];
    assert_says(&place.fail(&with_commit, 2), &["no repository", "--commit"]);
    assert_says(&place.fail(&["release", "store", "--artifact", &one, "--ref", "develop"], 2), &["--ref"]);
    let back = ["service", "manifest", "store", "--from-repository"];
    assert_says(&place.fail(&back, 3), &["no repository"]);
    assert_eq!(place.run(&["service", "manifest", "store"]), fs::read_to_string(&path).unwrap());
    place.fail(&["service", "add", "--no-repository"], 2);
    // A contract would have to lie somewhere.
    fs::write(&path, manifest("store", "", "[contract]\nopenapi = \"api.yaml\"\n")).unwrap();
    assert_says(
        &place.fail(&["service", "manifest", "store", &path], 3),
        &["contract.openapi", "there is none"],
    );
}

#[test]
fn another_manifest_is_another_version_and_branches_have_no_say() {
    let place = Place::begin();
    let path = begin(&place);
    let one = archive(&place, "one");
    // No branch of this team may release, and nothing here is of a branch.
    let policy = place.path("branches.json");
    fs::write(&policy, r#"{"rules": [{"pattern": "trunk", "cuts": "release"}]}"#).unwrap();
    place.run(&["branches", "define", &policy]);
    assert_eq!(release(&place, &one), "1.0.0");
    fs::write(&path, manifest("store", "env = { MORE = \"1\" }", "")).unwrap();
    place.run(&["service", "manifest", "store", &path]);
    assert_eq!(release(&place, &one), "1.0.1");
    // What was made of it on disk can be lost: it is made anew, and is the same.
    fs::remove_dir_all(Path::new(&place.data()).join("mirrors")).unwrap();
    place.fail(&["release", "store", "--artifact", &one], 3);
    let commits: Vec<_> = ["1.0.0", "1.0.1"]
        .map(|version| place.json(&["show", &format!("store@{version}")])["commit"].clone())
        .into();
    assert_eq!(commits[0], commits[1]);
}

#[test]
fn a_service_gets_a_repository_later_with_a_reason() {
    let place = Place::begin();
    begin(&place);
    release(&place, &archive(&place, "one"));
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service("two"));
    repository.commit("feat: begin");
    assert_says(
        &place.fail(&["service", "add", repository.folder()], 3),
        &["comes from elsewhere", "made without a repository"],
    );
    place.fail(&["service", "add", repository.folder(), "--move"], 3);
    place.run(&["service", "add", repository.folder(), "--move", "--unrelated", "it has one now"]);
    place.run(&["service", "manifest", "store", "--from-repository"]);
    assert_eq!(place.release("store"), "store@1.1.0");
    assert_says(&place.run(&["show", "store"]), &["none"]);
}

#[test]
fn a_service_loses_its_repository_with_a_reason_that_is_given_once() {
    let place = Place::begin();
    place.deployed("store");
    let path = place.path("store.toml");
    fs::write(&path, manifest("store", "", "")).unwrap();
    let add = ["service", "add", "--manifest", &path, "--no-repository", "--move"];
    place.fail(&add, 3);
    place.run(&[&add[..], &["--unrelated", "it is gone"]].concat());
    assert_eq!(release(&place, &archive(&place, "two")), "1.0.1");
    deploy(&place, "1.0.1");
    assert_eq!(place.ask("/store"), (200, "two".to_owned()));
}

/// Whatever the user wants of other repositories, the mirrors are ours.
#[test]
fn the_git_configuration_of_the_user_does_not_count() {
    let home = tempfile::tempdir().unwrap();
    let settings = "[safe]\n bareRepository = explicit\n[i18n]\n commitEncoding = ISO-8859-1\n[commit]\n gpgsign = true\n\
                    [init]\n defaultBranch = other\n defaultObjectFormat = sha256\n";
    fs::write(home.path().join(".gitconfig"), settings).unwrap();
    let variables = vec![("HOME", home.path().to_str().unwrap().to_owned())];
    let place = Place::begin_asking(&[], variables);
    begin(&place);
    assert_eq!(release(&place, &archive(&place, "one")), "1.0.0");
    // And where there is a repository.
    place.deployed("stock");
}

#[test]
fn somebody_elses_service_needs_nothing_but_its_manifest() {
    let place = Place::begin();
    let path = place.path("partner.toml");
    let text = "name = \"partner\"\n[run]\nkind = \"external\"\naddress = \"http://127.0.0.1:9\"\n";
    fs::write(&path, text).unwrap();
    let said = place.told(&["service", "add", "--manifest", &path, "--no-repository"]);
    assert_says(&said, &["lockstep release partner\n"]);
    assert_eq!(place.release("partner"), "partner@1.0.0");
    place.fail(&["release", "partner"], 3);
}

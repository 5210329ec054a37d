//! Services from repositories that are not ours: their manifests are kept outside of them, and everything else goes on as ever.

use std::fs;
use std::process::Command;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, service};

/// A repository without a manifest, as others have theirs.
fn theirs(place: &Place) -> Repository {
    let repository = place.repository("theirs");
    repository.write("service.py", &service("one"));
    repository.write("api.yaml", &api("/orders"));
    repository.commit("feat: begin");
    repository
}

fn api(path: &str) -> String {
    format!(
        "openapi: 3.0.3\ninfo: {{title: a, version: '1'}}\npaths:\n  {path}:\n    get:\n      responses: {{'200': {{description: ok}}}}\n"
    )
}

fn file(place: &Place, name: &str, text: &str) -> String {
    let path = place.path(name);
    fs::write(&path, text).unwrap();
    path
}

fn add(place: &Place, manifest: &str, repository: &Repository) -> String {
    place.told(&["service", "add", "store", "--manifest", manifest, "--repository", repository.folder()])
}

fn assert_says(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in:\n{text}"));
}

const CONTRACT: &str = "[contract]\nopenapi = \"api.yaml\"\n";

#[test]
fn a_repository_that_is_not_ours_has_versions_contracts_and_a_way_back() {
    let place = Place::begin();
    let repository = theirs(&place);
    let ours = file(&place, "store.toml", &manifest("store", "", CONTRACT));
    assert_says(&place.fail(&["service", "add", repository.folder()], 4), &["lockstep.toml"]);
    assert_says(&place.run(&["check", &ours, "--folder", repository.folder()]), &["1 contract"]);
    place.fail(&["check", &ours], 2);
    add(&place, &ours, &repository);
    assert_eq!(place.release("store"), "store@1.0.0");
    place.run(&["deploy", "store@1.0.0", "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    assert_says(&place.run(&["show", "store"]), &["kept outside of the repository", "by ann@example.org"]);
    assert_says(&place.run(&["show", "store@1.0.0"]), &["kept with the service"]);
    assert_eq!(
        place.run(&["show", "store@1.0.0", "--document", "manifest"]),
        fs::read_to_string(&ours).unwrap()
    );
    assert_eq!(place.run(&["service", "manifest", "store"]), fs::read_to_string(&ours).unwrap());
    // Contracts and numbers are those of the repository.
    repository.write("service.py", &service("two"));
    repository.write("api.yaml", &api("/other"));
    repository.commit("fix: another path");
    assert_eq!(place.release("store"), "store@2.0.0");
    place.fail(&["release", "store"], 3);
    place.run(&["deploy", "store@2.0.0", "--env", ENVIRONMENT, "--dry-run"]);
    assert_eq!(repository.git(&["status", "--porcelain"]), "", "nothing is left in what is not ours");
    // It is known where it comes from, without its manifest at hand.
    place.run(&["service", "add", repository.folder()]);
    assert_eq!(place.json(&["show", "store"])["manifests"].as_array().unwrap().len(), 1);
}

#[test]
fn another_manifest_makes_another_version_and_each_says_which_it_was() {
    let mut place = Place::begin();
    let repository = theirs(&place);
    let first = manifest("store", "", "");
    add(&place, &file(&place, "store.toml", &first), &repository);
    place.release("store");
    let second = manifest("store", "env = { GREETING = \"hello\" }\n", "");
    let path = file(&place, "second.toml", &second);
    place.run(&["service", "manifest", "store", &path, "--reason", "greets"]);
    assert_eq!(place.release("store"), "store@1.0.1", "the commit is the same, and the manifest is not");
    assert_says(&place.fail(&["release", "store"], 3), &["store@1.0.1"]);
    // The same once more is no change.
    place.run(&["service", "manifest", "store", &path]);
    add(&place, &path, &repository);
    let kept = place.json(&["show", "store"])["manifests"].clone();
    assert_eq!(kept.as_array().unwrap().len(), 2, "{kept}");
    assert!(kept[0]["until"].is_null() && kept[1]["until"].is_string(), "{kept}");
    let journal = place.run(&["journal", "export"]);
    assert_says(&journal, &["manifest_kept", "\"reason\":\"greets\"", "ann@example.org"]);
    let of = |version: &str| place.run(&["show", version, "--document", "manifest"]);
    assert_eq!((of("store@1.0.0"), of("store@1.0.1")), (first, second));
    // All of them stay: in the store, in a backup, and for the next server.
    let unused = file(&place, "unused.toml", &manifest("store", "env = { GREETING = \"hi\" }\n", ""));
    place.run(&["service", "manifest", "store", &unused]);
    place.run(&["service", "manifest", "store", &path]);
    let blobs = format!("{}/blobs/sha256", place.data());
    let aged = Command::new("find")
        .args([&blobs, "-type", "f", "-exec", "touch", "-d", "3 hours ago", "{}", ";"])
        .status();
    assert!(aged.unwrap().success());
    place.run(&["store", "gc"]);
    let backup = place.path("backup.tar.zst");
    place.run(&["backup", "create", &backup, "--data", &place.data()]);
    place.run(&["backup", "verify", &backup]);
    place.kill_server();
    place.start_server();
    repository.write("service.py", &service("two"));
    repository.commit("feat: two");
    assert_eq!(place.release("store"), "store@1.1.0");
}

#[test]
fn when_the_repository_has_one_too_ours_counts_and_that_is_said() {
    let place = Place::begin();
    let repository = theirs(&place);
    let ours = file(&place, "store.toml", &manifest("store", "", ""));
    add(&place, &ours, &repository);
    place.release("store");
    repository.write("lockstep.toml", &manifest("store", "env = { FROM = \"theirs\" }\n", ""));
    repository.commit("feat: a manifest of their own");
    assert_says(&place.told(&["release", "store"]), &["store@1.1.0", "does not count"]);
    assert_says(&add(&place, &ours, &repository), &["does not count"]);
    assert_eq!(place.json(&["show", "store@1.1.0"])["manifest"], "service");
    place.run(&["service", "manifest", "store", "--from-repository"]);
    assert_says(&place.fail(&["service", "manifest", "store"], 4), &["no manifest is kept"]);
    let said = place.told(&["release", "store", "--bump", "patch"]);
    assert!(said.contains("store@1.1.1") && !said.contains("does not count"), "{said}");
    assert!(place.json(&["show", "store@1.1.1"])["manifest"].is_null());
    // One that is kept goes with the service: who registers it again says which one counts.
    place.run(&["service", "manifest", "store", &ours]);
    place.run(&["service", "remove", "store", "--yes"]);
    assert!(!place.told(&["service", "add", repository.folder()]).contains("does not count"));
    place.fail(&["service", "manifest", "store"], 4);
}

#[test]
fn a_manifest_that_is_wrong_or_of_another_service_is_refused_and_changes_nothing() {
    let place = Place::begin();
    let repository = theirs(&place);
    let ours = file(&place, "store.toml", &manifest("store", "", ""));
    let other = file(&place, "other.toml", &manifest("other", "", ""));
    let words = ["service", "add", "store", "--repository", repository.folder(), "--manifest"];
    assert_says(&place.fail(&[&words[..], &[&other]].concat(), 2), &["manifest of `other`, not of `store`"]);
    let broken = file(&place, "broken.toml", "name = \"store\"\nunknown = 1\n");
    assert_says(&place.fail(&[&words[..], &[&broken]].concat(), 2), &["broken.toml"]);
    place.fail(&["service", "add", "store", "--repository", repository.folder()], 2);
    assert_eq!(place.json(&["services"]), serde_json::json!([]));
    add(&place, &ours, &repository);
    let before = place.json(&["show", "store"]);
    assert_says(&place.fail(&["service", "manifest", "store", &other], 3), &["of `other`, not of `store`"]);
    place.fail(&["service", "manifest", "store", &broken], 2);
    place.fail(&["service", "manifest", "nobody", &ours], 4);
    assert_eq!(place.json(&["show", "store"]), before);
    // With another name the manifest needs it too.
    place.run(&["service", "rename", "store", "shop", "--yes"]);
    assert_says(&place.fail(&["release", "shop"], 1), &["lockstep service manifest shop FILE"]);
    place.run(&["service", "manifest", "shop", &file(&place, "shop.toml", &manifest("shop", "", ""))]);
    assert_eq!(place.release("shop"), "shop@1.0.0");
}

#[test]
fn a_kept_manifest_goes_with_an_artifact_that_was_made_elsewhere_and_with_an_address() {
    let place = Place::begin();
    let repository = theirs(&place);
    let ours = file(&place, "store.toml", &manifest("store", "", ""));
    let address = format!("file://{}", repository.folder());
    place.run(&["service", "add", "store", "--manifest", &ours, "--repository", &address]);
    let archive = place.path("dist.tar.gz");
    repository.git(&["archive", "--output", &archive, "HEAD"]);
    let head = repository.git(&["rev-parse", "HEAD"]);
    let build = place.json(&["release", "store", "--artifact", &archive, "--commit", &head]);
    assert_eq!(build["version"], "1.0.0");
    place.run(&["deploy", "store@1.0.0", "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
}

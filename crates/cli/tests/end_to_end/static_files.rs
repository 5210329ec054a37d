//! Files that Lockstep serves: under callers, changed, and changed back.

use super::support::callers::Callers;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::Repository;

const MANIFEST: &str = "name = \"pages\"\n\n[[route]]\npath = \"/pages\"\nstrip_prefix = true\n\n[package]\ninclude = [\"dist\"]\n\n\
[run]\nkind = \"static\"\nroot = \"dist\"\nfallback = \"index.html\"\nimmutable = [\"assets\"]\n\
health = { http = \"/\", interval = \"100ms\", start_timeout = \"20s\" }\n";

fn write(repository: &Repository, text: &str) {
    repository.write("lockstep.toml", MANIFEST);
    repository.write("dist/index.html", text);
    repository.write("dist/assets/app.js", &format!("let shop = '{text}';"));
    repository.write("dist/docs/index.html", "docs");
}

#[test]
fn files_are_served_deployed_and_rolled_back_under_callers() {
    let place = Place::begin();
    let repository = place.repository("pages");
    write(&repository, "one");
    let one = place.first_release(&repository, "pages");
    write(&repository, "two");
    repository.commit("feat: two");
    let two = place.release("pages");
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    let gateway = place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let callers = Callers::begin(&gateway, &["/pages/", "/pages/assets/app.js"]);
    callers.wait_for(50);
    assert_eq!(place.ask("/pages/").1, "one");
    assert_eq!(place.ask("/pages/.env").0, 404);
    place.run(&["deploy", &two, "--env", ENVIRONMENT]);
    callers.wait_for(50);
    assert_eq!(place.ask("/pages/assets/app.js").1, "let shop = 'two';");
    assert_eq!(place.ask("/pages/docs").0, 307);
    place.run(&["undo", ENVIRONMENT]);
    callers.wait_for(50);
    assert_eq!(place.ask("/pages/").1, "one");
    assert!(callers.end() > 150);
}

#[test]
fn a_version_without_its_files_is_not_recorded() {
    let place = Place::begin();
    let repository = place.repository("pages");
    write(&repository, "one");
    repository.write("lockstep.toml", &MANIFEST.replace("root = \"dist\"", "root = \"build\""));
    repository.commit("feat: one");
    place.run(&["service", "add", repository.folder()]);
    let refused = place.fail(&["release", "pages"], 1);
    assert!(refused.contains("`build/`, which run.root names, is not in the package"), "{refused}");
}

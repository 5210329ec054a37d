//! Numbers from histories as they are: folders that are renamed, merges, squashes, rebases and reverts in everybody's words.

use super::support::place::Place;
use super::support::repository::{Repository, manifest, service};

/// A place with a service that has the release 1.0.0 from `main`.
fn released() -> (Place, Repository) {
    let place = Place::begin();
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    change(&repository, "feat: one");
    place.run(&["service", "add", repository.folder()]);
    assert_eq!(place.release("store"), "store@1.0.0");
    (place, repository)
}

/// Commits a change of the service.
fn change(repository: &Repository, message: &str) {
    repository.write("service.py", &service(message.split('\n').next().unwrap()));
    repository.commit(message);
}

/// Commits a change that conflicts with no other.
fn add(repository: &Repository, file: &str, message: &str) {
    repository.write(file, message);
    repository.commit(message);
}

fn assert_says(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in:\n{text}"));
}

fn changelog(place: &Place, version: &str) -> String {
    place.json(&["show", version])["changelog"].to_string()
}

#[test]
fn what_was_done_in_a_folder_before_it_was_renamed_counts() {
    let place = Place::begin();
    let repository = place.repository("shop");
    for name in ["orders", "stock"] {
        repository.write(&format!("{name}/lockstep.toml"), &manifest(name, "", ""));
        repository.write(&format!("{name}/service.py"), &service(name));
    }
    repository.commit("feat: begin");
    place.run(&["service", "add", repository.folder(), "--folder", "orders"]);
    assert_eq!(place.release("orders"), "orders@1.0.0");
    add(&repository, "orders/prices", "feat!: prices in cents");
    add(&repository, "stock/other", "feat: not of this service");
    std::fs::create_dir(format!("{}/services", repository.folder())).unwrap();
    repository.git(&["mv", "orders", "services/orders"]);
    repository.write("services/orders/lockstep.toml", &manifest("orders", "", "# written anew"));
    repository.commit("chore: move");
    let moved = ["service", "add", repository.folder(), "--folder", "services/orders", "--move"];
    place.run(&moved);
    assert_eq!(place.release("orders"), "orders@2.0.0");
    let text = changelog(&place, "orders@2.0.0");
    assert!(text.contains("prices in cents") && !text.contains("not of this service"), "{text}");
    // From then on only the new folder counts, and another service may take the old one.
    repository.write("orders/lockstep.toml", &manifest("newer", "", ""));
    repository.commit("feat!: another service");
    add(&repository, "services/orders/more", "fix: more");
    assert_eq!(place.release("orders"), "orders@2.0.1");
}

#[test]
fn what_is_applied_again_after_it_was_taken_back_counts_again() {
    let (place, repository) = released();
    change(&repository, "feat!: x");
    assert_eq!(place.release("store"), "store@2.0.0");
    repository.git(&["revert", "--no-edit", "HEAD"]);
    let said = place.run(&["release", "store"]);
    assert_says(&said, &["store@2.0.1"]);
    assert_says(&place.fail(&["release", "store"], 3), &["nothing to release"]);
    repository.git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!(place.release("store"), "store@3.0.0");
    assert_says(&changelog(&place, "store@3.0.0"), &["\"breaking\""]);
}

#[test]
fn a_candidate_that_was_squashed_becomes_its_release() {
    let (place, repository) = released();
    repository.git(&["checkout", "--quiet", "-b", "release/1.1"]);
    add(&repository, "a", "feat: a");
    add(&repository, "b", "feat: b");
    assert_eq!(place.release_of("store", "release/1.1"), "store@1.1.0-rc.1");
    repository.git(&["checkout", "--quiet", "main"]);
    repository.git(&["merge", "--squash", "release/1.1"]);
    repository.commit("chore: merge");
    assert_eq!(place.release("store"), "store@1.1.0");
    let artifact = |version: &str| place.json(&["show", version])["artifact"]["digest"].clone();
    assert_eq!(artifact("store@1.1.0"), artifact("store@1.1.0-rc.1"));

    // The branch was not what `main` is, but it came in as one commit; the number is what people chose for the branch.
    repository.git(&["checkout", "--quiet", "-b", "release/2.0"]);
    add(&repository, "c", "fix: c");
    add(&repository, "d", "fix: d");
    assert_eq!(place.release_of("store", "release/2.0"), "store@2.0.0-rc.1");
    repository.git(&["checkout", "--quiet", "main"]);
    add(&repository, "e", "fix: e");
    repository.git(&["merge", "--squash", "release/2.0"]);
    repository.commit("chore: merge");
    add(&repository, "f", "fix: f");
    assert_eq!(place.release("store"), "store@2.0.0");
}

#[test]
fn a_candidate_becomes_its_release_by_a_rebase_and_by_a_merge() {
    let (place, repository) = released();
    repository.git(&["checkout", "--quiet", "-b", "release/1.4"]);
    add(&repository, "a", "fix: a");
    assert_eq!(place.release_of("store", "release/1.4"), "store@1.4.0-rc.1");
    repository.git(&["checkout", "--quiet", "main"]);
    add(&repository, "b", "fix: b");
    repository.git(&["checkout", "--quiet", "-b", "rebased", "release/1.4"]);
    repository.git(&["rebase", "--quiet", "main"]);
    repository.git(&["checkout", "--quiet", "main"]);
    repository.git(&["merge", "--quiet", "--ff-only", "rebased"]);
    assert_eq!(place.release("store"), "store@1.4.0");

    repository.git(&["checkout", "--quiet", "-b", "release/2.0"]);
    add(&repository, "c", "fix: c");
    assert_eq!(place.release_of("store", "release/2.0"), "store@2.0.0-rc.1");
    repository.git(&["checkout", "--quiet", "main"]);
    add(&repository, "d", "fix: d");
    repository.git(&["merge", "--quiet", "--no-edit", "release/2.0"]);
    assert_eq!(place.release("store"), "store@2.0.0");

    // A branch that was only cut promises nothing to the branch it was cut from.
    repository.git(&["branch", "release/3.0"]);
    place.run(&["release", "store", "--ref", "release/3.0"]);
    add(&repository, "e", "fix: e");
    assert_eq!(place.release("store"), "store@2.0.1");
}

#[test]
fn a_branch_that_lost_what_was_released_is_refused_with_what_is_missing() {
    let (place, repository) = released();
    let first = repository.git(&["rev-parse", "HEAD"]);
    change(&repository, "feat: two");
    assert_eq!(place.release("store"), "store@1.1.0");
    repository.git(&["reset", "--quiet", "--hard", &first]);
    add(&repository, "a", "fix: a");
    let said = place.fail(&["release", "store"], 1);
    assert_says(&said, &["does not contain commit", "store@1.1.0", "missing: `feat: two`", "--unrelated"]);
    // The same under another name of the branch.
    repository.git(&["branch", "--move", "main", "master"]);
    let said = place.fail(&["release", "store", "--ref", "master"], 1);
    assert_says(&said, &["missing: `feat: two`"]);
    let reason = "two was a mistake";
    place.run(&["release", "store", "--ref", "master", "--unrelated", reason]);
    assert_says(&place.run(&["show", "store@1.1.1"]), &[reason]);
}

#[test]
fn a_branch_that_was_rebased_counts_only_what_is_new() {
    let (place, repository) = released();
    let first = repository.git(&["rev-parse", "HEAD"]);
    add(&repository, "a", "feat!: a");
    add(&repository, "b", "feat: b");
    assert_eq!(place.release("store"), "store@2.0.0");
    // Somebody puts a commit below them.
    let released = repository.git(&["rev-parse", "HEAD"]);
    repository.git(&["reset", "--quiet", "--hard", &first]);
    add(&repository, "below", "docs: below");
    repository.git(&["cherry-pick", &format!("{first}..{released}")]);
    add(&repository, "c", "fix: c");
    assert_eq!(place.release("store"), "store@2.0.1");
    let text = changelog(&place, "store@2.0.1");
    assert!(text.contains("\"c\"") && !text.contains("\"breaking\""), "{text}");
    // Squashed into one, it is known by its content.
    let tree = repository.git(&["rev-parse", "HEAD^{tree}"]);
    let squashed = repository.git(&["commit-tree", "-p", &first, "-m", "feat!: all in one", &tree]);
    repository.git(&["reset", "--quiet", "--hard", &squashed]);
    add(&repository, "d", "fix: d");
    assert_eq!(place.release("store"), "store@2.0.2");
}

#[test]
fn reverts_in_everybodys_words_cancel() {
    let (place, repository) = released();
    let mut number = 0;
    let mut next = || {
        number += 1;
        add(&repository, &format!("fix-{number}"), "fix: something");
        let version = place.release("store");
        assert_eq!(version, format!("store@1.0.{number}"));
        let text = changelog(&place, &version);
        assert!(!text.contains("features"), "{text}");
    };
    // A forge's button, squashed twice.
    add(&repository, "y", "feat: y (#5)");
    repository.git(&["rm", "--quiet", "y"]);
    repository.commit("Revert \"feat: y (#5)\" (#6)\n\nReverts shop/store#5");
    next();
    // The convention.
    add(&repository, "z", "feat: z");
    let id = repository.git(&["rev-parse", "--short", "HEAD"]);
    repository.git(&["rm", "--quiet", "z"]);
    repository.commit(&format!("revert: z was too early\n\nRefs: {id}"));
    next();
    // A merge, by git.
    repository.git(&["checkout", "--quiet", "-b", "feature/m"]);
    add(&repository, "m1", "feat!: m1");
    add(&repository, "m2", "feat: m2");
    repository.git(&["checkout", "--quiet", "main"]);
    add(&repository, "beside", "fix: beside");
    repository.git(&["merge", "--quiet", "--no-edit", "feature/m"]);
    repository.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
    next();
}

#[test]
fn nearly_the_convention_is_told_with_the_right_form() {
    let (place, repository) = released();
    add(&repository, "a", "feat (api): a");
    let said = place.told(&["release", "store"]);
    assert_says(&said, &["store@1.0.1", "write `feat(api): a`"]);
    add(&repository, "b", "feat!(api): b");
    let said = place.told(&["release", "store"]);
    assert_says(&said, &["store@2.0.0", "write `feat(api)!: b`"]);
}

#[test]
fn nothing_to_release_is_told_from_a_build_that_failed() {
    let (place, repository) = released();
    let told = |ends: i32| {
        let said = place.fail(&["release", "store", "--json"], ends);
        let error: serde_json::Value = serde_json::from_str(&said).unwrap();
        (error["error"]["exit_code"].clone(), error["error"]["code"].clone())
    };
    assert_eq!(told(3), (3.into(), "nothing_to_release".into()));
    repository.git(&["commit", "--quiet", "--allow-empty", "--message", "fix: nothing at all"]);
    assert_eq!(told(3), (3.into(), "nothing_to_release".into()));
    assert_says(&place.run(&["release", "store", "--bump", "patch"]), &["store@1.0.1"]);
    repository.write("lockstep.toml", "name = \"store\"");
    repository.commit("fix: broken");
    assert_eq!(told(1), (1.into(), "refused".into()));
}

#[test]
fn all_services_of_a_repository_that_changed_are_released_at_once() {
    let place = Place::begin();
    let repository = place.repository("shop");
    for name in ["orders", "stock", "pay"] {
        repository.write(&format!("{name}/lockstep.toml"), &manifest(name, "", ""));
        repository.write(&format!("{name}/service.py"), &service(name));
    }
    repository.commit("feat: begin");
    for name in ["orders", "stock", "pay"] {
        place.run(&["service", "add", repository.folder(), "--folder", name]);
    }
    let all = |expected: i32| {
        let output =
            place.command(&["release", "--changed"]).current_dir(repository.folder()).output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        assert_eq!(output.status.code(), Some(expected), "{text}");
        text
    };
    assert_says(&all(0), &["orders@1.0.0", "stock@1.0.0", "pay@1.0.0", "3 released, 0 unchanged"]);
    assert_says(&all(3), &["3 unchanged", "nothing to release"]);
    let artifact = |version: &str| place.json(&["show", version])["artifact"]["digest"].clone();
    add(&repository, "pay/more", "feat: more");
    repository.write("orders/broken", "uncommitted");
    assert_says(&all(1), &["pay@1.1.0", "stock: unchanged", "orders: failed"]);
    std::fs::remove_file(format!("{}/orders/broken", repository.folder())).unwrap();
    // A version of the same content has the same artifact, to the byte.
    place.run(&["release", "stock", "--bump", "patch"]);
    assert_eq!(artifact("stock@1.0.1"), artifact("stock@1.0.0"));
    assert_says(&all(3), &["3 unchanged"]);
}

#[test]
fn a_red_suite_shows_the_end_of_its_output() {
    let (place, repository) = released();
    let suite = "[[test]]\nkind = \"unit\"\nrun = [\"sh\", \"-c\", \"echo the answer was 41; exit 1\"]";
    repository.write("lockstep.toml", &manifest("store", "", suite));
    repository.commit("feat: tests");
    let said = place.fail(&["release", "store"], 1);
    assert_says(&said, &["test suite `unit` is red", "the log ends with", "the answer was 41"]);
}

/// Brings a version to staging and then to production.
fn bring_to_production(place: &Place, version: &str) {
    place.run(&["environment", "set", "staging", "--stay", "0s"]);
    place.run(&["deploy", version, "--env", "staging"]);
    place.run(&["deploy", version, "--env", "production", "--strategy", "all-at-once"]);
}

#[test]
fn a_hotfix_of_an_old_line_reaches_production() {
    let (place, repository) = released();
    add(&repository, "a", "feat: a");
    assert_eq!(place.release("store"), "store@1.1.0");
    let old = repository.git(&["rev-parse", "HEAD"]);
    add(&repository, "b", "feat: b");
    assert_eq!(place.release("store"), "store@1.2.0");
    // Cut from `main`, it would bring what 1.2.0 brought under a lower number.
    repository.git(&["checkout", "--quiet", "-b", "hotfix/1.1"]);
    add(&repository, "c", "fix: c");
    let said = place.fail(&["release", "store", "--ref", "hotfix/1.1"], 1);
    assert_says(&said, &["which cuts versions 1.1.*, contains store@1.2.0, which is higher"]);
    repository.git(&["reset", "--quiet", "--hard", &old]);
    add(&repository, "c", "fix: c");
    assert_eq!(place.release_of("store", "hotfix/1.1"), "store@1.1.1");
    bring_to_production(&place, "store@1.1.1");
    // `main` goes on from its own newest release.
    repository.git(&["checkout", "--quiet", "main"]);
    add(&repository, "d", "fix: d");
    assert_eq!(place.release("store"), "store@1.2.1");

    // By candidates: the release is what its candidate was, and not before that has come as far as candidates may.
    repository.git(&["checkout", "--quiet", "-b", "release/1.1", "hotfix/1.1"]);
    add(&repository, "e", "fix: e");
    let release = ["release", "store", "--ref", "release/1.1", "--version", "1.1.2"];
    assert_says(&place.fail(&release, 1), &["when a candidate of the same content is there"]);
    assert_eq!(place.release_of("store", "release/1.1"), "store@1.1.2-rc.1");
    assert_says(&place.fail(&release, 1), &["has entered stage pre-release; 1.1.2-rc.1 is in testing"]);
    place.run(&["deploy", "store@1.1.2-rc.1", "--env", "staging"]);
    assert_says(&place.run(&release), &["store@1.1.2"]);
    let artifact = |version: &str| place.json(&["show", version])["artifact"]["digest"].clone();
    assert_eq!(artifact("store@1.1.2"), artifact("store@1.1.2-rc.1"));
    bring_to_production(&place, "store@1.1.2");
}

#[test]
fn a_repository_with_a_life_goes_on_where_it_is() {
    let mut place = Place::begin();
    let repository = place.repository("store");
    let step = |text: &str, tag: &str| {
        repository.write("service.py", &service(text));
        repository.write("VERSION", tag.trim_start_matches('v'));
        repository.commit(&format!("feat: {text}"));
        repository.git(&["tag", tag]);
    };
    step("one", "v1.0.0");
    step("two", "v3.4.0");
    repository.git(&["tag", "--annotate", "--message", "with words", "v3.4.1"]);
    repository.git(&["tag", "vienna"]);
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.commit("chore: come to lockstep");
    let said = place.run(&["service", "add", repository.folder()]);
    assert_says(&said, &["has 3 tags such as v3.4.1", "--from-tags 'v*'", "it would be 1.0.0"]);
    let from_tags = ["service", "add", repository.folder(), "--from-tags", "v*"];
    let shown = place.run(&from_tags);
    assert_says(
        &shown,
        &["3 earlier releases are taken up, 1.0.0 (tag v1.0.0) to 3.4.1", "vienna", "nothing was changed"],
    );
    assert_eq!(place.json(&["services"])[0].get("earlier"), None);
    place.run(&[&from_tags[..], &["--yes"]].concat());
    place.kill_server();
    place.start_server();
    assert_eq!(place.json(&["services"])[0]["earlier"].as_array().unwrap().len(), 3);
    assert_says(&place.run(&from_tags), &["3 releases are known already"]);
    assert_eq!(place.release("store"), "store@3.4.2");
    let text = changelog(&place, "store@3.4.2");
    assert!(text.contains("come to lockstep") && !text.contains("two"), "{text}");

    // What was released before can be released as what it was, with a manifest that its commit does not have.
    let given = place.path("given.toml");
    std::fs::write(&given, manifest("store", "", "")).unwrap();
    let was = |tag, version| ["release", "store", "--ref", tag, "--version", version, "--manifest", &given];
    assert_says(&place.run(&was("v3.4.0", "3.4.0")), &["store@3.4.0", "features: two"]);
    assert_says(&place.run(&was("v1.0.0", "1.0.0")), &["store@1.0.0"]);
    let said = place.fail(&was("v1.0.0", "3.4.1"), 1);
    assert_says(&said, &["3.4.1 was released before, as tag `v3.4.1`"]);
    assert_says(&place.run(&["show", "store@3.4.0", "--document", "manifest"]), &["name = \"store\""]);
    bring_to_production(&place, "store@1.0.0");
    // The next one goes on from the newest all the same.
    add(&repository, "more", "fix: more");
    assert_eq!(place.release("store"), "store@3.4.3");
}

#[test]
fn a_number_can_be_chosen_where_it_may_follow() {
    let place = Place::begin();
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("VERSION", "2.7.0\n");
    change(&repository, "feat: one");
    let said = place.run(&["service", "add", repository.folder()]);
    assert_says(&said, &["VERSION says 2.7.0: `lockstep release store --version 2.7.1`"]);
    assert_says(&place.run(&["release", "store", "--version", "2.7.1"]), &["store@2.7.1"]);
    change(&repository, "feat!: two");
    let said = place.fail(&["release", "store", "--version", "2.7.0"], 1);
    assert_says(&said, &["2.7.0 would not be higher than 2.7.1"]);
    let said = place.told(&["release", "store", "--version", "2.8.0"]);
    assert_says(&said, &["store@2.8.0", "is a minor step, but its commits owe a major one"]);
    place.fail(&["release", "store", "--version", "2.9.0", "--bump", "minor"], 2);
}

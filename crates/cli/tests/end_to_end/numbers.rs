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

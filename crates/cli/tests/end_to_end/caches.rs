//! Folders that builds find as an earlier one left them: by lock file and branch, and never past the checkout.

use std::fs;

use super::support::place::Place;
use super::support::repository::{Repository, manifest, service};

/// Says what it finds in the cache, and leaves something there.
const INSTALL: &str = "#!/bin/sh\n\
    test -e deps/made && echo \"found $(cat deps/made)\" || echo 'found nothing'\n\
    mkdir -p deps && cat package-lock.json > deps/made\n";

struct Cached {
    place: Place,
    repository: Repository,
}

impl Cached {
    fn begin() -> Self {
        let place = Place::begin();
        let repository = place.repository("shop");
        let build = "[build]\nsteps = [\"sh install.sh\"]\ncache = [\"deps\", \"~/.shop\"]\n\
                     [package]\ninclude = [\"service.py\"]";
        repository.write("lockstep.toml", &manifest("shop", "", build));
        repository.write("service.py", &service("one"));
        repository.write("install.sh", INSTALL);
        repository.write("package-lock.json", "first");
        Self { place, repository }
    }

    /// Releases what is there, and returns the log of the build.
    fn release(&self, reference: &str) -> String {
        let build = self.place.json(&["release", "shop", "--ref", reference]);
        self.place.run(&["logs", build["id"].as_str().unwrap()])
    }

    fn change(&self, text: &str) {
        self.repository.write("service.py", &service(text));
        self.repository.commit(&format!("feat: answer {text}"));
    }
}

#[test]
fn a_build_finds_what_the_last_one_left_under_the_same_lock_file_and_of_its_branch_or_the_main_one() {
    let cached = Cached::begin();
    let first = cached.place.first_release(&cached.repository, "shop");
    assert_eq!(first, "shop@1.0.0");
    cached.change("two");
    let log = cached.release("main");
    assert!(log.contains("cache deps: as it was kept") && log.contains("found first"), "{log}");
    assert!(log.contains("cache ~/.shop: the home folder stays as it is between builds"), "{log}");

    cached.repository.write("package-lock.json", "second");
    cached.change("three");
    let log = cached.release("main");
    assert!(
        log.contains("cache deps: nothing was kept for these lock files") && log.contains("found nothing"),
        "{log}"
    );

    // Another branch takes what the main one left, and leaves nothing to it.
    cached.repository.git(&["checkout", "--quiet", "-b", "hotfix/1.2"]);
    cached.repository.write("install.sh", &(INSTALL.to_owned() + "echo poison > deps/made\n"));
    cached.change("four");
    let log = cached.release("hotfix/1.2");
    assert!(log.contains("found second"), "{log}");
    cached.repository.git(&["checkout", "--quiet", "main"]);
    cached.change("five");
    let log = cached.release("main");
    assert!(log.contains("found second") && !log.contains("poison"), "{log}");
}

#[test]
fn a_cache_with_which_a_step_fails_is_removed_and_lock_files_of_sources_count() {
    let cached = Cached::begin();
    cached.repository.write("install.sh", "test -e deps/made && exit 1\nmkdir -p deps && touch deps/made\n");
    cached.place.first_release(&cached.repository, "shop");
    cached.change("two");
    let failed = cached.place.fail(&["release", "shop"], 1);
    assert!(failed.contains("build step 1 of 1"), "{failed}");
    let log = cached.release("main");
    assert!(log.contains("cache deps: nothing was kept"), "it begins without: {log}");

    let build = "[build]\nsteps = [\"sh install.sh\"]\ncache = [\"deps\"]\nsources = [\"package-lock.json\"]\n\
                 [package]\ninclude = [\"service.py\"]";
    let stock = |text: &str| {
        cached.repository.write("stock/lockstep.toml", &manifest("stock", "", build));
        cached
            .repository
            .write("stock/install.sh", INSTALL.replace("package-lock", "../package-lock").as_str());
        cached.repository.write("stock/service.py", &service(text));
        cached.repository.commit(&format!("feat: {text}"));
    };
    stock("one");
    cached.place.run(&["service", "add", &format!("{}/stock", cached.repository.folder())]);
    cached.place.release("stock");
    cached.repository.write("package-lock.json", "second");
    stock("two");
    let build = cached.place.json(&["release", "stock"]);
    let log = cached.place.run(&["logs", build["id"].as_str().unwrap()]);
    assert!(log.contains("found nothing"), "another lock file of the root: {log}");
}

#[test]
fn a_cache_is_neither_taken_nor_put_past_the_checkout_and_a_failed_build_keeps_nothing() {
    let cached = Cached::begin();
    let outside = cached.place.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(format!("{outside}/secret"), "s").unwrap();
    cached.repository.write("install.sh", &format!("mkdir -p deps; rm -rf deps; ln -s {outside} deps\n"));
    cached.place.first_release(&cached.repository, "shop");
    assert!(fs::read_to_string(format!("{outside}/secret")).is_ok(), "it is where it was");
    cached.repository.write("install.sh", "mkdir -p deps && echo bad > deps/made && exit 1\n");
    cached.change("two");
    let failed = cached.place.fail(&["release", "shop"], 1);
    assert!(failed.contains("cache deps: nothing was kept") || failed.contains("build step"), "{failed}");
    cached.repository.write("install.sh", INSTALL);
    cached.change("three");
    let log = cached.release("main");
    assert!(log.contains("found nothing"), "neither a link nor what a failed build made was kept: {log}");

    // The repository leads the way out by a link.
    let build =
        "[build]\nsteps = [\"sh install.sh\"]\ncache = [\"web/deps\"]\n[package]\ninclude = [\"service.py\"]";
    cached.repository.write("lockstep.toml", &manifest("shop", "", build));
    cached.repository.write("install.sh", "mkdir -p web/deps && touch web/deps/x\n");
    std::os::unix::fs::symlink(&outside, format!("{}/web", cached.repository.folder())).unwrap();
    cached.change("four");
    let build = cached.place.command(&["release", "shop", "--json"]).output().unwrap();
    assert!(String::from_utf8_lossy(&build.stdout).contains("1.") || !build.status.success());
    assert!(!fs::exists(format!("{outside}/deps/made")).unwrap());
}

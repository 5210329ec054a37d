//! What is taken out of a repository for a build: references, folders, pointers, submodules and mirrors.

use std::fs;
use std::io::Read as _;

use lockstep_pipeline::{
    BuildEvent, BuildFault, BuildOutput, CancelToken, Phase, Prepared, make, mirrors, prepare, run,
};

use crate::bench::{Bench, PACKAGE, RUN};
use crate::repository::Repository;

#[test]
fn an_unknown_reference_names_similar_ones() {
    let mut bench = Bench::new("");
    bench.repository.git(&["branch", "release/1.5"]);
    bench.request.reference = Some("release/1.6".parse().unwrap());
    assert_eq!(bench.problems(), ["no branch, tag or commit is named `release/1.6`; similar: `release/1.5`"]);
    bench.request.reference = Some("deadbeef".parse().unwrap());
    assert_eq!(bench.problems(), ["no branch, tag or commit is named `deadbeef`"]);
}

#[test]
fn a_repository_that_is_not_there_says_what_git_says() {
    let mut bench = Bench::new("");
    let nowhere = bench.folder.path().join("nowhere");
    bench.request.repository = nowhere.to_str().unwrap().parse().unwrap();
    let failure = bench.failure();
    assert_eq!(failure.phase, Phase::Fetch);
    let text = failure.to_string();
    assert!(text.contains("nowhere` cannot be fetched: ") && text.contains("does not exist"), "{text}");
    assert!(failure.hint().starts_with("try `git ls-remote -- "));
}

#[test]
fn a_folder_inside_a_repository_is_pointed_to_its_root() {
    let mut bench = Bench::new("");
    bench.repository.write("services/pay/x", "");
    bench.repository.commit("feat: pay");
    let inside = bench.repository.folder.join("services/pay");
    bench.request.repository = inside.to_str().unwrap().parse().unwrap();
    assert!(bench.problems()[0].starts_with("the folder is inside the repository `"));
}

#[test]
fn branches_tags_and_commits_are_resolved_after_new_pushes() {
    let mut bench = Bench::new("");
    let first = bench.repository.git(&["rev-parse", "HEAD"]);
    bench.repository.git(&["tag", "--annotate", "--message=one", "v1"]);
    prepare(&bench.request, &|_: &BuildEvent| {}, &bench.cancel).unwrap();
    bench.repository.git(&["switch", "--quiet", "--create", "feature/login"]);
    bench.repository.write("login", "");
    let second = bench.repository.commit("feat(login): add it\n\nWith a body.\n\nBREAKING CHANGE: all new");
    let mut resolve = |reference: &str| {
        bench.request.reference = Some(reference.parse().unwrap());
        prepare(&bench.request, &|_: &BuildEvent| {}, &bench.cancel).unwrap()
    };
    for (reference, commit, branch) in [
        ("feature/login", &second, Some("feature/login")),
        ("main", &first, Some("main")),
        ("v1", &first, None),
        (&second[..10], &second, Some("feature/login")),
    ] {
        let checked = resolve(reference).checked;
        assert_eq!(
            (checked.commit.as_str(), checked.branch.as_deref()),
            (commit.as_str(), branch),
            "{reference}"
        );
    }
    let prepared = resolve("feature/login");
    let since = first.parse().unwrap();
    let scope = &prepared.checked.scope;
    let history = |since| prepared.mirror.history(&prepared.checked.commit, since, scope).unwrap().commits;
    let log = history(Some(&since));
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].message, "feat(login): add it\n\nWith a body.\n\nBREAKING CHANGE: all new");
    let all = history(None);
    assert_eq!(all.iter().map(|commit| commit.id.as_str()).collect::<Vec<_>>(), [&first, &second]);
    let lost = "0".repeat(40).parse().unwrap();
    assert_eq!(history(Some(&lost)).len(), 2);
}

#[test]
fn a_service_of_a_monorepo_has_its_folder_and_what_it_names() {
    let mut bench = Bench::new("");
    let manifest = format!(
        "name = \"pay\"\n[build]\nsources = [\"services/shared file\", \"libs\"]\n\
         steps = [[\"sh\", \"-c\", \"set -e; cp ../shared* copy; find ../.. -not -path '*/.git*' -type f > $TMPDIR/seen; sort $TMPDIR/seen > seen\"]]\n{PACKAGE}{RUN}"
    );
    bench.repository.write("services/pay/lockstep.toml", &manifest);
    bench.repository.write("services/shared file", "one");
    bench.repository.write("services/other/large", "not of this service");
    bench.repository.write("libs/a/b", "");
    let first = bench.repository.commit("feat(pay): begin");
    bench.request.folder = "services/pay".parse().unwrap();
    let (before, output) = bench.run().unwrap();
    let seen = unpacked(&output, "seen");
    assert_eq!(
        seen.lines().collect::<Vec<_>>(),
        [
            "../../libs/a/b",
            "../../services/pay/copy",
            "../../services/pay/lockstep.toml",
            "../../services/shared file"
        ]
    );
    let history = |of: &Prepared| {
        let since = first.parse().unwrap();
        of.mirror.history(&of.checked.commit, Some(&since), &of.checked.scope).unwrap().commits.len()
    };

    // What is not of the service changes nothing, byte for byte; nor does an uncommitted file there stand in the way.
    bench.repository.write("services/other/large", "changed");
    bench.repository.commit("feat: other");
    bench.repository.write("services/other/draft", "");
    let (other, same) = bench.run().unwrap();
    assert_eq!((before.checked.key, output.artifact.digest), (other.checked.key, same.artifact.digest));
    assert_eq!(history(&other), 0);

    bench.repository.write("services/shared file", "two");
    assert!(bench.problems()[0].contains("services/shared file"));
    bench.repository.commit("fix: share");
    let (after, changed) = bench.run().unwrap();
    assert_ne!(before.checked.key, after.checked.key);
    assert_ne!(output.artifact.digest, changed.artifact.digest);
    assert_eq!(history(&after), 1);

    let unnamed = manifest.replace("\"services/shared file\", ", "");
    bench.repository.write("services/pay/lockstep.toml", &unnamed);
    bench.repository.commit("fix: forget it");
    fs::remove_file(bench.request.work_folder.join("artifact.tar.zst")).unwrap();
    let hint = bench.failure().hint();
    assert!(hint.ends_with("it has `services/pay` and what build.sources names"), "{hint}");
    bench.repository.write("services/pay/lockstep.toml", &manifest.replace("\"libs\"", "\"lips\""));
    bench.repository.commit("fix: mistyped");
    assert!(bench.problems()[0].starts_with("build.sources names `lips`"), "{:?}", bench.problems());
}

#[test]
fn a_service_can_be_built_from_the_whole_repository() {
    let mut bench = Bench::new("");
    let manifest = format!(
        "name = \"pay\"\n[build]\nsources = [\".\"]\nsteps = [[\"cp\", \"../start\", \".\"]]\n{PACKAGE}{RUN}"
    );
    bench.repository.write("pay/lockstep.toml", &manifest);
    bench.repository.commit("feat(pay): begin");
    bench.request.folder = "pay".parse().unwrap();
    let (before, _) = bench.run().unwrap();
    bench.repository.write("start", "#!/bin/sh\ntrue\n");
    bench.repository.commit("fix: start");
    assert_ne!(before.checked.key, bench.run().unwrap().0.checked.key);
}

/// Reads a file of the artifact.
fn unpacked(output: &BuildOutput, name: &str) -> String {
    let file = zstd::Decoder::new(fs::File::open(&output.artifact.path).unwrap()).unwrap();
    let mut archive = tar::Archive::new(file);
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut entry = entries.find(|entry| entry.path().unwrap().to_str() == Some(name)).unwrap();
    let mut text = String::new();
    entry.read_to_string(&mut text).unwrap();
    text
}

/// A pointer as git-lfs writes it.
fn pointer() -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12345\n", "0".repeat(64))
}

#[test]
fn a_pointer_of_git_lfs_is_never_shipped_without_a_word() {
    let bench = Bench::new("");
    bench.repository.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    bench.repository.git(&["config", "filter.lfs.required", "false"]);
    bench.repository.write("model.bin", &pointer());
    bench.repository.write("innocent", &"x".repeat(150));
    bench.repository.commit("feat: a model");
    let problems = bench.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("model.bin") && problems[0].contains("build.lfs = \"fetch\""),
        "{problems:?}"
    );
    bench
        .repository
        .write("lockstep.toml", &format!("name = \"orders\"\n[build]\nlfs = \"pointers\"\n{RUN}"));
    bench.repository.commit("fix: pointers are meant");
    assert_eq!(unpacked(&bench.run().unwrap().1, "model.bin"), pointer());
    bench.repository.write("lockstep.toml", &format!("name = \"orders\"\n[build]\nlfs = \"fetch\"\n{RUN}"));
    bench.repository.commit("fix: the file is meant");
    // There is no such object, or not even git-lfs.
    fs::remove_file(bench.request.work_folder.join("artifact.tar.zst")).unwrap();
    assert!(matches!(bench.failure().fault, BuildFault::Checkout { .. }));
}

#[test]
fn a_submodule_is_fetched_or_said_to_be_empty() {
    let bench = Bench::new("");
    let lib = Repository::new(&bench.folder.path().join("lib"));
    lib.write("lib.txt", "of the library");
    lib.commit("feat: lib");
    bench.repository.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        "../lib",
        "lib",
    ]);
    bench.repository.commit("feat: a library");
    let problems = bench.problems();
    assert!(
        problems.len() == 1 && problems[0].contains("lib; say build.submodules = \"fetch\""),
        "{problems:?}"
    );
    let say = |word: &str| {
        let manifest = format!("name = \"orders\"\n[build]\nsubmodules = \"{word}\"\n{RUN}");
        bench.repository.write("lockstep.toml", &manifest);
        bench.repository.commit("fix: say what is meant");
    };
    say("empty");
    bench.run().unwrap();
    say("fetch");
    // The library lies in what no build may see here, so it is not fetched.
    assert!(bench.problems()[0].starts_with("a submodule comes from `../lib`"), "{:?}", bench.problems());
    let mut open = bench.request.clone();
    open.data_folder = None;
    let (_, output) = run(&open, &|_: &BuildEvent| {}, &bench.cancel).unwrap();
    assert_eq!(unpacked(&output, "lib/lib.txt"), "of the library");

    // One in another one is not fetched here, and not shipped as an empty folder either.
    let deep = Repository::new(&bench.folder.path().join("deep"));
    deep.write("deep.txt", "");
    deep.commit("feat: deep");
    lib.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../deep", "deep"]);
    let newer = lib.commit("feat: deeper");
    let inside = Repository { folder: bench.repository.folder.join("lib") };
    inside.git(&["-c", "protocol.file.allow=always", "fetch", "--quiet", "origin"]);
    inside.git(&["checkout", "--quiet", &newer]);
    bench.repository.commit("feat: the deeper library");
    let failure = run(&open, &|_: &BuildEvent| {}, &bench.cancel).unwrap_err().to_string();
    assert!(failure.contains("the submodule `lib/deep` is in another one and was not fetched"), "{failure}");
}

#[test]
fn a_checkout_of_a_build_system_knows_its_branch_by_its_origin() {
    let mut bench = Bench::new("");
    let commit = bench.repository.git(&["rev-parse", "HEAD"]);
    bench.repository.git(&["branch", "feature/older"]);
    bench.repository.write("more", "");
    let newest = bench.repository.commit("feat: more");
    let clone = bench.folder.path().join("ci");
    let url = bench.repository.folder.to_str().unwrap();
    bench.repository.git(&["clone", "--quiet", url, clone.to_str().unwrap()]);
    let ci = Repository { folder: clone };
    ci.git(&["checkout", "--quiet", "--detach", "origin/main"]);
    ci.git(&["branch", "--delete", "--force", "main"]);
    bench.request.repository = ci.folder.to_str().unwrap().parse().unwrap();
    let mut resolve = |reference: Option<&str>| {
        bench.request.reference = reference.map(|reference| reference.parse().unwrap());
        let checked = prepare(&bench.request, &|_: &BuildEvent| {}, &bench.cancel).unwrap().checked;
        (checked.commit.to_string(), checked.branch)
    };
    assert_eq!(resolve(None), (newest.clone(), Some("main".into())));
    assert_eq!(resolve(Some("main")), (newest.clone(), Some("main".into())));
    assert_eq!(resolve(Some("feature/older")), (commit, Some("feature/older".into())));
    // Without the origin's word for its main branch, the branch that ends there is meant.
    ci.git(&["remote", "set-head", "origin", "--delete"]);
    assert_eq!(resolve(None), (newest, Some("main".into())));
}

#[test]
fn two_builds_of_one_repository_share_its_mirror() {
    let bench = Bench::step("sleep 0.2", "");
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..3)
            .map(|number| {
                let mut request = bench.request.clone();
                request.work_folder = bench.folder.path().join(format!("build-{number}"));
                scope.spawn(move || run(&request, &|_: &BuildEvent| {}, &CancelToken::new()).map(|_| ()))
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().unwrap().unwrap());
    });
    let mirrors = fs::read_dir(&bench.request.mirror_folder).unwrap().count();
    assert_eq!(mirrors, 2, "one mirror and its lock");
}

#[test]
fn a_mirror_is_not_removed_while_a_build_has_it_and_is_cloned_again_afterwards() {
    let bench = Bench::new("");
    let name = mirrors::name_of(&bench.request.repository);
    let prepared = prepare(&bench.request, &|_: &BuildEvent| {}, &bench.cancel).unwrap();
    let copy = prepared.clone();
    drop(prepared);
    let remove = || mirrors::remove(&bench.request.mirror_folder, &name).unwrap();
    assert_eq!(remove(), mirrors::Removal::InUse);
    make(&bench.request, &copy, &|_| Ok(()), &|_: &BuildEvent| {}, &bench.cancel).unwrap();
    drop(copy);
    assert_eq!(remove(), mirrors::Removal::Removed);
    assert_eq!(mirrors::list(&bench.request.mirror_folder).unwrap(), []);
    bench.run().unwrap();
}

#[test]
fn locks_of_a_killed_git_do_not_stop_the_next_build() {
    let bench = Bench::new("");
    bench.run().unwrap();
    let mirrors = fs::read_dir(&bench.request.mirror_folder).unwrap().flatten().map(|entry| entry.path());
    let mirror = mirrors.into_iter().find(|path| path.is_dir()).unwrap();
    fs::write(mirror.join("packed-refs.lock"), "").unwrap();
    fs::write(mirror.join("refs/heads/main.lock"), "").unwrap();
    bench.repository.write("more", "");
    let second = bench.repository.commit("fix: more");
    assert_eq!(bench.run().unwrap().0.checked.commit.as_str(), second);
}

#[test]
fn hooks_of_the_repository_are_not_run() {
    let bench = Bench::new("");
    let marker = bench.folder.path().join("hook-ran");
    bench.repository.write(".git/hooks/post-checkout", &format!("#!/bin/sh\ntouch {}\n", marker.display()));
    bench.repository.git(&["config", "core.fsmonitor", &format!("touch {}", marker.display())]);
    bench.run().unwrap();
    assert!(!marker.exists());
}

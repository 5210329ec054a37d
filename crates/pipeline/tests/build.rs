//! Whole builds: real git repositories, real commands, and everything that can go wrong with them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod contracts;
mod damage;
mod foreign;
mod repository;
mod support;

use std::fs;
use std::io::Read;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lockstep_domain::BuildVariables;
use lockstep_domain::evidence::Outcome;
use lockstep_pipeline::guard::End;
use lockstep_pipeline::{
    BuildEvent, BuildFailure, BuildFault, BuildOutput, BuildRequest, CancelToken, Ending, HostEnvironment,
    LargestContract, Phase, Prepared, make, mirrors, prepare, run,
};
use repository::Repository;
use support::{guard, processes_with, wait_until};
use tempfile::TempDir;

/// The part of a manifest that every test needs.
const RUN: &str = "\n[run]\ncommand = [\"./start\"]\n[run.health]\ntcp = true\n";

/// What a manifest with build steps needs.
const PACKAGE: &str = "[package]\ninclude = [\"**\"]\n";

struct Bench {
    folder: TempDir,
    repository: Repository,
    request: BuildRequest,
    cancel: CancelToken,
}

impl Bench {
    /// A repository with one commit: a manifest and a program.
    fn new(manifest: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::new(&folder.path().join("orders"));
        repository.write("lockstep.toml", &format!("name = \"orders\"\n{manifest}{RUN}"));
        repository.write("start", "#!/bin/sh\n");
        repository.write(".gitignore", "ignored\n");
        repository.commit("feat: begin");
        let request = BuildRequest {
            build: "b1".into(),
            repository: repository.folder.to_str().unwrap().parse().unwrap(),
            folder: "".parse().unwrap(),
            reference: None,
            manifest: None,
            work_folder: folder.path().join("build"),
            mirror_folder: folder.path().join("mirrors"),
            data_folder: Some(folder.path().canonicalize().unwrap()),
            largest_contract: LargestContract::default(),
            guard: guard(),
            host: HostEnvironment::of_this_process(&"orders".parse().unwrap(), &BuildVariables::default()),
        };
        Self { folder, repository, request, cancel: CancelToken::new() }
    }

    /// A manifest with one build step, a shell script.
    fn step(script: &str, settings: &str) -> Self {
        let package = if settings.contains("[package]") { "" } else { PACKAGE };
        Self::new(&format!("[build]\nsteps = [[\"sh\", \"-c\", '''{script}''']]\n{settings}{package}"))
    }

    /// A manifest with one test suite, a shell script.
    fn suite(script: &str, settings: &str) -> Self {
        Self::new(&format!("[[test]]\nkind = \"unit\"\nrun = [\"sh\", \"-c\", '''{script}''']\n{settings}"))
    }

    fn run(&self) -> Result<(Prepared, BuildOutput), Box<BuildFailure>> {
        run(&self.request, &|_: &BuildEvent| {}, &self.cancel)
    }

    fn failure(&self) -> Box<BuildFailure> {
        let failure = self.run().map(|(_, output)| output.artifact.path).unwrap_err();
        assert!(failure.log.exists() && !failure.hint().is_empty());
        self.nothing_is_left();
        failure
    }

    fn problems(&self) -> Vec<String> {
        // What an earlier build of the test made.
        fs::remove_file(self.request.work_folder.join("artifact.tar.zst")).ok();
        match self.failure().fault {
            BuildFault::Problems(problems) => problems.iter().map(ToString::to_string).collect(),
            other => panic!("{other}"),
        }
    }

    fn nothing_is_left(&self) {
        assert_eq!(processes_with(self.folder.path().to_str().unwrap()), Vec::<String>::new());
        let build = &self.request.work_folder;
        for gone in ["source", "tmp", "artifact.tar.zst", "artifact.tar.zst.partial"] {
            assert!(!build.join(gone).exists(), "{gone}");
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.request.work_folder.join("log")).unwrap()
    }
}

#[test]
fn a_commit_becomes_an_artifact() {
    let bench = Bench::new(
        "[build]\ntools = { git = \">=2\" }\nsteps = [[\"sh\", \"-c\", \"env > built; umask\"]]\n\
         env = { GREETING = \"hello\" }\n\
         [package]\ninclude = [\"built\", \"start\"]\n",
    );
    let events = Mutex::new(Vec::new());
    let observer = |event: &BuildEvent| events.lock().unwrap().push(event.clone());
    let (prepared, output) = run(&bench.request, &observer, &bench.cancel).unwrap();
    let checked = prepared.checked;
    assert_eq!(checked.branch.as_deref(), Some("main"));
    assert_eq!(checked.commit.as_str(), bench.repository.git(&["rev-parse", "HEAD"]));
    assert!(checked.tools["git"].starts_with('2'));
    let paths: Vec<&str> = output.artifact.contents.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["built", "start"]);
    assert_eq!(output.artifact.contents.commit, None, "an artifact is its content");
    let phases: Vec<Phase> = events.lock().unwrap().iter().filter_map(ended_well).collect();
    let expected = [
        Phase::Fetch,
        Phase::Check,
        Phase::Checkout,
        Phase::Contract,
        Phase::Build,
        Phase::Test,
        Phase::Package,
    ];
    assert_eq!(phases, expected);
    assert!(!bench.request.work_folder.join("source").exists());
}

fn ended_well(event: &BuildEvent) -> Option<Phase> {
    match event {
        BuildEvent::PhaseEnded { phase, ending: Ending::Good, .. } => Some(*phase),
        _ => None,
    }
}

#[test]
fn environment_is_scrubbed_and_named_values_are_masked() {
    let mut bench =
        Bench::step("env | sort", "variables = [\"API_TOKEN\"]\nenv = { GREETING = \"hello\" }\n");
    bench.request.host = bench.request.host.clone().with("API_TOKEN", "very-secret").with("OTHER", "leaks");
    bench.run().unwrap();
    let log = bench.log();
    for expected in
        ["API_TOKEN=***", "CI=true", "GREETING=hello", "LANG=C.UTF-8", "TZ=UTC", "LOCKSTEP_BRANCH=main"]
    {
        assert!(log.contains(expected), "{expected} in {log}");
    }
    let epoch = bench.repository.git(&["show", "--no-patch", "--format=%ct"]);
    assert!(log.contains(&format!("SOURCE_DATE_EPOCH={epoch}")));
    for leaked in ["very-secret", "leaks", "CARGO_", "NEXTEST"] {
        assert!(!log.contains(leaked), "{leaked} in {log}");
    }
}

#[test]
fn the_same_commit_gives_the_same_bytes_in_another_folder() {
    let script = "date -u -d @$SOURCE_DATE_EPOCH > when; umask 077; echo x > private; chmod +x when";
    let bench = Bench::step(script, "[package]\ninclude = [\"when\", \"private\", \"start\"]\n");
    let (first_prepared, first) = bench.run().unwrap();
    let mut again = bench.request.clone();
    again.work_folder = bench.folder.path().join("another/place");
    again.mirror_folder = bench.folder.path().join("other-mirrors");
    let (second_prepared, second) = run(&again, &|_: &BuildEvent| {}, &bench.cancel).unwrap();
    assert_eq!(first.artifact.digest, second.artifact.digest);
    assert_eq!(fs::read(first.artifact.path).unwrap(), fs::read(second.artifact.path).unwrap());
    assert_eq!(first_prepared.checked.key, second_prepared.checked.key);
}

#[test]
fn all_problems_of_the_check_are_told_at_once() {
    let bench = Bench::new(
        "[build]\nvariables = [\"NEVER_SET_TOKEN\"]\n\
         tools = { no-such-tool = \"^1\", git = \">=99\" }\n",
    );
    bench.repository.write("start", "changed\n");
    bench.repository.write("new-file", "");
    bench.repository.write("ignored", "");
    let problems = bench.problems();
    assert_eq!(problems.len(), 4, "{problems:#?}");
    assert!(problems[0].contains(": ?? new-file, M start; commit or stash them"), "{}", problems[0]);
    assert!(problems[1].starts_with("the variable `NEVER_SET_TOKEN` is not set"));
    assert!(problems[2].starts_with("the tool `git` has version 2."), "{}", problems[2]);
    assert!(problems[3].starts_with("the tool `no-such-tool` (^1) is not installed"));
    assert!(!bench.folder.path().join("orders/.git/index.lock").exists());
}

#[test]
fn malformed_and_missing_manifests_are_told() {
    let bench = Bench::new("nonsense = 1\nowner = 7\n");
    let problems = bench.problems();
    assert!(problems.len() >= 2 && problems.iter().all(|p| p.starts_with("lockstep.toml:")), "{problems:#?}");
    bench.repository.git(&["rm", "--quiet", "lockstep.toml"]);
    bench.repository.commit("chore: remove");
    assert!(bench.problems()[0].starts_with("`lockstep.toml` does not exist at commit "));
}

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
fn a_failing_step_says_which_how_and_its_last_lines() {
    let bench = Bench::new(
        "[build]\nsteps = [[\"true\"], [\"sh\", \"-c\", \"echo compiling; echo no such file; exit 3\"], [\"true\"]]\n[package]\ninclude = [\"**\"]\n",
    );
    let failure = bench.failure();
    let text = failure.to_string();
    assert!(text.starts_with("build failed: build step 2 of 3, `sh -c "), "{text}");
    assert!(text.ends_with("ended with exit code 3"), "{text}");
    assert_eq!(failure.last_lines.last().unwrap(), "no such file");
    assert_eq!(failure.hint(), "the whole log: `lockstep logs b1`");
}

#[test]
fn a_step_that_hangs_is_killed_with_everything_it_started() {
    let bench = Bench::step("setsid sleep 1000 & sleep 1000", "timeout = \"1s\"\n");
    let failure = bench.failure();
    assert!(matches!(failure.fault, BuildFault::Step { end: End::TimedOut, .. }), "{failure}");
    assert!(failure.to_string().ends_with("did not end within 1000 ms and was killed"), "{failure}");
}

#[test]
fn a_flood_fails_the_step_and_keeps_the_beginning() {
    let bench = Bench::step("echo first; exec yes", "log_limit = \"64KiB\"\n");
    let failure = bench.failure();
    assert!(matches!(failure.fault, BuildFault::Step { end: End::LogLimit, .. }), "{failure}");
    let log = bench.log();
    assert!(log.contains("\nfirst\ny\n") && log.len() < 128 * 1024, "{}", log.len());
}

#[test]
fn a_filled_disk_quota_fails_the_step() {
    let bench =
        Bench::step("while :; do i=x$i; head -c 1000000 /dev/zero > f$i; done", "disk_limit = \"20MiB\"\n");
    let failure = bench.failure();
    assert!(matches!(failure.fault, BuildFault::Step { end: End::DiskLimit { .. }, .. }), "{failure}");
}

#[test]
fn a_daemon_of_a_step_is_killed_and_mentioned() {
    let bench = Bench::step("(setsid sleep 1000 >/dev/null 2>&1 &) ; echo done", "");
    bench.run().unwrap();
    assert!(bench.log().contains("was still running and has been killed"), "{}", bench.log());
    assert!(processes_with(bench.folder.path().to_str().unwrap()).is_empty());
}

#[test]
fn an_unknown_program_is_told_from_a_failing_one() {
    let failure =
        Bench::new("[build]\nsteps = [\"no-such-compiler -x\"]\n[package]\ninclude = [\"**\"]\n").failure();
    let text = failure.to_string();
    assert!(text.ends_with("could not be started: the program `no-such-compiler` was not found"), "{text}");
}

#[test]
fn cancelling_leaves_no_process_and_no_half_result() {
    let bench = Bench::step("setsid sleep 1000 & echo $$ > started; sleep 1000", "");
    let started = bench.request.work_folder.join("source/started");
    std::thread::scope(|scope| {
        let handle = scope.spawn(|| bench.run().map(|_| ()).unwrap_err());
        wait_until("the step starts", || started.exists());
        let asked = Instant::now();
        bench.cancel.cancel();
        let failure = handle.join().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert!(matches!(failure.fault, BuildFault::Cancelled), "{failure}");
    });
    bench.nothing_is_left();
    assert!(matches!(bench.failure().fault, BuildFault::Cancelled));
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

#[test]
fn a_package_root_that_leads_out_is_refused() {
    let bench = Bench::step("ln -s /etc out", "[package]\nroot = \"out\"\ninclude = [\"passwd\"]\n");
    let text = bench.failure().to_string();
    assert!(text.ends_with("it leads out of the checkout"), "{text}");
}

#[test]
fn problems_of_the_package_are_listed() {
    let bench = Bench::new("[package]\ninclude = [\"dist/**\", \"starts\"]\n");
    let failure = bench.failure();
    let text = failure.to_string();
    assert!(text.contains("2 problems with the files of the package"), "{text}");
    assert!(text.contains("`starts` matches no file; similar: `start`"), "{text}");
    assert_eq!(failure.phase, Phase::Package);
}

#[test]
fn a_green_suite_becomes_evidence_with_its_report() {
    let report = r#"<testsuites><testsuite><testcase name="a"/><testcase name="b"><skipped/></testcase></testsuite></testsuites>"#;
    let bench = Bench::suite(
        &format!("mkdir out; echo '{report}' > out/one.xml; cp out/one.xml out/two.xml"),
        "report = \"out/*.xml\"\n",
    );
    let (_, output) = bench.run().unwrap();
    let evidence = &output.suites[0].evidence;
    assert_eq!((evidence.kind.as_str(), evidence.outcome), ("unit", Outcome::Green));
    assert_eq!((evidence.tests.passed, evidence.tests.skipped, evidence.tests.failed), (2, 2, 0));
    let bytes = output.suites[0].report.as_ref().unwrap();
    assert!(evidence.report.is_some() && String::from_utf8_lossy(bytes).contains("<!-- out/two.xml -->"));
}

/// Runs a suite that must be red and returns its failures as text.
fn red(script: &str, settings: &str) -> String {
    let bench = Bench::suite(script, settings);
    let failure = bench.failure();
    assert!(matches!(failure.fault, BuildFault::RedSuite { .. }), "{failure}");
    assert_eq!(failure.phase, Phase::Test);
    let evidence = &failure.suites[0].evidence;
    assert_eq!(evidence.outcome, Outcome::Red);
    let failures: Vec<String> =
        evidence.failures.iter().map(|f| format!("{}: {}", f.name, f.message)).collect();
    format!("{failure}\n{}", failures.join("\n"))
}

#[test]
fn exit_code_and_report_must_both_be_green() {
    let green = "echo '<testsuite><testcase name=\"a\"/></testsuite>' > r.xml";
    let text = red(&format!("{green}; exit 4"), "report = \"r.xml\"\n");
    assert!(text.contains("ended with exit code 4"), "{text}");
    let failing =
        "echo '<testsuite><testcase name=\"a\"><failure message=\"1 != 2\"/></testcase></testsuite>' > r.xml";
    let text = red(failing, "report = \"r.xml\"\n");
    assert!(text.contains("1 of 1 tests failed, first a: 1 != 2"), "{text}");
    assert!(red("exit 1", "").contains("ended with exit code 1"));
    assert_eq!(Bench::suite("true", "").run().unwrap().1.suites[0].evidence.outcome, Outcome::Green);
}

#[test]
fn a_report_that_was_not_written_by_this_run_does_not_count() {
    let bench = Bench::suite("true", "report = \"r.xml\"\n");
    bench.repository.write("r.xml", "<testsuite><testcase name=\"a\"/></testsuite>");
    bench.repository.commit("test: commit an old report");
    let text = bench.failure().to_string();
    assert!(text.contains("the suite wrote no report that matches `r.xml`"), "{text}");
}

#[test]
fn truncated_and_hostile_reports_are_red_with_a_reason() {
    let text = red("printf '<testsuite><testcase name=\"a\"/><testca' > r.xml", "report = \"r.xml\"\n");
    assert!(text.contains("`r.xml`: it ends inside `<testsuite>`"), "{text}");
    let laughs = "printf '<!DOCTYPE l [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><testsuite>&b;</testsuite>' > r.xml";
    assert!(red(laughs, "report = \"r.xml\"\n").contains("it declares a document type"));
    let huge = "printf '<testsuite>' > r.xml; head -c 80000000 /dev/zero | tr '\\\\0' ' ' >> r.xml";
    assert!(red(huge, "report = \"r.xml\"\n").contains("the reports are larger than 67108864 bytes"));
    let link = "ln -s /etc/passwd r.xml";
    assert!(red(link, "report = \"r.xml\"\n").contains("`r.xml`: "));
    let fifo = "mkfifo r.xml";
    assert!(red(fifo, "report = \"r.xml\"\n").contains("it is a pipe, not a file"));
}

#[test]
fn a_report_that_contradicts_itself_or_shows_nothing_is_red() {
    let report = |text: &str| red(&format!("echo '{text}' > r.xml"), "report = \"r.xml\"\n");
    let hidden = report(r#"<testsuite name="shop" failures="2"><testcase name="a"/></testsuite>"#);
    assert!(hidden.contains("shop: it says of itself that it has 2 failures and 0 errors"), "{hidden}");
    let empty = report("<testsuites/>");
    assert!(empty.contains("the test report: it lists no test"), "{empty}");
    let skipped = report("<testsuite><testcase><skipped/></testcase></testsuite>");
    assert!(skipped.contains("all 1 were skipped"), "{skipped}");
}

#[test]
fn a_suite_that_hangs_is_red_and_later_suites_do_not_run() {
    let text = red(
        "sleep 1000",
        "timeout = \"500ms\"\n[[test]]\nkind = \"stress\"\nrun = [\"touch\", \"/nowhere/else\"]\n",
    );
    assert!(text.contains("did not end within 500 ms and was killed"), "{text}");
}

#[test]
fn secrets_in_reports_are_masked() {
    let mut bench = Bench::suite(
        "printf '<testsuite><testcase name=\"a\"><failure>%s</failure></testcase></testsuite>' $API_TOKEN > r.xml",
        "report = \"r.xml\"\n[build]\nvariables = [\"API_TOKEN\"]\n",
    );
    bench.request.host = bench.request.host.clone().with("API_TOKEN", "very-secret");
    let failure = bench.failure();
    assert_eq!(failure.suites[0].evidence.failures[0].message, "***");
    assert!(!String::from_utf8_lossy(failure.suites[0].report.as_ref().unwrap()).contains("very-secret"));
}

#[test]
fn an_earlier_build_is_recognised_by_its_key() {
    let bench = Bench::step("true", "optional_variables = [\"FLAVOUR\"]\n");
    let key =
        |request: &BuildRequest| prepare(request, &|_: &BuildEvent| {}, &bench.cancel).unwrap().checked.key;
    let first = key(&bench.request);
    let mut flavoured = bench.request.clone();
    flavoured.host = flavoured.host.with("FLAVOUR", "vanilla");
    assert_ne!(first, key(&flavoured));
    assert_eq!(first, key(&bench.request));
    bench.repository.git(&["commit", "--quiet", "--allow-empty", "--message=chore: nothing"]);
    assert_eq!(first, key(&bench.request));
    let prepared = prepare(&bench.request, &|_: &BuildEvent| {}, &bench.cancel).unwrap();
    make(&bench.request, &prepared, &|_| Ok(()), &|_: &BuildEvent| {}, &bench.cancel).unwrap();
}

#[test]
fn a_build_reaches_nothing_of_lockstep_and_of_other_builds() {
    if lockstep_confine::available() != lockstep_confine::Confinement::Whole {
        eprintln!("this kernel cannot confine: nothing was tried");
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let bench = Bench::step(
        "try() { name=$1; shift; if sh -c \"$*\" >/dev/null 2>&1; then echo \"$name works\"; else echo \"$name fails\"; fi; }
         try 'read a secret' cat ../../secrets/password
         try 'read the journal' cat ../../journal.db
         try 'read another build' cat ../../other/source/file
         try 'list the data folder' ls ../..
         try 'write the journal' 'echo x >> ../../journal.db'
         try 'write its log' 'echo x >> ../log'
         try 'read the environment of the server' cat /proc/$SERVER/environ
         try 'signal the server' kill -0 $SERVER
         try 'write into /etc' 'echo x > /etc/lockstep-test'
         echo -- what an ordinary build does
         try 'write its checkout' 'mkdir -p target/a && echo x > target/a/b && ln target/a/b target/c'
         try 'write temporary files' 'echo x > $(mktemp)'
         try 'write a cache in the home folder' 'mkdir -p $HOME/.cache/x && echo x > $HOME/.cache/x/y'
         try 'make a cache in the home folder' 'mkdir -p $HOME/.new/x'
         try 'move from the cache' 'mv $HOME/.cache/x/y target/y'
         try 'read the system' cat /etc/passwd
         try 'signal itself' 'sleep 100 & kill $!'
         try 'throw away' 'echo x > /dev/null'
",
        "variables = [\"SERVER\"]\n",
    );
    let data = bench.folder.path();
    for (file, text) in [("secrets/password", "horse"), ("journal.db", "records"), ("other/source/file", "x")]
    {
        fs::create_dir_all(data.join(file).parent().unwrap()).unwrap();
        fs::write(data.join(file), text).unwrap();
    }
    let mut bench = bench;
    let host = std::mem::take(&mut bench.request.host);
    let home = outside.path().to_str().unwrap();
    bench.request.host = host.with("SERVER", &std::process::id().to_string()).with("HOME", home);
    bench.run().unwrap();
    let log = bench.log();
    let log: Vec<&str> = log.lines().filter(|line| !line.starts_with("==>")).collect();
    let middle = log.iter().position(|line| line.starts_with("--")).unwrap();
    let wrong = |lines: &[&str], end: &str| {
        lines.iter().filter(|line| !line.ends_with(end)).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!((middle, log.len()), (9, 18), "{log:#?}");
    assert_eq!(wrong(&log[..middle], " fails"), Vec::<String>::new());
    assert_eq!(wrong(&log[middle + 1..], " works"), Vec::<String>::new());
}

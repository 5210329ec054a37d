//! Whole builds: real git repositories, real commands, and everything that can go wrong with them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod bench;
mod checkout;
mod contracts;
mod damage;
mod foreign;
mod repository;
mod steps;
mod suites;
mod support;

use std::fs;
use std::sync::Mutex;

use lockstep_pipeline::{BuildEvent, BuildRequest, Ending, Phase, make, prepare, run};

use bench::Bench;

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

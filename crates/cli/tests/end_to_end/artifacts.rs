//! Releases of what a build system made: real archives of the real `tar`, most of them wrong in some way, sent to a real server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::disk_states::{Unmount, small_disk};
use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, service};

/// Nothing of it may run.
const BUILD: &str = "[build]\nsteps = [\"false\"]\ntools = { no-such-tool = \"*\" }\nvariables = [\"NOT_SET\"]\n\
                     [[test]]\nkind = \"unit\"\nrun = \"false\"\nreport = \"none.xml\"\n[package]\ninclude = [\"nothing\"]";
const GREEN: &str = "<testsuite tests=\"2\"><testcase name=\"a\"/><testcase name=\"b\"/></testsuite>";
const RED: &str = "<testsuite tests=\"2\" failures=\"1\"><testcase name=\"a\"/>\
                   <testcase name=\"b\"><failure message=\"seven is not eight\"/></testcase></testsuite>";

/// A service whose repository has no program: that is made elsewhere.
struct Elsewhere {
    place: Place,
    repository: Repository,
    dist: PathBuf,
}

impl Elsewhere {
    fn begin() -> Self {
        Self::begin_at(Place::begin(), &manifest("store", "", BUILD))
    }

    fn begin_at(place: Place, manifest: &str) -> Self {
        let repository = place.repository("store");
        repository.write("lockstep.toml", manifest);
        repository.write("store.src", "one");
        repository.commit("feat: begin");
        place.run(&["service", "add", repository.folder()]);
        let dist = PathBuf::from(place.path("dist"));
        fs::create_dir(&dist).unwrap();
        let elsewhere = Self { place, repository, dist };
        elsewhere.make("service.py", &service("one"));
        elsewhere
    }

    /// Makes a file of the artifact.
    fn make(&self, name: &str, text: &str) {
        let path = self.dist.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn sh(&self, script: &str) {
        let status = Command::new("sh").args(["-ec", script]).current_dir(&self.dist).status().unwrap();
        assert!(status.success(), "{script}");
    }

    /// Archives everything that was made with the real `tar`.
    fn archive(&self, name: &str, options: &str) -> String {
        self.sh(&format!("tar {options} -f ../{name} -C . ."));
        self.place.path(name)
    }

    fn head(&self) -> String {
        self.repository.git(&["rev-parse", "HEAD"])
    }

    fn commit(&self, text: &str) {
        self.repository.write("store.src", text);
        self.repository.commit(&format!("feat: {text}"));
    }

    fn report(&self, name: &str, text: &str) -> String {
        let path = self.place.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The words of a release of an archive.
    fn words<'a>(archive: &'a str, commit: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["release", "store", "--artifact", archive, "--commit", commit], more].concat()
    }

    fn release(&self, archive: &str, more: &[&str]) -> Value {
        self.place.json(&Self::words(archive, &self.head(), more))
    }

    fn refused(&self, archive: &str, more: &[&str]) -> String {
        self.place.fail(&Self::words(archive, &self.head(), more), 1)
    }

    fn versions(&self) -> usize {
        self.place.json(&["show", "store"])["versions"].as_array().unwrap().len()
    }

    /// Makes sure that nothing is left of what was sent and unpacked.
    fn assert_nothing_left(&self) {
        let names = |folder: &Path| -> Vec<String> {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
        };
        let data = PathBuf::from(self.place.data());
        assert_eq!(names(&data.join("scratch/uploads")), [""; 0]);
        for build in names(&data.join("builds")) {
            let mut left = names(&data.join("builds").join(&build));
            // Its state is written anew, beside, when it is over.
            left.retain(|name| !name.starts_with("build.json") && name != "log");
            assert_eq!(left, [""; 0], "{build}");
        }
    }
}

fn assert_says(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in:\n{text}"));
}

#[test]
fn what_a_build_system_made_runs_and_says_where_it_comes_from() {
    let elsewhere = Elsewhere::begin();
    let place = &elsewhere.place;
    let archive = elsewhere.archive("dist.tar.gz", "-cz");
    let junit = elsewhere.report("junit.xml", GREEN);
    let said = place.told(&Elsewhere::words(&archive, &elsewhere.head(), &["--evidence", &junit]));
    assert_says(&said, &["store@1.0.0", "made elsewhere: dist.tar.gz", "unit (given): green, 2 passed"]);
    place.run(&["deploy", "store@1.0.0", "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    let shown = place.run(&["show", "store@1.0.0"]);
    assert_says(
        &shown,
        &["made elsewhere", "dist.tar.gz", "given by ann@example.org", "given and not run by Lockstep"],
    );
    let version = place.json(&["show", "store@1.0.0"]);
    let digest = Command::new("sha256sum").arg(&archive).output().unwrap().stdout;
    let digest = String::from_utf8(digest).unwrap();
    assert!(
        digest.starts_with(version["made_elsewhere"]["archive"]["digest"].as_str().unwrap()),
        "{version}"
    );
    assert_eq!(version["made_elsewhere"]["reports"][0]["kind"], "unit");
    assert_eq!(version["evidence"][0]["origin"], "elsewhere");
    assert_eq!(version["commit"], elsewhere.head());
    assert_eq!(version["stage"], "testing", "nothing is red");
    elsewhere.assert_nothing_left();
    // The next one goes on from there by the same rules.
    elsewhere.commit("more");
    elsewhere.make("service.py", &service("two"));
    let archive = elsewhere.archive("dist.tar.gz", "-cz");
    let said = place.told(&Elsewhere::words(&archive, &elsewhere.head(), &[]));
    assert_says(&said, &["store@1.1.0", "not tested"]);
    assert_says(&place.run(&["show", "store@1.1.0"]), &["not tested"]);
    place.run(&["deploy", "store@1.1.0", "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "two".to_owned()));
    place.run(&["rollback", "store", "--to", "1.0.0", "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
}

#[test]
fn whatever_form_of_tar_it_is_the_artifact_is_the_same() {
    let elsewhere = Elsewhere::begin();
    let long = format!("{}/{}.txt", "deep".repeat(30), "name".repeat(40));
    elsewhere.make(&long, "long");
    elsewhere.make("bin/tool", "#!/bin/sh\n");
    elsewhere.sh("chmod 4755 bin/tool; chmod 600 service.py; ln -s bin/tool tool; ln bin/tool same");
    elsewhere.sh("mkdir -p empty .git && echo no >.git/config");
    let mut digests = Vec::new();
    for options in [
        "-c --format=gnu",
        "-cz --format=gnu",
        "-c --format=pax",
        "-cz --format=pax --sort=name --mtime=@0",
        "-c --format=pax --zstd --owner=build:1234 --numeric-owner",
        "-c --format=gnu --hard-dereference --zstd",
        "-c --format=gnu --xattrs --acls",
    ] {
        let archive = elsewhere.archive("archive", options);
        let build = elsewhere.release(&archive, &["--bump", "patch"]);
        let version =
            elsewhere.place.json(&["show", &format!("store@{}", build["version"].as_str().unwrap())]);
        digests.push((options, version["artifact"]["digest"].to_string()));
    }
    assert!(digests.iter().all(|(_, digest)| *digest == digests[0].1), "{digests:#?}");
    // Older forms know no names that are so long.
    fs::remove_dir_all(elsewhere.dist.join(long.split('/').next().unwrap())).unwrap();
    let older: Vec<_> = ["-c --format=v7", "-c --format=ustar", "-c --format=oldgnu"]
        .into_iter()
        .map(|options| {
            let archive = elsewhere.archive("archive", options);
            let build = elsewhere.release(&archive, &["--bump", "patch"]);
            let version = format!("store@{}", build["version"].as_str().unwrap());
            elsewhere.place.json(&["show", &version])["artifact"]["digest"].to_string()
        })
        .collect();
    assert!(older.iter().all(|digest| *digest == older[0]), "{older:?}");
    // As a repository is archived by git, with a comment for all entries.
    elsewhere.repository.write("service.py", &service("one"));
    elsewhere.repository.commit("feat: archived");
    let archive = elsewhere.place.path("git.tar.gz");
    elsewhere.repository.git(&["archive", "--output", &archive, "HEAD"]);
    assert_eq!(elsewhere.release(&archive, &[])["state"], "succeeded");
    elsewhere.assert_nothing_left();
}

#[test]
fn hostile_and_broken_archives_are_refused_and_leave_nothing() {
    let elsewhere = Elsewhere::begin();
    let others = elsewhere.place.path("outside");
    fs::write(&others, "untouched").unwrap();
    for (script, says) in [
        ("ln -s /etc/passwd out; tar -czf ../a .", "a link that leads out of it"),
        ("ln -s ../../outside out; tar -czf ../a .", "a link that leads out of it"),
        ("ln -s .. out; tar -czf ../a service.py out", "a link that leads out of it"),
        ("tar -czPf ../a \"$PWD/service.py\"", "an absolute path"),
        ("mkdir x; cd x; tar -czPf ../../a ../service.py", "a path with `..`"),
        ("tar -czf ../a --transform=s,service.py,../../outside, service.py", "a path with `..`"),
        ("mkfifo pipe; tar -czf ../a .", "neither a file, a folder nor a link"),
        ("truncate -s 8M sparse; tar -Sczf ../a .", "neither a file, a folder nor a link"),
        ("truncate -s 8M sparse; tar --format=pax -Sczf ../a .", "sparse files are not supported"),
        ("tar -cf ../a service.py; tar -rf ../a service.py", "which it held before"),
        ("ln -s . d; tar -cf ../a d; rm d; mkdir d; echo x >d/e; tar -rf ../a d/e", "below a file or a link"),
        ("mkdir up; ln -s x/.. up/l; tar -czf ../a .", "leads out of the package"),
        ("ln -s a b; ln -s b a; tar -czf ../a .", "a link that leads in a circle"),
        ("printf x >\"$(printf 'bad\\377name')\"; tar -czf ../a .", "is not UTF-8"),
        ("echo {} >lockstep-package.json; tar -czf ../a .", "the name of the package's own list"),
        ("head -c 20000000 /dev/zero >zeros; tar -cf ../a .", "more than 250 times as large"),
        ("head -c 40000000 /dev/zero >zeros; tar -cf - . | gzip -9 >../a", "250 times"),
        ("tar -czf ../a --files-from=/dev/null", "it holds no file"),
        ("tar -cf - service.py | head -c 1000 >../a", "cut off"),
        ("tar -czf - service.py | head -c 300 >../a", "cut off"),
        ("tar -c --zstd service.py | head -c 300 >../a", "cut off"),
        ("tar -czf - service.py | tr '\\001' '\\002' >../a; printf xyz >>../a", "cut off"),
        ("printf 'PK\\003\\004 and so on' >../a", "a zip"),
        (
            "tar -cf - service.py | xz >../a 2>/dev/null || printf '\\3757zXZ\\000' >../a",
            "compressed with xz",
        ),
        ("echo hello >../a", "neither a tar"),
        (": >../a", "it is empty"),
    ] {
        fs::remove_dir_all(&elsewhere.dist).unwrap();
        elsewhere.make("service.py", &service("one"));
        elsewhere.sh(script);
        let said = elsewhere.refused(&elsewhere.place.path("a"), &[]);
        assert!(said.contains(says), "{script}: `{says}` is not in:\n{said}");
        elsewhere.assert_nothing_left();
    }
    assert_eq!(elsewhere.versions(), 0);
    assert_eq!(fs::read_to_string(others).unwrap(), "untouched");
}

#[test]
fn an_archive_that_is_one_folder_too_deep_is_told_how_to_make_it() {
    let run = "[run]\ncommand = \"./bin/serve\"\nhealth = { tcp = true }\n";
    let elsewhere = Elsewhere::begin_at(Place::begin(), &format!("name = \"store\"\n{run}"));
    elsewhere.make("store-1.0/bin/serve", "#!/bin/sh\n");
    let said = elsewhere.refused(&elsewhere.archive("dist.tar.gz", "-cz"), &[]);
    assert_says(&said, &["it has no `bin/serve`", "tar -czf dist.tar.gz -C store-1.0 ."]);
    elsewhere.make("bin/server", "#!/bin/sh\n");
    fs::remove_dir_all(elsewhere.dist.join("store-1.0")).unwrap();
    let said = elsewhere.refused(&elsewhere.archive("dist.tar.gz", "-cz"), &[]);
    assert_says(&said, &["it has no `bin/serve`", "it has `bin/server`"]);
    elsewhere.make("bin/serve", "#!/bin/sh\n");
    let said = elsewhere.refused(&elsewhere.archive("dist.tar.gz", "-cz"), &[]);
    assert_says(&said, &["is not executable in it", "chmod +x bin/serve"]);
    elsewhere.sh("chmod +x bin/serve");
    assert_eq!(elsewhere.release(&elsewhere.archive("dist.tar.gz", "-cz"), &[])["version"], "1.0.0");
}

#[test]
fn the_same_again_is_the_same_version_and_two_at_once_give_one() {
    let elsewhere = Elsewhere::begin();
    let place = &elsewhere.place;
    let (archive, head) = (elsewhere.archive("dist.tar.gz", "-cz"), elsewhere.head());
    let words = Elsewhere::words(&archive, &head, &[]);
    let both: Vec<_> = (0..2).map(|_| place.command(&words).spawn().unwrap()).collect();
    let codes: Vec<_> = both.into_iter().map(|mut one| one.wait().unwrap().code().unwrap()).collect();
    assert!(codes == [0, 3] || codes == [3, 0], "{codes:?}");
    assert_eq!(elsewhere.versions(), 1);
    assert_says(&place.fail(&words, 3), &["nothing to release", "store@1.0.0 was made of the same archive"]);
    elsewhere.make("service.py", &service("another"));
    let other = elsewhere.archive("other.tar.gz", "-cz");
    let said = place.fail(&Elsewhere::words(&other, &head, &[]), 3);
    assert_says(&said, &["nothing to release", "was made of another archive", "--bump patch"]);
    assert_eq!(elsewhere.release(&other, &["--bump", "patch"])["version"], "1.0.1");
    // The same files for another commit are another version, and that is said.
    elsewhere.commit("documented");
    let said = place.told(&Elsewhere::words(&other, &elsewhere.head(), &[]));
    assert_says(&said, &["store@1.1.0"]);
    // A build of our own is never taken for what was given, nor the other way round.
    elsewhere.repository.write("lockstep.toml", &manifest("store", "", ""));
    elsewhere.repository.write("service.py", &service("built"));
    elsewhere.repository.commit("feat: built here");
    assert_says(
        &place.told(&["release", "store"]),
        &["store@1.2.0", "was made elsewhere, and this version was built here"],
    );
    let said = place.fail(&Elsewhere::words(&other, &elsewhere.head(), &[]), 3);
    assert_says(&said, &["store@1.2.0 was built by Lockstep"]);
    elsewhere.assert_nothing_left();
}

#[test]
fn reports_that_are_given_are_read_as_strictly_as_our_own() {
    let elsewhere = Elsewhere::begin();
    let place = &elsewhere.place;
    let archive = elsewhere.archive("dist.tar.gz", "-cz");
    for (report, says) in [
        (RED, "1 of 2 tests failed"),
        ("<testsuite tests=\"3\" failures=\"1\"/>", "red"),
        ("<testsuite tests=\"0\"/>", "it lists no test"),
        ("<testsuite><testcase name=\"a\"><skipped/></testcase></testsuite>", "all 1 were skipped"),
        ("<testsuite><testcase name=\"a\"/>", "cut off"),
        ("<!DOCTYPE x [<!ENTITY e \"x\">]><testsuite/>", "document type"),
        ("not xml", "not a JUnit report"),
    ] {
        let junit = elsewhere.report("junit.xml", report);
        assert_says(&elsewhere.refused(&archive, &["--evidence", &junit]), &[says]);
    }
    let junit = elsewhere.report("junit.xml", GREEN);
    let said = place.fail(
        &Elsewhere::words(&archive, &elsewhere.head(), &["--evidence", &format!("ran:staging={junit}")]),
        2,
    );
    assert_says(&said, &["recorded by Lockstep itself"]);
    assert_says(&place.fail(&["release", "store", "--artifact", &archive], 2), &["--commit"]);
    assert_says(
        &place.fail(&["release", "store", "--commit", "HEAD", "--evidence", &junit], 2),
        &["--artifact"],
    );
    assert_eq!(elsewhere.versions(), 0);
    elsewhere.assert_nothing_left();
    // Several reports of one kind are one evidence; a folder means those in it; other kinds stand for themselves.
    fs::create_dir(place.path("reports")).unwrap();
    for name in ["reports/a.xml", "reports/b.xml"] {
        elsewhere.report(name, GREEN);
    }
    let security = format!("security={junit}");
    let more = ["--evidence", &place.path("reports"), "--evidence", &security];
    let build = elsewhere.release(&archive, &more);
    let version = place.json(&["show", &format!("store@{}", build["version"].as_str().unwrap())]);
    let evidence: Vec<_> = version["evidence"].as_array().unwrap().iter().collect();
    let counts = |kind: &str| {
        evidence.iter().find(|one| one["kind"] == kind).map(|one| one["tests"]["passed"].as_u64().unwrap())
    };
    assert_eq!((counts("unit"), counts("security"), evidence.len()), (Some(4), Some(2), 2));
    assert_eq!(version["made_elsewhere"]["reports"].as_array().unwrap().len(), 3);
}

#[test]
fn a_manifest_with_tests_of_several_kinds_wants_to_know_which() {
    let tests = "[[test]]\nkind = \"unit\"\nrun = \"false\"\n[[test]]\nkind = \"load\"\nrun = \"false\"\n";
    let elsewhere = Elsewhere::begin_at(Place::begin(), &manifest("store", "", tests));
    let archive = elsewhere.archive("dist.tar.gz", "-cz");
    let junit = elsewhere.report("junit.xml", GREEN);
    assert_says(
        &elsewhere.refused(&archive, &["--evidence", &junit]),
        &["load, unit", "--evidence load=junit.xml"],
    );
    let said = elsewhere.place.told(&Elsewhere::words(
        &archive,
        &elsewhere.head(),
        &["--evidence", &format!("unit={junit}")],
    ));
    assert_says(&said, &["unit (given): green", "no evidence was given: load"]);
}

#[test]
fn gates_take_what_is_given_and_say_so_or_refuse_it() {
    let elsewhere = Elsewhere::begin();
    let place = &elsewhere.place;
    let lifecycle = |given: &str| {
        format!(
            "{{\"stages\": [{{\"name\": \"created\"}}, {{\"name\": \"development\", \"entry\": {{\"entry\": \"automatic\"}}}}, \
             {{\"name\": \"testing\", \"gates\": [{{\"gate\": \"evidence\", \"kind\": \"unit\"{given}}}], \
             \"entry\": {{\"entry\": \"automatic\"}}}}, {{\"name\": \"pre-release\"}}]}}"
        )
    };
    for (name, given) in [("strict", ", \"given\": \"refused\""), ("usual", "")] {
        place.run(&["lifecycle", "define", name, &elsewhere.report("lifecycle.json", &lifecycle(given))]);
    }
    let add = |name: &str| place.run(&["service", "add", elsewhere.repository.folder(), "--lifecycle", name]);
    let archive = elsewhere.archive("dist.tar.gz", "-cz");
    let junit = elsewhere.report("junit.xml", GREEN);
    add("usual");
    elsewhere.release(&archive, &["--evidence", &junit]);
    assert_eq!(place.json(&["show", "store@1.0.0"])["stage"], "testing");
    let journal = place.run(&["journal", "export"]);
    assert_says(&journal, &["its gates are open; given, not run by Lockstep: unit"]);
    elsewhere.release(&archive, &["--bump", "patch"]);
    assert_says(&place.run(&["show", "store@1.0.1"]), &["evidence `unit` is missing", "not tested"]);
    add("strict");
    elsewhere.release(&archive, &["--bump", "patch", "--evidence", &junit]);
    assert_eq!(place.json(&["show", "store@1.0.2"])["stage"], "development");
    assert_says(
        &place.run(&["show", "store@1.0.2"]),
        &["was given and not run by Lockstep, which this gate refuses"],
    );
    assert_says(&place.run(&["lifecycle", "list"]), &["evidence unit green, run by Lockstep"]);
}

#[test]
fn the_commit_is_what_counts_and_its_branch_can_be_said() {
    let elsewhere = Elsewhere::begin();
    let place = &elsewhere.place;
    let archive = elsewhere.archive("dist.tar.gz", "-cz");
    let first = elsewhere.head();
    elsewhere.commit("later");
    elsewhere.repository.git(&["branch", "feature/login"]);
    // What nobody committed is no part of what was made elsewhere.
    elsewhere.repository.write("store.src", "not committed");
    let ambiguous = place.fail(&Elsewhere::words(&archive, &first, &[]), 1);
    assert_says(&ambiguous, &["belongs to no single branch"]);
    let build = place.json(&Elsewhere::words(&archive, &first, &["--ref", "main"]));
    assert_eq!((build["version"].as_str(), build["commit"].as_str()), (Some("1.0.0"), Some(first.as_str())));
    elsewhere.repository.git(&["switch", "--quiet", "--create", "feature/other"]);
    elsewhere.repository.commit("feat: elsewhere");
    let other = elsewhere.head();
    let said = place.fail(&Elsewhere::words(&archive, &other, &["--ref", "main"]), 1);
    assert_says(&said, &["is not in the history of `main`"]);
    let said = place.fail(&Elsewhere::words(&archive, "0123456789abcdef0123456789abcdef01234567", &[]), 1);
    assert_says(&said, &["no branch, tag or commit"]);
    // An older commit of the branch lacks what the release has; the rule is the same as for builds.
    let build = place.json(&Elsewhere::words(
        &archive,
        &elsewhere.repository.git(&["rev-parse", "main"]),
        &["--ref", "main"],
    ));
    assert_eq!(build["version"], "1.1.0");
    let said = place.fail(&Elsewhere::words(&archive, &first, &["--ref", "main", "--bump", "patch"]), 1);
    assert_says(&said, &["--unrelated"]);
    elsewhere.assert_nothing_left();
}

#[test]
fn contracts_are_read_from_the_commit_and_decide_as_ever() {
    let contract = "[contract]\nopenapi = \"api.yaml\"\n";
    let api = |path: &str| {
        format!(
            "openapi: 3.0.3\ninfo: {{title: a, version: '1'}}\npaths:\n  {path}:\n    get:\n      responses: {{'200': {{description: ok}}}}\n"
        )
    };
    let place = Place::begin();
    let repository = place.repository("store");
    repository.write("api.yaml", &api("/orders"));
    drop(repository);
    fs::remove_dir_all(place.path("store")).unwrap();
    let elsewhere = Elsewhere::begin_at(place, &manifest("store", "", &format!("{contract}{BUILD}")));
    let archive = elsewhere.archive("dist.tar.gz", "-cz");
    assert_says(&elsewhere.refused(&archive, &[]), &["api.yaml"]);
    elsewhere.repository.write("api.yaml", &api("/orders"));
    elsewhere.repository.commit("feat: contract");
    elsewhere.release(&archive, &[]);
    elsewhere.repository.write("api.yaml", &api("/other"));
    elsewhere.repository.commit("feat: another contract");
    let build = elsewhere.release(&archive, &[]);
    assert_eq!(build["version"], "2.0.0", "its contract breaks consumers, whatever the commit says");
    // What only a build could print is said before anything is unpacked.
    let printed = "[contract]\nopenapi = { command = \"./bin/serve --openapi\" }\n";
    elsewhere.repository.write("lockstep.toml", &manifest("store", "", &format!("{printed}{BUILD}")));
    elsewhere.repository.commit("feat: printed");
    assert_says(&elsewhere.refused(&archive, &[]), &["contract.openapi", "not built here"]);
}

/// Sends the head of an upload and some of its body.
fn begin_upload(place: &Place, announced: usize, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(place.address()).unwrap();
    write!(
        stream,
        "POST /api/v1/uploads HTTP/1.1\r\nHost: {}\r\nContent-Type: application/octet-stream\r\nContent-Length: {announced}\r\nConnection: close\r\n\r\n",
        place.address()
    )
    .unwrap();
    stream.write_all(body).unwrap();
    stream
}

fn uploads(place: &Place) -> usize {
    fs::read_dir(place.path("data/scratch/uploads")).map_or(0, Iterator::count)
}

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing_whoever_breaks_it() {
    let mut elsewhere = Elsewhere::begin();
    let stream = begin_upload(&elsewhere.place, 1_000_000, &[7; 300_000]);
    eventually("it arrives", || (uploads(&elsewhere.place) == 1).then_some(()));
    drop(stream);
    eventually("it goes", || (uploads(&elsewhere.place) == 0).then_some(()));
    // One that is whole waits for its release, which never comes.
    assert_says(&answer(begin_upload(&elsewhere.place, 5, b"hello")), &["200 OK", "\"bytes\":5"]);
    assert_eq!(uploads(&elsewhere.place), 1);
    let _cut = begin_upload(&elsewhere.place, 1_000_000, &[7; 300_000]);
    eventually("another arrives", || (uploads(&elsewhere.place) == 2).then_some(()));
    elsewhere.place.kill_server();
    elsewhere.place.start_server();
    assert_eq!(uploads(&elsewhere.place), 0);
    assert_eq!(elsewhere.versions(), 0);
    // What is announced as too large is refused before it comes.
    let huge = begin_upload(&elsewhere.place, 5_000_000_000, b"");
    assert_says(&answer(huge), &["413", "too_large"]);
    let archive = elsewhere.archive("dist.tar.gz", "-cz");
    assert_eq!(elsewhere.release(&archive, &[])["version"], "1.0.0");
}

#[test]
fn a_file_is_only_taken_where_files_are_and_json_where_json_is() {
    let place = Place::begin_with_token("0123456789abcdef0123456789abcdef");
    let refused = |head: &str| {
        let mut stream = TcpStream::connect(place.address()).unwrap();
        write!(
            stream,
            "POST /api/v1/{head}\r\nHost: {}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}",
            place.address()
        )
        .unwrap();
        answer(stream).lines().next().unwrap().to_owned()
    };
    let token = "Authorization: Bearer 0123456789abcdef0123456789abcdef";
    let (json, file) = ("Content-Type: application/json", "Content-Type: application/octet-stream");
    assert!(refused(&format!("uploads HTTP/1.1\r\n{file}")).contains("401"));
    assert!(refused(&format!("uploads HTTP/1.1\r\n{token}\r\n{json}")).contains("415"));
    assert!(refused(&format!("uploads HTTP/1.1\r\n{token}\r\nContent-Type: text/plain")).contains("415"));
    assert!(refused(&format!("store/collect HTTP/1.1\r\n{token}\r\n{file}")).contains("415"));
    assert!(refused(&format!("uploads HTTP/1.1\r\n{token}\r\n{file}")).contains("200"));
}

#[test]
fn a_server_that_is_killed_at_any_point_of_it_has_a_whole_version_or_none() {
    let mut elsewhere = Elsewhere::begin();
    // Large enough that it takes a while to unpack and package.
    elsewhere.sh("head -c 30000000 /dev/urandom >large; for i in $(seq 2000); do echo $i >f$i; done");
    let archive = elsewhere.archive("dist.tar.gz", "-cz");
    let head = elsewhere.head();
    for sign in [
        "scratch/uploads",
        "builds/b2/unpacked",
        "builds/b3/artifact.tar.zst.partial",
        "builds/b4/artifact.tar.zst",
    ] {
        let words = Elsewhere::words(&archive, &head, &[]);
        let mut client = elsewhere.place.command(&words).spawn().unwrap();
        let sign = PathBuf::from(elsewhere.place.data()).join(sign);
        eventually("it gets there", || {
            let there = fs::read_dir(&sign).map_or(sign.exists(), |mut entries| entries.next().is_some());
            (there || client.try_wait().unwrap().is_some()).then_some(())
        });
        elsewhere.place.kill_server();
        client.wait().unwrap();
        elsewhere.place.start_server();
        elsewhere.assert_nothing_left();
        let versions = elsewhere.versions();
        assert!(versions <= 1);
        if versions == 1 {
            break;
        }
    }
    let (code, _) =
        (elsewhere.place.command(&Elsewhere::words(&archive, &head, &[])).status().unwrap().code(), ());
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
    assert_eq!(elsewhere.versions(), 1);
    elsewhere.place.run(&["deploy", "store@1.0.0", "--env", ENVIRONMENT]);
    assert_eq!(elsewhere.place.ask("/store"), (200, "one".to_owned()));
}

#[test]
fn a_disk_that_is_full_is_told_and_nothing_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("data");
    fs::create_dir(&disk).unwrap();
    if !small_disk(&disk) {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    }
    let _unmount = Unmount(disk);
    let elsewhere = Elsewhere::begin_at(Place::begin_in(folder), &manifest("store", "", BUILD));
    for (megabytes, says) in [(30, "the file could not be kept"), (15, "No space left")] {
        elsewhere.sh(&format!("head -c {megabytes}000000 /dev/urandom >large"));
        let archive = elsewhere.archive("dist.tar", "-c");
        let output =
            elsewhere.place.command(&Elsewhere::words(&archive, &elsewhere.head(), &[])).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap().to_lowercase();
        assert!(!output.status.success() && said.contains(&says.to_lowercase()), "{said}");
        elsewhere.assert_nothing_left();
    }
    assert_eq!(elsewhere.versions(), 0);
    fs::remove_file(elsewhere.dist.join("large")).unwrap();
    let small = elsewhere.archive("small.tar.gz", "-cz");
    assert_eq!(elsewhere.release(&small, &[])["version"], "1.0.0");
}

#[test]
fn a_release_that_is_cancelled_while_it_unpacks_leaves_nothing() {
    let elsewhere = Elsewhere::begin();
    elsewhere.sh("head -c 100000000 /dev/urandom >large");
    let archive = elsewhere.archive("dist.tar", "-c");
    let begun = elsewhere.release(&archive, &["--no-wait"]);
    let id = begun["id"].as_str().unwrap();
    let build = || elsewhere.place.json(&["build", "show", id]);
    eventually("it unpacks", || {
        let phases = build()["phases"].as_array().unwrap().clone();
        phases.iter().any(|phase| phase["name"] == "unpack").then_some(())
    });
    elsewhere.place.run(&["build", "cancel", id]);
    let state = eventually("it is over", || {
        let state = build()["state"].as_str().unwrap().to_owned();
        (!["queued", "running"].contains(&state.as_str())).then_some(state)
    });
    assert_eq!(state, "cancelled");
    assert_eq!(elsewhere.versions(), 0);
    elsewhere.assert_nothing_left();
}

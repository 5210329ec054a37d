//! Bad input of every kind: each gets a clear message with the next command and an exit code, nothing is lost, nothing is
//! half-applied, and what served before serves on.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lockstep_domain::lifecycle::Lifecycle;
use lockstep_domain::{Event, Timestamp};
use lockstep_store::Journal;
use lockstep_store::journal::NewRecord;
use serde_json::Value;

use super::support::callers::Callers;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, service};
use super::support::{eventually, processes};

/// A canary that looks long enough for what goes wrong to show.
const CANARY: [&str; 4] = ["--steps", "50,100", "--bake", "1s"];

/// A place with one service whose first version serves.
fn serving() -> (Place, Repository) {
    let place = Place::begin();
    let repository = place.deployed("store");
    (place, repository)
}

/// Returns the address of the environment's gateway.
fn gateway(place: &Place) -> String {
    place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned()
}

fn next_release(place: &Place, repository: &Repository, manifest: &str, service: &str) -> String {
    repository.write("lockstep.toml", manifest);
    repository.write("service.py", service);
    repository.commit("feat: another one");
    place.release("store")
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

fn deploy(version: &str) -> [&str; 4] {
    ["deploy", version, "--env", ENVIRONMENT]
}

#[test]
fn a_malformed_manifest_is_refused_with_all_problems_at_their_places() {
    let place = Place::begin();
    let repository = place.repository("store");
    let text =
        "name = \"Store!\"\nowner = 7\n\n[run]\ncommand = \"\"\nport = 70000\nhealth = { ftp = true }\n";
    repository.write("lockstep.toml", text);
    repository.commit("feat: begin");
    let all = ["lockstep.toml:1", "name", "lockstep.toml:2", "owner", "lockstep.toml:5", "command"];
    let more = ["lockstep.toml:6", "port", "lockstep.toml:7", "health"];
    let checked = place.fail(&["check", repository.folder()], 2);
    assert_says(&checked, &all);
    assert_says(&checked, &more);
    let added = place.fail(&["service", "add", repository.folder()], 2);
    assert_says(&added, &all);
    assert_says(&added, &more);
    assert_says(&added, &[&format!("hint: lockstep check {}", repository.folder())]);
    assert_eq!(place.json(&["services"]), Value::Array(vec![]));

    repository.write("lockstep.toml", "name = \"store\"\nrun = {");
    assert_says(&place.fail(&["check", repository.folder()], 2), &["lockstep.toml:2"]);
}

#[test]
fn a_build_that_lacks_a_tool_and_a_variable_names_both_and_releases_nothing() {
    let (place, repository) = serving();
    let build =
        "[build]\ntools = { no-such-tool = \">=1\", git = \">=99\" }\nvariables = [\"NO_SUCH_VARIABLE\"]\n";
    repository.write("lockstep.toml", &manifest("store", "", build));
    repository.commit("feat: need more");
    let failed = place.fail(&["release", "store"], 1);
    assert_says(&failed, &["no-such-tool", "git", ">=99", "NO_SUCH_VARIABLE", "hint: "]);
    assert_eq!(place.json(&["services"])[0]["versions"].as_array().unwrap().len(), 1);
}

#[test]
fn a_failed_build_and_red_tests_release_nothing_and_keep_their_logs() {
    let (place, repository) = serving();
    let build = "[build]\nsteps = [[\"sh\", \"-c\", \"echo it breaks here; exit 3\"]]\n[package]\ninclude = [\"*.py\"]";
    repository.write("lockstep.toml", &manifest("store", "", build));
    repository.commit("feat: break");
    let failed = place.fail(&["release", "store"], 1);
    assert_says(&failed, &["build b2", "3", "hint: "]);
    assert_says(&place.run(&["logs", "b2"]), &["it breaks here"]);

    let red = "[[test]]\nkind = \"unit\"\nrun = [\"sh\", \"-c\", \"echo seven is not eight; exit 1\"]";
    repository.write("lockstep.toml", &manifest("store", "", red));
    repository.commit("feat: be red");
    let failed = place.fail(&["release", "store"], 1);
    assert_says(&failed, &["build b3", "unit", "hint: "]);
    assert_says(&place.run(&["logs", "b3"]), &["seven is not eight"]);

    assert_eq!(place.json(&["services"])[0]["versions"].as_array().unwrap().len(), 1);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
}

#[test]
fn a_version_that_never_becomes_healthy_is_taken_back_and_held_while_the_old_one_serves() {
    let (place, repository) = serving();
    let callers = Callers::begin(&gateway(&place), &["/store"]);
    let ill = manifest("store", "", "").replace("start_timeout = \"20s\"", "start_timeout = \"500ms\"");
    let sick = misbehaving("two", "print('the pump is dry', flush=True)", "status = 503");
    let version = next_release(&place, &repository, &ill, &sick);
    let taken_back = place.fail(&[&deploy(&version)[..], &CANARY].concat(), 1);
    assert_says(&taken_back, &["was taken back", &version, "503", "as in baseline 1", "hint: "]);
    assert_says(&place.run(&["hold", "list", ENVIRONMENT]), &[&version]);

    let held = place.fail(&deploy(&version), 3);
    assert_says(&held, &["is held", "hint: ", "lockstep hold release"]);
    let again = place.fail(&[&deploy(&version)[..], &["--release-holds"]].concat(), 1);
    assert_says(&again, &["was taken back"]);
    place.run(&["hold", "release", &version, "--env", ENVIRONMENT]);
    assert!(!place.run(&["hold", "list", ENVIRONMENT]).contains(&version));
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    assert!(callers.end() > 0);
}

#[test]
fn a_version_that_dies_after_a_while_in_a_canary_is_taken_back_without_a_failed_request() {
    let (place, repository) = serving();
    let callers = Callers::begin(&gateway(&place), &["/store"]);
    let once = manifest("store", "restart = { max = 0 }", "");
    let counting = "import itertools\nnumbers = itertools.count()";
    let mortal = "if self.path == '/store' and next(numbers) > 20: os._exit(7)";
    let dying = misbehaving("two", counting, mortal);
    let version = next_release(&place, &repository, &once, &dying);
    let taken_back = place.fail(&[&deploy(&version)[..], &CANARY].concat(), 1);
    assert_says(&taken_back, &["was taken back", &version, "as in baseline 1", "hint: "]);
    assert_says(&place.run(&["hold", "list", ENVIRONMENT]), &[&version]);
    assert!(callers.end() > 0);
}

#[test]
fn a_version_that_answers_garbage_in_a_canary_is_taken_back_without_a_failed_request() {
    let (place, repository) = serving();
    let callers = Callers::begin(&gateway(&place), &["/store"]);
    let garbage = "if self.path == '/store': self.wfile.write(b'\\x16\\x03\\x01 hello\\r\\n'); self.close_connection = True; return";
    let broken = misbehaving("two", "pass", garbage);
    let version = next_release(&place, &repository, &manifest("store", "", ""), &broken);
    let taken_back = place.fail(&[&deploy(&version)[..], &CANARY].concat(), 1);
    assert_says(&taken_back, &["was taken back", &version, "every request of store 1.1.0 fails", "hint: "]);
    assert_says(&place.run(&["hold", "list", ENVIRONMENT]), &[&version]);
    assert!(callers.end() > 0);
}

#[test]
fn a_clock_that_was_set_back_by_an_hour_holds_nothing_up_and_time_in_the_journal_never_goes_back() {
    let (mut place, repository) = serving();
    place.stop_server();
    record_in_an_hour(&place.data());
    place.start_server();
    let version = next_release(&place, &repository, &manifest("store", "", ""), &service("two"));
    place.run(&[&deploy(&version)[..], &CANARY].concat());
    assert_eq!(place.ask("/store"), (200, "two".to_owned()));
    let exported = place.run(&["journal", "export"]);
    let record = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let times: Vec<_> = exported.lines().filter_map(|line| record(line)["at"].as_u64()).collect();
    assert!(times.len() > 10 && times.is_sorted(), "{times:?}");
}

/// Appends a record as a server would whose clock is an hour ahead.
fn record_in_an_hour(data: &str) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let later = u64::try_from(now.as_millis()).unwrap() + 60 * 60 * 1_000;
    let event = Event::LifecycleDefined { name: "later".parse().unwrap(), lifecycle: Lifecycle::standard() };
    let record = NewRecord {
        at: Timestamp(later),
        actor: "ann".parse().unwrap(),
        event: serde_json::to_string(&event).unwrap(),
    };
    let mut journal = Journal::open(Path::new(data)).unwrap();
    journal.append(journal.last().seq, &[record]).unwrap();
}

#[test]
fn a_service_that_ignores_the_signal_is_stopped_by_force() {
    let place = Place::begin();
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "stop = { timeout = \"200ms\" }", ""));
    repository
        .write("service.py", &misbehaving("one", "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "pass"));
    let version = place.first_release(&repository, "store");
    place.run(&["environment", "set", ENVIRONMENT, "--warm", "1ms"]);
    place.run(&deploy(&version));
    assert_eq!(processes::of_instances(&place.data()).len(), 1);
    place.run(&["remove", "store", "--env", ENVIRONMENT]);
    eventually("the instance is stopped", || processes::of_instances(&place.data()).is_empty().then_some(()));
    eventually("its supervisor has ended", || {
        processes::of_supervisors(&place.data()).is_empty().then_some(())
    });
}

#[test]
fn a_fixed_port_that_somebody_uses_is_named_and_nothing_is_half_applied() {
    let place = Place::begin();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", &format!("port = {port}"), ""));
    repository.write("service.py", &service("one"));
    let version = place.first_release(&repository, "store");
    let failed = place.fail(&deploy(&version), 1);
    assert_says(&failed, &["was taken back", &format!("port {port}"), "as in baseline 0", "hint: "]);
    drop(taken);
    // The port was not its doing: nothing is held.
    place.run(&deploy(&version));
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
}

#[test]
fn a_second_operation_on_an_environment_is_refused_while_the_first_is_under_way() {
    let (place, repository) = serving();
    let version = next_release(&place, &repository, &manifest("store", "", ""), &service("two"));
    let slow = ["--steps", "50,100", "--bake", "1h"];
    let operation = place.begin_operation(&[&deploy(&version)[..], &slow].concat());
    let refused = place.fail(&["scale", "store", "2", "--env", ENVIRONMENT], 6);
    let watch = format!("lockstep watch {operation}");
    assert_says(&refused, &["is under way", &watch, &format!("lockstep undo {ENVIRONMENT}")]);
    place.run(&["undo", ENVIRONMENT]);
    assert_eq!(place.settled(operation)["phase"], "reverted");
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
}

#[test]
fn unmet_requirements_are_refused_with_every_reason() {
    let (place, _store) = serving();
    let web = place.repository("web");
    let requires = "[requires]\nstore = \"^9\"\nledger = \"^1\"";
    web.write("lockstep.toml", &manifest("web", "", requires));
    web.write("service.py", &service("web"));
    let version = place.first_release(&web, "web");
    let refused = place.fail(&deploy(&version), 3);
    assert_says(
        &refused,
        &["requires store ^9", "requires ledger ^1, and none would be there", "lockstep show"],
    );
    assert_eq!(place.status()["baseline"], 1);
}

#[test]
fn a_journal_with_one_changed_byte_is_found_and_no_server_starts_on_it() {
    let (mut place, _) = serving();
    place.stop_server();
    let database = journal(&place);
    let mut bytes = fs::read(&database).unwrap();
    // One of them lies within a page of the database.
    let events = ["operation_done", "wave_shifted", "service_registered"];
    let last = |event: &str| {
        let target = format!("\"event\":\"{event}\"");
        let at = bytes.windows(target.len()).position(|window| window == target.as_bytes())?;
        Some(at + target.len() - 2)
    };
    let at = events.into_iter().find_map(last).expect("the journal has the event");
    bytes[at] = b'f';
    fs::write(&database, bytes).unwrap();

    let (code, said) = place.refused_server();
    assert_eq!(code, 1, "{said}");
    assert_says(&said, &["record ", "hint: ", "lockstep journal verify --data"]);
    let verified = place.fail(&["journal", "verify", "--data", &place.data()], 1);
    assert_says(&verified, &["record ", "is not as it was written", "hint: "]);
    let number = verified.split("record ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(said.contains(&format!("record {number}")), "{said}\n{verified}");
}

fn journal(place: &Place) -> PathBuf {
    let files = fs::read_dir(place.data()).unwrap().flatten().map(|entry| entry.path());
    let has_header =
        |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0"));
    files.filter(|path| path.is_file()).find(has_header).expect("the journal is a database")
}

#[test]
fn a_damaged_artifact_stops_a_cold_rollback_and_nothing_changes() {
    let place = Place::begin();
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service("one"));
    let first = place.first_release(&repository, "store");
    // Nothing of it is left to go back to: neither a warm instance nor its unpacked files.
    place.run(&["environment", "set", ENVIRONMENT, "--warm", "0s"]);
    place.run(&deploy(&first));
    let second = next_release(&place, &repository, &manifest("store", "", ""), &service("two"));
    place.run(&deploy(&second));
    let digest = place.json(&["show", &first])["artifact"]["digest"].as_str().unwrap().to_owned();
    let unpacked =
        Path::new(&place.data()).join("runtime/releases").join(digest.trim_start_matches("sha256:"));
    fs::remove_dir_all(unpacked).unwrap();
    damage(Path::new(&place.data()), &digest);

    let (_, number) = first.split_once('@').unwrap();
    let failed = place.fail(&["rollback", "store", "--to", number, "--env", ENVIRONMENT], 1);
    assert_says(&failed, &["was taken back", "is damaged", "as in baseline 2", "hint: "]);
    assert_eq!(place.ask("/store"), (200, "two".to_owned()));
    assert_eq!(place.status()["baseline"], 2);
}

/// Changes one byte of a blob.
fn damage(data: &Path, digest: &str) {
    let name = digest.trim_start_matches("sha256:");
    let path = data.join("blobs/sha256").join(&name[..2]).join(&name[2..]);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_server_beyond_loopback_demands_a_token() {
    let place = Place::begin();
    let server = |token: Option<&str>| {
        let mut command = place.command(&["server", "--listen", "0.0.0.0:0", "--data", &place.path("other")]);
        match token {
            Some(token) => command.env("LOCKSTEP_TOKEN", token),
            None => command.arg("--no-token"),
        };
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (token, why) in [(None, "a token is needed"), (Some("short"), "fewer than")] {
        let (code, said) = server(token);
        assert_eq!(code, Some(2), "{said}");
        assert_says(&said, &[why, "hint: ", "--token-file"]);
    }
}

#[test]
fn a_server_with_a_token_answers_nobody_without_it() {
    let token = "0123456789abcdef0123456789abcdef";
    let place = Place::begin_with_token(token);
    for given in [None, Some("0123456789abcdef0123456789abcdeX")] {
        let mut command = place.command(&["status"]);
        command.env_remove("LOCKSTEP_TOKEN");
        given.map(|given| command.env("LOCKSTEP_TOKEN", given));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(7), "{said}");
        assert_says(&said, &["error: ", "hint: ", "--token-file"]);
        assert!(output.stdout.is_empty());
    }
    assert!(place.run(&["status"]).contains(ENVIRONMENT));
}

#[test]
fn a_busy_data_folder_is_refused_to_whoever_would_change_it_and_its_server_goes_on() {
    let (mut place, _) = serving();
    let data = place.data();
    let process = format!("is in use by process {}", place.server_process());
    let hint = "hint: `lockstep status` asks the server that runs on it; stop that one first";
    for command in [&["server", "--listen", "127.0.0.1:0"][..], &["journal", "accept"]] {
        assert_says(&place.fail(&[command, &["--data", &data]].concat(), 6), &[&process, hint]);
    }
    let same_port = place.fail(&["server", "--listen", place.address(), "--data", &place.path("other")], 6);
    assert_says(&same_port, &["cannot listen on", "hint: ", "--listen"]);
    // Who only reads, or asks the server, is not kept out.
    place.run(&["journal", "verify", "--data", &data]);
    place.run(&["store", "gc", "--dry-run"]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    place.stop_server();
    place.run(&["journal", "accept", "--data", &data]);
}

#[test]
fn unknown_names_and_a_missing_server_have_their_own_exit_codes() {
    let (mut place, _) = serving();
    for unknown in [
        &["show", "nobody"][..],
        &["show", "store@9.9.9"],
        &["status", "nowhere"],
        &["deploy", "store@9.9.9", "--env", ENVIRONMENT],
        &["deploy", "nobody@1.0.0", "--env", ENVIRONMENT],
        &["rollback", ENVIRONMENT, "--to", "99"],
        &["release", "nobody"],
        &["logs", "b99"],
        &["build", "show", "b99"],
        &["watch", "99"],
        &["history", "nowhere"],
        &["diff", ENVIRONMENT, "1", "99"],
        &["hold", "release", "store@9.9.9", "--env", ENVIRONMENT],
    ] {
        assert_says(&place.fail(unknown, 4), &["error: ", "hint: "]);
    }
    place.kill_server();
    assert_says(&place.fail(&["status"], 5), &["error: ", "hint: ", "lockstep server"]);
}

#[test]
fn a_full_disk_stops_changes_and_not_requests_and_freed_space_is_enough_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(folder.path()) else {
        eprintln!("skipped: only root can mount a small disk");
        return;
    };
    let place = Place::begin_in(folder);
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service("one"));
    let version = place.first_release(&repository, "store");
    place.run(&deploy(&version));
    let callers = Callers::begin(&gateway(&place), &["/store"]);

    let filler = place.path("filler");
    fill(&filler);
    let set = ["config", "set", "store", "GREETING=loud", "--env", ENVIRONMENT];
    let refused = eventually("the disk is full", || {
        let output = place.command(&set).output().unwrap();
        (!output.status.success()).then_some(output)
    });
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(5), "{said}");
    assert_says(&said, &["nothing was changed", "no space left", "hint: ", "free space"]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));

    fs::remove_file(&filler).unwrap();
    place.run(&set);
    assert!(place.run(&["journal", "verify"]).contains("as they were written"));
    assert!(callers.end() > 0);
}

/// Writes a file until there is no space left.
fn fill(path: &str) {
    let mut file = fs::File::create(path).unwrap();
    for size in [4096, 1] {
        while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
    }
}

/// A file system of a few MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "lockstep-test"]).arg(folder);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        processes::end_all(self.0.to_str().unwrap());
        let _ = Command::new("umount").arg(&self.0).status();
        // It was not empty when its owner wanted to remove it.
        let _ = fs::remove_dir(&self.0);
    }
}

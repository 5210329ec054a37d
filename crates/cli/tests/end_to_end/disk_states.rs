//! Every folder and file of ours in every state that a crash or a full disk may leave: the next server starts, the next
//! command works, and what ran goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, service};

/// Makes a state.
type Make = fn(&Data);

/// A data folder whose server is down.
struct Data {
    folder: PathBuf,
}

impl Data {
    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn put(&self, name: &str, content: &[u8]) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The first entry of a folder whose name ends so.
    fn first(&self, folder: &str, end: &str) -> String {
        let mut names: Vec<_> = fs::read_dir(self.at(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(end))
            .collect();
        names.sort();
        format!("{folder}/{}", names[0])
    }

    fn remove(&self, name: &str) {
        let path = self.at(name);
        fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).unwrap();
    }

    /// Cuts a file to a share of its content.
    fn cut(&self, name: &str, share: fn(&[u8]) -> &[u8]) {
        let content = fs::read(self.at(name)).unwrap();
        fs::write(self.at(name), share(&content)).unwrap();
    }

    /// The blob of the only artifact: the largest.
    fn artifact(&self) -> PathBuf {
        let fans = fs::read_dir(self.at("blobs/sha256")).unwrap().flatten();
        let blobs = fans.flat_map(|fan| fs::read_dir(fan.path()).unwrap().flatten());
        blobs.map(|blob| blob.path()).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
    }
}

fn none(_: &[u8]) -> &[u8] {
    &[]
}

fn half(content: &[u8]) -> &[u8] {
    &content[..content.len() / 2]
}

/// The states, in the order of the table in docs/design/data-folder.md. `journal.db` itself, its head and its key have tests of
/// their own: what is missing there stops a server on purpose.
const STATES: &[(&str, Make)] = &[
    ("journal.head: written beside and not renamed", |data| data.put("journal.head.new", b"")),
    ("journal.head: one of its two places is torn", |data| {
        data.cut("journal.head", |content| &content[..content.len() - 100]);
    }),
    ("journal.key: written beside and not renamed", |data| data.put("journal.key.new", b"lockstep")),
    ("journal.key: the next one half-written", |data| data.put("journal.key.next", b"lockstep")),
    ("journal.lock: gone", |data| data.remove("journal.lock")),
    ("journal.lock: garbage", |data| data.put("journal.lock", &[0xff; 300])),
    ("blobs: one half-written", |data| data.put("blobs/temporary/1-1", b"half")),
    ("blobs: a folder among those that are written", |data| {
        fs::create_dir_all(data.at("blobs/temporary/odd")).unwrap();
    }),
    ("blobs: a fan without blobs", |data| fs::create_dir_all(data.at("blobs/sha256/00")).unwrap()),
    ("blobs: the folder of those that are written is gone", |data| data.remove("blobs/temporary")),
    ("blobs: the lock is gone", |data| drop(fs::remove_file(data.at("blobs/lock")))),
    ("blobs: the artifact is empty", |data| fs::write(data.artifact(), "").unwrap()),
    ("blobs: the artifact is half", |data| {
        let content = fs::read(data.artifact()).unwrap();
        fs::write(data.artifact(), half(&content)).unwrap();
    }),
    ("blobs: the artifact is gone", |data| fs::remove_file(data.artifact()).unwrap()),
    ("secrets: a value half-written", |data| data.put("secrets/0123456789abcdef.new", b"hal")),
    ("secrets: a value that no record names", |data| data.put("secrets/0123456789abcdef", b"")),
    ("builds: only a folder", |data| fs::create_dir(data.at("builds/b900")).unwrap()),
    ("builds: an empty state", |data| data.put("builds/b900/build.json", b"")),
    ("builds: half a state", |data| data.put("builds/b900/build.json", b"{\"id\": \"b900\", \"serv")),
    ("builds: a state half-written beside", |data| data.put("builds/b900/build.json.new", b"{")),
    ("builds: sources of a build without a state", |data| data.put("builds/b900/source/a", b"")),
    ("builds: half-removed", |data| data.put("builds/.old-b900/log", b"")),
    ("builds: gone", |data| data.remove("builds")),
    ("mirrors: a clone half-made", |data| {
        let mirror = data.first("mirrors", ".git");
        fs::rename(data.at(&mirror), data.at(&format!("{mirror}.partial"))).unwrap();
        data.cut(&format!("{mirror}.partial/HEAD"), none);
    }),
    ("mirrors: its head is gone", |data| data.remove(&format!("{}/HEAD", data.first("mirrors", ".git")))),
    ("mirrors: gone", |data| data.remove("mirrors")),
    ("gateways.json: empty", |data| data.put("gateways.json", b"")),
    ("gateways.json: half", |data| data.put("gateways.json", b"{\"development\": [\"ed")),
    ("gateways.json: half-written beside", |data| data.put("gateways.json.new", b"{\"dev")),
    ("gateways.json: of a newer program", |data| data.put("gateways.json", b"{\"format\": 9}")),
    ("proving.json: empty", |data| data.put("proving.json", b"")),
    ("proving.json: half", |data| data.put("proving.json", b"{\"development\": {\"rec")),
    ("proving.json: half-written beside", |data| data.put("proving.json.new", b"{\"dev")),
    ("calls.json: empty", |data| data.put("calls.json", b"")),
    ("calls.json: half", |data| data.put("calls.json", b"{\"development\": {\"rec")),
    ("proving.json: of a newer program", |data| data.put("proving.json", b"{\"format\": 9}")),
    ("editions.json: empty", |data| data.put("editions.json", b"")),
    ("editions.json: half", |data| data.cut("editions.json", half)),
    ("editions.json: half-written beside", |data| data.put("editions.json.new", b"{\"his")),
    ("editions.json: gone", |data| data.remove("editions.json")),
    ("runtime: an artifact half-unpacked", |data| data.put("runtime/releases/.new-1/service.py", b"")),
    ("runtime: an artifact half-removed", |data| data.put("runtime/releases/.old-1/service.py", b"")),
    ("runtime: an instance half-made", |data| data.put("runtime/instances/.new-store-9/spec.json", b"{")),
    ("runtime: an instance half-removed", |data| data.put("runtime/instances/.old-store-9/log/0", b"")),
    ("runtime: an instance without a specification", |data| {
        fs::create_dir(data.at("runtime/instances/store-9")).unwrap();
    }),
    ("runtime: an instance with half a specification", |data| {
        data.put("runtime/instances/store-9/spec.json", b"{\"format\": 1, \"id\"");
    }),
    ("runtime: the state of an instance is empty", |data| {
        data.put(&format!("{}/status.json", data.first("runtime/instances", "")), b"");
    }),
    ("runtime: the next state of an instance is half-written", |data| {
        data.put(&format!("{}/status.json.new", data.first("runtime/instances", "")), b"{\"for");
    }),
    ("runtime: an ended instance half put away", |data| {
        data.put("runtime/ended/development/store/store-1.0.0-c0-1/7/spec.json", b"{");
        data.put("runtime/ended/development/store/store-1.0.0-c0-1/7/ended.json", b"{\"for");
    }),
    ("runtime: an ended instance half-removed", |data| {
        data.put("runtime/ended/development/store/store-1.0.0-c0-1/.old-7/log/current", b"");
    }),
    ("runtime: the age of the ended is no number", |data| data.put("runtime/ended.seconds", b"soon")),
    ("runtime: the lock is gone", |data| data.remove("runtime/driver.lock")),
    ("scratch: an artifact half-copied", |data| data.put("scratch/artifact-1", b"half")),
];

/// A place with one service that serves, with a secret.
fn serving() -> (Place, Repository) {
    let place = Place::begin();
    let repository = place.deployed("store");
    (place, repository)
}

#[test]
fn whatever_a_crash_left_the_next_server_starts_releases_and_serves() {
    let (mut place, _repository) = serving();
    let data = Data { folder: place.data().into() };
    let mut builds = 1;
    for (state, make) in STATES {
        place.kill_server();
        make(&data);
        eprintln!("state: {state}");
        place.start_server();
        // The same commit under a new number: nothing is built when everything that it needs is there and whole.
        let release = place.json(&["release", "store", "--bump", "patch"]);
        let build: u64 = release["id"].as_str().unwrap()[1..].parse().unwrap();
        assert!(build > builds, "{state}: build {build} after {builds}");
        builds = build;
        assert_eq!(place.ask("/store").0, 200, "{state}");
    }
    let version = format!("store@{}", place.json(&["builds"])[0]["version"].as_str().unwrap());
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
}

#[test]
fn a_first_start_may_be_interrupted_anywhere() {
    let states: &[(&str, Make)] = &[
        ("nothing", |_| {}),
        ("an empty folder", |data| fs::create_dir(&data.folder).unwrap()),
        ("a lock", |data| data.put("journal.lock", b"1\n")),
        ("a head half-written", |data| data.put("journal.head.new", b"lockstep-journal-head")),
        ("a key half-written", |data| data.put("journal.key.new", b"lockstep-journal-key")),
        ("folders", |data| {
            for folder in ["secrets", "builds", "blobs/sha256", "runtime/instances", "runtime/releases"] {
                fs::create_dir_all(data.at(folder)).unwrap();
            }
        }),
    ];
    for (state, make) in states {
        let folder = tempfile::tempdir().unwrap();
        make(&Data { folder: folder.path().join("data") });
        eprintln!("state: {state}");
        let place = Place::begin_in(folder);
        assert!(!place.json(&["environments"]).as_array().unwrap().is_empty(), "{state}");
    }
}

#[test]
fn a_build_whose_version_is_in_the_journal_has_succeeded_whatever_its_own_state_says() {
    let (mut place, _repository) = serving();
    place.kill_server();
    let state = format!("{}/builds/b1/build.json", place.data());
    let text = fs::read_to_string(&state).unwrap();
    fs::write(&state, text.replace("\"succeeded\"", "\"running\"").replace("\"1.0.0\"", "null")).unwrap();
    place.start_server();
    let build = place.json(&["builds"])[0].clone();
    assert_eq!((build["state"].as_str(), build["version"].as_str()), (Some("succeeded"), Some("1.0.0")));
}

/// A file system for a data folder; only root can make one.
pub(super) fn small_disk(folder: &Path) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=24m", "lockstep-test"]).arg(folder);
    mount.output().is_ok_and(|output| output.status.success())
}

pub(super) struct Unmount(pub(super) PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_in_a_release_and_a_restart_stop_no_later_release() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("data");
    fs::create_dir(&disk).unwrap();
    if !small_disk(&disk) {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    }
    let _unmount = Unmount(disk.clone());
    let mut place = Place::begin_in(folder);
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service("one"));
    place.first_release(&repository, "store");
    for round in 0..2 {
        let filler = disk.join("filler");
        fs::write(&filler, vec![1; 32 << 20]).unwrap_err();
        // Nothing is begun, and that is said.
        let said = place.fail(&["release", "store", "--bump", "patch"], 5);
        assert!(said.contains("no space left") && said.contains("lockstep store gc"), "{said}");
        let key = place.path("key");
        fs::write(&key, "hunter2\n").unwrap();
        let mut set = place.command(&["config", "set", "store", "--secret", "KEY", "--env", ENVIRONMENT]);
        let set = set.stdin(fs::File::open(&key).unwrap()).output().unwrap();
        let said = String::from_utf8(set.stderr).unwrap();
        assert!(set.status.code() == Some(5) && said.contains("no space left"), "{said}");
        place.kill_server();
        fs::remove_file(&filler).unwrap();
        place.start_server();
        assert_eq!(place.release_again("store"), format!("store@1.0.{}", round + 1));
    }
    // A build that fills the disk itself fails alone.
    let fills = "[build]\nsteps = [[\"sh\", \"-c\", \"cat /dev/zero > ../filler\"]]\n[package]\ninclude = [\"service.py\"]";
    repository.write("lockstep.toml", &manifest("store", "", fills));
    repository.commit("fix: fill the disk");
    let said = place.fail(&["release", "store"], 1);
    assert!(said.contains("cat /dev/zero"), "{said}");
    place.kill_server();
    place.start_server();
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service("two"));
    repository.commit("fix: fill nothing");
    assert_eq!(place.release("store"), "store@1.0.3");
}

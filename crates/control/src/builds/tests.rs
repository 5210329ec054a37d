//! Every state that a crash, a full disk or another program may have left in the folder of builds.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::*;

fn open(folder: &Path) -> Builds {
    Builds::open(folder, &World::default(), Timestamp(1_000)).unwrap()
}

fn begin(builds: &Builds) -> io::Result<Arc<Build>> {
    begin_of(builds, "orders")
}

fn begin_of(builds: &Builds, service: &str) -> io::Result<Arc<Build>> {
    builds.begin(&Actor::lockstep(), &service.parse().unwrap(), "main", Timestamp(1_000))
}

/// A folder with one build that ended.
fn with_one() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    begin(&open(folder.path())).unwrap().end(BuildState::Failed, None, Timestamp(2_000));
    folder
}

fn half_of_first(folder: &Path) -> Vec<u8> {
    let text = fs::read(folder.join("b1/build.json")).unwrap();
    text[..text.len() / 2].to_vec()
}

/// Makes a state.
type Make = fn(&Path);

/// What may lie where the second build would be; `true` when a person must still be able to ask for it by number.
const STATES: &[(&str, bool, Make)] = &[
    ("only its folder", false, |folder| fs::create_dir(folder.join("b2")).unwrap()),
    ("a state that is not begun", false, |folder| put(folder, "b2/build.json.new", b"")),
    ("a state that is half-written beside", false, |folder| {
        put(folder, "b2/build.json.new", &half_of_first(folder));
    }),
    ("an empty state", true, |folder| put(folder, "b2/build.json", b"")),
    ("half a state", true, |folder| put(folder, "b2/build.json", &half_of_first(folder))),
    ("zeros for a state", true, |folder| put(folder, "b2/build.json", &[0; 4096])),
    ("a state of another build", true, |folder| {
        put(folder, "b2/build.json", &fs::read(folder.join("b1/build.json")).unwrap());
    }),
    ("a state of a newer program", true, |folder| {
        let text = fs::read_to_string(folder.join("b1/build.json")).unwrap();
        let newer = text.replace("\"b1\"", "\"b2\"").replace("\"failed\"", "\"teleported\"");
        put(folder, "b2/build.json", newer.as_bytes());
    }),
    ("no state and a log", true, |folder| put(folder, "b2/log", b"==> fetch")),
    ("no state and sources", false, |folder| put(folder, "b2/source/main.rs", b"")),
    ("a folder for a state", true, |folder| fs::create_dir_all(folder.join("b2/build.json")).unwrap()),
    ("a link that leads nowhere for a state", true, |folder| {
        fs::create_dir(folder.join("b2")).unwrap();
        symlink("nowhere", folder.join("b2/build.json")).unwrap();
    }),
    ("a pipe for a state", true, |folder| {
        fs::create_dir(folder.join("b2")).unwrap();
        assert!(Command::new("mkfifo").arg(folder.join("b2/build.json")).status().unwrap().success());
    }),
    ("a file for its folder", true, |folder| put(folder, "b2", b"")),
    ("a link that leads nowhere for its folder", true, |folder| {
        symlink("nowhere", folder.join("b2")).unwrap();
    }),
    ("a folder that was half-removed", false, |folder| put(folder, ".old-b2/log", b"")),
    ("names that are not ours", false, |folder| {
        let names = ["b", "b0", "b02", "b-2", "b18446744073709551615", "b99999999999999999999999", "notes"];
        names.iter().for_each(|name| fs::create_dir(folder.join(name)).unwrap());
    }),
];

fn put(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn whatever_a_build_left_the_next_one_begins_and_the_earlier_one_is_there() {
    for (state, stays, make) in STATES {
        let folder = with_one();
        make(folder.path());
        for _ in 0..2 {
            let builds = open(folder.path());
            let build = begin(&builds).unwrap_or_else(|error| panic!("{state}: {error}"));
            build.end(BuildState::Failed, None, Timestamp(3_000));
            assert!(build.folder.join("build.json").is_file(), "{state}");
            assert_eq!(builds.find("b1").unwrap().view().state, BuildState::Failed, "{state}");
            if *stays {
                assert_ne!(build.id, "b2", "{state}");
                let said = builds.find("b2").map(|build| build.view()).unwrap_err();
                assert!(
                    said.detail.starts_with("the state of build `b2` cannot be read: "),
                    "{state}: {said:?}"
                );
            }
        }
    }
}

#[test]
fn a_number_that_is_taken_while_the_server_runs_is_passed_over() {
    let folder = with_one();
    let builds = open(folder.path());
    fs::create_dir(folder.path().join("b2")).unwrap();
    put(folder.path(), "b3", b"");
    assert_eq!(begin(&builds).unwrap().id, "b4");
    assert_eq!(begin(&builds).unwrap().id, "b5");
}

#[test]
fn an_interrupted_build_keeps_its_log_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    begin(&open(folder.path())).unwrap().change(|view| view.state = BuildState::Running);
    for rest in ["log", "source/a/b", "tmp/c", "artifact.tar.zst", "artifact.tar.zst.partial", "contract-1"] {
        put(folder.path(), &format!("b1/{rest}"), b"x");
    }
    let view = open(folder.path()).find("b1").unwrap().view();
    assert_eq!(view.state, BuildState::Interrupted);
    let mut left: Vec<_> = fs::read_dir(folder.path().join("b1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["build.json", "log"]);
}

#[test]
fn old_builds_go_and_the_newest_of_each_service_stay() {
    let folder = tempfile::tempdir().unwrap();
    let builds = open(folder.path());
    begin_of(&builds, "rare").unwrap().end(BuildState::Failed, None, Timestamp(2_000));
    let under_way = begin(&builds).unwrap();
    for _ in 0..KEPT_OF_A_SERVICE + 5 {
        begin(&builds).unwrap().end(BuildState::Failed, None, Timestamp(2_000));
    }
    builds.tidy(&World::default());
    let names = || fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(
        names(),
        KEPT_OF_A_SERVICE + 2,
        "the newest, the one of the other service, and the one under way"
    );
    assert!(builds.find("b1").is_ok() && builds.find(&under_way.id).is_ok() && builds.find("b3").is_err());
    assert_eq!(begin(&builds).unwrap().id, "b28");
    under_way.end(BuildState::Cancelled, None, Timestamp(3_000));
    builds.tidy(&World::default());
    assert!(builds.find(&under_way.id).is_err() && !folder.path().join("b2").exists());
}

/// A file system with so few files or bytes left that each step of beginning a build fails once; only root can make one.
struct TightDisk(tempfile::TempDir);

impl TightDisk {
    fn mount(options: &str) -> Option<Self> {
        let disk = Self(tempfile::tempdir().unwrap());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "lockstep-test"]).arg(disk.0.path());
        mount.output().is_ok_and(|output| output.status.success()).then_some(disk)
    }

    /// Takes files until only so many are left.
    fn leave_files(&self, left: usize) {
        let fillers: Vec<_> = (0..)
            .map(|index| self.0.path().join(format!("filler-{index}")))
            .take_while(|path| fs::write(path, "").is_ok())
            .collect();
        fillers.iter().rev().take(left).for_each(|path| fs::remove_file(path).unwrap());
    }

    fn make_room(&self) {
        for entry in fs::read_dir(self.0.path()).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("filler-") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

impl Drop for TightDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_disk_that_is_full_at_any_step_stops_that_build_and_no_later_one() {
    for left in 0..4 {
        let Some(disk) = TightDisk::mount("size=1m,nr_inodes=40") else {
            eprintln!("skipped: mounting a small file system needs root");
            return;
        };
        let folder = disk.0.path().join("builds");
        let builds = open(&folder);
        begin(&builds).unwrap().end(BuildState::Failed, None, Timestamp(2_000));
        disk.leave_files(left);
        let full = begin(&builds);
        if left < 2 {
            assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull, "{left} files left");
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "{left} files left");
        }
        let again = open(&folder);
        disk.make_room();
        begin(&builds).unwrap_or_else(|error| panic!("{left} files left: {error}"));
        begin(&again).unwrap_or_else(|error| panic!("{left} files left, after a restart: {error}"));
    }
}

#[test]
fn a_disk_without_room_for_a_state_keeps_the_last_one_whole() {
    let Some(disk) = TightDisk::mount("size=64k") else {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    };
    let folder = disk.0.path().join("builds");
    let build = begin(&open(&folder)).unwrap();
    fs::write(disk.0.path().join("filler-0"), vec![1; 1 << 20]).unwrap_err();
    build.end(BuildState::Succeeded, None, Timestamp(2_000));
    assert_eq!(build.view().state, BuildState::Succeeded);
    assert_eq!(begin(&open(&folder)).unwrap_err().kind(), io::ErrorKind::StorageFull);
    disk.make_room();
    let builds = open(&folder);
    assert_eq!(builds.find("b1").unwrap().view().state, BuildState::Interrupted, "what the disk last took");
    assert_eq!(begin(&builds).unwrap().id, "b2");
}

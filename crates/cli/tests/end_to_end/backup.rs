//! Backups are tested by restoring: the original is lost, and what was restored goes on with its history and goes back cold.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockstep_store::backup::{IN_BACKUP, LEFT_OUT};
use serde_json::Value;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, misbehaving, service};
use super::support::{eventually, processes};

/// A place with a service that answers with a secret, in two versions, both of which ran.
fn with_history() -> (Place, Repository) {
    let place = Place::begin();
    let repository = place.deployed("store");
    let key = place.path("key");
    fs::write(&key, "hunter2\n").unwrap();
    let mut set = place.command(&["config", "set", "store", "--secret", "KEY", "--env", ENVIRONMENT]);
    assert!(set.stdin(fs::File::open(&key).unwrap()).output().unwrap().status.success());
    let answer = "body = (os.environ.get('KEY', 'none') + ' two').encode()";
    repository.write("service.py", &misbehaving("two", "pass", "pass").replace("body = b'two'", answer));
    repository.commit("feat: two");
    let two = place.release("store");
    place.run(&["deploy", &two, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "hunter2 two".to_owned()));
    (place, repository)
}

fn history(place: &Place) -> (Value, Value, Value) {
    (place.recorded_history(ENVIRONMENT), place.json(&["services"]), place.json(&["journal", "verify"]))
}

/// Ends everything of a place but the place itself.
fn lose(place: &mut Place) {
    place.kill_server();
    processes::end_all(&place.data());
}

#[test]
fn what_was_restored_has_the_history_and_goes_back_cold() {
    let (mut place, repository) = with_history();
    let (file, restored) = (place.path("backup"), place.path("restored"));
    let before = history(&place);
    let report = place.json(&["backup", "create", &file, "--data", &place.data()]);
    assert_eq!(report["seq"], before.2["records"]);
    assert_eq!((report["versions"].as_u64(), report["lost"].as_array().map(Vec::len)), (Some(2), Some(0)));
    assert_eq!(place.json(&["backup", "verify", &file])["last_hash"], before.2["last_hash"]);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    lose(&mut place);
    place.run(&["backup", "restore", &file, "--data", &restored]);
    place.exchange_data(&restored);
    // The original may run on: somebody must say that this one counts, once.
    let (code, said) = place.refused_server();
    assert!(
        code == 3 && said.contains("is not the one that was there") && said.contains("--adopt"),
        "{code}: {said}"
    );
    place.start_server_asking(&["--adopt"]);
    assert_eq!(history(&place), before);
    place.kill_server();
    place.start_server();
    eventually("the restored baseline serves", || {
        (place.ask("/store") == (200, "hunter2 two".to_owned())).then_some(())
    });
    place.run(&["rollback", "store", "--to", "1.0.0", "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    place.run(&["undo", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "hunter2 two".to_owned()));
    repository.write("service.py", &service("three"));
    repository.commit("feat: three");
    assert_eq!(place.release("store"), "store@1.2.0");
    assert_eq!(place.json(&["builds"])[0]["id"], "b3", "numbers of builds go on");
}

#[test]
fn a_server_on_a_restored_folder_touches_nothing_of_the_original() {
    let (place, _repository) = with_history();
    let file = place.path("backup");
    place.run(&["backup", "create", &file, "--data", &place.data()]);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").to_str().unwrap().to_owned();
    place.run(&["backup", "restore", &file, "--data", &data]);
    let before = processes::of_instances(&place.data());
    let other = Place::begin_in_asking(folder, &["--adopt"]);
    // The ports of the gateways are those of the original.
    eventually("the copy has instances of its own", || {
        (!processes::of_instances(&other.data()).is_empty()).then_some(())
    });
    assert_eq!(processes::of_instances(&place.data()), before);
    assert_eq!(place.ask("/store"), (200, "hunter2 two".to_owned()));
    drop(other);
    assert_eq!(processes::of_instances(&place.data()), before);
}

#[test]
fn every_file_of_a_data_folder_is_in_a_backup_or_left_out_on_purpose() {
    let (mut place, _repository) = with_history();
    let known: BTreeSet<&str> = IN_BACKUP.into_iter().chain(LEFT_OUT).collect();
    let names = |place: &Place| -> Vec<String> {
        let entries = fs::read_dir(place.data()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let running = names(&place);
    place.stop_server();
    for name in running.into_iter().chain(names(&place)) {
        assert!(
            known.contains(name.as_str()),
            "is `{name}` part of a backup? See crates/store/src/backup/layout.rs"
        );
    }
}

#[test]
fn a_backup_in_a_storm_of_releases_and_operations_is_consistent() {
    let (place, _repository) = with_history();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // One is refused when another version goes live meanwhile; that is as good a storm as any.
                place.command(&["release", "store", "--bump", "patch"]).output().unwrap();
            }
        });
        scope.spawn(|| {
            for version in ["1.0.0", "1.1.0"].iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                place.run(&["deploy", &format!("store@{version}"), "--env", ENVIRONMENT, "--release-holds"]);
                place.run(&["store", "gc"]);
            }
        });
        let (mut last, mut grown) = (0, 0);
        while grown < 4 {
            let (file, folder) = (place.path("storm"), place.path(&format!("storm-{grown}")));
            let report = place.json(&["backup", "create", &file, "--data", &place.data(), "--force"]);
            assert_eq!(report["lost"].as_array().map(Vec::len), Some(0));
            let _ = fs::remove_dir_all(&folder);
            place.run(&["backup", "restore", &file, "--data", &folder]);
            let verified = place.json(&["journal", "verify", "--data", &folder]);
            assert_eq!(verified["last_hash"], report["last_hash"]);
            let seq = report["seq"].as_u64().unwrap();
            grown += i32::from(seq > last);
            last = seq;
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Starts a command and kills it after a while.
fn killed(place: &Place, arguments: &[&str], after: Duration) {
    let mut child = place.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(after);
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn a_command_that_is_killed_anywhere_leaves_a_whole_thing_or_none() {
    let (place, _repository) = with_history();
    let (file, folder) = (place.path("killed"), place.path("killed-data"));
    let create = ["backup", "create", &file, "--data", &place.data()];
    let restore = ["backup", "restore", &file, "--data", &folder];
    let (mut created, mut restored) = (0, 0);
    for round in 0..24 {
        killed(&place, &create, Duration::from_millis(round * 4));
        created += i32::from(Path::new(&file).exists());
        if Path::new(&file).exists() {
            place.run(&["backup", "verify", &file]);
        } else {
            place.run(&create);
        }
        killed(&place, &restore, Duration::from_millis(round * 4));
        restored += i32::from(Path::new(&folder).exists());
        if !Path::new(&folder).exists() {
            place.run(&restore);
        }
        place.run(&["journal", "verify", "--data", &folder]);
        fs::remove_dir_all(&folder).unwrap();
        fs::remove_file(&file).unwrap();
    }
    eprintln!("of 24 that were killed, {created} backups and {restored} folders were finished");
    let left: Vec<_> =
        fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".killed")), "{left:?}");
}

#[test]
fn commands_say_what_they_do_not_do() {
    let (place, _repository) = with_history();
    let file = place.path("backup");
    let create = ["backup", "create", &file, "--data", &place.data()];
    place.run(&create);
    assert!(place.fail(&create, 2).contains("--force"));
    place.run(&[&create[..], &["--force"]].concat());
    let said = place.fail(&["backup", "restore", &file, "--data", &place.data()], 2);
    assert!(said.contains("is not an empty folder"), "{said}");
    place.fail(&["backup", "create", &place.path("other"), "--data", &place.path("nowhere")], 4);
    place.fail(&["backup", "verify", &place.path("nowhere")], 2);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let said = place.fail(&["backup", "verify", &file], 1);
    assert!(said.contains("this is not a whole backup"), "{said}");
    place.fail(&["backup", "restore", &file, "--data", &place.path("new")], 1);
    assert!(!Path::new(&place.path("new")).exists());
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    place.fail(&["backup", "verify", &place.path("pipe")], 2);
    // An artifact that is gone: the rest is kept, and the exit code tells.
    let blobs = Path::new(&place.data()).join("blobs/sha256");
    let fans = fs::read_dir(blobs).unwrap().flatten();
    let mut blobs = fans.flat_map(|fan| fs::read_dir(fan.path()).unwrap().flatten());
    fs::remove_file(blobs.next().unwrap().path()).unwrap();
    let said = place.fail(&[&create[..], &["--force"]].concat(), 1);
    assert!(said.contains("1 blobs that the journal names were lost before"), "{said}");
    place.run(&["backup", "restore", &file, "--data", &place.path("new")]);
}

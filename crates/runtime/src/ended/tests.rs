use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::Duration;

use lockstep_domain::{Arm, ConfigRevision, InstanceState, Timestamp, VersionNumber};
use proptest::prelude::*;
use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, mknodat};

use super::*;
use crate::logs::reader::Follow;
use crate::logs::reader::LogReader;
use crate::process::MARKER;

/// Everything that lies in the folder of an instance, and what hostile ones put there.
const PARTS: [&str; 14] = [
    "work/deep/er/file",
    "tmp/cache/x",
    "told/routed",
    "stop",
    "control",
    "supervisor.log",
    "pipe:stdout",
    "pipe:stderr",
    "link:link-to-kept",
    "link:log/3",
    "pipe:log/2",
    "log/folder/in/it",
    "log/core",
    "ended.json.new",
];

/// A host with an instance that has ended.
struct Place {
    root: tempfile::TempDir,
    instance: Instance,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("instances")).unwrap();
        fs::write(root.path().join("kept"), "kept").unwrap();
        Self { root, instance: instance("orders-1.4.0-c0-9f3a") }
    }

    fn at(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    fn ended(&self, limits: EndedLimits) -> Ended {
        Ended::open(self.at("ended"), limits).unwrap()
    }

    fn folder(&self) -> InstanceFolder {
        InstanceFolder::of(&self.at("instances"), &self.instance.id)
    }

    /// Makes the folder of the instance with some of the parts.
    fn fill(&self, parts: &[&str]) -> InstanceFolder {
        let folder = self.folder();
        fs::create_dir_all(folder.log()).unwrap();
        for (name, text) in [("spec.json", "secret"), ("status.json", "{}"), ("lock", "")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::write(folder.log().join("current"), "2026-01-31T12:00:00.000Z out the last words\n").unwrap();
        parts.iter().for_each(|part| self.put(folder.path(), part));
        folder
    }

    fn put(&self, folder: &Path, part: &str) {
        let path = folder.join(part.rsplit(':').next().unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match part.split_once(':') {
            Some(("pipe", _)) => mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
            Some(_) => symlink(self.at("kept"), path).unwrap(),
            None => fs::write(path, "x").unwrap(),
        }
    }

    /// Every file that is kept, below the folder of the service.
    fn kept(&self) -> BTreeSet<String> {
        let mut open = vec![self.at("ended/production/orders")];
        let mut files = BTreeSet::new();
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => open.push(entry.path()),
                    false => drop(files.insert(entry.file_name().into_string().unwrap())),
                }
            }
        }
        files
    }

    fn is_clean(&self) -> bool {
        let wanted = ["current", "ended.json", "status.json"].map(str::to_owned).into();
        !self.folder().path().exists()
            && self.kept() == wanted
            && fs::read(self.at("kept")).unwrap() == b"kept"
    }
}

fn instance(id: &str) -> Instance {
    Instance {
        id: id.parse().unwrap(),
        environment: "production".parse().unwrap(),
        arm: Arm {
            service: "orders".parse().unwrap(),
            version: VersionNumber::new(1, 4, 0),
            config: ConfigRevision(0),
            process: None,
        },
        state: InstanceState::failed("gone", lockstep_domain::fault::Fault::Crash),
        address: None,
        since: Timestamp(7),
        restarts: 2,
        job: None,
        resource: None,
        host: None,
    }
}

fn log_of(ended: &Ended, instance: &Instance) -> Option<LogReader> {
    let folder = ended.find(&instance.environment, &instance.id)?;
    Some(LogReader::open(&folder, Follow::Yes).unwrap())
}

fn read_all(log: Option<LogReader>) -> Option<Vec<String>> {
    let mut log = log?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let read = async {
        let mut lines = Vec::new();
        while let Some(line) = log.next_line().await.unwrap() {
            lines.push(line);
        }
        lines
    };
    let patient = async { tokio::time::timeout(Duration::from_secs(60), read).await };
    Some(runtime.block_on(patient).expect("it must not wait"))
}

#[test]
fn nothing_stays_but_the_log_and_the_lines_that_name_the_instance() {
    let place = Place::new();
    let ended = place.ended(EndedLimits::default());
    let folder = place.fill(&PARTS);
    let early = LogReader::open(&folder, Follow::Yes).unwrap();
    assert_eq!(ended.put_away(&folder, &place.instance).unwrap(), Left::Away);
    assert!(place.is_clean(), "{:?}", place.kept());
    assert_eq!(ended.put_away(&folder, &place.instance).unwrap(), Left::Away);
    let lines = Some(vec!["2026-01-31T12:00:00.000Z out the last words".to_owned()]);
    assert_eq!(read_all(log_of(&ended, &place.instance)), lines);
    assert_eq!(read_all(Some(early)), lines, "who began to read before it moved reads on");
    assert_eq!(place.ended(EndedLimits::default()).newest(3), std::slice::from_ref(&place.instance));
    let elsewhere = ended.find(&"staging".parse().unwrap(), &place.instance.id);
    assert!(
        elsewhere.is_none()
            && ended.find(&place.instance.environment, &"orders-2".parse().unwrap()).is_none()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whatever was removed when it was cut off, before the move and after it: the next start brings it to the end.
    #[test]
    fn cut_off_anywhere_it_goes_on(left in prop::sample::subsequence(PARTS.to_vec(), 0..PARTS.len()), moved: bool) {
        let place = Place::new();
        let folder = place.fill(&left);
        fs::write(folder.path().join(NAMES), "{\"format\":1,\"inst").unwrap();
        if moved {
            let names = EndedFile { format: FORMAT, instance: place.instance.clone() };
            fs::write(folder.path().join(NAMES), serde_json::to_vec(&names).unwrap()).unwrap();
            fs::create_dir_all(place.at("ended/production/orders/orders-1.4.0-c0-9f3a")).unwrap();
            fs::rename(folder.path(), place.at("ended/production/orders/orders-1.4.0-c0-9f3a/12")).unwrap();
        } else {
            // The folder for it was made, and nothing was moved there.
            fs::create_dir_all(place.at("ended/production/orders/orders-1.4.0-c0-9f3a")).unwrap();
        }
        let ended = place.ended(EndedLimits::default());
        prop_assert_eq!(ended.put_away(&folder, &place.instance).unwrap(), Left::Away);
        prop_assert!(place.is_clean(), "{:?}", place.kept());
        prop_assert_eq!(read_all(log_of(&ended, &place.instance)).unwrap().len(), 1);
    }
}

#[test]
fn what_may_still_live_is_not_touched() {
    let place = Place::new();
    let ended = place.ended(EndedLimits::default());
    let folder = place.fill(&PARTS);
    let alive =
        |why| ended.put_away(&folder, &place.instance).unwrap() == Left::Alive(why) && folder.work().exists();
    let lock = fs::File::open(folder.lock()).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    assert!(alive("its supervisor has not ended"));
    drop(lock);
    let mut process =
        Command::new("sleep").arg("600").env(MARKER, folder.path()).stdin(Stdio::null()).spawn().unwrap();
    // The child has its environment when `exec` is done.
    while crate::process::carriers_of(folder.path()).next().is_none() {
        std::thread::yield_now();
    }
    assert!(alive("a process of it runs"));
    process.kill().unwrap();
    process.wait().unwrap();
    let healthy = Instance { state: InstanceState::Healthy, ..place.instance.clone() };
    assert_eq!(ended.put_away(&folder, &healthy).unwrap(), Left::Alive("it is not over"));
    assert!(folder.work().exists());
    assert_eq!(ended.put_away(&folder, &place.instance).unwrap(), Left::Away);
}

#[test]
fn a_place_that_cannot_be_made_leaves_the_log_and_frees_the_rest() {
    let place = Place::new();
    let ended = place.ended(EndedLimits::default());
    let folder = place.fill(&PARTS);
    fs::write(place.at("ended/production"), "no folder").unwrap();
    ended.put_away(&folder, &place.instance).unwrap_err();
    assert!(!folder.work().exists() && folder.log().join("current").exists() && folder.spec().exists());
    fs::remove_file(place.at("ended/production")).unwrap();
    assert_eq!(ended.put_away(&folder, &place.instance).unwrap(), Left::Away);
    assert!(place.is_clean());
}

#[test]
fn the_newest_are_kept_by_number_by_bytes_and_by_age_of_the_servers() {
    let mut place = Place::new();
    let limits = EndedLimits { instances: 3, bytes: 100_000, seconds: 1_000 };
    let mut end = |ended: &Ended, number: usize, bytes: usize| {
        place.instance = instance(&format!("orders-{number}"));
        let folder = place.fill(&[]);
        fs::write(folder.log().join("1"), "x".repeat(bytes)).unwrap();
        ended.put_away(&folder, &place.instance).unwrap();
    };
    let root = tempfile::tempdir().unwrap();
    let kept = |ended: &Ended| -> Vec<String> {
        ended.newest(10).iter().rev().map(|instance| instance.id.to_string()).collect()
    };
    let open = || Ended::open(root.path().join("ended"), limits).unwrap();
    let ended = open();
    (0..10).for_each(|number| end(&ended, number, 10));
    assert_eq!(kept(&ended), ["orders-7", "orders-8", "orders-9"]);
    end(&ended, 10, 70_000);
    assert_eq!(kept(&ended), ["orders-8", "orders-9", "orders-10"]);
    end(&ended, 11, 50_000);
    assert_eq!(kept(&ended), ["orders-8", "orders-9", "orders-11"], "the larger one does not fit any more");
    // Servers have run for longer than the older ones are kept.
    fs::write(root.path().join("ended.seconds"), "1010\n").unwrap();
    assert_eq!(kept(&open()), ["orders-11"]);
    // Whatever the file says, time does not go back behind what is there.
    end(&open(), 12, 10);
    fs::write(root.path().join("ended.seconds"), "not a number").unwrap();
    let again = open();
    assert_eq!(kept(&again), ["orders-11", "orders-12"]);
    assert!(again.seconds() >= 1_010);
}

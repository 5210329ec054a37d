//! Workers on real processes: a queue that is a folder, forward and back, with a bad version and a server that dies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, python};

/// Takes jobs out of a folder until it is told to end; what it has begun it finishes. Says who did what, and when.
pub(super) const WORKER: &str = r#"
import os, signal, time

queue, version = os.environ["QUEUE"], os.environ["LOCKSTEP_VERSION"]
going = True

def end(*_):
    global going
    going = False

signal.signal(signal.SIGTERM, end)
AT_START
log = open(queue + "/log", "a", 1)

def say(what):
    log.write(f"{time.monotonic_ns()} {version}/{os.getpid()} {what}\n")

say("begins")
while going:
    for name in sorted(os.listdir(queue + "/in"))[:1]:
        os.rename(f"{queue}/in/{name}", f"{queue}/taken/{name}")
        time.sleep(0.02)
        say("did " + name)
        os.rename(f"{queue}/taken/{name}", f"{queue}/done/{name}")
    time.sleep(0.005)
say("ends")
"#;

/// A queue that gets jobs all the time.
pub(super) struct Queue {
    pub(super) folder: PathBuf,
    jobs: AtomicU32,
    open: AtomicBool,
}

impl Queue {
    pub(super) fn begin(folder: &str) -> Self {
        let folder = PathBuf::from(folder);
        ["in", "taken", "done"].iter().for_each(|name| fs::create_dir_all(folder.join(name)).unwrap());
        Self { folder, jobs: AtomicU32::new(0), open: AtomicBool::new(true) }
    }

    pub(super) fn fill(&self) {
        while self.open.load(Ordering::Relaxed) {
            let job = self.jobs.fetch_add(1, Ordering::Relaxed);
            fs::write(self.folder.join("in").join(format!("{job:06}")), "").unwrap();
            thread::sleep(Duration::from_millis(40));
        }
    }

    pub(super) fn count(&self, name: &str) -> usize {
        fs::read_dir(self.folder.join(name)).unwrap().count()
    }

    /// Who wrote what into the log, in the order of time.
    fn log(&self) -> Vec<(u64, String, String)> {
        let text = fs::read_to_string(self.folder.join("log")).unwrap();
        let mut lines: Vec<_> = text.lines().map(read).collect();
        lines.sort();
        lines
    }

    /// The versions that did jobs, in the order of time.
    fn workers(&self) -> Vec<String> {
        let mut versions: Vec<_> = self
            .log()
            .into_iter()
            .filter(|(_, _, what)| what.starts_with("did"))
            .map(|(_, who, _)| who.split('/').next().unwrap().to_owned())
            .collect();
        versions.dedup();
        versions
    }

    /// Waits until a version has done some jobs after everything else.
    pub(super) fn is_worked_by(&self, version: &str) {
        let number = version.split_once('@').unwrap().1;
        eventually("the version works", || {
            (self.workers().last().map(String::as_str) == Some(number)).then_some(())
        });
    }

    /// Every job was done once, and nobody worked while another one did.
    pub(super) fn is_sound(&self) {
        let (mut at_work, mut done) = (None::<String>, BTreeMap::<String, usize>::new());
        for (_, who, what) in self.log() {
            match what.as_str() {
                "begins" => assert_eq!(at_work.replace(who), None, "two at work"),
                "ends" => assert_eq!(at_work.take(), Some(who)),
                did => {
                    assert_eq!(at_work.as_ref(), Some(&who), "it works without having begun");
                    *done.entry(did.to_owned()).or_default() += 1;
                }
            }
        }
        let twice: BTreeSet<_> = done.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
        assert_eq!(done.len(), self.jobs.load(Ordering::Relaxed) as usize, "jobs were lost");
    }
}

pub(super) struct Closes<'a>(pub(super) &'a Queue);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::Relaxed);
    }
}

fn read(line: &str) -> (u64, String, String) {
    let mut words = line.splitn(3, ' ');
    let mut next = || words.next().unwrap().to_owned();
    (next().parse().unwrap(), next(), next())
}

fn manifest(queue: &Queue, lives: &str) -> String {
    let (python, queue) = (python(), queue.folder.display());
    format!(
        "name = \"mailer\"\n\n[run]\nkind = \"worker\"\ncommand = \"{python} worker.py\"\n\
         health = {{ lives = \"{lives}\" }}\nenv = {{ QUEUE = \"{queue}\" }}\n"
    )
}

fn release(place: &Place, repository: &Repository, at_start: &str, first: bool) -> String {
    repository.write("worker.py", &WORKER.replace("AT_START", at_start));
    if first {
        return place.first_release(repository, "mailer");
    }
    repository.commit(&format!("feat: {at_start}"));
    place.release("mailer")
}

#[test]
fn one_version_of_a_worker_works_at_a_time_and_no_job_is_lost_or_done_twice() {
    let mut place = Place::begin();
    let repository = place.repository("mailer");
    let queue = Queue::begin(&place.path("queue"));
    repository.write("lockstep.toml", &manifest(&queue, "300ms"));
    let one = release(&place, &repository, "pass", true);
    let two = release(&place, &repository, "started = 2", false);
    let bad = release(&place, &repository, "raise SystemExit(3)", false);
    thread::scope(|scope| {
        scope.spawn(|| queue.fill());
        let _closes_whatever_happens = Closes(&queue);
        walk(&mut place, &queue, [&one, &two, &bad]);
    });
    eventually("all jobs are done", || (queue.count("in") + queue.count("taken") == 0).then_some(()));
    place.run(&["restart", "mailer", "--env", ENVIRONMENT]);
    // Whoever is at work now does not end before the test, which is no second one at work.
    queue.is_sound();
}

/// Forward, a bad version, back, and forward with a server that dies in the middle.
fn walk(place: &mut Place, queue: &Queue, [one, two, bad]: [&str; 3]) {
    place.run(&["deploy", one, "--env", ENVIRONMENT]);
    queue.is_worked_by(one);
    let plan = place.told(&["deploy", two, "--env", ENVIRONMENT, "--dry-run"]);
    assert!(plan.contains("nobody works in between"), "{plan}");
    place.run(&["deploy", two, "--env", ENVIRONMENT]);
    queue.is_worked_by(two);
    let refused = place.fail(&["deploy", bad, "--env", ENVIRONMENT], 1);
    assert!(refused.contains("was taken back"), "{refused}");
    queue.is_worked_by(two);
    let number = one.split_once('@').unwrap().1;
    place.run(&["rollback", "mailer", "--to", number, "--env", ENVIRONMENT]);
    queue.is_worked_by(one);
    let status = place.told(&["status", "--env", ENVIRONMENT]);
    assert!(!status.contains("warm"), "{status}");
    let operation = place.begin_operation(&["deploy", two, "--env", ENVIRONMENT, "--release-holds"]);
    place.kill_server();
    place.start_server();
    assert_eq!(place.settled(operation)["phase"], "done");
    queue.is_worked_by(two);
}

#[test]
fn a_worker_is_called_by_nobody() {
    let place = Place::begin();
    let repository = place.repository("mailer");
    let queue = Queue::begin(&place.path("queue"));
    repository.write("lockstep.toml", &manifest(&queue, "100ms"));
    let one = release(&place, &repository, "assert 'PORT' not in os.environ", true);
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/@mailer").0, 404);
    let status = place.status();
    let instance = &status["services"][0]["instances"][0];
    assert!(instance["address"].is_null(), "{instance}");
    assert!(Path::new(&place.path("queue/log")).exists());
}

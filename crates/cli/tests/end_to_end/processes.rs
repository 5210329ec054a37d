//! Several processes of one artifact on real processes: what takes requests and what works move together, under load.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::support::callers::Callers;
use super::support::eventually;
use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, python, service};

/// Takes jobs out of a folder until it is told to end; what it has begun it finishes. Says who did what, and when.
const WORKER: &str = r#"
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
struct Queue {
    folder: PathBuf,
    jobs: AtomicU32,
    open: AtomicBool,
}

impl Queue {
    fn begin(folder: &str) -> Self {
        let folder = PathBuf::from(folder);
        ["in", "taken", "done"].iter().for_each(|name| fs::create_dir_all(folder.join(name)).unwrap());
        Self { folder, jobs: AtomicU32::new(0), open: AtomicBool::new(true) }
    }

    fn fill(&self) {
        while self.open.load(Ordering::Relaxed) {
            let job = self.jobs.fetch_add(1, Ordering::Relaxed);
            fs::write(self.folder.join("in").join(format!("{job:06}")), "").unwrap();
            thread::sleep(Duration::from_millis(40));
        }
    }

    fn count(&self, name: &str) -> usize {
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
    fn is_worked_by(&self, version: &str) {
        let number = version.split_once('@').unwrap().1;
        eventually("the version works", || {
            (self.workers().last().map(String::as_str) == Some(number)).then_some(())
        });
    }

    /// Every job was done once, and nobody worked while another one did.
    fn is_sound(&self) {
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

struct Closes<'a>(&'a Queue);

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

fn manifest(queue: &Queue) -> String {
    let (python, queue) = (python(), queue.folder.display());
    format!(
        "name = \"shop\"\n\n[[route]]\npath = \"/shop\"\n\n[run]\nenv = {{ QUEUE = \"{queue}\" }}\n\n\
         [process.web]\ncommand = \"{python} service.py\"\n\
         health = {{ http = \"/health\", interval = \"100ms\", start_timeout = \"20s\" }}\n\n\
         [process.worker]\ncommand = \"{python} worker.py\"\nhealth = {{ lives = \"300ms\" }}\n"
    )
}

/// Writes a version that answers with a text, and whose worker does something of its own at its start.
fn write(repository: &Repository, text: &str, at_start: &str) {
    repository.write("service.py", &service(text));
    repository.write("worker.py", &WORKER.replace("AT_START", at_start));
}

#[test]
fn what_takes_requests_and_what_works_go_forward_and_back_together() {
    let mut place = Place::begin();
    let repository = place.repository("shop");
    let queue = Queue::begin(&place.path("queue"));
    repository.write("lockstep.toml", &manifest(&queue));
    write(&repository, "one", "assert os.environ['LOCKSTEP_PROCESS'] == 'worker'");
    let one = place.first_release(&repository, "shop");
    write(&repository, "two", "pass");
    repository.commit("feat: answer otherwise");
    let two = place.release("shop");
    write(&repository, "bad", "raise SystemExit(3)");
    repository.commit("feat: a worker that ends at once");
    let bad = place.release("shop");
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    let gateway = StandaloneGateway::follow(&place);
    let callers = Callers::begin(gateway.address(), &["/shop"]);
    thread::scope(|scope| {
        scope.spawn(|| queue.fill());
        let _closes_whatever_happens = Closes(&queue);
        walk(&mut place, &queue, [&one, &two, &bad]);
    });
    callers.end();
    eventually("all jobs are done", || (queue.count("in") + queue.count("taken") == 0).then_some(()));
    place.run(&["restart", "shop", "--env", ENVIRONMENT]);
    queue.is_sound();
}

/// Forward by shares, a bad worker, back, and forward with a server that dies in the middle.
fn walk(place: &mut Place, queue: &Queue, [one, two, bad]: [&str; 3]) {
    let answers = |place: &Place, text: &str| assert_eq!(place.ask("/shop"), (200, text.to_owned()));
    queue.is_worked_by(one);
    let canary = ["--strategy", "canary", "--steps", "50,100", "--bake", "500ms", "--min-requests", "1"];
    let plan = place.told(&["deploy", two, "--env", ENVIRONMENT, "--dry-run"]);
    assert!(plan.contains("process worker: in the last step the old instances end first"), "{plan}");
    place.run(&[&["deploy", two, "--env", ENVIRONMENT], &canary[..]].concat());
    answers(place, "two");
    queue.is_worked_by(two);
    let refused = place.fail(&["deploy", bad, "--env", ENVIRONMENT], 1);
    assert!(refused.contains("was taken back"), "{refused}");
    assert!(refused.contains("worker"), "it names the process: {refused}");
    answers(place, "two");
    queue.is_worked_by(two);
    let number = one.split_once('@').unwrap().1;
    place.run(&["rollback", "shop", "--to", number, "--env", ENVIRONMENT]);
    answers(place, "one");
    queue.is_worked_by(one);
    let operation = place.begin_operation(&["deploy", two, "--env", ENVIRONMENT, "--release-holds"]);
    place.kill_server();
    place.start_server();
    assert_eq!(place.settled(operation)["phase"], "done");
    answers(place, "two");
    queue.is_worked_by(two);
}

#[test]
fn each_process_is_scaled_shown_and_restarted_by_itself() {
    let place = Place::begin();
    let repository = place.repository("shop");
    let queue = Queue::begin(&place.path("queue"));
    repository.write("lockstep.toml", &manifest(&queue));
    write(&repository, "one", "pass");
    let one = place.first_release(&repository, "shop");
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    place.run(&["scale", "shop", "3", "--process", "worker", "--env", ENVIRONMENT]);
    place.run(&["scale", "shop", "2", "--process", "web", "--env", ENVIRONMENT]);
    let of = |place: &Place| {
        let status = place.status();
        let instances = status["services"][0]["instances"].as_array().unwrap().clone();
        let healthy = instances.into_iter().filter(|it| it["state"]["state"] == "healthy");
        let (workers, web): (Vec<Value>, Vec<Value>) =
            healthy.partition(|it| it["arm"]["process"] == "worker");
        (web, workers)
    };
    let (web, workers) = of(&place);
    assert_eq!((web.len(), workers.len()), (2, 3));
    assert!(workers.iter().all(|it| it["id"].as_str().unwrap().contains("-worker-")), "{workers:?}");
    assert!(workers.iter().all(|it| it["address"].is_null()), "{workers:?}");
    let status = place.told(&["status", "--env", ENVIRONMENT]);
    let worker = status.lines().find(|line| line.trim_start().starts_with("worker")).unwrap();
    assert!(worker.contains("3 of 3"), "{status}");
    place.run(&["restart", "shop", "--env", ENVIRONMENT]);
    let (new_web, new_workers) = of(&place);
    assert_eq!((new_web.len(), new_workers.len()), (2, 3));
    let ids = |all: &[Value]| all.iter().map(|it| it["id"].clone()).collect::<Vec<_>>();
    assert!(
        ids(&workers)
            .iter()
            .chain(&ids(&web))
            .all(|id| { !ids(&new_workers).contains(id) && !ids(&new_web).contains(id) })
    );
    let refused = place.fail(&["scale", "shop", "2", "--process", "wrker", "--env", ENVIRONMENT], 4);
    assert!(refused.contains("has no process `wrker`") && refused.contains("web, worker"), "{refused}");
    assert!(fs::read_to_string(queue.folder.join("log")).unwrap().contains("begins"));
}

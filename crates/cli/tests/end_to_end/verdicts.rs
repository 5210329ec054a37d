//! Workers that are judged by what they say, on real processes: jobs that fail, a queue that grows, one that says nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use std::{fs, path::PathBuf};

use serde_json::Value;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::processes;
use super::support::repository::{Repository, python};

/// Takes jobs out of a folder, and counts them in a file, or on its own port where it has one.
const WORKER: &str = r#"
import http.server, os, signal, threading, time

queue, going, done, failed = os.environ["QUEUE"], True, 0, 0

def end(*_):
    global going
    going = False

signal.signal(signal.SIGTERM, end)

def text():
    return f'# TYPE jobs_total counter\njobs_total{{result="ok"}} {done}\njobs_total{{result="failed"}} {failed}\n'

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = text().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

if "PORT" in os.environ:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()

def say():
    if "PORT" not in os.environ and SPEAKS:
        with open("metrics.new", "w") as file:
            file.write(text())
        os.rename("metrics.new", "metrics.prom")

say()
count = 0
while going:
    for name in sorted(os.listdir(queue + "/in"))[:1]:
        try:
            os.rename(f"{queue}/in/{name}", f"{queue}/done/{name}")
        except FileNotFoundError:
            continue
        time.sleep(TAKES)
        count += 1
        if count * 37 % 100 < FAILS:
            failed += 1
        else:
            done += 1
        say()
    time.sleep(0.002)
"#;

/// Prints how many jobs wait.
const DEPTH: &str = "import os\nprint(len(os.listdir(os.environ['QUEUE'] + '/in')))\n";

/// A queue that gets some twenty jobs a second.
struct Queue {
    folder: PathBuf,
    open: AtomicBool,
}

impl Queue {
    fn begin(place: &Place) -> Self {
        let folder = PathBuf::from(place.path("queue"));
        ["in", "done"].iter().for_each(|name| fs::create_dir_all(folder.join(name)).unwrap());
        Self { folder, open: AtomicBool::new(true) }
    }

    fn fill(&self) {
        let mut job = 0;
        while self.open.load(Ordering::Relaxed) {
            fs::write(self.folder.join("in").join(format!("{job:06}")), "").unwrap();
            job += 1;
            thread::sleep(Duration::from_millis(45));
        }
    }
}

struct Closes<'a>(&'a Queue);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::Relaxed);
    }
}

const FILE: &str = "file = \"metrics.prom\"";
const HTTP: &str = "http = \"/metrics\"";

fn manifest(queue: &Queue, more: &str, place: &str) -> String {
    let (python, queue) = (python(), queue.folder.display());
    format!(
        "name = \"mailer\"\n\n[run]\nkind = \"worker\"\ncommand = \"{python} worker.py\"\n\
         health = {{ lives = \"200ms\" }}\nenv = {{ QUEUE = \"{queue}\" }}\n{more}\n\n\
         [run.metrics]\n{place}\ndone = 'jobs_total{{result=\"ok\"}}'\nfailed = 'jobs_total{{result=\"failed\"}}'\n"
    )
}

fn release(place: &Place, repository: &Repository, [fails, takes, speaks]: [&str; 3], first: bool) -> String {
    let text = WORKER.replace("FAILS", fails).replace("TAKES", takes).replace("SPEAKS", speaks);
    repository.write("worker.py", &text);
    repository.write("depth.py", DEPTH);
    if first {
        return place.first_release(repository, "mailer");
    }
    repository.commit(&format!("feat: {fails} {takes} {speaks}"));
    place.release("mailer")
}

const GOOD: [&str; 3] = ["1", "0.01", "True"];
const FAILING: [&str; 3] = ["60", "0.01", "True"];

fn watched<'a>(version: &'a str, steps: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["deploy", version, "--env", ENVIRONMENT, "--strategy", "canary", "--steps", steps];
    [&fixed[..], &["--min-requests", "20"], more].concat()
}

/// What the running instances of a version have done.
fn done_by(place: &Place, version: &str) -> u64 {
    let status = place.status();
    let work = status["services"][0]["work"].as_array().cloned().unwrap_or_default();
    let number = version.split_once('@').unwrap().1;
    let of_it = work.iter().filter(|it| it["instance"].as_str().unwrap().contains(&format!("-{number}-")));
    of_it.map(|it| it["told"]["done"].as_u64().unwrap()).sum()
}

fn has_done(place: &Place, version: &str, jobs: u64) {
    eventually("the version does jobs", || (done_by(place, version) >= jobs).then_some(()));
}

fn with_jobs(queue: &Queue, walk: impl FnOnce()) {
    thread::scope(|scope| {
        scope.spawn(|| queue.fill());
        let _closes_whatever_happens = Closes(queue);
        walk();
    });
}

#[test]
fn a_worker_whose_jobs_fail_is_taken_back_and_the_old_one_works_again() {
    let mut place = Place::begin();
    let repository = place.repository("mailer");
    let queue = Queue::begin(&place);
    repository.write("lockstep.toml", &manifest(&queue, "", FILE));
    let (one, bad) = (release(&place, &repository, GOOD, true), release(&place, &repository, FAILING, false));
    with_jobs(&queue, || {
        place.run(&["deploy", &one, "--env", ENVIRONMENT]);
        has_done(&place, &one, 100);
        processes::of_supervisors(&place.data()).into_values().for_each(processes::kill);
        has_done(&place, &one, 130);
        let status = place.told(&["status", ENVIRONMENT]);
        assert!(status.contains(&format!("work: {one}: ")), "{status}");
        let bad_one = watched(&bad, "100", &["--bake", "10m"]);
        let plan = place.told(&[&bad_one[..], &["--dry-run"]].concat());
        assert!(plan.contains(&format!("compared with: {one} in its last ")), "{plan}");
        let refused = place.fail(&bad_one, 1);
        assert!(refused.contains("was taken back") && refused.contains("of jobs, 1.0.0"), "{refused}");
        has_done(&place, &one, 20);
        let held = place.json(&["history", ENVIRONMENT])["reverted"][0]["phase"].clone();
        assert!(held["cause"].as_str().unwrap().contains("of jobs"), "{held}");

        let operation = place.begin_operation(&[&bad_one[..], &["--release-holds"]].concat());
        eventually("the new version works", || {
            let status = place.status();
            let instances = status["services"][0]["instances"].as_array().unwrap();
            let is_new = |it: &&Value| it["arm"]["version"] == "1.1.0" && it["state"]["state"] == "healthy";
            instances.iter().find(is_new).map(|_| ())
        });
        place.kill_server();
        place.start_server();
        assert_eq!(place.settled(operation)["phase"], "reverted");
        has_done(&place, &one, 20);
    });
}

#[test]
fn a_share_of_the_instances_is_compared_with_the_others_that_work_beside_it() {
    let place = Place::begin();
    let repository = place.repository("mailer");
    let queue = Queue::begin(&place);
    repository.write("lockstep.toml", &manifest(&queue, "replace = \"side-by-side\"", HTTP));
    let one = release(&place, &repository, GOOD, true);
    let bad = release(&place, &repository, FAILING, false);
    let good = release(&place, &repository, ["1", "0.011", "True"], false);
    with_jobs(&queue, || {
        place.run(&["deploy", &one, "--env", ENVIRONMENT]);
        place.run(&["scale", "mailer", "2", "--env", ENVIRONMENT]);
        let refused = place.fail(&watched(&bad, "50,100", &["--bake", "10m"]), 1);
        assert!(refused.contains("was taken back") && refused.contains("of jobs, 1.0.0"), "{refused}");
        place.run(&watched(&good, "50,100", &["--bake", "1s"]));
        let proof = place.json(&["history", ENVIRONMENT])["baselines"][0]["proof"].clone();
        assert!(proof.as_str().unwrap().contains("of jobs"), "{proof}");
    });
}

#[test]
fn a_worker_whose_queue_grows_is_taken_back() {
    let place = Place::begin();
    let repository = place.repository("mailer");
    let queue = Queue::begin(&place);
    let asked = format!("queue = {{ command = \"{} depth.py\", interval = \"1s\" }}", python());
    repository.write("lockstep.toml", &manifest(&queue, &asked, FILE));
    let one = release(&place, &repository, GOOD, true);
    let slow = release(&place, &repository, ["1", "0.4", "True"], false);
    with_jobs(&queue, || {
        place.run(&["deploy", &one, "--env", ENVIRONMENT]);
        eventually("the queue is known", || {
            let told = place.status()["services"][0]["work"][0]["told"].clone();
            let depths = |slices: &Vec<Value>| slices.iter().filter(|it| !it["depth"].is_null()).count();
            (told["slices"].as_array().map_or(0, depths) >= 3).then_some(())
        });
        let refused = place.fail(&watched(&slow, "100", &["--bake", "10m"]), 1);
        assert!(refused.contains("grows without end"), "{refused}");
        has_done(&place, &one, 20);
    });
}

#[test]
fn a_worker_that_says_nothing_waits_for_the_word_of_a_person() {
    let place = Place::begin();
    let repository = place.repository("mailer");
    let queue = Queue::begin(&place);
    repository.write("lockstep.toml", &manifest(&queue, "", FILE));
    let one = release(&place, &repository, GOOD, true);
    let silent = release(&place, &repository, ["1", "0.01", "False"], false);
    let makes_a_pipe = "(os.path.exists('metrics.prom') or os.mkfifo('metrics.prom')) and False";
    let pipe = release(&place, &repository, ["1", "0.01", makes_a_pipe], false);
    with_jobs(&queue, || {
        place.run(&["deploy", &one, "--env", ENVIRONMENT]);
        has_done(&place, &one, 10);
        let operation = place.begin_operation(&watched(&silent, "100", &["--bake", "1s"]));
        let waits = eventually("the step waits", || {
            let waits = place.status()["waits_for"][0].as_str()?.to_owned();
            waits.contains("--despite").then_some(waits)
        });
        assert!(waits.contains("it does not say what it does: `metrics.prom` of mailer-"), "{waits}");
        assert!(waits.contains("it is not there"), "{waits}");
        let command = waits.split("lockstep accept ").nth(1).unwrap();
        let words: Vec<_> = command.split_whitespace().collect();
        assert!(words[4].contains("no-counters"), "{command}");
        place.run(&[&["accept"], &words[..5], &["--reason", "seen by hand"]].concat());
        assert_eq!(place.settled(operation)["phase"], "done");
        let operation = place.begin_operation(&watched(&pipe, "100", &["--bake", "1s"]));
        eventually("the step waits", || {
            let waits = place.status()["waits_for"][0].as_str()?.to_owned();
            waits.contains("it is a pipe, not a file").then_some(())
        });
        place.run(&["undo", ENVIRONMENT]);
        assert_eq!(place.settled(operation)["phase"], "reverted");
    });
}

/// The unpacked artifacts on the host.
fn unpacked(place: &Place) -> Vec<PathBuf> {
    let folders = fs::read_dir(format!("{}/runtime/releases", place.data())).unwrap();
    folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
}

fn way_back(place: &Place) -> Value {
    let ways = place.json(&["rollback", "mailer", "--env", ENVIRONMENT]);
    ways["ways"][0].clone()
}

#[test]
fn going_back_to_a_worker_is_prepared_and_says_how_long_a_start_takes() {
    let mut place = Place::begin();
    let repository = place.repository("mailer");
    let queue = Queue::begin(&place);
    repository.write("lockstep.toml", &manifest(&queue, "", FILE));
    let one = release(&place, &repository, GOOD, true);
    let two = release(&place, &repository, ["2", "0.01", "True"], false);
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    place.run(&["deploy", &two, "--env", ENVIRONMENT]);
    let prepared = |place: &Place| {
        eventually("it is prepared", || {
            let way = way_back(place);
            (way["readiness"] == "prepared").then_some(way)
        })
    };
    let way = prepared(&place);
    assert_eq!(way["start"]["measured"][0]["times"], 1, "{way}");
    let told = place.told(&["rollback", "mailer", "--env", ENVIRONMENT]);
    assert!(told.contains("back in about 1 s once mailer 1.1.0 has ended (at most "), "{told}");
    let plan = place.told(&["rollback", "mailer", "--to", "1.0.0", "--env", ENVIRONMENT, "--dry-run"]);
    assert!(
        plan.contains("once mailer 1.1.0 has ended (at most ") && plan.contains("(measured once)"),
        "{plan}"
    );
    let status = place.told(&["status", ENVIRONMENT]);
    assert!(status.contains("prepared: mailer@1.0.0"), "{status}");

    place.run(&["store", "gc"]);
    assert_eq!(unpacked(&place).len(), 2, "a collection leaves it");
    place.kill_server();
    unpacked(&place).iter().for_each(|path| lockstep_files::tree::remove(path).unwrap());
    place.start_server();
    prepared(&place);
    unpacked(&place).iter().for_each(|path| lockstep_files::tree::remove(path).unwrap());
    prepared(&place);

    let store = format!("{}/blobs/sha256", place.data());
    let elsewhere = format!("{store}-elsewhere");
    fs::rename(&store, &elsewhere).unwrap();
    let lost = "the artifact of `mailer@1.0.0` is not in the blob store";
    let told = place.told(&["rollback", "mailer", "--env", ENVIRONMENT]);
    assert!(told.contains(lost) && !told.contains("back in about"), "{told}");
    let status = place.told(&["status", ENVIRONMENT]);
    assert!(status.contains(lost) && !status.contains("prepared: mailer"), "{status}");
    let refused = place.fail(&["rollback", "mailer", "--to", "1.0.0", "--env", ENVIRONMENT], 3);
    assert!(refused.contains(lost), "{refused}");
    fs::rename(&elsewhere, &store).unwrap();
    place.run(&["rollback", "mailer", "--to", "1.0.0", "--env", ENVIRONMENT]);
}

//! A worker that takes jobs from a real Redis, reliably: what it has taken stands in a second list until it is done.

use std::collections::BTreeMap;

use crate::support::place::{ENVIRONMENT, Place};
use crate::support::repository::{Repository, manifest, misbehaving, python};
use crate::support::{eventually, processes};

use super::story::{Shape, Version, answer};

const RESP: &str = include_str!("../../../../../examples/compose/jobs/resp.py");

/// Takes jobs until it is told to end, and finishes what it has begun, in a process of its own for each job, as Celery does. That a
/// job is done and that nobody has it any more is one step; one whose process is ended from outside is lost.
const WORKER: &str = r#"
import os, signal, time
from resp import Redis

going, me = True, f"WORDS/{os.getpid()}"

def end(*_):
    global going
    going = False

signal.signal(signal.SIGTERM, end)
redis = Redis(os.environ["REDIS_URL"])
redis("RPUSH", "log", me + " begins")
# What was taken by one that died is done first: nobody else is at work.
while redis("RPOPLPUSH", "begun", "jobs"):
    pass
while going:
    job = redis("BLMOVE", "jobs", "begun", "RIGHT", "LEFT", 1)
    if not job:
        continue
    AT_JOB
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(0.02)
        os._exit(0)
    _, how = os.waitpid(child, 0)
    redis("MULTI")
    redis("RPUSH", "log", me + (" lost " if how else " did ") + job)
    redis("LREM", "begun", 1, job)
    redis("EXEC")
redis("RPUSH", "log", me + " ends")
"#;

/// Takes jobs from clients, and tells what became of them.
const DESK: &str = "
        redis = Redis(os.environ['REDIS_URL'])
        what = self.path.split('/')[2:]
        if what[:1] == ['push']: answer = str(redis('LPUSH', 'jobs', what[1]))
        elif what == ['last']: answer = redis('LINDEX', 'log', -1) or ''
        elif what == ['left']: answer = str(redis('LLEN', 'jobs') + redis('LLEN', 'begun'))
        else: answer = '\\n'.join(redis('LRANGE', 'log', 0, -1))
        redis.close()
        answer = answer.encode()";

pub(super) struct Mailer {
    desk: String,
}

impl Mailer {
    fn says(&self, what: &str) -> Option<String> {
        answer(&self.desk, &format!("/desk/{what}"), 0).ok()
    }
}

impl Shape for Mailer {
    const SERVICES: &'static [&'static str] = &["mailer"];
    const GAP: Option<&'static str> = Some("nobody works in between");
    // It is healthy, and dies of the first job.
    const BAD: &'static [&'static str] =
        &["--strategy", "canary", "--steps", "100", "--bake", "20s", "--min-requests", "1"];

    fn begin(place: &Place, gateway: &str) -> Self {
        place.run(&["resource", "run", "redis", "--kind", "redis", "--env", ENVIRONMENT]);
        let desk = place.repository("desk");
        desk.write("lockstep.toml", &manifest("desk", ENV, RESOURCE));
        let program = misbehaving("TEXT", "from resp import Redis", DESK).replace("b'TEXT'", "answer");
        desk.write("service.py", &program);
        desk.write("resp.py", RESP);
        let version = place.first_release(&desk, "desk");
        place.run(&["deploy", &version, "--env", ENVIRONMENT]);
        Self { desk: gateway.to_owned() }
    }

    fn write(&self, _: &str, repository: &Repository, version: Version) {
        let python = python();
        let toml = format!(
            "name = \"mailer\"\n\n[run]\nkind = \"worker\"\ncommand = \"{python} worker.py\"\n\
             health = {{ lives = \"300ms\" }}\n{ENV}\n{RESOURCE}"
        );
        repository.write("lockstep.toml", &toml);
        repository.write("resp.py", RESP);
        let at_job = if version == Version::Bad { "os.abort()" } else { "pass" };
        repository.write("worker.py", &WORKER.replace("WORDS", version.words()).replace("AT_JOB", at_job));
    }

    fn is_deployed(&self, place: &Place) {
        // One that is killed in the middle of its work is started again, and what it had taken is done.
        let ids = processes::of_instances(&place.data()).into_iter();
        let (_, process) = ids.into_iter().find(|(id, _)| id.starts_with("mailer-")).unwrap();
        answer(&self.desk, "/desk/push/killed", 0).unwrap();
        processes::kill(process);
    }

    fn ask(&self, number: u64) -> Result<(), String> {
        answer(&self.desk, &format!("/desk/push/{number}"), number).map(drop)
    }

    fn at_work(&self) -> Option<String> {
        let last = self.says("last")?;
        let (who, what) = last.split_once(' ')?;
        what.starts_with("did").then(|| who.split('/').next().unwrap().to_owned())
    }

    fn judge(&self, place: &Place, asked: u64) {
        eventually("all jobs are done", || (self.says("left")? == "0").then_some(()));
        place.run(&["restart", "mailer", "--env", ENVIRONMENT]);
        let log = self.says("log").unwrap();
        let done = work_of_one_at_a_time(&log);
        assert!(!log.contains(" lost "), "{log}");
        let twice: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
        assert_eq!(done.len() as u64, asked + 1, "jobs were lost");
        let of_bad: Vec<_> = log.lines().filter(|line| line.starts_with("bad/")).collect();
        assert!(!of_bad.is_empty() && of_bad.iter().all(|line| line.ends_with(" begins")), "{of_bad:?}");
    }
}

const ENV: &str = "env = { REDIS_URL = \"${resource.redis.url}\" }\n";
const RESOURCE: &str = "[resource.redis]\nkind = \"redis\"\n";

/// Reads a log in which each worker says that it begins, what it did, and that it ends; returns how often each thing was done.
///
/// Nobody does anything once another has begun, and nobody begins before the other has ended, or died.
pub(super) fn work_of_one_at_a_time(log: &str) -> BTreeMap<String, usize> {
    let (mut at_work, mut done) = (None::<&str>, BTreeMap::<String, usize>::new());
    for line in log.lines() {
        let (who, what) = line.split_once(' ').unwrap();
        match what {
            "begins" => at_work = Some(who),
            "ends" => assert_eq!(at_work.take(), Some(who), "{log}"),
            did => {
                assert_eq!(at_work, Some(who), "{did}: another one is at work, or none\n{log}");
                *done.entry(did.to_owned()).or_default() += 1;
            }
        }
    }
    done
}

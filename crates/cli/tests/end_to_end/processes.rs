//! Several processes of one artifact on real processes: what takes requests and what works move together, under load.

use std::fs;
use std::thread;

use serde_json::Value;

use super::support::callers::Callers;
use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, python, service};
use super::workers::{Closes, Queue, WORKER};

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
    super::support::eventually("all jobs are done", || {
        (queue.count("in") + queue.count("taken") == 0).then_some(())
    });
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

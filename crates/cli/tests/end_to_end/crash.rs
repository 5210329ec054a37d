//! `kill -9` at any point: of the server, of supervisors, of the gateway, of all of them, in rollouts and in a build.
//!
//! Two services, one of which requires the other, go forward by canary and back again, while clients call them through a
//! gateway of its own. Whatever is killed, no request fails, no instance is started twice, and the operation ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Pid;
use serde_json::Value;

use super::support::callers::Callers;
use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, service};
use super::support::{eventually, get, processes};

const SERVICES: [&str; 2] = ["store", "web"];
const PATHS: &[&str] = &["/store", "/web"];
/// Forward in two waves of two steps: begun, four shifts with a prepared wave between them, done.
const RECORDS_FORWARD: usize = 7;
/// Back in two waves without steps.
const RECORDS_BACK: usize = 5;
/// Requests that must be served while something is dead.
const SERVED_MEANWHILE: u64 = 10;
const CANARY: [&str; 4] = ["--steps", "50,100", "--bake", "150ms"];

struct Fleet {
    place: Place,
    repositories: [Repository; 2],
    gateway: StandaloneGateway,
    callers: Callers,
    /// The first and the second version of the services.
    versions: [[String; 2]; 2],
    /// The process in which each instance was first seen.
    seen: BTreeMap<String, Pid>,
}

impl Fleet {
    /// Releases two versions of both services, and brings the first ones to the environment.
    fn begin() -> Self {
        let place = Place::begin();
        let repositories = SERVICES.map(|name| place.repository(name));
        let first = commit_and_release(&place, &repositories, "one", "[requires]\nstore = \">=0.0.0\"");
        let store = next_release(&place, &repositories[0], "store", "two", "");
        let (_, number) = store.split_once('@').unwrap();
        let requires = format!("[requires]\nstore = \">={number}\"");
        let web = next_release(&place, &repositories[1], "web", "two", &requires);
        Self::with(place, repositories, [first, [store, web]])
    }

    /// The same with services that have nothing to do with each other.
    fn apart() -> Self {
        let place = Place::begin();
        let repositories = SERVICES.map(|name| place.repository(name));
        let first = commit_and_release(&place, &repositories, "one", "");
        let [store, web] = &repositories;
        let second =
            [(store, "store"), (web, "web")].map(|(it, name)| next_release(&place, it, name, "two", ""));
        Self::with(place, repositories, [first, second])
    }

    fn with(place: Place, repositories: [Repository; 2], versions: [[String; 2]; 2]) -> Self {
        let first = &versions[0];
        // A short warm time, so that every rollout starts instances anew and stops the old ones.
        place.run(&["environment", "set", ENVIRONMENT, "--warm", "300ms"]);
        place.run(&["deploy", &first[0], &first[1], "--env", ENVIRONMENT]);
        let gateway = StandaloneGateway::follow(&place);
        for path in PATHS {
            eventually("the gateway has its first table", || {
                get(gateway.address(), path, 0).is_ok_and(|(status, _)| status == 200).then_some(())
            });
        }
        let callers = Callers::begin(gateway.address(), PATHS);
        Self { place, repositories, gateway, callers, versions, seen: BTreeMap::new() }
    }

    /// Begins to go forward to the second versions by a canary.
    fn forward(&self) -> u64 {
        let [store, web] = &self.versions[1];
        let deploy = ["deploy", store, web, "--env", ENVIRONMENT, "--release-holds"];
        self.place.begin_operation(&[deploy.as_slice(), &CANARY].concat())
    }

    /// Begins to go back to the first versions.
    fn back(&self) -> u64 {
        self.place.begin_operation(&["rollback", ENVIRONMENT, "--to", "1"])
    }

    /// Goes forward and back, and does something at a point of each way.
    fn there_and_back(&mut self, [on_the_way, back]: [usize; 2], mut what: impl FnMut(&mut Self)) {
        let forward = self.forward();
        self.wait_for_records(forward, on_the_way);
        what(self);
        self.comes_to_rest(forward, &format!("after record {on_the_way} forward"));
        let operation = self.back();
        self.wait_for_records(operation, back);
        what(self);
        self.comes_to_rest(operation, &format!("after record {back} back"));
    }

    /// Begins to go forward with both services, each in an operation of its own.
    fn forward_apart(&self, strategy: &[&str]) -> [u64; 2] {
        self.versions[1].each_ref().map(|version| {
            let deploy = ["deploy", version, "--env", ENVIRONMENT, "--release-holds"];
            self.place.begin_operation(&[deploy.as_slice(), strategy].concat())
        })
    }

    /// Returns the words that go back with one service to its first version.
    fn back_of(&self, service: usize) -> [&str; 6] {
        let (name, number) = self.versions[0][service].split_once('@').unwrap();
        ["rollback", name, "--to", number, "--env", ENVIRONMENT]
    }

    fn back_apart(&self) -> [u64; 2] {
        [0, 1].map(|service| self.place.begin_operation(&self.back_of(service)))
    }

    /// Waits until so many records of an operation are in the journal.
    fn wait_for_records(&self, operation: u64, count: usize) {
        let mut watch = self.place.command(&["watch", &operation.to_string(), "--json"]);
        let mut watch = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        let seen: Vec<_> = lines.map_while(Result::ok).take(count).collect();
        watch.kill().unwrap();
        watch.wait().unwrap();
        assert_eq!(seen.len(), count, "records of operation {operation}: {seen:#?}");
    }

    fn kill_server_and_start_it_again(&mut self) {
        self.place.kill_server();
        self.note_processes();
        self.callers.wait_for(SERVED_MEANWHILE);
        self.place.start_server();
        self.note_processes();
    }

    /// Kills every supervisor; returns the instances whose supervisors they were.
    fn kill_supervisors(&mut self) -> Vec<String> {
        // One that has not started its process yet, or not noted it, starts another one: only who serves must not notice.
        let status = self.place.status();
        let serves = |name: &String| instances(&status).any(|one| one["id"] == **name && is_healthy(one));
        self.note(processes::of_instances(&self.place.data()).into_iter().filter(|(name, _)| serves(name)));
        let supervisors = processes::of_supervisors(&self.place.data());
        supervisors.values().copied().for_each(processes::kill);
        supervisors.into_keys().collect()
    }

    /// Notes which process every instance has; it is the one that it always had.
    fn note_processes(&mut self) {
        self.note(processes::of_instances(&self.place.data()));
    }

    fn note(&mut self, processes: impl IntoIterator<Item = (String, Pid)>) {
        for (instance, process) in processes {
            let first = *self.seen.entry(instance.clone()).or_insert(process);
            assert_eq!(first, process, "{instance} was started again");
        }
    }

    /// Waits until an operation is done and exactly what should run runs.
    fn comes_to_rest(&mut self, operation: u64, point: &str) {
        self.ends(operation, "done", point);
    }

    /// Waits until an operation has ended in one way and exactly what should run runs.
    fn ends(&mut self, operation: u64, how: &str, point: &str) {
        let phase = self.place.settled(operation);
        let data = self.place.data();
        eventually("exactly the wanted instances run", || {
            let wanted = wanted(&self.place.status())?;
            let runs = processes::of_instances(&data);
            let watched = processes::of_supervisors(&data);
            (runs.keys().eq(&wanted) && watched.keys().eq(&wanted)).then_some(())
        });
        self.note_processes();
        let failures = self.callers.failures();
        assert!(failures.is_empty(), "{point}: {} requests failed: {failures:#?}", failures.len());
        assert_eq!(phase["phase"], how, "{point}: {phase}");
        assert!(self.place.run(&["journal", "verify"]).contains("as they were written"));
    }

    fn end(self) {
        assert!(self.callers.end() > 0);
    }
}

fn commit_and_release(
    place: &Place,
    repositories: &[Repository; 2],
    text: &str,
    requires: &str,
) -> [String; 2] {
    let [store, web] = repositories;
    store.write("lockstep.toml", &manifest("store", "", ""));
    store.write("service.py", &service(text));
    web.write("lockstep.toml", &manifest("web", "", requires));
    web.write("service.py", &service(text));
    [place.first_release(store, "store"), place.first_release(web, "web")]
}

fn next_release(place: &Place, repository: &Repository, name: &str, text: &str, after: &str) -> String {
    repository.write("lockstep.toml", &manifest(name, "", after));
    repository.write("service.py", &service(text));
    repository.commit(&format!("feat: say {text}"));
    place.release(name)
}

/// Returns the healthy instances of the baseline, one of each service, when no others run.
fn wanted(status: &Value) -> Option<Vec<String>> {
    let running = instances(status).filter(|one| !is_over(one));
    let as_wanted = |one: &Value| {
        let mut services = status["services"].as_array().unwrap().iter();
        let service = services.find(|service| service["service"] == one["arm"]["service"]);
        is_healthy(one) && service.is_some_and(|it| it["entry"]["version"] == one["arm"]["version"])
    };
    let mut wanted = running
        .map(|one| one["id"].as_str().filter(|_| as_wanted(one)).map(str::to_owned))
        .collect::<Option<Vec<_>>>()?;
    wanted.sort();
    (wanted.len() == SERVICES.len()).then_some(wanted)
}

fn instances(status: &Value) -> impl Iterator<Item = &Value> {
    let services = status["services"].as_array().unwrap().iter();
    services.flat_map(|service| service["instances"].as_array().unwrap())
}

fn is_healthy(instance: &Value) -> bool {
    instance["state"]["state"] == "healthy"
}

fn is_over(instance: &Value) -> bool {
    matches!(instance["state"]["state"].as_str(), Some("stopped" | "failed"))
}

#[test]
fn a_server_killed_after_any_record_of_a_rollout_adopts_what_runs_and_goes_on() {
    let mut fleet = Fleet::begin();
    for records in 1..=RECORDS_FORWARD {
        fleet.there_and_back([records, records.min(RECORDS_BACK)], Fleet::kill_server_and_start_it_again);
    }
    fleet.end();
}

#[test]
fn a_server_killed_while_two_operations_are_under_way_brings_both_to_their_end() {
    let mut fleet = Fleet::apart();
    // Begun, shifted twice, done; which of the two records it is, is up to them.
    for records in 1..=4 {
        let forward = fleet.forward_apart(&CANARY);
        fleet.wait_for_records(forward[1], records);
        fleet.kill_server_and_start_it_again();
        forward.iter().for_each(|&operation| drop(fleet.place.settled(operation)));
        forward
            .into_iter()
            .for_each(|operation| fleet.comes_to_rest(operation, &format!("after record {records} of two")));
        let back = fleet.back_apart();
        fleet.wait_for_records(back[1], records.min(3));
        fleet.kill_server_and_start_it_again();
        back.iter().for_each(|&operation| drop(fleet.place.settled(operation)));
        back.into_iter().for_each(|operation| {
            fleet.comes_to_rest(operation, &format!("after record {records} of two back"));
        });
    }
    let history = fleet.place.json(&["history", ENVIRONMENT]);
    let numbers = history["baselines"].as_array().unwrap().iter().map(|it| it["number"].as_u64().unwrap());
    assert_eq!(numbers.collect::<Vec<_>>(), (0..=17).rev().collect::<Vec<_>>(), "a line");
    fleet.end();
}

#[test]
fn an_interruption_takes_back_one_of_two_also_when_the_server_is_killed_in_it() {
    let mut fleet = Fleet::apart();
    let slow = ["--steps", "50,100", "--bake", "1h"];
    for records in 1..=3 {
        let [store, web] = fleet.forward_apart(&slow);
        [store, web].into_iter().for_each(|operation| fleet.wait_for_records(operation, 2));
        let interrupt = [&fleet.back_of(0)[..], &["--interrupt", "--no-wait"]].concat();
        fleet.place.run(&interrupt);
        fleet.wait_for_records(store, records + 1);
        fleet.kill_server_and_start_it_again();
        assert_eq!(fleet.place.settled(store)["phase"], "reverted");
        let status = fleet.place.status();
        assert_eq!(status["operation"]["id"], web, "{status:#}");
        assert_eq!(status["operation"]["phase"]["phase"], "shifted", "{status:#}");
        fleet.place.run(&["undo", ENVIRONMENT, "--operation", &web.to_string()]);
        fleet.ends(web, "reverted", &format!("interrupted, and killed after record {records}"));
    }
    fleet.end();
}

#[test]
fn a_server_killed_between_the_acceptance_of_an_operation_and_its_first_shift_starts_nothing_twice() {
    let mut place = Place::begin();
    let repository = place.deployed("store");
    let sign = place.path("go");
    let waits = format!("while not os.path.exists('{sign}'): time.sleep(0.02)");
    repository.write("service.py", &misbehaving("two", &waits, "pass"));
    repository.commit("feat: say two");
    let second = place.release("store");
    let number = second.split_once('@').unwrap().1;
    // What has no address yet is decided and not begun: with the server that decided it, it is gone.
    let started = |place: &Place| -> BTreeSet<String> {
        let status = place.status();
        let new = instances(&status).filter(|one| one["arm"]["version"] == number);
        let new = new.filter(|one| one["address"].is_string());
        new.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let phase = |place: &Place| place.status()["operation"]["phase"]["phase"].clone();
    let gateway = StandaloneGateway::follow(&place);
    eventually("the gateway serves", || {
        get(gateway.address(), "/store", 0).is_ok_and(|(status, _)| status == 200).then_some(())
    });
    let callers = Callers::begin(gateway.address(), &["/store"]);
    let operation = place.begin_operation(&["deploy", &second, "--env", ENVIRONMENT]);
    let mut all = BTreeSet::new();
    // Accepted, and perhaps nothing begun yet; then with an instance that is not ready.
    for round in 0..3 {
        if round > 0 {
            eventually("the new instance is being started", || (!started(&place).is_empty()).then_some(()));
        }
        all.extend(started(&place));
        assert_eq!(phase(&place), "preparing", "round {round}");
        place.kill_server();
        callers.wait_for(SERVED_MEANWHILE);
        place.start_server();
        assert_eq!(phase(&place), "preparing", "round {round}");
        assert_eq!(get(gateway.address(), "/store", 0).unwrap().1, "one");
    }
    fs::write(&sign, "").unwrap();
    assert_eq!(place.settled(operation)["phase"], "done");
    all.extend(started(&place));
    assert_eq!(all.len(), 1, "whatever was killed, one was started: {all:?}");
    eventually("the new version serves", || {
        (get(gateway.address(), "/store", 0).ok()?.1 == "two").then_some(())
    });
    callers.end();
}

#[test]
fn a_server_killed_between_records_of_a_rollout_adopts_what_runs_and_goes_on() {
    let mut fleet = Fleet::begin();
    for requests in [5, 15, 30, 50] {
        fleet.there_and_back([1, 1], |fleet| {
            fleet.callers.wait_for(requests);
            fleet.kill_server_and_start_it_again();
        });
    }
    fleet.end();
}

#[test]
fn killed_supervisors_of_the_old_and_new_version_are_replaced_and_their_instances_serve_on() {
    let mut fleet = Fleet::begin();
    let mut killed = BTreeSet::new();
    for records in 1..=RECORDS_FORWARD {
        fleet.there_and_back([records, records.min(RECORDS_BACK)], |fleet| {
            killed.extend(fleet.kill_supervisors());
        });
    }
    for version in fleet.versions.iter().flatten() {
        let prefix = format!("{}-", version.replace('@', "-"));
        assert!(killed.iter().any(|instance| instance.starts_with(&prefix)), "{version}: {killed:?}");
    }
    fleet.end();
}

#[test]
fn a_killed_gateway_serves_from_its_disk_while_the_server_is_dead_too() {
    kill_gateway_and_server_after((1..=RECORDS_FORWARD).step_by(2));
}

/// Two halves of one loop, because the next server waits each time until the lease of the dead gateway is over.
#[test]
fn a_killed_gateway_serves_from_its_disk_at_the_other_points_as_well() {
    kill_gateway_and_server_after((2..=RECORDS_FORWARD).step_by(2));
}

fn kill_gateway_and_server_after(points: impl Iterator<Item = usize>) {
    let mut fleet = Fleet::begin();
    for records in points {
        fleet.there_and_back([records, records.min(RECORDS_BACK)], |fleet| {
            fleet.gateway.kill();
            fleet.place.kill_server();
            fleet.gateway.start_again();
            // Whoever called while there was no gateway failed; nobody does from here on.
            fleet.callers.wait_for(1);
            fleet.callers.failures();
            fleet.callers.wait_for(SERVED_MEANWHILE);
            fleet.place.start_server();
        });
    }
    fleet.end();
}

#[test]
fn instances_survive_the_death_of_everything_of_ours() {
    let mut fleet = Fleet::begin();
    for records in [[1, 1], [4, 2]] {
        fleet.there_and_back(records, |fleet| {
            fleet.kill_supervisors();
            fleet.place.kill_server();
            fleet.callers.wait_for(SERVED_MEANWHILE);
            fleet.place.start_server();
        });
    }
    fleet.end();
}

#[test]
fn a_server_killed_while_a_bad_version_is_taken_back_takes_it_back_all_the_same() {
    let mut fleet = Fleet::begin();
    let store = &fleet.repositories[0];
    store.write("service.py", &misbehaving("three", "pass", "if self.path == '/store': status = 500"));
    store.commit("feat: fail");
    let bad = fleet.place.release("store");
    // Gateways report every second, so that is how long it takes to see that requests fail.
    let deploy =
        ["deploy", &bad, "--env", ENVIRONMENT, "--release-holds", "--steps", "50,100", "--bake", "5s"];
    // Begun, shifted, being taken back, taken back.
    for records in 1..=4 {
        let operation = fleet.place.begin_operation(&deploy);
        fleet.wait_for_records(operation, records);
        fleet.kill_server_and_start_it_again();
        fleet.ends(operation, "reverted", &format!("after record {records} of a bad version"));
        assert!(fleet.place.run(&["hold", "list", ENVIRONMENT]).contains(&bad));
    }
    fleet.end();
}

#[test]
fn a_server_killed_during_a_build_leaves_no_process_and_the_build_can_be_repeated() {
    let mut place = Place::begin();
    let obstacle = place.path("obstacle");
    fs::write(&obstacle, "").unwrap();
    let (_repository, id) = place.begin_build(&format!("test ! -e {obstacle} || exec sleep 10000"));

    place.kill_server();
    eventually("no process of the build is left", || {
        processes::of_folder(&place.data()).is_empty().then_some(())
    });
    place.start_server();

    let view = place.json(&["build", "show", &id]);
    assert_eq!(view["state"], "interrupted", "{view:#}");
    assert_eq!(view["problem"]["hint"], "lockstep release store", "{view:#}");
    assert_eq!(place.json(&["services"])[0]["versions"].as_array().unwrap().len(), 0);
    fs::remove_file(&obstacle).unwrap();
    let version = place.release("store");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
}

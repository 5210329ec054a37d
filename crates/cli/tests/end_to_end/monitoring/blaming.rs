//! Ten faults that are really made, each among changes that have nothing to do with it: `lockstep blame` names the right change first.
//!
//! All services were deployed a day before, by the clock of the server. A fault is seen where clients see it before it is asked what it came from.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::Value;

use super::super::databases::{MAKES, Shop};
use super::super::support::eventually;
use super::super::support::place::{ENVIRONMENT, Place};
use super::super::support::repository::{manifest, misbehaving};
use super::super::support::secure::{Authority, Files, Secured, free_port};

const DAY_MS: u64 = 86_400_000;
const HOST: &str = "shop.test";

/// Fails what clients ask, and is healthy.
const FAILS: &str = "status = 500 if self.path != '/health' else 200";
/// Fails where its configuration says so.
const FAILS_WHERE_TOLD: &str =
    "status = 500 if self.path != '/health' and os.environ.get('RATE') == '0' else 200";
/// Asks another service, and fails where that does.
const ASKS: &str = "
        import urllib.request
        if self.path != '/health':
            try:
                urllib.request.urlopen(os.environ['LOCKSTEP_URL_CALLED'] + '/charge').read()
            except Exception:
                status = 500";
/// Asks a queue, and fails where that does not take a connection.
const ASKS_QUEUE: &str = "
        import socket, urllib.parse
        if self.path != '/health':
            queue = urllib.parse.urlsplit(os.environ['QUEUE'])
            try:
                socket.create_connection((queue.hostname, queue.port), 1).close()
            except OSError:
                status = 500";
/// Serves one request at a time, and has no room for another.
const SERVES_ONE: &str = "
        if self.path != '/health':
            if room.acquire(blocking=False):
                time.sleep(0.05)
                room.release()
            else:
                status = 503";
/// Takes longer than a second.
const IS_SLOW: &str = "time.sleep(1.3 if self.path != '/health' else 0)";

/// A place whose services all run, as they did a day ago.
struct Fleet {
    place: Place,
    gateway: String,
    /// A version that fails, of services that have one, and what takes a column of the shop away.
    bad: Vec<String>,
    authority: Authority,
    https: u16,
    _queue: std::net::TcpListener,
    noise: AtomicU64,
}

fn giving(place: &Place, arguments: &[&str], secret: &str) {
    let mut child = place.command(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(secret.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{arguments:?}");
}

fn certify(place: &Place, command: &[&str], files: &Files) {
    let files = ["--cert", &files.chain, "--key", &files.key, "--env", ENVIRONMENT];
    place.run(&[&["certificate"], command, &files].concat());
}

impl Fleet {
    fn begin() -> Self {
        let mut place = Place::begin();
        let queue = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("amqp://127.0.0.1:{}/x", queue.local_addr().unwrap().port());
        giving(&place, &["resource", "add", "queue", "--kind", "other", "--env", ENVIRONMENT], &url);
        let (authority, https) = (Authority::new(&place, "authority"), free_port());
        let settings = ["--https-port", &https.to_string(), "--fault-injection", "allow"];
        place.run(&[&["environment", "set", ENVIRONMENT], &settings[..]].concat());
        certify(&place, &["add"], &authority.sign("first", &[HOST], |_| {}));
        let bad = released(&place);
        place.run(&["scale", "crowd", "2", "--env", ENVIRONMENT]);
        let gateway = place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
        for (caller, called) in [("front", "pay"), ("doors", "bell")] {
            assert_eq!(hit(&gateway, &format!("/{caller}"), ""), Some(200));
            eventually("the call is seen", || {
                let calls = place.run(&["calls", ENVIRONMENT, caller]);
                calls.contains(called).then_some(())
            });
        }
        a_day_later(&mut place);
        Self { place, gateway, bad, authority, https, _queue: queue, noise: 0.into() }
    }

    /// Changes that have nothing to do with what comes, nor with what was.
    fn change_something_else(&self, is_after: bool) {
        let number = self.noise.fetch_add(1, Ordering::Relaxed);
        let place = &self.place;
        if is_after {
            place.run(&["environment", "set", "staging", "--proven-requests", &number.to_string()]);
            place.run(&["scale", "noise", if number % 4 == 1 { "2" } else { "1" }, "--env", ENVIRONMENT]);
        } else {
            place.run(&["config", "set", "noise", &format!("NUMBER={number}"), "--env", ENVIRONMENT]);
        }
    }

    /// Asks a service as two clients do at the same time; returns how many answers were bad.
    fn storm(&self, path: &str, fields: &str) -> usize {
        let client =
            || (0..8).filter(|_| hit(&self.gateway, path, fields).is_none_or(|it| it >= 500)).count();
        thread::scope(|scope| {
            let both = [scope.spawn(client), scope.spawn(client)];
            both.into_iter().map(|it| it.join().unwrap()).sum()
        })
    }

    /// Makes a change, sees what clients get of it until an alert of the service fires, and asks what came before.
    fn blames(&self, service: &str, fields: &str, change: impl FnOnce(&Place)) -> Value {
        self.change_something_else(false);
        change(&self.place);
        eventually(&format!("an alert of {service}"), || {
            self.storm(&format!("/{service}"), fields);
            let alerts = self.alerts();
            alerts
                .iter()
                .any(|it| it["subject"]["service"] == service && it["stage"] == "firing")
                .then_some(())
        });
        self.asks(service)
    }

    fn alerts(&self) -> Vec<Value> {
        let output = self.place.command(&["alerts", "--env", ENVIRONMENT, "--json"]).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        said["alerts"].as_array().unwrap().clone()
    }

    fn asks(&self, service: &str) -> Value {
        self.change_something_else(true);
        self.place.json(&["blame", service, "--env", ENVIRONMENT, "--since", "20m"])
    }
}

/// Releases and deploys everything; returns the versions that fail.
fn released(place: &Place) -> Vec<String> {
    let plain = "status = 200";
    let needs_queue = "[resource.queue]\nkind = \"other\"\n";
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (name, at_start, does, more, after) in [
        ("basket", "pass", plain, "", ""),
        ("billing", "pass", FAILS_WHERE_TOLD, "", ""),
        ("crowd", "room = threading.Lock()", SERVES_ONE, "", ""),
        ("bell", "pass", plain, "", ""),
        ("doors", "pass", &ASKS.replace("CALLED", "BELL"), "", "[requires]\nbell = \"*\""),
        ("pay", "pass", plain, "", ""),
        ("front", "pass", &ASKS.replace("CALLED", "PAY"), "", "[requires]\npay = \"*\""),
        ("guide", "pass", plain, "", ""),
        ("kept", "pass", plain, "", ""),
        ("mailer", "pass", ASKS_QUEUE, "env = { QUEUE = \"${resource.queue.url}\" }", needs_queue),
        ("slow", "pass", IS_SLOW, "", ""),
        ("noise", "pass", plain, "", ""),
    ] {
        let repository = place.repository(name);
        repository.write("lockstep.toml", &manifest(name, more, after));
        repository.write("service.py", &misbehaving(name, at_start, does));
        good.push(place.first_release(&repository, name));
        if ["basket", "pay", "guide"].contains(&name) {
            repository.write("service.py", &misbehaving(name, at_start, FAILS));
            repository.commit("feat: a mistake");
            bad.push(place.release(name));
        }
    }
    let shop = Shop::begin(place, "shop");
    good.push(shop.release("note", MAKES));
    let deploy = |versions: &[String]| {
        let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
        place.run(&[&["deploy"], &versions[..], &["--env", ENVIRONMENT]].concat());
    };
    deploy(&good);
    // It reads the column that its own migration takes away, once somebody says that this may be done.
    deploy(&[shop.release("note", ("0002_no_note.sql", "ALTER TABLE orders DROP COLUMN note;"))]);
    bad
}

/// Moves the clock of the server on by a day, in which nothing happened.
fn a_day_later(place: &mut Place) {
    place.stop_server();
    let file = format!("{}/clock.json", place.data());
    let mut clock: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    clock["time"] = (clock["time"].as_u64().unwrap() + DAY_MS).into();
    fs::write(&file, clock.to_string()).unwrap();
    place.start_server();
}

/// Asks for a path on a connection of its own; returns the status, if there is an answer.
fn hit(address: &str, path: &str, fields: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{fields}\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[test]
fn of_ten_real_faults_the_change_that_made_each_is_blamed_first() {
    let fleet = Fleet::begin();
    let number = |version: &str| version.split_once('@').unwrap().1.to_owned();
    let [basket, pay, guide] = [0, 1, 2].map(|at| fleet.bad[at].clone());
    let mut wrong = Vec::new();
    let mut is_first = |fault: &str, said: &Value, kind: &str, what: &str| {
        let first = &said["changes"][0];
        let is_it = first["kind"] == kind && first["what"].as_str().is_some_and(|it| it.contains(what));
        if !is_it {
            wrong.push(format!("{fault}: `{what}` was not first: {said:#}"));
        }
    };

    let said = fleet.blames("mailer", "", |place| {
        let nobody = format!("amqp://127.0.0.1:{}/x", free_port());
        giving(place, &["resource", "set", "queue", "--env", ENVIRONMENT], &nobody);
        place.run(&["restart", "mailer", "--env", ENVIRONMENT]);
    });
    is_first("a resource is elsewhere", &said, "resource", "queue");

    let said = fleet.blames("crowd", "", |place| {
        place.run(&["scale", "crowd", "1", "--env", ENVIRONMENT]);
    });
    is_first("too few instances", &said, "scale", "scale crowd to 1");

    let said = fleet.blames("basket", "", |place| {
        place.run(&["deploy", &basket, "--env", ENVIRONMENT]);
    });
    is_first("a bad version", &said, "deploy", &format!("deploy {basket}"));

    let said = fleet.blames("billing", "", |place| {
        place.run(&["config", "set", "billing", "RATE=0", "--env", ENVIRONMENT]);
    });
    is_first("a bad configuration", &said, "configuration", "billing");

    let said = fleet.blames("doors", "", |place| {
        place.run(&["fault", "add", "bell", "--abort", "503", "--env", ENVIRONMENT]);
    });
    is_first("a fault on purpose in what it calls", &said, "injection", "bell");

    let said = fleet.blames("front", "", |place| {
        place.run(&["deploy", &pay, "--env", ENVIRONMENT]);
    });
    is_first("a bad version of what it calls", &said, "deploy", &format!("deploy {pay}"));

    let said = fleet.blames("guide", "x-try: 1\r\n", |place| {
        let to = number(&guide);
        let rule = ["--to", &to, "--header", "x-try=1", "--env", ENVIRONMENT, "--reason", "to try it"];
        place.run(&[&["route", "add", "guide"], &rule[..]].concat());
    });
    is_first("a rule that leads to a bad version", &said, "route", "guide");

    let said = fleet.blames("shop", "", |place| {
        let contract = ["database", "contract", "main", "--env", ENVIRONMENT];
        let asked = place.fail(&contract, 3);
        let word = asked.split("--approve ").nth(1).unwrap().split_whitespace().next().unwrap();
        place.run(&[&contract[..], &["--approve", word]].concat());
    });
    is_first("a column that is gone", &said, "migration", "database main");

    let said = fleet.blames("slow", "", |place| {
        place.run(&["environment", "set", ENVIRONMENT, "--request-timeout", "1s"]);
    });
    is_first("a setting", &said, "policy", "settings of the environment");

    // Clients that believe nobody else see the gateway as somebody else: no request comes, so no alert fires.
    let client = fleet.authority.client(None);
    assert!(Secured::connect(fleet.https, HOST, &client).is_ok());
    fleet.change_something_else(false);
    let other = Authority::new(&fleet.place, "other");
    certify(&fleet.place, &["replace", "shop-test"], &other.sign("other", &[HOST], |_| {}));
    eventually("clients are shown another certificate", || {
        Secured::connect(fleet.https, HOST, &client).err()
    });
    is_first("another certificate", &fleet.asks("kept"), "certificate", "shop-test");

    assert!(wrong.is_empty(), "{} of 10 are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

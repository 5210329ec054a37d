//! Rules that give certain requests a version of their own, on real processes: by header, cookie and share, under load, along a chain
//! of calls, and through everything that can happen to a server, an instance and a version.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::support::callers::Callers;
use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, service};
use super::support::{eventually, processes};

/// Clients of a share, enough to tell a fifth from nobody and everybody.
const CLIENTS: u64 = 200;

/// Asks the store, and passes on of a request what its path says.
const FORWARDING: &str = "
        import urllib.request
        names = {'/front/baggage': ['baggage'], '/front/trace': ['traceparent', 'tracestate']}.get(self.path, [])
        fields = {name: self.headers[name] for name in names if self.headers[name]}
        answer = b'front'
        if self.path != '/health':
            asked = urllib.request.Request(os.environ['LOCKSTEP_URL_STORE'] + '/store', headers=fields)
            answer += b' ' + urllib.request.urlopen(asked).read()";

struct Shop {
    place: Place,
    store: Repository,
    /// The versions of the store: what is deployed, and one that is only released.
    versions: [String; 2],
}

impl Shop {
    fn open() -> Self {
        let place = Place::begin();
        let store = place.repository("store");
        store.write("lockstep.toml", &manifest("store", "", ""));
        store.write("service.py", &service("one"));
        let one = place.first_release(&store, "store");
        let front = place.repository("front");
        front.write("lockstep.toml", &manifest("front", "", "[requires]\nstore = \"*\""));
        front.write("service.py", &misbehaving("TEXT", "pass", FORWARDING).replace("b'TEXT'", "answer"));
        let front = place.first_release(&front, "front");
        place.run(&["deploy", &one, &front, "--env", ENVIRONMENT]);
        store.write("service.py", &service("two"));
        store.commit("feat: two");
        let two = place.release("store");
        Self { place, store, versions: [one, two] }
    }

    fn inside(&self) -> String {
        self.place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned()
    }

    fn number(version: &str) -> &str {
        version.split_once('@').unwrap().1
    }

    /// Adds a rule to the version that is not deployed; returns its number.
    fn add(&self, takes: &[&str]) -> String {
        let to = Self::number(&self.versions[1]);
        let command = ["route", "add", "store", "--to", to, "--env", ENVIRONMENT, "--reason", "to try it"];
        let list = self.place.json(&[&command[..], takes].concat());
        let rule = list["rules"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(rule["force"]["force"], "in_force", "{rule}");
        rule["number"].to_string()
    }

    fn remove(&self, rule: &str) -> String {
        self.place.run(&["route", "remove", rule, "--env", ENVIRONMENT, "--reason", "tried"])
    }

    fn rules(&self) -> Value {
        self.place.json(&["route", "list", "--env", ENVIRONMENT])["rules"].clone()
    }
}

/// Asks with more fields in the head, and gets a good answer; returns its body.
fn ask(address: &str, path: &str, fields: &str) -> String {
    asked(address, path, fields).unwrap_or_else(|| panic!("no good answer to {path} {fields}"))
}

/// The same where none may come.
fn asked(address: &str, path: &str, fields: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{fields}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

const JASON: &str = "x-user: jason\r\n";

fn in_share(address: &str) -> Vec<u64> {
    let two = |key: &u64| ask(address, "/store", &format!("x-lockstep-key: client-{key}\r\n")) == "two";
    (0..CLIENTS).filter(two).collect()
}

#[test]
fn headers_cookies_and_shares_get_their_version_under_load_along_calls_and_through_crashes() {
    let mut shop = Shop::open();
    let edge = StandaloneGateway::follow(&shop.place);
    let (inside, edge) = (shop.inside(), edge.address().to_owned());
    eventually("the other gateway has a table", || {
        let asked = super::support::get(&edge, "/store", 0);
        asked.is_ok_and(|(status, _)| status == 200).then_some(())
    });
    // The front calls through the gateway in the server, which is killed below.
    let of_edge = Callers::begin(&edge, &["/store"]);
    let of_inside = Callers::begin(&inside, &["/store", "/front/baggage"]);
    let both = [inside.as_str(), edge.as_str()];

    // A header: the version is started for it, and both gateways know when the command returns.
    let header = shop.add(&["--header", "X-User=jason"]);
    for address in both {
        assert_eq!((ask(address, "/store", JASON), ask(address, "/store", "")), ("two".into(), "one".into()));
        assert_eq!(ask(address, "/store", "x-user: jasonx\r\n"), "one");
    }
    // An instance that is killed comes back.
    let instances = processes::of_instances(&shop.place.data());
    let two = Shop::number(&shop.versions[1]).to_owned();
    let (_, victim) = instances.iter().find(|(id, _)| id.contains(&format!("store-{two}-"))).unwrap();
    processes::kill(*victim);
    eventually("it is started again", || {
        let anew = processes::of_instances(&shop.place.data());
        let (_, process) = anew.iter().find(|(id, _)| id.contains(&format!("store-{two}-")))?;
        (process != victim).then_some(())
    });
    eventually("it serves again", || (asked(&edge, "/store", JASON)? == "two").then_some(()));
    // A cookie, and a lasting share of those whom no other rule takes.
    let cookie = shop.add(&["--cookie", "beta=1"]);
    assert_eq!(ask(&inside, "/store", "cookie: a=b; beta=1\r\n"), "two");
    assert!(in_share(&inside).is_empty());
    assert_eq!(ask(&inside, "/front/nothing", JASON), "front one", "the front passes nothing on");
    let share = shop.add(&["--share", "20%"]);
    let clients = in_share(&inside);
    assert!((20..=60).contains(&clients.len()), "a fifth of {CLIENTS}: {}", clients.len());
    assert_eq!(in_share(&edge), clients, "the same ones at another gateway");

    // Along the chain: what was decided at the entry holds where a service passes on one of the two.
    for path in ["/front/baggage", "/front/trace"] {
        assert_eq!(ask(&inside, path, JASON), "front two", "{path}");
        assert_eq!(ask(&inside, path, "x-lockstep-key: nobody-4\r\n"), "front one", "{path}");
    }

    // A server that is killed goes on with the rules.
    of_edge.wait_for(50);
    assert!(of_inside.end() > 0);
    shop.place.kill_server();
    assert_eq!(ask(&edge, "/store", JASON), "two", "without a server");
    shop.place.start_server();
    eventually("the server serves again", || {
        let asked = super::support::get(&inside, "/store", 0);
        asked.is_ok_and(|(status, _)| status == 200).then_some(())
    });
    assert_eq!(ask(&inside, "/store", JASON), "two");
    assert_eq!(in_share(&inside), clients, "the same ones after a start");
    let of_inside = Callers::begin(&inside, &["/store", "/front/trace"]);

    // Removed under load: everybody gets what is deployed, and the version ends.
    shop.remove(&share);
    assert!(in_share(&edge).is_empty());
    shop.remove(&header);
    assert_eq!((ask(&inside, "/store", JASON), ask(&edge, "/store", JASON)), ("one".into(), "one".into()));
    assert_eq!(ask(&edge, "/store", "cookie: beta=1\r\n"), "two", "the cookie has it still");
    shop.remove(&cookie);
    eventually("what has no rule any more has ended", || {
        let left = processes::of_instances(&shop.place.data());
        (!left.keys().any(|id| id.contains(&format!("store-{two}-")))).then_some(())
    });
    of_inside.wait_for(20);
    assert!(of_inside.end() > 0 && of_edge.end() > 0);

    // Who, when and why stands in the journal and in the history; no baseline was made.
    let journal = shop.place.run(&["journal", "export"]);
    assert_eq!(journal.matches("\"version_rule_added\"").count(), 3);
    assert_eq!(journal.matches("\"version_rule_removed\"").count(), 3);
    let history = shop.place.json(&["history", ENVIRONMENT]);
    assert_eq!(
        (history["rules"].as_array().unwrap().len(), &history["baselines"][0]["number"]),
        (3, &json!(1))
    );
    let text = shop.place.run(&["history", ENVIRONMENT]);
    assert!(text.contains("rule 1 added") && text.contains("header x-user: jason -> store"), "{text}");
    assert!(text.contains("rule 3 ended") && text.contains("tried"), "{text}");
}

#[test]
fn a_rule_is_refused_with_all_reasons_and_going_back_takes_everybody_off_a_version_at_once() {
    let mut shop = Shop::open();
    let place = &shop.place;
    let two = Shop::number(&shop.versions[1]).to_owned();
    let add = ["route", "add", "store", "--to", &two, "--env", ENVIRONMENT];
    let refused = |takes: &[&str], code: i32| place.fail(&[&add[..], takes].concat(), code);
    assert!(refused(&[], 2).contains("--header"));
    assert!(refused(&["--share", "100%"], 2).contains("for everything there is `lockstep deploy`"));
    assert!(refused(&["--cookie", "a=b;c"], 2).contains("which ends a cookie"));
    for (name, said) in [("Cookie", "--cookie NAME=VALUE"), ("x-forwarded-for", "read, write or drop")] {
        let text = refused(&["--header", &format!("{name}=1")], 2);
        assert!(text.contains(said), "{text}");
    }
    assert!(refused(&["--header", "authorization=Bearer x"], 2).contains("journal"));
    let none = place.fail(&["route", "remove", "7", "--env", ENVIRONMENT], 4);
    assert!(none.contains("has no rule 7") && none.contains("lockstep route list"), "{none}");

    // A gateway of an older release would pass a rule over.
    let added = place.json(&["gateway", "add", "older", "--env", ENVIRONMENT]);
    let key = added["key"].as_str().unwrap();
    let mut older = json!({
        "gateway": "run", "environment": ENVIRONMENT, "revision": 0, "in_flight": {}, "traffic": [], "takes_format": 5
    });
    let said = eventually("the rule is refused", || {
        report(place, key, &older);
        let output = place.command(&[&add[..], &["--share", "5%", "--no-wait"]].concat()).output().unwrap();
        (output.status.code() == Some(6)).then(|| String::from_utf8(output.stderr).unwrap())
    });
    assert!(said.contains("knows no such rules") && said.contains("lockstep gateway remove older"), "{said}");
    older["takes_format"] = json!(6);
    report(place, key, &older);
    place.run(&["gateway", "remove", "older"]);
    for rule in shop.rules().as_array().unwrap() {
        shop.remove(&rule["number"].to_string());
    }

    // The version gets rules, is deployed, turns out to be bad, and is gone back from.
    let rule = shop.add(&["--header", "x-user=jason"]);
    shop.store.write("service.py", &service("three"));
    shop.store.commit("feat: three");
    let three = place.release("store");
    let other = place.json(&[
        "route",
        "add",
        "store",
        "--to",
        Shop::number(&three),
        "--share",
        "30%",
        "--env",
        ENVIRONMENT,
    ]);
    let other = other["rules"][1]["number"].to_string();
    let plan = place.run(&["deploy", &shop.versions[1], "--env", ENVIRONMENT, "--dry-run"]);
    assert!(plan.contains(&format!("rule {other} (30 % of the clients -> {three}) stays")), "{plan}");
    place.run(&["deploy", &shop.versions[1], "--env", ENVIRONMENT]);
    assert_eq!(shop.rules().as_array().unwrap().len(), 2);
    let one = Shop::number(&shop.versions[0]);
    let back = ["rollback", "store", "--to", one, "--env", ENVIRONMENT];
    let plan = place.run(&[&back[..], &["--dry-run"]].concat());
    assert!(
        plan.contains(&format!("rule {rule} (header x-user: jason -> {}) ends", shop.versions[1])),
        "{plan}"
    );
    let inside = shop.inside();
    let callers = Callers::begin(&inside, &["/store"]);
    place.run(&back);
    assert_eq!(ask(&inside, "/store", &format!("{JASON}x-lockstep-key: nobody-4\r\n")), "one");
    assert!(callers.end() > 0);
    let left = shop.rules();
    assert_eq!((left.as_array().unwrap().len(), left[0]["number"].to_string()), (1, other.clone()));
    // Who says it again learns what else gets another version, with the command that ends it.
    let again = place.fail(&back, 3);
    assert!(again.contains("gives some requests another version"), "{again}");
    assert!(again.contains(&format!("lockstep route remove {other} --env {ENVIRONMENT}")), "{again}");
    assert!(place.fail(&[&add[..], &["--share", "5%"]].concat(), 3).contains("is held"));
    let gone = place.fail(&["route", "remove", &rule, "--env", ENVIRONMENT], 4);
    assert!(gone.contains("it ended: operation") && gone.contains("roll back store"), "{gone}");

    // A version that does not start takes nothing, says why, and costs nobody anything.
    shop.store.write("service.py", "raise SystemExit('no database')");
    shop.store.commit("feat: broken");
    let broken = place.release("store");
    let to = Shop::number(&broken);
    let failed =
        place.fail(&["route", "add", "store", "--to", to, "--cookie", "b=1", "--env", ENVIRONMENT], 1);
    assert!(failed.contains("takes nothing") && failed.contains("exit code 1"), "{failed}");
    assert_eq!(ask(&inside, "/store", "cookie: b=1\r\nx-lockstep-key: nobody-4\r\n"), "one");
    let number = shop.rules()[1]["number"].to_string();
    shop.remove(&number);

    // Named anew, the service keeps its rule, and the same clients.
    let clients = in_share_of(&inside, "three");
    place.run(&["service", "rename", "store", "stock", "--yes"]);
    assert_eq!(shop.rules()[0]["service"], "stock");
    assert_eq!(in_share_of(&inside, "three"), clients);
    shop.place.kill_server();
    shop.place.start_server();
    eventually("the rule is in force again", || {
        (shop.rules()[0]["force"]["force"] == "in_force").then_some(())
    });
    assert_eq!(in_share_of(&inside, "three"), clients);
}

fn in_share_of(address: &str, text: &str) -> Vec<u64> {
    let has = |key: &u64| ask(address, "/store", &format!("x-lockstep-key: client-{key}\r\n")) == text;
    (0..CLIENTS / 2).filter(has).collect()
}

pub(super) fn report(place: &Place, key: &str, receipt: &Value) {
    let (address, body) = (place.address(), receipt.to_string());
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /api/v1/environments/{ENVIRONMENT}/gateway-receipts HTTP/1.1\r\nhost: {address}\r\n\
         content-type: application/json\r\nauthorization: Bearer {key}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

//! Lanes on real processes: along a chain of calls, whoever is asked first, through the death of a server, ended by a command, by time and by going back.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::route_rules::report;
use super::support::callers::Callers;
use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving};
use super::support::{eventually, processes};

/// Calls the next service as it was told to, and puts its own name before the answer.
const HOP: &str = "
        import http.client, urllib.parse
        trail = b'NAME'
        if self.path != '/health' and CALL:
            at = urllib.parse.urlsplit(CALL)
            connection = http.client.HTTPConnection(at.hostname, at.port, timeout=20)
            passed = {name: self.headers[name] for name in FORWARDS if name in self.headers}
            connection.request('GET', at.path + '/', headers=passed)
            reply = connection.getresponse()
            status = reply.status
            trail += b' ' + reply.read()";

/// Its name, what it calls, how, and what it passes on: the desk knows others by host and port, and passes on nothing of its second version.
const HOPS: [(&str, Option<&str>); 3] = [("web", Some("desk")), ("desk", Some("store")), ("store", None)];

struct Chain {
    place: Place,
    gateway: StandaloneGateway,
    repositories: Vec<Repository>,
}

fn write(repository: &Repository, (name, next): (&str, Option<&str>), version: &str) {
    let (variables, requires) = match next {
        Some(next) => (
            format!(
                "env = {{ NEXT_HOST = \"${{service.{next}.host}}\", NEXT_PORT = \"${{service.{next}.port}}\" }}"
            ),
            format!("[requires]\n{next} = \"*\""),
        ),
        None => (String::new(), String::new()),
    };
    repository.write("lockstep.toml", &manifest(name, &variables, &requires));
    let by_port = "'http://' + os.environ['NEXT_HOST'] + ':' + os.environ['NEXT_PORT']";
    let by_url = format!("os.environ['LOCKSTEP_URL_{}']", next.unwrap_or_default().to_uppercase());
    let (call, forwards) = match (next, name, version) {
        (None, ..) => ("''", "()"),
        (_, "desk", "2") => (by_port, "()"),
        _ => (by_url.as_str(), "('baggage',)"),
    };
    let hop = HOP.replace("NAME", &format!("{name}{version}")).replace("CALL", call);
    let hop = hop.replace("FORWARDS", forwards);
    repository.write("service.py", &misbehaving("TEXT", "pass", &hop).replace("b'TEXT'", "trail"));
}

impl Chain {
    /// The first version of all three is deployed, the second one is only released.
    fn begin() -> Self {
        let place = Place::begin();
        let gateway = StandaloneGateway::follow(&place);
        let url = format!("http://{}", gateway.address());
        place.run(&["environment", "set", ENVIRONMENT, "--gateway-url", &url]);
        let (mut first, mut repositories) = (Vec::new(), Vec::new());
        for hop in HOPS.iter().rev() {
            let repository = place.repository(hop.0);
            write(&repository, *hop, "1");
            first.push(place.first_release(&repository, hop.0));
            write(&repository, *hop, "2");
            repository.commit("feat: the second one");
            place.release(hop.0);
            repositories.push(repository);
        }
        let mut deploy = vec!["deploy", "--env", ENVIRONMENT];
        deploy.extend(first.iter().map(String::as_str));
        place.run(&deploy);
        Self { place, gateway, repositories }
    }

    fn create(&self, name: &str, more: &[&str]) -> Value {
        let command = ["lane", "create", name, "--env", ENVIRONMENT, "--reason", "to try it"];
        let view = self.place.json(&[&command[..], more].concat());
        for service in view["in_force"].as_array().unwrap() {
            assert_eq!(service["force"]["force"], "in_force", "{view}");
        }
        view
    }

    fn end(&self, name: &str) {
        self.place.run(&["lane", "end", name, "--env", ENVIRONMENT, "--reason", "tried"]);
    }

    /// What the chain answers, and what it says of the lane.
    fn ask(&self, fields: &str) -> (String, Option<String>) {
        self.asked(fields).unwrap_or_else(|| panic!("no good answer to {fields}"))
    }

    fn asked(&self, fields: &str) -> Option<(String, Option<String>)> {
        let address = self.gateway.address();
        let mut stream = TcpStream::connect(address).ok()?;
        write!(stream, "GET /web HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{fields}\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let said = head.lines().find_map(|line| line.strip_prefix("lockstep-lane: "));
        head.starts_with("HTTP/1.1 200").then(|| (body.to_owned(), said.map(str::to_owned)))
    }

    fn lanes(&self) -> Value {
        self.place.json(&["lane", "list", "--env", ENVIRONMENT])
    }

    fn wait_for(&self, what: &str, fields: &str, answer: &str) {
        eventually(what, || (self.asked(fields)?.0 == answer).then_some(()));
    }

    /// Waits until no instance of a second version runs.
    fn wait_for_the_end(&self) {
        eventually("what only the lane kept running has ended", || {
            let left = processes::of_instances(&self.place.data());
            (!left.keys().any(|id| id.contains("-1.1.0-"))).then_some(())
        });
    }
}

const OLD: &str = "web1 desk1 store1";
const LANE: &str = "x-lane: login\r\n";
const OTHER: &str = "cookie: lane=other\r\n";

#[test]
fn a_lane_serves_a_version_three_hops_down_whoever_is_asked_first_and_ends_without_a_trace() {
    let mut chain = Chain::begin();
    let outside = Callers::begin(chain.gateway.address(), &["/web"]);
    assert_eq!(chain.ask(LANE), (OLD.into(), None));
    // Entered at a service that is not in the lane; the two before it pass on `baggage` alone.
    chain.create("login", &["--service", "store=1.1.0", "--when", "header:X-Lane=login"]);
    assert_eq!(chain.ask(LANE), ("web1 desk1 store2".into(), Some("login".into())));
    assert_eq!(chain.ask(""), (OLD.into(), None));
    assert_eq!(
        chain.ask("baggage: lockstep.rules=1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20\r\n").0,
        OLD
    );
    // Another one at the first hop and the third, on another condition; a request is in the older one of both.
    let services = ["--service", "web=1.1.0", "--service", "store=1.1.0", "--when", "cookie:lane=other"];
    chain.create("other", &[&services[..], &["--when", "user:ann", "--owner", "the web team"]].concat());
    assert_eq!(chain.ask(OTHER), ("web2 desk1 store2".into(), Some("other".into())));
    assert_eq!(chain.ask("x-lockstep-key: ann\r\n").0, "web2 desk1 store2");
    assert_eq!(chain.ask(&format!("{LANE}{OTHER}")), ("web1 desk1 store2".into(), Some("login".into())));
    // A version that passes on nothing and serves one lane alone is known by its listener.
    let services = ["--service", "desk=1.1.0", "--service", "store=1.1.0", "--when", "header:x-lane=desk"];
    chain.create("desk", &services);
    assert_eq!(chain.ask("x-lane: desk\r\n").0, "web1 desk2 store2");

    // One instance each, which comes back when it is killed; meanwhile requests get what is deployed, and are told.
    let instances = processes::of_instances(&chain.place.data());
    let of_store: Vec<_> = instances.iter().filter(|(id, _)| id.contains("store-1.1.0-")).collect();
    assert_eq!(of_store.len(), 1, "one for three lanes");
    processes::kill(*of_store[0].1);
    let met = eventually("it is answered again by the lane", || {
        let (trail, said) = chain.asked(LANE)?;
        let said = said.unwrap();
        // One that was asked again may have met the instance that came back meanwhile.
        assert!(["login", "login; not-served=store"].contains(&said.as_str()), "{trail}: {said}");
        (trail.ends_with("store2") && said == "login").then_some(trail)
    });
    assert_eq!(met, "web1 desk1 store2");

    // Without a server, and with one that finds them running.
    chain.place.kill_server();
    assert_eq!(chain.ask(LANE), ("web1 desk1 store2".into(), Some("login".into())));
    chain.place.start_server();
    eventually("all lanes are in force again", || {
        let list = chain.lanes();
        let all = list["lanes"].as_array()?.iter().flat_map(|it| it["in_force"].as_array().unwrap().clone());
        let states: Vec<_> = all.map(|it| it["force"]["force"].clone()).collect();
        (states.len() == 5 && states.iter().all(|it| it == "in_force")).then_some(())
    });
    assert_eq!(chain.ask(OTHER).0, "web2 desk1 store2");
    let explained = chain.place.run(&[
        "explain",
        "GET",
        "http://shop.test/web",
        "--header",
        "x-lane: login",
        "--env",
        ENVIRONMENT,
    ]);
    assert!(explained.contains("in lane login, which says nothing of web"), "{explained}");

    // Ended by a command, one after the other.
    chain.end("other");
    assert_eq!(chain.ask(OTHER), (OLD.into(), None));
    chain.end("desk");
    assert_eq!(chain.ask("x-lane: desk\r\n").0, OLD);
    assert_eq!(chain.ask(LANE).0, "web1 desk1 store2", "the first is there still");
    chain.end("login");
    assert_eq!(chain.ask(LANE), (OLD.into(), None));
    chain.wait_for_the_end();

    // By its time.
    chain.create("short", &["--service", "store=1.1.0", "--when", "header:x-lane=login", "--for", "4s"]);
    chain.wait_for("its time is over", LANE, OLD);
    chain.wait_for_the_end();
    assert!(outside.end() > 100, "nobody else noticed anything");

    let list = chain.lanes();
    assert!(list["lanes"].as_array().unwrap().is_empty(), "{list}");
    assert_eq!(list["ended"][0]["because"], "its time is over");
    let journal = chain.place.run(&["journal", "export"]);
    assert_eq!(
        (journal.matches("\"lane_begun\"").count(), journal.matches("\"lane_ended\"").count()),
        (4, 4)
    );
    let history = chain.place.run(&["history", ENVIRONMENT]);
    assert!(
        history.contains("lane login began") && history.contains("header:x-lane=login -> store 1.1.0"),
        "{history}"
    );
    assert!(history.contains("lane short ended") && history.contains("its time is over"), "{history}");
    assert_eq!(
        chain.place.json(&["history", ENVIRONMENT])["baselines"][0]["number"],
        1,
        "no baseline was made"
    );
}

#[test]
fn a_lane_is_refused_with_all_reasons_and_never_keeps_anybody_from_going_back() {
    let chain = Chain::begin();
    let place = &chain.place;
    let create = ["lane", "create", "login", "--env", ENVIRONMENT, "--service", "store=1.1.0"];
    let refused = |more: &[&str], code: i32| place.fail(&[&create[..], more].concat(), code);
    assert!(refused(&["--when", "path:/store"], 2).contains("header:NAME=VALUE"));
    assert!(refused(&["--when", "header:cookie=1"], 2).contains("read, write or drop"));
    assert!(refused(&["--when", "user:ann", "--for", "91d"], 3).contains("within 90 days"));
    let many = refused(&["--when", "user:ann", "--service", "web=9.0.0", "--service", "none=1.0.0"], 4);
    assert!(many.contains("9.0.0") && many.contains("none"), "{many}");
    assert!(place.fail(&["lane", "end", "login", "--env", ENVIRONMENT], 4).contains("has no lane `login`"));
    // Another environment accepts it neither for deployments nor in lanes.
    place.run(&["environment", "create", "strict", "--accepts-from", "released"]);
    let strict =
        ["lane", "create", "login", "--env", "strict", "--service", "store=1.1.0", "--when", "user:ann"];
    let early = place.fail(&strict, 3);
    assert!(early.contains("and no others in lanes"), "{early}");
    assert!(early.contains("lockstep environment set strict --lanes-accept"), "{early}");
    let set = place.run(&["environment", "set", "strict", "--lanes-accept", "created"]);
    assert!(set.contains("in lanes from"), "{set}");
    assert!(!place.fail(&strict, 3).contains("in lanes"), "only that it does not run there is left");

    // A gateway of an older release would pass it over.
    let added = place.json(&["gateway", "add", "older", "--env", ENVIRONMENT]);
    let older = json!({
        "gateway": "run", "environment": ENVIRONMENT, "revision": 0, "in_flight": {}, "traffic": [], "takes_format": 23
    });
    let said = eventually("the lane is refused", || {
        report(place, added["key"].as_str().unwrap(), &older);
        let output =
            place.command(&[&create[..], &["--when", "user:ann", "--no-wait"]].concat()).output().unwrap();
        (output.status.code() == Some(6)).then(|| String::from_utf8(output.stderr).unwrap())
    });
    assert!(said.contains("knows no lanes") && said.contains("lockstep gateway remove older"), "{said}");
    place.run(&["gateway", "remove", "older"]);
    for lane in chain.lanes()["lanes"].as_array().unwrap() {
        chain.end(lane["name"].as_str().unwrap());
    }

    let dry = place.run(&[&create[..], &["--when", "header:x-lane=login", "--dry-run"]].concat());
    assert!(dry.contains("would begin: lane login: header:x-lane=login -> store 1.1.0"), "{dry}");
    assert!(chain.lanes()["lanes"].as_array().unwrap().is_empty());
    chain.create(
        "login",
        &["--service", "store=1.1.0", "--service", "web=1.1.0", "--when", "header:x-lane=login"],
    );
    let twice = refused(&["--when", "header:X-Lane=login"], 3);
    assert!(twice.contains("already") && twice.contains("takes the same requests"), "{twice}");
    let rule = place.fail(&["route", "remove", "1", "--env", ENVIRONMENT], 3);
    assert!(rule.contains("lockstep lane end login"), "{rule}");
    assert!(
        place
            .run(&["status", ENVIRONMENT])
            .contains("lane login: header:x-lane=login -> store 1.1.0, web 1.1.0")
    );
    let shown = place.run(&["lane", "show", "login", "--env", ENVIRONMENT]);
    assert!(shown.contains("in force") && shown.contains("to try it"), "{shown}");

    // One of its versions is deployed, turns out to be bad, and is gone back from: the lane ends as a whole, before anything else.
    place.run(&["deploy", "store@1.1.0", "--env", ENVIRONMENT]);
    assert_eq!(chain.ask(LANE).0, "web2 desk1 store2");
    let back = ["rollback", "store", "--to", "1.0.0", "--env", ENVIRONMENT];
    let plan = place.run(&[&back[..], &["--dry-run"]].concat());
    assert!(plan.contains("lane login (store@1.1.0, web@1.1.0) ends with it"), "{plan}");
    let callers = Callers::begin(chain.gateway.address(), &["/web"]);
    place.run(&back);
    assert_eq!(chain.ask(LANE), (OLD.into(), None));
    assert!(callers.end() > 0);
    assert!(refused(&["--when", "user:ann"], 3).contains("is held"));
    chain.wait_for_the_end();

    // A version that does not start: the command says so, and requests get what is deployed and are told.
    let web = chain.repositories.iter().find(|it| it.folder().ends_with("web")).unwrap();
    web.write("service.py", "raise SystemExit('no database')");
    web.commit("feat: broken");
    let broken = place.release("web");
    let service = format!("web={}", broken.split_once('@').unwrap().1);
    let broken =
        ["lane", "create", "broken", "--env", ENVIRONMENT, "--service", &service, "--when", "user:ann"];
    let failed = place.fail(&broken, 1);
    assert!(failed.contains("not in force yet") && failed.contains("exit code 1"), "{failed}");
    assert_eq!(chain.ask("x-lockstep-key: ann\r\n"), (OLD.into(), Some("broken; not-served=web".into())));
    chain.end("broken");
    assert_eq!(chain.ask("x-lockstep-key: ann\r\n"), (OLD.into(), None));
}

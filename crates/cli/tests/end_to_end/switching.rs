//! A chain of calls that is switched as one: no request meets a mixture, whether its services pass on what they are told or not.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, python};
use super::support::{eventually, get};
use super::users::open_folder;

/// Waits for leave where it is asked to, calls the next service as it was told to, and puts its own name before the answer.
const HOP: &str = "
        import http.client, urllib.parse
        trail = b'NAME'
        if self.path.endswith('held') and 'NAME'.startswith('HOLDS'):
            open('SIGNS/begun', 'w').close()
            while not os.path.exists('SIGNS/go'): time.sleep(0.01)
        if self.path != '/health' and CALL:
            at = urllib.parse.urlsplit(CALL)
            connection = http.client.HTTPConnection(at.hostname, at.port, timeout=20)
            passed = {name: self.headers[name] for name in FORWARDS if name in self.headers}
            connection.request('GET', at.path + '/' + self.path.rsplit('/', 1)[-1], headers=passed)
            reply = connection.getresponse()
            status = reply.status
            trail += b' ' + reply.read()";

/// By its address with a token, passing on what it was told.
const BY_URL: &str = "os.environ['LOCKSTEP_URL_NEXT']";
/// By host and port, passing on nothing.
const BY_PORT: &str = "'http://' + os.environ['NEXT_HOST'] + ':' + os.environ['NEXT_PORT']";

/// One service of the chain.
#[derive(Clone, Copy)]
struct Hop {
    name: &'static str,
    next: Option<&'static str>,
    call: &'static str,
    forwards: &'static str,
}

const HOPS: [Hop; 4] = [
    Hop { name: "web", next: Some("desk"), call: BY_URL, forwards: "('baggage',)" },
    Hop { name: "desk", next: Some("hub"), call: BY_PORT, forwards: "()" },
    // It is shared by both sides, and passes on the trace alone.
    Hop { name: "hub", next: Some("store"), call: BY_URL, forwards: "('traceparent', 'tracestate')" },
    Hop { name: "store", next: None, call: "''", forwards: "()" },
];

impl Hop {
    fn write(&self, repository: &Repository, signs: &str, version: u32, needs: &str) {
        let (variables, requires) = match self.next {
            None => (String::new(), String::new()),
            Some(next) => {
                let env = format!(
                    "env = {{ NEXT_HOST = \"${{service.{next}.host}}\", NEXT_PORT = \"${{service.{next}.port}}\" }}"
                );
                (
                    if self.call == BY_PORT { env } else { String::new() },
                    format!("[requires]\n{next} = \"{needs}\""),
                )
            }
        };
        repository.write("lockstep.toml", &manifest(self.name, &variables, &requires));
        let call = self.call.replace("NEXT", &self.next.unwrap_or_default().to_uppercase());
        let call = if self.call == BY_PORT { BY_PORT.to_owned() } else { call };
        let hop = HOP.replace("NAME", &format!("{}{version}", self.name)).replace("CALL", &call);
        let hop = hop.replace("FORWARDS", self.forwards).replace("SIGNS", signs).replace("HOLDS", "web");
        repository.write("service.py", &misbehaving("TEXT", "pass", &hop).replace("b'TEXT'", "trail"));
    }
}

/// The chain with two versions of everything but the shared hub; the first one is deployed.
pub(super) struct Chain {
    pub(super) place: Place,
    signs: String,
    pub(super) address: String,
    second: Vec<String>,
}

const OLD: &str = "web1 desk1 hub1 store1";
const NEW: &str = "web2 desk2 hub1 store2";

impl Chain {
    pub(super) fn begin() -> Self {
        Self::begin_at(Place::begin())
    }

    fn begin_at(place: Place) -> Self {
        Self::of(place, HOPS)
    }

    fn of(place: Place, hops: [Hop; 4]) -> Self {
        let signs = place.path("signs");
        fs::create_dir(&signs).unwrap();
        // The services may be other users than the server.
        fs::set_permissions(&signs, fs::Permissions::from_mode(0o777)).unwrap();
        let needs = |hop: &Hop, number: u32| match hop.name {
            "web" => format!("^{number}"),
            _ => "*".to_owned(),
        };
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for hop in hops.iter().rev() {
            let repository = place.repository(hop.name);
            hop.write(&repository, &signs, 1, &needs(hop, 1));
            first.push(place.first_release(&repository, hop.name));
            if hop.name != "hub" {
                hop.write(&repository, &signs, 2, &needs(hop, 2));
                repository.commit("feat!: the second one");
                second.push(place.release(hop.name));
            }
        }
        let mut deploy = vec!["deploy", "--env", ENVIRONMENT];
        deploy.extend(first.iter().map(String::as_str));
        place.run(&deploy);
        let gateway = place.status()["gateway"].as_str().unwrap().to_owned();
        let address = gateway.trim_start_matches("http://").to_owned();
        Self { place, signs, address, second }
    }

    fn deploy_second(&self) {
        let mut deploy = vec!["deploy", "--env", ENVIRONMENT];
        deploy.extend(self.second.iter().map(String::as_str));
        self.place.run(&deploy);
    }

    fn go_back(&self) {
        self.place.run(&["undo", "--env", ENVIRONMENT]);
    }

    fn release_holds(&self) {
        for version in &self.second {
            self.place.run(&["hold", "release", version, "--env", ENVIRONMENT]);
        }
    }

    fn ask(&self) -> Result<(u16, String), String> {
        get(&self.address, "/web/now", 0)
    }

    /// Begins a request that waits at the first hop until [`Self::let_go`].
    fn hold(&self) -> thread::JoinHandle<Result<(u16, String), String>> {
        let address = self.address.clone();
        let held = thread::spawn(move || get(&address, "/web/held", 0));
        eventually("the request has begun", || {
            fs::exists(format!("{}/begun", self.signs)).unwrap().then_some(())
        });
        held
    }

    fn let_go(&self, held: thread::JoinHandle<Result<(u16, String), String>>) -> (u16, String) {
        fs::write(format!("{}/go", self.signs), "").unwrap();
        let answer = held.join().unwrap().unwrap();
        fs::remove_file(format!("{}/go", self.signs)).unwrap();
        fs::remove_file(format!("{}/begun", self.signs)).unwrap();
        answer
    }
}

#[test]
fn a_request_that_began_before_a_switch_ends_where_it_began_forward_and_back() {
    let chain = Chain::begin();
    assert_eq!(chain.ask(), Ok((200, OLD.to_owned())));
    let held = chain.hold();
    chain.deploy_second();
    assert_eq!(chain.ask(), Ok((200, NEW.to_owned())));
    assert_eq!(chain.let_go(held), (200, OLD.to_owned()));
    let held = chain.hold();
    chain.go_back();
    assert_eq!(chain.ask(), Ok((200, OLD.to_owned())));
    assert_eq!(
        chain.let_go(held),
        (200, NEW.to_owned()),
        "also where nothing is kept of what was gone back from"
    );
    eventually("what was gone back from has ended", || {
        let status = chain.place.status();
        let services = status["services"].as_array().unwrap().iter();
        let mut instances = services.flat_map(|it| it["instances"].as_array().unwrap());
        let runs = |it: &serde_json::Value| it["state"]["state"] != "stopped";
        let is_left = |it: &serde_json::Value| it["id"].as_str().unwrap().starts_with("store-2") && runs(it);
        (!instances.any(is_left)).then_some(())
    });
}

#[test]
fn callers_that_pass_on_nothing_are_known_where_each_service_is_a_user_of_its_own() {
    let Some(folder) = open_folder().filter(|_| python().starts_with("/usr/")) else { return };
    let chain = Chain::begin_at(Place::begin_with_users(folder));
    assert_eq!(chain.ask(), Ok((200, OLD.to_owned())));
    let held = chain.hold();
    chain.deploy_second();
    assert_eq!(chain.let_go(held), (200, OLD.to_owned()));
    let held = chain.hold();
    chain.go_back();
    assert_eq!(chain.let_go(held), (200, NEW.to_owned()));
}

#[test]
fn a_chain_that_is_switched_there_and_back_under_requests_shows_no_failure_and_no_mixture() {
    shows_no_mixture(&Chain::begin());
}

#[test]
fn callers_that_pass_on_nothing_are_known_by_the_address_that_they_were_given_as_well() {
    let hops = HOPS.map(|hop| if hop.name == "desk" { Hop { call: BY_URL, ..hop } } else { hop });
    let chain = Chain::of(Place::begin(), hops);
    let held = chain.hold();
    chain.deploy_second();
    assert_eq!(chain.let_go(held), (200, OLD.to_owned()));
    let held = chain.hold();
    chain.go_back();
    chain.release_holds();
    assert_eq!(chain.let_go(held), (200, NEW.to_owned()));
    shows_no_mixture(&chain);
}

/// Switches there and back while clients ask, and looks at every answer.
fn shows_no_mixture(chain: &Chain) {
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let client = |_| {
        let (address, stop, seen) = (chain.address.clone(), Arc::clone(&stop), Arc::clone(&seen));
        thread::spawn(move || {
            let mut answers = BTreeMap::<String, u64>::new();
            while !stop.load(Ordering::Relaxed) {
                let key = seen.fetch_add(1, Ordering::Relaxed);
                let answer = get(&address, "/web/now", key);
                *answers
                    .entry(answer.map_or_else(|error| error, |(status, trail)| format!("{status} {trail}")))
                    .or_default() += 1;
            }
            answers
        })
    };
    let clients: Vec<_> = (0..4).map(client).collect();
    let more = |what: &str| {
        let until = seen.load(Ordering::Relaxed) + 20;
        eventually(what, || (seen.load(Ordering::Relaxed) > until).then_some(()));
    };
    for _ in 0..3 {
        more("requests meet the old side");
        chain.deploy_second();
        more("requests meet the new side");
        chain.go_back();
        chain.release_holds();
    }
    stop.store(true, Ordering::Relaxed);
    let mut all = BTreeMap::<String, u64>::new();
    for answers in clients.into_iter().map(|client| client.join().unwrap()) {
        answers.into_iter().for_each(|(trail, count)| *all.entry(trail).or_default() += count);
    }
    let expected = [format!("200 {OLD}"), format!("200 {NEW}")];
    assert_eq!(all.keys().cloned().collect::<Vec<_>>(), expected, "{all:?}");
}

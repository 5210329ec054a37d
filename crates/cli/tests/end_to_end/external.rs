//! A service that somebody else runs: called, exchanged, gone, back again, and changed by itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::support::callers::Callers;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, python};
use super::support::{eventually, processes};

/// A canary that looks long enough for what goes wrong to show.
const CANARY: [&str; 4] = ["--steps", "50,100", "--bake", "1s"];
/// Answers `/health`, says its version at `/version`, and on every other path who it is and what was asked; what it says is in a file
/// that changes.
const PARTNER: &str = "\
import http.server, json, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        says = json.load(open(sys.argv[1]))
        status, body = 200, says['name'] + ' ' + self.path
        if self.path.endswith('/health'):
            body = 'well'
        elif self.path.endswith('/version'):
            body = json.dumps({'version': says['version']})
        elif self.path.endswith('/fields'):
            body = json.dumps(dict(self.headers.items()))
        else:
            status = says.get('status', 200)
        data = body.encode()
        self.send_response(status)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[2])), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
";

/// Somebody else's server.
struct Partner {
    says: String,
    port: u16,
    process: Child,
}

impl Partner {
    fn begin(place: &Place, name: &str, version: &str) -> Self {
        let says = place.path(&format!("{name}.json"));
        fs::write(place.path("partner.py"), PARTNER).unwrap();
        fs::write(&says, json!({ "name": name, "version": version }).to_string()).unwrap();
        let (process, port) = listening(place, &says, 0);
        Self { says, port, process }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/base", self.port)
    }

    fn says(&self, what: &Value) {
        // A whole file or the one before: it is read in between.
        let next = format!("{}.next", self.says);
        fs::write(&next, what.to_string()).unwrap();
        fs::rename(next, &self.says).unwrap();
    }

    fn goes_down(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn comes_back(&mut self, place: &Place) {
        (self.process, self.port) = listening(place, &self.says, self.port);
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn listening(place: &Place, says: &str, port: u16) -> (Child, u16) {
    use std::io::BufRead as _;
    let mut command = Command::new(python());
    command.args([&place.path("partner.py"), says, &port.to_string()]).stdout(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (process, line.trim().parse().unwrap())
}

fn manifest_of(address: &str, more: &str) -> String {
    format!(
        "name = \"partner\"\n\n[[route]]\npath = \"/partner\"\nstrip_prefix = true\n\n[run]\nkind = \"external\"\naddress = \"{address}\"\n\
         health = {{ http = \"/health\", interval = \"100ms\", start_timeout = \"2s\" }}\n{more}\n"
    )
}

fn released(place: &Place, repository: &Repository, manifest: &str, number: &str) -> String {
    repository.write("lockstep.toml", manifest);
    repository.commit(&format!("feat: {number}"));
    place.run(&["release", "partner", "--version", number]);
    format!("partner@{number}")
}

/// A place where the partner is called at an address.
fn calling(place: &Place, address: &str, more: &str) -> Repository {
    let repository = place.repository("partner");
    repository.write("lockstep.toml", &manifest_of(address, more));
    repository.commit("feat: begin");
    place.run(&["service", "add", repository.folder()]);
    place.run(&["release", "partner", "--version", "1.0.0"]);
    place.run(&["deploy", "partner@1.0.0", "--env", ENVIRONMENT]);
    repository
}

fn gateway(place: &Place) -> String {
    place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned()
}

fn of_partner(status: &Value) -> &Value {
    status["services"].as_array().unwrap().iter().find(|it| it["service"] == "partner").unwrap()
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

const SHOP: &str = "\
import http.server, os, urllib.request

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == '/health':
            body = b'ok'
        else:
            at = os.environ['PARTNER'] if self.path.endswith('url') else 'http://' + os.environ['PARTNER_AT']
            request = urllib.request.Request(at + '/for-shop', headers={'baggage': self.headers.get('baggage', '')})
            body = urllib.request.urlopen(request).read()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";

#[test]
fn a_partner_is_exchanged_and_taken_back_under_callers_and_is_required_like_any_service() {
    let place = Place::begin();
    let (one, two) = (Partner::begin(&place, "one", "1.0.0"), Partner::begin(&place, "two", "2.0.0"));
    let repository = calling(&place, &one.url(), "");
    let shop = place.repository("shop");
    let env = "env = { PARTNER = \"${service.partner.url}\", PARTNER_AT = \"${service.partner.host}:${service.partner.port}\" }";
    shop.write("lockstep.toml", &manifest("shop", env, "[requires]\npartner = \">=1, <3\"\n"));
    shop.write("service.py", SHOP);
    let shop = place.first_release(&shop, "shop");
    place.run(&["deploy", &shop, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/partner/x?y=1"), (200, "one /base/x?y=1".to_owned()));
    for path in ["/shop/url", "/shop/host-and-port"] {
        assert_eq!(place.ask(path), (200, "one /base/for-shop".to_owned()), "{path}");
    }
    let fields: BTreeMap<String, String> = serde_json::from_str(&place.ask("/partner/fields").1).unwrap();
    assert_eq!(fields["host"], format!("127.0.0.1:{}", one.port));
    let ours =
        |name: &&String| name.starts_with("x-forwarded") || name.contains("lockstep") || *name == "cookie";
    assert_eq!(fields.keys().find(ours), None, "{fields:?}");
    let callers = Callers::begin(&gateway(&place), &["/partner/x", "/shop/url", "/shop/host-and-port"]);
    callers.wait_for(50);
    let second = released(&place, &repository, &manifest_of(&two.url(), ""), "2.0.0");
    place.run(&[&["deploy", &second, "--env", ENVIRONMENT], &CANARY[..]].concat());
    callers.wait_for(50);
    assert_eq!(place.ask("/shop/url").1, "two /base/for-shop");
    place.run(&["undo", ENVIRONMENT]);
    callers.wait_for(50);
    assert_eq!(place.ask("/shop/url").1, "one /base/for-shop");
    // The requirement of the shop holds for it as for any service.
    let third = released(&place, &repository, &manifest_of(&two.url(), "timeout = \"20s\"\n"), "3.0.0");
    let refused = place.fail(&["deploy", &third, "--env", ENVIRONMENT], 3);
    assert_says(&refused, &["shop", "partner", ">=1, <3"]);
    assert!(callers.end() > 200);
}

#[test]
fn a_partner_whose_new_version_fails_is_taken_back_by_the_verdict_without_a_failed_call() {
    let place = Place::begin();
    let (one, bad) = (Partner::begin(&place, "one", "1.0.0"), Partner::begin(&place, "bad", "3.0.0"));
    let repository = calling(&place, &one.url(), "");
    bad.says(&json!({ "name": "bad", "version": "3.0.0", "status": 500 }));
    let callers = Callers::begin(&gateway(&place), &["/partner/x"]);
    callers.wait_for(20);
    let third = released(&place, &repository, &manifest_of(&bad.url(), ""), "3.0.0");
    let taken_back = place.fail(&[&["deploy", &third, "--env", ENVIRONMENT], &CANARY[..]].concat(), 1);
    assert_says(
        &taken_back,
        &["was taken back", &third, "every request of partner 3.0.0 fails", "as in baseline 1"],
    );
    assert_says(&place.run(&["hold", "list", ENVIRONMENT]), &[&third]);
    assert_eq!(place.ask("/partner/x"), (200, "one /base/x".to_owned()));
    assert!(callers.end() > 20);
}

#[test]
fn a_partner_that_goes_down_is_said_and_blamed_on_nobody_and_nothing_is_started_again() {
    let mut place = Place::begin();
    let mut one = Partner::begin(&place, "one", "1.0.0");
    let repository = calling(&place, &one.url(), "");
    let relays = processes::of_instances(&place.data());
    one.goes_down();
    let why = format!("nobody answers at http://127.0.0.1:{}: Connection refused", one.port);
    let is = |place: &Place, state: &str| {
        let status = place.status();
        let instances = of_partner(&status)["instances"].as_array().unwrap().clone();
        (instances.len() == 1 && instances[0]["state"]["state"] == state).then(|| instances[0].clone())
    };
    let sick = eventually("it is unhealthy", || is(&place, "unhealthy"));
    assert_says(sick["state"]["reason"].as_str().unwrap(), &[&why]);
    assert_says(&place.run(&["status", ENVIRONMENT]), &["0 of 1", &why]);
    let (status, body) = place.ask("/partner/x");
    assert_eq!(status, 502);
    assert_says(&body, &[&why]);
    // Also a server that starts meanwhile, and a relay that is killed, change nothing.
    place.kill_server();
    place.start_server();
    assert_eq!(processes::of_instances(&place.data()), relays);
    processes::kill(*relays.values().next().unwrap());
    let again = eventually("the relay runs again", || {
        is(&place, "unhealthy")
            .filter(|it| it["restarts"] == 1 && processes::of_instances(&place.data()) != relays)
    });
    // One that never saw the other side is left to run beyond its start timeout.
    let start_timeout = std::time::Instant::now() + std::time::Duration::from_secs(3);
    eventually("the start timeout is over", || (std::time::Instant::now() > start_timeout).then_some(()));
    let still = is(&place, "unhealthy").unwrap();
    assert_eq!((&still["restarts"], &still["id"]), (&again["restarts"], &again["id"]));
    one.comes_back(&place);
    eventually("it is healthy", || is(&place, "healthy"));
    assert_eq!(place.ask("/partner/x"), (200, "one /base/x".to_owned()));
    // A version whose other side is not there does not come to work, and may come when it is.
    one.goes_down();
    let second = released(&place, &repository, &manifest_of(&one.url(), "timeout = \"20s\"\n"), "2.0.0");
    let taken_back = place.fail(&["deploy", &second, "--env", ENVIRONMENT], 1);
    assert_says(&taken_back, &["did not become healthy: nobody answers at"]);
    assert!(!place.run(&["hold", "list", ENVIRONMENT]).contains("partner@2.0.0"));
    one.comes_back(&place);
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
}

#[test]
fn what_a_partner_says_of_its_version_is_seen_with_its_time_when_it_changes_by_itself() {
    let mut place = Place::begin();
    let one = Partner::begin(&place, "one", "1.0.0");
    calling(&place, &one.url(), "version = { path = \"/version\", field = \"version\" }\n");
    let version = |place: &Place| of_partner(&place.status())["external"]["version"].clone();
    let first = eventually("it was asked", || Some(version(&place)).filter(|it| it["since"].is_string()));
    assert_eq!(first["says"], "1.0.0");
    assert_eq!((&first["differs"], &first["hint"]), (&json!(false), &Value::Null));
    one.says(&json!({ "name": "one", "version": "v1.1.0" }));
    let other = eventually("the change is seen", || {
        Some(version(&place)).filter(|it| it["differs"] == true && it["since"].is_string())
    });
    assert_eq!(other["says"], "v1.1.0");
    let next = "lockstep release partner --version 1.1.0 && lockstep deploy partner@1.1.0 --env development";
    assert_eq!(other["hint"], next);
    assert_says(
        &place.run(&["status", ENVIRONMENT]),
        &["says v1.1.0 since ", "and not 1.0.0, which runs here", next],
    );
    let seen = |place: &Place| place.json(&["history", ENVIRONMENT])["said"].clone();
    let said = seen(&place);
    assert_eq!(
        (&said[0]["before"], &said[0]["says"], &said[0]["at"]),
        (&json!("1.0.0"), &json!("v1.1.0"), &other["since"])
    );
    assert_says(&place.run(&["history", ENVIRONMENT]), &["partner changed by itself", "1.0.0 -> v1.1.0"]);
    // It is known when the server starts again, and not seen twice.
    place.kill_server();
    place.start_server();
    eventually("it is asked again", || {
        Some(version(&place)).filter(|it| it["problem"].is_null() && it["differs"] == true)
    });
    assert_eq!(seen(&place), said);
    // What is typed next is what helps.
    place.run(&["release", "partner", "--version", "1.1.0"]);
    assert_eq!(version(&place)["hint"], "lockstep deploy partner@1.1.0 --env development");
    place.run(&["deploy", "partner@1.1.0", "--env", ENVIRONMENT]);
    let is_well = |it: &Value| it["differs"] == false && it["says"] == "v1.1.0" && it["since"].is_string();
    eventually("it is what it says", || Some(version(&place)).filter(is_well));
    // What cannot be asked is said, and what was said last stands.
    one.says(&json!({ "name": "one", "version": "x".repeat(100) }));
    let nonsense =
        eventually("it says nothing", || Some(version(&place)).filter(|it| it["problem"].is_string()));
    assert_eq!(nonsense["says"], "v1.1.0");
    assert_says(nonsense["problem"].as_str().unwrap(), &["is no version"]);
    assert_eq!(seen(&place), said, "a deploy is no change by itself");
}

#[test]
fn each_environment_has_its_own_address_and_a_secret_one_is_seen_nowhere() {
    let place = Place::begin();
    let (one, two) = (Partner::begin(&place, "one", "1.0.0"), Partner::begin(&place, "two", "1.0.0"));
    let default = format!("env = {{ PARTNER_URL = \"{}\" }}\n", one.url());
    calling(&place, "${env.PARTNER_URL}", &default);
    assert_eq!(place.ask("/partner/x").1, "one /base/x");
    assert_eq!(of_partner(&place.status())["external"]["version"], json!({ "known": "told" }));
    assert_says(
        &place.run(&["status", ENVIRONMENT]),
        &["external: partner at ${env.PARTNER_URL}, version told: 1.0.0"],
    );
    let mut set =
        place.command(&["config", "set", "partner", "--secret", "PARTNER_URL", "--env", ENVIRONMENT]);
    let mut set = set.stdin(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(format!("{}/hush-hush", two.url()).as_bytes()).unwrap();
    assert!(set.wait().unwrap().success());
    assert_eq!(place.ask("/partner/x").1, "two /base/hush-hush/x");
    assert!(!place.json(&["status", ENVIRONMENT]).to_string().contains("hush-hush"));
    for process in processes::of_instances(&place.data()).values() {
        let words = fs::read(format!("/proc/{}/cmdline", process.as_raw_nonzero())).unwrap();
        assert!(!String::from_utf8_lossy(&words).contains("hush-hush"));
    }
    let id = of_partner(&place.status())["instances"][0]["id"].as_str().unwrap().to_owned();
    assert!(!place.run(&["logs", &id]).contains("hush-hush"));
    // One that is none is said, and what runs goes on.
    let refused = place.fail(&["config", "set", "partner", "PARTNER_URL=ftp://a", "--env", ENVIRONMENT], 1);
    assert_says(&refused, &["was taken back", "no address"]);
    assert_eq!(place.ask("/partner/x").1, "two /base/hush-hush/x");
}

#[test]
fn an_address_that_leads_back_to_the_gateway_does_not_come_to_work() {
    let place = Place::begin();
    let one = Partner::begin(&place, "one", "1.0.0");
    let repository = calling(&place, &one.url(), "");
    let circle = format!("http://{}/partner", gateway(&place));
    // While the old version answers, what leads there is answered by it; so it comes to work, and then its requests end in a circle.
    let second = released(&place, &repository, &manifest_of(&circle, ""), "2.0.0");
    place.run(&["deploy", &second, "--env", ENVIRONMENT, "--strategy", "all-at-once"]);
    let (status, body) =
        eventually("it goes in circles", || Some(place.ask("/partner/x")).filter(|it| it.0 != 200));
    assert_eq!(status, 508, "{body}");
    eventually("it is said", || {
        let status = place.status();
        let instances = of_partner(&status)["instances"].as_array().unwrap().clone();
        let reason = instances.iter().find_map(|it| it["state"]["reason"].as_str())?.to_owned();
        reason.contains("508").then_some(()).or_else(|| reason.contains("circles").then_some(()))
    });
    place.run(&["undo", ENVIRONMENT]);
    assert_eq!(place.ask("/partner/x"), (200, "one /base/x".to_owned()));
}

#[test]
fn check_tries_an_address_out_before_any_release() {
    let place = Place::begin();
    let mut one = Partner::begin(&place, "one", "1.0.0");
    let repository = place.repository("partner");
    repository.write(
        "lockstep.toml",
        &manifest_of(&one.url(), "version = { path = \"/version\", field = \"version\" }\n"),
    );
    repository.commit("feat: begin");
    let file = format!("{}/lockstep.toml", repository.folder());
    assert_says(&place.run(&["check", "--run", &file]), &["ran: partner healthy after ", "says 1.0.0"]);
    repository.write(
        "lockstep.toml",
        &manifest_of(&one.url(), "version = { path = \"/health\", field = \"version\" }\n"),
    );
    let out = place.json_ending(&["check", "--run", &file], 1);
    assert_says(&out.to_string(), &["it does not say its version"]);
    one.goes_down();
    let out = place.json_ending(&["check", "--run", &file], 1);
    assert_says(&out.to_string(), &["it did not become healthy: nobody answers at http://127.0.0.1:"]);
}

#[test]
fn a_version_without_the_authorities_that_it_names_is_not_recorded() {
    let place = Place::begin();
    let repository = place.repository("partner");
    repository.write("lockstep.toml", &manifest_of("https://127.0.0.1:9", "ca = \"partner-ca.pem\"\n"));
    repository.commit("feat: begin");
    place.run(&["service", "add", repository.folder()]);
    let refused = place.fail(&["release", "partner"], 1);
    assert_says(&refused, &["`partner-ca.pem`, which run.ca names, is not in the package"]);
}

//! What goes between hosts is within TLS, and nobody else speaks to an instance: with real servers of SSH, on this machine and in networks of
//! their own.

mod apart;
mod edges;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::host_check::server::SshServer;
use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving};
use super::support::{eventually, get};

/// A service that says in which folder it runs, and so on which host.
fn folder_teller() -> String {
    misbehaving("' + os.getcwd().encode() + b'", "pass", "pass")
}

/// A place with two hosts that have addresses of their own on this machine.
struct Bench {
    place: Place,
    sshd: BTreeMap<&'static str, SshServer>,
}

const ADDRESSES: [(&str, &str); 2] = [("web1", "127.0.0.2"), ("web2", "127.0.0.3")];

impl Bench {
    fn begin(network: &[&str]) -> Self {
        let sshd = ADDRESSES.map(|(name, _)| (name, SshServer::begin("")));
        let bench = Self { place: Place::begin(), sshd: sshd.into() };
        for (name, address) in ADDRESSES {
            bench.add(name, &[&["--address", address], network].concat());
        }
        bench
    }

    fn add(&self, name: &str, more: &[&str]) -> String {
        let (sshd, folder) = (&self.sshd[name], self.place.path(&format!("at-{name}")));
        let (key, target) = (sshd.key().display().to_string(), sshd.target());
        let words =
            ["host", "add", name, "--ssh", &target, "--key", &key, "--folder", &folder, "--env", ENVIRONMENT];
        self.place.run(&[&words[..], more].concat())
    }

    fn deploy(&self) -> Repository {
        let repository = self.place.repository("store");
        repository.write("lockstep.toml", &manifest("store", "", ""));
        repository.write("service.py", &folder_teller());
        let version = self.place.first_release(&repository, "store");
        self.place.run(&["deploy", &version, "--env", ENVIRONMENT]);
        self.place.run(&["scale", "store", "2", "--env", ENVIRONMENT]);
        repository
    }
}

fn table(place: &Place) -> Value {
    let path = format!("/api/v1/environments/{ENVIRONMENT}/routes?wait_ms=5000");
    let (status, text) = get(place.address(), &path, 0).unwrap();
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Makes a commit whose version answers as the one before.
fn commit(repository: &Repository, message: &str) {
    repository.write("service.py", &format!("{}# {message}\n", folder_teller()));
    repository.commit(message);
}

/// Where instances listen, as their hosts say it.
fn listen(place: &Place) -> Vec<(String, SocketAddr)> {
    let status = place.status();
    let services = status["services"].as_array().unwrap().iter();
    let instances = services.flat_map(|service| service["instances"].as_array().unwrap());
    let place =
        |it: &Value| Some((it["host"].as_str()?.to_owned(), it["address"].as_str()?.parse().unwrap()));
    instances.filter_map(place).collect()
}

/// The hosts whose instances the table leads to, each with whether its gateway carries there.
fn led_to(place: &Place) -> BTreeMap<String, bool> {
    let table = table(place);
    let splits = table["services"]["store"]["splits"].as_array().unwrap().iter();
    let led: Vec<(String, bool)> = splits
        .filter(|split| split["weight"] != 0)
        .flat_map(|split| split["endpoints"].as_array().unwrap())
        .map(|it| (it["address"].as_str().unwrap().to_owned(), it["through"].is_string()))
        .collect();
    let host =
        |address: &str| ADDRESSES.iter().find(|(_, ip)| address.starts_with(&format!("{ip}:"))).unwrap().0;
    led.iter().map(|(address, carried)| (host(address).to_owned(), *carried)).collect()
}

/// Asks until both hosts have answered.
fn both_answer(ask: impl Fn() -> Option<(u16, String)>) {
    let mut seen = BTreeSet::new();
    eventually("both hosts answer", || {
        if let Some((200, folder)) = ask() {
            seen.extend(["at-web1", "at-web2"].into_iter().filter(|name| folder.contains(name)));
        }
        (seen.len() == 2).then_some(())
    });
}

/// What asks again and again; every answer that is none is kept.
pub(super) struct Load {
    is_over: Arc<AtomicBool>,
    failed: Arc<Mutex<Vec<String>>>,
    threads: Vec<std::thread::JoinHandle<u32>>,
}

impl Load {
    pub(super) fn begin(ask: impl Fn() -> Result<(u16, String), String> + Send + Sync + 'static) -> Self {
        let (is_over, failed, ask) = (Arc::default(), Arc::default(), Arc::new(ask));
        let threads = (0..3).map(|_| {
            let (is_over, failed): (Arc<AtomicBool>, Arc<Mutex<Vec<String>>>) =
                (Arc::clone(&is_over), Arc::clone(&failed));
            let ask = Arc::clone(&ask);
            std::thread::spawn(move || {
                let mut asked = 0;
                // On a slow machine a load that is short asks on until it has asked for something.
                while !is_over.load(Ordering::SeqCst) || asked <= 20 {
                    match ask() {
                        Ok((200, _)) => {}
                        other => failed.lock().unwrap().push(format!("after {asked}: {other:?}")),
                    }
                    asked += 1;
                }
                asked
            })
        });
        let threads = threads.collect();
        Self { is_over, failed, threads }
    }

    /// Ends it; nothing may have failed.
    pub(super) fn end(self) {
        self.is_over.store(true, Ordering::SeqCst);
        let asked: u32 = self.threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        let failed = self.failed.lock().unwrap().clone();
        assert!(failed.is_empty() && asked > 20, "{} of {asked} failed: {failed:?}", failed.len());
    }
}

#[test]
fn gateways_carry_what_goes_between_hosts_and_nobody_else_speaks_to_an_instance() {
    let bench = Bench::begin(&[]);
    let place = &bench.place;
    let shown = place.run(&["host", "show", "web1"]);
    assert!(
        shown.contains("untrusted: its instances listen on 127.0.0.1, and gateways of others come in"),
        "{shown}"
    );
    bench.deploy();
    let instances = listen(place);
    assert_eq!(instances.len(), 2, "{instances:?}");
    for (host, address) in &instances {
        assert!(address.ip().to_string() == "127.0.0.1", "{host} {address}");
        let host = ADDRESSES.iter().find(|(name, _)| name == host).unwrap().1;
        assert!(TcpStream::connect((host, address.port())).is_err(), "it listens on loopback alone");
    }
    both_answer(|| Some(place.ask("/store")));

    // A gateway of another machine comes in by TLS.
    let edge = StandaloneGateway::follow_with(place, &["--key-life", "1s"]);
    let ask = |address: &str| get(address, "/store", 0).ok();
    both_answer(|| ask(edge.address()));
    let now = table(place);
    let at = now["between"]["hosts"]["web1"]["at"].as_str().unwrap().to_owned();
    assert!(at.starts_with("127.0.0.2:") && now["format"] == 27, "{now}");
    let endpoint = &now["services"]["store"]["splits"][0]["endpoints"][0];
    assert!(endpoint["through"].as_str().unwrap().starts_with("web"), "{endpoint}");

    // An outsider is told nothing: neither in plain, nor within TLS without a key.
    let mut plain = TcpStream::connect(&at).unwrap();
    plain.write_all(b"GET /store HTTP/1.1\r\nhost: any\r\n\r\n").unwrap();
    let mut got = Vec::new();
    let _ = plain.read_to_end(&mut got);
    assert!(got.is_empty(), "{}", String::from_utf8_lossy(&got));
    let outsider = "import socket, ssl, sys\n\
        context = ssl._create_unverified_context()\n\
        host, port = sys.argv[1].rsplit(':', 1)\n\
        try:\n    s = context.wrap_socket(socket.create_connection((host, int(port))), server_hostname='store')\n    s.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')\n    print('got', s.recv(100))\n\
        except OSError as error:\n    print('refused', error)\n";
    let output = Command::new("python3").args(["-c", outsider, &at]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("refused"), "{said}");

    // Its keys are exchanged while it is asked, and nobody notices.
    let keys = || {
        let keys = table(place)["between"]["callers"]["edge"]["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let address = edge.address().to_owned();
    let load = Load::begin(move || get(&address, "/store", 0));
    let mut seen = keys();
    eventually("its keys are others, again and again", || {
        seen.extend(keys());
        (seen.len() >= 5).then_some(())
    });
    load.end();

    // What was withdrawn speaks to nobody, whatever it has on its disk.
    place.run(&["gateway", "remove", "edge"]);
    eventually("it is not let in", || matches!(ask(edge.address()), Some((502 | 503, _))).then_some(()));
    assert!(table(place)["between"]["callers"]["edge"].is_null());
    assert_eq!(place.ask("/store").0, 200);
}

#[test]
fn a_trusted_network_is_as_before_and_hosts_change_over_without_a_gap() {
    let bench = Bench::begin(&["--network", "trusted"]);
    let place = &bench.place;
    let repository = bench.deploy();
    for (host, address) in listen(place) {
        let expected = ADDRESSES.iter().find(|(name, _)| *name == host).unwrap().1;
        assert_eq!(address.ip().to_string(), expected, "it is asked itself");
    }
    assert!(table(place)["between"].is_null());
    both_answer(|| Some(place.ask("/store")));
    let edge = StandaloneGateway::follow(place);
    let ask = |address: &str| get(address, "/store", 0).ok();
    both_answer(|| ask(edge.address()));

    let address = edge.address().to_owned();
    let load = Load::begin(move || get(&address, "/store", 0));
    // One after the other: in between there are hosts of both kinds.
    for name in ["web1", "web2"] {
        place.run(&["host", "set", name, "--network", "untrusted", "--reason", "the room has other tenants"]);
        commit(&repository, &format!("feat: for {name}"));
        let version = place.release("store");
        place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    }
    assert_eq!(led_to(place), BTreeMap::from([("web1".to_owned(), true), ("web2".to_owned(), true)]));
    both_answer(|| ask(edge.address()));
    place.run(&["host", "set", "web1", "--network", "trusted"]);
    commit(&repository, "feat: back");
    let version = place.release("store");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    both_answer(|| ask(edge.address()));
    load.end();
    assert_eq!(led_to(place), BTreeMap::from([("web1".to_owned(), false), ("web2".to_owned(), true)]));
}

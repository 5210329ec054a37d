//! Hosts with networks of their own: nothing of one is reached from another but by its address. Needs root, and is skipped without.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Load, both_answer, commit, folder_teller, listen, table};
use crate::host_check::server::SshServer;
use crate::support::place::{ENVIRONMENT, Place};
use crate::support::repository::manifest;
use crate::support::{eventually, processes};

pub(super) const HOSTS: [(&str, u8); 2] = [("web1", 11), ("web2", 12)];
/// Where their servers of SSH listen.
const SSH: u16 = 2_222;

/// Networks of two hosts, joined by a bridge that this machine is on as well; gone with the value.
struct Networks {
    id: u32,
}

/// Tests of this process have networks of their own.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Networks {
    fn begin() -> Option<Self> {
        let networks = Self { id: (std::process::id() + NEXT.fetch_add(1, Ordering::SeqCst)) % 10_000 };
        let bridge = networks.bridge();
        if !rustix::process::geteuid().is_root() || !ip(&["link", "add", &bridge, "type", "bridge"]) {
            eprintln!("skipped: networks of their own are made by root, with `ip`");
            return None;
        }
        assert!(ip(&["addr", "add", &format!("{}/24", networks.address(1)), "dev", &bridge]));
        assert!(ip(&["link", "set", &bridge, "up"]));
        for (name, number) in HOSTS {
            let (space, here, there) =
                (networks.space(name), networks.wire(number, "a"), networks.wire(number, "b"));
            let address = format!("{}/24", networks.address(number));
            assert!(ip(&["netns", "add", &space]));
            assert!(ip(&["link", "add", &here, "type", "veth", "peer", "name", &there]));
            assert!(ip(&["link", "set", &there, "netns", &space]));
            assert!(ip(&["link", "set", &here, "master", &bridge, "up"]));
            assert!(ip(&["-n", &space, "addr", "add", &address, "dev", &there]));
            assert!(
                ip(&["-n", &space, "link", "set", &there, "up"])
                    && ip(&["-n", &space, "link", "set", "lo", "up"])
            );
        }
        Some(networks)
    }

    fn bridge(&self) -> String {
        format!("lkb{}", self.id)
    }

    fn space(&self, name: &str) -> String {
        format!("lockstep-between-{}-{name}", self.id)
    }

    fn wire(&self, number: u8, end: &str) -> String {
        format!("lk{}{number}{end}", self.id)
    }

    fn address(&self, number: u8) -> String {
        format!("10.214.{}.{number}", self.id % 250)
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for (name, number) in HOSTS {
            ip(&["link", "del", &self.wire(number, "a")]);
            ip(&["netns", "del", &self.space(name)]);
        }
        ip(&["link", "del", &self.bridge()]);
    }
}

fn ip(words: &[&str]) -> bool {
    Command::new("ip").args(words).status().is_ok_and(|status| status.success())
}

pub(super) struct Bench {
    pub(super) place: Place,
    sshd: BTreeMap<&'static str, SshServer>,
    networks: Networks,
    port: u16,
}

impl Bench {
    pub(super) fn begin() -> Option<Self> {
        let networks = Networks::begin()?;
        let sshd = HOSTS.map(|(name, number)| {
            let (space, address) = (networks.space(name), networks.address(number));
            (name, SshServer::begin_at("", (&address, SSH), &["ip", "netns", "exec", &space]))
        });
        let place = Place::begin();
        let status = place.status();
        let port = status["gateway"].as_str().and_then(|url| url.rsplit(':').next()?.parse().ok());
        let port = port.unwrap_or_else(|| panic!("{status}"));
        Some(Self { place, sshd: sshd.into(), networks, port })
    }

    fn host(&self, name: &str) -> String {
        self.place.path(&format!("at-{name}"))
    }

    /// The network of a host.
    pub(super) fn space(&self, name: &str) -> String {
        self.networks.space(name)
    }

    /// The address of a host.
    pub(super) fn address(&self, name: &str) -> String {
        let (_, number) = HOSTS.iter().find(|(known, _)| *known == name).unwrap();
        self.networks.address(*number)
    }

    /// Where clients from outside would come in at a host.
    pub(super) fn outside(&self, name: &str) -> String {
        format!("{}:{}", self.address(name), self.port)
    }

    fn add(&self, name: &str) {
        self.add_with(name, &[]);
    }

    pub(super) fn add_with(&self, name: &str, more: &[&str]) {
        let (sshd, folder) = (&self.sshd[name], self.host(name));
        let (key, target) = (sshd.key().display().to_string(), sshd.target());
        let words =
            ["host", "add", name, "--ssh", &target, "--key", &key, "--folder", &folder, "--env", ENVIRONMENT];
        let said = self.place.run(&[&words[..], more].concat());
        assert!(said.contains("within TLS"), "{said}");
    }

    /// Asks the gateway of a host as its instances do.
    pub(super) fn ask_at(&self, name: &str) -> Option<(u16, String)> {
        ask_in(&self.networks.space(name), self.port).ok()
    }

    /// The main process of the gateway of a host.
    pub(super) fn gateway_at(&self, name: &str) -> Option<rustix::process::Pid> {
        let instances = fs::read_dir(format!("{}/runtime/instances", self.host(name))).ok()?.flatten();
        let gateways = instances.filter(|entry| entry.file_name().to_string_lossy().starts_with("gateway-"));
        gateways.into_iter().find_map(|entry| {
            let status = fs::read(entry.path().join("status.json")).ok()?;
            let status: serde_json::Value = serde_json::from_slice(&status).ok()?;
            rustix::process::Pid::from_raw(i32::try_from(status["process"]["pid"].as_i64()?).ok()?)
        })
    }
}

fn ask_in(space: &str, port: u16) -> Result<(u16, String), String> {
    let url = format!("http://127.0.0.1:{port}/store");
    let words = ["netns", "exec", space, "curl", "-s", "-m", "10", "-w", "\n%{http_code}", &url];
    let output = Command::new("ip").args(words).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').ok_or_else(|| format!("{output:?}"))?;
    Ok((status.parse().map_err(|_| format!("{output:?}"))?, body.to_owned()))
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.place.kill_server();
        self.sshd.values_mut().for_each(SshServer::end);
        for (name, _) in HOSTS {
            let host = self.host(name);
            processes::of_supervisors(&host).into_values().for_each(processes::kill);
            processes::of_instances(&host).into_values().for_each(processes::kill);
        }
    }
}

#[test]
fn hosts_with_networks_of_their_own_reach_each_other_by_their_gateways_also_without_a_server() {
    let Some(mut bench) = Bench::begin() else { return };
    HOSTS.iter().for_each(|(name, _)| bench.add(name));
    let place = &bench.place;
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &folder_teller());
    let first = place.first_release(&repository, "store");
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    place.run(&["scale", "store", "2", "--env", ENVIRONMENT]);
    both_answer(|| Some(place.ask("/store")));
    for (name, number) in HOSTS {
        both_answer(|| bench.ask_at(name));
        let (_, at) = listen(place).into_iter().find(|(host, _)| host == name).unwrap();
        let address = bench.networks.address(number);
        assert!(TcpStream::connect((address.as_str(), at.port())).is_err(), "only its host reaches it");
    }
    let doors = table(place)["between"]["hosts"].clone();
    assert!(doors["web1"]["at"].as_str().unwrap().starts_with(&bench.networks.address(11)), "{doors}");

    // Going forward and back, and a host that is drained, under load from another one.
    let (space, port) = (bench.networks.space("web1"), bench.port);
    let load = Load::begin(move || ask_in(&space, port));
    commit(&repository, "feat: two");
    let second = place.release("store");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    place.run(&["rollback", "store", "--to", first.split('@').nth(1).unwrap(), "--env", ENVIRONMENT]);
    place.run(&["host", "drain", "web2"]);
    place.run(&["host", "open", "web2"]);
    load.end();
    place.run(&["scale", "store", "1", "--env", ENVIRONMENT]);
    place.run(&["scale", "store", "2", "--env", ENVIRONMENT]);
    both_answer(|| bench.ask_at("web2"));

    // The server is gone, and then the gateways begin anew.
    bench.place.kill_server();
    for (name, _) in HOSTS {
        both_answer(|| bench.ask_at(name));
        let before = bench.gateway_at(name).unwrap();
        processes::kill(before);
        eventually("it is started again", || bench.gateway_at(name).filter(|it| *it != before));
        for (asking, _) in HOSTS {
            both_answer(|| bench.ask_at(asking));
        }
    }
    // It comes back, and nothing that is led to is taken away meanwhile.
    let (space, port) = (bench.networks.space("web2"), bench.port);
    let load = Load::begin(move || ask_in(&space, port));
    bench.place.start_server();
    both_answer(|| Some(bench.place.ask("/store")));
    commit(&repository, "feat: three");
    let third = bench.place.release("store");
    bench.place.run(&["deploy", &third, "--env", ENVIRONMENT]);
    load.end();

    // The line to a host is cut while it is fine: it goes on as it was.
    bench.sshd.get_mut("web2").unwrap().end();
    let is_away = || bench.place.json(&["host", "show", "web2"])["connection"] == "away";
    eventually("web2 is away", || is_away().then_some(()));
    both_answer(|| bench.ask_at("web2"));
    bench.sshd.get_mut("web2").unwrap().start();
    eventually("web2 is back", || (!is_away()).then_some(()));
    both_answer(|| bench.ask_at("web1"));
}

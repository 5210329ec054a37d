//! All protocols at once (plain TCP, streams of events and clients that show certificates too), while tables are swapped, certificates change, instances die and clients leave.
//!
//! Every answer has to be the one to its own request, and no request may fail unless an instance was killed while it was under
//! way. `LOCKSTEP_SOAK_S` says for how many seconds (`cargo xtask soak gateway`); without it, only as long as it takes to
//! see everything once.

mod clients;
mod instances;

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use lockstep_domain::entry::{ClientCertificates, Entry, EntrySettings};
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::{FULL_WEIGHT, Route, RouteRule, RouteTable, SplitRole};

use crate::secure::Authority;
use crate::support::*;
use crate::tcp::support::nobody;
use clients::{Clients, Door};
use instances::{Node, Speaks};

/// How long after an instance was killed requests may fail by it: until the table is without it, and that was taken in.
const SHADOW: Duration = Duration::from_millis(400);
/// What ends between two tables, and how many tables are between two instances that die.
const EACH_TABLE: u64 = 25;
const TABLES_A_KILL: usize = 6;
/// What says that the process has no other test.
const ALONE: &str = "LOCKSTEP_SOAK_ALONE";
/// Seconds where nothing else is asked for.
const SHORT: u64 = 4;

/// What happened, for all clients.
#[derive(Default)]
struct Record {
    kills: Mutex<Vec<Instant>>,
    served: Mutex<BTreeMap<&'static str, u64>>,
    /// Requests that failed although no instance was killed meanwhile, and why.
    unexplained: Mutex<Vec<String>>,
    excused: Mutex<u64>,
    /// How many there were, and who waits for more.
    ended: (Mutex<u64>, Condvar),
}

impl Record {
    fn note(&self, what: &'static str, began: Instant, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => *self.served.lock().unwrap().entry(what).or_default() += 1,
            Err(_) if self.is_excused(began) => *self.excused.lock().unwrap() += 1,
            Err(why) => self.unexplained.lock().unwrap().push(format!("{what}: {why}")),
        }
        *self.ended.0.lock().unwrap() += 1;
        self.ended.1.notify_one();
    }

    /// Waits until so many more have ended.
    fn wait_for(&self, more: u64) {
        let ended = self.ended.0.lock().unwrap();
        let goal = *ended + more;
        let waited = self.ended.1.wait_timeout_while(ended, PATIENCE, |ended| *ended < goal).unwrap();
        assert!(!waited.1.timed_out(), "nothing ends any more");
    }

    fn is_excused(&self, began: Instant) -> bool {
        let kills = self.kills.lock().unwrap();
        kills.iter().any(|&kill| kill + SHADOW > began)
    }
}

/// The instances of both services, two versions each.
struct World {
    web: [Node; 3],
    calls: [Node; 3],
    /// Those of a service that speaks TCP.
    lines: [Node; 3],
    entry: Entry,
    revision: u64,
}

/// An arm of a version, with these instances.
fn arm(minor: u64, role: SplitRole, weight: u32, instances: &[(String, SocketAddr)]) -> ArmSpec<'_> {
    let instances = instances.iter().map(|(name, address)| (name.as_str(), *address)).collect();
    ArmSpec { version: (1, minor, 0), weight, role, instances }
}

impl World {
    fn start(settings: EntrySettings) -> Self {
        let nodes = |speaks| std::array::from_fn(|_| Node::start(speaks));
        let entry = Entry { settings, ..Entry::default() };
        let (web, calls, lines) = (nodes(Speaks::Http1), nodes(Speaks::Http2), nodes(Speaks::Bytes));
        Self { web, calls, lines, entry, revision: 1 }
    }

    /// The next table: other weights each time, and without one instance of each service where one is to leave.
    fn table(&mut self, without: Option<usize>) -> RouteTable {
        self.revision += 1;
        let weight = u32::try_from(self.revision % 9 + 1).unwrap() * FULL_WEIGHT / 10;
        let arms = |nodes: &[Node; 3], name: &str| {
            let here = |range: std::ops::Range<usize>| {
                let stays = range.filter(|&at| Some(at) != without);
                stays.map(|at| (format!("{name}-{}", nodes[at].name), nodes[at].address)).collect::<Vec<_>>()
            };
            [here(0..1), here(1..3)]
        };
        let service = |nodes: &[Node; 3], name: &str| {
            let [new, old] = arms(nodes, name);
            let new = arm(1, SplitRole::Candidate, weight, &new);
            table(self.revision, &[new, arm(0, SplitRole::Stable, FULL_WEIGHT - weight, &old)])
        };
        let mut all = service(&self.web, "web");
        for (name, nodes, protocol) in
            [("calls", &self.calls, Protocol::H2c), ("lines", &self.lines, Protocol::Tcp)]
        {
            let mut routes = service(nodes, name).services.remove(&"shop".parse().unwrap()).unwrap();
            routes.splits.iter_mut().for_each(|split| split.protocol = protocol);
            all.services.insert(name.parse().unwrap(), routes);
        }
        all.entry = Some(self.entry.clone());
        let rule = RouteRule { host: Some("shop.test".into()), path: "/rpc".into(), ..RouteRule::default() };
        all.routes.insert(0, Route { rule, service: "calls".parse().unwrap() });
        all
    }

    /// Kills an instance of each service where it stands, and starts another in its place.
    fn kill(&mut self, at: usize, record: &Record) {
        record.kills.lock().unwrap().push(Instant::now());
        self.web[at].kill();
        self.calls[at].kill();
        self.lines[at].kill();
    }

    fn replace(&mut self, at: usize) {
        self.web[at] = Node::start(Speaks::Http1);
        self.calls[at] = Node::start(Speaks::Http2);
        self.lines[at] = Node::start(Speaks::Bytes);
    }
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Memory of this process, in MiB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1_024
}

/// Runs this test again in a process of its own: memory and files are those of all tests of a process.
fn alone() {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", "soak::nothing_fails_that_its_own_instance_did_not_fail", "--nocapture"]);
    let ended = command.env(ALONE, "1").output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}", said(&ended.stdout));
    assert!(ended.status.success(), "{}\n{}", said(&ended.stdout), said(&ended.stderr));
}

#[test]
fn nothing_fails_that_its_own_instance_did_not_fail() {
    if std::env::var_os(ALONE).is_none() {
        return alone();
    }
    let asked = std::env::var("LOCKSTEP_SOAK_S").ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs(asked.unwrap_or(SHORT));
    let running = Running::start(&[]);
    let authority = Authority::new();
    let certify = || {
        let certificate = authority.certificate(&["shop.test"]);
        running.gateway.certify(&environment(), vec![("shop".into(), certificate)]).unwrap();
    };
    certify();
    let secure = running.gateway.listen_tls(&environment(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let bytes = nobody();
    let mut world = World::start(EntrySettings {
        tcp: vec![format!("{}=lines", bytes.port()).parse().unwrap()],
        client_ca: Some(authority.pem()),
        client_certificates: ClientCertificates::Optional,
        ..EntrySettings::default()
    });
    running.gateway.apply(world.table(None)).unwrap();
    wait_until("the port is open", || TcpStream::connect(bytes).is_ok());
    let files = open_files();
    let record = std::sync::Arc::new(Record::default());
    let person = std::sync::Arc::new(authority.person("ann.people.test"));
    let door = Door { plain: running.address, secure, bytes, roots: authority.roots(), person };
    let clients = Clients::start(door, &record);
    let (began, mut round, mut early) = (Instant::now(), 0_usize, None);
    while began.elapsed() < time {
        round += 1;
        record.wait_for(EACH_TABLE);
        running.gateway.apply(world.table(None)).unwrap();
        certify();
        if round.is_multiple_of(TABLES_A_KILL) {
            let at = 1 + round / TABLES_A_KILL % 2;
            world.kill(at, &record);
            record.wait_for(1);
            running.gateway.apply(world.table(Some(at))).unwrap();
            world.replace(at);
            running.gateway.apply(world.table(None)).unwrap();
        }
        if early.is_none() && began.elapsed() > time / 4 {
            early = Some(memory());
        }
    }
    clients.stop();
    let (served, unexplained) = (record.served.lock().unwrap(), record.unexplained.lock().unwrap());
    println!(
        "{} s, {round} tables, {} kills, excused {}",
        time.as_secs(),
        record.kills.lock().unwrap().len(),
        record.excused.lock().unwrap()
    );
    println!(
        "served {served:?}; memory {} MiB after a quarter, {} MiB at the end",
        early.unwrap_or_default(),
        memory()
    );
    assert!(
        unexplained.is_empty(),
        "{} unexplained: {:?}",
        unexplained.len(),
        &unexplained[..unexplained.len().min(20)]
    );
    assert_eq!(served.len(), clients::KINDS, "everything was tried: {served:?}");
    wait_until("nothing is under way", || running.in_flight() == 0);
    // What is kept open to instances, and nothing else.
    wait_until("files are given back", || open_files() <= files + 40);
    let early = early.unwrap_or_default();
    assert!(memory() <= early + early / 3 + 16, "memory grew from {early} to {} MiB", memory());
}

//! Clients that are kept at an instance, with a program that holds its sessions in memory and is polled for them, as socket.io is.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving};
use super::support::{eventually, processes};

/// Sessions that are polled at the same time.
const SESSIONS: usize = 24;

/// Opens a session, or counts the polls of one that it knows. It says in which process it did so.
const SESSION: &str = "
        import uuid
        asked = self.path.partition('?sid=')[2]
        if self.path.startswith('/chat') and asked and asked not in sessions: status = 400
        sid = asked or uuid.uuid4().hex
        if status == 200: sessions[sid] = sessions.get(sid, 0) + 1
        said = 'VERSION %d %s %d' % (os.getpid(), sid, sessions.get(sid, 0))";

pub(super) fn write_service(repository: &Repository, version: &str, affinity: &str) {
    let manifest =
        manifest("chat", "", "").replace("path = \"/chat\"", &format!("path = \"/chat\"\n{affinity}"));
    repository.write("lockstep.toml", &manifest);
    let program = misbehaving("TEXT", "sessions = {}", &SESSION.replace("VERSION", version));
    repository.write("service.py", &program.replace("b'TEXT'", "said.encode()"));
}

/// What a poll says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Poll {
    status: u16,
    pub(super) version: String,
    process: String,
    count: u64,
}

/// A client that keeps cookies and the session it was given.
#[derive(Debug, Default)]
pub(super) struct Client {
    cookie: Option<String>,
    session: Option<String>,
    /// How often it had to begin anew because its instance did not know the session.
    pub(super) lost: usize,
    /// Requests that got no good answer.
    pub(super) failed: Vec<String>,
}

impl Client {
    fn ask(&mut self, address: &str) -> Poll {
        let sid = self.session.iter().map(|sid| format!("?sid={sid}")).collect::<String>();
        let cookie = self.cookie.iter().map(|it| format!("cookie: {it}\r\n")).collect::<String>();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET /chat/poll{sid} HTTP/1.1\r\nhost: {address}\r\n{cookie}connection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let set = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
        if let Some(set) = set.and_then(|set| set.split(';').next()) {
            self.cookie = Some(set.to_owned());
        }
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
        let mut words = body.split(' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let (version, process, sid, count) = (word(), word(), word(), word());
        if status == 200 {
            self.session = Some(sid);
        } else {
            self.session = None;
            self.lost += usize::from(status == 400);
            if status != 400 {
                self.failed.push(answer.clone());
            }
        }
        Poll { status, version, process, count: count.parse().unwrap_or(0) }
    }

    /// Polls until it has a session, as a client does that begins anew.
    pub(super) fn poll(&mut self, address: &str) -> Poll {
        let first = self.ask(address);
        if first.status == 200 { first } else { self.ask(address) }
    }
}

struct Clients(Vec<Client>);

impl Clients {
    fn begin(addresses: &[&str]) -> Self {
        let mut clients = Self((0..SESSIONS).map(|_| Client::default()).collect());
        clients.round(addresses);
        clients
    }

    /// Each polls once, at one gateway after the other; returns where each is.
    fn round(&mut self, addresses: &[&str]) -> Vec<Poll> {
        let clients = self.0.iter_mut().enumerate();
        clients.map(|(number, client)| client.poll(addresses[number % addresses.len()])).collect()
    }

    fn lost(&self) -> usize {
        self.0.iter().map(|client| client.lost).sum()
    }

    /// Polls twice at each gateway, and finds every session where it was.
    fn stay(&mut self, addresses: &[&str], what: &str) -> Vec<Poll> {
        let (before, first) = (self.lost(), self.round(addresses));
        for address in addresses.iter().chain(addresses) {
            let now = self.round(&[address]);
            for (one, other) in first.iter().zip(&now) {
                assert_eq!((&one.process, other.status), (&other.process, 200), "{what}");
                assert!(other.count > one.count, "{what}: {other:?}");
            }
        }
        assert_eq!(self.lost(), before, "{what}");
        first
    }
}

fn processes_of(polls: &[Poll]) -> BTreeSet<&str> {
    polls.iter().map(|poll| poll.process.as_str()).collect()
}

/// Waits until so many instances answer new clients at each gateway.
fn serve(addresses: &[&str], instances: usize) {
    let serves = |address: &&str| {
        let fresh: Vec<_> = (0..16).map(|_| Client::default().ask(address)).collect();
        processes_of(&fresh).len() == instances
    };
    eventually("all instances serve", || addresses.iter().all(serves).then_some(()));
}

#[test]
fn sessions_in_memory_survive_everything_but_the_end_of_their_instance() {
    let mut place = Place::begin();
    let repository = place.repository("chat");
    write_service(&repository, "one", "affinity = \"client\"");
    let first = place.first_release(&repository, "chat");
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    place.run(&["scale", "chat", "2", "--env", ENVIRONMENT]);
    let mut own = StandaloneGateway::follow(&place);
    let inside = place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let edge = own.address().to_owned();
    let both: [&str; 2] = [&inside, &edge];
    serve(&both, 2);
    let mut clients = Clients::begin(&both);
    let at = clients.stay(&both, "two gateways");
    assert_eq!(processes_of(&at).len(), 2);
    assert_eq!(clients.lost(), 0);

    // Gateways and the server are killed and started again.
    own.kill();
    own.start_again();
    assert_eq!(processes_of(&clients.stay(&[&edge], "a gateway that was killed")), processes_of(&at));
    place.kill_server();
    clients.stay(&[&edge], "without a server");
    place.start_server();
    eventually("the server serves again", || TcpStream::connect(&inside).ok());
    eventually("its gateway has a table", || (Client::default().ask(&inside).status == 200).then_some(()));
    clients.stay(&both, "a server that was killed");

    // A third instance takes nobody away, and gets new clients.
    place.run(&["scale", "chat", "3", "--env", ENVIRONMENT]);
    clients.stay(&both, "scaled up");
    serve(&both, 3);
    let mut more = Clients::begin(&both);
    let new = more.stay(&both, "more clients");
    assert_eq!(processes_of(&new).len(), 3, "{new:?}");

    // One instance less: its clients come to it until its time is over, nobody new does, and no other session is lost.
    place.run(&["environment", "set", ENVIRONMENT, "--drain", "8s"]);
    let before = more.round(&both);
    let down = place.begin_operation(&["scale", "chat", "2", "--env", ENVIRONMENT]);
    serve(&both, 2);
    let lost = more.lost();
    let fresh: Vec<_> = (0..16).map(|number| Client::default().ask(both[number % 2])).collect();
    let leaves = before.iter().find(|poll| !processes_of(&fresh).contains(poll.process.as_str())).unwrap();
    let now = more.round(&both);
    assert!(before.iter().zip(&now).all(|(one, other)| one.process == other.process), "{now:?}");
    assert_eq!(more.lost(), lost, "it leaves, and has its clients");
    let of_it = before.iter().filter(|poll| poll.process == leaves.process).count();
    eventually("its clients have moved", || (more.round(&both), more.lost() == lost + of_it).1.then_some(()));
    assert_eq!(place.settled(down)["phase"], "done");
    clients.round(&both);
    clients.stay(&both, "scaled down");
    more.stay(&both, "scaled down");
    place.run(&["scale", "chat", "3", "--env", ENVIRONMENT]);
    serve(&both, 3);
    let earlier = std::mem::replace(&mut more, Clients::begin(&both));

    // An instance that is killed takes its own sessions along and no other; it comes back, and who moved stays.
    let before = more.round(&both);
    let victim = before[0].process.clone();
    let lost = more.lost();
    let pid = rustix::process::Pid::from_raw(victim.parse().unwrap()).unwrap();
    processes::kill(pid);
    let after = more.round(&both);
    let of_victim = before.iter().filter(|poll| poll.process == victim).count();
    assert!(
        (of_victim..=of_victim * 2).contains(&(more.lost() - lost)),
        "{} of {of_victim}",
        more.lost() - lost
    );
    for (one, other) in before.iter().zip(&after) {
        assert_eq!(other.status, 200, "{:?}", more.0);
        assert!(one.process == victim || one.process == other.process);
    }
    eventually("three run again", || {
        let status = place.json(&["status", ENVIRONMENT]).to_string();
        (status.matches("\"state\":\"healthy\"").count() == 3).then_some(())
    });
    more.stay(&both, "after a kill");

    // The version is chosen first: each client moves once, and with it goes its session.
    write_service(&repository, "two", "affinity = \"client\"");
    repository.commit("feat: two");
    let second = place.release("chat");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    let lost = more.lost();
    more.round(&both);
    let moved = more.stay(&both, "deployed");
    assert_eq!((more.lost() - lost, moved.iter().all(|poll| poll.version == "two")), (SESSIONS, true));
    let lost = more.lost();
    place.run(&["rollback", "chat", "--to", "1.0.0", "--env", ENVIRONMENT]);
    more.round(&both);
    let back = more.stay(&both, "rolled back");
    assert_eq!((more.lost() - lost, back.iter().all(|poll| poll.version == "one")), (SESSIONS, true));
    let failed: Vec<_> =
        clients.0.iter().chain(&earlier.0).chain(&more.0).flat_map(|client| &client.failed).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn without_affinity_sessions_are_lost_and_with_it_an_older_gateway_is_upgraded_first() {
    let place = Place::begin();
    let repository = place.repository("chat");
    write_service(&repository, "one", "");
    let first = place.first_release(&repository, "chat");
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    place.run(&["scale", "chat", "2", "--env", ENVIRONMENT]);
    let inside = place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    serve(&[&inside], 2);
    let mut clients = Clients::begin(&[&inside]);
    (0..4).for_each(|_| drop(clients.round(&[&inside])));
    assert!(clients.lost() > SESSIONS / 2, "{}", clients.lost());
    assert!(clients.0.iter().all(|client| client.cookie.is_none()));

    write_service(&repository, "two", "affinity = \"client\"");
    repository.commit("feat: two");
    let second = place.release("chat");
    let added = place.json(&["gateway", "add", "edge", "--env", ENVIRONMENT]);
    let key = added["key"].as_str().unwrap();
    let mut older = json!({
        "gateway": "run", "environment": ENVIRONMENT, "revision": 0, "in_flight": {}, "traffic": [], "takes_format": 4
    });
    let said = eventually("the deployment is refused", || {
        report(&place, key, &older);
        let output = place.command(&["deploy", &second, "--env", ENVIRONMENT, "--dry-run"]).output().unwrap();
        (output.status.code() == Some(6)).then(|| String::from_utf8(output.stderr).unwrap())
    });
    assert!(said.contains("keeps clients") && said.contains("lockstep gateway remove edge"), "{said}");
    older["takes_format"] = json!(5);
    report(&place, key, &older);
    place.run(&["deploy", &second, "--env", ENVIRONMENT, "--dry-run"]);
}

fn report(place: &Place, key: &str, receipt: &serde_json::Value) {
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

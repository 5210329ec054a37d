//! Gateways of two hosts in one process, over real sockets, and those who want in.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lockstep_domain::between::{Between, BetweenGateway, BetweenHost, name_of_instance};
use lockstep_domain::routes::{Endpoint, RouteTable, ServiceRoutes, Split};
use lockstep_domain::{Digest, EnvironmentName, HostName, InstanceId, VersionNumber};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::identity::Identity;
use super::{PROTOCOL, Present, verify};
use crate::config::GatewayConfig;
use crate::follow::TableStore;
use crate::gateway::Gateway;

const HOST: &str = "web2";

fn environment() -> EnvironmentName {
    "production".parse().unwrap()
}

fn host() -> HostName {
    HOST.parse().unwrap()
}

fn id() -> InstanceId {
    "shop-1.0.0-c0-1".parse().unwrap()
}

/// An instance that answers requests on kept connections, and what else it is sent; it says how many connections it took.
fn instance() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let (mut got, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        let read = stream.read(&mut piece).unwrap_or(0);
        if read == 0 {
            // What only sends is told what came when it has ended.
            let _ = stream.write_all(format!("got {}", got.len()).as_bytes());
            return;
        }
        got.extend_from_slice(&piece[..read]);
        if got.ends_with(b"\r\n\r\n") {
            got.clear();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        }
    }
}

/// A gateway of one host that asks that of another one, which has the instance.
struct Two {
    asks: Gateway,
    has: Gateway,
    at: SocketAddr,
    listens: SocketAddr,
    instance: SocketAddr,
    stores: [TableStore; 2],
    revision: Mutex<u64>,
    _folder: tempfile::TempDir,
}

impl Two {
    fn begin() -> Self {
        Self::with(instance())
    }

    fn with(instance: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = ["one", "two"].map(|name| TableStore::new(folder.path().join(name)));
        let [asks, has] = ["one", "two"].map(|run| {
            let config = GatewayConfig { workers: NonZeroUsize::MIN, ..GatewayConfig::new(run) };
            Gateway::start(config).unwrap()
        });
        has.stand_on(&environment(), [host()]);
        for (gateway, store) in [&asks, &has].into_iter().zip(&stores) {
            assert!(gateway.keep_identity(&environment(), store, super::KEY_LIFE));
        }
        let free = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
        let at = has.listen_between(&environment(), free, &stores[1]).unwrap();
        let listens = asks.listen(&environment(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let two = Self { asks, has, at, listens, instance, stores, revision: Mutex::new(0), _folder: folder };
        two.apply(&two.between());
        two
    }

    fn keys(gateway: &Gateway) -> Vec<Digest> {
        gateway.receipt(&environment()).between.unwrap().keys
    }

    fn between(&self) -> Between {
        let caller = |keys| BetweenGateway { keys };
        let callers = BTreeMap::from([
            ("host-web1".to_owned(), caller(Self::keys(&self.asks))),
            ("host-web2".to_owned(), caller(Self::keys(&self.has))),
        ]);
        let has = BetweenHost {
            at: self.at,
            keys: Self::keys(&self.has),
            instances: BTreeMap::from([(id(), self.instance)]),
        };
        Between { callers, known: Vec::new(), hosts: BTreeMap::from([(host(), has)]) }
    }

    /// Gives both of them a table, first the one that is asked.
    fn apply(&self, between: &Between) {
        for gateway in [&self.has, &self.asks] {
            self.give(gateway, between);
        }
    }

    fn give(&self, gateway: &Gateway, between: &Between) {
        let mut revision = self.revision.lock().unwrap();
        *revision += 1;
        gateway.apply(table(*revision, between)).unwrap();
    }

    fn ask(&self) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.listens).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        stream
            .write_all(b"POST / HTTP/1.1\r\nhost: any\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some((text.split(' ').nth(1)?.parse().ok()?, text))
    }

    fn served(&self) -> bool {
        self.ask().is_some_and(|(status, text)| status == 200 && text.ends_with("hello"))
    }

    fn came_in(&self, result: &str) -> u64 {
        let (ends, ..) = self.has.environment(&environment()).neighbours().read();
        ends.into_iter().find(|(word, _)| *word == result).unwrap().1
    }

    /// Comes to the door as somebody with an identity.
    fn come(&self, identity: &Identity, name: &str) -> Result<Vec<u8>, String> {
        let present = Arc::new(Present::default());
        present.told.store(Arc::new(self.between()));
        self.come_with(verify::client(identity, &present, &host()).unwrap(), name)
    }

    /// Returns what comes back to a request.
    fn come_with(&self, config: ClientConfig, name: &str) -> Result<Vec<u8>, String> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(self.at).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut stream = StreamOwned::new(session, socket);
        stream.write_all(b"GET / HTTP/1.1\r\nhost: any\r\n\r\n").map_err(|error| error.to_string())?;
        let mut got = vec![0; 64];
        let read = stream.read(&mut got).map_err(|error| error.to_string())?;
        got.truncate(read);
        if got == [0] {
            got.resize(64, 0);
            let read = stream.read(&mut got).map_err(|error| error.to_string())?;
            got.truncate(read);
        }
        Ok(got)
    }

    fn name(&self) -> String {
        name_of_instance(&environment(), &id())
    }

    /// The keys of the gateway that asks.
    fn known(&self) -> Identity {
        let text = std::fs::read_to_string(self.stores[0].folder().join("production.between.key"));
        Identity::parse(&text.unwrap()).unwrap()
    }

    /// Begins to come to the door as the gateway that asks.
    fn session(&self) -> ClientConnection {
        let present = Arc::new(Present::default());
        present.told.store(Arc::new(self.between()));
        let config = verify::client(&self.known(), &present, &host()).unwrap();
        ClientConnection::new(Arc::new(config), self.name().try_into().unwrap()).unwrap()
    }

    /// Opens a stream to the instance as the gateway that asks.
    fn open(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let socket = TcpStream::connect(self.at).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut open = StreamOwned::new(self.session(), socket);
        assert_eq!(byte(&mut open).unwrap(), 0);
        open
    }

    /// Gives both of them a table in which the gateway that asks has these keys.
    fn name_asking(&self, keys: Vec<Digest>) {
        let mut between = self.between();
        between.callers.insert("host-web1".to_owned(), BetweenGateway { keys });
        self.apply(&between);
    }
}

fn byte(from: &mut impl Read) -> std::io::Result<u8> {
    let mut one = [0; 1];
    from.read_exact(&mut one).map(|()| one[0])
}

fn is_alive(open: &mut StreamOwned<ClientConnection, TcpStream>) -> bool {
    let asked = open.write_all(b"GET / HTTP/1.1\r\nhost: any\r\n\r\n").and_then(|()| open.flush());
    let mut got = [0; 43];
    asked.and_then(|()| open.read_exact(&mut got)).is_ok() && got.ends_with(b"hello")
}

/// Waits until something is so.
fn soon(mut is_so: impl FnMut() -> bool) -> bool {
    (0..1_000).any(|_| {
        let is = is_so();
        thread::sleep(Duration::from_millis(if is { 0 } else { 10 }));
        is
    })
}

fn table(revision: u64, between: &Between) -> RouteTable {
    let place = SocketAddr::from(([127, 0, 0, 2], 20_000));
    let endpoint = Endpoint { through: Some(host()), ..Endpoint::at(id(), place) };
    let routes = ServiceRoutes::of(vec![Split::of_all(VersionNumber::new(1, 0, 0), vec![endpoint])]);
    let table = RouteTable::to_one(environment(), "shop".parse().unwrap(), routes);
    RouteTable { revision, between: Some(between.clone()), ..table }
}

#[test]
fn a_request_is_carried_to_an_instance_on_loopback_of_another_host() {
    let two = Two::begin();
    assert!(two.served(), "{:?}", two.ask());
    assert!(two.served());
    assert_eq!(two.came_in("full"), 1, "a connection is kept");
    // The gateway of its host asks it itself.
    let near = two.has.listen(&environment(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let mut stream = TcpStream::connect(near).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("hello"), "{text}");
    assert_eq!(two.came_in("full"), 1);
    assert!(TcpStream::connect(("127.0.0.2", two.instance.port())).is_err(), "it listens on loopback alone");
}

#[test]
fn nobody_comes_in_without_a_key_of_the_table() {
    let two = Two::begin();
    let known = two.known();
    let got = two.come(&known, &two.name()).unwrap();
    assert!(got.ends_with(b"hello"), "{:?}", String::from_utf8_lossy(&got));

    // Another key, as a gateway of another environment has it.
    let stranger = Identity::make(0).unwrap();
    assert!(two.come(&stranger, &two.name()).is_err());
    assert!(soon(|| two.came_in("client_certificate") == 1));
    // No key at all, and a certificate of the usual kind.
    let everybody = lockstep_reach::believing_everybody();
    assert!(two.come_with(everybody, &two.name()).is_err());
    // Another protocol within the right key.
    let present = Arc::new(Present::default());
    present.told.store(Arc::new(two.between()));
    for protocols in [vec![], vec![b"h2".to_vec()]] {
        let mut config = verify::client(&known, &present, &host()).unwrap();
        config.alpn_protocols = protocols;
        assert!(!two.come_with(config, &two.name()).is_ok_and(|got| !got.is_empty()));
    }
    // Plain HTTP.
    let mut plain = TcpStream::connect(two.at).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: any\r\n\r\n").unwrap();
    let mut got = Vec::new();
    let _ = plain.read_to_end(&mut got);
    assert!(got.is_empty());
    assert!(two.served());
}

#[test]
fn only_instances_of_this_host_can_be_named_and_a_stranger_costs_no_signature() {
    let two = Two::begin();
    let known = two.known();
    let mut between = two.between();
    // Of another host of the table.
    let other: InstanceId = "shop-1.0.0-c0-2".parse().unwrap();
    let elsewhere = BetweenHost {
        instances: BTreeMap::from([(other.clone(), two.instance)]),
        ..between.hosts[&host()].clone()
    };
    between.hosts.insert("web3".parse().unwrap(), elsewhere);
    two.apply(&between);
    let of =
        |environment: &str, instance: &InstanceId| name_of_instance(&environment.parse().unwrap(), instance);
    for name in [of("production", &other), of("staging", &id()), "localhost".to_owned()] {
        let error = two.come(&known, &name).unwrap_err();
        assert!(error.contains("UnrecognisedName"), "{error}");
    }
    assert!(soon(|| (two.came_in("unknown_name"), two.came_in("client_certificate")) == (3, 0)));
}

#[test]
fn a_key_ends_with_the_table_and_what_is_carried_for_its_gateway_too() {
    let two = Two::begin();
    let mut open = two.open();

    let mut between = two.between();
    between.callers.remove("host-web1");
    two.apply(&between);
    assert!(byte(&mut open).is_err(), "what was carried for it ends");
    assert!(!two.served());
    assert!(soon(|| two.came_in("client_certificate") > 0));
    two.apply(&two.between());
    // The instance was avoided for a moment, since nobody could be reached there.
    assert!(soon(|| two.served()));
}

#[test]
fn a_gateway_that_says_it_is_that_of_a_host_and_has_another_key_is_told_nothing() {
    let two = Two::begin();
    let mut between = two.between();
    between.hosts.get_mut(&host()).unwrap().keys = vec![Digest::from_bytes([7; 32])];
    two.give(&two.asks, &between);
    let (status, text) = two.ask().unwrap();
    assert!(status == 502 || status == 503, "{text}");
    two.give(&two.asks, &two.between());
    assert!(soon(|| two.served()));
}

#[test]
fn an_instance_that_takes_no_connection_is_seen_as_such_so_that_any_request_may_be_asked_elsewhere() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let two = Two::with(gone);
    let (status, text) = two.ask().unwrap();
    assert!(status == 502 || status == 503, "{text}");
    assert!(soon(|| two.has.environment(&environment()).neighbours().read().2 > 0));
}

#[test]
fn keys_are_exchanged_under_load_without_a_failure_and_only_when_everybody_knows_them() {
    let two = Arc::new(Two::begin());
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (two, is_over) = (Arc::clone(&two), Arc::clone(&is_over));
            thread::spawn(move || {
                let mut asked = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let answer = two.ask();
                    assert!(answer.as_ref().is_some_and(|it| it.0 == 200), "after {asked}: {answer:?}");
                    asked += 1;
                }
                asked
            })
        })
        .collect();
    let life = Duration::ZERO;
    for _ in 0..20 {
        let before = (Two::keys(&two.asks)[0], Two::keys(&two.has)[0]);
        for (gateway, store) in [(&two.asks, &two.stores[0]), (&two.has, &two.stores[1])] {
            assert!(gateway.keep_identity(&environment(), store, life));
            let identity = gateway.environment(&environment()).neighbours().identity().unwrap();
            assert_eq!(identity.digests().len(), 2);
            assert!(!gateway.keep_identity(&environment(), store, life), "nobody knows the next one yet");
        }
        two.apply(&two.between());
        let known = [&two.asks, &two.has].map(|gateway| Two::keys(gateway)[1]).to_vec();
        two.apply(&Between { known: known.clone(), ..two.between() });
        for (gateway, store) in [(&two.asks, &two.stores[0]), (&two.has, &two.stores[1])] {
            assert!(gateway.keep_identity(&environment(), store, super::KEY_LIFE));
        }
        two.apply(&two.between());
        assert_eq!((Two::keys(&two.asks)[0], Two::keys(&two.has)[0]), (known[0], known[1]));
        assert_ne!(before, (known[0], known[1]));
    }
    is_over.store(true, Ordering::SeqCst);
    let asked: u32 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert!(asked > 20, "{asked}");
}

#[test]
fn keys_are_for_their_owner_alone_and_the_same_after_a_restart_at_the_same_port() {
    use std::os::unix::fs::PermissionsExt as _;
    let two = Two::begin();
    let path = two.stores[1].folder().join("production.between.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (before, at) = (Two::keys(&two.has), two.at);
    assert!(two.has.unlisten(&environment(), two.at));
    let again = Gateway::start(GatewayConfig::new("three")).unwrap();
    again.keep_identity(&environment(), &two.stores[1], super::KEY_LIFE);
    assert_eq!(Two::keys(&again), before);
    let other = SocketAddr::new(IpAddr::from([127, 0, 0, 2]), 1_024);
    let opened = || again.listen_between(&environment(), other, &two.stores[1]).unwrap();
    let is_same = soon(|| TcpListener::bind(at).is_ok());
    assert!(is_same, "the former one has let go of it");
    assert_eq!(opened(), at);
    std::fs::write(&path, "damaged").unwrap();
    let last = Gateway::start(GatewayConfig::new("four")).unwrap();
    last.keep_identity(&environment(), &two.stores[1], super::KEY_LIFE);
    assert_ne!(Two::keys(&last), before, "what is damaged is none, and others have to hear of the next");
    assert_eq!(PROTOCOL, b"lockstep-between/1");
}

#[test]
fn a_stream_that_is_ended_on_one_side_is_answered_on_the_other() {
    let two = Two::begin();
    let mut open = two.open();
    open.write_all(&vec![b'x'; 300_000]).unwrap();
    open.conn.send_close_notify();
    open.flush().unwrap();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "got 300000");
}

#[test]
fn a_stream_ends_with_its_key_and_not_with_the_name_of_its_gateway() {
    let two = Two::begin();
    let (shown, next, another) =
        (Two::keys(&two.asks)[0], Digest::from_bytes([2; 32]), Digest::from_bytes([3; 32]));
    let mut open = two.open();
    for exchanged in [vec![shown, next], vec![next, shown], vec![next]] {
        two.name_asking(exchanged);
        assert!(is_alive(&mut open), "an exchange of keys ends nothing");
    }
    two.name_asking(vec![another]);
    assert!(!is_alive(&mut open) && byte(&mut open).is_err(), "a key that was taken away carries nothing");
}

#[test]
fn whoever_asks_believes_a_gateway_no_longer_than_the_table_names_its_key() {
    let two = Two::begin();
    assert!(two.served());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let environment = two.asks.environment(&environment());
    let mut carried = runtime.block_on(environment.neighbours().reach(&host(), &two.name())).unwrap();
    let reading = thread::spawn(move || {
        use tokio::io::AsyncReadExt as _;
        runtime.block_on(carried.read_u8()).map(drop).map_err(|error| error.to_string())
    });
    let mut between = two.between();
    between.hosts.get_mut(&host()).unwrap().keys = vec![Digest::from_bytes([7; 32])];
    two.give(&two.asks, &between);
    let ended = reading.join().unwrap().unwrap_err();
    assert!(ended.contains("not believed any more"), "{ended}");
    // What was kept for the next request is not used either.
    assert!(!two.served());
}

#[test]
fn nobody_is_let_in_or_sent_away_before_the_first_table() {
    let two = Two::begin();
    let early = Gateway::start(GatewayConfig::new("early")).unwrap();
    early.stand_on(&environment(), [host()]);
    early.keep_identity(&environment(), &two.stores[1], super::KEY_LIFE);
    let free = TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap();
    let store = TableStore::new(two.stores[1].folder().join("early"));
    early.want_door(&environment(), free, &store);
    let at = early.receipt(&environment()).between.unwrap().at.unwrap();
    let two = Two { at, ..two };
    let (begun, coming) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let came = scope.spawn(|| {
            let socket = TcpStream::connect(two.at).unwrap();
            begun.send(()).unwrap();
            let mut open = StreamOwned::new(two.session(), socket);
            byte(&mut open).map_err(|error| error.to_string())
        });
        coming.recv().unwrap();
        early.apply(table(1, &two.between())).unwrap();
        assert_eq!(came.join().unwrap(), Ok(0));
    });
    let (ends, ..) = early.environment(&environment()).neighbours().read();
    assert!(ends.iter().all(|(word, count)| (*count == 0) == (*word != "full")), "{ends:?}");
}

#[test]
fn a_handshake_that_has_begun_goes_on_when_nobody_is_listened_for_any_more() {
    let two = Two::begin();
    let mut session = two.session();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let mut socket = TcpStream::connect(two.at).unwrap();
    socket.write_all(&hello[..20]).unwrap();
    let environment = two.has.environment(&environment());
    assert!(soon(|| environment.neighbours().seats.taken() == 1));
    assert!(two.has.unlisten(&super::tests::environment(), two.at));
    socket.write_all(&hello[20..]).unwrap();
    let mut open = StreamOwned::new(session, socket);
    assert_eq!(byte(&mut open).unwrap(), 0);
    assert!(is_alive(&mut open));
}

#[test]
fn one_address_with_many_silent_connections_closes_out_no_gateway() {
    let two = Two::begin();
    let environment = two.has.environment(&environment());
    let neighbours = environment.neighbours();
    let silent: Vec<_> = (0..400).map(|_| TcpStream::connect(two.at).unwrap()).collect();
    assert!(soon(|| two.came_in("too_many") > 0));
    // Those that are one too many are gone, and there is a place for somebody else.
    assert!(neighbours.seats.take("10.0.0.9".parse().unwrap(), false).is_some());
    assert!(neighbours.is_of_gateway(two.at.ip()) && !neighbours.is_of_gateway("10.0.0.9".parse().unwrap()));
    drop(silent);
    assert!(soon(|| two.served()), "{:?}", two.ask());
    // From where a key was proved there is a gateway.
    assert!(neighbours.is_of_gateway(Ipv4Addr::LOCALHOST.into()));
    two.name_asking(vec![Digest::from_bytes([3; 32])]);
    assert!(!neighbours.is_of_gateway(Ipv4Addr::LOCALHOST.into()));
}

#[test]
fn a_door_that_cannot_be_opened_is_tried_again_and_its_gateway_serves_meanwhile() {
    let gateway = Gateway::start(GatewayConfig::new("closed")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = TableStore::new(folder.path().to_owned());
    gateway.keep_identity(&environment(), &store, super::KEY_LIFE);
    // The last port of all: there is no next one.
    let last = SocketAddr::from(([127, 0, 0, 4], u16::MAX));
    let held = TcpListener::bind(last).unwrap();
    gateway.want_door(&environment(), last, &store);
    let at = || gateway.receipt(&environment()).between.unwrap().at;
    assert_eq!(at(), None);
    gateway.keep_listeners(&environment());
    assert_eq!(at(), None);
    drop(held);
    assert!(soon(|| {
        gateway.keep_listeners(&environment());
        at() == Some(last)
    }));
    gateway.environment(&environment()).neighbours().give_up_door();
    assert!(gateway.unlisten(&environment(), last));
    gateway.keep_listeners(&environment());
    assert_eq!(at(), None, "whoever was taken over from opens nothing any more");
}

#[test]
fn keys_that_somebody_put_there_are_not_shown_before_the_others_know_them() {
    let two = Two::begin();
    let path = two.stores[0].folder().join("production.between.key");
    let shown = Two::keys(&two.asks)[0];
    std::fs::write(&path, Identity::make(0).unwrap().text()).unwrap();
    assert!(two.asks.keep_identity(&environment(), &two.stores[0], Duration::ZERO));
    assert_eq!(Two::keys(&two.asks)[0], shown);
    assert_eq!(two.known().digests()[0], shown, "what is kept is what is shown");
    // What another process of this gateway has kept is taken: the table names it.
    let other = Identity::make(0).unwrap();
    two.name_asking(vec![shown, other.digests()[0]]);
    let known = Identity::parse(&std::fs::read_to_string(&path).unwrap()).unwrap().digests()[1];
    two.apply(&Between {
        known: vec![known],
        ..two.asks.serving(&environment()).unwrap().between.clone().unwrap()
    });
    std::fs::write(&path, other.text()).unwrap();
    assert!(two.asks.keep_identity(&environment(), &two.stores[0], super::KEY_LIFE));
    assert_eq!(Two::keys(&two.asks)[0], other.digests()[0]);
}

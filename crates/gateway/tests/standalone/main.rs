//! The gateway as a process that follows a server: tables come, receipts go, and the server may be gone.
//!
//! The server here is a real one on a real socket that speaks the two requests of the protocol.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod floods;
mod grpcio;
mod leaks;
mod leaving;
mod process;
mod takeover;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lockstep_domain::edition::Edition;
use lockstep_domain::routes::{
    Endpoint, FULL_WEIGHT, GatewayReceipt, ROUTE_TABLE_FORMAT, RefusedTable, Route, RouteRule, RouteTable,
    ServiceRoutes, Split, SplitRole,
};
use lockstep_domain::{ConfigRevision, EnvironmentName, VersionNumber};
use lockstep_gateway::follow::{CertificatesFrom, Server, TableStore, follow};
use lockstep_gateway::{Applied, Gateway, GatewayConfig};
use lockstep_reach::{PlainHttp, Reach, Trust};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

fn environment() -> EnvironmentName {
    "production".parse().unwrap()
}

fn follow_server(address: &str) -> Server {
    let (address, trust) = (address.parse().unwrap(), Trust::in_system());
    Server::new(Reach::new(address, trust, Some("secret"), PlainHttp::LoopbackOnly).unwrap())
}

fn table(revision: u64, address: SocketAddr) -> RouteTable {
    let endpoint = Endpoint::at("shop-1".parse().unwrap(), address);
    let split = Split {
        version: VersionNumber::new(1, 0, revision),
        config: ConfigRevision(0),
        weight: FULL_WEIGHT,
        role: SplitRole::Stable,
        endpoints: vec![endpoint],
        leaving: Vec::new(),
        named: Vec::new(),
        policy: None,
        protocol: lockstep_domain::protocol::Protocol::default(),
        approach: Default::default(),
    };
    let rule = RouteRule { host: None, path: "/".into(), ..RouteRule::default() };
    RouteTable {
        listeners: None,
        entry: None,
        visits: None,
        lanes: Vec::new(),
        switches: None,
        between: None,
        checks: Vec::new(),
        aliases: BTreeMap::new(),
        format: ROUTE_TABLE_FORMAT,
        environment: environment(),
        history: Default::default(),
        revision,
        baseline: revision,
        routes: vec![Route { rule, service: "shop".parse().unwrap() }],
        services: BTreeMap::from([(
            "shop".parse().unwrap(),
            ServiceRoutes {
                salt: String::new(),
                splits: vec![split],
                watch: None,
                version_rules: Vec::new(),
                fallback: None,
                mirror: None,
                growth: None,
                passages: Vec::new(),
            },
        )]),
        rules: None,
        callers: Vec::new(),
    }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        thread::yield_now();
    }
}

/// Reads a request: its first line, its token, its body.
fn read_request(stream: &mut BufReader<TcpStream>) -> Option<(String, bool, Vec<u8>)> {
    let (mut start, mut length, mut trusted) = (String::new(), 0, false);
    stream.read_line(&mut start).ok().filter(|&read| read > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        trusted |= line == "authorization: bearer secret";
        length = line.strip_prefix("content-length: ").map_or(length, |it| it.parse().unwrap());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((start, trusted, body))
}

/// A server with one table that long-polls, and the receipts it got.
struct FakeServer {
    address: SocketAddr,
    table: Arc<Mutex<Option<RouteTable>>>,
    receipts: Arc<Mutex<Vec<GatewayReceipt>>>,
    stopped: Arc<AtomicBool>,
}

impl FakeServer {
    fn start(listener: TcpListener) -> Self {
        let server = Self {
            address: listener.local_addr().unwrap(),
            table: Arc::default(),
            receipts: Arc::default(),
            stopped: Arc::default(),
        };
        let (table, receipts, stopped) =
            (Arc::clone(&server.table), Arc::clone(&server.receipts), Arc::clone(&server.stopped));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (table, receipts, stopped) =
                    (Arc::clone(&table), Arc::clone(&receipts), Arc::clone(&stopped));
                thread::spawn(move || serve(stream.unwrap(), &table, &receipts, &stopped));
            }
        });
        server
    }

    fn publish(&self, table: RouteTable) {
        *self.table.lock().unwrap() = Some(table);
    }

    fn has_receipt_of(&self, revision: u64) -> bool {
        self.receipts.lock().unwrap().iter().any(|receipt| receipt.revision == revision)
    }

    fn has_refusal_of(&self, revision: u64) -> bool {
        self.last_refusal().is_some_and(|refused| refused.revision == revision)
    }

    fn last_refusal(&self) -> Option<RefusedTable> {
        self.receipts.lock().unwrap().last().and_then(|receipt| receipt.refused.clone())
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        wait_until("the server is gone", || TcpStream::connect(self.address).is_err());
    }
}

fn serve(
    stream: TcpStream,
    table: &Mutex<Option<RouteTable>>,
    receipts: &Mutex<Vec<GatewayReceipt>>,
    stopped: &AtomicBool,
) {
    let mut stream = BufReader::new(stream);
    let Some((start, trusted, body)) = read_request(&mut stream) else { return };
    assert!(trusted, "the token is missing");
    let answer = if start.starts_with("POST /api/v1/environments/production/gateway-receipts ") {
        receipts.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
    } else {
        let query = start.strip_prefix("GET /api/v1/environments/production/routes?after=").unwrap();
        let mut parts = query.split('&');
        let revision = parts.next().unwrap().parse().unwrap();
        let history = parts.next().unwrap().strip_prefix("history=").unwrap().parse().unwrap();
        match wait_for(table, &Edition { history, revision }, stopped) {
            Some(text) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()),
            None => return,
        }
    };
    let _ = stream.get_mut().write_all(answer.as_bytes());
}

fn wait_for(table: &Mutex<Option<RouteTable>>, known: &Edition, stopped: &AtomicBool) -> Option<String> {
    while !stopped.load(Ordering::SeqCst) {
        if let Some(table) = table.lock().unwrap().as_ref().filter(|table| table.edition().is_news_to(known))
        {
            return Some(serde_json::to_string(table).unwrap());
        }
        thread::yield_now();
    }
    None
}

/// An instance that says hello and hangs up.
fn instance() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            if read_request(&mut stream).is_some() {
                let _ = stream
                    .get_mut()
                    .write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello");
            }
        }
    });
    address
}

/// Asks through the gateway; returns the version that answered.
fn ask(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let line = text.lines().find(|line| line.starts_with("lockstep-version: ") && text.ends_with("hello"))?;
    Some(line.trim_start_matches("lockstep-version: ").to_owned())
}

#[tokio::test(flavor = "current_thread")]
async fn a_follower_serves_new_tables_sends_receipts_and_outlives_its_server() {
    let folder = tempfile::tempdir().unwrap();
    let store = TableStore::new(folder.path().to_path_buf());
    let instance = instance();
    let server = FakeServer::start(TcpListener::bind("127.0.0.1:0").unwrap());
    let gateway = Arc::new(Gateway::start(GatewayConfig::new("run-1")).unwrap());
    let address = gateway.listen(&environment(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let client = follow_server(&format!("http://{}", server.address));
    let stop = CancellationToken::new();
    let follower = tokio::spawn(follow(
        Arc::clone(&gateway),
        environment(),
        (client, store.clone()),
        (CertificatesFrom::Server, lockstep_gateway::KEY_LIFE),
        stop.clone(),
    ));
    let steps = thread::spawn(move || {
        server.publish(table(1, instance));
        wait_until("the first table is served", || ask(address).as_deref() == Some("shop@1.0.1"));
        server.publish(table(2, instance));
        wait_until("the second table is served", || ask(address).as_deref() == Some("shop@1.0.2"));
        wait_until("its receipt has come", || server.has_receipt_of(2));
        server.stop();
        assert_eq!(ask(address).as_deref(), Some("shop@1.0.2"), "it serves without its server");
        let again = FakeServer::start(TcpListener::bind(server.address).unwrap());
        again.publish(table(3, instance));
        wait_until("the server's next table is served", || ask(address).as_deref() == Some("shop@1.0.3"));
        wait_until("its receipt has come", || again.has_receipt_of(3));
        again.stop();
    });
    while !steps.is_finished() {
        tokio::task::yield_now().await;
    }
    steps.join().unwrap();
    stop.cancel();
    follower.await.unwrap();
    assert_eq!(store.load(&environment()).unwrap().map(|table| table.revision), Some(3));
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_whose_numbers_are_lower_is_followed_and_its_predecessor_never_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = TableStore::new(folder.path().to_path_buf());
    let instance = instance();
    // As if the clock had been days ahead when the revisions were still taken from it.
    let before = table(1_900_000_000_000, instance);
    let gateway = Arc::new(Gateway::start(GatewayConfig::new("run-1")).unwrap());
    assert_eq!(gateway.apply(before.clone()).unwrap(), Applied::Now);
    let address = gateway.listen(&environment(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let server = FakeServer::start(TcpListener::bind("127.0.0.1:0").unwrap());
    let client = follow_server(&format!("http://{}", server.address));
    let stop = CancellationToken::new();
    let follower = tokio::spawn(follow(
        Arc::clone(&gateway),
        environment(),
        (client, store.clone()),
        (CertificatesFrom::Server, lockstep_gateway::KEY_LIFE),
        stop.clone(),
    ));
    let now = move |revision| RouteTable { history: "now".parse().unwrap(), ..table(revision, instance) };
    let old = before.clone();
    let steps = thread::spawn(move || {
        server.publish(now(1));
        wait_until("the server's table is served", || ask(address).as_deref() == Some("shop@1.0.1"));
        server.publish(old);
        wait_until("the refusal is told", || server.has_refusal_of(1_900_000_000_000));
        assert_eq!(ask(address).as_deref(), Some("shop@1.0.1"));
        server.publish(now(2));
        wait_until("the server's next table is served", || ask(address).as_deref() == Some("shop@1.0.2"));
        wait_until("nothing is refused any more", || server.last_refusal().is_none());
        server.stop();
    });
    while !steps.is_finished() {
        tokio::task::yield_now().await;
    }
    steps.join().unwrap();
    stop.cancel();
    follower.await.unwrap();
    assert_eq!(store.load(&environment()).unwrap().unwrap().edition(), now(2).edition());
}

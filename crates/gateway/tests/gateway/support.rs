//! Instances, clients and tables for the tests.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lockstep_domain::routes::{
    ArmTraffic, Endpoint, FULL_WEIGHT, ROUTE_TABLE_FORMAT, Route, RouteRule, RouteTable, ServiceRoutes,
    Split, SplitRole,
};
use lockstep_domain::{ConfigRevision, Digest, EnvironmentName, VersionNumber};
use lockstep_gateway::{Applied, GatewayConfig, Timeouts};
use sha2::{Digest as _, Sha256};

use crate::between::TestGateway;

/// Longer than anything takes that does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A head and a body, as either side sees them.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) start: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The trailers of a chunked body.
    pub(crate) trailers: Vec<String>,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn status(&self) -> u16 {
        self.start.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The version that answered, without its service.
    pub(crate) fn version(&self) -> &str {
        self.header("lockstep-version").and_then(|it| it.strip_prefix("shop@")).unwrap_or("none")
    }
}

/// Which body a message has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Request,
    Answer,
    AnswerToHead,
}

fn closed() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(closed());
    }
    Ok(line.strip_suffix("\r\n").ok_or_else(closed)?.to_owned())
}

pub(crate) fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Message> {
    let start = read_line(stream)?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok(Message { start, headers, body: Vec::new(), trailers: Vec::new() });
        }
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        headers.push((name.to_owned(), value.to_owned()));
    }
}

fn read_message(stream: &mut BufReader<TcpStream>, expect: Expect) -> io::Result<Message> {
    let mut message = read_head(stream)?;
    let bodiless = expect == Expect::AnswerToHead
        || (expect == Expect::Answer && (message.status() < 200 || [204, 304].contains(&message.status())));
    if bodiless {
        return Ok(message);
    }
    if message.header("transfer-encoding").is_some() {
        read_chunks(stream, &mut message)?;
    } else if let Some(length) = message.header("content-length") {
        message.body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut message.body)?;
    } else if expect == Expect::Answer {
        stream.read_to_end(&mut message.body)?;
    }
    Ok(message)
}

fn read_chunks(stream: &mut BufReader<TcpStream>, message: &mut Message) -> io::Result<()> {
    loop {
        let size = u64::from_str_radix(&read_line(stream)?, 16).map_err(|_| closed())?;
        if size == 0 {
            break;
        }
        stream.take(size).read_to_end(&mut message.body)?;
        assert_eq!(read_line(stream)?, "");
    }
    loop {
        match read_line(stream)? {
            line if line.is_empty() => return Ok(()),
            line => message.trailers.push(line),
        }
    }
}

/// What an instance does after a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Stay,
    Close,
}

type Handler = dyn Fn(&Message, &mut BufReader<TcpStream>) -> io::Result<Then> + Send + Sync;

/// An instance: a real server that does with each request what the test says.
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) requests: Arc<AtomicUsize>,
    /// Connections that it has closed.
    pub(crate) closed: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    open: Arc<Mutex<BTreeMap<usize, TcpStream>>>,
}

impl Instance {
    pub(crate) fn start(
        handler: impl Fn(&Message, &mut BufReader<TcpStream>) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), handler)
    }

    pub(crate) fn start_on(
        listener: TcpListener,
        handler: impl Fn(&Message, &mut BufReader<TcpStream>) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let instance = Self {
            address,
            connections: Arc::default(),
            requests: Arc::default(),
            closed: Arc::default(),
            stopped: Arc::default(),
            open: Arc::default(),
        };
        let (connections, requests) = (Arc::clone(&instance.connections), Arc::clone(&instance.requests));
        let closed = Arc::clone(&instance.closed);
        let (stopped, open) = (Arc::clone(&instance.stopped), Arc::clone(&instance.open));
        let handler: Arc<Handler> = Arc::new(handler);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let number = connections.fetch_add(1, Ordering::SeqCst);
                open.lock().unwrap().insert(number, stream.try_clone().unwrap());
                let (handler, requests, closed) =
                    (Arc::clone(&handler), Arc::clone(&requests), Arc::clone(&closed));
                let open = Arc::clone(&open);
                thread::spawn(move || {
                    serve(stream, &*handler, &requests);
                    open.lock().unwrap().remove(&number);
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        instance
    }

    /// An instance that answers every request with its own name.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::start(move |_, stream| answer(stream, 200, name.as_bytes()))
    }

    /// Stops listening and cuts all connections, as a killed process does.
    pub(crate) fn kill(&self) {
        if !self.stopped.swap(true, Ordering::SeqCst) {
            // Wakes the thread that accepts, which then drops the listener.
            let _ = TcpStream::connect(self.address);
            wait_until("the listener is gone", || TcpStream::connect(self.address).is_err());
            for stream in std::mem::take(&mut *self.open.lock().unwrap()).into_values() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }

    pub(crate) fn served(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}

fn serve(stream: TcpStream, handler: &Handler, requests: &AtomicUsize) {
    let closer = stream.try_clone().unwrap();
    let mut stream = BufReader::new(stream);
    while let Ok(request) = read_message(&mut stream, Expect::Request) {
        requests.fetch_add(1, Ordering::SeqCst);
        if !matches!(handler(&request, &mut stream), Ok(Then::Stay)) {
            break;
        }
    }
    let _ = closer.shutdown(Shutdown::Both);
}

/// Answers with a status and a body.
pub(crate) fn answer(stream: &mut BufReader<TcpStream>, status: u16, body: &[u8]) -> io::Result<Then> {
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n", body.len());
    raw(stream, &[head.as_bytes(), body].concat())
}

/// Answers with these bytes.
pub(crate) fn raw(stream: &mut BufReader<TcpStream>, bytes: &[u8]) -> io::Result<Then> {
    stream.get_mut().write_all(bytes)?;
    Ok(Then::Stay)
}

/// A client on one connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    pub(crate) fn read(&mut self) -> io::Result<Message> {
        read_message(&mut self.stream, Expect::Answer)
    }

    pub(crate) fn read_to_head(&mut self) -> io::Result<Message> {
        read_message(&mut self.stream, Expect::AnswerToHead)
    }

    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<Message> {
        self.send(bytes)?;
        self.read()
    }

    /// Asks for a path with a key.
    pub(crate) fn get(&mut self, path: &str, key: &str) -> io::Result<Message> {
        self.ask(format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: {key}\r\n\r\n"))
    }

    /// Reads until the gateway closes, and returns what came.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset ends it as well.
        let _ = self.stream.read_to_end(&mut rest);
        rest
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    pub(crate) fn reader(&mut self) -> &mut BufReader<TcpStream> {
        &mut self.stream
    }
}

/// One arm of the service `shop` in a table.
pub(crate) struct ArmSpec<'a> {
    pub(crate) version: (u64, u64, u64),
    pub(crate) weight: u32,
    pub(crate) role: SplitRole,
    pub(crate) instances: Vec<(&'a str, SocketAddr)>,
}

pub(crate) fn stable<'a>(minor: u64, instances: &[(&'a str, SocketAddr)]) -> ArmSpec<'a> {
    ArmSpec {
        version: (1, minor, 0),
        weight: FULL_WEIGHT,
        role: SplitRole::Stable,
        instances: instances.to_vec(),
    }
}

/// An arm on trial before a stable one.
pub(crate) fn canary<'a>(
    weight: u32,
    candidate: (&'a str, SocketAddr),
    old: (&'a str, SocketAddr),
) -> Vec<ArmSpec<'a>> {
    let role = SplitRole::Candidate;
    let on_trial = ArmSpec { version: (1, 1, 0), weight, role, instances: vec![candidate] };
    vec![on_trial, ArmSpec { weight: FULL_WEIGHT - weight, ..stable(0, &[old]) }]
}

/// The token by which the gateway recognises an instance.
pub(crate) const TOKEN: &str = "0123456789abcdef";

/// A path as an instance of the environment asks for it.
pub(crate) fn as_instance(path: &str) -> String {
    format!("/@~{TOKEN}{path}")
}

pub(crate) fn environment() -> EnvironmentName {
    "production".parse().unwrap()
}

pub(crate) fn table(revision: u64, arms: &[ArmSpec<'_>]) -> RouteTable {
    let split = |arm: &ArmSpec<'_>| Split {
        version: VersionNumber::new(arm.version.0, arm.version.1, arm.version.2),
        config: ConfigRevision(0),
        weight: arm.weight,
        role: arm.role,
        endpoints: arm
            .instances
            .iter()
            .map(|(id, address)| Endpoint::at(id.parse().unwrap(), *address))
            .collect(),
        leaving: Vec::new(),
        named: Vec::new(),
        policy: None,
        protocol: lockstep_domain::protocol::Protocol::default(),
        approach: Default::default(),
    };
    let rule = RouteRule { host: Some("shop.test".into()), path: "/".into(), ..RouteRule::default() };
    let service = ServiceRoutes {
        salt: "shop@1.1.0".into(),
        splits: arms.iter().map(split).collect(),
        watch: None,
        version_rules: Vec::new(),
        fallback: None,
        mirror: None,
        growth: None,
        passages: Vec::new(),
    };
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
        baseline: 1,
        routes: vec![Route { rule, service: "shop".parse().unwrap() }],
        services: BTreeMap::from([("shop".parse().unwrap(), service)]),
        rules: None,
        callers: vec![Digest::from_bytes(Sha256::digest(TOKEN).into())],
    }
}

/// A running gateway with one environment.
pub(crate) struct Running {
    pub(crate) gateway: TestGateway,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn start(arms: &[ArmSpec<'_>]) -> Self {
        Self::with(Timeouts::default(), arms)
    }

    pub(crate) fn with(timeouts: Timeouts, arms: &[ArmSpec<'_>]) -> Self {
        Self::of(GatewayConfig { timeouts, ..GatewayConfig::new("test") }, arms)
    }

    pub(crate) fn of(config: GatewayConfig, arms: &[ArmSpec<'_>]) -> Self {
        let config = GatewayConfig { workers: NonZeroUsize::new(2).unwrap(), ..config };
        let gateway = TestGateway::start(config);
        let address = gateway.listen(&environment(), "127.0.0.1:0".parse().unwrap()).unwrap();
        let running = Self { gateway, address };
        running.apply(1, arms);
        running
    }

    pub(crate) fn apply(&self, revision: u64, arms: &[ArmSpec<'_>]) {
        assert_eq!(self.gateway.apply(table(revision, arms)).unwrap(), Applied::Now);
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// What was counted for a version.
    pub(crate) fn traffic(&self, minor: u64) -> ArmTraffic {
        let receipt = self.gateway.receipt(&environment());
        let found = receipt.traffic.iter().find(|(arm, _)| arm.version.minor() == minor);
        found.map(|(_, traffic)| *traffic).unwrap_or_default()
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.gateway.receipt(&environment()).in_flight.values().sum()
    }
}

/// Waits until something holds; fails the test when it never does.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        thread::yield_now();
    }
}

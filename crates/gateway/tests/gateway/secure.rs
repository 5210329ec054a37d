//! Clients that come within TLS: what they are shown, what services are told of them, and what hostile ones get.

mod authorities;
mod handed_on;
mod hostile;
mod people;
mod staples;
mod streams;
mod swaps;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_domain::Timestamp;
use lockstep_domain::entry::{Entry, EntrySettings, PlainHttp, TlsVersion};
use lockstep_domain::routes::RouteTable;
use lockstep_gateway::Timeouts;
use lockstep_gateway::certificate::ServerCertificate;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion,
    version,
};

use super::support::{
    Instance, PATIENCE, Running, Then, answer, as_instance, environment, raw, read_head, stable, table,
    wait_until,
};

type Versions = &'static [&'static SupportedProtocolVersion];

static NEW: Versions = &[&version::TLS13];
static OLD: Versions = &[&version::TLS12];
static BOTH: Versions = &[&version::TLS13, &version::TLS12];

/// Signs everything here.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pair(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate.pem() + &self.0.pem(), key.serialize_pem())
    }

    pub(crate) fn certificate(&self, names: &[&str]) -> ServerCertificate {
        let (chain, key) = self.pair(names);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let wall = Timestamp(u64::try_from(since.as_millis()).unwrap());
        ServerCertificate::read(chain.as_bytes(), key.as_bytes(), None, wall).unwrap().certificate
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Makes a certificate for a client, with its key.
    pub(crate) fn person(&self, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }
}

/// How a client shakes hands.
struct Hello<'a> {
    name: &'a str,
    sni: bool,
    versions: Versions,
    /// Names of the certificate that it shows.
    shows: Option<(&'a Authority, &'a [&'a str])>,
}

impl Default for Hello<'_> {
    fn default() -> Self {
        Self { name: "shop.test", sni: true, versions: BOTH, shows: None }
    }
}

impl Hello<'_> {
    fn config(&self, authority: &Authority) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_protocol_versions(self.versions).unwrap();
        let builder = builder.with_root_certificates(authority.roots());
        let mut config = match self.shows {
            None => builder.with_no_client_auth(),
            Some((by, names)) => {
                let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
                let key = KeyPair::generate().unwrap();
                let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &by.0).unwrap();
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        };
        config.enable_sni = self.sni;
        Arc::new(config)
    }
}

/// A client within TLS.
struct Secured(StreamOwned<ClientConnection, TcpStream>);

impl Secured {
    /// Connects and shakes hands.
    fn connect(address: SocketAddr, config: Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        Self::on(TcpStream::connect(address)?, config, name)
    }

    fn on(socket: TcpStream, config: Arc<ClientConfig>, name: &str) -> io::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(config, name).unwrap();
        let mut socket = socket;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self(StreamOwned::new(session, socket)))
    }

    /// Asks, and returns the whole answer as a text.
    fn ask(&mut self, request: &str) -> io::Result<String> {
        self.0.write_all(request.as_bytes())?;
        self.0.flush()?;
        self.read()
    }

    /// Reads an answer with a length.
    fn read(&mut self) -> io::Result<String> {
        let mut bytes = Vec::new();
        let mut one = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut one)?;
            bytes.push(one[0]);
        }
        let head = String::from_utf8(bytes).unwrap();
        let length = head
            .split("content-length: ")
            .nth(1)
            .map_or(0, |it| it.split('\r').next().unwrap().parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(head + &String::from_utf8_lossy(&body))
    }

    fn get(&mut self) -> io::Result<String> {
        self.ask("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n")
    }

    /// The certificate that the gateway showed.
    fn shown(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }
}

/// An instance that answers with all that it was told.
fn mirror() -> Instance {
    Instance::start(|request, stream| {
        let told: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        answer(stream, 200, format!("{}\n{told}", request.start).as_bytes())
    })
}

/// A gateway with an address within TLS.
struct Entrance {
    running: Running,
    address: SocketAddr,
    authority: Authority,
}

impl Entrance {
    fn start(instance: &Instance) -> Self {
        Self::with(instance, Timeouts::default(), EntrySettings::default())
    }

    fn with(instance: &Instance, timeouts: Timeouts, settings: EntrySettings) -> Self {
        let running = Running::with(timeouts, &[stable(0, &[("shop-1", instance.address)])]);
        let authority = Authority::new();
        running
            .gateway
            .certify(&environment(), vec![("shop".into(), authority.certificate(&["shop.test"]))])
            .unwrap();
        let address = running.gateway.listen_tls(&environment(), "127.0.0.1:0".parse().unwrap()).unwrap();
        let entrance = Self { running, address, authority };
        entrance.apply(2, instance, settings);
        entrance
    }

    fn apply(&self, revision: u64, instance: &Instance, settings: EntrySettings) {
        let table = table(revision, &[stable(0, &[("shop-1", instance.address)])]);
        let entry = Some(Entry { settings, ..Entry::default() });
        self.running.gateway.apply(RouteTable { entry, ..table }).unwrap();
    }

    fn connect(&self) -> Secured {
        self.hello(&Hello::default()).unwrap()
    }

    fn hello(&self, hello: &Hello<'_>) -> io::Result<Secured> {
        Secured::connect(self.address, hello.config(&self.authority), hello.name)
    }

    fn count(&self, result: &str) -> u64 {
        let text = self.running.gateway.admin().metrics();
        let line = format!(
            "lockstep_gateway_handshakes_total{{deployment_environment_name=\"production\",result=\"{result}\"}} "
        );
        text.lines().find_map(|it| it.strip_prefix(&line)).map_or(0, |it| it.parse().unwrap())
    }
}

#[test]
fn requests_within_tls_are_answered_and_services_are_told_so() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    for versions in [NEW, OLD] {
        let mut client = entrance.hello(&Hello { versions, ..Hello::default() }).unwrap();
        let request = "GET / HTTP/1.1\r\nhost: shop.test\r\nforwarded: for=1.1.1.1\r\nx-forwarded-proto: http\r\nx-forwarded-client-cert: Hash=0\r\n\r\n";
        for _ in 0..3 {
            let told = client.ask(request).unwrap();
            assert!(told.contains("lockstep-version: shop@1.0.0"), "{told}");
            assert!(
                told.contains("x-forwarded-proto: https\n") && !told.contains("x-forwarded-proto: http\n"),
                "{told}"
            );
            assert!(told.contains(&format!("x-forwarded-port: {}\n", entrance.address.port())), "{told}");
            assert!(told.contains("forwarded: for=127.0.0.1;host=\"shop.test\";proto=https\n"), "{told}");
            assert!(!told.contains("x-forwarded-client-cert"), "{told}");
        }
    }
    wait_until("both are counted", || entrance.count("full") == 2);
    let metrics = entrance.running.gateway.admin().metrics();
    assert!(metrics.contains(
        "lockstep_gateway_certificate_not_after_seconds{deployment_environment_name=\"production\",certificate=\"shop\"} "
    ));
}

#[test]
fn a_gateway_without_a_certificate_where_https_listens_is_not_ready() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    assert_eq!(entrance.running.gateway.admin().not_ready(), [""; 0]);
    entrance.running.gateway.certify(&environment(), Vec::new()).unwrap();
    let why = entrance.running.gateway.admin().not_ready();
    assert_eq!(why, ["https of `production` has no certificate that can be shown"]);
}

#[test]
fn large_bodies_pass_both_ways_whole_also_to_slow_clients() {
    const LARGE: usize = 3 * 1_024 * 1_024;
    let echo = Instance::start(|request, stream| answer(stream, 200, &request.body));
    let entrance = Entrance::start(&echo);
    let mut client = entrance.connect();
    let body: Vec<u8> = (0..LARGE).map(|at| b'a' + (at % 23) as u8).collect();
    let head = format!("POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {LARGE}\r\n\r\n");
    for _ in 0..2 {
        client.0.write_all(head.as_bytes()).unwrap();
        client.0.write_all(&body).unwrap();
        // Nothing is read for a while, so all buffers on the way are full.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let answer = client.read().unwrap();
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1.as_bytes(), &body[..]);
    }
}

#[test]
fn an_answer_that_only_its_end_ends_is_told_from_one_that_was_cut() {
    let instance = Instance::start(|request, stream| {
        let whole = request.target() == "/whole";
        raw(stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
        if whole { raw(stream, b"0\r\n\r\n") } else { Ok(Then::Close) }
    });
    let entrance = Entrance::start(&instance);
    let read = |path: &str| {
        let mut client = entrance.connect();
        client.0.write_all(format!("GET {path} HTTP/1.0\r\nhost: shop.test\r\n\r\n").as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // A client of rustls takes an end without `close_notify` for an error.
        client.0.read_to_end(&mut bytes).map(|_| String::from_utf8(bytes).unwrap())
    };
    assert!(read("/whole").unwrap().ends_with("\r\n\r\nhello"));
    assert!(read("/cut").is_err());
}

#[test]
fn an_idle_connection_ends_with_a_farewell() {
    let mirror = mirror();
    let timeouts = Timeouts { client_idle: std::time::Duration::from_millis(50), ..Timeouts::default() };
    let entrance = Entrance::with(&mirror, timeouts, EntrySettings::default());
    let mut client = entrance.connect();
    client.get().unwrap();
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0, "the end was said");
}

#[test]
fn a_client_is_shown_the_certificate_of_the_host_that_it_names() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let (shop, wild) =
        (entrance.authority.certificate(&["shop.test"]), entrance.authority.certificate(&["*.shop.test"]));
    let all = vec![("a".to_owned(), shop), ("b".to_owned(), wild)];
    entrance.running.gateway.certify(&environment(), all).unwrap();
    let shown = |name: &str| entrance.hello(&Hello { name, ..Hello::default() }).map(|client| client.shown());
    let (shop, a) = (shown("shop.test").unwrap(), shown("a.shop.test").unwrap());
    assert_ne!(shop, a);
    assert_eq!(a, shown("b.shop.test").unwrap());
    let refused = shown("elsewhere.test").unwrap_err().to_string();
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    wait_until("it is counted", || entrance.count("unknown_name") == 1);
    let silent = entrance.hello(&Hello { sni: false, ..Hello::default() }).unwrap();
    assert_eq!(silent.shown(), shop, "the first is for those that name no host");
}

#[test]
fn a_client_that_offers_the_oldest_http_alone_is_served() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let mut config = (*Hello::default().config(&entrance.authority)).clone();
    config.alpn_protocols = vec![b"http/1.0".to_vec()];
    let mut client = Secured::connect(entrance.address, Arc::new(config), "shop.test").unwrap();
    assert!(client.ask("GET / HTTP/1.0\r\nhost: shop.test\r\n\r\n").unwrap().contains(" 200"));
}

#[test]
fn a_table_whose_settings_contradict_each_other_is_refused_whole() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let settings = EntrySettings { http: PlainHttp::Redirect, ..EntrySettings::default() };
    let table = table(3, &[stable(0, &[("shop-1", mirror.address)])]);
    let entry = Some(Entry { settings, ..Entry::default() });
    let refused = entrance.running.gateway.apply(RouteTable { entry, ..table }).unwrap_err().to_string();
    assert!(refused.contains("--https-port"), "{refused}");
    assert_eq!(entrance.running.gateway.receipt(&environment()).revision, 2);
}

#[test]
fn an_old_version_is_spoken_unless_it_is_ruled_out() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let old = Hello { versions: OLD, ..Hello::default() };
    entrance.hello(&old).unwrap().get().unwrap();
    entrance.apply(3, &mirror, EntrySettings { tls_min: TlsVersion::V1_3, ..EntrySettings::default() });
    let refused = entrance.hello(&old).err().unwrap().to_string();
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    entrance.connect().get().unwrap();
}

#[test]
fn a_session_is_resumed_by_every_worker_and_over_a_change_of_certificates() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    for versions in [NEW, OLD] {
        let hello = Hello { versions, ..Hello::default() };
        let config = hello.config(&entrance.authority);
        for round in 0..12 {
            let mut client = Secured::connect(entrance.address, Arc::clone(&config), "shop.test").unwrap();
            client.get().unwrap();
            let kind = client.0.conn.handshake_kind();
            let expected = if round == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
            assert_eq!(kind, Some(expected), "{round}");
            if round == 6 {
                let next = entrance.authority.certificate(&["shop.test"]);
                entrance.running.gateway.certify(&environment(), vec![("shop".into(), next)]).unwrap();
            }
        }
    }
    wait_until("all are counted", || (entrance.count("full"), entrance.count("resumed")) == (2, 22));
}

#[test]
fn plain_http_is_sent_to_https_but_not_instances_proxies_that_say_so_or_who_checks_a_name() {
    let mirror = mirror();
    let settings =
        EntrySettings { https_port: Some(8_443), http: PlainHttp::Redirect, ..EntrySettings::default() };
    let entrance = Entrance::with(&mirror, Timeouts::default(), settings.clone());
    let ask = |path: &str, more: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: Shop.Test:8080\r\n{more}\r\n");
        let answer = entrance.running.client().ask(request).unwrap();
        (answer.status(), answer.header("location").map(str::to_owned))
    };
    let to = |path: &str| (308, Some(format!("https://shop.test:8443{path}")));
    assert_eq!(ask("/a%2fb/../x?y=1", ""), to("/x?y=1"));
    assert_eq!(ask("/", "x-forwarded-proto: https\r\n"), to("/"), "a stranger is not believed");
    assert_eq!(ask("/.well-known/acme-challenge/abc", "").0, 200);
    assert_eq!(ask(&as_instance("/"), "").0, 200);
    let mut secure = entrance.connect();
    assert!(secure.get().unwrap().starts_with("HTTP/1.1 200"));
    let trusted = vec!["127.0.0.0/8".parse().unwrap()];
    let rules =
        lockstep_domain::gateway_rules::GatewayRules { trusted_networks: trusted, ..Default::default() };
    let entry = Some(Entry { settings, ..Entry::default() });
    let table = table(3, &[stable(0, &[("shop-1", mirror.address)])]);
    entrance.running.gateway.apply(RouteTable { entry, rules: Some(rules), ..table }).unwrap();
    assert_eq!(ask("/", "x-forwarded-proto: https\r\n").0, 200);
    assert_eq!(ask("/", "x-forwarded-proto: http\r\n"), to("/"));
    for both in ["http\r\nx-forwarded-proto: https", "https\r\nx-forwarded-proto: http"] {
        assert_eq!(ask("/", &format!("x-forwarded-proto: {both}\r\n")), to("/"), "it contradicts itself");
    }
    assert_eq!(ask("/", ""), to("/"));
}

#[test]
fn a_websocket_within_tls_passes_bytes_both_ways() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let instance_at = listener.local_addr().unwrap();
    let instance = std::thread::spawn(move || {
        let mut stream = io::BufReader::new(listener.accept().unwrap().0);
        read_head(&mut stream).unwrap();
        let switch =
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nhello";
        raw(&mut stream, switch).unwrap();
        let mut words = vec![0; 100_000];
        stream.read_exact(&mut words).unwrap();
        raw(&mut stream, &words).unwrap();
    });
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let table = table(3, &[stable(0, &[("ws", instance_at)])]);
    entrance.running.gateway.apply(table).unwrap();
    let mut client = entrance.connect();
    let request =
        "GET /chat HTTP/1.1\r\nhost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let head = client.ask(request).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let mut hello = [0; 5];
    client.0.read_exact(&mut hello).unwrap();
    let words: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    client.0.write_all(&words).unwrap();
    let mut back = Vec::new();
    client.0.read_to_end(&mut back).unwrap();
    assert_eq!((&hello[..], back), (&b"hello"[..], words), "and its end is said");
    instance.join().unwrap();
}

#[test]
fn a_side_of_a_websocket_that_is_cut_off_is_no_orderly_end_for_the_other() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let instance_at = listener.local_addr().unwrap();
    let instance = std::thread::spawn(move || {
        let switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
        let accept = || {
            let mut stream = io::BufReader::new(listener.accept().unwrap().0);
            read_head(&mut stream).unwrap();
            raw(&mut stream, switch).unwrap();
            stream
        };
        let mut first = accept();
        let cut = first.read(&mut [0]).map_err(|error| error.kind());
        let second = accept();
        socket2::SockRef::from(second.get_ref()).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(second);
        cut
    });
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    let table = table(3, &[stable(0, &[("ws", instance_at)])]);
    entrance.running.gateway.apply(table).unwrap();
    let switched = || {
        let mut client = entrance.connect();
        let request =
            "GET /chat HTTP/1.1\r\nhost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert!(client.ask(request).unwrap().starts_with("HTTP/1.1 101 "));
        client
    };
    // Its socket ends without the farewell of TLS.
    drop(switched());
    let mut client = switched();
    assert!(client.0.read(&mut [0]).is_err(), "an end that was said would be taken for one");
    assert_eq!(instance.join().unwrap(), Err(io::ErrorKind::ConnectionReset));
}

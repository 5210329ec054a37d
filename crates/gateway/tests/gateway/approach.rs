//! Instances that speak TLS, want to see a certificate, or want to be told for whom a connection is opened: nginx, and programs of our own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use lockstep_domain::approach::{Approach, Believes, InstanceTls, ProxyVersion};
use lockstep_domain::entry::{Entry, EntrySettings};
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::{FORMAT_WITH_APPROACH, RouteTable};
use lockstep_gateway::certificate::ServerCertificate;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::{Client, PATIENCE, Running, environment, stable, table, wait_until};

/// An authority, and what it signs.
pub(crate) struct Authority(Issuer<'static, KeyPair>, pub(crate) String);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Who has the name of its signer looks as if it had signed itself.
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), pem)
    }

    /// Returns a certificate and its key, both as PEM.
    pub(crate) fn signs(&self, name: &str) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key)
    }
}

fn tls(name: Option<&str>, ca: Option<&str>) -> InstanceTls {
    let believes = if name.is_some() { Believes::Checked } else { Believes::Everybody };
    let (server_name, ca_pem) = (name.map(str::to_owned), ca.map(str::to_owned));
    InstanceTls { server_name, ca_pem, certificate: None, believes }
}

fn within(tls: InstanceTls) -> Approach {
    Approach { tls: Some(Box::new(tls)), proxy_protocol: None }
}

/// A table of one instance that is begun with so.
fn to(instance: SocketAddr, revision: u64, protocol: Protocol, approach: &Approach) -> RouteTable {
    let mut table = table(revision, &[stable(0, &[("shop-1", instance)])]);
    for split in table.services.values_mut().flat_map(|routes| &mut routes.splits) {
        (split.protocol, split.approach) = (protocol, approach.clone());
    }
    let table = table.in_its_format();
    assert_eq!(table.format, FORMAT_WITH_APPROACH);
    table
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A real nginx.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Nginx {
    fn start(folder: &Path, at: SocketAddr, server: &str) -> Self {
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|it| format!("{it}_temp_path {}/{it};\n", folder.display()))
            .collect();
        let conf = format!(
            "daemon off; master_process off; pid {0}/pid; error_log {0}/error info;\nevents {{}}\nhttp {{ access_log off;\n{paths} server {{ {server} }} }}\n",
            folder.display()
        );
        fs::write(folder.join("conf"), conf).unwrap();
        let program =
            ["/usr/sbin/nginx", "/usr/local/sbin/nginx"].into_iter().find(|it| Path::new(it).is_file());
        let mut command = Command::new(program.unwrap_or("nginx"));
        let nginx = Self(command.arg("-c").arg(folder.join("conf")).stderr(Stdio::null()).spawn().unwrap());
        wait_until("nginx listens", || TcpStream::connect(at).is_ok());
        nginx
    }
}

fn ask(running: &Running, path: &str) -> String {
    Client::connect(running.address).get(path, "ann").unwrap().text()
}

#[test]
fn nginx_is_asked_within_tls_by_http1_and_http2_sees_a_certificate_and_for_whom_a_connection_is() {
    let (folder, at) = (tempfile::tempdir().unwrap(), free());
    let (authority, clients) = (Authority::new(), Authority::new());
    let (chain, key) = authority.signs("shop.internal");
    for (name, text) in [("chain", &chain), ("key", &key.serialize_pem()), ("ca", &clients.1)] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let server = format!(
        "listen {at} ssl http2 proxy_protocol; ssl_certificate {0}/chain; ssl_certificate_key {0}/key; ssl_client_certificate {0}/ca; ssl_verify_client on;\n\
         default_type text/plain; return 200 \"$proxy_protocol_addr $ssl_client_verify $server_protocol $ssl_server_name $ssl_session_reused\";",
        folder.path().display()
    );
    let _nginx = Nginx::start(folder.path(), at, &server);
    let running = Running::start(&[stable(0, &[("shop-1", at)])]);
    let shown = clients.signs("gateway.internal");
    let wall = lockstep_domain::Timestamp(jiff::Timestamp::now().as_millisecond().unsigned_abs());
    let shown =
        ServerCertificate::read(shown.0.as_bytes(), shown.1.serialize_pem().as_bytes(), None, wall).unwrap();
    let named = InstanceTls {
        certificate: Some("gateway".parse().unwrap()),
        ..tls(Some("shop.internal"), Some(&authority.1))
    };
    let approach = |tls, version| Approach { tls: Some(Box::new(tls)), proxy_protocol: Some(version) };
    running.gateway.apply(to(at, 2, Protocol::Http1, &approach(named.clone(), ProxyVersion::V1))).unwrap();
    assert!(ask(&running, "/").contains("which the environment has not"));
    running.gateway.certify(&environment(), vec![("gateway".into(), shown.certificate)]).unwrap();
    let mut client = Client::connect(running.address);
    let said: Vec<String> = (0..3).map(|_| client.get("/", "ann").unwrap().text()).collect();
    let alike =
        |said: &str, protocol: &str| said.starts_with(&format!("127.0.0.1 SUCCESS {protocol} shop.internal"));
    assert!(said.iter().all(|it| alike(it, "HTTP/1.1")), "{said:?}");
    assert!(said[2].ends_with(" r"), "a session is resumed: {said:?}");
    running.gateway.apply(to(at, 3, Protocol::H2c, &approach(named, ProxyVersion::V2))).unwrap();
    assert!(alike(&ask(&running, "/"), "HTTP/2.0"));
    let without = tls(Some("shop.internal"), Some(&authority.1));
    running.gateway.apply(to(at, 4, Protocol::Http1, &approach(without, ProxyVersion::V2))).unwrap();
    assert!(!ask(&running, "/").contains("SUCCESS"), "who shows none is not served");
}

/// Serves each connection within TLS by what the test says.
fn secure(
    certificate: &(String, KeyPair),
    serve: impl Fn(StreamOwned<ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> SocketAddr {
    secure_on(TcpListener::bind("127.0.0.1:0").unwrap(), certificate, serve)
}

pub(crate) fn secure_on(
    listener: TcpListener,
    certificate: &(String, KeyPair),
    serve: impl Fn(StreamOwned<ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> SocketAddr {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};
    let chain = vec![CertificateDer::from_pem_slice(certificate.0.as_bytes()).unwrap()];
    let key = PrivateKeyDer::try_from(certificate.1.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    let (address, serve) = (listener.local_addr().unwrap(), Arc::new(serve));
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let (session, serve) = (ServerConnection::new(Arc::clone(&config)).unwrap(), Arc::clone(&serve));
            thread::spawn(move || serve(StreamOwned::new(session, socket)));
        }
    });
    address
}

/// Answers each request with how many came on its connection.
pub(crate) fn counting(mut stream: StreamOwned<ServerConnection, TcpStream>) {
    let (mut read, mut requests) = (Vec::new(), 0);
    let mut piece = [0; 4_096];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        read.extend_from_slice(&piece[..count]);
        if read.ends_with(b"\r\n\r\n") {
            requests += 1;
            read.clear();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{requests}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    }
}

#[test]
fn a_connection_within_tls_is_kept_for_the_next_request() {
    let authority = Authority::new();
    let at = secure(&authority.signs("shop.internal"), counting);
    let running = Running::start(&[stable(0, &[("shop-1", at)])]);
    running
        .gateway
        .apply(to(at, 2, Protocol::Http1, &within(tls(Some("shop.internal"), Some(&authority.1)))))
        .unwrap();
    let mut client = Client::connect(running.address);
    let said: Vec<String> = (0..4).map(|_| client.get("/", "ann").unwrap().text()).collect();
    assert_eq!(said, ["1", "2", "3", "4"]);
}

#[test]
fn who_is_not_who_it_should_be_gets_no_request_and_the_reason_is_said() {
    let (authority, other) = (Authority::new(), Authority::new());
    let at = secure(&authority.signs("shop.internal"), counting);
    let plain = crate::support::Instance::named("plain");
    let running = Running::start(&[stable(0, &[("shop-1", at)])]);
    for (revision, instance, begin, reason) in [
        (
            2,
            at,
            tls(Some("other.internal"), Some(&authority.1)),
            "its certificate is for `shop.internal` only",
        ),
        (3, at, tls(Some("shop.internal"), Some(&other.1)), "its certificate"),
        (
            4,
            plain.address,
            tls(Some("shop.internal"), Some(&authority.1)),
            "closed the connection in the handshake of TLS",
        ),
        (5, at, tls(Some("shop.internal"), Some("-----BEGIN CERTIFICATE-----\nAA")), "its authorities"),
    ] {
        running.gateway.apply(to(instance, revision, Protocol::Http1, &within(begin))).unwrap();
        let answer = Client::connect(running.address).get("/", "ann").unwrap();
        assert_eq!(answer.status(), 503, "{}", answer.text());
        assert!(answer.text().contains(reason), "{}", answer.text());
    }
    running.gateway.apply(to(at, 6, Protocol::Http1, &within(tls(None, None)))).unwrap();
    assert_eq!(ask(&running, "/"), "1", "everybody is believed where that was said");
    assert!(running.gateway.admin().metrics().contains("cause=\"unreachable\"} 4"));
}

#[test]
fn bytes_pass_within_tls_and_the_end_of_one_direction_leaves_the_other_open() {
    let authority = Authority::new();
    let sums = |mut stream: StreamOwned<ServerConnection, TcpStream>| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(format!("{} bytes", all.len()).as_bytes()).unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    };
    let at = secure(&authority.signs("shop.internal"), sums);
    let running = Running::start(&[stable(0, &[("shop-1", at)])]);
    let port = open_port(&running, at, &within(tls(Some("shop.internal"), Some(&authority.1))));
    let mut client = TcpStream::connect(port).unwrap();
    client.write_all(&vec![7; 700_000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "700000 bytes");
}

/// Leads a port to an instance that speaks TCP.
fn open_port(running: &Running, at: SocketAddr, approach: &Approach) -> SocketAddr {
    for revision in 100.. {
        let port = free();
        let tcp = vec![format!("{}=shop", port.port()).parse().unwrap()];
        let entry = Entry { settings: EntrySettings { tcp, ..EntrySettings::default() }, ..Entry::default() };
        let table = RouteTable { entry: Some(entry), ..to(at, revision, Protocol::Tcp, approach) };
        running.gateway.apply(table).unwrap();
        if running.gateway.closed_ports(&environment()).is_empty() {
            return port;
        }
    }
    unreachable!()
}

/// Says back the first line that came, for whatever follows.
fn first_line() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let (mut line, mut byte) = (Vec::new(), [0]);
                while !line.ends_with(b"\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
                    line.push(byte[0]);
                }
                let text = String::from_utf8_lossy(&line).into_owned();
                let mut rest = [0; 4_096];
                while stream.read(&mut rest).is_ok_and(|read| read > 0) {
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn an_instance_that_wants_to_know_it_is_told_of_each_client_on_a_connection_of_its_own() {
    let at = first_line();
    let running = Running::start(&[stable(0, &[("shop-1", at)])]);
    let approach = Approach { proxy_protocol: Some(ProxyVersion::V1), tls: None };
    running.gateway.apply(to(at, 2, Protocol::Http1, &approach)).unwrap();
    let mut clients = [Client::connect(running.address), Client::connect(running.address)];
    for _ in 0..2 {
        for client in &mut clients {
            let own = client.socket().local_addr().unwrap();
            let expected =
                format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), running.address.port());
            assert_eq!(client.get("/", "ann").unwrap().text(), expected);
        }
    }
    let port = open_port(&running, at, &approach);
    let mut client = TcpStream::connect(port).unwrap();
    client.write_all(b"x").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let own = client.local_addr().unwrap();
    assert!(
        answer.contains(&format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), port.port())),
        "{answer}"
    );
}

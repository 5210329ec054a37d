//! Clients of every kind, each asking one thing after the other until it is told to stop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use http::Request;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::Record;
use super::instances::pattern;
use crate::streams::support::{runtime, send, whole};
use crate::support::PATIENCE;

/// Kinds of clients that are counted.
pub(super) const KINDS: usize = 13;
/// Clients of each kind.
const EACH: usize = 3;
/// Lengths of bodies, one after the other.
const LENGTHS: [usize; 6] = [0, 1, 700, 17_000, 70_000, 300_000];

type Outcome<T = ()> = Result<T, String>;

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// All clients, in a thread of their own.
pub(super) struct Clients {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

/// Where clients come, what they trust, and what some of them show.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) plain: SocketAddr,
    pub(super) secure: SocketAddr,
    /// Where bytes go to a service that speaks TCP.
    pub(super) bytes: SocketAddr,
    pub(super) roots: Arc<RootCertStore>,
    pub(super) person: Arc<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The next request's id and length.
fn next() -> (u64, usize) {
    static IDS: AtomicU64 = AtomicU64::new(1);
    let id = IDS.fetch_add(1, Ordering::Relaxed);
    (id, LENGTHS[usize::try_from(id).unwrap() % LENGTHS.len()])
}

impl Clients {
    pub(super) fn start(door: Door, record: &Arc<Record>) -> Self {
        let (stop, record) = (CancellationToken::new(), Arc::clone(record));
        let stopped = stop.clone();
        let thread = thread::spawn(move || runtime().block_on(all(door, record, stopped)));
        Self { stop, thread }
    }

    pub(super) fn stop(self) {
        self.stop.cancel();
        self.thread.join().unwrap();
    }
}

async fn all(door: Door, record: Arc<Record>, stop: CancellationToken) {
    let mut clients = JoinSet::new();
    macro_rules! run {
        ($($name:literal => $client:expr),* $(,)?) => {
            for _ in 0..EACH {
                $(clients.spawn(again($name, $client, door.clone(), Arc::clone(&record), stop.clone()));)*
            }
        };
    }
    run!(
        "http/1.1" => |door: Door| async move { many_of_http_1(TcpStream::connect(door.plain).await.map_err(text)?, "GET").await },
        "http/1.1 with bodies" => |door: Door| async move { many_of_http_1(TcpStream::connect(door.plain).await.map_err(text)?, "POST").await },
        "http/1.1 within TLS" => |door: Door| async move { many_of_http_1(door.within_tls(b"http/1.1", Shows::Nothing).await?, "POST").await },
        "http/2" => |door: Door| async move { many_of_http_2(TcpStream::connect(door.plain).await.map_err(text)?).await },
        "grpc" => |door: Door| async move { many_calls(TcpStream::connect(door.plain).await.map_err(text)?).await },
        "grpc within TLS" => |door: Door| async move { many_calls(door.within_tls(b"h2", Shows::Nothing).await?).await },
        "grpc-web" => |door: Door| async move { calls_of_the_web(TcpStream::connect(door.plain).await.map_err(text)?).await },
        "websocket" => |door: Door| async move { websocket(TcpStream::connect(door.plain).await.map_err(text)?).await },
        "websocket of http/2" => |door: Door| async move { websocket_of_http_2(door.within_tls(b"h2", Shows::Nothing).await?).await },
        "a certificate shown" => |door: Door| async move { many_of_http_1(door.within_tls(b"http/1.1", Shows::Certificate).await?, "GET").await },
        "events" => |door: Door| async move { events(TcpStream::connect(door.plain).await.map_err(text)?).await },
        "tcp" => |door: Door| async move { bytes(TcpStream::connect(door.bytes).await.map_err(text)?).await },
        "left" => |door: Door| async move { leave(TcpStream::connect(door.plain).await.map_err(text)?).await },
    );
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

/// Does something again and again.
async fn again<F: Future<Output = Outcome>>(
    name: &'static str,
    client: impl Fn(Door) -> F,
    door: Door,
    record: Arc<Record>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let began = Instant::now();
        let outcome = timeout(PATIENCE, client(door.clone())).await;
        record.note(name, began, outcome.unwrap_or_else(|_| Err("it took too long".to_owned())));
    }
}

/// What a client shows of itself.
enum Shows {
    Nothing,
    Certificate,
}

impl Door {
    async fn within_tls(&self, speaks: &[u8], shows: Shows) -> Outcome<impl Wire + use<>> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(text)?;
        let builder = builder.with_root_certificates(Arc::clone(&self.roots));
        let mut config = match shows {
            Shows::Nothing => builder.with_no_client_auth(),
            Shows::Certificate => {
                let (certificate, key) = &*self.person;
                builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key()).map_err(text)?
            }
        };
        config.alpn_protocols = vec![speaks.to_vec()];
        let socket = TcpStream::connect(self.secure).await.map_err(text)?;
        let name = ServerName::try_from("shop.test").map_err(text)?;
        TlsConnector::from(Arc::new(config)).connect(name, socket).await.map_err(text)
    }
}

/// What was answered in HTTP/1.1.
struct Answer {
    head: String,
    body: Vec<u8>,
}

/// Sends a request of HTTP/1.1 and reads its answer.
async fn ask(wire: &mut BufStream<impl Wire>, request: &[u8]) -> Outcome<Answer> {
    wire.write_all(request).await.map_err(text)?;
    wire.flush().await.map_err(text)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(wire.read_u8().await.map_err(text)?);
    }
    let head = String::from_utf8(head).map_err(text)?.to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let mut body = Vec::new();
    if let Some(length) = field("content-length: ") {
        body.resize(length.parse().map_err(text)?, 0);
        wire.read_exact(&mut body).await.map_err(text)?;
    } else if field("transfer-encoding: chunked").is_some() {
        read_chunks(wire, &mut body).await?;
    }
    Ok(Answer { head, body })
}

async fn read_chunks(wire: &mut BufStream<impl Wire>, body: &mut Vec<u8>) -> Outcome {
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(wire.read_u8().await.map_err(text)?);
        }
        let size = String::from_utf8_lossy(&line).trim().to_owned();
        let size = usize::from_str_radix(&size, 16).map_err(text)?;
        let start = body.len();
        body.resize(start + size, 0);
        wire.read_exact(&mut body[start..]).await.map_err(text)?;
        wire.read_exact(&mut [0; 2]).await.map_err(text)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn is(what: &str, got: &[u8], wanted: &[u8]) -> Outcome {
    if got == wanted {
        return Ok(());
    }
    let begin = String::from_utf8_lossy(&got[..got.len().min(60)]).into_owned();
    Err(format!("{what}: {} bytes instead of {}, from {begin:?}", got.len(), wanted.len()))
}

/// Some requests on one connection.
async fn many_of_http_1(wire: impl Wire, method: &str) -> Outcome {
    let mut wire = BufStream::new(wire);
    for _ in 0..8 {
        let (id, length) = next();
        let body = if method == "POST" { pattern(id, length) } else { Vec::new() };
        let head = format!(
            "{method} /web/{length} HTTP/1.1\r\nhost: shop.test\r\nx-id: {id}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answer = ask(&mut wire, &[head.as_bytes(), &body].concat()).await?;
        if !answer.head.starts_with("http/1.1 200") || !answer.head.contains(&format!("x-id: {id}\r\n")) {
            return Err(answer.head);
        }
        is(method, &answer.body, &pattern(id, length))?;
    }
    Ok(())
}

/// Opens a connection of HTTP/2, which ends with what is returned.
async fn http_2(wire: impl Wire + 'static) -> Outcome<SendRequest<Bytes>> {
    let (requests, connection) = h2::client::handshake(wire).await.map_err(text)?;
    tokio::spawn(async move { drop(connection.await) });
    requests.ready().await.map_err(text)
}

async fn many_of_http_2(wire: impl Wire + 'static) -> Outcome {
    let requests = http_2(wire).await?;
    let mut all = JoinSet::new();
    for _ in 0..8 {
        let mut requests = requests.clone();
        all.spawn(async move {
            let (id, length) = next();
            let request = Request::get(format!("http://shop.test/web/{length}")).header("x-id", id);
            let (response, _) = requests.send_request(request.body(()).unwrap(), true).map_err(text)?;
            let answer = whole(response).await.map_err(text)?;
            if answer.head.status != 200 || answer.field("x-id") != id.to_string() {
                return Err(format!("{:?}", answer.head));
            }
            is("GET", &answer.body, &pattern(id, length))
        });
    }
    all.join_all().await.into_iter().collect()
}

async fn many_calls(wire: impl Wire + 'static) -> Outcome {
    let requests = http_2(wire).await?;
    let mut all = JoinSet::new();
    for _ in 0..8 {
        all.spawn(call(requests.clone()));
    }
    all.join_all().await.into_iter().collect()
}

async fn call(mut requests: SendRequest<Bytes>) -> Outcome {
    let (id, length) = next();
    let request = Request::post("http://shop.test/rpc/echo").header("content-type", "application/grpc");
    let request = request.header("te", "trailers").header("x-id", id).header("grpc-timeout", "15S");
    let (response, mut stream) = requests.send_request(request.body(()).unwrap(), false).map_err(text)?;
    let sending = async {
        send(&mut stream, pattern(id, length).into()).await;
        let _ = stream.send_data(Bytes::new(), true);
    };
    let answer = tokio::join!(whole(response), sending).0.map_err(text)?;
    if answer.grpc() != "0" || answer.trailers.get("x-id").is_none_or(|it| it != &id.to_string()) {
        return Err(format!("{:?} {:?}", answer.head, answer.trailers));
    }
    is("call", &answer.body, &pattern(id, length))
}

async fn calls_of_the_web(wire: impl Wire) -> Outcome {
    let mut wire = BufStream::new(wire);
    for _ in 0..8 {
        let (id, length) = next();
        let body = pattern(id, length);
        let head = format!(
            "POST /rpc/echo HTTP/1.1\r\nhost: shop.test\r\ncontent-type: application/grpc-web+proto\r\nx-id: {id}\r\n\
             content-length: {length}\r\n\r\n"
        );
        let answer = ask(&mut wire, &[head.as_bytes(), &body].concat()).await?;
        let end = format!("grpc-status: 0\r\nx-id: {id}\r\n");
        let end = [&[0x80][..], &u32::try_from(end.len()).unwrap().to_be_bytes(), end.as_bytes()].concat();
        if !answer.head.starts_with("http/1.1 200") || answer.head.contains("grpc-status") {
            return Err(answer.head);
        }
        is("gRPC-Web", &answer.body, &[body, end].concat())?;
        // It was answered before it had sent all.
        if answer.head.contains("connection: close") {
            break;
        }
    }
    Ok(())
}

async fn websocket(wire: impl Wire) -> Outcome {
    let (id, _) = next();
    let mut wire = BufStream::new(wire);
    let upgrade = format!(
        "GET /web/0 HTTP/1.1\r\nhost: shop.test\r\nx-id: {id}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    let answer = ask(&mut wire, upgrade.as_bytes()).await?;
    if !answer.head.starts_with("http/1.1 101") {
        return Err(answer.head);
    }
    for length in LENGTHS {
        let frame = frame(id, length);
        let (mut from, mut to) = tokio::io::split(&mut wire);
        let sending = async {
            to.write_all(&frame).await?;
            to.flush().await
        };
        let mut got = vec![0; frame.len()];
        let (read, sent) = tokio::join!(from.read_exact(&mut got), sending);
        read.and(sent.map(|()| 0)).map_err(text)?;
        is("WebSocket", &got, &frame)?;
    }
    Ok(())
}

/// A frame as a server sends it.
fn frame(id: u64, length: usize) -> Vec<u8> {
    let size = (length as u64).to_be_bytes();
    [&[0x82, 127][..], &size, &pattern(id, length)].concat()
}

async fn websocket_of_http_2(wire: impl Wire + 'static) -> Outcome {
    let mut requests = http_2(wire).await?;
    let (id, _) = next();
    let request = Request::connect("https://shop.test/web/0").header("x-id", id);
    let mut request = request.body(()).unwrap();
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    let (response, mut to) = requests.send_request(request, false).map_err(text)?;
    let (head, mut from) = response.await.map_err(text)?.into_parts();
    if head.status != 200 {
        return Err(format!("{head:?}"));
    }
    for length in LENGTHS {
        let frame = frame(id, length);
        let mut got = Vec::new();
        let reading = async {
            while got.len() < frame.len() {
                let piece = from.data().await.ok_or("it ended")?.map_err(text)?;
                let _ = from.flow_control().release_capacity(piece.len());
                got.extend_from_slice(&piece);
            }
            Ok::<_, String>(())
        };
        let (read, sent) = tokio::join!(reading, send(&mut to, frame.clone().into()));
        read.and(sent.ok_or_else(|| "it takes no more".to_owned()))?;
        is("WebSocket of HTTP/2", &got, &frame)?;
    }
    Ok(())
}

/// A stream of events to its end.
async fn events(wire: impl Wire) -> Outcome {
    let mut wire = BufStream::new(wire);
    let (id, length) = next();
    let head = format!("GET /web/events/{length} HTTP/1.1\r\nhost: shop.test\r\nx-id: {id}\r\n\r\n");
    let answer = ask(&mut wire, head.as_bytes()).await?;
    if !answer.head.contains("content-type: text/event-stream") {
        return Err(answer.head);
    }
    is("events", &answer.body, &pattern(id, length))
}

/// Bytes that come back, with an end of each way.
async fn bytes(wire: TcpStream) -> Outcome {
    let (id, length) = next();
    let sent = pattern(id, length);
    let (mut from, mut to) = wire.into_split();
    let sending = async {
        to.write_all(&sent).await?;
        to.shutdown().await
    };
    let mut got = Vec::new();
    let (read, written) = tokio::join!(from.read_to_end(&mut got), sending);
    read.and(written.map(|()| 0)).map_err(text)?;
    is("TCP", &got, &sent)
}

/// Leaves in the middle of a request, of an answer, and of a call.
async fn leave(mut wire: impl Wire + 'static) -> Outcome {
    let (id, _) = next();
    match id % 3 {
        0 => {
            let half =
                b"POST /web/0 HTTP/1.1\r\nhost: shop.test\r\nx-id: 1\r\ncontent-length: 100000\r\n\r\nhalf";
            wire.write_all(half).await.map_err(text)
        }
        1 => {
            let request = b"GET /web/3000000 HTTP/1.1\r\nhost: shop.test\r\nx-id: 1\r\n\r\n";
            wire.write_all(request).await.map_err(text)?;
            wire.read_exact(&mut [0; 5_000]).await.map(drop).map_err(text)
        }
        _ => {
            let mut requests = http_2(wire).await?;
            let request =
                Request::post("http://shop.test/rpc/echo").header("content-type", "application/grpc");
            let request = request.header("te", "trailers").header("x-id", id);
            let (response, mut stream) =
                requests.send_request(request.body(()).unwrap(), false).map_err(text)?;
            send(&mut stream, Bytes::from_static(b"half")).await;
            let mut body = response.await.map_err(text)?.into_body();
            body.data().await.ok_or("nothing came")?.map_err(text)?;
            stream.send_reset(h2::Reason::CANCEL);
            Ok(())
        }
    }
}

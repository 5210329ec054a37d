//! Instances that answer with what only their own request can get, and die when they are told to.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, Response};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::streams::support::{runtime, send};

/// What an instance speaks.
#[derive(Clone, Copy)]
pub(super) enum Speaks {
    Http1,
    Http2,
    /// Bytes, which it gives back.
    Bytes,
}

/// An instance.
pub(super) struct Node {
    pub(super) name: u64,
    pub(super) address: SocketAddr,
    stop: CancellationToken,
}

/// What an answer to a request has: `length` bytes that no other request gets.
pub(super) fn pattern(id: u64, length: usize) -> Vec<u8> {
    let text = format!("{id}.");
    text.bytes().cycle().take(length).collect()
}

impl Node {
    pub(super) fn start(speaks: Speaks) -> Self {
        static NAMES: AtomicU64 = AtomicU64::new(1);
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let stopped = stop.clone();
        thread::spawn(move || {
            // All that it does ends with the runtime.
            runtime().block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                stopped.run_until_cancelled(accept(listener, speaks)).await
            })
        });
        Self { name: NAMES.fetch_add(1, Ordering::Relaxed), address, stop }
    }

    pub(super) fn kill(&self) {
        self.stop.cancel();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn accept(listener: TcpListener, speaks: Speaks) {
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).unwrap();
        match speaks {
            Speaks::Http1 => drop(tokio::spawn(serve(stream))),
            Speaks::Http2 => drop(tokio::spawn(serve_streams(stream))),
            Speaks::Bytes => drop(tokio::spawn(give_back(stream))),
        }
    }
}

/// The fields that count here.
#[derive(Default)]
struct Asked {
    id: u64,
    length: usize,
    body: usize,
    websocket: bool,
    events: bool,
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let (mut asked, mut line) = (Asked::default(), String::new());
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok().filter(|&read| read > 0)?;
        let lower = line.trim_end().to_ascii_lowercase();
        match lower.split_once(": ") {
            None if lower.is_empty() => return Some(asked),
            None => {
                let path = lower.split(' ').nth(1)?;
                asked.events = path.contains("/events/");
                asked.length =
                    path.trim_start_matches('/').split('/').next_back()?.parse().unwrap_or_default();
            }
            Some(("x-id", id)) => asked.id = id.parse().ok()?,
            Some(("content-length", length)) => asked.body = length.parse().ok()?,
            Some(("upgrade", _)) => asked.websocket = true,
            Some(_) => {}
        }
    }
}

/// HTTP/1.1: as many bytes as the path says, or what the body was; a WebSocket gives back what it gets.
async fn serve(stream: TcpStream) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let asked = read(&mut stream).await?;
        if asked.websocket {
            let switch =
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.get_mut().write_all(switch.as_bytes()).await.ok()?;
            let (mut from, mut to) = tokio::io::split(stream);
            tokio::io::copy(&mut from, &mut to).await.ok()?;
            return Some(());
        }
        let mut body = vec![0; asked.body];
        stream.read_exact(&mut body).await.ok()?;
        let answer = if asked.body > 0 { body } else { pattern(asked.id, asked.length) };
        if asked.events {
            send_events(stream.get_mut(), &answer).await?;
            continue;
        }
        // Every other answer says its length, the others come in chunks.
        let (field, piece) = if asked.id % 2 == 0 {
            (format!("content-length: {}", answer.len()), answer)
        } else {
            let chunk = format!("{:x}\r\n", answer.len()).into_bytes();
            ("transfer-encoding: chunked".to_owned(), [chunk, answer, b"\r\n0\r\n\r\n".to_vec()].concat())
        };
        let head = format!("HTTP/1.1 200 OK\r\n{field}\r\nx-id: {}\r\n\r\n", asked.id);
        stream.get_mut().write_all(&[head.into_bytes(), piece].concat()).await.ok()?;
    }
}

/// A stream of events: pieces that are sent as they come.
async fn send_events(stream: &mut TcpStream, events: &[u8]) -> Option<()> {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head).await.ok()?;
    for event in events.chunks(10_000) {
        let size = format!("{:x}\r\n", event.len());
        stream.write_all(&[size.as_bytes(), event, b"\r\n"].concat()).await.ok()?;
        tokio::task::yield_now().await;
    }
    stream.write_all(b"0\r\n\r\n").await.ok()
}

async fn give_back(stream: TcpStream) -> Option<()> {
    let (mut from, mut to) = stream.into_split();
    tokio::io::copy(&mut from, &mut to).await.ok()?;
    to.shutdown().await.ok()
}

/// gRPC: gives back what it gets, piece by piece, and says at the end whose that was.
async fn serve_streams(stream: TcpStream) -> Option<()> {
    let mut connection = h2::server::handshake(stream).await.ok()?;
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        tokio::spawn(async move {
            let id = request.headers().get("x-id").cloned();
            let mut body = request.into_body();
            let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut stream = answer.send_response(head, false).ok()?;
            while let Some(piece) = body.data().await {
                let piece: Bytes = piece.ok()?;
                let _ = body.flow_control().release_capacity(piece.len());
                send(&mut stream, piece).await?;
            }
            let mut end = HeaderMap::new();
            end.insert("grpc-status", "0".parse().unwrap());
            id.map(|id| end.insert("x-id", id));
            stream.send_trailers(end).ok()
        });
    }
    Some(())
}

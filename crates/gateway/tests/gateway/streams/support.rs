//! Raw clients and instances of HTTP/2.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::RouteTable;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A table whose arms all speak HTTP/2.
pub(crate) fn h2c(mut table: RouteTable) -> RouteTable {
    let splits = table.services.values_mut().flat_map(|routes| &mut routes.splits);
    splits.for_each(|split| split.protocol = Protocol::H2c);
    table
}

/// An instance that does what the path says.
pub(crate) struct Grpc {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
}

/// What an instance saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    /// Connections that have ended.
    pub(crate) ended: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    /// Streams that the gateway ended by a reset.
    pub(crate) cancelled: AtomicUsize,
    pub(crate) heads: Mutex<Vec<Parts>>,
    /// Paths of the echoes that were asked for to the end of their bodies.
    pub(crate) whole: Mutex<Vec<String>>,
    /// Whether it says nothing, whatever it is asked.
    pub(crate) silent: AtomicBool,
    /// Told when the one that waits for it is to be refused.
    pub(crate) refuse: Notify,
}

impl Seen {
    pub(crate) fn last(&self) -> Parts {
        self.heads.lock().unwrap().last().unwrap().clone()
    }

    pub(crate) fn count(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::SeqCst)
    }
}

impl Grpc {
    pub(crate) fn start() -> Self {
        Self::with(h2::server::Builder::new())
    }

    pub(crate) fn with(builder: h2::server::Builder) -> Self {
        let (given, address) = std::sync::mpsc::channel();
        let seen = Arc::new(Seen::default());
        let of_thread = Arc::clone(&seen);
        thread::spawn(move || {
            runtime().block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                given.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve(stream, builder.clone(), Arc::clone(&of_thread)));
                }
            });
        });
        Self { address: address.recv().unwrap(), seen }
    }
}

async fn serve(stream: TcpStream, builder: h2::server::Builder, seen: Arc<Seen>) {
    seen.connections.fetch_add(1, Ordering::SeqCst);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, answer))) = connection.accept().await {
        seen.requests.fetch_add(1, Ordering::SeqCst);
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        seen.heads.lock().unwrap().push(parts);
        match path.as_str() {
            // It goes away in an orderly way, with this one under way.
            "/leave" => connection.graceful_shutdown(),
            // It takes bodies from the second on.
            "/unread" if Seen::count(&seen.requests) > 2 => {
                connection.set_initial_window_size(65_535).unwrap();
            }
            // It dies.
            "/die" => break,
            _ => {}
        }
        tokio::spawn(act(path, body, answer, Arc::clone(&seen)));
    }
    seen.ended.fetch_add(1, Ordering::SeqCst);
}

async fn act(path: String, mut body: RecvStream, mut answer: SendResponse<Bytes>, seen: Arc<Seen>) {
    let (word, number) = path[1..].split_once('/').unwrap_or((&path[1..], "0"));
    let grpc = || Response::builder().header("content-type", "application/grpc");
    let gone = |seen: &Seen| {
        seen.cancelled.fetch_add(1, Ordering::SeqCst);
    };
    match word {
        _ if seen.silent.load(Ordering::SeqCst) => {
            let _ = poll_fn(|cx| answer.poll_reset(cx)).await;
            gone(&seen);
        }
        "unread" if Seen::count(&seen.requests) == 1 => {
            seen.refuse.notified().await;
            answer.send_reset(Reason::REFUSED_STREAM);
        }
        // A head that says one thing and an end that says another.
        "two" => {
            let head = grpc().header("grpc-status", "0").body(()).unwrap();
            let mut stream = answer.send_response(head, false).unwrap();
            stream.send_data(Bytes::from_static(b"12345"), false).unwrap();
            stream
                .send_trailers(
                    [("grpc-status".parse().unwrap(), "13".parse().unwrap())].into_iter().collect(),
                )
                .unwrap();
        }
        "echo" | "leave" | "unread" => {
            // It may have been taken back already.
            let head = grpc().body(()).unwrap();
            let Ok(mut stream) = answer.send_response(head, false) else { return gone(&seen) };
            while let Some(piece) = body.data().await {
                let Ok(piece) = piece else { return gone(&seen) };
                let _ = body.flow_control().release_capacity(piece.len());
                if send(&mut stream, piece).await.is_none() {
                    return gone(&seen);
                }
            }
            // The end of a body is also where a reset comes.
            let Ok(trailers) = body.trailers().await else { return gone(&seen) };
            seen.whole.lock().unwrap().push(path.clone());
            let mut trailers = trailers.unwrap_or_default();
            trailers.insert("grpc-status", number.parse().unwrap());
            let _ = stream.send_trailers(trailers);
        }
        "only" => {
            let head = grpc().header("grpc-status", number).body(()).unwrap();
            answer.send_response(head, true).unwrap();
        }
        "plain" => {
            let status = if number == "0" { "200" } else { number };
            let head = Response::builder().status(status).header("content-length", "5");
            let mut stream = answer.send_response(head.body(()).unwrap(), false).unwrap();
            stream.send_data(Bytes::from_static(b"plain"), true).unwrap();
        }
        // No end of a call.
        "endless" => {
            let mut stream = answer.send_response(grpc().body(()).unwrap(), false).unwrap();
            stream.send_data(Bytes::from_static(b"12345"), true).unwrap();
        }
        "refuse" if Seen::count(&seen.requests) == 1 => answer.send_reset(Reason::REFUSED_STREAM),
        "refuse" => {
            answer
                .send_response(grpc().header("grpc-status", "0").body(()).unwrap(), true)
                .map(drop)
                .unwrap();
        }
        "early" => {
            answer
                .send_informational(Response::builder().status(103).header("link", "</x>").body(()).unwrap())
                .unwrap();
            answer.send_response(Response::new(()), true).unwrap();
        }
        "begin" => {
            let mut stream = answer.send_response(grpc().body(()).unwrap(), false).unwrap();
            stream.send_data(Bytes::from_static(b"12345"), false).unwrap();
            let _ = poll_fn(|cx| stream.poll_reset(cx)).await;
            gone(&seen);
        }
        "reset" => {
            let mut stream = answer.send_response(grpc().body(()).unwrap(), false).unwrap();
            stream.send_data(Bytes::from_static(b"12345"), false).unwrap();
            stream.reserve_capacity(1);
            tokio::task::yield_now().await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        "flood" => {
            let mut stream = answer.send_response(grpc().body(()).unwrap(), false).unwrap();
            loop {
                let Some(()) = send(&mut stream, Bytes::from(vec![0; 16_384])).await else {
                    return gone(&seen);
                };
                seen.heads.lock().unwrap().push(Request::new(()).into_parts().0);
            }
        }
        // It says nothing.
        _ => {
            let _ = poll_fn(|cx| answer.poll_reset(cx)).await;
            gone(&seen);
        }
    }
}

pub(crate) async fn send(stream: &mut SendStream<Bytes>, mut piece: Bytes) -> Option<()> {
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let room = match stream.capacity() {
            0 => poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?,
            room => room,
        };
        stream.send_data(piece.split_to(room.min(piece.len())), false).ok()?;
    }
    Some(())
}

/// A client of HTTP/2 on one connection.
#[derive(Clone)]
pub(crate) struct Caller(pub(crate) SendRequest<Bytes>);

/// An answer as a whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// How a call ended, wherever that is said.
    pub(crate) fn grpc(&self) -> &str {
        let said = self.trailers.get("grpc-status").or(self.head.headers.get("grpc-status"));
        said.map_or("", |value| value.to_str().unwrap())
    }
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut client = h2::client::Builder::new();
        // One stream whose answer is not taken does not hold the others up.
        client.initial_connection_window_size(16 * 1_024 * 1_024);
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (send, connection) = client.handshake(stream).await.unwrap();

        tokio::spawn(async move {
            let _ = connection.await;
            Ok::<_, Infallible>(())
        });
        Self(send)
    }

    /// Begins a request that goes on; the answer is awaited elsewhere.
    pub(crate) async fn begin(
        &self,
        request: Request<()>,
        ends: bool,
    ) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.0.clone().ready().await?.send_request(request, ends)
    }

    pub(crate) async fn ask(&self, request: Request<()>, body: &[u8]) -> Result<Answer, h2::Error> {
        let (response, mut stream) = self.begin(request, body.is_empty()).await?;
        let sending = async {
            if !body.is_empty() {
                send(&mut stream, Bytes::copy_from_slice(body)).await;
                let _ = stream.send_data(Bytes::new(), true);
            }
        };
        tokio::join!(whole(response), sending).0
    }

    /// Calls by gRPC with a message of this length.
    pub(crate) async fn call(&self, path: &str, length: usize) -> Result<Answer, h2::Error> {
        self.ask(grpc(path).body(()).unwrap(), &vec![7; length]).await
    }
}

pub(crate) async fn whole(response: h2::client::ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        let _ = stream.flow_control().release_capacity(piece.len());
        body.extend_from_slice(&piece);
    }
    let trailers = stream.trailers().await?.unwrap_or_default();
    Ok(Answer { head, body, trailers })
}

pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://shop.test{path}"))
}

pub(crate) fn grpc(path: &str) -> http::request::Builder {
    request("POST", path).header("content-type", "application/grpc").header("te", "trailers")
}

//! gRPC as `tonic` speaks it: a client and a service of that library with a gateway between them, in all four forms.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tower_service::Service;

use super::support::{h2c, runtime};
use crate::support::{PATIENCE, Running, stable, table, wait_until};

type Bytes = Vec<u8>;

/// Messages that are nothing but their bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// A method of a service.
struct Method<F>(F);

impl<F, Q, A, W> Service<Q> for Method<F>
where
    F: FnMut(Q) -> W,
    W: Future<Output = Result<A, Status>>,
{
    type Response = A;
    type Error = Status;
    type Future = W;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: Q) -> W {
        (self.0)(asked)
    }
}

/// What the service saw.
#[derive(Debug, Default)]
struct Seen {
    begun: AtomicUsize,
    /// Calls that ended before there was an answer.
    cancelled: AtomicUsize,
}

/// Counts a call whose work is given up.
struct Work(Arc<Seen>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.cancelled.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Clone)]
struct Echo(Arc<Seen>);

/// Answers with the message, with how long the caller gives it, and with what it carries beside.
async fn one(asked: Request<Bytes>, seen: Arc<Seen>) -> Result<Response<Bytes>, Status> {
    seen.begun.fetch_add(1, Ordering::SeqCst);
    let carried = asked.metadata().get_bin("carried-bin").cloned();
    let timeout = asked.metadata().get("grpc-timeout").cloned();
    match asked.get_ref().as_slice() {
        b"fail" => {
            let mut status = Status::not_found("no such thing: \u{fc}");
            status.metadata_mut().insert("why", MetadataValue::from_static("because"));
            return Err(status);
        }
        b"wait" => {
            let _work = Work(seen);
            pending::<()>().await;
        }
        _ => {}
    }
    let mut answer = Response::new(asked.into_inner());
    carried.map(|carried| answer.metadata_mut().insert_bin("carried-bin", carried));
    timeout.map(|timeout| answer.metadata_mut().insert("had", timeout));
    Ok(answer)
}

/// Answers with as many messages as it is told, and then with a failure where there are to be more than a thousand.
async fn down(
    asked: Request<Bytes>,
) -> Result<Response<tokio_stream::Iter<std::vec::IntoIter<Result<Bytes, Status>>>>, Status> {
    let count: usize = String::from_utf8_lossy(asked.get_ref())
        .parse()
        .map_err(|_| Status::invalid_argument("no number"))?;
    let mut messages: Vec<_> = (0..count.min(1_000)).map(|n| Ok(n.to_string().into_bytes())).collect();
    messages.extend((count > 1_000).then(|| Err(Status::data_loss("the rest is lost"))));
    Ok(Response::new(tokio_stream::iter(messages)))
}

async fn up(asked: Request<Streaming<Bytes>>) -> Result<Response<Bytes>, Status> {
    let (mut messages, mut all) = (asked.into_inner(), Vec::new());
    while let Some(message) = messages.message().await? {
        all.extend_from_slice(&message);
    }
    Ok(Response::new(all))
}

async fn both(asked: Request<Streaming<Bytes>>) -> Result<Response<Streaming<Bytes>>, Status> {
    Ok(Response::new(asked.into_inner()))
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let seen = Arc::clone(&self.0);
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Plain);
            Ok(match request.uri().path() {
                "/shop.Echo/One" => grpc.unary(Method(|it| one(it, Arc::clone(&seen))), request).await,
                "/shop.Echo/Down" => grpc.server_streaming(Method(down), request).await,
                "/shop.Echo/Up" => grpc.client_streaming(Method(up), request).await,
                "/shop.Echo/Both" => grpc.streaming(Method(both), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

/// Serves in a thread of its own.
fn serve(seen: &Arc<Seen>) -> SocketAddr {
    let (given, address) = std::sync::mpsc::channel();
    let echo = Echo(Arc::clone(seen));
    thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            given.send(listener.local_addr().unwrap()).unwrap();
            Server::builder().serve_with_incoming(echo, TcpIncoming::from(listener)).await.unwrap();
        });
    });
    address.recv().unwrap()
}

/// A service behind a gateway.
struct Place {
    seen: Arc<Seen>,
    running: Running,
}

impl Place {
    fn start() -> Self {
        let seen = Arc::new(Seen::default());
        let arms = [stable(0, &[("one", serve(&seen))])];
        let running = Running::start(&arms);
        running.gateway.apply(h2c(table(2, &arms))).unwrap();
        Self { seen, running }
    }

    async fn client(&self) -> tonic::client::Grpc<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.running.address)).unwrap();
        let endpoint = endpoint.origin("http://shop.test".parse().unwrap());
        let mut client = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
        client.ready().await.unwrap();
        client
    }

    fn is_over(&self) {
        wait_until("nothing is under way", || self.running.in_flight() == 0);
    }
}

fn path(method: &str) -> PathAndQuery {
    format!("/shop.Echo/{method}").parse().unwrap()
}

async fn unary(
    client: &mut tonic::client::Grpc<Channel>,
    message: impl Into<Bytes>,
) -> Result<Response<Bytes>, Status> {
    client.ready().await.unwrap();
    client.unary(Request::new(message.into()), path("One"), Plain).await
}

#[test]
fn all_four_forms_pass_with_what_they_carry() {
    let place = Place::start();
    runtime().block_on(async {
        let mut client = place.client().await;
        let mut asked = Request::new(b"hello".to_vec());
        asked.metadata_mut().insert_bin("carried-bin", MetadataValue::from_bytes(&[0, 255, 7]));
        let answer = client.unary(asked, path("One"), Plain).await.unwrap();
        assert_eq!(answer.metadata().get_bin("carried-bin").unwrap().to_bytes().unwrap(), &[0, 255, 7][..]);
        assert_eq!(answer.metadata().get("lockstep-version").unwrap(), "shop@1.0.0");
        assert_eq!(answer.into_inner(), b"hello");
        let large = vec![7; 3 * 1_024 * 1_024];
        assert!(unary(&mut client, large.clone()).await.unwrap().into_inner() == large, "a large one");

        client.ready().await.unwrap();
        let down = client.server_streaming(Request::new(b"300".to_vec()), path("Down"), Plain).await.unwrap();
        let (mut messages, mut count) = (down.into_inner(), 0);
        while let Some(message) = messages.message().await.unwrap() {
            assert_eq!(message, count.to_string().into_bytes());
            count += 1;
        }
        assert_eq!(count, 300);

        client.ready().await.unwrap();
        let pieces: Vec<Bytes> = (0..200).map(|n: u8| vec![n; 1_000]).collect();
        let sent = tokio_stream::iter(pieces.clone());
        let up = client.client_streaming(Request::new(sent), path("Up"), Plain).await.unwrap();
        assert!(up.into_inner() == pieces.concat());

        client.ready().await.unwrap();
        let sent = tokio_stream::iter(pieces.clone());
        let mut both = client.streaming(Request::new(sent), path("Both"), Plain).await.unwrap().into_inner();
        for piece in &pieces {
            assert!(both.message().await.unwrap().as_ref() == Some(piece));
        }
        assert_eq!(both.message().await.unwrap(), None);
    });
    place.is_over();
    assert_eq!((place.running.traffic(0).requests, place.running.traffic(0).failures), (5, 0));
}

#[test]
fn errors_come_with_their_code_words_and_fields_also_behind_messages() {
    let place = Place::start();
    runtime().block_on(async {
        let mut client = place.client().await;
        let status = unary(&mut client, *b"fail").await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "no such thing: \u{fc}"));
        assert_eq!(status.metadata().get("why").unwrap(), "because");
        client.ready().await.unwrap();
        let asked = Request::new(b"1001".to_vec());
        let mut messages = client.server_streaming(asked, path("Down"), Plain).await.unwrap().into_inner();
        for _ in 0..1_000 {
            messages.message().await.unwrap().unwrap();
        }
        let status = messages.message().await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::DataLoss, "the rest is lost"));
        client.ready().await.unwrap();
        let unknown = client.unary(Request::new(Bytes::new()), path("None"), Plain).await.unwrap_err();
        assert_eq!(unknown.code(), Code::Unimplemented);
    });
    place.is_over();
    let failures = place.running.traffic(0).failures;
    assert_eq!(
        failures, 2,
        "what was lost, and what the service does not have, are its failures; what is not found is none"
    );
}

#[test]
fn a_deadline_is_passed_on_shortened_and_ends_the_call_everywhere() {
    let place = Place::start();
    runtime().block_on(async {
        let mut client = place.client().await;
        let mut asked = Request::new(b"hello".to_vec());
        asked.set_timeout(Duration::from_secs(20));
        let answer = client.unary(asked, path("One"), Plain).await.unwrap();
        let had = answer.metadata().get("had").unwrap().to_str().unwrap().to_owned();
        let (number, unit) = had.split_at(had.len() - 1);
        let micros = number.parse::<u64>().unwrap()
            * match unit {
                "m" => 1_000,
                "u" => 1,
                "S" => 1_000_000,
                _ => panic!("{had}"),
            };
        assert!((1_000_000..20_000_000).contains(&micros), "{had}");
        client.ready().await.unwrap();
        let mut asked = Request::new(b"wait".to_vec());
        asked.set_timeout(Duration::from_millis(300));
        let late = client.unary(asked, path("One"), Plain).await.unwrap_err();
        // Whoever of the client and the gateway looks first.
        assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late:?}");
    });
    wait_until("the service has given up", || place.seen.cancelled.load(Ordering::SeqCst) == 1);
    place.is_over();
}

#[test]
fn who_gives_up_ends_its_call_at_the_service_and_no_other_on_the_connection() {
    let place = Place::start();
    runtime().block_on(async {
        let mut client = place.client().await;
        let mut waiting = client.clone();
        let call = tokio::spawn(async move { unary(&mut waiting, *b"wait").await.map(drop) });
        let begins = async {
            while place.seen.begun.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, begins).await.unwrap();
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        assert_eq!(unary(&mut client, *b"after").await.unwrap().into_inner(), b"after");
    });
    wait_until("the service has given up", || place.seen.cancelled.load(Ordering::SeqCst) == 1);
    place.is_over();
    assert_eq!(place.running.traffic(0).failures, 0, "the version is not to blame for it");
}

#[test]
fn many_calls_at_once_each_get_their_own_answer() {
    let place = Place::start();
    runtime().block_on(async {
        let client = place.client().await;
        let mut all = JoinSet::new();
        for number in 0..300_u32 {
            let mut client = client.clone();
            all.spawn(async move {
                let message = number.to_string().repeat(1 + number as usize % 50).into_bytes();
                let answer = unary(&mut client, message.clone()).await.unwrap().into_inner();
                answer == message
            });
        }
        assert!(all.join_all().await.into_iter().all(|is_its_own| is_its_own));
    });
    place.is_over();
    assert_eq!((place.running.traffic(0).requests, place.running.traffic(0).failures), (300, 0));
}

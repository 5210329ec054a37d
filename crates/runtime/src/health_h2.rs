//! Health checks in HTTP/2 without TLS: a `GET`, and the health service of gRPC (`grpc.health.v1.Health/Check`).
//!
//! A service may answer anything: the time and the bytes read are bounded.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use prost::Message as _;
use tokio::net::TcpStream;

use crate::talk::instance;

/// Most of an answer that is read, head and body each; that of a health service has less than ten bytes.
const MAX_ANSWER: u32 = 64 * 1024;
/// How much of what a server says is shown.
const SHOWN: usize = 200;
/// A message of gRPC comes after a byte for its compression and four for its length.
const MESSAGE_HEAD: usize = 5;

/// Asks with `GET path` and accepts a status from 200 to 399.
///
/// # Errors
///
/// Says what was answered instead, or why there was no answer.
pub(crate) fn http(port: u16, path: &str, timeout: Duration) -> Result<(), String> {
    let what = format!("GET {path}");
    let status =
        ask(port, &what, request(port, Method::GET, path), (Bytes::new(), Wanted::Head), timeout)?.status;
    match status.as_u16() {
        200..=399 => Ok(()),
        status => Err(format!("{what} on port {port} answered with status {status}")),
    }
}

/// Asks the health service of gRPC for one service, or with an empty name for the server as a whole.
///
/// # Errors
///
/// Says what was answered instead of `SERVING`, or why there was no answer.
pub(crate) fn grpc(port: u16, service: &str, timeout: Duration) -> Result<(), String> {
    const CHECK: &str = "/grpc.health.v1.Health/Check";
    let question = CheckRequest { service: service.to_owned() };
    let request = request(port, Method::POST, CHECK)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", format!("{}m", timeout.as_millis().min(99_999_999)));
    let what = "the gRPC health check";
    let answer = ask(port, what, request, (framed(&question), Wanted::All), timeout)?;
    answer.serves(service).map_err(|why| format!("{what} on port {port} {why}"))
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(enumeration = "Health", tag = "1")]
    status: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Health {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// What a server answered.
struct Answer {
    status: StatusCode,
    head: HeaderMap,
    body: BytesMut,
    trailers: HeaderMap,
}

impl Answer {
    fn of(head: http::response::Parts) -> Self {
        Self { status: head.status, head: head.headers, body: BytesMut::new(), trailers: HeaderMap::new() }
    }

    fn serves(mut self, service: &str) -> Result<(), String> {
        if self.status != StatusCode::OK {
            return Err(format!("was answered with HTTP status {}", self.status.as_u16()));
        }
        match self.field("grpc-status") {
            Some("0") => {}
            Some("12") => {
                return Err("was answered with UNIMPLEMENTED: the server has no health service".into());
            }
            Some("5") => {
                return Err(format!("was answered with NOT_FOUND: the server knows no service `{service}`"));
            }
            Some(status) => {
                let why = self.field("grpc-message").unwrap_or_default();
                let why: String = why.chars().take(SHOWN).collect();
                return Err(format!("was answered with gRPC status {status} {why}").trim_end().to_owned());
            }
            None => return Err("was answered without a gRPC status".into()),
        }
        let whole = self.body.len() > MESSAGE_HEAD && self.body.get_u8() == 0 && {
            let length = self.body.get_u32();
            usize::try_from(length) == Ok(self.body.len())
        };
        // A message whose only field has its usual value is empty.
        let message = if whole { self.body } else { BytesMut::new() };
        let state = CheckResponse::decode(message).map(|response| response.status());
        match state {
            Ok(Health::Serving) => Ok(()),
            Ok(Health::Unknown) => Err("says UNKNOWN".into()),
            Ok(Health::NotServing) => Err("says NOT_SERVING".into()),
            Ok(Health::ServiceUnknown) => Err("says SERVICE_UNKNOWN".into()),
            Err(error) => Err(format!("was answered with a message that cannot be read: {error}")),
        }
    }

    /// Returns a field of the trailers, or of the head where that is all there is.
    fn field(&self, name: &str) -> Option<&str> {
        self.trailers.get(name).or_else(|| self.head.get(name))?.to_str().ok()
    }
}

fn framed(message: &CheckRequest) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes.freeze()
}

fn request(port: u16, method: Method, path: &str) -> http::request::Builder {
    let request = Request::builder().method(method).uri(format!("http://127.0.0.1:{port}{path}"));
    request.header("user-agent", "lockstep-health")
}

/// How much of an answer is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Head,
    All,
}

fn ask(
    port: u16,
    what: &str,
    request: http::request::Builder,
    (body, wanted): (Bytes, Wanted),
    timeout: Duration,
) -> Result<Answer, String> {
    let failed = |error: &dyn Display| format!("{what} on port {port} failed: {error}");
    let request = request.body(()).map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let asked = async { tokio::time::timeout(timeout, exchange(port, request, body, wanted)).await };
    match runtime.map_err(|error| failed(&error))?.block_on(asked) {
        Err(_) => Err(format!("{what} on port {port} was not answered within {} ms", timeout.as_millis())),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(format!("nothing listens on port {port}"))
        }
        Ok(Err(error)) => Err(failed(&error)),
    }
}

async fn exchange(port: u16, request: Request<()>, body: Bytes, wanted: Wanted) -> io::Result<Answer> {
    let stream = TcpStream::connect(instance(port)).await?;
    let mut builder = h2::client::Builder::new();
    builder.max_header_list_size(MAX_ANSWER).initial_window_size(MAX_ANSWER).enable_push(false);
    let (sender, connection) = builder.handshake(stream).await.map_err(failure)?;
    tokio::select! {
        biased;
        answer = talk(sender, request, body, wanted) => answer.map_err(failure),
        ended = connection => Err(ended.err().map_or_else(|| io::ErrorKind::UnexpectedEof.into(), failure)),
    }
}

async fn talk(
    sender: SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
    wanted: Wanted,
) -> Result<Answer, h2::Error> {
    let (answer, mut upload) = sender.ready().await?.send_request(request, body.is_empty())?;
    if !body.is_empty() {
        upload.send_data(body, true)?;
    }
    let (head, mut stream) = answer.await?.into_parts();
    let mut answer = Answer::of(head);
    if wanted == Wanted::All {
        // The window is not opened again, so no more than it comes.
        while let Some(piece) = stream.data().await {
            answer.body.extend_from_slice(&piece?);
        }
        answer.trailers = stream.trailers().await?.unwrap_or_default();
    }
    Ok(answer)
}

fn failure(error: h2::Error) -> io::Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into())
    } else {
        io::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// What a server answers: a status, a body, and how the request ends.
    struct Says {
        status: u16,
        body: Vec<u8>,
        grpc: Option<(&'static str, &'static str)>,
    }

    impl Says {
        fn message(bytes: &[u8]) -> Self {
            let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
            let body = [&[0], length.as_slice(), bytes].concat();
            Self { status: 200, body, grpc: Some(("0", "")) }
        }

        fn only(status: &'static str, message: &'static str) -> Self {
            Self { status: 200, body: Vec::new(), grpc: Some((status, message)) }
        }

        fn http(status: u16, body: usize) -> Self {
            Self { status, body: vec![b'x'; body], grpc: None }
        }
    }

    /// Answers one request in HTTP/2, and returns the port.
    fn answering(says: Says) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(serve(stream, says));
        });
        port
    }

    async fn serve(stream: std::net::TcpStream, says: Says) {
        let stream = TcpStream::from_std(stream).unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        let field = |fields: &mut HeaderMap| {
            let Some((status, message)) = says.grpc else { return };
            fields.insert("grpc-status", status.parse().unwrap());
            fields.insert("grpc-message", message.parse().unwrap());
        };
        let mut head = http::Response::builder().status(says.status).body(()).unwrap();
        if says.body.is_empty() {
            field(head.headers_mut());
            respond.send_response(head, true).unwrap();
        } else {
            let mut stream = respond.send_response(head, false).unwrap();
            let trailers = says.grpc.is_some();
            stream.send_data(says.body.clone().into(), !trailers).unwrap();
            if trailers {
                let mut fields = HeaderMap::new();
                field(&mut fields);
                stream.send_trailers(fields).unwrap();
            }
        }
        while connection.accept().await.is_some() {}
    }

    fn check(says: Says) -> Result<(), String> {
        let port = answering(says);
        grpc(port, "shop.v1.Catalog", TIMEOUT).map_err(|why| why.replace(&port.to_string(), "PORT"))
    }

    #[test]
    fn only_serving_is_healthy() {
        assert_eq!(check(Says::message(&[8, 1])), Ok(()));
        for (message, says) in [
            (&[8, 2][..], "says NOT_SERVING"),
            (&[], "says UNKNOWN"),
            (&[8, 3], "says SERVICE_UNKNOWN"),
            (&[8, 9], "says UNKNOWN"),
            // A field that is not known.
            (&[18, 1, b'x'], "says UNKNOWN"),
        ] {
            assert_eq!(
                check(Says::message(message)),
                Err(format!("the gRPC health check on port PORT {says}"))
            );
        }
        assert!(check(Says::message(&[8])).unwrap_err().contains("a message that cannot be read"));
        assert!(check(Says::http(200, 7)).unwrap_err().ends_with("was answered without a gRPC status"));
    }

    #[test]
    fn a_status_says_what_is_missing() {
        for (says, expected) in [
            (Says::only("12", ""), "was answered with UNIMPLEMENTED: the server has no health service"),
            (
                Says::only("5", "?"),
                "was answered with NOT_FOUND: the server knows no service `shop.v1.Catalog`",
            ),
            (Says::only("14", "later"), "was answered with gRPC status 14 later"),
            (Says::http(503, 0), "was answered with HTTP status 503"),
        ] {
            assert_eq!(check(says), Err(format!("the gRPC health check on port PORT {expected}")));
        }
    }

    #[test]
    fn a_get_is_accepted_from_200_to_399_however_long_its_body_is() {
        assert_eq!(http(answering(Says::http(200, 0)), "/health", TIMEOUT), Ok(()));
        assert_eq!(http(answering(Says::http(200, 1 << 20)), "/health", TIMEOUT), Ok(()));
        let error = http(answering(Says::http(500, 3)), "/health", TIMEOUT).unwrap_err();
        assert!(error.ends_with("answered with status 500"), "{error}");
    }

    #[test]
    fn who_speaks_something_else_or_nothing_is_unhealthy_in_time() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = grpc(port, "", Duration::from_millis(50)).unwrap_err();
        assert!(error.ends_with("was not answered within 50 ms"), "{error}");
        drop(listener);
        assert_eq!(grpc(port, "", TIMEOUT), Err(format!("nothing listens on port {port}")));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        assert!(grpc(port, "", TIMEOUT).unwrap_err().contains("failed:"));
    }
}

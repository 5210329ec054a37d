//! Health checks in HTTP/2: a `GET`, and the health service of gRPC (`grpc.health.v1.Health/Check`).
//!
//! A service may answer anything: the time and the bytes read are bounded.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, StatusCode};
use lockstep_domain::approach::Approach;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::approach::{header, shake_hands_for_http2};

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
pub(crate) fn http(at: SocketAddr, path: &str, timeout: Duration, approach: &Approach) -> Result<(), String> {
    let what = format!("GET {path}");
    let asked = request((at, approach), Method::GET, path);
    let status = ask((at, approach), &what, asked, (Bytes::new(), Wanted::Head), timeout)?.status;
    match status.as_u16() {
        200..=399 => Ok(()),
        status => Err(format!("{what} on port {} answered with status {status}", at.port())),
    }
}

/// Asks the health service of gRPC for one service, or with an empty name for the server as a whole.
///
/// # Errors
///
/// Says what was answered instead of `SERVING`, or why there was no answer.
pub(crate) fn grpc(
    at: SocketAddr,
    service: &str,
    timeout: Duration,
    approach: &Approach,
) -> Result<(), String> {
    const CHECK: &str = "/grpc.health.v1.Health/Check";
    let question = CheckRequest { service: service.to_owned() };
    let request = request((at, approach), Method::POST, CHECK)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", format!("{}m", timeout.as_millis().min(99_999_999)));
    let what = "the gRPC health check";
    let answer = ask((at, approach), what, request, (framed(&question), Wanted::All), timeout)?;
    answer.serves(service).map_err(|why| format!("{what} on port {} {why}", at.port()))
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

fn request((at, approach): (SocketAddr, &Approach), method: Method, path: &str) -> http::request::Builder {
    let scheme = if approach.tls.is_some() { "https" } else { "http" };
    let request = Request::builder().method(method).uri(format!("{scheme}://{at}{path}"));
    request.header("user-agent", "lockstep-health")
}

/// How much of an answer is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Head,
    All,
}

fn ask(
    (at, approach): (SocketAddr, &Approach),
    what: &str,
    request: http::request::Builder,
    (body, wanted): (Bytes, Wanted),
    timeout: Duration,
) -> Result<Answer, String> {
    let failed = |error: &dyn Display| format!("{what} on port {} failed: {error}", at.port());
    let request = request.body(()).map_err(|error| failed(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let asked =
        async { tokio::time::timeout(timeout, exchange((at, approach), request, (body, wanted))).await };
    match runtime.map_err(|error| failed(&error))?.block_on(asked) {
        Err(_) => {
            Err(format!("{what} on port {} was not answered within {} ms", at.port(), timeout.as_millis()))
        }
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(format!("nothing listens on port {}", at.port()))
        }
        Ok(Err(error)) => Err(failed(&error)),
    }
}

async fn exchange(
    (at, approach): (SocketAddr, &Approach),
    request: Request<()>,
    wants: (Bytes, Wanted),
) -> io::Result<Answer> {
    let mut socket = TcpStream::connect(at).await?;
    socket.write_all(header(approach)).await?;
    match &approach.tls {
        None => speak(socket, request, wants).await,
        Some(tls) => speak(shake_hands_for_http2(socket, tls).await?, request, wants).await,
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<()>,
    (body, wanted): (Bytes, Wanted),
) -> io::Result<Answer> {
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
    use std::sync::Arc;
    use std::thread;

    use lockstep_domain::approach::{Believes, InstanceTls, ProxyVersion};

    use super::*;
    use crate::talk::instance;

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

    /// Answers one request in HTTP/2 within TLS, after a PROXY header; returns the port, and the certificate as PEM.
    fn within_tls(says: Says, before: &'static [u8]) -> (u16, String) {
        let made = rcgen::generate_simple_self_signed(vec!["shop.internal".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut begin = vec![0; before.len()];
            io::Read::read_exact(&mut stream, &mut begin).unwrap();
            assert_eq!(begin, before);
            stream.set_nonblocking(true).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async {
                let stream = TcpStream::from_std(stream).unwrap();
                // One that does not believe the certificate leaves here.
                if let Ok(stream) = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                    serve(stream, says).await;
                }
            });
        });
        (port, made.cert.pem())
    }

    fn checked(name: &str, ca: String, proxy_protocol: Option<ProxyVersion>) -> Approach {
        let tls = InstanceTls {
            server_name: Some(name.to_owned()),
            ca_pem: Some(ca),
            certificate: None,
            believes: Believes::Checked,
        };
        Approach { proxy_protocol, tls: Some(Box::new(tls)) }
    }

    #[test]
    fn within_tls_it_is_asked_when_the_certificate_is_the_right_one() {
        let (port, ca) = within_tls(Says::message(&[8, 1]), b"");
        assert_eq!(grpc(instance(port), "", TIMEOUT, &checked("shop.internal", ca, None)), Ok(()));
        let (port, ca) = within_tls(Says::message(&[8, 2]), b"PROXY UNKNOWN\r\n");
        let approach = checked("shop.internal", ca, Some(ProxyVersion::V1));
        assert!(grpc(instance(port), "", TIMEOUT, &approach).unwrap_err().ends_with("says NOT_SERVING"));
        let (port, ca) = within_tls(Says::http(204, 0), b"");
        assert_eq!(http(instance(port), "/health", TIMEOUT, &checked("shop.internal", ca, None)), Ok(()));
        let (port, ca) = within_tls(Says::message(&[8, 1]), b"");
        let other = grpc(instance(port), "", TIMEOUT, &checked("other.internal", ca, None)).unwrap_err();
        assert!(other.contains("its certificate is for `shop.internal` only"), "{other}");
        let (port, _) = within_tls(Says::message(&[8, 1]), b"");
        let (_, stranger) = within_tls(Says::message(&[8, 1]), b"");
        let unknown =
            grpc(instance(port), "", TIMEOUT, &checked("shop.internal", stranger, None)).unwrap_err();
        assert!(unknown.contains("its certificate"), "{unknown}");
        let plain = grpc(instance(answering(Says::message(&[8, 1]))), "", TIMEOUT, &approach).unwrap_err();
        assert!(plain.contains("failed:"), "{plain}");
    }

    #[test]
    fn a_proxy_header_alone_comes_before_http_2() {
        let before = FOR_NOBODY_V2;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut begin = vec![0; before.len()];
            io::Read::read_exact(&mut stream, &mut begin).unwrap();
            assert_eq!(begin, before);
            stream.set_nonblocking(true).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async {
                serve(TcpStream::from_std(stream).unwrap(), Says::message(&[8, 1])).await;
            });
        });
        let approach = Approach { proxy_protocol: Some(ProxyVersion::V2), tls: None };
        assert_eq!(grpc(instance(port), "", TIMEOUT, &approach), Ok(()));
    }

    const FOR_NOBODY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

    /// Answers one request in HTTP/2, and returns the port.
    fn answering(says: Says) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async { serve(TcpStream::from_std(stream).unwrap(), says).await });
        });
        port
    }

    async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, says: Says) {
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
        grpc(instance(port), "shop.v1.Catalog", TIMEOUT, &Approach::default())
            .map_err(|why| why.replace(&port.to_string(), "PORT"))
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
        assert_eq!(
            http(instance(answering(Says::http(200, 0))), "/health", TIMEOUT, &Approach::default()),
            Ok(())
        );
        assert_eq!(
            http(instance(answering(Says::http(200, 1 << 20))), "/health", TIMEOUT, &Approach::default()),
            Ok(())
        );
        let error = http(instance(answering(Says::http(500, 3))), "/health", TIMEOUT, &Approach::default())
            .unwrap_err();
        assert!(error.ends_with("answered with status 500"), "{error}");
    }

    #[test]
    fn who_speaks_something_else_or_nothing_is_unhealthy_in_time() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = grpc(instance(port), "", Duration::from_millis(50), &Approach::default()).unwrap_err();
        assert!(error.ends_with("was not answered within 50 ms"), "{error}");
        drop(listener);
        assert_eq!(
            grpc(instance(port), "", TIMEOUT, &Approach::default()),
            Err(format!("nothing listens on port {port}"))
        );
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        assert!(grpc(instance(port), "", TIMEOUT, &Approach::default()).unwrap_err().contains("failed:"));
    }
}

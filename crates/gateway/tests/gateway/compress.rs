//! Answers that are compressed on their way.

use std::io::{BufReader, Read};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use bytes::Bytes;
use lockstep_domain::routes::RouteTable;
use lockstep_gateway::Applied;
use serde_json::{Value, json};

use crate::streams::support::runtime;
use crate::support::{Instance, Message, Running, Then, raw, stable, table};

const TEXT: &str = "a line that is like the others\n";

fn text() -> String {
    TEXT.repeat(100)
}

/// Answers with the fields that the path asks for.
fn instance() -> Instance {
    Instance::start(|request, stream| {
        let text = text();
        let path = request.start.split(' ').nth(1).unwrap().to_owned();
        let mut kind = "content-type: text/plain\r\n";
        let (status, fields, body) = match path.as_str() {
            "/chunks" => {
                let chunked = format!("{:x}\r\n{text}\r\n0\r\nx-end: yes\r\n\r\n", text.len());
                ("200 OK", "transfer-encoding: chunked\r\n".to_owned(), chunked)
            }
            "/until-close" => ("200 OK", "connection: close\r\n".to_owned(), text),
            "/short" => ("200 OK", "content-length: 5\r\n".to_owned(), "hello".to_owned()),
            "/none" => ("204 No Content", String::new(), String::new()),
            other => {
                let (status, own) = match other {
                    "/twice" => ("200 OK", "content-encoding: identity\r\ncontent-encoding: gzip\r\n"),
                    "/public" => ("200 OK", "cache-control: public\r\ncache-control: no-transform\r\n"),
                    "/kinds" => ("200 OK", "content-type: image/png\r\n"),
                    "/gzipped" => ("200 OK", "content-encoding: gzip\r\n"),
                    "/image" => {
                        kind = "content-type: image/png\r\n";
                        ("200 OK", "")
                    }
                    "/part" => ("206 Partial Content", "content-range: bytes 0-3099/9000\r\n"),
                    "/no-transform" => ("200 OK", "cache-control: public, No-Transform\r\n"),
                    "/digest" => ("200 OK", "content-digest: sha-256=:x:\r\n"),
                    "/tagged" => ("200 OK", "etag: \"one\"\r\naccept-ranges: bytes\r\nvary: Cookie\r\n"),
                    "/weak" => ("200 OK", "etag: W/\"one\"\r\nvary: accept-encoding\r\n"),
                    "/wrong" => ("500 Internal Server Error", ""),
                    _ => ("200 OK", ""),
                };
                (status, format!("{own}content-length: {}\r\n", text.len()), text)
            }
        };
        let body = if request.start.starts_with("HEAD ") { "" } else { &body };
        raw(stream, format!("HTTP/1.1 {status}\r\n{kind}{fields}\r\n{body}").as_bytes())?;
        Ok(if path == "/until-close" { Then::Close } else { Then::Stay })
    })
}

fn compressing(instance: &Instance, compress: &Value) -> RouteTable {
    let mut table = table(2, &[stable(0, &[("shop-1", instance.address)])]);
    table.routes[0].rule.then = serde_json::from_value(json!({ "compress": compress })).unwrap();
    table
}

fn open(instance: &Instance, compress: &Value) -> Running {
    let running = Running::start(&[]);
    assert_eq!(running.gateway.apply(compressing(instance, compress)).unwrap(), Applied::Now);
    running
}

fn ask(running: &Running, start: &str, accepts: &str) -> Message {
    let accepts = if accepts.is_empty() { String::new() } else { format!("accept-encoding: {accepts}\r\n") };
    running.client().ask(format!("{start}\r\nhost: shop.test\r\n{accepts}\r\n")).unwrap()
}

fn unpacked(message: &Message) -> String {
    let (packed, mut plain) = (&message.body[..], String::new());
    match message.header("content-encoding") {
        Some("gzip") => flate2::read::GzDecoder::new(packed).read_to_string(&mut plain),
        Some("br") => brotli::Decompressor::new(packed, 4_096).read_to_string(&mut plain),
        Some("zstd") => zstd::stream::read::Decoder::new(packed).unwrap().read_to_string(&mut plain),
        _ => Ok(plain.len()),
    }
    .unwrap();
    plain
}

#[test]
fn a_client_gets_the_coding_that_it_takes_and_what_it_reads_is_what_the_instance_said() {
    let instance = instance();
    let running = open(&instance, &json!({}));
    for path in ["/", "/chunks", "/until-close", "/wrong"] {
        for (accepts, coding) in
            [("gzip, br, zstd", "zstd"), ("br;q=0.9, gzip;q=0.8", "br"), ("gzip", "gzip")]
        {
            let answer = ask(&running, &format!("GET {path} HTTP/1.1"), accepts);
            assert_eq!(answer.header("content-encoding"), Some(coding), "{path}: {answer:?}");
            assert_eq!(unpacked(&answer), text(), "{path} {coding}");
            assert!(answer.body.len() < 200, "{path} {coding}: {}", answer.body.len());
            assert_eq!(answer.header("content-length"), None);
            let end: &[&str] = if path == "/chunks" { &["x-end: yes"] } else { &[] };
            assert_eq!(answer.trailers, end, "what stands behind a body stays there");
            assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        }
        let plain = ask(&running, &format!("GET {path} HTTP/1.1"), "");
        assert_eq!((plain.header("content-encoding"), plain.text()), (None, text()), "{path}");
        assert_eq!(plain.header("vary"), Some("Accept-Encoding"), "a cache must not give it to the others");
    }
}

#[test]
fn what_must_not_be_changed_or_is_not_worth_it_passes_as_it_is() {
    let instance = instance();
    let running = open(&instance, &json!({}));
    for path in ["/gzipped", "/public", "/kinds", "/image", "/part", "/no-transform", "/digest", "/short"] {
        let answer = ask(&running, &format!("GET {path} HTTP/1.1"), "gzip");
        assert!(answer.header("content-length").is_some(), "{path}");
        let own = (path == "/gzipped").then_some("gzip");
        assert_eq!((answer.header("content-encoding"), answer.header("vary")), (own, None), "{path}");
    }
    let twice = ask(&running, "GET /twice HTTP/1.1", "gzip");
    assert_eq!(twice.text(), text(), "it says itself that it is compressed");
    assert_eq!(ask(&running, "GET /none HTTP/1.1", "gzip").header("content-encoding"), None);
    let old = ask(&running, "GET / HTTP/1.0", "gzip");
    assert_eq!((old.header("content-encoding"), old.text()), (None, text()));
    let mut client = running.client();
    client.send("HEAD / HTTP/1.1\r\nhost: shop.test\r\naccept-encoding: gzip\r\n\r\n").unwrap();
    assert_eq!(client.read_to_head().unwrap().header("content-encoding"), None);
    // The next answer on the connection is where it should be.
    assert_eq!(
        unpacked(&client.ask("GET / HTTP/1.1\r\nhost: shop.test\r\naccept-encoding: gzip\r\n\r\n").unwrap()),
        text()
    );
    let tagged = ask(&running, "GET /tagged HTTP/1.1", "gzip");
    assert_eq!(tagged.header("etag"), Some("W/\"one\""));
    assert_eq!(tagged.header("accept-ranges"), None);
    let varies: Vec<_> =
        tagged.headers.iter().filter(|(name, _)| name == "vary").map(|it| it.1.as_str()).collect();
    assert_eq!(varies, ["Cookie", "Accept-Encoding"]);
    let weak = ask(&running, "GET /weak HTTP/1.1", "gzip");
    assert_eq!((weak.header("etag"), weak.header("vary")), (Some("W/\"one\""), Some("accept-encoding")));
}

#[test]
fn a_route_says_by_what_and_what() {
    let instance = instance();
    let only = json!({ "encodings": ["gzip"], "types": ["image/*"], "min_bytes": 1 });
    let running = open(&instance, &only);
    let image = ask(&running, "GET /image HTTP/1.1", "zstd, gzip;q=0.1");
    assert_eq!((image.header("content-encoding"), unpacked(&image)), (Some("gzip"), text()));
    assert_eq!(ask(&running, "GET / HTTP/1.1", "gzip").header("content-encoding"), None);
    assert_eq!(ask(&running, "GET /image HTTP/1.1", "br").header("content-encoding"), None);
}

#[test]
fn a_client_of_http2_gets_frames() {
    let instance = instance();
    let running = open(&instance, &json!({}));
    let (packed, coding) = runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
        let (mut requests, driver) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(driver);
        let request = http::Request::get("http://shop.test/").header("accept-encoding", "gzip, br");
        let (answer, _) = requests.send_request(request.body(()).unwrap(), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers().get("content-length"), None);
        let coding = answer.headers()["content-encoding"].clone();
        let (mut body, mut packed) = (answer.into_body(), Vec::new());
        while let Some(piece) = body.data().await {
            let piece: Bytes = piece.unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            packed.extend_from_slice(&piece);
        }
        (packed, coding)
    });
    assert_eq!(coding, "br");
    let mut plain = String::new();
    brotli::Decompressor::new(&packed[..], 4_096).read_to_string(&mut plain).unwrap();
    assert_eq!(plain, text());
}

#[test]
fn what_an_instance_has_said_of_a_stream_reaches_the_client_before_it_says_more() {
    let (go_on, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let instance = Instance::start(move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        raw(stream, format!("{head}7\r\nfirst\n\n\r\n").as_bytes())?;
        wait.lock().unwrap().recv().unwrap();
        raw(stream, b"8\r\nsecond\n\n\r\n0\r\n\r\n")
    });
    let running = open(&instance, &json!({ "encodings": ["gzip"] }));
    let mut client = running.client();
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\naccept-encoding: gzip\r\n\r\n").unwrap();
    let head = client.read_to_head().unwrap();
    assert_eq!(head.header("content-encoding"), Some("gzip"), "{head:?}");
    let mut body = flate2::read::GzDecoder::new(Chunks { stream: client.reader(), left: 0 });
    let mut first = [0; 7];
    body.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"first\n\n");
    go_on.send(()).unwrap();
    let mut second = String::new();
    body.read_to_string(&mut second).unwrap();
    assert_eq!(second, "second\n\n");
}

/// A body of chunks, as it comes.
struct Chunks<'a> {
    stream: &'a mut BufReader<TcpStream>,
    left: usize,
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use std::io::BufRead as _;
        if self.left == 0 {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            if line == "\r\n" {
                line.clear();
                self.stream.read_line(&mut line)?;
            }
            self.left = usize::from_str_radix(line.trim_end(), 16).unwrap();
            if self.left == 0 {
                return Ok(0);
            }
        }
        let most = buffer.len().min(self.left);
        let read = self.stream.read(&mut buffer[..most])?;
        self.left -= read;
        Ok(read)
    }
}

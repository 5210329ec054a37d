//! Requests and answers of HTTP/2 that are malformed (RFC 9113, 8): none reaches an instance, and none a client as if it were whole.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GO_AWAY, HEADERS, PREFACE, PUSH_PROMISE, RST_STREAM, Raw,
    SETTINGS, WINDOW_UPDATE, frame,
};
use super::support::{Caller, Grpc, h2c, runtime};
use crate::support::*;

/// A field that is in no table and goes into none.
fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    [&[0, length(name.as_bytes())], name.as_bytes(), &[length(value)], value].concat()
}

fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    list.iter().flat_map(|(name, value)| field(name, value.as_bytes())).collect()
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/echo"), (":authority", "shop.test")];

fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    GET.into_iter().filter(|(known, _)| *known != name).collect()
}

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<u8> {
    fields(&[&GET[..], more].concat())
}

#[test]
fn a_malformed_request_reaches_no_instance() {
    let instance = Grpc::start();
    let running = super::behind(&instance);
    let head = |bytes: &[u8]| frame(HEADERS, END_STREAM | END_HEADERS, 1, bytes);
    let body = |head: &[u8], pieces: &[&[u8]]| {
        let (last, before) = pieces.split_last().unwrap();
        let mut sent = frame(HEADERS, END_HEADERS, 1, head);
        before.iter().for_each(|piece| sent.extend(frame(DATA, 0, 1, piece)));
        [sent, frame(DATA, END_STREAM, 1, last)].concat()
    };
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("no method", head(&fields(&without(":method")))),
        ("no scheme", head(&fields(&without(":scheme")))),
        ("no path", head(&fields(&without(":path")))),
        ("an empty path", head(&fields(&[&without(":path")[..], &[(":path", "")]].concat()))),
        ("no host", head(&fields(&without(":authority")))),
        ("two methods", head(&with(&[(":method", "GET")]))),
        ("two paths", head(&with(&[(":path", "/other")]))),
        ("a pseudo-field behind others", head(&fields(&[&[("x-a", "b")], &GET[..]].concat()))),
        ("a pseudo-field that there is not", head(&with(&[(":x", "b")]))),
        ("a pseudo-field of answers", head(&with(&[(":status", "200")]))),
        ("connection", head(&with(&[("connection", "close")]))),
        ("keep-alive", head(&with(&[("keep-alive", "1")]))),
        ("proxy-connection", head(&with(&[("proxy-connection", "close")]))),
        ("transfer-encoding", head(&with(&[("transfer-encoding", "chunked")]))),
        ("upgrade", head(&with(&[("upgrade", "h2c")]))),
        ("te", head(&with(&[("te", "gzip")]))),
        ("another host", head(&with(&[("host", "other.test")]))),
        ("two hosts", head(&with(&[("host", "shop.test"), ("host", "shop.test")]))),
        ("capitals", head(&with(&[("X-A", "b")]))),
        ("a name with a space", head(&with(&[("x a", "b")]))),
        ("a name with a colon", head(&with(&[("x:a", "b")]))),
        ("no name", head(&with(&[("", "b")]))),
        ("an end of line in a value", head(&with(&[("x-a", "b\r\ncontent-length: 9")]))),
        ("a zero in a value", head(&with(&[("x-a", "b\0")]))),
        (
            "an end of line in the path",
            head(&fields(&[&without(":path")[..], &[(":path", "/echo\r\nx: y")]].concat())),
        ),
        (
            "a space in the path",
            head(&fields(&[&without(":path")[..], &[(":path", "/echo HTTP/1.1")]].concat())),
        ),
        (
            "an end of line in the method",
            head(&fields(
                &[&without(":method")[..], &[(":method", "GET /x HTTP/1.1\r\nx: y\r\n\r\nGET")]].concat(),
            )),
        ),
        ("a method that is kept", head(&fields(&[&without(":method")[..], &[(":method", "PRI")]].concat()))),
        ("a length and nothing", head(&with(&[("content-length", "5")]))),
        ("a length beyond the body", body(&with(&[("content-length", "9")]), &[b"hello"])),
        ("a body beyond the length", body(&with(&[("content-length", "3")]), &[b"he", b"llo"])),
        ("two lengths", body(&with(&[("content-length", "5"), ("content-length", "6")]), &[b"hello"])),
        ("no number", body(&with(&[("content-length", "+5")]), &[b"hello"])),
        (
            "trailers that end nothing",
            [frame(HEADERS, END_HEADERS, 1, &with(&[])), frame(HEADERS, END_HEADERS, 1, &field("x-a", b"b"))]
                .concat(),
        ),
        ("padding beyond its frame", frame(DATA, 8, 1, &[200, 1])),
        (
            "a head that depends on itself",
            frame(HEADERS, END_STREAM | END_HEADERS | 0x20, 1, &[&[0, 0, 0, 1, 5][..], &with(&[])].concat()),
        ),
    ];
    let mut served = Vec::new();
    for (what, bytes) in bad {
        let mut raw = Raw::begin(&running);
        raw.send(&bytes);
        // It is answered, it is reset, or the connection ends. Who left before that would not learn what becomes of it.
        let answered = loop {
            match raw.next() {
                Some((HEADERS, _, head)) => break Some(head),
                Some((GO_AWAY | RST_STREAM, ..)) | None => break None,
                Some(_) => {}
            }
        };
        // 0x88 is `:status: 200` in the table that all have.
        served.extend(answered.filter(|head| head.first() == Some(&0x88)).map(|_| what));
    }
    assert!(served.is_empty(), "served: {served:?}");
    // What follows the head may be found wrong when the instance has that, but it never has the whole of the request.
    let whole = || instance.seen.whole.lock().unwrap().clone();
    runtime().block_on(async {
        assert_eq!(Caller::connect(running.address).await.call("/echo/7", 5).await.unwrap().grpc(), "7");
    });
    assert_eq!(whole(), ["/echo/7"]);
    wait_until("nothing is left", || running.in_flight() == 0);
    assert_eq!(running.traffic(0).failures, 0, "the version is not to blame for its clients");
}

/// The library below takes it out before anybody can see that it was there; so what an instance gets is a request like any other.
#[test]
fn a_pseudo_field_in_trailers_goes_no_further_than_the_gateway() {
    let instance = Grpc::start();
    let running = super::behind(&instance);
    let mut raw = Raw::begin(&running);
    raw.send(&frame(HEADERS, END_HEADERS, 1, &with(&[])));
    let trailers = [field(":path", b"/other"), field("x-a", b"b")].concat();
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &trailers));
    let mut answered = Vec::new();
    // The instance gives its trailers back.
    while let Some((kind, flags, payload)) = raw.next() {
        answered.extend((kind == HEADERS).then_some(payload));
        if kind == HEADERS && flags & END_STREAM != 0 {
            break;
        }
    }
    let has = |text: &[u8]| answered.iter().any(|head| head.windows(text.len()).any(|it| it == text));
    assert!(!has(b"/other") && !has(b":path"), "{answered:?}");
    assert_eq!(*instance.seen.whole.lock().unwrap(), ["/echo"]);
}

/// An instance that says this once it is asked, and reads on.
fn saying(bytes: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let bytes = Arc::new(bytes);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let bytes = Arc::clone(&bytes);
            thread::spawn(move || say(stream, &bytes));
        }
    });
    address
}

fn say(mut stream: TcpStream, bytes: &[u8]) -> Option<()> {
    let mut preface = vec![0; PREFACE.len()];
    stream.read_exact(&mut preface).ok()?;
    stream.write_all(&[frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat()).ok()?;
    loop {
        let mut start = [0; 9];
        stream.read_exact(&mut start).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, start[0], start[1], start[2]]) as usize];
        stream.read_exact(&mut payload).ok()?;
        if start[3] == HEADERS {
            stream.write_all(bytes).ok()?;
        }
    }
}

#[test]
fn a_malformed_answer_is_none_for_its_client() {
    let ok: &[u8] = &[0x88];
    let head = |flags: u8, bytes: &[u8]| frame(HEADERS, END_HEADERS | flags, 1, bytes);
    let data = |flags: u8, bytes: &[u8]| frame(DATA, flags, 1, bytes);
    let and = |more: &[u8]| [ok, more].concat();
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("no status", head(END_STREAM, &field("x-a", b"b"))),
        ("two statuses", head(END_STREAM, &and(ok))),
        ("a status that is none", head(END_STREAM, &field(":status", b"abc"))),
        ("a status of two digits", head(END_STREAM, &field(":status", b"20"))),
        ("a pseudo-field behind others", head(END_STREAM, &[&field("x-a", b"b")[..], ok].concat())),
        ("connection", head(END_STREAM, &and(&field("connection", b"close")))),
        ("transfer-encoding", head(END_STREAM, &and(&field("transfer-encoding", b"chunked")))),
        ("capitals", head(END_STREAM, &and(&field("X-A", b"b")))),
        ("an end of line in a value", head(END_STREAM, &and(&field("x-a", b"b\r\nset-cookie: c")))),
        ("data before a head", data(END_STREAM, b"hello")),
        ("a length and nothing", head(END_STREAM, &and(&field("content-length", b"5")))),
        (
            "a length beyond the body",
            [head(0, &and(&field("content-length", b"9"))), data(END_STREAM, b"hello")].concat(),
        ),
        (
            "a body beyond the length",
            [head(0, &and(&field("content-length", b"3"))), data(END_STREAM, b"hello")].concat(),
        ),
        (
            "two lengths",
            [
                head(0, &and(&fields(&[("content-length", "5"), ("content-length", "6")]))),
                data(END_STREAM, b"hello"),
            ]
            .concat(),
        ),
        (
            "more than the window",
            [
                head(0, ok),
                (0..7).flat_map(|_| data(0, &[b'x'; 16_000])).collect(),
                data(END_STREAM, &[b'x'; 16_000]),
            ]
            .concat(),
        ),
        ("a frame beyond its size", [head(0, ok), data(END_STREAM, &vec![b'x'; 20_000])].concat()),
        (
            "a promise",
            [
                frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &with(&[])].concat()),
                head(END_STREAM, ok),
            ]
            .concat(),
        ),
        ("another stream", [frame(HEADERS, END_HEADERS | END_STREAM, 2, ok), head(END_STREAM, ok)].concat()),
        ("a stream that is not open", [frame(DATA, END_STREAM, 99, b"hello"), head(END_STREAM, ok)].concat()),
        (
            "a continuation of nothing",
            [frame(CONTINUATION, END_HEADERS, 1, ok), head(END_STREAM, ok)].concat(),
        ),
        (
            "a window that overflows",
            [frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]), head(END_STREAM, ok)].concat(),
        ),
        ("fields that cannot be decoded", head(END_STREAM, &[0xff; 20])),
        ("a reset", [head(0, ok), data(0, b"hel"), frame(RST_STREAM, 0, 1, &[0, 0, 0, 2])].concat()),
        (
            "a farewell",
            [
                frame(GO_AWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 2]),
                head(0, ok),
                data(0, b"hel"),
                frame(DATA, 0, 0, b""),
            ]
            .concat(),
        ),
        (
            "heads before the answer without end",
            frame(HEADERS, END_HEADERS, 1, &field(":status", b"103")).repeat(200),
        ),
    ];
    let mut passed = Vec::new();
    for (what, bytes) in bad {
        let arms = [stable(0, &[("one", saying(bytes))])];
        let running = Running::start(&arms);
        running.gateway.apply(h2c(table(2, &arms))).unwrap();
        let mut client = running.client();
        client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
        let answered = loop {
            match client.read() {
                Ok(hint) if hint.status() == 103 => {}
                other => break other,
            }
        };
        let status = answered.as_ref().map_or(0, Message::status);
        // What comes in pieces is passed on piece by piece, and the window is opened again by that: then it was allowed to.
        let is_allowed =
            what == "more than the window" && answered.as_ref().is_ok_and(|it| it.text().len() == 8 * 16_000);
        passed.extend((![0, 502].contains(&status) && !is_allowed).then(|| format!("{what}: {answered:?}")));
        wait_until("nothing is left", || running.in_flight() == 0);
        let healthy = Instance::named("well");
        running.apply(3, &[stable(1, &[("two", healthy.address)])]);
        assert_eq!(running.client().get("/", "k").unwrap().text(), "well", "after {what}");
    }
    assert!(passed.is_empty(), "{}", passed.join("\n"));
}

//! How a client behaves: several requests at once, pieces, expectations, other protocols, and leaving.

use super::{HOST, INNER, request};
use crate::backend::LEFT;
use crate::case::{Case, Then};

pub(super) fn all() -> Vec<Case> {
    [pipelines(), pieces(), expectations(), upgrades(), connections(), other_protocols(), leaving()].concat()
}

const GET: &str = "GET /case HTTP/1.1\r\nhost: shop.test\r\n\r\n";
const POST: &str = "POST /case HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 5\r\n\r\nhello";
const CHUNKED: &str =
    "POST /case HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

fn pipelines() -> Vec<Case> {
    let counts = [2, 3, 10, 50];
    let plain = counts.iter().flat_map(|&count| {
        [("GET", GET), ("POST", POST), ("chunked", CHUNKED)].map(|(name, one)| {
            Case::request("pipeline", format!("{count} {name}"), one.repeat(count)).answers(count)
        })
    });
    let mixed = Case::request("pipeline", "mixed", [GET, POST, CHUNKED, GET].concat()).answers(4);
    let between = ["\r\n", "\r\n\r\n", "\n", "\r", "\0", " ", "x", "\n\n\n", "hello"].iter().flat_map(|it| {
        [("GET", GET), ("POST", POST), ("chunked", CHUNKED)].map(|(name, one)| {
            Case::request(
                "between requests",
                format!("{name} `{}`", it.escape_debug()),
                [one, it, GET].concat(),
            )
            .answers(2)
        })
    });
    let longer = [("POST", "content-length: 4\r\n"), ("POST", "content-length: 0\r\n"), ("GET", "")]
        .iter()
        .map(|(method, lines)| {
            let sent = [request(method, lines, "hello"), INNER.into()].concat();
            Case::request("between requests", format!("{method} longer than {lines:?}"), sent)
        });
    let closing = Case::request(
        "pipeline",
        "behind close",
        [request("GET", "connection: close\r\n", ""), INNER.into()].concat(),
    );
    plain.chain([mixed, closing]).chain(between).chain(longer).collect()
}

/// Two requests, cut at every place.
fn pieces() -> Vec<Case> {
    let both = [POST, GET].concat().into_bytes();
    let chunked = [CHUNKED, GET].concat().into_bytes();
    [("length", both), ("chunked", chunked)]
        .into_iter()
        .flat_map(|(name, bytes)| {
            (1..bytes.len()).map(move |at| {
                let case = Case::request("pieces", format!("{name} cut at {at}"), "").answers(2);
                Case { sent: vec![bytes[..at].to_vec(), bytes[at..].to_vec()], ..case }
            })
        })
        .collect()
}

fn expectations() -> Vec<Case> {
    let values = [
        "100-continue",
        "100-Continue",
        "100-CONTINUE",
        " 100-continue ",
        "100-continue, x",
        "x",
        "",
        "200-ok",
        "100",
        "100-continue;a=b",
        "\"100-continue\"",
    ];
    values
        .iter()
        .flat_map(|value| {
            let lines = format!("expect: {value}\r\n");
            let body = format!("{lines}content-length: 5\r\n");
            [
                Case::request("expect", format!("`{value}` with a body"), request("POST", &body, "hello")),
                Case::request("expect", format!("`{value}` without a body"), request("GET", &lines, "")),
                Case::request(
                    "expect",
                    format!("`{value}` chunked"),
                    request(
                        "POST",
                        format!("{lines}transfer-encoding: chunked\r\n"),
                        "5\r\nhello\r\n0\r\n\r\n",
                    ),
                ),
                Case::request(
                    "expect",
                    format!("`{value}` of HTTP/1.0"),
                    format!("POST /case HTTP/1.0\r\n{HOST}{body}\r\nhello"),
                ),
                Case::request(
                    "expect",
                    format!("`{value}` and a request in the body"),
                    request("POST", format!("{lines}content-length: {}\r\n", INNER.len()), INNER),
                ),
            ]
        })
        .collect()
}

fn upgrades() -> Vec<Case> {
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";
    let lists = ["upgrade", "Upgrade", "keep-alive, Upgrade", "upgrade, close", "upgrade,", "x"];
    let protocols = [
        "websocket",
        "WebSocket",
        "websocket, h2c",
        "h2c",
        "h2c, websocket",
        "tcp",
        "TLS/1.0",
        "",
        "HTTP/2.0",
        "websocket/13",
        "\"websocket\"",
    ];
    let mut cases = Vec::new();
    for protocol in protocols {
        for list in lists {
            let lines = format!("connection: {list}\r\nupgrade: {protocol}\r\n{key}");
            let name = format!("`{protocol}`, connection: {list}");
            cases.push(Case::request("upgrade", name, request("GET", lines, "")));
        }
        let lines = format!("connection: upgrade\r\nupgrade: {protocol}\r\n{key}");
        cases.push(Case::request(
            "upgrade",
            format!("`{protocol}` of POST"),
            request("POST", format!("{lines}content-length: 5\r\n"), "hello"),
        ));
        cases.push(Case::request(
            "upgrade",
            format!("`{protocol}` and another request"),
            [request("GET", &lines, ""), INNER.into()].concat(),
        ));
        cases.push(Case::request(
            "upgrade",
            format!("`{protocol}` without a key"),
            request("GET", format!("connection: upgrade\r\nupgrade: {protocol}\r\n"), ""),
        ));
        cases.push(Case::request(
            "upgrade",
            format!("`{protocol}` of HTTP/1.0"),
            format!("GET /case HTTP/1.0\r\n{HOST}{lines}\r\n"),
        ));
    }
    let settings =
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    cases.push(Case::request("upgrade", "h2c with settings", request("GET", settings, "")));
    cases
}

fn connections() -> Vec<Case> {
    let lists = [
        "close",
        "Close",
        "keep-alive",
        "close, keep-alive",
        "keep-alive, close",
        "host",
        "content-length",
        "transfer-encoding",
        "cookie",
        "x-forwarded-for",
        "close, x-forwarded-for",
        "connection",
        "te",
        "via",
        "",
        ",",
        ",,close",
        "close,",
        "\"close\"",
        "upgrade",
        "authorization",
        "x-lockstep-key",
        "expect",
        "closed",
        "clo se",
    ];
    let of = |list: &&str| {
        let lines = format!("connection: {list}\r\nx-a: b\r\n");
        [
            Case::request("connection", format!("GET `{list}`"), request("GET", &lines, "")),
            Case::request(
                "connection",
                format!("POST `{list}`"),
                request("POST", format!("{lines}content-length: 5\r\n"), "hello"),
            ),
            Case::request(
                "connection",
                format!("HTTP/1.0 `{list}`"),
                format!("GET /case HTTP/1.0\r\n{HOST}{lines}\r\n"),
            ),
        ]
    };
    lists.iter().flat_map(of).collect()
}

fn other_protocols() -> Vec<Case> {
    let sent: [(&str, &[u8]); 14] = [
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("a preface that goes on otherwise", b"PRI * HTTP/2.0\r\n\r\nGET /case HTTP/1.1\r\nhost: shop.test\r\n\r\n"),
        ("a preface behind a request", b"GET /case HTTP/1.1\r\nhost: shop.test\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n"),
        ("PROXY", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET /case HTTP/1.1\r\nhost: shop.test\r\n\r\n"),
        ("PROXY of version 2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02GET /case HTTP/1.1\r\nhost: shop.test\r\n\r\n"),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("SMTP", b"EHLO shop.test\r\n\r\n"),
        ("Redis", b"*1\r\n$4\r\nPING\r\n\r\n"),
        ("an answer", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        ("zeros", &[0; 64]),
        ("blank lines alone", b"\r\n\r\n\r\n\r\n"),
        ("no end", b"GET /case HTTP/1.1\r\nhost: shop.test\r\n"),
        ("one word", b"GET\r\n\r\n"),
    ];
    sent.map(|(name, bytes)| Case::request("other protocol", name, bytes)).into()
}

fn leaving() -> Vec<Case> {
    let kinds = [("GET", GET), ("POST", POST), ("chunked", CHUNKED)];
    let ends = kinds.iter().map(|(name, sent)| {
        Case::request("half-close", format!("after {name}"), *sent).then(Then::EndSending)
    });
    let cut =
        [("POST", &POST[..POST.len() - 2]), ("chunked", &CHUNKED[..CHUNKED.len() - 9]), ("head", &GET[..20])];
    let cut = cut.iter().flat_map(|(name, sent)| {
        [("half-close", Then::EndSending), ("leaving", Then::Leave(0))]
            .map(|(family, then)| Case::request(family, format!("within {name}"), *sent).then(then))
    });
    let leaves = kinds.iter().flat_map(|(name, sent)| {
        [0, 1, 20, 50].map(|bytes| {
            let sent = sent.replace("/case", LEFT);
            Case::request("leaving", format!("{name}, after {bytes} bytes"), sent).then(Then::Leave(bytes))
        })
    });
    ends.chain(cut).chain(leaves).collect()
}

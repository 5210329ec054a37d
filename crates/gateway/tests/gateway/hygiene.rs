//! Requests on the edge of the protocol, sent as raw bytes: what could be read in two ways is refused.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use lockstep_gateway::Timeouts;

use crate::support::{Instance, Running, answer, raw, stable, wait_until};

fn echo() -> Instance {
    Instance::start(|request, stream| {
        let headers: String =
            request.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        answer(stream, 200, format!("{}\n{headers}\n{}", request.start, request.text()).as_bytes())
    })
}

#[test]
fn ambiguous_and_broken_requests_are_refused_and_never_reach_an_instance() {
    let echo = echo();
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let long_line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(40_000));
    let long_head = format!("GET / HTTP/1.1\r\nhost: shop.test\r\na: {}\r\n\r\n", "b".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\nhost: shop.test\r\n{}\r\n", "a: b\r\n".repeat(257));
    let cases: &[(u16, &str)] = &[
        (
            400,
            "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            400,
            "POST / HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        ),
        (400, "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello"),
        (400, "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 5, 5\r\n\r\nhello"),
        (400, "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: +5\r\n\r\nhello"),
        (400, "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 99999999999999999999\r\n\r\n"),
        (501, "POST / HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        (
            400,
            "POST / HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (501, "POST / HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.0\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST / HTTP/1.1\r\nhost: shop.test\r\ncontent-length : 5\r\n\r\nhello"),
        (400, "GET / HTTP/1.1\r\nhost: shop.test\r\na: b\r\n folded\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nhost: shop.test\r\na: b\rc: d\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nhost: shop.test\r\na: b\0c\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nhost: shop.test\r\nhost: other.test\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nhost: shop.test/x\r\n\r\n"),
        (400, "GET / HTTP/1.1\r\nhost: user@shop.test\r\n\r\n"),
        (400, "GET shop HTTP/1.1\r\nhost: shop.test\r\n\r\n"),
        (400, "GET ftp://shop.test/ HTTP/1.1\r\nhost: shop.test\r\n\r\n"),
        (400, "GET  / HTTP/1.1\r\nhost: shop.test\r\n\r\n"),
        (501, "CONNECT shop.test:443 HTTP/1.1\r\nhost: shop.test\r\n\r\n"),
        (501, "PRI / HTTP/1.1\r\nhost: shop.test\r\n\r\n"),
        (505, "GET / HTTP/2.0\r\nhost: shop.test\r\n\r\n"),
        (417, "GET / HTTP/1.1\r\nhost: shop.test\r\nexpect: cake\r\n\r\n"),
        (400, "\x16\x03\x01\x02\r\n"),
        (414, &long_line),
        (431, &long_head),
        (431, &many),
    ];
    for (status, bytes) in cases {
        let mut client = running.client();
        client.send(bytes).unwrap();
        let refused = client.read().unwrap();
        let shown: String = bytes.chars().take(120).collect();
        assert_eq!(refused.status(), *status, "{shown:?}: {}", refused.text());
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        assert_eq!(refused.header("connection"), Some("close"));
        assert_eq!(client.rest(), b"", "something came after the refusal of {shown:?}");
    }
    assert_eq!(echo.served(), 0);
}

#[test]
fn a_chunk_size_that_is_not_plain_hexadecimal_ends_the_request() {
    let echo = echo();
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    for chunk in
        ["+5\r\nhello\r\n", "5\nhello\r\n", "0x5\r\nhello\r\n", "5\r\nhelloX", "fffffffffffffffff\r\n"]
    {
        let mut client = running.client();
        let head = "POST / HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n";
        let refused = client.ask(format!("{head}{chunk}0\r\n\r\n")).unwrap();
        assert_eq!(refused.status(), 400, "{chunk:?}");
        assert_eq!(client.rest(), b"");
    }
    assert_eq!(echo.served(), 0);
    wait_until("nothing is under way", || running.in_flight() == 0);
}

#[test]
fn fields_of_one_connection_end_at_the_gateway_in_both_directions() {
    let instance = Instance::start(|request, stream| {
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        let body = names.join(",").to_lowercase();
        let head = format!(
            "HTTP/1.1 200 OK\r\nconnection: x-private\r\nx-private: 1\r\nkeep-alive: timeout=5\r\nx-public: 1\r\n\
             proxy-authenticate: x\r\nlockstep-version: fake@9.9.9\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        raw(stream, head.as_bytes())
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let answered = running
        .client()
        .ask("GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: X-Secret, host, close-not\r\nX-Secret: 1\r\nX-Open: 1\r\n\
              Keep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: x\r\nProxy-Connection: x\r\nUpgrade: h2c\r\n\
              HTTP2-Settings: x\r\n\r\n")
        .unwrap();
    let passed = answered.text();
    for gone in [
        "x-secret",
        "keep-alive",
        "te,",
        "proxy-authorization",
        "proxy-connection",
        "upgrade",
        "http2-settings",
        "connection",
    ] {
        assert!(!passed.contains(gone), "{gone} reached the instance: {passed}");
    }
    assert!(passed.contains("x-open") && passed.contains("host"), "{passed}");
    for gone in ["x-private", "keep-alive", "proxy-authenticate", "connection"] {
        assert_eq!(answered.header(gone), None, "{gone} reached the client");
    }
    assert_eq!((answered.header("x-public"), answered.version()), (Some("1"), "1.0.0"));
}

#[test]
fn the_host_of_an_absolute_target_wins() {
    let echo = echo();
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let text =
        running.client().ask("GET http://shop.test/a?b HTTP/1.1\r\nhost: other.test\r\n\r\n").unwrap().text();
    assert!(text.starts_with("GET /a?b HTTP/1.1\nhost: shop.test\n"), "{text}");
    assert!(!text.contains("other.test"), "{text}");
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let instance = Instance::start(|request, stream| {
        let status = request.target().trim_start_matches('/');
        raw(stream, format!("HTTP/1.1 {status} Said\r\ncontent-length: 5\r\n\r\n").as_bytes()).and_then(
            |then| {
                if request.start.starts_with("HEAD") || ["204", "304"].contains(&status) {
                    Ok(then)
                } else {
                    raw(stream, b"hello")
                }
            },
        )
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let mut client = running.client();
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 404)] {
        client.send(format!("{method} /{status} HTTP/1.1\r\nhost: shop.test\r\n\r\n")).unwrap();
        let head = client.read_to_head().unwrap();
        assert_eq!(head.status(), status);
        assert_eq!(head.header("content-length").is_some(), status != 204);
    }
    assert_eq!(client.get("/200", "k").unwrap().text(), "hello");
}

#[test]
fn http_1_0_clients_get_plain_bodies_and_their_kind_of_keep_alive() {
    let chunked = Instance::start(|request, stream| match request.target() {
        "/chunked" => {
            raw(stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        }
        _ => answer(stream, 200, b"sized"),
    });
    let running = Running::start(&[stable(0, &[("one", chunked.address)])]);
    let mut client = running.client();
    let kept = client.ask("GET / HTTP/1.0\r\nhost: shop.test\r\nconnection: keep-alive\r\n\r\n").unwrap();
    assert_eq!((kept.header("connection"), kept.text().as_str()), (Some("keep-alive"), "sized"));
    let closed =
        client.ask("GET /chunked HTTP/1.0\r\nhost: shop.test\r\nconnection: keep-alive\r\n\r\n").unwrap();
    assert_eq!((closed.header("transfer-encoding"), closed.header("connection")), (None, Some("close")));
    assert_eq!(closed.text(), "hello");
    let mut once = running.client();
    let answered = once.ask("GET / HTTP/1.0\r\nhost: shop.test\r\n\r\n").unwrap();
    assert_eq!((answered.header("connection"), once.rest().len()), (Some("close"), 0));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let echo = Instance::start(|request, stream| answer(stream, 200, request.target().as_bytes()));
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let mut client = running.client();
    let requests: String =
        (0..500).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: shop.test\r\n\r\n")).collect();
    client.send(requests).unwrap();
    for n in 0..500 {
        assert_eq!(client.read().unwrap().text(), format!("/{n}"));
    }
}

#[test]
fn a_head_that_arrives_byte_by_byte_is_served_and_one_that_stops_is_not() {
    let echo = echo();
    let timeouts = Timeouts {
        head: Duration::from_millis(300),
        client_idle: Duration::from_millis(600),
        ..Timeouts::default()
    };
    let running = Running::with(timeouts, &[stable(0, &[("echo", echo.address)])]);
    let mut slow = running.client();
    for byte in b"\r\n\r\nGET / HTTP/1.1\r\nhost: shop.test\r\n\r\n" {
        slow.send([*byte]).unwrap();
    }
    assert_eq!(slow.read().unwrap().status(), 200);
    let mut stuck = running.client();
    stuck.send("GET / HTTP/1.1\r\nhost: sho").unwrap();
    assert_eq!(stuck.read().unwrap().status(), 408);
    assert_eq!(slow.rest(), b"", "an idle connection is closed without a word");
    assert_eq!(running.client().rest(), b"");
}

#[test]
fn a_slow_loris_that_keeps_sending_is_cut_off_at_the_limit() {
    let echo = echo();
    let timeouts = Timeouts { head: Duration::from_millis(300), ..Timeouts::default() };
    let running = Running::with(timeouts, &[stable(0, &[("echo", echo.address)])]);
    let client = running.client();
    let mut socket = client.socket().try_clone().unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: shop.test\r\n").unwrap();
    // Each field keeps the connection busy; only the limit on the whole head ends it.
    wait_until("the gateway gives up", || socket.write_all(b"a: b\r\n").is_err());
}

#[test]
fn empty_lines_hold_no_connection_however_often_they_come() {
    let echo = echo();
    let timeouts = Timeouts { client_idle: Duration::from_millis(300), ..Timeouts::default() };
    let running = Running::with(timeouts, &[stable(0, &[("echo", echo.address)])]);
    let mut client = running.client();
    assert_eq!(client.get("/", "k").unwrap().status(), 200);
    let mut socket = client.socket().try_clone().unwrap();
    wait_until("the gateway gives up", || socket.write_all(b"\r\n").is_err());
}

#[test]
fn a_target_with_a_host_and_a_query_and_no_path_asks_for_the_root() {
    let echo = echo();
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let got = running.client().ask("GET http://shop.test?x=1 HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    assert!(got.text().starts_with("GET /?x=1 HTTP/1.1"), "{}", got.text());
}

#[test]
fn what_the_server_itself_can_do_is_answered_without_a_service() {
    let echo = echo();
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let mut client = running.client();
    let got = client.ask("OPTIONS * HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    assert_eq!(got.status(), 204);
    assert!(got.header("allow").unwrap().contains("OPTIONS") && got.header("content-length").is_none());
    assert_eq!(client.get("/", "k").unwrap().status(), 200, "on the same connection");
    assert_eq!(echo.served(), 1);
}

#[test]
fn a_client_that_has_closed_its_side_without_a_request_is_let_go() {
    let echo = echo();
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let mut client = running.client();
    client.socket().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"");
}

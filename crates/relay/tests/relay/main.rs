//! The relay on sockets: other sides that are slow, half closed, hostile, or not there, and what whoever asks gets then.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod other;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_domain::external::{Clients, External};
use lockstep_relay::{OtherSide, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::other::{Other, tls, tls_for};

/// A relay that was begun, and what ends it.
struct Relay {
    address: SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

async fn relay(external: &External) -> Relay {
    relay_in(external, std::path::Path::new(".")).await
}

async fn relay_in(external: &External, folder: &std::path::Path) -> Relay {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, other_side) = (CancellationToken::new(), OtherSide::new(external, folder).unwrap());
    let ended = tokio::spawn(serve(listener, Arc::new(other_side), stop.clone()));
    Relay { address, stop, ended }
}

impl Relay {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a whole request that asks for the end of its connection, and returns all that is answered.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n")).await
    }
}

async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A connection that is reset has said all that it says.
    let _ = stream.read_to_end(&mut all).await;
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until what is waited for has come.
async fn until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut all = String::new();
    let mut buffer = [0; 4096];
    while !all.contains(wanted) {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the end came before {wanted:?}: {all}");
        all.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    all
}

fn body_of(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_goes_to_the_path_below_the_address_with_the_host_that_is_meant_there() {
    let other = Other::begin().await;
    let relay = relay(&External::at(format!("http://localhost:{}/base/", other.port()))).await;
    let asked = tokio::spawn(async move {
        let request = "POST /a/b?c=d HTTP/1.1\r\nhost: gateway\r\nconnection: close, x-hop\r\nx-hop: 1\r\nx-forwarded-for: 10.0.0.7\r\n\
                       authorization: Bearer x\r\ncontent-length: 5\r\n\r\nhello";
        relay.ask(request).await
    });
    let mut there = other.accept().await;
    let request = until(&mut there, "hello").await;
    assert!(request.starts_with("POST /base/a/b?c=d HTTP/1.1\r\n"), "{request}");
    let port = other.port();
    for wanted in
        [&format!("host: localhost:{port}\r\n"), "authorization: Bearer x\r\n", "content-length: 5\r\n"]
    {
        assert!(request.contains(wanted), "{wanted}: {request}");
    }
    assert!(!request.contains("x-hop") && !request.contains("10.0.0.7"), "{request}");
    let answer = "HTTP/1.1 201 Created\r\nlocation: /base/a\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nconnection: x-theirs\r\nx-theirs: 1\r\n\
                  lockstep-relay: forged\r\ncontent-length: 4\r\n\r\ndone";
    there.write_all(answer.as_bytes()).await.unwrap();
    let answer = asked.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(answer.contains("set-cookie: a=1\r\n") && answer.contains("set-cookie: b=2\r\n"), "{answer}");
    assert!(!answer.contains("x-theirs") && !answer.contains("forged"), "{answer}");
    assert_eq!(body_of(&answer), "done");
}

#[tokio::test]
async fn bodies_pass_piece_by_piece_both_ways_at_the_same_time() {
    let other = Other::begin().await;
    let relay = relay(&External::at(other.url())).await;
    let mut client = relay.connect().await;
    client
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        .await
        .unwrap();
    let mut there = other.accept().await;
    until(&mut there, "first").await;
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nback\r\n";
    there.write_all(head).await.unwrap();
    until(&mut client, "back").await;
    client.write_all(b"6\r\nsecond\r\n").await.unwrap();
    until(&mut there, "second").await;
    there.write_all(b"4\r\nmore\r\n").await.unwrap();
    until(&mut client, "more").await;
    client.write_all(b"0\r\n\r\n").await.unwrap();
    until(&mut there, "0\r\n\r\n").await;
    there.write_all(b"0\r\n\r\n").await.unwrap();
    until(&mut client, "0\r\n\r\n").await;
}

#[tokio::test]
async fn whoever_goes_away_ends_an_answer_that_never_ends() {
    let other = Other::begin().await;
    let relay = relay(&External::at(other.url())).await;
    let mut client = relay.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut there = other.accept().await;
    until(&mut there, "\r\n\r\n").await;
    there.write_all(b"HTTP/1.1 200 OK\r\n\r\nbegun").await.unwrap();
    until(&mut client, "begun").await;
    drop(client);
    // The other side learns it: sooner or later nothing can be written any more.
    while there.write_all(&[b'x'; 65_536]).await.is_ok() {}
    // The same of one that has not begun.
    let mut client = relay.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut there = other.accept().await;
    until(&mut there, "\r\n\r\n").await;
    drop(client);
    assert_eq!(rest(&mut there).await, "");
}

#[tokio::test]
async fn what_breaks_off_is_not_made_whole() {
    let other = Other::answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let relay_there = relay(&External::at(other.url())).await;
    let answer = relay_there.get("/").await;
    assert!(answer.contains("content-length: 100\r\n") && body_of(&answer) == "half", "{answer}");
    let other = Other::answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    let relay_there = relay(&External::at(other.url())).await;
    let answer = relay_there.get("/").await;
    assert!(answer.contains("half") && !answer.contains("\r\n0\r\n"), "{answer}");
}

#[tokio::test]
async fn what_may_not_be_repeated_is_sent_once_and_on_a_fresh_connection() {
    let other = Other::begin().await;
    let relay = relay(&External::at(other.url())).await;
    let (first, post, url) = (
        relay.get("/1"),
        "POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
        "/2",
    );
    let (answer, mut idle) = tokio::join!(first, async {
        let mut there = other.accept().await;
        until(&mut there, "\r\n\r\n").await;
        there.write_all(OK.as_bytes()).await.unwrap();
        there
    });
    assert!(answer.ends_with("ok"), "{answer}");
    // A request that may be repeated goes where the last one went, and is asked again where that is closed instead of answered.
    let (answer, ()) = tokio::join!(relay.get(url), async {
        until(&mut idle, "GET /2").await;
        drop(idle);
        let mut there = other.accept().await;
        until(&mut there, "GET /2").await;
        there.write_all(OK.as_bytes()).await.unwrap();
        // It stays open, and idle.
        tokio::spawn(async move { rest(&mut there).await });
    });
    assert!(answer.ends_with("ok"), "{answer}");
    let (answer, ()) = tokio::join!(relay.ask(post), async {
        let mut there = other.accept().await;
        until(&mut there, "hi").await;
    });
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    assert!(answer.contains("closed the connection without an answer"), "{answer}");
    other.nobody_else_came().await;
}

#[tokio::test]
async fn an_other_side_that_does_not_speak_http_rightly_is_a_bad_gateway() {
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1_000_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(300));
    for bad in [
        "",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nok",
        "HTTP/1.1 200 OK\r\n bad\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 999999 What\r\n\r\n",
        &huge,
        &many,
    ] {
        let other = Other::answering(bad).await;
        let relay = relay(&External::at(other.url())).await;
        let answer = relay.get("/").await;
        let shown = &bad[..bad.len().min(60)];
        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{shown:?}: {answer}");
        assert!(
            answer.contains("lockstep-relay: ") && answer.contains("application/problem+json"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn two_requests_are_never_made_of_one() {
    let other = Other::begin().await;
    let relay = relay(&External::at(other.url())).await;
    let smuggled = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut client = relay.connect().await;
    client.write_all(smuggled.as_bytes()).await.unwrap();
    // Either it is refused, or what follows is a request of its own: never a body of one and a request of the other.
    let answered = tokio::time::timeout(Duration::from_millis(300), rest(&mut client)).await;
    if answered.is_err() || answered.as_ref().is_ok_and(|it| !it.contains(" 400 ")) {
        let mut there = other.accept().await;
        let request = until(&mut there, "\r\n\r\n").await;
        assert!(!request.contains("content-length"), "{request}");
        assert!(!request.contains("/admin"), "{request}");
    }
    let climbing = self::relay(&External::at(format!("{}/base", other.url()))).await;
    for path in ["/../admin", "/%2e%2e/admin", "/a/..%2f..%2fadmin"] {
        let answer = climbing.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{path}: {answer}");
    }
    let answer =
        climbing.ask("CONNECT other:443 HTTP/1.1\r\nhost: other:443\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
}

#[tokio::test]
async fn interim_answers_are_no_answers_and_a_body_is_asked_for() {
    let other = Other::begin().await;
    let relay = relay(&External::at(other.url())).await;
    let mut client = relay.connect().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\nconnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut there = other.accept().await;
    until(&mut client, "100 Continue").await;
    client.write_all(b"body").await.unwrap();
    let request = until(&mut there, "body").await;
    assert!(!request.contains("expect"), "{request}");
    there
        .write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
        .await
        .unwrap();
    there.write_all(OK.as_bytes()).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"), "{answer}");
}

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: y\r\n\r\n";

#[tokio::test]
async fn a_websocket_is_a_tunnel_until_one_side_ends() {
    let other = Other::begin().await;
    let relay = relay(&External::at(other.url())).await;
    for ends_there in [true, false] {
        let mut client = relay.connect().await;
        client.write_all(UPGRADE.as_bytes()).await.unwrap();
        let mut there = other.accept().await;
        let request = until(&mut there, "\r\n\r\n").await;
        assert!(
            request.contains("sec-websocket-key: x\r\n") && request.contains("upgrade: websocket\r\n"),
            "{request}"
        );
        // The first bytes of the tunnel come with the answer.
        there.write_all(format!("{SWITCH}early").as_bytes()).await.unwrap();
        let answer = until(&mut client, "early").await;
        assert!(
            answer.starts_with("HTTP/1.1 101 ") && answer.contains("sec-websocket-accept: y\r\n"),
            "{answer}"
        );
        client.write_all(b"ping").await.unwrap();
        until(&mut there, "ping").await;
        there.write_all(b"pong").await.unwrap();
        until(&mut client, "pong").await;
        if ends_there {
            there.write_all(b"bye").await.unwrap();
            drop(there);
            assert_eq!(rest(&mut client).await, "bye");
        } else {
            drop(client);
            assert_eq!(rest(&mut there).await, "");
        }
    }
    // Whoever does not want one is told so.
    let mut client = relay.connect().await;
    client.write_all(UPGRADE.as_bytes()).await.unwrap();
    let mut there = other.accept().await;
    until(&mut there, "\r\n\r\n").await;
    there.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
    assert!(until(&mut client, "no").await.starts_with("HTTP/1.1 403 Forbidden\r\n"));
}

#[tokio::test]
async fn nobody_there_is_said_with_its_reason() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gone = relay(&External::at(format!("http://{closed}/secret/path"))).await;
    let answer = gone.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    assert!(answer.contains(&format!("nobody answers at http://{closed}: Connection refused")), "{answer}");
    assert!(!answer.contains("secret"), "what may be a secret is in no message: {answer}");
    let nowhere = relay(&External::at("https://nowhere.invalid")).await;
    let answer = nowhere.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
    assert!(answer.contains("nobody answers at https://nowhere.invalid: "), "{answer}");
}

#[tokio::test]
async fn an_other_side_that_takes_too_long_is_given_up() {
    let other = Other::begin().await;
    let slow = External { timeout_ms: Some(100), ..External::at(other.url()) };
    let relay_there = relay(&slow).await;
    let begun = Instant::now();
    let answer = relay_there.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
    assert!(answer.contains("did not begin an answer within 100 ms"), "{answer}");
    // The time counts from the end of the request on.
    let mut client = relay_there.connect().await;
    client
        .write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbo")
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), client.read(&mut [0; 1])).await;
    assert!(early.is_err(), "it was given up before it was sent");
    client.write_all(b"dy").await.unwrap();
    assert!(rest(&mut client).await.contains("504 Gateway Timeout"));
    // One that takes connections and never speaks TLS.
    let silent = External { connect_ms: 100, ..External::at(format!("https://127.0.0.1:{}", other.port())) };
    let relay_there = relay(&silent).await;
    let answer = relay_there.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
    assert!(answer.contains("was not reached within 100 ms"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn tls_is_checked_by_the_file_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let there = tls(&["localhost"], OK).await;
    std::fs::write(folder.path().join("ca.pem"), &there.certificate).unwrap();
    let at = |host: &str| format!("https://{host}:{}", there.port);
    let trusting = |host: &str| External { ca: Some("ca.pem".parse().unwrap()), ..External::at(at(host)) };
    let good = relay_in(&trusting("localhost"), folder.path()).await;
    assert!(good.get("/").await.ends_with("ok"));
    let wrong_name = relay_in(&trusting("127.0.0.1"), folder.path()).await.get("/").await;
    assert!(
        wrong_name.starts_with("HTTP/1.1 502 ") && wrong_name.contains("the certificate of "),
        "{wrong_name}"
    );
    let stranger = tls(&["localhost"], OK).await;
    std::fs::write(folder.path().join("ca.pem"), &stranger.certificate).unwrap();
    let unknown = relay_in(&trusting("localhost"), folder.path()).await.get("/").await;
    assert!(unknown.starts_with("HTTP/1.1 502 ") && unknown.contains("the certificate of "), "{unknown}");
    // Plain HTTP where TLS is spoken, and the other way round.
    let plain = relay(&External::at(format!("http://127.0.0.1:{}", there.port))).await.get("/").await;
    assert!(plain.contains("speaks TLS where plain HTTP was expected"), "{plain}");
    let other = Other::answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    std::fs::write(folder.path().join("ca.pem"), &there.certificate).unwrap();
    let external = External {
        ca: Some("ca.pem".parse().unwrap()),
        ..External::at(format!("https://127.0.0.1:{}", other.port()))
    };
    let tls = relay_in(&external, folder.path()).await.get("/").await;
    assert!(tls.contains("speaks plain HTTP where TLS was expected"), "{tls}");
    assert!(OtherSide::new(&trusting("localhost"), std::path::Path::new("/nowhere")).is_err());
}

#[tokio::test]
async fn who_wants_to_know_who_asks_is_shown_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let made = || {
        let made = rcgen::generate_simple_self_signed(vec!["shop.internal".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    };
    let ((certificate, key), (stranger, strange_key)) = (made(), made());
    let there = tls_for(&["localhost"], OK, Some(&certificate)).await;
    std::fs::write(folder.path().join("ca.pem"), &there.certificate).unwrap();
    let showing = |identity: Option<String>| External {
        ca: Some("ca.pem".parse().unwrap()),
        certificate: identity,
        ..External::at(format!("https://localhost:{}", there.port))
    };
    for both in [format!("{certificate}{key}"), format!("{key}{certificate}")] {
        let known = relay_in(&showing(Some(both)), folder.path()).await.get("/").await;
        assert!(known.ends_with("ok"), "{known}");
    }
    for other in [None, Some(format!("{stranger}{strange_key}"))] {
        let refused = relay_in(&showing(other), folder.path()).await.get("/").await;
        assert!(refused.starts_with("HTTP/1.1 502 "), "{refused}");
    }
    for wrong in [certificate.clone(), key.clone(), format!("{certificate}{strange_key}"), "PEM".to_owned()] {
        let error = OtherSide::new(&showing(Some(wrong)), folder.path()).unwrap_err().to_string();
        assert!(error.contains("no certificate with its private key"), "{error}");
        assert!(!error.contains("BEGIN"), "{error}");
    }
}

#[tokio::test]
async fn a_relay_to_itself_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let other_side =
        OtherSide::new(&External::at(format!("http://{address}")), std::path::Path::new(".")).unwrap();
    let stop = CancellationToken::new();
    let ended = tokio::spawn(serve(listener, Arc::new(other_side), stop.clone()));
    let relay = Relay { address, stop, ended };
    let answer = relay.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 508 Loop Detected\r\n"), "{answer}");
}

#[tokio::test]
async fn whether_the_other_side_can_be_reached_is_asked_without_a_request() {
    let ask = "OPTIONS * HTTP/1.0\r\nlockstep-health: reach\r\n\r\n";
    let other = Other::begin().await;
    let there = relay(&External::at(other.url())).await;
    let (answer, asked) = tokio::join!(there.ask(ask), async { rest(&mut other.accept().await).await });
    assert!(answer.starts_with("HTTP/1.0 204 "), "{answer}");
    assert_eq!(asked, "");
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let answer = relay(&External::at(format!("http://{closed}"))).await.ask(ask).await;
    assert!(
        answer.starts_with("HTTP/1.0 502 ") && answer.contains("lockstep-relay: nobody answers"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_was_begun_is_finished_when_the_relay_ends() {
    let other = Other::begin().await;
    let told = External { clients: Clients::Told, ..External::at(other.url()) };
    let relay = relay(&told).await;
    let mut client = relay.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.0.0.7\r\n\r\n").await.unwrap();
    let mut there = other.accept().await;
    let request = until(&mut there, "\r\n\r\n").await;
    assert!(request.contains("x-forwarded-for: 10.0.0.7\r\n"), "{request}");
    relay.stop.cancel();
    there.write_all(OK.as_bytes()).await.unwrap();
    assert!(rest(&mut client).await.ends_with("ok"));
    relay.ended.await.unwrap();
    assert!(TcpStream::connect(relay.address).await.is_err());
}

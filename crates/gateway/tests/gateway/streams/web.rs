//! gRPC-Web: what clients without trailers send and get, and what the instance is asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::support::{Caller, Grpc, request, runtime};
use super::{Seen, behind, until};
use crate::support::*;

/// The message of a call: `abcde`.
const MESSAGE: &[u8] = b"\0\0\0\0\x05abcde";

fn end(fields: &str) -> Vec<u8> {
    [&b"\x80"[..], &(fields.len() as u32).to_be_bytes(), fields.as_bytes()].concat()
}

/// Reads base64 whose pieces may be padded.
fn read_text(text: &[u8]) -> Vec<u8> {
    text.chunks(4).flat_map(|group| STANDARD.decode(group).unwrap()).collect()
}

fn post(path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: shop.test\r\ncontent-type: {kind}\r\naccept: {kind}\r\nx-grpc-web: 1\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn a_browser_calls_by_http_1_and_is_told_the_end_within_the_body() {
    let instance = Grpc::start();
    let running = behind(&instance);
    let mut client = running.client();
    let got = client.ask(post("/echo/5", "application/grpc-web+proto", MESSAGE)).unwrap();
    assert_eq!((got.status(), got.header("content-type")), (200, Some("application/grpc-web")));
    assert_eq!(got.body, [MESSAGE, &end("grpc-status: 5\r\n")].concat());
    assert!(got.trailers.is_empty(), "{:?}", got.trailers);
    let head = instance.seen.last();
    assert_eq!(head.headers["content-type"], "application/grpc+proto");
    assert_eq!(
        (&head.headers["te"], &head.headers["content-length"]),
        (&"trailers".parse().unwrap(), &"10".parse().unwrap())
    );
    assert!(!head.headers.contains_key("x-grpc-web") && !head.headers.contains_key("accept"));

    // Two messages, each padded for itself.
    let text = [STANDARD.encode(MESSAGE), STANDARD.encode(b"\0\0\0\0\0")].concat();
    let got = client.ask(post("/echo/0", "application/grpc-web-text", text.as_bytes())).unwrap();
    assert_eq!(got.header("content-type"), Some("application/grpc-web-text"));
    assert_eq!(read_text(&got.body), [MESSAGE, b"\0\0\0\0\0", &end("grpc-status: 0\r\n")].concat());
    assert!(!instance.seen.last().headers.contains_key("content-length"));
    // What is said in the head alone stays there.
    let got = client.ask(post("/only/14", "application/grpc-web", MESSAGE)).unwrap();
    assert_eq!((got.header("grpc-status"), got.body.len()), (Some("14"), 0));
    wait_until("the end is counted", || running.traffic(0).failures == 1 && running.traffic(0).requests == 3);
}

#[test]
fn a_browser_calls_by_http_2() {
    let instance = Grpc::start();
    let running = behind(&instance);
    let asked = |path, kind| request("POST", path).header("content-type", kind).body(()).unwrap();
    let text: Vec<u8> =
        MESSAGE.repeat(9_000).chunks(7).flat_map(|it| STANDARD.encode(it).into_bytes()).collect();
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let got = caller.ask(asked("/echo/0", "application/grpc-web"), MESSAGE).await.unwrap();
        assert_eq!(got.body, [MESSAGE, &end("grpc-status: 0\r\n")].concat());
        assert!(got.trailers.is_empty());
        let got = caller.ask(asked("/echo/0", "application/grpc-web-text"), &text).await.unwrap();
        assert_eq!(read_text(&got.body), [&MESSAGE.repeat(9_000), &end("grpc-status: 0\r\n")[..]].concat());
        let got = caller.ask(asked("/silent", "application/grpc-web-text"), b"AAA").await.unwrap();
        assert_eq!(got.field("grpc-status"), "13", "{got:?}");
        // What is no answer of gRPC passes as it is.
        let got = caller.ask(asked("/plain", "application/grpc-web"), MESSAGE).await.unwrap();
        assert_eq!((got.field("content-length"), got.body.as_slice()), ("5", &b"plain"[..]));
    });
}

#[test]
fn a_deadline_ends_such_a_call_within_its_body() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let asked = request("POST", "/begin").header("content-type", "application/grpc-web-text");
        let got = caller.ask(asked.header("grpc-timeout", "200m").body(()).unwrap(), b"").await.unwrap();
        let body = read_text(&got.body);
        assert!(
            body.starts_with(b"12345\x80\0\0") && String::from_utf8_lossy(&body).contains("grpc-status: 4"),
            "{body:?}"
        );
        until(|| Seen::count(&instance.seen.cancelled) == 1).await;
    });
}

#[test]
fn a_service_of_http_1_gets_such_a_call_as_it_came() {
    let instance = Instance::start(|request, stream| {
        let kind = request.header("content-type").unwrap_or_default();
        answer(
            stream,
            200,
            format!("{kind} {} {}", request.header("x-grpc-web").unwrap(), request.body.len()).as_bytes(),
        )
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let got = running.client().ask(post("/", "application/grpc-web+proto", MESSAGE)).unwrap();
    assert_eq!(got.text(), "application/grpc-web+proto 1 10");
    assert_eq!(got.header("content-length"), Some("31"));
}

#[test]
fn who_cannot_be_served_is_told_so_in_the_head() {
    let instance = Grpc::start();
    let running = behind(&instance);
    running.apply(3, &[]);
    for kind in ["application/grpc-web+proto", "application/grpc-web-text"] {
        let got = running.client().ask(post("/echo/0", kind, b"AAAA")).unwrap();
        assert_eq!((got.status(), got.header("grpc-status")), (200, Some("14")), "{kind}");
        assert!(got.header("content-type").unwrap().starts_with("application/grpc-web"));
    }
}

//! WebSockets of clients of HTTP/2 (RFC 8441), at instances that speak HTTP/1.1.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::mpsc::channel;

use bytes::Bytes;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use http::{Method, Request};

use super::support::{Caller, Grpc, runtime, send};
use super::{behind, until};
use crate::support::*;

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-accept: x\r\nsec-websocket-protocol: chat\r\n\r\n";

fn asking(protocol: &'static str) -> Request<()> {
    let mut request =
        super::request("CONNECT", "/chat?a=b").header("sec-websocket-version", "13").body(()).unwrap();
    assert_eq!(request.method(), Method::CONNECT);
    request.extensions_mut().insert(Protocol::from_static(protocol));
    request
}

/// Opens a WebSocket.
async fn open(running: &Running) -> (http::response::Parts, SendStream<Bytes>, RecvStream) {
    let caller = Caller::connect(running.address).await;
    until(|| caller.0.is_extended_connect_protocol_enabled()).await;
    let (response, send) = caller.begin(asking("websocket"), false).await.unwrap();
    let (head, answer) = response.await.unwrap().into_parts();
    (head, send, answer)
}

async fn read(answer: &mut RecvStream, length: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < length {
        let Some(piece) = answer.data().await else { break };
        let piece = piece.unwrap();
        answer.flow_control().release_capacity(piece.len()).unwrap();
        read.extend_from_slice(&piece);
    }
    read
}

#[test]
fn bytes_pass_both_ways_until_one_side_ends() {
    let (told, hears) = channel();
    let instance = Instance::start(move |request, stream| {
        told.send(request.clone()).unwrap();
        raw(stream, SWITCH)?;
        let mut buffer = [0; 10_000];
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(Then::Close),
                length => stream.get_mut().write_all(&buffer[..length])?,
            }
        }
    });
    let running = Running::start(&[stable(0, &[("ws", instance.address)])]);
    let sent: Vec<u8> = (0..1_000_000).map(|at| (at % 251) as u8).collect();
    runtime().block_on(async {
        let (head, mut send_half, mut answer) = open(&running).await;
        assert_eq!(head.status, 200);
        assert_eq!(head.headers["sec-websocket-protocol"], "chat");
        for none in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!head.headers.contains_key(none), "{none}");
        }
        let sending = send(&mut send_half, sent.clone().into());
        let (got, sent_all) = tokio::join!(read(&mut answer, sent.len()), sending);
        assert!(sent_all.is_some() && got == sent);
        assert_eq!(running.in_flight(), 1);
        send_half.send_data(Bytes::new(), true).unwrap();
        // The end of one side is that of the other.
        assert_eq!((read(&mut answer, 1).await, answer.is_end_stream()), (Vec::new(), true));
    });
    let request = hears.recv().unwrap();
    assert_eq!(request.start, "GET /chat?a=b HTTP/1.1");
    assert_eq!(
        (request.header("upgrade"), request.header("connection")),
        (Some("websocket"), Some("upgrade"))
    );
    assert_eq!(
        (request.header("sec-websocket-key").unwrap().len(), request.header("sec-websocket-version")),
        (24, Some("13"))
    );
    wait_until("the tunnel is closed", || running.in_flight() == 0);
}

#[test]
fn a_client_that_leaves_ends_it_for_the_instance() {
    let (told, hears) = channel();
    let instance = Instance::start(move |_, stream| {
        raw(stream, SWITCH)?;
        told.send(stream.read(&mut [0]).is_ok_and(|read| read > 0)).unwrap();
        Ok(Then::Close)
    });
    let running = Running::start(&[stable(0, &[("ws", instance.address)])]);
    runtime().block_on(async {
        let (_, mut send_half, _answer) = open(&running).await;
        send_half.send_reset(h2::Reason::CANCEL);
        until(|| running.in_flight() == 0).await;
    });
    assert!(!hears.recv_timeout(PATIENCE).unwrap(), "nothing more came");
}

#[test]
fn an_instance_that_leaves_ends_it_for_the_client() {
    let instance = Instance::start(move |_, stream| {
        raw(stream, SWITCH)?;
        raw(stream, b"bye")?;
        stream.get_mut().shutdown(Shutdown::Both)?;
        Ok(Then::Close)
    });
    let running = Running::start(&[stable(0, &[("ws", instance.address)])]);
    runtime().block_on(async {
        let (_, _send, mut answer) = open(&running).await;
        assert_eq!(read(&mut answer, 4).await, b"bye");
        assert!(answer.is_end_stream());
    });
}

#[test]
fn both_ends_are_told_when_the_gateway_goes_away() {
    let (told, hears) = channel();
    let instance = Instance::start(move |_, stream| {
        raw(stream, SWITCH)?;
        let mut got = [0; 8];
        stream.read_exact(&mut got)?;
        told.send(got).unwrap();
        Ok(Then::Close)
    });
    let running = Running::start(&[stable(0, &[("ws", instance.address)])]);
    runtime().block_on(async {
        let (_, _send, mut answer) = open(&running).await;
        running.gateway.unlisten(&environment(), running.address);
        assert_eq!(read(&mut answer, 5).await, [0x88, 0x02, 0x03, 0xf4]);
    });
    assert_eq!(hears.recv_timeout(PATIENCE).unwrap(), [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]);
}

#[test]
fn what_is_no_websocket_is_no_tunnel() {
    let plain = Instance::named("plain");
    let (by_1, h2) = (Running::start(&[stable(0, &[("one", plain.address)])]), Grpc::start());
    let by_2 = behind(&h2);
    runtime().block_on(async {
        // A success would be taken for a tunnel; an instance of HTTP/2 is not asked at all.
        for (running, status) in [(&by_1, 400), (&by_2, 501)] {
            let caller = Caller::connect(running.address).await;
            until(|| caller.0.is_extended_connect_protocol_enabled()).await;
            let mut asked = asking("websocket");
            *asked.uri_mut() = "http://shop.test/plain".parse().unwrap();
            let (response, _send) = caller.begin(asked, false).await.unwrap();
            assert_eq!(response.await.unwrap().status(), status);
            let (response, _send) = caller.begin(asking("connect-udp"), false).await.unwrap();
            assert_eq!(response.await.unwrap().status(), 501);
        }
    });
    assert_eq!((by_1.traffic(0).failures, by_2.traffic(0).requests), (0, 0));
}

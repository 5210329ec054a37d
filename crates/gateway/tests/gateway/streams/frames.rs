//! Frames as no client of a library sends them: what is hostile ends its connection, and nobody else's.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::support::{Caller, Grpc, runtime};
use crate::support::*;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GO_AWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// GET / by http of `shop.test`, in fields that are coded without a table.
fn head() -> Vec<u8> {
    [&[0x82, 0x84, 0x86, 0x01, 9][..], b"shop.test"].concat()
}

pub(super) struct Raw(TcpStream);

impl Raw {
    pub(super) fn begin(running: &Running) -> Self {
        let stream = TcpStream::connect(running.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut raw = Self(stream);
        raw.send(PREFACE);
        raw.send(&frame(SETTINGS, 0, 0, &[]));
        raw
    }

    /// Sends as far as the gateway takes it.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Reads the next frame; `None` when the connection has ended.
    pub(super) fn next(&mut self) -> Option<(u8, u8, Vec<u8>)> {
        let mut start = [0; 9];
        if let Err(error) = self.0.read_exact(&mut start) {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it neither answers nor ends");
            return None;
        }
        let mut payload = vec![0; u32::from_be_bytes([0, start[0], start[1], start[2]]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some((start[3], start[4], payload))
    }

    /// Reads up to a frame of a kind.
    fn until(&mut self, kind: u8) -> Option<(u8, Vec<u8>)> {
        loop {
            let (found, flags, payload) = self.next()?;
            if found == kind {
                return Some((flags, payload));
            }
        }
    }
}

#[test]
fn frames_that_are_not_valid_end_their_connection_or_stream_and_no_other() {
    let instance = Grpc::start();
    let running = super::behind(&instance);
    let settings = |identifier: u16, value: u32| {
        frame(SETTINGS, 0, 0, &[&identifier.to_be_bytes()[..], &value.to_be_bytes()].concat())
    };
    let get = frame(HEADERS, END_STREAM | END_HEADERS, 1, &head());
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("data of no stream", frame(DATA, 0, 1, b"x")),
        ("headers of stream 0", frame(HEADERS, END_HEADERS, 0, &head())),
        ("headers of an even stream", frame(HEADERS, END_HEADERS, 2, &head())),
        ("a reset of no stream", frame(RST_STREAM, 0, 1, &[0; 4])),
        ("a promise", frame(PUSH_PROMISE, END_HEADERS, 1, &[0; 4])),
        ("a ping of a stream", frame(PING, 0, 1, &[0; 8])),
        ("a short ping", frame(PING, 0, 0, &[0; 4])),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[])),
        ("half a setting", frame(SETTINGS, 0, 0, &[0; 5])),
        ("a window beyond all", settings(4, 1 << 31)),
        ("a frame size below all", settings(5, 100)),
        ("a window that grows by nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("a window that overflows", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        ("a frame beyond its size", frame(DATA, 0, 1, &vec![0; 20_000])),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &head())),
        ("headers within headers", [frame(HEADERS, 0, 1, &head()), get.clone()].concat()),
        ("fields that cannot be decoded", frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 20])),
        ("a stream below the last", [frame(HEADERS, END_STREAM | END_HEADERS, 5, &head()), get].concat()),
    ];
    for (what, bytes) in bad {
        let mut raw = Raw::begin(&running);
        raw.send(&bytes);
        let end = raw.until(GO_AWAY);
        let code = end.map(|(_, payload)| u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        assert!(code.is_none_or(|code| code != 0), "{what}: {code:?}");
    }
    runtime().block_on(async {
        assert_eq!(Caller::connect(running.address).await.call("/echo/0", 5).await.unwrap().grpc(), "0");
    });
    wait_until("nothing is left", || running.in_flight() == 0);
}

#[test]
fn floods_end_and_what_is_unknown_is_passed_over() {
    let instance = Grpc::start();
    let running = super::behind(&instance);
    let mut raw = Raw::begin(&running);
    raw.send(&frame(0x42, 0xff, 0, b"unknown"));
    raw.send(&frame(PING, 0, 0, b"12345678"));
    assert_eq!(raw.until(PING).unwrap(), (1, b"12345678".to_vec()));
    // Headers that never end.
    let mut raw = Raw::begin(&running);
    raw.send(&frame(HEADERS, END_STREAM, 1, &head()));
    for _ in 0..2_000 {
        raw.send(&frame(CONTINUATION, 0, 1, &[&[0x00, 1][..], b"x", &[126], &[b'x'; 126]].concat()));
    }
    assert!(raw.until(GO_AWAY).is_none_or(|(_, payload)| payload[4..8] != [0; 4]));
    // One field that is put into the table, and then named thousands of times: little to send, much to hold.
    let mut raw = Raw::begin(&running);
    let bomb = [&head()[..], &[0x40, 1, b'x', 126], &[b'x'; 126], &[0xbe; 10_000]].concat();
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb));
    raw.send(&frame(PING, 0, 0, b"12345678"));
    while let Some((kind, _, payload)) = raw.next() {
        assert!(kind != DATA, "it was not served: {payload:?}");
        if kind == PING {
            break;
        }
    }
    assert_eq!(instance.seen.requests.load(std::sync::atomic::Ordering::SeqCst), 0);
    // No request of HTTP/1.1, and no beginning of HTTP/2.
    let mut client = running.client();
    client.send("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").unwrap();
    assert_eq!(client.read().unwrap().status(), 505);
}

#[test]
fn a_receiver_that_gives_room_byte_by_byte_gets_no_frame_for_each() {
    let instance = Instance::start(|_, stream| answer(stream, 200, &[7; 3_000]));
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    let mut raw = Raw::begin(&running);
    let window = 1_000_u32.to_be_bytes();
    raw.send(&frame(SETTINGS, 0, 0, &[&[0, 4], &window[..]].concat()));
    raw.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head()));
    assert_eq!(raw.until(DATA).unwrap().1.len(), 1_000);
    let (begun, mut pieces) = (std::time::Instant::now(), 0);
    for _ in 0..300 {
        raw.send(&[frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]), frame(PING, 0, 0, &[0; 8])].concat());
        loop {
            match raw.next().unwrap() {
                (PING, ..) => break,
                (DATA, ..) => pieces += 1,
                _ => {}
            }
        }
    }
    // A little is sent after all where there is no more for long.
    let waits = begun.elapsed().as_millis() / 20;
    assert!(pieces <= 3 + waits, "{pieces} pieces in {:?}", begun.elapsed());
}

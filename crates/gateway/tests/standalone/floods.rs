//! Floods of frames, from clients and from instances: the memory of the gateway stays bounded, and others are served.
//!
//! The gateway is a process of its own, so that its memory is what is measured.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lockstep_domain::protocol::Protocol;

use crate::process::Process;
use crate::{ask, instance, table, wait_until};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// What is sent of a flood on a connection, if it is taken.
const FLOOD: usize = 10 * 1_024 * 1_024;
/// Connections that flood at the same time.
const CONNECTIONS: usize = 4;
/// By how much the gateway may grow: less than a third of what is sent. What is read of a connection at one go is kept before it is looked
/// at, which is up to 1.8 MiB of each here, however much follows.
const MAX_GROWTH: usize = 12 * 1_024 * 1_024;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `METHOD /` by http of `x`, in fields that are coded without a table.
fn head(method: u8) -> Vec<u8> {
    [&[method, 0x84, 0x86, 0x01, 1][..], b"x"].concat()
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// What comes again and again, given how often it came before.
type Flood = fn(u32) -> Vec<u8>;

fn stream(turn: u32) -> u32 {
    2 * turn + 3
}

/// A field that is put into the table, and then named so often that it is 100 times as much.
fn bomb() -> Vec<u8> {
    [&head(GET)[..], &[0x40, 1, b'x', 126], &[b'x'; 126], &[0xbe; 8_000]].concat()
}

const FROM_CLIENTS: [(&str, Flood); 14] = [
    ("settings", |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1])),
    ("empty settings", |_| frame(SETTINGS, 0, 0, &[])),
    ("pings", |_| frame(PING, 0, 0, &[7; 8])),
    ("windows", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ("priorities", |turn| frame(PRIORITY, 0, stream(turn), &[0, 0, 0, 0, 1])),
    ("unknown frames", |_| frame(0x42, 0, 0, &[7; 1_000])),
    ("heads without end", |turn| match turn {
        0 => frame(HEADERS, END_STREAM, 1, &head(GET)),
        _ => frame(CONTINUATION, 0, 1, &[&[0, 1, b'x', 126][..], &[b'x'; 126]].concat().repeat(100)),
    }),
    ("empty continuations", |turn| match turn {
        0 => frame(HEADERS, END_STREAM, 1, &head(GET)),
        _ => frame(CONTINUATION, 0, 1, &[]),
    }),
    ("empty data", |turn| match turn {
        0 => frame(HEADERS, END_HEADERS, 1, &head(POST)),
        _ => frame(DATA, 0, 1, &[]),
    }),
    ("padded data", |turn| match turn {
        0 => frame(HEADERS, END_HEADERS, 1, &head(POST)),
        _ => frame(DATA, 8, 1, &[&[255][..], &[0; 255]].concat()),
    }),
    ("resets", |turn| {
        let begun = frame(HEADERS, END_STREAM | END_HEADERS, stream(turn), &head(GET));
        [begun, frame(RST_STREAM, 0, stream(turn), &[0, 0, 0, 8])].concat()
    }),
    ("tables that explode", |turn| frame(HEADERS, END_STREAM | END_HEADERS, stream(turn), &bomb())),
    ("streams without end", |turn| frame(HEADERS, END_HEADERS, stream(turn), &head(POST))),
    ("answers that nobody takes", |turn| match turn {
        0 => frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
        _ => frame(HEADERS, END_STREAM | END_HEADERS, stream(turn), &head(GET)),
    }),
];

const FROM_INSTANCES: [(&str, Flood); 9] = [
    ("settings", |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1])),
    ("pings", |_| frame(PING, 0, 0, &[7; 8])),
    ("windows", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ("farewells", |_| frame(GO_AWAY, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])),
    ("heads without end", |turn| match turn {
        0 => frame(HEADERS, 0, 1, &[0x88]),
        _ => frame(CONTINUATION, 0, 1, &[&[0, 1, b'x', 126][..], &[b'x'; 126]].concat().repeat(100)),
    }),
    ("heads before the answer", |_| {
        frame(HEADERS, END_HEADERS, 1, &[&[0, 7][..], b":status", &[3], b"103"].concat())
    }),
    ("empty data", |turn| match turn {
        0 => frame(HEADERS, END_HEADERS, 1, &[0x88]),
        _ => frame(DATA, 0, 1, &[]),
    }),
    ("tables that explode", |_| {
        let bomb = [&[0x88, 0x40, 1, b'x', 126][..], &[b'x'; 126], &[0xbe; 8_000]].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb)
    }),
    ("data beyond the window", |turn| match turn {
        0 => frame(HEADERS, END_HEADERS, 1, &[0x88]),
        _ => frame(DATA, 0, 1, &[7; 16_000]),
    }),
];

/// Sends a flood as far as it is taken, and reads nothing.
fn send(stream: &mut TcpStream, flood: Flood) {
    // Who is full does not read on: that bounds it as well.
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let (mut sent, mut turn) = (0, 0);
    while sent < FLOOD {
        let mut piece = Vec::new();
        while piece.len() < 64 * 1_024 {
            piece.extend(flood(turn));
            turn += 1;
        }
        if stream.write_all(&piece).is_err() {
            return;
        }
        sent += piece.len();
    }
}

/// Takes all that is there, so that the end of a connection is heard.
fn drain(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut piece = vec![0; 64 * 1_024];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                return assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset));
            }
        }
    }
}

fn gateway(protocol: Protocol, instance: SocketAddr) -> (Process, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.json");
    let mut table = table(1, instance);
    table.services.values_mut().flat_map(|it| &mut it.splits).for_each(|split| split.protocol = protocol);
    std::fs::write(&path, serde_json::to_string(&table).unwrap()).unwrap();
    (Process::start(&path), folder)
}

#[test]
fn floods_of_clients_take_no_memory_and_others_are_served() {
    let (process, _folder) = gateway(Protocol::Http1, instance());
    assert!(ask(process.address).is_some());
    let mut grown = Vec::new();
    for (what, flood) in FROM_CLIENTS {
        let before = process.memory();
        let open: Vec<TcpStream> = thread::scope(|scope| {
            let one = || {
                let mut stream = TcpStream::connect(process.address).unwrap();
                stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
                send(&mut stream, flood);
                stream
            };
            let running: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(one)).collect();
            running.into_iter().map(|it| it.join().unwrap()).collect()
        });
        let growth = process.memory().saturating_sub(before);
        println!("{what}: {} KiB", growth / 1_024);
        grown.extend((growth > MAX_GROWTH).then(|| format!("{what}: {} KiB", growth / 1_024)));
        assert!(ask(process.address).is_some(), "{what}: others are not served");
        open.into_iter().for_each(|mut stream| drain(&mut stream));
    }
    assert!(grown.is_empty(), "{grown:?}");
}

/// An instance that floods whoever asks it, and counts how often it did.
fn flooding(flood: Flood, floods: &Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let begin = Arc::new([frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat());
    let floods = Arc::clone(floods);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (begin, floods) = (Arc::clone(&begin), Arc::clone(&floods));
            thread::spawn(move || {
                let _ = stream.write_all(&begin);
                // The head of the request is not waited for longer than for what comes before it.
                let mut piece = vec![0; 64 * 1_024];
                let mut read = 0;
                while read < PREFACE.len() + 60 {
                    let Ok(more @ 1..) = stream.read(&mut piece) else { return };
                    read += more;
                }
                send(&mut stream, flood);
                floods.fetch_add(1, Ordering::SeqCst);
                while !matches!(stream.read(&mut piece), Ok(0) | Err(_)) {}
            });
        }
    });
    address
}

#[test]
fn floods_of_instances_take_no_memory_and_others_are_served() {
    for (what, flood) in FROM_INSTANCES {
        let floods = Arc::default();
        let (process, _folder) = gateway(Protocol::H2c, flooding(flood, &floods));
        let before = process.memory();
        let clients: Vec<TcpStream> = (0..CONNECTIONS)
            .map(|_| {
                let mut stream = TcpStream::connect(process.address).unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
                stream
            })
            .collect();
        let mut most = 0;
        wait_until("it has sent all, or is not heard any more", || {
            most = most.max(process.memory());
            floods.load(Ordering::SeqCst) > 0
        });
        most = most.max(process.memory());
        let growth = most.saturating_sub(before);
        println!("{what}: {} KiB", growth / 1_024);
        assert!(growth < MAX_GROWTH, "{what}: {} KiB", growth / 1_024);
        // Whoever asks for what the gateway has itself is answered.
        let mut other = TcpStream::connect(process.address).unwrap();
        other.write_all(b"GET /.. HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        other.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 400", "{what}");
        drop(clients);
    }
}

//! What an idle connection holds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::Connection;
use crate::arrival::Arrival;
use crate::buffers::lent;
use crate::config::{GatewayConfig, Timeouts};
use crate::environment::Environment;
use crate::gateway::Gateway;
use crate::peer::Peer;
use crate::wire::Wire;
use crate::worker::Worker;

const UPLOAD: usize = 200 * 1_024;
const DOWNLOAD: usize = 1_024 * 1_024;
const CLIENTS: usize = 100;

/// Reads one message with a `content-length`, and returns its head.
fn read(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length =
        head.split("content-length: ").nth(1).map_or(0, |it| it.split('\r').next().unwrap().parse().unwrap());
    stream.read_exact(&mut vec![0; length]).ok()?;
    Some(head)
}

/// Answers every request with a megabyte.
fn instance() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = |mut stream: TcpStream| {
        while read(&mut stream).is_some() {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {DOWNLOAD}\r\n\r\n");
            stream.write_all(&[head.as_bytes(), &vec![b'x'; DOWNLOAD]].concat()).unwrap();
        }
    };
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

fn table(address: SocketAddr) -> lockstep_domain::routes::RouteTable {
    serde_json::from_value(serde_json::json!({
        "format": 1, "environment": "production", "revision": 1, "baseline": 0,
        "routes": [{"path": "/", "service": "shop"}],
        "services": {"shop": {"salt": "", "splits": [{
            "version": "1.0.0", "config": 0, "weight": 10_000, "role": "stable",
            "endpoints": [{"instance": "shop-1", "address": address}],
        }]}},
    }))
    .unwrap()
}

/// A client that sent and got much, and does nothing any more.
fn used(gateway: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(gateway).unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {UPLOAD}\r\n\r\n");
    client.write_all(&[head.as_bytes(), &vec![b'y'; UPLOAD]].concat()).unwrap();
    read(&mut client).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    read(&mut client).unwrap();
    client
}

/// Asks the only worker how many buffers it has lent.
fn lent_by(worker: &Worker) -> usize {
    let (sender, receiver) = channel();
    worker.runtime().spawn(async move { sender.send(lent()) });
    receiver.recv().unwrap()
}

#[test]
fn connections_that_are_idle_hold_no_buffer_whatever_went_through_them() {
    let config = GatewayConfig {
        workers: NonZeroUsize::MIN,
        // Connections to instances stay.
        timeouts: Timeouts { upstream_idle: Duration::from_secs(600), ..Timeouts::default() },
        ..GatewayConfig::new("idle")
    };
    let gateway = Gateway::start(config).unwrap();
    let address = gateway.listen(&"production".parse().unwrap(), "127.0.0.1:0".parse().unwrap()).unwrap();
    gateway.apply(table(instance())).unwrap();
    let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| used(address)).collect();
    let begun = Instant::now();
    while lent_by(&gateway.workers[0]) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} are lent", lent_by(&gateway.workers[0]));
        thread::yield_now();
    }
    // A head that is not complete is work.
    (&clients[0]).write_all(b"GET / HTTP/1.1\r\n").unwrap();
    while lent_by(&gateway.workers[0]) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing was lent");
        thread::yield_now();
    }
    assert_eq!(lent_by(&gateway.workers[0]), 1);
}

#[tokio::test]
async fn the_task_of_a_connection_is_small() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let environment = Arc::new(Environment::new("production".parse().unwrap(), 1));
    let worker = Worker::start(0, Timeouts::default(), None, None, None, None).unwrap();
    let peer = Peer::new(SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 1)), None);
    let connection = Connection::new(Wire::new(stream), peer, environment, worker, CancellationToken::new());
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let bytes = size_of_val(&connection.serve(permit));
    assert!(bytes <= 1_024, "{bytes} bytes");
}

#[tokio::test]
async fn the_task_of_a_connection_within_tls_is_hardly_larger() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let arrival = Arrival {
        socket,
        peer: SocketAddr::from(([127, 0, 0, 1], 1)),
        to: SocketAddr::from(([127, 0, 0, 1], 1)),
        handed_on: None,
        secure: true,
        environment: Arc::new(Environment::new("production".parse().unwrap(), 1)),
        worker: Worker::start(0, Timeouts::default(), None, None, None, None).unwrap(),
        stop: CancellationToken::new(),
    };
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let bytes = size_of_val(&arrival.serve(permit));
    assert!(bytes <= 1_296, "{bytes} bytes");
}

//! A gateway that is told to end, or to drain, loses no request of clients that keep their connections: real processes, real signals.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{LAME_DUCK, Process, status};
use crate::takeover::{Keeping, tables};
use crate::{ask, instance, wait_until};

/// How many clients ask.
const CLIENTS: usize = 8;
/// How long each waits between two requests.
const BEAT: Duration = Duration::from_millis(25);

/// How a client's connection ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// With an answer that said so.
    Told,
    /// While it was idle.
    Idle,
}

/// Asks again and again on one connection until that ends. An end without an answer fails.
fn keep_asking(address: SocketAddr, answered: &AtomicU64) -> Ended {
    let mut client = Keeping::new(address);
    loop {
        assert_eq!(client.ask(), "shop@1.0.1");
        answered.fetch_add(1, Ordering::Relaxed);
        let Some(stream) = &client.stream else { return Ended::Told };
        // The beat: nothing comes unasked, unless the connection ends.
        stream.get_ref().set_read_timeout(Some(BEAT)).unwrap();
        if stream.get_ref().peek(&mut [0]).is_ok() {
            return Ended::Idle;
        }
        stream.get_ref().set_read_timeout(None).unwrap();
    }
}

/// Lets clients ask at a steady rate; each ends with its connection.
fn clients(process: &Process) -> Vec<JoinHandle<Ended>> {
    let (address, answered) = (process.address, Arc::new(AtomicU64::new(0)));
    let start = |_| {
        let answered = Arc::clone(&answered);
        thread::spawn(move || keep_asking(address, &answered))
    };
    let clients = (0..CLIENTS).map(start).collect();
    wait_until("all of them ask", || answered.load(Ordering::Relaxed) > 4 * CLIENTS as u64);
    clients
}

/// Waits for the ends of all connections: most clients hear of it in time, and no request was lost.
fn all_are_told(clients: Vec<JoinHandle<Ended>>) {
    let ends: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let told = ends.iter().filter(|end| **end == Ended::Told).count();
    assert!(told > CLIENTS / 2, "{ends:?}");
}

#[test]
fn a_steady_client_loses_no_request_when_a_gateway_with_a_lame_duck_time_ends() {
    let (_folder, file) = tables(instance());
    let mut process = Process::start_with(&file(1), &[(LAME_DUCK, "2000".into())]);
    let clients = clients(&process);
    process.signal(Signal::TERM);
    all_are_told(clients);
    // All of them were told long before its end: it still takes clients.
    assert_eq!(status(process.admin, "/-/ready").as_deref(), Some("503"));
    assert_eq!(ask(process.address).as_deref(), Some("shop@1.0.1"));
    assert!(process.child.wait().unwrap().success());
}

#[test]
fn nor_when_one_without_such_a_time_ends() {
    let (_folder, file) = tables(instance());
    let mut process = Process::start(&file(1));
    let clients = clients(&process);
    process.signal(Signal::TERM);
    all_are_told(clients);
    assert!(process.child.wait().unwrap().success());
}

/// What the admin address says to a request with these fields.
fn told(address: SocketAddr, line: &str, fields: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{line} HTTP/1.1\r\nhost: 127.0.0.1\r\n{fields}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_gateway_that_is_drained_sends_its_clients_away_and_runs_on() {
    let (_folder, file) = tables(instance());
    let mut process = Process::start(&file(1));
    let clients = clients(&process);
    for (line, fields, refused) in [
        ("GET /-/drain", "", "405"),
        ("POST /-/drain", "origin: http://evil.test\r\n", "403"),
        ("POST /-/ready", "", "405"),
    ] {
        assert_eq!(told(process.admin, line, fields).split(' ').nth(1), Some(refused), "{line} {fields}");
    }
    assert_eq!(status(process.admin, "/-/ready").as_deref(), Some("200"));
    let drained = told(process.admin, "POST /-/drain", "content-length: 0\r\n");
    assert!(drained.starts_with("HTTP/1.1 200") && drained.contains("\"connections\":"), "{drained}");
    all_are_told(clients);
    assert_eq!(status(process.admin, "/-/ready").as_deref(), Some("503"));
    let mut late = Keeping::new(process.address);
    assert_eq!(late.ask(), "shop@1.0.1", "whoever comes all the same is served");
    assert!(late.stream.is_none(), "once for each connection");
    assert!(process.end().success());
}

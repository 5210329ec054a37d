//! SIGTERM with every kind of client there: the server ends soon, in order, and whoever was answered has a whole answer.
//! And clients that do nothing but connect, at the usual limit of open files.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{manifest, service};
use super::support::{eventually, get, processes};

/// Longest time from SIGTERM to the end on a busy machine; no client may lengthen it.
const SOON: Duration = Duration::from_secs(20);
/// The end of a stream that was not cut.
const LAST_CHUNK: &str = "\r\n0\r\n\r\n";

/// Sends bytes on a new connection.
fn call(place: &Place, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(place.address()).unwrap();
    stream.set_read_timeout(Some(SOON * 2)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream
}

fn ask(place: &Place, path: &str) -> TcpStream {
    call(place, &format!("GET /api/v1{path} HTTP/1.1\r\nhost: {}\r\n\r\n", place.address()))
}

/// Reads to the end of a connection; one that was reset has ended too.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

/// Waits until an answer has begun.
fn begun(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 64 * 1024];
    let count = stream.read(&mut bytes).unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&bytes[..count]));
    bytes.truncate(count);
    String::from_utf8(bytes).unwrap()
}

/// Waits until the server has read everything that was sent to it on a connection.
fn is_read(stream: &TcpStream) {
    let port = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let (ours, theirs) = (port(stream.local_addr().unwrap()), port(stream.peer_addr().unwrap()));
    eventually("the request is read", || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let columns = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut rows = columns.filter(|row| row[1].ends_with(&theirs) && row[2].ends_with(&ours));
        rows.any(|row| row[4].ends_with(":00000000")).then_some(())
    });
}

/// Stops the server; it ends soon, and says that all is well.
fn ends_soon(place: &mut Place) {
    let told = Instant::now();
    place.stop_server();
    assert!(told.elapsed() < SOON, "it took {:?}", told.elapsed());
}

#[test]
fn clients_that_do_nothing_do_not_hold_a_server_that_stops() {
    let mut place = Place::begin_with_token("0123456789abcdef0123456789abcdef");
    let silent = call(&place, "");
    let half = call(&place, "GET /api/v1/health HTTP/1.1\r\nhost: local");
    is_read(&half);
    let mut kept = ask(&place, "/health");
    let mut head = [0; 12];
    kept.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 401");
    ends_soon(&mut place);
    assert_eq!((rest(silent), rest(half)), (String::new(), String::new()));
}

#[test]
fn whoever_waits_for_news_hears_in_order_that_there_are_none() {
    let mut place = Place::begin();
    let (_repository, build) = place.begin_build("exec sleep 10000");
    let mut table = ask(&place, &format!("/environments/{ENVIRONMENT}/routes?wait_ms=60000"));
    let table = begun(&mut table);
    let (_, table) = table.split_once("\r\n\r\n").unwrap();
    let table: serde_json::Value = serde_json::from_str(table).unwrap();
    let (history, revision) = (table["history"].as_str().unwrap(), &table["revision"]);
    let newer =
        format!("/environments/{ENVIRONMENT}/routes?history={history}&after={revision}&wait_ms=60000");
    let poll = ask(&place, &newer);
    is_read(&poll);
    let mut events = ask(&place, &format!("/builds/{build}/events"));
    begun(&mut events);
    let mut log = ask(&place, &format!("/builds/{build}/log?follow=true"));
    begun(&mut log);

    ends_soon(&mut place);

    let poll = rest(poll);
    assert!(poll.starts_with("HTTP/1.1 204 ") && poll.contains("connection: close"), "{poll:?}");
    for stream in [events, log] {
        let rest = format!("\r\n{}", rest(stream));
        assert!(rest.ends_with(LAST_CHUNK), "{rest:?}");
    }
    eventually("no process of the build is left", || {
        processes::of_folder(&place.data()).is_empty().then_some(())
    });
    place.start_server();
    let view = place.json(&["build", "show", &build]);
    assert!(matches!(view["state"].as_str(), Some("cancelled" | "interrupted")), "{view:#}");
}

#[test]
fn an_attached_gateway_does_not_hold_a_server_that_stops_and_serves_on() {
    let mut place = Place::begin();
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service("one"));
    let version = place.first_release(&repository, "store");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    let gateway = StandaloneGateway::follow(&place);
    let serves = || get(gateway.address(), "/store", 0).is_ok_and(|(status, _)| status == 200).then_some(());
    eventually("the gateway has its table", serves);
    ends_soon(&mut place);
    assert_eq!(serves(), Some(()));
    place.start_server();
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
}

#[test]
fn a_second_signal_ends_a_server_that_waits_for_a_request() {
    let mut place = Place::begin();
    let head = "POST /api/v1/services HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 9\r\n";
    let hangs = call(&place, &format!("{head}host: {}\r\n\r\n{{", place.address()));
    is_read(&hangs);
    place.ask_server_to_stop();
    eventually("nobody else is let in", || TcpStream::connect(place.address()).is_err().then_some(()));
    place.ask_server_to_stop();
    assert_eq!(place.server_ended(), Some(0));
    assert_eq!(rest(hangs), "");
}

#[test]
fn half_open_connections_beyond_the_limit_of_files_stop_neither_the_api_nor_the_gateway() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let mut place = Place::begin_limited("-n 1024");
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service("one"));
    let version = place.first_release(&repository, "store");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    let gateway = place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();

    let half: Vec<_> = (0..1_100).map(|_| call(&place, "GET /api/v1/health HTTP/1.1\r\nhost:")).collect();
    assert_eq!(get(&gateway, "/store", 0), Ok((200, "one".to_owned())));
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    let again = place.release_again("store");
    place.run(&["deploy", &again, "--env", ENVIRONMENT]);
    assert_eq!(get(&gateway, "/store", 0), Ok((200, "one".to_owned())));
    drop(half);
    ends_soon(&mut place);
}

#[test]
fn a_server_takes_all_files_that_it_may_have_and_its_instances_get_what_it_was_given() {
    let place = Place::begin_limited("-S -n 512");
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service("one"));
    let version = place.first_release(&repository, "store");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    let maximum = getrlimit(Resource::Nofile).maximum.map_or("unlimited".to_owned(), |most| most.to_string());
    let server = Pid::from_raw(place.server_process().cast_signed()).unwrap();
    assert_eq!(soft_limit(server), maximum);
    let helpers = [processes::of_instances(&place.data()), processes::of_supervisors(&place.data())];
    for processes in helpers {
        assert_eq!(processes.into_values().map(soft_limit).collect::<Vec<_>>(), ["512"]);
    }
}

/// Returns how many files a process may have open.
fn soft_limit(process: Pid) -> String {
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.as_raw_nonzero())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    files.split_whitespace().nth(3).unwrap().to_owned()
}

//! A new process takes over the sockets of the one before: real processes, real clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Process, TAKES_OVER, status};
use crate::{ask, instance, table, wait_until};

/// A folder with a table of each revision, which the answers name as the version.
pub(crate) fn tables(instance: SocketAddr) -> (TempDir, impl Fn(u64) -> PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let of = folder.path().to_path_buf();
    let file = move |revision| {
        let path = of.join(format!("{revision}.json"));
        std::fs::write(&path, serde_json::to_string(&table(revision, instance)).unwrap()).unwrap();
        path
    };
    (folder, file)
}

fn takes_over(from: &Process, path: &Path) -> Process {
    Process::start_with(path, &[(TAKES_OVER, format!("{} {}", from.address, from.admin))])
}

/// A client that keeps its connection for as long as it may.
pub(crate) struct Keeping {
    address: SocketAddr,
    pub(crate) stream: Option<BufReader<TcpStream>>,
}

impl Keeping {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Asks, and returns the version that answered.
    pub(crate) fn ask(&mut self) -> String {
        let address = self.address;
        let stream = self.stream.get_or_insert_with(|| BufReader::new(TcpStream::connect(address).unwrap()));
        stream.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: any\r\n\r\n").unwrap();
        let (mut version, mut closes, mut line) = (String::new(), false, String::new());
        loop {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "a connection ended without an answer");
            match line.trim_end().split_once(": ") {
                Some(("lockstep-version", is)) => version = is.to_owned(),
                Some(("connection", "close")) => closes = true,
                _ if line == "\r\n" => break,
                _ => {}
            }
        }
        stream.read_exact(&mut [0; 5]).unwrap();
        if closes {
            self.stream = None;
        }
        version
    }
}

#[test]
fn no_client_notices_that_another_process_takes_over() {
    let (_folder, file) = tables(instance());
    let mut old = Process::start(&file(1));
    let (address, admin) = (old.address, old.admin);
    let mut idle = Keeping::new(address);
    assert_eq!(idle.ask(), "shop@1.0.1");
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            thread::spawn(move || {
                let mut client = Keeping::new(address);
                while !stop.load(Ordering::Relaxed) {
                    assert!(client.ask().starts_with("shop@1.0."));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                client.ask()
            })
        })
        .collect();
    let more = || {
        let now = answered.load(Ordering::Relaxed);
        wait_until("requests go on", || answered.load(Ordering::Relaxed) > now + 200);
    };
    more();
    let mut new = takes_over(&old, &file(2));
    assert_eq!((new.address, new.admin), (address, admin));
    wait_until("the new one answers", || ask(address).as_deref() == Some("shop@1.0.2"));
    more();
    assert!(idle.stream.is_some(), "a connection that was idle stays");
    assert_eq!(idle.ask(), "shop@1.0.1", "its next request is served by the process that has it");
    assert!(idle.stream.is_none(), "and that was the last one there");
    assert_eq!(idle.ask(), "shop@1.0.2");
    assert!(old.child.wait().unwrap().success(), "it ends by itself when the last client has gone");
    more();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.join().unwrap(), "shop@1.0.2");
    }
    drop(idle);
    // The next one, and a signal to one that has taken over.
    let mut next = takes_over(&new, &file(3));
    assert!(new.child.wait().unwrap().success());
    assert_eq!(ask(address).as_deref(), Some("shop@1.0.3"));
    assert_eq!(status(admin, "/-/ready").as_deref(), Some("200"));
    next.signal(Signal::TERM);
    assert!(next.child.wait().unwrap().success());
    assert!(TcpStream::connect(address).is_err(), "nobody is left who has the sockets");
}

/// Asks as a process does that wants to take over, and gives up after so many words.
fn gives_up(address: SocketAddr, words: &[&str]) -> Option<String> {
    let name = UnixAddress::from_abstract_name(format!("lockstep-gateway/{address}")).unwrap();
    let mut connected = None;
    wait_until("it can be asked", || {
        connected = UnixStream::connect_addr(&name).ok();
        connected.is_some()
    });
    let mut stream = BufReader::new(connected.unwrap());
    let mut heard = String::new();
    for word in words {
        stream.get_mut().write_all(word.as_bytes()).ok()?;
        stream.get_mut().write_all(b"\n").ok()?;
        // What comes after `go` is no line.
        if *word != "\"go\"" {
            stream.read_line(&mut heard).ok()?;
        }
    }
    Some(heard)
}

#[test]
fn who_gives_up_at_any_word_leaves_everything_as_it_was() {
    let (_folder, file) = tables(instance());
    let mut old = Process::start(&file(1));
    let ask_for =
        |environment: &str| format!(r#"{{"takeover": 1, "run": "new", "environments": ["{environment}"]}}"#);
    let (right, wrong) = (ask_for("production"), ask_for("staging"));
    gives_up(old.address, &[]);
    gives_up(old.address, &["what?"]);
    gives_up(old.address, &[&"x".repeat(2 * 1024 * 1024)]);
    let refused = gives_up(old.address, &[&wrong]).unwrap();
    assert!(refused.contains("it serves `production`, and the other one is to serve `staging`"), "{refused}");
    let given = gives_up(old.address, &[&right]).unwrap();
    assert!(given.contains(&old.address.to_string()), "{given}");
    gives_up(old.address, &[&right, "\"leaving\""]);
    gives_up(old.address, &[&right, "\"go\""]);
    assert_eq!(ask(old.address).as_deref(), Some("shop@1.0.1"));
    // One that is killed before it serves.
    let mut stuck = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::gateway_process", "--nocapture"])
        .env("LOCKSTEP_TEST_GATEWAY", file(2))
        .env(TAKES_OVER, format!("{} {}", old.address, old.admin))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    stuck.kill().unwrap();
    stuck.wait().unwrap();
    assert_eq!(ask(old.address).is_some(), old.child.try_wait().unwrap().is_none());
    assert!(old.end().success());
}

#[test]
fn two_that_want_to_take_over_at_once_do_it_one_after_the_other() {
    let (_folder, file) = tables(instance());
    let mut old = Process::start(&file(1));
    let (second, third) = (file(2), file(3));
    let (mut one, mut other) = thread::scope(|scope| {
        let one = scope.spawn(|| takes_over(&old, &second));
        let other = scope.spawn(|| takes_over(&old, &third));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert!(old.child.wait().unwrap().success());
    wait_until("the first of the two has ended", || {
        one.child.try_wait().unwrap().is_some() != other.child.try_wait().unwrap().is_some()
    });
    assert!(ask(one.address).is_some());
    let last = if one.child.try_wait().unwrap().is_some() { &mut other } else { &mut one };
    assert!(last.end().success());
}

#[test]
fn another_program_that_listens_is_not_taken_over() {
    let (_folder, file) = tables(instance());
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::gateway_process", "--nocapture"])
        .env("LOCKSTEP_TEST_GATEWAY", file(1))
        .env(TAKES_OVER, other.local_addr().unwrap().to_string())
        .output()
        .unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("NoGateway"), "{refused:?}");
}

#[test]
fn where_the_new_one_is_killed_while_the_old_one_still_has_clients_a_third_one_starts() {
    let (_folder, file) = tables(instance());
    let old = Process::start(&file(1));
    let mut idle = Keeping::new(old.address);
    assert_eq!(idle.ask(), "shop@1.0.1");
    let mut new = takes_over(&old, &file(2));
    wait_until("the new one answers alone", || ask(old.address).as_deref() == Some("shop@1.0.2"));
    wait_until("the old one listens no more", || status(old.admin, "/-/ready").as_deref() == Some("200"));
    new.child.kill().unwrap();
    new.child.wait().unwrap();
    let mut third = takes_over(&old, &file(3));
    assert_eq!((third.address, third.admin), (old.address, old.admin));
    assert_eq!(ask(old.address).as_deref(), Some("shop@1.0.3"));
    assert_eq!(idle.ask(), "shop@1.0.1", "the first one still has its client");
    assert!(third.end().success());
}

/// An instance that begins an answer without a length, and never ends it.
fn endless() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\na part");
            thread::spawn(move || stream.read(&mut [0; 1]));
        }
    });
    address
}

#[test]
fn a_part_of_an_answer_does_not_look_whole_when_the_gateway_is_killed() {
    let (_folder, file) = tables(endless());
    let mut process = Process::start(&file(1));
    let mut client = TcpStream::connect(process.address).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\nhost: any\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"a part") {
        let mut piece = [0; 1_024];
        let read = client.read(&mut piece).unwrap();
        assert!(read > 0);
        seen.extend_from_slice(&piece[..read]);
    }
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    let end = client.read(&mut [0; 1]).unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn without_a_gateway_to_take_over_it_starts() {
    let (_folder, file) = tables(instance());
    let mut gone = Process::start(&file(1));
    assert!(gone.end().success());
    let mut new = takes_over(&gone, &file(2));
    assert_eq!(new.address, gone.address);
    assert_eq!(ask(new.address).as_deref(), Some("shop@1.0.2"));
    assert!(new.end().success());
}

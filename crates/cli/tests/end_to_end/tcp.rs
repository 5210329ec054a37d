//! Services that speak TCP, from the manifest to the client: called from outside and by other services, moved, gone back from, and judged.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, python};
use super::support::secure::free_port;

/// Answers each line with its name and that line.
const STORE: &str = "
import os, socketserver
class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        AT_BEGIN
        for line in self.rfile:
            self.wfile.write(b'TEXT ' + line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
Server((os.environ['HOST'], int(os.environ['PORT'])), Lines).serve_forever()
";

/// Asks the store for every answer, on a connection of its own.
const CALLING: &str = "
        import socket
        answer = b'front'
        if self.path != '/health':
            with socket.create_connection((os.environ['STORE_HOST'], int(os.environ['STORE_PORT'])), timeout=20) as store:
                store.sendall(b'from the front\\n')
                answer = store.makefile('rb').readline().strip()";

fn write_store(store: &Repository, text: &str, at_begin: &str) {
    let python = python();
    let run = format!(
        "[run]\ncommand = \"{python} store.py\"\nprotocol = \"tcp\"\nhealth = {{ tcp = true, interval = \"100ms\" }}\n"
    );
    store.write("lockstep.toml", &format!("name = \"store\"\n{run}"));
    store.write("store.py", &STORE.replace("TEXT", text).replace("AT_BEGIN", at_begin));
}

/// A client that stays connected.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> Option<Self> {
        Some(Self(BufReader::new(TcpStream::connect(("127.0.0.1", port)).ok()?)))
    }

    fn ask(&mut self, line: &str) -> Option<String> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).ok()?;
        let mut answer = String::new();
        self.0.read_line(&mut answer).ok()?;
        answer.strip_suffix('\n').map(str::to_owned)
    }
}

fn asked(port: u16) -> Option<String> {
    Client::connect(port)?.ask("hello")
}

#[test]
fn connections_from_outside_and_of_services_go_to_the_version_in_force_and_old_ones_end_after_the_drain_time()
{
    let place = Place::begin();
    let (store, front, port) = (place.repository("store"), place.repository("front"), free_port());
    write_store(&store, "one", "pass");
    let first = place.first_release(&store, "store");
    let variables =
        "env = { STORE_HOST = \"${service.store.host}\", STORE_PORT = \"${service.store.port}\" }";
    front.write("lockstep.toml", &manifest("front", variables, "[requires]\nstore = \"*\""));
    front.write("service.py", &misbehaving("TEXT", "pass", CALLING).replace("b'TEXT'", "answer"));
    let calling = place.first_release(&front, "front");
    place.run(&["environment", "set", ENVIRONMENT, "--tcp", &format!("{port}=store"), "--drain", "1s"]);
    assert!(place.run(&["status", ENVIRONMENT]).contains("does not run here"));
    assert_eq!(asked(port), None, "nothing is there yet");
    place.run(&["deploy", &first, &calling, "--env", ENVIRONMENT]);
    assert_eq!(asked(port).as_deref(), Some("one hello"));
    assert_eq!(place.ask("/front"), (200, "one from the front".into()));
    let mut held = Client::connect(port).unwrap();
    assert_eq!(held.ask("a").as_deref(), Some("one a"));

    write_store(&store, "two", "pass");
    store.commit("feat: answer otherwise");
    let second = place.release("store");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    assert_eq!(asked(port).as_deref(), Some("two hello"));
    assert_eq!(place.ask("/front"), (200, "two from the front".into()));
    assert!(
        held.0.get_mut().read(&mut [0]).is_err(),
        "its instance is warm, and the time of the connection over"
    );
    place.run(&["undo", ENVIRONMENT]);
    assert_eq!(asked(port).as_deref(), Some("one hello"));
    let shown = place.run(&["environment", "set", ENVIRONMENT, "--tcp", "none"]);
    assert!(!shown.contains("tcp"), "{shown}");
    eventually("the port is closed", || TcpStream::connect(("127.0.0.1", port)).err());
}

#[test]
fn a_version_that_breaks_connections_off_is_taken_back_by_the_verdict() {
    let place = Place::begin();
    let (store, port) = (place.repository("store"), free_port());
    write_store(&store, "one", "pass");
    let first = place.first_release(&store, "store");
    place.run(&["environment", "set", ENVIRONMENT, "--tcp", &format!("{port}=store")]);
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    write_store(&store, "two", "return");
    store.commit("feat: end each connection");
    let second = place.release("store");
    let canary = ["--strategy", "canary", "--steps", "50,100", "--bake", "2s", "--min-requests", "40"];
    let operation =
        place.begin_operation(&[&["deploy", &second, "--env", ENVIRONMENT][..], &canary].concat());
    let is_over = Arc::<AtomicBool>::default();
    let asking = {
        let is_over = Arc::clone(&is_over);
        thread::spawn(move || {
            while !is_over.load(Ordering::SeqCst) {
                asked(port);
            }
        })
    };
    assert_eq!(place.settled(operation)["phase"], "reverted");
    is_over.store(true, Ordering::SeqCst);
    asking.join().unwrap();
    assert_eq!(asked(port).as_deref(), Some("one hello"));
}

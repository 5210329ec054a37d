//! The gateway as a process of its own gives no client a byte of another client's answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::process::Process;
use crate::{PATIENCE, read_request, table};

const BODY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nalice";

/// Stops in the middle of what `/alice/CUT` asks for, and goes on when the connection is used for another request.
fn instance() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        listener.incoming().for_each(|stream| drop(thread::spawn(|| serve(stream.unwrap()))));
    });
    address
}

fn serve(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    while let Some((start, ..)) = read_request(&mut stream) {
        let target = start.split(' ').nth(1).unwrap();
        let Some(cut) = target.strip_prefix("/alice/") else {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{target}", target.len());
            stream.get_mut().write_all(head.as_bytes()).unwrap();
            continue;
        };
        let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
        let (before, after) = whole.split_at(cut.parse().unwrap());
        stream.get_mut().write_all(before.as_bytes()).unwrap();
        if !matches!(stream.fill_buf(), Ok(more) if !more.is_empty()) {
            return;
        }
        let _ = stream.get_mut().write_all(after.as_bytes());
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_client_that_leaves_at_any_byte_of_an_answer_leaves_nothing_to_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.json");
    std::fs::write(&path, serde_json::to_string(&table(1, instance())).unwrap()).unwrap();
    let process = Process::start(&path);
    for cut in 0..BODY.len() + 39 {
        let mut alice = connect(process.address);
        alice.write_all(format!("GET /alice/{cut} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        // The head of an answer is passed on as a whole.
        let _ = if cut >= 39 { alice.read(&mut [0; 17]).unwrap() } else { 0 };
        drop(alice);
        let mut bob = connect(process.address);
        let asked = format!("/bob/{cut}");
        bob.write_all(format!("GET {asked} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .unwrap();
        let mut answered = String::new();
        bob.read_to_string(&mut answered).unwrap();
        assert!(
            answered.starts_with("HTTP/1.1 200 OK\r\n") && answered.ends_with(&format!("\r\n\r\n{asked}")),
            "{answered}"
        );
    }
}

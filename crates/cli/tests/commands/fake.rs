//! A server that gives fixed answers: each request takes the next reply for its method and path; the last one stays.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// An answer.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Status, content type, body.
    Answer(u16, &'static str, Vec<u8>),
    /// A redirect.
    Moved(u16, String),
    /// A stream of events that goes on after these.
    Open(Vec<u8>),
    /// The connection is closed without one.
    Hangup,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::Answer(status, "application/json", body.to_string().into_bytes())
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::Answer(status, "text/plain", body.as_bytes().to_vec())
    }

    pub(crate) fn events(events: &[Value]) -> Self {
        Self::Answer(200, "text/event-stream", stream_of(events))
    }

    pub(crate) fn events_without_end(events: &[Value]) -> Self {
        Self::Open(stream_of(events))
    }
}

fn stream_of(events: &[Value]) -> Vec<u8> {
    events.iter().flat_map(|event| format!("id: 1\ndata: {event}\n\n").into_bytes()).collect()
}

/// A request that was made.
#[derive(Clone)]
pub(crate) struct Asked {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}

type Replies = Vec<(&'static str, Reply)>;

pub(crate) struct FakeServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeServer {
    pub(crate) fn start(replies: Replies) -> Self {
        Self::start_at("127.0.0.1:0", replies)
    }

    pub(crate) fn start_at(listen: &str, replies: Replies) -> Self {
        let listener = TcpListener::bind(listen).unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (replies, record) = (Arc::new(Mutex::new(replies)), Arc::clone(&asked));
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming().flatten() {
                // A client that went away is none of our business.
                if serve(&stream, &replies, &record).is_ok_and(|state| state == State::Open) {
                    open.push(stream);
                }
            }
        });
        Self { address, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn asked(&self, line: &str) -> Asked {
        let asked = self.asked.lock().unwrap();
        let found = asked.iter().find(|asked| asked.line == line);
        found.unwrap_or_else(|| panic!("{line} was not asked")).clone()
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.line == line).count()
    }
}

#[derive(PartialEq, Eq)]
enum State {
    Open,
    Over,
}

fn serve(
    mut stream: &TcpStream,
    replies: &Mutex<Replies>,
    record: &Mutex<Vec<Asked>>,
) -> std::io::Result<State> {
    let asked = read(stream)?;
    let reply = next(&mut replies.lock().unwrap(), &asked.line);
    record.lock().unwrap().push(asked);
    match reply {
        Reply::Answer(status, kind, body) => {
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            )?;
            stream.write_all(&body)?;
            Ok(State::Over)
        }
        Reply::Moved(status, to) => {
            write!(
                stream,
                "HTTP/1.1 {status} X\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )?;
            Ok(State::Over)
        }
        Reply::Open(body) => {
            write!(stream, "HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
            stream.write_all(&body)?;
            Ok(State::Open)
        }
        Reply::Hangup => Ok(State::Over),
    }
}

/// Takes the first reply for a request, unless it is the only one left for it.
fn next(replies: &mut Replies, line: &str) -> Reply {
    let places: Vec<_> = (0..replies.len()).filter(|&index| replies[index].0 == line).collect();
    match places.as_slice() {
        [] => Reply::text(404, &format!("{line} has no reply")),
        [only] => replies[*only].1.clone(),
        [first, ..] => replies.remove(*first).1,
    }
}

fn read(stream: &TcpStream) -> std::io::Result<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Asked { line, headers, body })
}

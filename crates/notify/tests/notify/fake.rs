//! A server of HTTP on loopback that keeps what it was sent, and answers by a function.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let value = query.split('&').find_map(|it| it.strip_prefix(&format!("{name}=")))?;
        Some(value.replace("%2B", "+").replace("%2F", "/").replace("%3D", "="))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What is answered.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

pub(crate) fn reply(status: u16, body: &str) -> Reply {
    Reply { status, fields: Vec::new(), body: body.to_owned() }
}

/// The server; it ends with the process.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let address = listen(move |mut stream| {
            let Some(request) = read(&mut stream) else { return };
            kept.lock().unwrap().push(request.clone());
            write(&mut stream, &answer(&request));
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

/// Gives each connection to a function, one after the other.
pub(crate) fn listen(mut each: impl FnMut(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A test that fails must not leave a thread that waits for ever.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
            each(stream);
        }
    });
    address
}

/// Reads a request with a length.
pub(crate) fn read(stream: &mut impl Read) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        let mut piece = [0; 4_096];
        match stream.read(&mut piece) {
            Ok(length) if length > 0 => bytes.extend_from_slice(&piece[..length]),
            _ => return None,
        }
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let target =
        lines.next().unwrap().strip_prefix("POST ").unwrap().strip_suffix(" HTTP/1.1").unwrap().to_owned();
    let parted =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let fields: Vec<_> = lines.filter_map(parted).collect();
    let mut request = Request { target, fields, body: bytes[end + 4..].to_vec() };
    let length: usize = request.field("content-length").unwrap().parse().unwrap();
    let missing = length - request.body.len();
    let mut rest = vec![0; missing];
    stream.read_exact(&mut rest).ok()?;
    request.body.extend(rest);
    Some(request)
}

pub(crate) fn write(stream: &mut impl Write, reply: &Reply) {
    let fields: String = reply.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "HTTP/1.1 {} x\r\ncontent-length: {}\r\n{fields}connection: close\r\n\r\n",
        reply.status,
        reply.body.len()
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(reply.body.as_bytes());
    let _ = stream.flush();
}

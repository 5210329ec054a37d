//! Programs that know a store by HOST and PORT alone and keep one connection to it: in Python, in Node, and as a binary that needs
//! nothing around it. The store moves with them.

use crate::support::place::Place;
use crate::support::repository::{Repository, manifest, python, service};

use super::story::{Shape, Version, answer};

const PYTHON: &str = r#"
import http.client, http.server, os, socketserver, threading
AT_START
lock, opened, store = threading.Lock(), 0, None

def ask():
    global opened, store
    with lock:
        if store is None or store.sock is None:
            store, opened = http.client.HTTPConnection(os.environ['STORE_HOST'], int(os.environ['STORE_PORT']), timeout=20), opened + 1
        store.request('GET', '/')
        return f'WORDS {opened} {store.getresponse().read().decode()}'

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        body = (ask() if self.path != '/health' else 'ok').encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128
Server((os.environ['HOST'], int(os.environ['PORT'])), Handler).serve_forever()
"#;

const NODE: &str = r"
const http = require('http');
AT_START
const { STORE_HOST: host, STORE_PORT: port } = process.env;
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
let opened = 0;
const server = http.createServer((request, response) => {
  if (request.url === '/health') return response.end('ok');
  const call = http.get({ host, port, path: '/', agent }, answer => {
    let text = '';
    answer.on('data', part => { text += part; });
    answer.on('end', () => response.end(`WORDS ${opened} ${text}`));
  });
  call.on('socket', socket => { if (!socket.known) { socket.known = true; opened += 1; } });
  call.on('error', error => { response.statusCode = 500; response.end(String(error)); });
});
server.listen(process.env.PORT, process.env.HOST);
";

const STATIC: &str = r#"
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

type Store = (u32, Option<BufReader<TcpStream>>);

/// Reads the head of a request or an answer; the first line, and how long its body is.
fn head(from: &mut impl BufRead) -> Option<(String, usize)> {
    let (mut first, mut length) = (String::new(), 0);
    (from.read_line(&mut first).ok()? > 0).then_some(())?;
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let line = line.trim_end().to_lowercase();
        if let Some(text) = line.strip_prefix("content-length:") { length = text.trim().parse().ok()?; }
        if line.is_empty() { return Some((first, length)); }
    }
}

fn ask((opened, kept): &mut Store) -> Option<String> {
    if kept.is_none() {
        let address = format!("{}:{}", std::env::var("STORE_HOST").ok()?, std::env::var("STORE_PORT").ok()?);
        (*opened, *kept) = (*opened + 1, Some(BufReader::new(TcpStream::connect(address).ok()?)));
    }
    let mut store = kept.take()?;
    store.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: store\r\n\r\n").ok()?;
    let (_, length) = head(&mut store)?;
    let mut body = vec![0; length];
    store.read_exact(&mut body).ok()?;
    *kept = Some(store);
    Some(format!("WORDS {opened} {}", String::from_utf8(body).ok()?))
}

fn serve(client: TcpStream, store: &Mutex<Store>) -> Option<()> {
    let mut client = BufReader::new(client);
    loop {
        let (first, _) = head(&mut client)?;
        let said = match first.contains("/health") { true => Some("ok".into()), false => ask(&mut store.lock().unwrap()) };
        let (status, body) = said.map_or(("500 Failed", String::new()), |text| ("200 OK", text));
        write!(client.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).ok()?;
    }
}

fn main() {
    AT_START
    let address = format!("{}:{}", std::env::var("HOST").unwrap(), std::env::var("PORT").unwrap());
    let (listener, store) = (TcpListener::bind(address).unwrap(), Arc::new(Mutex::new((0, None))));
    for client in listener.incoming().flatten() {
        let store = Arc::clone(&store);
        std::thread::spawn(move || serve(client, &store));
    }
}
"#;

const VARIABLES: &str =
    "env = { STORE_HOST = \"${service.store.host}\", STORE_PORT = \"${service.store.port}\" }";
/// A binary that needs no library of the host.
const BUILD: &str = "
[build]
steps = [\"rustc --edition 2024 -C target-feature=+crt-static -o caller caller.rs\"]
[package]
include = [\"caller\"]
";

pub(super) struct Callers {
    gateway: String,
}

const CALLERS: [&str; 3] = ["python", "node", "static"];

impl Callers {
    /// What one of them says: its version, how many connections it has opened, and the version of the store.
    fn asked(&self, caller: &str, number: u64) -> Result<(String, String), String> {
        let text = answer(&self.gateway, &format!("/{caller}"), number)?;
        let words: Vec<_> = text.split(' ').collect();
        let [mine, opened, store] = words[..] else { return Err(format!("{caller}: {text}")) };
        if opened != "1" {
            return Err(format!("{caller} lost its connection: {text}"));
        }
        Ok((mine.to_owned(), store.to_owned()))
    }
}

impl Shape for Callers {
    // The bad version cannot do without a variable that nobody sets.
    const SERVICES: &'static [&'static str] = &["store", "python", "node", "static"];

    fn begin(_: &Place, gateway: &str) -> Self {
        Self { gateway: gateway.to_owned() }
    }

    fn write(&self, name: &str, repository: &Repository, version: Version) {
        if name == "store" {
            repository.write("lockstep.toml", &manifest(name, "", ""));
            return repository.write("service.py", &service(version.words()));
        }
        let (command, file, text, without) = match name {
            "python" => (format!("{} service.py", python()), "service.py", PYTHON, "os.environ['GONE']"),
            "node" => ("node service.js".to_owned(), "service.js", NODE, "process.env.GONE.length;"),
            _ => ("./caller".to_owned(), "caller.rs", STATIC, "std::env::var(\"GONE\").unwrap();"),
        };
        let at_start = if version == Version::Bad { without } else { "" };
        let after = if name == "static" { BUILD } else { "" };
        let after = format!("{after}[requires]\nstore = \"*\"");
        let toml = manifest(name, VARIABLES, &after).replace(&format!("{} service.py", python()), &command);
        repository.write("lockstep.toml", &toml);
        repository.write(file, &text.replace("WORDS", version.words()).replace("AT_START", at_start));
    }

    fn ask(&self, number: u64) -> Result<(), String> {
        let caller = CALLERS[usize::try_from(number).unwrap() % CALLERS.len()];
        self.asked(caller, number).map(drop)
    }

    fn at_work(&self) -> Option<String> {
        let said = CALLERS.map(|caller| self.asked(caller, 0));
        let (mine, store) = said[0].clone().ok()?;
        let all_say = said.iter().all(|said| *said == Ok((mine.clone(), mine.clone())));
        (all_say && store == mine).then_some(mine)
    }
}

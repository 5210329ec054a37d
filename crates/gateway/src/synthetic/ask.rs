//! One run of a check: a connection to this process, a request of HTTP/1.0, and its answer.
//!
//! In HTTP/1.0 an answer is as it stands, without pieces and without answers before it, and ends with its connection.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::check::{Check, CheckAnswer, Expect, MAX_LOOKED_THROUGH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::environment::Environment;
use crate::peer::{Peer, Secure};
use crate::wire::Wire;
use crate::worker::Worker;

/// What services see who the client is.
const AGENT: &str = concat!("lockstep-check/", env!("CARGO_PKG_VERSION"));
/// Fields of an answer that are read; one with more is none that can be judged.
const MAX_FIELDS: usize = 128;
/// Longest head of an answer.
const MAX_HEAD: usize = 64 * 1_024;

/// What came of asking.
pub(super) enum Heard {
    /// The answer as it stands, or its beginning.
    Answer(Vec<u8>),
    /// There was none in time.
    Nothing,
    /// It could not be asked.
    NotAsked(io::Error),
}

impl Heard {
    /// Returns the version that answered, and what is wrong, if anything is.
    pub(super) fn conclude(&self, expect: &Expect) -> (Option<String>, Option<String>) {
        let bytes = match self {
            Self::Answer(bytes) => bytes,
            Self::Nothing => return (None, Some(expect.fault_of_silence())),
            Self::NotAsked(error) => return (None, Some(format!("could not be asked: {error}"))),
        };
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else {
            return (None, Some("was answered by nothing that can be read".to_owned()));
        };
        let said = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("lockstep-version"));
        let version = said.map(|field| String::from_utf8_lossy(field.value).into_owned());
        let body = &bytes[length..];
        let body = &body[..body.len().min(MAX_LOOKED_THROUGH)];
        let answer = CheckAnswer { status: head.code.unwrap_or_default(), body };
        (version, expect.fault_of(answer))
    }
}

/// Asks once. The time that an answer may take is that of all of it.
pub(super) async fn ask(check: &Check, environment: &Arc<Environment>, worker: &Arc<Worker>) -> Heard {
    let limit = Duration::from_millis(check.expect.within_ms);
    match timeout(limit, converse(check, environment, worker)).await {
        Ok(Ok(bytes)) => Heard::Answer(bytes),
        Ok(Err(error)) => Heard::NotAsked(error),
        Err(_) => Heard::Nothing,
    }
}

async fn converse(
    check: &Check,
    environment: &Arc<Environment>,
    worker: &Arc<Worker>,
) -> io::Result<Vec<u8>> {
    let mut socket = connected(environment, worker).await?;
    socket.write_all(head(check).as_bytes()).await?;
    let mut bytes = Vec::new();
    (&mut socket).take((MAX_HEAD + MAX_LOOKED_THROUGH) as u64).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Connects to this process, which serves the other end as that of a client.
async fn connected(environment: &Arc<Environment>, worker: &Arc<Worker>) -> io::Result<TcpStream> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let socket = TcpStream::connect(listener.local_addr()?).await?;
    let own = socket.local_addr()?;
    let served = loop {
        let (served, peer) = listener.accept().await?;
        // Anybody on this machine may have found the port.
        if peer == own {
            break served;
        }
    };
    let permit = Arc::clone(&worker.connections).acquire_owned().await.map_err(io::Error::other)?;
    let peer = peer(own, served.local_addr()?, environment, worker);
    let (environment, of) = (Arc::clone(environment), Arc::clone(worker));
    let connection = Connection::new(Wire::new(served), peer, environment, of, CancellationToken::new());
    worker.spawn(connection.serve(permit));
    Ok(socket)
}

/// Customers come by TLS where the environment sends them there, or has certificates.
fn peer(own: SocketAddr, to: SocketAddr, environment: &Environment, worker: &Worker) -> Peer {
    let table = environment.table(worker.index).load();
    let entry = table.as_ref().and_then(|table| table.routes.entry.as_ref());
    let is_secure = entry.is_some_and(|entry| !entry.certificates.is_empty() || entry.sends_to_https());
    let mut peer = Peer::new(own, to, None).checking();
    peer.secure = is_secure.then(|| Box::new(Secure { version: "1.3", identity: None }));
    peer
}

fn head(check: &Check) -> String {
    let host = check.host.as_deref().map(|host| format!("host: {host}\r\n")).unwrap_or_default();
    let (method, path) = (check.request.method(), check.request.path());
    format!("{method} {path} HTTP/1.0\r\n{host}user-agent: {AGENT}\r\naccept: */*\r\n\r\n")
}

//! Whether a resource answers: a connection, and as much of a greeting as costs nothing and needs no password.
//!
//! Whoever answers may say anything: the time and the bytes read are bounded, and what is not understood is shown escaped.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use lockstep_domain::resource::ResourceKind;
use lockstep_domain::resource::address::Address;

use super::USER;
use crate::talk;

/// Most bytes of an answer that are looked at.
const MAX_BYTES: usize = 1024;
/// How much of an answer that is not understood is shown.
const SHOWN_BYTES: usize = 60;
/// Addresses of a host that are tried.
const MAX_ADDRESSES: usize = 4;
/// States in which PostgreSQL lets nobody in: it starts, stops, or recovers.
const NOT_NOW: [&[u8]; 3] = [b"57P01", b"57P02", b"57P03"];

/// Asks a resource on this host.
///
/// # Errors
/// Says what is wrong.
pub fn here(kind: ResourceKind, port: u16, timeout: Duration) -> Result<(), String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let plain = !matches!(kind, ResourceKind::Other);
    ask(kind, address, plain, timeout).map_err(|why| format!("127.0.0.1:{port} {why}"))
}

/// Asks a resource wherever it is. Looking up its name may take longer than `timeout`.
///
/// # Errors
/// Says what is wrong, without anything of the address that is secret.
pub fn anywhere(kind: ResourceKind, address: &Address, timeout: Duration) -> Result<(), String> {
    let (host, port) = (address.host(), address.port());
    let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let found = (host, port).to_socket_addrs().map_err(|error| format!("{place} is not found: {error}"))?;
    let mut last = Err(format!("{place} is not found"));
    for socket in found.take(MAX_ADDRESSES) {
        last = ask(kind, socket, !address.is_tls(), timeout).map_err(|why| format!("{place} {why}"));
        if last.is_ok() {
            break;
        }
    }
    last
}

fn ask(kind: ResourceKind, address: SocketAddr, plain: bool, timeout: Duration) -> Result<(), String> {
    let deadline = Instant::now() + timeout;
    let explain = |error: io::Error| match error.kind() {
        _ if talk::is_late(&error) => format!("does not answer within {} ms", timeout.as_millis()),
        ErrorKind::ConnectionRefused => "refuses connections: nothing listens there".to_owned(),
        _ => format!("cannot be asked: {error}"),
    };
    let mut stream = talk::connect(address, deadline).map_err(explain)?;
    if !plain {
        return Ok(());
    }
    let question = match kind {
        ResourceKind::Postgresql => startup(),
        ResourceKind::Redis => b"PING\r\n".to_vec(),
        ResourceKind::Mysql => Vec::new(),
        ResourceKind::Other => return Ok(()),
    };
    let answer = exchange(&mut stream, kind, &question, deadline).map_err(explain)?;
    understand(kind, &answer)
}

/// The first message of a client of PostgreSQL: version 3.0, a user and a database.
fn startup() -> Vec<u8> {
    let parameters = [b"user\0", USER.as_bytes(), b"\0database\0postgres\0\0"].concat();
    let length = u32::try_from(parameters.len() + 8).unwrap_or_default();
    [&length.to_be_bytes(), &196_608_u32.to_be_bytes(), parameters.as_slice()].concat()
}

fn exchange(
    stream: &mut TcpStream,
    kind: ResourceKind,
    question: &[u8],
    deadline: Instant,
) -> io::Result<Vec<u8>> {
    talk::send(stream, question, deadline)?;
    let mut answer = Vec::new();
    let mut buffer = [0; MAX_BYTES];
    while answer.len() < MAX_BYTES && !is_whole(kind, &answer) {
        let news = talk::read(stream, &mut buffer, deadline)?;
        if news.is_empty() {
            break;
        }
        answer.extend_from_slice(news);
    }
    Ok(answer)
}

/// Tells whether enough was read to understand it.
fn is_whole(kind: ResourceKind, answer: &[u8]) -> bool {
    match (kind, answer) {
        (ResourceKind::Postgresql, [_, a, b, c, d, ..]) => {
            let length = u32::from_be_bytes([*a, *b, *c, *d]);
            answer.len() > usize::try_from(length).unwrap_or(usize::MAX)
        }
        (ResourceKind::Postgresql, _) => false,
        (ResourceKind::Redis, _) => answer.contains(&b'\n'),
        (ResourceKind::Mysql, _) => answer.len() >= 7,
        (ResourceKind::Other, _) => true,
    }
}

fn understand(kind: ResourceKind, answer: &[u8]) -> Result<(), String> {
    let other = || Err(format!("does not speak {kind}: it answered `{}`", shown(answer)));
    match (kind, answer) {
        (_, []) => Err("closed the connection without an answer".to_owned()),
        (ResourceKind::Postgresql, [b'R', ..]) => Ok(()),
        (ResourceKind::Postgresql, [b'E', ..]) => postgresql_error(answer),
        (ResourceKind::Redis, _) if answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAUTH") => Ok(()),
        (ResourceKind::Redis, [b'-', said @ ..]) if is_reply(said) => {
            Err(format!("answers `{}`", shown(said.split(|byte| *byte == b'\r').next().unwrap_or(said))))
        }
        (ResourceKind::Mysql, [_, _, _, _, 10, ..]) => Ok(()),
        (ResourceKind::Mysql, [_, _, _, _, 255, _, _, said @ ..]) => {
            Err(format!("answers `{}`", shown(said)))
        }
        (ResourceKind::Other, _) => Ok(()),
        _ => other(),
    }
}

/// Errors of Redis begin with a word in capitals.
fn is_reply(said: &[u8]) -> bool {
    said.first().is_some_and(u8::is_ascii_uppercase)
}

/// Whatever is wrong with the user who was invented for the question, somebody answered who can.
fn postgresql_error(answer: &[u8]) -> Result<(), String> {
    let fields: Vec<&[u8]> = answer.get(5..).unwrap_or_default().split(|byte| *byte == 0).collect();
    let field = |letter: u8| fields.iter().find_map(|field| field.strip_prefix(&[letter]));
    let code = field(b'C').unwrap_or_default();
    if NOT_NOW.contains(&code) {
        return Err(format!("answers `{}`", shown(field(b'M').unwrap_or(code))));
    }
    Ok(())
}

fn shown(bytes: &[u8]) -> String {
    bytes.get(..SHOWN_BYTES).unwrap_or(bytes).escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// Answers one connection with these bytes, after a question or at once.
    fn answered(kind: ResourceKind, bytes: &'static [u8]) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            if kind != ResourceKind::Mysql {
                let read = stream.read(&mut [0; 512]).unwrap();
                assert!(read > 0);
            }
            let _ = stream.write_all(bytes);
        });
        let answer = here(kind, port, TIMEOUT);
        server.join().unwrap();
        answer.map_err(|why| why.replace(&format!("127.0.0.1:{port} "), ""))
    }

    #[test]
    fn what_answers_like_a_database_is_healthy_and_everything_else_is_shown() {
        use ResourceKind::{Mysql, Postgresql, Redis};
        for (kind, bytes, wrong) in [
            (Postgresql, &b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"[..], None),
            (Postgresql, b"E\0\0\0\x1bSFATAL\0C28000\0Mno one\0\0\0", None),
            (Postgresql, b"E\0\0\0\x1fSFATAL\0C57P03\0Mstarting up\0\0", Some("answers `starting up`")),
            (
                Postgresql,
                b"HTTP/1.1 400 Bad\r\n",
                Some("does not speak postgresql: it answered `HTTP/1.1 400 Bad\\r\\n`"),
            ),
            (Redis, b"-NOAUTH Authentication required.\r\n", None),
            (Redis, b"+PONG\r\n", None),
            (Redis, b"-LOADING Redis is loading\r\n", Some("answers `LOADING Redis is loading`")),
            (Redis, b"", Some("closed the connection without an answer")),
            (Mysql, b"\x4a\0\0\0\x0a8.0.36\0", None),
            (Mysql, b"\x10\0\0\0\xff\x69\x04Host is blocked", Some("answers `Host is blocked`")),
        ] {
            assert_eq!(answered(kind, bytes).err().as_deref(), wrong, "{kind} {}", bytes.escape_ascii());
        }
    }

    #[test]
    fn nobody_there_is_said_in_words() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let why = here(ResourceKind::Redis, port, TIMEOUT).unwrap_err();
        assert_eq!(why, format!("127.0.0.1:{port} refuses connections: nothing listens there"));
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let why = here(ResourceKind::Mysql, port, Duration::from_millis(20)).unwrap_err();
        assert!(why.ends_with("does not answer within 20 ms"), "{why}");
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(answer in prop::collection::vec(any::<u8>(), 0..80)) {
            for kind in ResourceKind::ALL {
                let _ = (is_whole(kind, &answer), understand(kind, &answer));
            }
        }
    }
}

//! Asking a gateway at its admin address.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::parse::seeing;

/// How long a gateway may say nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer: ten thousand requests with everything that is kept of them.
const MAX_ANSWER: u64 = 64 * 1_024 * 1_024;

/// Which gateway is asked.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AdminOption {
    /// The admin address of the gateway: an address, or a port on loopback.
    #[arg(long = "admin-address", value_name = "ADDRESS", value_parser = seeing::admin_address, default_value = "9900")]
    pub(super) address: SocketAddr,
}

/// Reads an admin address as it is printed: `127.0.0.1:9900`, `http://127.0.0.1:9900`, or a port on loopback.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let plain = text.strip_prefix("http://").unwrap_or(text);
    seeing::admin_address(plain.trim_end_matches("/-/").trim_end_matches('/'))
}

/// Asks a gateway for a document.
pub(super) fn ask<T: DeserializeOwned>(address: SocketAddr, target: &str) -> Result<T, Failure> {
    request(address, ("GET", target))
}

/// Tells a gateway to do something, and returns what it says of it.
pub(super) fn tell<T: DeserializeOwned>(address: SocketAddr, target: &str) -> Result<T, Failure> {
    request(address, ("POST", target))
}

fn request<T: DeserializeOwned>(address: SocketAddr, line: (&str, &str)) -> Result<T, Failure> {
    let answer = fetch(address, line).map_err(in_words).map_err(|error| {
        Failure::new(Exit::Unreachable, format!("no gateway answers at {address}"))
            .caused_by(&error)
            .hint("a gateway answers there that was started with --admin-address, a server with --gateway-admin-address")
    })?;
    let (status, body) = parts(&answer).ok_or_else(|| no_gateway(address))?;
    match status {
        200 => serde_json::from_slice(body).map_err(|_| no_gateway(address)),
        404 | 405 => Err(no_gateway(address)),
        _ => {
            let said = String::from_utf8_lossy(body);
            Err(Failure::new(Exit::Refused, format!("{address} answered {status}: {}", said.trim())))
        }
    }
}

fn no_gateway(address: SocketAddr) -> Failure {
    Failure::new(Exit::Unreachable, format!("what answers at {address} is no gateway of this release"))
        .hint("it is the address of --admin-address, not that of clients")
}

/// Says of a time that is over that it is: the system has another word for it.
fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            let waited = format!("it said nothing for {} s", PATIENCE.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, waited)
        }
        _ => error,
    }
}

/// The answer ends with its connection: a gateway keeps none on this address.
fn fetch(address: SocketAddr, (method, target): (&str, &str)) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
    let rest = format!("host: {address}\r\n{length}connection: close\r\n\r\n");
    stream.write_all(format!("{method} {target} HTTP/1.1\r\n{rest}").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Returns the status and the body of an answer whose length was said.
fn parts(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, &answer[end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_printed() {
        for text in ["9900", "127.0.0.1:9900", "http://127.0.0.1:9900", "http://127.0.0.1:9900/-/"] {
            assert_eq!(address(text).unwrap().to_string(), "127.0.0.1:9900", "{text}");
        }
        assert!(address("https://x").is_err());
    }

    #[test]
    fn who_is_told_something_is_posted_to_and_who_is_asked_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let gateway = std::thread::spawn(move || {
            let mut heard = Vec::new();
            for _ in 0..2 {
                let mut stream = listener.accept().unwrap().0;
                let mut head = vec![0; 4_096];
                let read = stream.read(&mut head).unwrap();
                heard.push(String::from_utf8_lossy(&head[..read]).into_owned());
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"connections\":3}").unwrap();
            }
            heard
        });
        let said: serde_json::Value = tell(address, "/-/drain").unwrap();
        let asked: serde_json::Value = ask(address, "/-/traffic").unwrap();
        assert_eq!((&said["connections"], &asked["connections"]), (&3.into(), &3.into()));
        let heard = gateway.join().unwrap();
        assert!(heard[0].starts_with("POST /-/drain HTTP/1.1\r\n") && heard[0].contains("content-length: 0"));
        assert!(heard[1].starts_with("GET /-/traffic HTTP/1.1\r\n") && !heard[1].contains("content-length"));
    }

    #[test]
    fn a_time_that_is_over_is_called_so() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let error = in_words(client.read(&mut [0]).unwrap_err());
        assert_eq!(error.to_string(), "it said nothing for 10 s");
        let other = in_words(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(other.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn what_is_no_answer_has_no_parts() {
        assert_eq!(parts(b"HTTP/1.1 200 OK\r\na: b\r\n\r\n{}"), Some((200, &b"{}"[..])));
        for bad in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 \xff00\r\n\r\n"] {
            assert_eq!(parts(bad), None);
        }
    }
}

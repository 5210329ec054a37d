//! Asking a relay, on loopback: whether the other side is well, and what it says.
//!
//! A relay says itself why it answers in the place of the other side, which is more than a status. Time and bytes are bounded, whatever
//! the other side does.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lockstep_domain::external::{HEALTH_FIELD, REASON_FIELD};
use lockstep_domain::run::Probe;

use crate::health::status_of;
use crate::talk::{connect, instance, is_late, read, send};

/// Longest head of an answer that is read.
const MAX_HEAD: usize = 64 * 1024;
/// Longest body that is read: a version and what stands around it.
const MAX_BODY: usize = 64 * 1024;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Asks for a text at the other side, through the relay that listens on a port of loopback.
///
/// # Errors
/// Says why there is none.
pub fn text(port: u16, path: &str, timeout: Duration) -> Result<String, String> {
    let what = format!("GET {path}");
    let (head, body) = ask(instance(port), (&what, ""), MAX_BODY, timeout)?;
    head.check(&what, 200..=299)?;
    String::from_utf8(body).map_err(|_| format!("{what} was answered with something that is no text"))
}

/// Checks the health of the other side.
///
/// # Errors
/// Says what is wrong.
pub(crate) fn healthy(at: SocketAddr, probe: &Probe, timeout: Duration) -> Result<(), String> {
    let (what, fields) = match probe {
        Probe::Http { path } => (format!("GET {path}"), String::new()),
        _ => ("OPTIONS *".to_owned(), format!("{HEALTH_FIELD}: reach\r\n")),
    };
    ask(at, (&what, &fields), 0, timeout)?.0.check(&what, 200..=399)
}

/// What is looked at of the head of an answer.
struct Head {
    status: u16,
    /// Why the relay answers in the place of the other side.
    reason: Option<String>,
}

impl Head {
    fn check(&self, what: &str, good: std::ops::RangeInclusive<u16>) -> Result<(), String> {
        match &self.reason {
            Some(reason) => Err(reason.clone()),
            None if good.contains(&self.status) => Ok(()),
            None => Err(format!("the other side answered {what} with status {}", self.status)),
        }
    }
}

fn ask(
    at: SocketAddr,
    request: (&str, &str),
    most: usize,
    timeout: Duration,
) -> Result<(Head, Vec<u8>), String> {
    let (what, port) = (request.0, at.port());
    let bytes = exchange(at, request, most, timeout).map_err(|error| match error.kind() {
        _ if is_late(&error) => format!("{what} was not answered within {} ms", timeout.as_millis()),
        io::ErrorKind::ConnectionRefused => format!("no relay listens on port {port}"),
        _ => format!("{what} through the relay on port {port} failed: {error}"),
    })?;
    let end = bytes.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD);
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (Some(end), Some(status)) = (end, status_of(line)) else {
        return Err(format!("{what} through the relay on port {port} was not answered"));
    };
    let (head, body) = bytes.split_at(end);
    let reason = field(&String::from_utf8_lossy(head), REASON_FIELD);
    let body = body.get(END_OF_HEAD.len()..).unwrap_or_default();
    Ok((Head { status, reason }, body.get(..most).unwrap_or(body).to_vec()))
}

/// Asks in HTTP/1.0, whose answers are over when the connection is. What comes late after the head is done without.
fn exchange(
    at: SocketAddr,
    (what, fields): (&str, &str),
    most: usize,
    timeout: Duration,
) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + timeout;
    let mut stream = connect(at, deadline)?;
    let request = format!(
        "{what} HTTP/1.0\r\nHost: {at}\r\nUser-Agent: lockstep-health\r\nAccept: */*\r\n{fields}\r\n"
    );
    send(&mut stream, request.as_bytes(), deadline)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    let mut head = None;
    while bytes.len() < head.map_or(MAX_HEAD, |end: usize| end.saturating_add(most)) {
        let news = read(&mut stream, &mut buffer, deadline)?;
        if news.is_empty() {
            break;
        }
        bytes.extend_from_slice(news);
        if head.is_none() {
            let end = bytes.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD);
            head = end.map(|end| end + END_OF_HEAD.len());
        }
    }
    Ok(bytes)
}

fn field(head: &str, name: &str) -> Option<String> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let found = fields.find(|(found, _)| found.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// Answers one connection, and holds it open for a while where it is told to.
    fn answering(bytes: &'static [u8], holds: bool) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(bytes);
            if holds {
                let _ = stream.read(&mut [0; 1]);
            }
        });
        port
    }

    fn http() -> Probe {
        Probe::Http { path: "/health".to_owned() }
    }

    #[test]
    fn the_head_says_how_the_other_side_is_whatever_becomes_of_the_body() {
        let endless = answering(b"HTTP/1.0 200 OK\r\ncontent-type: a\r\n\r\nx", true);
        assert_eq!(healthy(instance(endless), &http(), TIMEOUT), Ok(()));
        let sick = answering(b"HTTP/1.0 503 Service Unavailable\r\n\r\n", false);
        let error = healthy(instance(sick), &http(), TIMEOUT).unwrap_err();
        assert_eq!(error, "the other side answered GET /health with status 503");
        let away = answering(
            b"HTTP/1.0 502 Bad Gateway\r\nLockstep-Relay: nobody answers at http://a\r\n\r\n{}",
            false,
        );
        assert_eq!(
            healthy(instance(away), &Probe::Tcp, TIMEOUT),
            Err("nobody answers at http://a".to_owned())
        );
    }

    #[test]
    fn a_text_is_read_to_its_end_or_to_the_bound() {
        assert_eq!(
            text(answering(b"HTTP/1.0 200 OK\r\n\r\n2.1.0\n", false), "/v", TIMEOUT).as_deref(),
            Ok("2.1.0\n")
        );
        let late = text(answering(b"HTTP/1.0 200 OK\r\n\r\n2.1", true), "/v", Duration::from_millis(50));
        assert_eq!(late, Err("GET /v was not answered within 50 ms".to_owned()));
        for bad in [
            &b""[..],
            b"SSH-2.0\r\n\r\n",
            b"HTTP/1.0 \r\n\r\n",
            b"HTTP/1.0 200 OK\r\n",
            b"HTTP/1.0 404 No\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\n\xff",
        ] {
            assert!(text(answering(bad, false), "/v", TIMEOUT).is_err(), "{}", bad.escape_ascii());
        }
    }
}

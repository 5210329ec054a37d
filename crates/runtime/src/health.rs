//! Health checks over the network: a tiny HTTP/1.1 client and a TCP connect, to where the instance listens.
//!
//! A service may answer anything: the time and the bytes read are bounded, and what is not HTTP is unhealthy, with the
//! first bytes in the reason. Bodies are read only to be polite.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lockstep_domain::approach::Approach;

use crate::approach::open;
use crate::talk::{Line, is_late, read, send};

/// Longest status line that is read; real ones have less than 100 bytes.
const MAX_STATUS_LINE: usize = 1024;
/// Most bytes of an answer that are read after the status line, so that a service does not see its answer refused.
const MAX_REST: usize = 64 * 1024;
/// How long the rest is waited for: a service that ignores `Connection: close` must not delay the result.
const REST_WAIT: Duration = Duration::from_millis(20);
/// How much of an answer that is not HTTP is shown.
const SHOWN_BYTES: usize = 40;

/// Asks with `GET path` and accepts a status from 200 to 399.
///
/// # Errors
///
/// Says what was answered instead, or why there was no answer.
pub(crate) fn http(at: SocketAddr, path: &str, timeout: Duration, approach: &Approach) -> Result<(), String> {
    let line = ask(at, path, timeout, approach)
        .map_err(|error| explain(&format!("GET {path}"), at.port(), timeout, &error))?;
    let port = at.port();
    match status_of(&line) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(format!("GET {path} on port {port} answered with status {status}")),
        None if line.is_empty() => Err(format!("GET {path} on port {port} was answered with nothing")),
        None => {
            let shown = line.get(..SHOWN_BYTES).unwrap_or(&line).escape_ascii();
            Err(format!("GET {path} on port {port} was answered with `{shown}`, which is not HTTP"))
        }
    }
}

/// Connects, says what comes before anything else, shakes hands where there is TLS, and closes.
///
/// # Errors
///
/// Says why the connection was not accepted.
pub(crate) fn tcp(at: SocketAddr, timeout: Duration, approach: &Approach) -> Result<(), String> {
    match open(at, approach, Instant::now() + timeout) {
        Ok(_) => Ok(()),
        Err(error) => Err(explain("a connection", at.port(), timeout, &error)),
    }
}

fn explain(what: &str, port: u16, timeout: Duration, error: &io::Error) -> String {
    match error.kind() {
        _ if is_late(error) => {
            format!("{what} on port {port} was not answered within {} ms", timeout.as_millis())
        }
        io::ErrorKind::ConnectionRefused => format!("nothing listens on port {port}"),
        _ => format!("{what} on port {port} failed: {error}"),
    }
}

fn ask(at: SocketAddr, path: &str, timeout: Duration, approach: &Approach) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + timeout;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {at}\r\nUser-Agent: lockstep-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let mut stream = open(at, approach, deadline)?;
    send(&mut *stream, request.as_bytes(), deadline)?;
    let line = read_line(&mut *stream, deadline)?;
    drain(&mut *stream);
    Ok(line)
}

fn read_line(stream: &mut dyn Line, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut buffer = [0; 256];
    while line.len() < MAX_STATUS_LINE {
        let news = read(stream, &mut buffer, deadline)?;
        if news.is_empty() {
            break;
        }
        line.extend_from_slice(news);
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            line.truncate(end);
            break;
        }
    }
    Ok(line)
}

fn drain(stream: &mut dyn Line) {
    let deadline = Instant::now() + REST_WAIT;
    let mut buffer = [0; 4096];
    let mut left = MAX_REST;
    while left > 0 {
        match read(stream, &mut buffer, deadline) {
            Ok([]) | Err(_) => return,
            Ok(news) => left = left.saturating_sub(news.len()),
        }
    }
}

/// Returns the status in `HTTP/1.1 200 OK`.
pub(crate) fn status_of(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (minor, rest) = rest.split_first()?;
    let digits = rest.strip_prefix(b" ")?.get(..3)?;
    let ends = matches!(rest.get(4), None | Some(b' ' | b'\r'));
    let valid = minor.is_ascii_digit() && digits.iter().all(u8::is_ascii_digit) && ends;
    let status = if valid { std::str::from_utf8(digits).ok()?.parse().ok()? } else { return None };
    (100..=599).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use proptest::prelude::*;

    use super::*;
    use crate::talk::instance;

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// Answers one connection with these bytes after reading the request, and returns the port.
    fn answering(bytes: &'static [u8]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1:"));
            let _ = stream.write_all(bytes);
        });
        port
    }

    fn check(bytes: &'static [u8]) -> Result<(), String> {
        http(instance(answering(bytes)), "/health", TIMEOUT, &Approach::default())
    }

    #[test]
    fn accepts_from_200_to_399() {
        assert_eq!(check(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), Ok(()));
        assert_eq!(check(b"HTTP/1.0 399\r\n\r\n"), Ok(()));
        assert!(
            check(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap_err().ends_with("answered with status 400")
        );
        assert!(check(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err());
    }

    #[test]
    fn garbage_is_unhealthy_and_shown() {
        let error = check(b"\x16\x03\x01 hello\r\n").unwrap_err();
        assert!(
            error.ends_with("was answered with `\\x16\\x03\\x01 hello\\r`, which is not HTTP"),
            "{error}"
        );
        assert!(check(b"").unwrap_err().ends_with("was answered with nothing"));
        assert!(check(&[b'x'; 100_000]).is_err());
    }

    #[test]
    fn a_service_that_says_nothing_is_given_up_in_time() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = http(instance(port), "/", Duration::from_millis(30), &Approach::default()).unwrap_err();
        assert!(error.ends_with("was not answered within 30 ms"), "{error}");
    }

    #[test]
    fn a_service_that_trickles_is_given_up_in_time() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while stream.write_all(b"H").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        let started = Instant::now();
        assert!(http(instance(port), "/", Duration::from_millis(60), &Approach::default()).is_err());
        assert!(started.elapsed() < TIMEOUT);
    }

    #[test]
    fn a_closed_port_is_named() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(tcp(instance(port), TIMEOUT, &Approach::default()), Ok(()));
        drop(listener);
        assert_eq!(
            tcp(instance(port), TIMEOUT, &Approach::default()),
            Err(format!("nothing listens on port {port}"))
        );
    }

    proptest! {
        #[test]
        fn status_of_never_panics_and_is_in_range(line in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(status_of(&line).is_none_or(|status| (100..=599).contains(&status)));
        }

        #[test]
        fn status_of_finds_every_status(status in 100_u16..=599) {
            let line = format!("HTTP/1.1 {status} Whatever\r");
            prop_assert_eq!(status_of(line.as_bytes()), Some(status));
        }
    }
}

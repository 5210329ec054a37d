//! A lean HTTP/1.1 client: one connection, one request at a time, and an answer that is complete or an error.
//!
//! Invariant: it never asks again by itself, so that whoever counts failures sees each of them.

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Longest head of an answer; a longer one is not meant for us.
const MAX_HEAD: usize = 64 * 1024;
/// Longest body of an answer; a longer one is not meant for us.
const MAX_BODY: u64 = 64 * 1024 * 1024;

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The body, without its framing.
    pub(crate) body: Vec<u8>,
    head: String,
}

impl Answer {
    /// Returns the first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Reads the body as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).context("the answer is not JSON")
    }
}

/// Writes a request. Each of `headers` is a whole line without its end.
pub(crate) fn request(method: &str, path: &str, host: SocketAddr, headers: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if method != "GET" {
        text.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    format!("{text}\r\n{body}").into_bytes()
}

/// Asks once over a connection of its own, and wants a good answer in JSON.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
    timeout: Duration,
) -> Result<Value> {
    let asked = || format!("{method} http://{address}{path}");
    let exchanged = Connection::open(address, timeout)
        .and_then(|mut connection| connection.exchange(&request(method, path, address, &[], body)));
    let answer = exchanged.with_context(asked)?;
    let status = answer.status;
    ensure!(
        (200..300).contains(&status),
        "{} was answered {status}: {}",
        asked(),
        String::from_utf8_lossy(&answer.body)
    );
    answer.json().with_context(asked)
}

/// A connection to one address.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    reusable: bool,
}

impl Connection {
    /// Opens a connection; `timeout` bounds this and every later wait.
    pub(crate) fn open(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self { reader: BufReader::new(stream), reusable: true })
    }

    /// Sends a request on a connection that was kept, where it can be used again, and else on a new one.
    pub(crate) fn ask(
        kept: Option<Self>,
        address: SocketAddr,
        timeout: Duration,
        request: &[u8],
    ) -> io::Result<(Answer, Self)> {
        let kept = kept.filter(|kept| kept.reusable);
        let mut connection = kept.map_or_else(|| Self::open(address, timeout), Ok)?;
        Ok((connection.exchange(request)?, connection))
    }

    /// Sends a request and reads its answer to the end.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        // Whatever goes wrong from here on, nobody knows where the next answer would begin.
        self.reusable = false;
        self.reader.get_mut().write_all(request)?;
        let (status, head) = self.read_final_head()?;
        let body = self.read_body(status, &head)?;
        let closes = header(&head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.reusable = !closes && is_framed(status, &head);
        Ok(Answer { status, body, head })
    }

    fn read_final_head(&mut self) -> io::Result<(u16, String)> {
        loop {
            let head = self.read_head()?;
            let status = head.split(' ').nth(1).and_then(|word| word.trim_end().parse().ok());
            let status: u16 = status.ok_or_else(|| bad("the answer has no status"))?;
            if status >= 200 {
                return Ok((status, head));
            }
        }
    }

    fn read_head(&mut self) -> io::Result<String> {
        let mut head = Vec::new();
        loop {
            let begin = head.len();
            let room = MAX_HEAD.saturating_sub(begin) as u64;
            self.reader.by_ref().take(room).read_until(b'\n', &mut head)?;
            match &head[begin..] {
                b"\r\n" | b"\n" => break,
                line if line.ends_with(b"\n") => {}
                _ if head.is_empty() => return Err(cut_off("the connection ended without an answer")),
                _ => return Err(cut_off("the answer ended, or grew too long, within its head")),
            }
        }
        String::from_utf8(head).map_err(|_| bad("the head of the answer is not text"))
    }

    fn read_body(&mut self, status: u16, head: &str) -> io::Result<Vec<u8>> {
        if matches!(status, 204 | 304) {
            return Ok(Vec::new());
        }
        if is_chunked(head) {
            return self.read_chunks();
        }
        let mut body = Vec::new();
        match content_length(head) {
            Some(length) => self.read_exactly(length, &mut body)?,
            None => {
                self.reader.by_ref().take(MAX_BODY).read_to_end(&mut body)?;
            }
        }
        Ok(body)
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.read_line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| bad("a chunk has no size"))?;
            if size == 0 {
                while !self.read_line()?.trim_end().is_empty() {}
                return Ok(body);
            }
            self.read_exactly(size, &mut body)?;
            self.read_line()?;
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.by_ref().take(MAX_HEAD as u64).read_line(&mut line)?;
        if line.ends_with('\n') { Ok(line) } else { Err(cut_off("the answer ended within its body")) }
    }

    fn read_exactly(&mut self, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
        if body.len() as u64 + length > MAX_BODY {
            return Err(bad("the body of the answer is too long"));
        }
        let read = self.reader.by_ref().take(length).read_to_end(body)?;
        if read as u64 == length { Ok(()) } else { Err(cut_off("the answer ended within its body")) }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

fn is_chunked(head: &str) -> bool {
    header(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
}

fn content_length(head: &str) -> Option<u64> {
    header(head, "content-length")?.parse().ok()
}

fn is_framed(status: u16, head: &str) -> bool {
    matches!(status, 204 | 304) || is_chunked(head) || content_length(head).is_some()
}

fn bad(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

fn cut_off(what: &'static str) -> Error {
    Error::new(ErrorKind::UnexpectedEof, what)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Answers one connection with these bytes, whatever is asked, and closes it.
    fn exchange_with(answer: &'static [u8]) -> (io::Result<Answer>, bool) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            stream.write_all(answer).unwrap();
        });
        let mut connection = Connection::open(address, TIMEOUT).unwrap();
        let answer = connection.exchange(&request("GET", "/", address, &["x-lockstep-key: a"], ""));
        server.join().unwrap();
        (answer, connection.reusable)
    }

    #[test]
    fn answers_with_a_length_or_in_chunks_are_read_to_their_end() {
        let (answer, reusable) =
            exchange_with(b"HTTP/1.1 200 OK\r\nLockstep-Version: a@1.0.0\r\nContent-Length: 2\r\n\r\nhi");
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"hi"[..]));
        assert_eq!(answer.header("lockstep-version"), Some("a@1.0.0"));
        assert!(reusable);
        let (answer, reusable) = exchange_with(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;a=b\r\n!\r\n0\r\n\r\n",
        );
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.body.as_slice(), reusable), (503, &b"hi!"[..], true));
    }

    #[test]
    fn an_answer_that_says_close_or_has_no_length_ends_the_connection() {
        let (answer, reusable) =
            exchange_with(b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n");
        assert!(answer.is_ok() && !reusable);
        let (answer, reusable) = exchange_with(b"HTTP/1.1 200 OK\r\n\r\nall of it");
        assert_eq!((answer.unwrap().body.as_slice(), reusable), (&b"all of it"[..], false));
    }

    #[test]
    fn answers_that_break_off_are_errors() {
        for cut in [
            &b""[..],
            b"HTTP/1.1 200",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        ] {
            let (answer, reusable) = exchange_with(cut);
            assert!(answer.is_err() && !reusable, "{}", String::from_utf8_lossy(cut));
        }
    }
}

//! HTTP/1.1 messages, as much of them as a small service needs.

use std::io::{self, BufRead, Read};

/// Most bytes of a first line and its headers together.
const MAX_HEAD_BYTES: u64 = 16 * 1024;
/// Most bytes of a body.
const MAX_BODY_BYTES: u64 = 64 * 1024;

/// A request or an answer: they differ in their first line only.
pub struct Message {
    pub first_line: String,
    /// Those of the head, and those behind a body that came in chunks.
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    /// Reads a whole message; `None` when the other side has closed the connection.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = reader.take(MAX_HEAD_BYTES);
        let Some(first_line) = read_line(&mut head)? else { return Ok(None) };
        let mut message = Self { first_line, headers: read_headers(&mut head)?, body: Vec::new() };
        message.read_body(reader)?;
        Ok(Some(message))
    }

    fn read_body(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        match self.header("transfer-encoding") {
            Some(coding) if coding.eq_ignore_ascii_case("chunked") => return self.read_chunks(reader),
            Some(_) => return Err(invalid("only bodies with a Content-Length or in chunks are read")),
            None => {}
        }
        let length = self.header("content-length").unwrap_or("0");
        let length = length.parse().map_err(|_| invalid("Content-Length is not a number"))?;
        self.read_piece(reader, length)
    }

    fn read_chunks(&mut self, reader: &mut impl BufRead) -> io::Result<()> {
        loop {
            let line = read_line(&mut reader.take(MAX_HEAD_BYTES))?.unwrap_or_default();
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| invalid("a chunk has no size"))?;
            if size == 0 {
                self.headers.extend(read_headers(&mut reader.take(MAX_HEAD_BYTES))?);
                return Ok(());
            }
            self.read_piece(reader, size)?;
            read_line(&mut reader.take(MAX_HEAD_BYTES))?;
        }
    }

    fn read_piece(&mut self, reader: &mut impl BufRead, length: u64) -> io::Result<()> {
        let whole = length.saturating_add(self.body.len() as u64);
        if whole > MAX_BODY_BYTES {
            return Err(invalid("the body is too large"));
        }
        reader.take(length).read_to_end(&mut self.body)?;
        if self.body.len() as u64 == whole { Ok(()) } else { Err(invalid("the body ends too early")) }
    }

    /// Returns a header; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns the body where it is a text, and an empty one for any other.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    /// Returns a word of the first line, from 0.
    pub fn word(&self, index: usize) -> &str {
        self.first_line.split(' ').nth(index).unwrap_or_default()
    }

    /// Tells whether the other side closes the connection after this message.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

fn read_headers(reader: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?.ok_or_else(|| invalid("the head ends too early"))?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header has no colon"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    match reader.read_line(&mut line)? {
        0 => Ok(None),
        _ if line.ends_with('\n') => Ok(Some(line.trim_end().to_owned())),
        _ => Err(invalid("a line is too long or ends too early")),
    }
}

pub fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_to_its_end() {
        let mut bytes = "POST /x HTTP/1.1\r\nContent-Length: 2\r\nConnection: Close\r\n\r\nhi, more".as_bytes();
        let message = Message::read(&mut bytes).unwrap().unwrap();
        assert_eq!((message.word(0), message.word(1), &message.body[..]), ("POST", "/x", &b"hi"[..]));
        assert!(message.closes());
        assert_eq!(bytes, b", more");
    }

    #[test]
    fn a_body_in_chunks_has_headers_behind_it() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let bytes = format!("{head}2;a=b\r\nhi\r\n1\r\n!\r\n0\r\nA: b\r\n\r\nmore");
        let mut bytes = bytes.as_bytes();
        let message = Message::read(&mut bytes).unwrap().unwrap();
        assert_eq!((&message.body[..], message.header("a"), bytes), (&b"hi!"[..], Some("b"), &b"more"[..]));
    }

    #[test]
    fn broken_messages_are_refused() {
        let read = |text: &str| Message::read(&mut text.as_bytes());
        assert!(read("").unwrap().is_none());
        for text in ["GET / HTTP/1.1\r\n", "G\r\nx\r\n\r\n", "G\r\ncontent-length: 9\r\n\r\nhi", "G"] {
            assert!(read(text).is_err(), "{text}");
        }
        for chunks in ["", "x\r\n", "2\r\nh", "2\r\nhi\r\n", "0\r\n", "ffffffffffffffff\r\nhi"] {
            assert!(read(&format!("G\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")).is_err(), "{chunks}");
        }
        assert!(read(&"x".repeat(20_000)).is_err());
    }
}

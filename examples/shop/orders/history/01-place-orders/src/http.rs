//! HTTP/1.1 messages, as much of them as a small service needs.

use std::io::{self, BufRead, Read};

/// Most bytes of a first line and its headers together.
const MAX_HEAD_BYTES: u64 = 16 * 1024;
/// Most bytes of a body.
const MAX_BODY_BYTES: u64 = 64 * 1024;

/// A request or an answer: they differ in their first line only.
pub struct Message {
    pub first_line: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Message {
    /// Reads a whole message; `None` when the other side has closed the connection.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = reader.take(MAX_HEAD_BYTES);
        let Some(first_line) = read_line(&mut head)? else { return Ok(None) };
        let mut headers = Vec::new();
        loop {
            let line = read_line(&mut head)?.ok_or_else(|| invalid("the head ends too early"))?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header has no colon"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut message = Self { first_line, headers, body: String::new() };
        message.body = message.read_body(reader)?;
        Ok(Some(message))
    }

    fn read_body(&self, reader: &mut impl BufRead) -> io::Result<String> {
        if self.header("transfer-encoding").is_some() {
            return Err(invalid("only bodies with a Content-Length are read"));
        }
        let length = self.header("content-length").unwrap_or("0");
        let length = length.parse::<u64>().map_err(|_| invalid("Content-Length is not a number"))?;
        if length > MAX_BODY_BYTES {
            return Err(invalid("the body is too large"));
        }
        let mut body = String::new();
        reader.take(length).read_to_string(&mut body)?;
        if body.len() as u64 == length { Ok(body) } else { Err(invalid("the body ends too early")) }
    }

    /// Returns a header; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
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

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    match reader.read_line(&mut line)? {
        0 => Ok(None),
        _ if line.ends_with('\n') => Ok(Some(line.trim_end().to_owned())),
        _ => Err(invalid("a line is too long or ends too early")),
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_to_its_end() {
        let mut bytes = "POST /x HTTP/1.1\r\nContent-Length: 2\r\nConnection: Close\r\n\r\nhi, more".as_bytes();
        let message = Message::read(&mut bytes).unwrap().unwrap();
        assert_eq!((message.word(0), message.word(1), message.body.as_str()), ("POST", "/x", "hi"));
        assert!(message.closes());
        assert_eq!(bytes, b", more");
    }

    #[test]
    fn broken_messages_are_refused() {
        let read = |text: &str| Message::read(&mut text.as_bytes());
        assert!(read("").unwrap().is_none());
        for text in ["GET / HTTP/1.1\r\n", "G\r\nx\r\n\r\n", "G\r\ncontent-length: 9\r\n\r\nhi", "G"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read(&"x".repeat(20_000)).is_err());
    }
}

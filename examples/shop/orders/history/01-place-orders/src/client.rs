//! Calls other services, always through the gateway, over connections that are kept.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::http::Message;

/// An answer that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where other services are reached.
#[derive(Clone)]
pub struct Services {
    pub catalog: String,
    pub payments: String,
}

/// A service with the connection that was used last.
pub struct Client {
    authority: String,
    prefix: String,
    connection: Option<BufReader<TcpStream>>,
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub served_by: String,
}

impl Client {
    /// Prepares calls to a URL such as `http://127.0.0.1:8500/@payments`.
    pub fn new(url: &str) -> Self {
        let rest = url.strip_prefix("http://").unwrap_or(url);
        let (authority, prefix) = rest.split_once('/').map_or((rest, String::new()), |(a, p)| (a, format!("/{p}")));
        let prefix = prefix.trim_end_matches('/').to_owned();
        Self { authority: authority.to_owned(), prefix, connection: None }
    }

    /// Sends a request and waits for the answer. `forwarded` are header lines of the request that is being answered.
    pub fn call(&mut self, method: &str, path: &str, forwarded: &str, body: &str) -> io::Result<Answer> {
        let Self { authority, prefix, .. } = self;
        let length = body.len();
        let request = format!(
            "{method} {prefix}{path} HTTP/1.1\r\nHost: {authority}\r\n{forwarded}\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        if let Some(connection) = self.connection.take() {
            match self.exchange(connection, &request) {
                // A kept connection may have been closed meanwhile; that is no failure of the call.
                Err(error) if is_closed(&error) => {}
                outcome => return outcome,
            }
        }
        let stream = TcpStream::connect(&self.authority)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        self.exchange(BufReader::new(stream), &request)
    }

    fn exchange(&mut self, mut connection: BufReader<TcpStream>, request: &str) -> io::Result<Answer> {
        connection.get_mut().write_all(request.as_bytes())?;
        let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed");
        let message = Message::read(&mut connection)?.ok_or_else(closed)?;
        if !message.closes() {
            self.connection = Some(connection);
        }
        let status = message.word(1).parse().unwrap_or(502);
        let served_by = message.header("x-served-by").unwrap_or("unknown").to_owned();
        Ok(Answer { status, body: message.body, served_by })
    }
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

//! Calls other services, always through the gateway, over connections that are kept.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::grpc;
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

/// What was answered: a status of HTTP with a body, or one of gRPC with a message.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
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

    /// Posts JSON and waits for the answer. `forwarded` are header lines of the request that is being answered.
    pub fn post(&mut self, path: &str, forwarded: &str, body: &str) -> io::Result<Answer> {
        let answer = self.ask(path, &format!("{forwarded}Content-Type: application/json\r\n"), body.as_bytes())?;
        let status = answer.word(1).parse().unwrap_or(502);
        Ok(Answer { status, served_by: served_by(&answer), body: answer.body })
    }

    /// Makes a gRPC call, which the gateway takes over HTTP/1.1 as well, and waits for its end.
    pub fn call(&mut self, path: &str, forwarded: &str, message: &[u8]) -> io::Result<Answer> {
        let headers = format!("{forwarded}Content-Type: application/grpc\r\nTE: trailers\r\nConnection: TE\r\n");
        let answer = self.ask(path, &headers, &grpc::framed(message))?;
        let (status, body) = grpc::ended(&answer)?;
        Ok(Answer { status, body, served_by: served_by(&answer) })
    }

    fn ask(&mut self, path: &str, headers: &str, body: &[u8]) -> io::Result<Message> {
        let Self { authority, prefix, .. } = self;
        let length = body.len();
        let head = format!(
            "POST {prefix}{path} HTTP/1.1\r\nHost: {authority}\r\n{headers}Content-Length: {length}\r\n\r\n"
        );
        let request = [head.as_bytes(), body].concat();
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

    fn exchange(&mut self, mut connection: BufReader<TcpStream>, request: &[u8]) -> io::Result<Message> {
        connection.get_mut().write_all(request)?;
        let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed");
        let message = Message::read(&mut connection)?.ok_or_else(closed)?;
        if !message.closes() {
            self.connection = Some(connection);
        }
        Ok(message)
    }
}

fn served_by(answer: &Message) -> String {
    answer.header("x-served-by").unwrap_or("unknown").to_owned()
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

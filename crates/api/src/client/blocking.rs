//! Waiting for what is asynchronous below: one thread, which does nothing else.

use std::future::Future;
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use tokio::runtime::{Builder, Runtime};

/// What waits.
#[derive(Debug)]
pub(super) struct Blocking {
    /// Taken when this is dropped, and only then.
    runtime: Option<Runtime>,
}

impl Blocking {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { runtime: Some(Builder::new_current_thread().enable_all().build()?) })
    }

    pub(super) fn run<F: Future>(&self, future: F) -> F::Output {
        let runtime = self.runtime.as_ref().expect("it is there until this is dropped");
        runtime.block_on(future)
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        // A search for a name cannot be ended; nobody waits for its answer.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The body of an answer, read as it comes.
#[derive(Debug)]
pub(super) struct BodyReader {
    blocking: Arc<Blocking>,
    body: Incoming,
    rest: Bytes,
    silence: Option<Duration>,
}

impl BodyReader {
    pub(super) fn new(blocking: Arc<Blocking>, body: Incoming) -> Self {
        Self { blocking, body, rest: Bytes::new(), silence: None }
    }

    /// From now on a silence that is longer is an error.
    pub(super) fn silent_at_most(self, silence: Duration) -> Self {
        Self { silence: Some(silence), ..self }
    }

    /// Waits for the next piece; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let (body, silence) = (&mut self.body, self.silence);
        let frame = self.blocking.run(async {
            match silence {
                Some(silence) => {
                    tokio::time::timeout(silence, body.frame()).await.map_err(|_| silent(silence))
                }
                None => Ok(body.frame().await),
            }
        })?;
        let frame = frame.transpose().map_err(io::Error::other)?;
        // Trailers are no part of what was said.
        Ok(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }
}

fn silent(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("nothing was said for {} s", limit.as_secs()))
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.next()? {
                Some(piece) => self.rest = piece,
                None => return Ok(0),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

/// Reads a line without its end, of so many bytes at most; `None` at the end of everything.
pub(super) fn line(reader: &mut impl BufRead, limit: u64) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = reader.take(limit).read_line(&mut line)?;
    if read as u64 == limit {
        return Err(io::Error::other(format!("a line is longer than {limit} bytes")));
    }
    Ok((read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::thread;

    use hyper::Method;
    use lockstep_reach::{PlainHttp, Reach, Trust};

    use super::*;

    #[test]
    fn a_stream_that_falls_silent_is_an_error_and_what_came_before_is_not_lost() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // An answer that comes before its request is none.
            assert_ne!(stream.read(&mut [0; 1_024]).unwrap(), 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\ndata").unwrap();
            // Until the client has left.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let reach =
            Reach::new(address.parse().unwrap(), Trust::in_system(), None, PlainHttp::LoopbackOnly).unwrap();
        let blocking = Arc::new(Blocking::new().unwrap());
        let response = blocking.run(reach.ask(Method::GET, "/", &[], Bytes::new())).unwrap();
        let body = BodyReader::new(Arc::clone(&blocking), response.into_body());
        let mut body = body.silent_at_most(Duration::from_millis(20));
        let mut text = String::new();
        let error = body.read_to_string(&mut text).unwrap_err();
        assert_eq!((text.as_str(), error.kind()), ("data", io::ErrorKind::TimedOut));
        drop((body, blocking));
        server.join().unwrap();
    }

    #[test]
    fn lines_have_a_bound() {
        let mut text = &b"one\r\n\ntwo"[..];
        let mut next = || line(&mut text, 10).unwrap();
        assert_eq!(
            [next(), next(), next(), next()],
            [Some("one".into()), Some(String::new()), Some("two".into()), None]
        );
        assert!(line(&mut &b"0123456789"[..], 10).is_err());
    }
}

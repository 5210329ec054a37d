//! Messages in the bodies of HTTP/2: whole ones, which are bounded, and lines without end.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::protocol::{MAX_LINE_BYTES, MAX_MESSAGE_BYTES};

/// How much of one stream may be under way: at 200 ms there and back it carries 5 MiB a second.
pub(crate) const STREAM_WINDOW: u32 = 1024 * 1024;
/// How much of all streams may be under way: more than they have together, so that no stream that nobody reads holds up another one.
pub(crate) const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// How many requests may be under way: each instance may have its log followed a few times.
pub(crate) const MAX_STREAMS: u32 = 1024;
/// How long an answer may take: a tree of files may have to be removed for it.
pub(crate) const ANSWER: Duration = Duration::from_secs(60);
/// How often it is asked whether the other side is there.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(5);
/// How long nothing may come, pings and answers to them included: a connection of 200 ms that loses packets has many tries in it.
pub(crate) const SILENCE: Duration = Duration::from_secs(20);

/// Writes a message.
pub(crate) fn message<T: Serialize>(value: &T) -> io::Result<Bytes> {
    let text = serde_json::to_vec(value).map_err(io::Error::other)?;
    if text.len() > MAX_MESSAGE_BYTES {
        return Err(too_large("message", MAX_MESSAGE_BYTES));
    }
    Ok(text.into())
}

/// Writes a message as a line.
pub(crate) fn line<T: Serialize>(value: &T) -> io::Result<Bytes> {
    let mut text = serde_json::to_vec(value).map_err(io::Error::other)?;
    text.push(b'\n');
    Ok(text.into())
}

/// Reads a whole body as a message.
pub(crate) async fn read<T: DeserializeOwned>(mut body: RecvStream) -> io::Result<T> {
    let mut text = BytesMut::new();
    while let Some(piece) = next(&mut body).await? {
        if text.len() + piece.len() > MAX_MESSAGE_BYTES {
            return Err(too_large("message", MAX_MESSAGE_BYTES));
        }
        text.extend_from_slice(&piece);
    }
    serde_json::from_slice(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads the next piece of a body; `None` at its end.
pub(crate) async fn next(body: &mut RecvStream) -> io::Result<Option<Bytes>> {
    let Some(piece) = body.data().await else { return Ok(None) };
    let piece = piece.map_err(as_io)?;
    body.flow_control().release_capacity(piece.len()).map_err(as_io)?;
    Ok(Some(piece))
}

/// Sends a piece of a body as fast as the other side takes it.
pub(crate) async fn send(body: &mut SendStream<Bytes>, mut piece: Bytes) -> io::Result<()> {
    while !piece.is_empty() {
        body.reserve_capacity(piece.len());
        let room = poll_fn(|context| body.poll_capacity(context)).await;
        let room = room.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?.map_err(as_io)?;
        let part = piece.split_to(room.min(piece.len()));
        body.send_data(part, false).map_err(as_io)?;
    }
    Ok(())
}

/// Ends a body.
pub(crate) fn end(body: &mut SendStream<Bytes>) -> io::Result<()> {
    body.send_data(Bytes::new(), true).map_err(as_io)
}

/// Makes an error of the connection one of the system.
pub(crate) fn as_io(error: h2::Error) -> io::Error {
    match error.is_io() {
        true => error.into_io().unwrap_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe)),
        false => io::Error::other(error),
    }
}

fn too_large(what: &str, limit: usize) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("a {what} of more than {limit} bytes"))
}

/// The lines of a body.
#[derive(Debug)]
pub(crate) struct Lines {
    body: RecvStream,
    read: BytesMut,
}

impl Lines {
    /// Begins at the beginning of a body.
    pub(crate) fn of(body: RecvStream) -> Self {
        Self { body, read: BytesMut::new() }
    }

    /// Reads the next line without its end; `None` after the last.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut looked = 0;
        loop {
            if let Some(end) = self.read[looked..].iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(looked + end).freeze();
                self.read.advance(1);
                return Ok(Some(line));
            }
            looked = self.read.len();
            if looked > MAX_LINE_BYTES {
                return Err(too_large("line", MAX_LINE_BYTES));
            }
            match next(&mut self.body).await? {
                Some(piece) => self.read.extend_from_slice(&piece),
                None if self.read.is_empty() => return Ok(None),
                None => return Ok(Some(self.read.split().freeze())),
            }
        }
    }
}

/// A connection that ends when nothing has come for [`SILENCE`]: one that hangs is never closed by anybody.
#[derive(Debug)]
pub(crate) struct Heard<S> {
    streams: S,
    silence: Pin<Box<Sleep>>,
}

impl<S> Heard<S> {
    pub(crate) fn new(streams: S) -> Self {
        Self { streams, silence: Box::pin(sleep(SILENCE)) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.streams).poll_read(context, into) {
            self.silence.as_mut().reset(Instant::now() + SILENCE);
            return Poll::Ready(read);
        }
        let is_silent = self.silence.as_mut().poll(context).is_ready();
        let text = || format!("nothing came for {} s", SILENCE.as_secs());
        if is_silent {
            Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, text())))
        } else {
            Poll::Pending
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.streams).poll_write(context, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.streams).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.streams).poll_shutdown(context)
    }
}

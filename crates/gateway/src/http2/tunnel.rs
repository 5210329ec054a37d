//! A stream of a client as a tunnel: the two ends of a WebSocket of HTTP/2 (RFC 8441), to read from and write to.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::room::Room;

/// What a client sends in a stream.
pub(crate) struct StreamReader<'c> {
    stream: &'c mut RecvStream,
    got: Bytes,
}

impl<'c> StreamReader<'c> {
    pub(super) fn new(stream: &'c mut RecvStream) -> Self {
        Self { stream, got: Bytes::new() }
    }
}

impl AsyncRead for StreamReader<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.got.is_empty() {
            match ready!(self.stream.poll_data(cx)) {
                Some(got) => self.got = got.map_err(io::Error::other)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.got.len().min(to.remaining());
        to.put_slice(&self.got[..length]);
        self.got.advance(length);
        // What was read is sent on before anything more is read, so the client may send as much again.
        Poll::Ready(self.stream.flow_control().release_capacity(length).map_err(io::Error::other))
    }
}

/// What a client is sent in a stream.
pub(crate) struct StreamWriter<'c> {
    stream: &'c mut SendStream<Bytes>,
    room: Room,
}

impl<'c> StreamWriter<'c> {
    pub(super) fn new(stream: &'c mut SendStream<Bytes>) -> Self {
        Self { stream, room: Room::default() }
    }
}

impl AsyncWrite for StreamWriter<'_> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Self { stream, room } = self.get_mut();
        let length = ready!(room.poll(stream, bytes.len(), cx))?;
        let sent = stream.send_data(Bytes::copy_from_slice(&bytes[..length]), false);
        Poll::Ready(sent.map(|()| length).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().stream.send_data(Bytes::new(), true).map_err(io::Error::other))
    }
}

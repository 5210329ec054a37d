//! The bytes of one connection: as they are on the wire, or within TLS.
//!
//! What is asked of the system, and what only a socket can do, is asked of the socket below in both cases. What is sent within
//! TLS may wait in the session, so who sends flushes; for a plain connection that is nothing.
//!
//! Invariant: the end of what the other side sends is an end only when it was said within TLS (`close_notify`); a socket that
//! just ends is an error, so a part never looks like the whole.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, tcp};
use tokio_rustls::{TlsStream, client, server};

use crate::between::Carried;

/// A session and what it is in. Both halves of a connection are used by one task, so nobody ever waits for this lock.
type Session = Mutex<TlsStream<TcpStream>>;
/// One with the gateway of the host of an instance.
type Through = Mutex<Carried>;
/// One within another: an instance that speaks TLS itself, reached through the gateway of its host.
type Nested = Mutex<client::TlsStream<Carried>>;

/// The bytes of one connection.
#[derive(Debug)]
pub(crate) enum Stream {
    /// As they are on the wire.
    Plain(TcpStream),
    /// Within TLS: with a client, or with an instance.
    Tls(Box<Session>),
    /// Within TLS of the gateway of a host.
    Through(Box<Through>),
    /// Within TLS of an instance, which is within that of the gateway of its host.
    Nested(Box<Nested>),
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self::Plain(socket)
    }
}

impl From<server::TlsStream<TcpStream>> for Stream {
    fn from(session: server::TlsStream<TcpStream>) -> Self {
        Self::Tls(Box::new(Mutex::new(session.into())))
    }
}

impl From<client::TlsStream<TcpStream>> for Stream {
    fn from(session: client::TlsStream<TcpStream>) -> Self {
        Self::Tls(Box::new(Mutex::new(session.into())))
    }
}

impl From<Carried> for Stream {
    fn from(session: Carried) -> Self {
        Self::Through(Box::new(Mutex::new(session)))
    }
}

impl From<client::TlsStream<Carried>> for Stream {
    fn from(session: client::TlsStream<Carried>) -> Self {
        Self::Nested(Box::new(Mutex::new(session)))
    }
}

impl Stream {
    /// Asks something of the socket.
    pub(crate) fn socket<T>(&self, ask: impl FnOnce(&TcpStream) -> T) -> T {
        match self {
            Self::Plain(socket) => ask(socket),
            Self::Tls(session) => ask(lock(session).get_ref().0),
            Self::Through(session) => ask(lock(session).socket()),
            Self::Nested(session) => ask(lock(session).get_ref().0.socket()),
        }
    }

    /// Tells whether the gateway that carries it is not believed any more.
    pub(crate) fn is_withdrawn(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Tls(_) => false,
            Self::Through(session) => lock(session).is_withdrawn(),
            Self::Nested(session) => lock(session).get_ref().0.is_withdrawn(),
        }
    }

    /// Takes it apart, so that both directions can be used at once.
    pub(crate) fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        match self {
            Self::Plain(socket) => {
                let (read, write) = socket.split();
                (ReadHalf::Plain(read), WriteHalf::Plain(write))
            }
            Self::Tls(session) => (ReadHalf::Tls(session), WriteHalf::Tls(session)),
            Self::Through(session) => (ReadHalf::Through(session), WriteHalf::Through(session)),
            Self::Nested(session) => (ReadHalf::Nested(session), WriteHalf::Nested(session)),
        }
    }
}

fn lock<T>(session: &Mutex<T>) -> MutexGuard<'_, T> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls a method of the stream that is inside, pinned.
macro_rules! inside {
    ($self:ident, $method:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).$method($($argument),*),
            Self::Tls(session) => Pin::new(&mut *lock(session)).$method($($argument),*),
            Self::Through(session) => Pin::new(&mut *lock(session)).$method($($argument),*),
            Self::Nested(session) => Pin::new(&mut *lock(session)).$method($($argument),*),
        }
    };
}

/// The end of a connection that is read from.
#[derive(Debug)]
pub(crate) enum ReadHalf<'s> {
    Plain(tcp::ReadHalf<'s>),
    Tls(&'s Session),
    Through(&'s Through),
    Nested(&'s Nested),
}

/// The end of a connection that is written to.
#[derive(Debug)]
pub(crate) enum WriteHalf<'s> {
    Plain(tcp::WriteHalf<'s>),
    Tls(&'s Session),
    Through(&'s Through),
    Nested(&'s Nested),
}

impl WriteHalf<'_> {
    /// Asks something of the socket where the bytes pass as they are; within TLS an end is said otherwise.
    pub(crate) fn socket(&self, ask: impl FnOnce(&TcpStream)) {
        match self {
            Self::Plain(half) => ask(half.as_ref()),
            Self::Tls(_) | Self::Through(_) | Self::Nested(_) => {}
        }
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        inside!(self, poll_read(cx, to))
    }
}

impl AsyncRead for ReadHalf<'_> {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        inside!(self, poll_read(cx, to))
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        inside!(self, poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inside!(self, poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self, poll_shutdown(cx))
    }
}

impl AsyncWrite for WriteHalf<'_> {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        inside!(self, poll_write(cx, bytes))
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inside!(self, poll_shutdown(cx))
    }
}

//! Reaching an instance through the gateway of its host.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lockstep_domain::HostName;
use lockstep_reach::words_of_handshake;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::carry::Opening;
use super::{Neighbours, PROTOCOL};

/// How long a carried connection serves one request after the other: then the next one is opened anew. So the gateway at the other end, which
/// cannot tell where a request ends, is left by all connections a while after another process has taken over from it.
pub(crate) const AGE: Duration = Duration::from_secs(10);

/// A connection to an instance within TLS of the gateway of its host. It breaks off when the table takes the key away that was proved.
#[derive(Debug)]
pub(crate) struct Carried {
    session: TlsStream<TcpStream>,
    withdrawn: CancellationToken,
    /// Wakes whoever waits for bytes.
    waits: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Carried {
    fn new(session: TlsStream<TcpStream>, withdrawn: CancellationToken) -> Self {
        let waits = Box::pin(withdrawn.clone().cancelled_owned());
        Self { session, withdrawn, waits }
    }

    /// Returns the socket that it is in.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.session.get_ref().0
    }

    /// Tells whether who is at the other end is not believed any more.
    pub(crate) fn is_withdrawn(&self) -> bool {
        self.withdrawn.is_cancelled()
    }

    fn believed(&self) -> io::Result<()> {
        match self.is_withdrawn() {
            false => Ok(()),
            true => Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the gateway of its host is not believed any more",
            )),
        }
    }
}

impl AsyncRead for Carried {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.believed()?;
        let read = Pin::new(&mut self.session).poll_read(cx, to);
        if read.is_pending() && self.waits.as_mut().poll(cx).is_ready() {
            self.believed()?;
        }
        read
    }
}

impl AsyncWrite for Carried {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.believed()?;
        Pin::new(&mut self.session).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.believed()?;
        Pin::new(&mut self.session).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.session.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.session).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.session).poll_shutdown(cx)
    }
}

impl Neighbours {
    /// Opens a connection to an instance through the gateway of its host. When this returns, the instance has taken it.
    ///
    /// # Errors
    /// Why there is none, in words for a person.
    pub(crate) async fn reach(&self, host: &HostName, name: &str) -> io::Result<Carried> {
        let unknown = || io::Error::other(format!("nothing is said of a gateway of host `{host}`"));
        let at = self.present.told.load().hosts.get(host).map(|it| it.at).ok_or_else(unknown)?;
        let say = |why: &dyn std::fmt::Display| {
            io::Error::other(format!("the gateway of host `{host}` at {at}: {why}"))
        };
        // Before the key is looked at: one that is taken away meanwhile is not believed.
        let withdrawn = self.line_of_host(host).ok_or_else(unknown)?;
        let config = self.client_to(host).map_err(io::Error::other)?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let socket = TcpStream::connect(at)
            .await
            .map_err(|error| io::Error::new(error.kind(), say(&error).to_string()))?;
        // Before the handshake, which is small messages.
        let _ = socket.set_nodelay(true);
        let session = TlsConnector::from(config).connect(name, socket).await;
        let mut stream = session.map_err(|error| say(&words_of_handshake(&error)))?;
        if stream.get_ref().1.alpn_protocol() != Some(PROTOCOL) {
            return Err(say(&"it speaks another protocol"));
        }
        let opening = stream.read_u8().await.map_err(|error| say(&words_of_handshake(&error)))?;
        match Opening::of(opening) {
            Opening::Open => Ok(Carried::new(stream, withdrawn)),
            refused => Err(say(&refused.words())),
        }
    }
}

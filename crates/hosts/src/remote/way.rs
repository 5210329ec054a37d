//! The way from a host to the server: requests that wait at its agent until a gateway there has something to say.
//!
//! A host decides when such a request becomes a connection, and so is believed in nothing: how many there are, how fast they follow each
//! other, and how much of each is under way are bounded here, and a connection that nobody reads stops no other one.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::FromHost;
use super::link::Link;
use crate::wire;

/// Requests that wait at a host: so many gateways may begin to speak at the same moment without waiting for each other.
const WAITING: usize = 16;
/// Connections of a host at the same time, those that wait included: a gateway has one that waits for its next table, and one at most
/// each for reports, certificates and keys. A host that wants to harm has [`wire::STREAM_WINDOW`] under way in each.
const MAX_WAYS: usize = 128;
/// Rest of each that waits before it waits again: a host that ends all of them at once makes 1,600 a second, which is little work.
const REST: Duration = Duration::from_millis(10);
/// Pause after a host had none: its disk may be full, or it is no host that means well.
const PAUSE: Duration = Duration::from_secs(2);

/// How long the other end of one that has said all may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Keeps requests waiting at a host, and hands on what becomes of them.
pub(super) async fn keep(link: &Link, host: &str, from_host: &dyn FromHost) -> Infallible {
    let room = Arc::new(Semaphore::new(MAX_WAYS));
    let mut waiting = JoinSet::new();
    loop {
        while waiting.len() < WAITING {
            waiting.spawn(wait(link.clone(), Arc::clone(&room)));
        }
        match waiting.join_next().await {
            Some(Ok(Ok(way))) => from_host.serve(host, Box::new(way)),
            Some(Ok(Err(error))) => tracing::debug!(host, %error, "no gateway of the host can come in"),
            Some(Err(_)) | None => {}
        }
    }
}

async fn wait(link: Link, room: Arc<Semaphore>) -> io::Result<Way> {
    let permit = room.acquire_owned().await.map_err(io::Error::other)?;
    sleep(REST).await;
    match link.way().await {
        Ok((from, to)) => Ok(Way { ends: Some((from, to, permit)), read: Bytes::new(), has_ended: false }),
        Err(error) => {
            sleep(PAUSE).await;
            Err(error)
        }
    }
}

/// A connection of a gateway of a host. It ends with that of the host.
#[derive(Debug)]
struct Way {
    /// What comes, what goes, and the room that it takes; taken when it is dropped.
    ends: Option<(RecvStream, SendStream<Bytes>, OwnedSemaphorePermit)>,
    /// What has come and was not read.
    read: Bytes,
    has_ended: bool,
}

impl Way {
    fn from(&mut self) -> &mut RecvStream {
        &mut self.ends.as_mut().expect("they are there until it is dropped").0
    }

    fn to(&mut self) -> &mut SendStream<Bytes> {
        &mut self.ends.as_mut().expect("they are there until it is dropped").1
    }
}

impl Drop for Way {
    /// Who has said all and goes resets nothing: what is still on its way would be lost by that. The other end is waited for, but not long.
    fn drop(&mut self) {
        let Some((mut from, to, permit)) = self.ends.take().filter(|_| self.has_ended) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            // No more room is given: what comes now is for nobody.
            let ended = async { while let Some(Ok(_)) = from.data().await {} };
            let _ = timeout(FAREWELL, ended).await;
            drop((to, permit));
        });
    }
}

impl AsyncRead for Way {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.read.is_empty() {
            match ready!(self.from().poll_data(context)) {
                None => return Poll::Ready(Ok(())),
                Some(piece) => self.read = piece.map_err(wire::as_io)?,
            }
        }
        let taken = self.read.len().min(into.remaining());
        into.put_slice(&self.read[..taken]);
        self.read.advance(taken);
        // Room is given when it was taken.
        self.from().flow_control().release_capacity(taken).map_err(wire::as_io)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Way {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.has_ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if from.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let to = self.to();
        to.reserve_capacity(from.len());
        while to.capacity() == 0 {
            match ready!(to.poll_capacity(context)) {
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                Some(room) => room.map(drop).map_err(wire::as_io)?,
            }
        }
        let taken = to.capacity().min(from.len());
        to.send_data(Bytes::copy_from_slice(&from[..taken]), false).map_err(wire::as_io)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.has_ended, true) {
            wire::end(self.to())?;
        }
        Poll::Ready(Ok(()))
    }
}

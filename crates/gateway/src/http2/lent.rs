//! A connection that is lent to the library that speaks HTTP/2 on it, and had back when that is done: it would close it at once, while
//! what was sent is still on its way.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::Wire;

/// A connection, and how much was written to it. One task uses both ends of the loan, so nobody ever waits for the lock.
type Shared = Arc<Mutex<(Wire, u64)>>;

/// What the library has.
pub(super) struct Lent(Shared);

/// What stays here.
pub(super) struct Owned(Shared);

/// How much of a connection was written, and how much of that waits in the kernel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken(u64, u32);

/// Lends a connection.
pub(super) fn lend(wire: Wire) -> (Lent, Owned) {
    let shared = Arc::new(Mutex::new((wire, 0)));
    (Lent(Arc::clone(&shared)), Owned(shared))
}

fn lock(shared: &Shared) -> MutexGuard<'_, (Wire, u64)> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Owned {
    /// Returns the connection once nobody has it any more.
    pub(super) fn take_back(self) -> Option<Wire> {
        let inside = Arc::into_inner(self.0)?.into_inner();
        Some(inside.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Tells whether something waits for the other side, and it has taken some of it since it was asked the last time.
    pub(super) fn is_taken_since(&self, last: &mut Option<Taken>) -> bool {
        let inside = lock(&self.0);
        let waits = inside.0.unacknowledged().unwrap_or(0);
        let now = Taken(inside.1, waits);
        waits > 0 && last.replace(now) != Some(now)
    }
}

impl AsyncRead for Lent {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).0).poll_read(cx, to)
    }
}

/// Notes how much was written.
fn noted(of: &mut u64, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    if let Poll::Ready(Ok(bytes)) = &written {
        *of += *bytes as u64;
    }
    written
}

impl AsyncWrite for Lent {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (wire, count) = &mut *lock(&self.0);
        noted(count, Pin::new(wire).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (wire, count) = &mut *lock(&self.0);
        noted(count, Pin::new(wire).poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).0).poll_shutdown(cx)
    }
}

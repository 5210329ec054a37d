//! What a connection does at the moment: it waits for its client to ask, or an answer is under way.
//!
//! Invariant: outside of a poll of the connection, whatever is not waiting has a request that is not answered, or an
//! answer that is not yet with the kernel. So one that waits can be closed without anybody losing an answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What one connection does.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When it last began to wait.
    since: Instant,
    /// Whether a request was read whose answer has not been made to its end.
    answering: bool,
    /// Whether a part of an answer could not be given to the kernel, because the client reads slowly.
    stalled: bool,
}

impl Activity {
    pub(super) fn begin(now: Instant) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { since: now, answering: false, stalled: false })))
    }

    /// Returns since when the connection waits for its client; half a head is waited for as well.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let state = self.state();
        (!state.answering && !state.stalled).then_some(state.since)
    }

    /// Notes that a request was read; it is under way until what is returned is dropped.
    pub(super) fn answer(self: &Arc<Self>) -> Answering {
        self.state().answering = true;
        Answering(Arc::clone(self))
    }

    fn written<T>(&self, polled: &Poll<T>) {
        self.state().stalled = polled.is_pending();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Answering(Arc<Activity>);

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.answering = false;
        state.since = Instant::now();
    }
}

/// A stream that notes when its writer has to wait.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.activity.written(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.activity.written(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

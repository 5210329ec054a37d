//! How much a receiver takes within a stream, in pieces that are worth a frame.
//!
//! A receiver that gives room byte by byte, and a sender that fills it byte by byte, go on so for ever (RFC 9293, 3.8.6.2.1, calls
//! it the silly window). Libraries of clients end a connection on which that happens.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use tokio::time::{Sleep, sleep};

/// What is smaller than this, and not the rest of a piece, is no frame. A hundred streams that wait for so much hold less than
/// half of the smallest window of a connection, so that none waits for what another one holds.
const WORTH_A_FRAME: usize = 256;
/// How long more room is waited for: some receivers have no more at once.
const PATIENCE: Duration = Duration::from_millis(20);

/// Waits for room within a stream.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Until when more room is waited for.
    until: Option<Pin<Box<Sleep>>>,
}

impl Room {
    /// Returns how much of a piece of this length can be sent now, without waiting; 0 where that is not worth a frame.
    pub(super) fn now(stream: &mut SendStream<Bytes>, length: usize) -> usize {
        stream.reserve_capacity(length);
        let room = stream.capacity().min(length);
        if room >= length.min(WORTH_A_FRAME) { room } else { 0 }
    }

    /// Waits until some of a piece of this length can be sent; returns how much.
    pub(super) fn poll(
        &mut self,
        stream: &mut SendStream<Bytes>,
        length: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        stream.reserve_capacity(length);
        loop {
            let room = stream.capacity().min(length);
            if room >= length.min(WORTH_A_FRAME) || (room > 0 && self.has_waited(cx)) {
                self.until = None;
                return Poll::Ready(Ok(room));
            }
            match ready!(stream.poll_capacity(cx)) {
                Some(more) => drop(more.map_err(io::Error::other)?),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    fn has_waited(&mut self, cx: &mut Context<'_>) -> bool {
        self.until.get_or_insert_with(|| Box::pin(sleep(PATIENCE))).as_mut().poll(cx).is_ready()
    }
}

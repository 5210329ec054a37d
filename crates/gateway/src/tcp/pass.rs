//! Passing bytes both ways between a client and an instance, as they come.
//!
//! What is read is sent at once out of a buffer of the worker; only what the other side does not take waits, and nothing more is read
//! before it is gone. So a connection that waits holds no buffer, and one whose receiver is slow holds at most one. The end of one direction is passed
//! on and leaves the other open; whatever else ends a connection resets both sides, so that a part never looks like the whole.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::counts::TcpEnd;
use crate::deadline::Deadline;
use crate::wire::Wire;

/// What is read at once.
const PIECE: usize = 64 * 1_024;
/// After so many bytes of one connection others of the worker have their turn.
const TURN: usize = 1_024 * 1_024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into());
}

/// One direction.
#[derive(Default)]
struct Way {
    /// What was read and not taken yet.
    rest: BytesMut,
    /// Bytes that were taken.
    bytes: u64,
    from_ended: bool,
    unflushed: bool,
    is_over: bool,
}

/// Which side broke off.
enum Broken {
    Reading,
    Writing,
}

/// What is to be heard of the bytes that pass.
pub(crate) trait Witness {
    /// So many bytes were taken by the instance.
    fn up(&mut self, bytes: usize);

    /// So many bytes were taken by the client.
    fn down(&mut self, bytes: usize);
}

/// Passes bytes until both sides have said that they send no more, or something else ends it; `cut` is that the instance is to be left.
pub(crate) async fn pass(
    client: &mut Wire,
    instance: &mut Wire,
    idle: Option<Duration>,
    cut: impl Future<Output = ()>,
    witness: &mut impl Witness,
) -> TcpEnd {
    let (mut from_client, early, mut to_client) = client.parts();
    let mut up = Way { rest: std::mem::take(early), ..Way::default() };
    let (mut from_instance, early, mut to_instance) = instance.parts();
    let mut down = Way { rest: std::mem::take(early), ..Way::default() };
    let mut quiet = idle.map(|limit| (limit, Deadline::after(limit)));
    let (mut first, mut cut) = (None, pin!(cut));
    poll_fn(move |cx| {
        let before = (up.bytes, down.bytes);
        let upward = up.poll(&mut from_client, &mut to_instance, cx);
        witness.up((up.bytes - before.0) as usize);
        let downward = down.poll(&mut from_instance, &mut to_client, cx);
        witness.down((down.bytes - before.1) as usize);
        first = first.or(match (up.from_ended, down.from_ended) {
            (true, _) => Some(TcpEnd::Client),
            (false, true) => Some(TcpEnd::Instance),
            (false, false) => None,
        });
        match (upward, downward) {
            // An answer that was passed on to its end is no less whole because its sender then took nothing more.
            (Poll::Ready(Err(Broken::Writing)), _) | (_, Poll::Ready(Err(Broken::Reading))) => {
                return Poll::Ready(first.filter(|_| down.is_over).unwrap_or(TcpEnd::InstanceReset));
            }
            (Poll::Ready(Err(Broken::Reading)), _) | (_, Poll::Ready(Err(Broken::Writing))) => {
                return Poll::Ready(TcpEnd::ClientReset);
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                return Poll::Ready(first.unwrap_or(TcpEnd::Client));
            }
            _ => {}
        }
        if cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(TcpEnd::Drained);
        }
        if let Some((limit, deadline)) = &mut quiet {
            if before != (up.bytes, down.bytes) {
                deadline.set(Instant::now() + *limit);
            }
            ready!(deadline.poll(cx));
            return Poll::Ready(TcpEnd::Idle);
        }
        Poll::Pending
    })
    .await
}

impl Way {
    fn poll<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        from: &mut R,
        to: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        let begun = self.bytes;
        while !self.is_over {
            if self.bytes - begun >= TURN as u64 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.send_rest(to, cx)).map_err(|_| Broken::Writing)?;
            if self.from_ended {
                // A side that has gone needs not be told.
                let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                self.is_over = true;
            } else {
                ready!(self.read(from, to, cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what waits.
    fn send_rest<W: AsyncWrite + Unpin>(&mut self, to: &mut W, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.advance(written);
            self.bytes += written as u64;
            self.unflushed = true;
        }
        self.rest = BytesMut::new();
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, and sends what the other side takes of it.
    fn read<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        from: &mut R,
        to: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut piece = ReadBuf::new(buffer);
            ready!(Pin::new(from).poll_read(cx, &mut piece)).map_err(|_| Broken::Reading)?;
            let bytes = piece.filled();
            self.from_ended = bytes.is_empty();
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let written = match Pin::new(to).poll_write(cx, bytes) {
                Poll::Ready(written) => written.map_err(|_| Broken::Writing)?,
                Poll::Pending => 0,
            };
            self.bytes += written as u64;
            self.unflushed = true;
            self.rest.extend_from_slice(&bytes[written..]);
            Poll::Ready(Ok(()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_not_taken_is_not_read_either() {
        let (mut sender, mut from) = duplex(4 * PIECE);
        let (mut to, _slow) = duplex(10);
        let mut way = Way::default();
        let mut cx = Context::from_waker(Waker::noop());
        sender.write_all(&vec![7; 4 * PIECE]).await.unwrap();
        for _ in 0..10 {
            assert!(way.poll(&mut from, &mut to, &mut cx).is_pending());
            assert!(way.rest.len() <= PIECE);
        }
        assert_eq!(way.bytes, 10);
        // One piece was read; a part of the next has room.
        let more = tokio::time::timeout(Duration::ZERO, sender.write_all(&vec![7; 2 * PIECE])).await;
        assert!(more.is_err());
    }

    #[tokio::test]
    async fn one_that_never_rests_lets_others_have_their_turn() {
        let (mut from, mut to) = (tokio::io::repeat(7), tokio::io::sink());
        let mut way = Way::default();
        assert!(way.poll(&mut from, &mut to, &mut Context::from_waker(Waker::noop())).is_pending());
        assert!(way.bytes >= TURN as u64 && way.bytes < 2 * TURN as u64);
    }
}

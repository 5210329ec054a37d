//! A WebSocket between a client and an instance: bytes pass as they are, until one side ends or the gateway goes away; and what else a connection was
//! switched to, of which nothing is known.
//!
//! When the gateway or the instance goes away both sides are told so (a close frame: 1012, service restart, to the client; 1001, going away, to
//! the instance), so that a client connects anew elsewhere instead of finding a broken connection. A frame may only begin where another has ended, so the ends of frames are followed.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::buffers::HEAD_ROOM;
use crate::wire::{Wire, poll_fill};

/// "Service restart": it may come again at once, and finds another. "Going away" would let some libraries take it for the end.
const AWAY_TO_CLIENT: &[u8] = &[0x88, 0x02, 0x03, 0xf4];
/// "Going away", from a client, which restarts no service: masked, as all that clients send. What is masked is known anyway, so the key may be zero.
const AWAY_TO_INSTANCE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];
/// How long a frame that is under way may take to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// Longest head of a frame.
const MAX_HEAD: usize = 14;

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TunnelEnd {
    /// By one of its ends.
    Ended,
    /// Both ends were told that the gateway goes away, or the instance.
    Away,
}

/// What passes through a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passes {
    /// Frames of a WebSocket: one end ends the other, and both are told when it is cut.
    Frames,
    /// Bytes of which nothing is known: each direction ends by itself.
    Bytes,
}

/// A side of a tunnel: where it is read from, what was read of it already, and where it is written to.
pub(crate) type Side<'s, R, W> = (R, &'s mut BytesMut, W);

/// Passes bytes both ways until they end, as [`Passes`] says, or until `away`.
pub(crate) async fn tunnel<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    (mut from_client, client_input, mut to_client): Side<'_, R, W>,
    instance: &mut Wire,
    away: impl Future<Output = ()>,
    passes: Passes,
) -> io::Result<TunnelEnd> {
    let (mut from_instance, instance_input, mut to_instance) = instance.parts();
    // Looking at the token costs a lock, so it is looked at once for both ways.
    let leaving = AtomicBool::new(false);
    let up = carry(&mut from_client, client_input, &mut to_instance, (AWAY_TO_INSTANCE, passes), &leaving);
    let down = carry(&mut from_instance, instance_input, &mut to_client, (AWAY_TO_CLIENT, passes), &leaving);
    let (mut up, mut down, mut stopped) = (pin!(up), pin!(down), pin!(away));
    let (first, other_is_up) = loop {
        tokio::select! {
            biased;
            ended = &mut up => break (ended?, false),
            ended = &mut down => break (ended?, true),
            () = &mut stopped, if !leaving.load(Ordering::Relaxed) => {
                if passes == Passes::Bytes {
                    // Nothing can be said in what nobody here knows.
                    return Ok(TunnelEnd::Away);
                }
                leaving.store(true, Ordering::Relaxed);
            }
        }
    };
    if passes == Passes::Bytes {
        let other = async { if other_is_up { up.await } else { down.await } };
        return tokio::select! {
            biased;
            ended = other => ended,
            () = stopped => Ok(TunnelEnd::Away),
        };
    }
    if first == TunnelEnd::Away {
        let other = async { if other_is_up { up.await } else { down.await } };
        // A side that takes nothing any more cannot be told.
        let _ = timeout(FAREWELL, other).await;
    }
    Ok(first)
}

/// Passes bytes one way, those in `input` first; once the gateway leaves, it says farewell where a frame ends, and ends. It is
/// to be polled when that changes.
async fn carry<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    input: &mut BytesMut,
    to: &mut W,
    (farewell, passes): (&[u8], Passes),
    leaving: &AtomicBool,
) -> io::Result<TunnelEnd> {
    let mut frames = Frames::default();
    let leaves = || leaving.load(Ordering::Relaxed);
    loop {
        if leaves() && frames.is_between() {
            to.write_all(farewell).await?;
            to.flush().await?;
            return Ok(TunnelEnd::Away);
        }
        if input.is_empty() {
            let next = poll_fn(|cx| match poll_fill(from, input, HEAD_ROOM, cx) {
                Poll::Pending if leaves() && frames.is_between() => Poll::Ready(None),
                read => read.map(Some),
            });
            match next.await.transpose()? {
                None => continue,
                Some(0) => {
                    if passes == Passes::Bytes {
                        // Who has ended its sending may wait for the rest of what the other one says.
                        to.shutdown().await?;
                    }
                    return Ok(TunnelEnd::Ended);
                }
                Some(_) => {}
            }
        }
        let passed = if leaves() { frames.finish(input) } else { frames.follow(input) };
        to.write_all(&input[..passed]).await?;
        to.flush().await?;
        input.clear();
    }
}

/// Follows where frames of one direction end.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; MAX_HEAD],
    known: usize,
    payload_left: u64,
}

impl Frames {
    /// Tells whether a frame may begin here.
    fn is_between(&self) -> bool {
        self.known == 0
    }

    /// Follows all bytes; returns how many those are.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            at += self.finish(&bytes[at..]);
        }
        at
    }

    /// Follows bytes to the end of the frame that is under way; returns how many those are.
    fn finish(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.known < self.head_length() {
                self.head[self.known] = bytes[at];
                self.known += 1;
                at += 1;
                if self.known == self.head_length() {
                    self.payload_left = self.payload_length();
                }
            } else {
                let left = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += left;
                self.payload_left -= left as u64;
            }
            if self.known == self.head_length() && self.payload_left == 0 {
                self.known = 0;
                return at;
            }
        }
        at
    }

    /// Returns how long the head is, as far as it is known.
    fn head_length(&self) -> usize {
        if self.known < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + mask + self.extension()
    }

    fn extension(&self) -> usize {
        match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn payload_length(&self) -> u64 {
        match self.extension() {
            0 => u64::from(self.head[1] & 0x7f),
            length => self.head[2..2 + length].iter().fold(0, |sum, &byte| (sum << 8) | u64::from(byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    /// A frame as a client or a server writes it.
    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = match length {
            0..126 => vec![0x82, mask | u8::try_from(length).unwrap()],
            126..65_536 => [&[0x82, mask | 126][..], &u16::try_from(length).unwrap().to_be_bytes()].concat(),
            _ => [&[0x82, mask | 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        frame.extend(if masked { vec![7; 4] } else { Vec::new() });
        frame.extend(vec![0x88; length]);
        frame
    }

    fn lengths() -> impl Strategy<Value = Vec<(usize, bool)>> {
        let length = prop_oneof![0_usize..4, 120_usize..130, Just(65_535_usize), Just(65_536_usize)];
        prop::collection::vec((length, any::<bool>()), 1..5)
    }

    proptest! {
        #[test]
        fn the_ends_of_frames_are_found_however_they_are_cut(lengths in lengths(), piece in 1_usize..700) {
            let frames: Vec<Vec<u8>> = lengths.iter().map(|&(length, masked)| frame(length, masked)).collect();
            let mut ends = Vec::new();
            let mut end = 0;
            for frame in &frames {
                end += frame.len();
                ends.push(end);
            }
            let (bytes, mut seen) = (frames.concat(), Frames::default());
            let mut at = 0;
            while at < bytes.len() {
                let next = bytes.len().min(at + piece);
                at += seen.finish(&bytes[at..next]);
                prop_assert_eq!(seen.is_between(), ends.contains(&at), "at {}", at);
            }
            let mut followed = Frames::default();
            bytes.chunks(piece).for_each(|piece| assert_eq!(followed.follow(piece), piece.len()));
            prop_assert!(followed.is_between());
            followed.follow(&bytes[..1]);
            prop_assert!(!followed.is_between());
        }
    }

    #[tokio::test]
    async fn a_farewell_waits_for_the_end_of_the_frame_under_way() {
        let (mut sender, mut from) = duplex(1_024);
        let (mut to, mut receiver) = duplex(1_024);
        let leaving = AtomicBool::new(false);
        let frame = frame(10, false);
        sender.write_all(&frame[..5]).await.unwrap();
        let mut input = BytesMut::new();
        let carrying = carry(&mut from, &mut input, &mut to, (AWAY_TO_CLIENT, Passes::Frames), &leaving);
        let script = async {
            let mut got = vec![0; 5];
            receiver.read_exact(&mut got).await.unwrap();
            leaving.store(true, Ordering::Relaxed);
            sender.write_all(&[&frame[5..], b"the next frame"].concat()).await.unwrap();
            let mut rest = vec![0; frame.len() - 5 + AWAY_TO_CLIENT.len()];
            receiver.read_exact(&mut rest).await.unwrap();
            assert_eq!([got, rest].concat(), [&frame[..], AWAY_TO_CLIENT].concat());
        };
        let (ended, ()) = tokio::join!(carrying, script);
        assert_eq!(ended.unwrap(), TunnelEnd::Away);
    }

    #[tokio::test]
    async fn an_end_of_one_side_ends_without_a_farewell() {
        let (sender, mut from) = duplex(64);
        let (mut to, mut receiver) = duplex(64);
        drop(sender);
        let leaving = AtomicBool::new(false);
        let mut input = BytesMut::from(&b"early"[..]);
        let ended =
            carry(&mut from, &mut input, &mut to, (AWAY_TO_CLIENT, Passes::Frames), &leaving).await.unwrap();
        drop(to);
        let mut got = Vec::new();
        receiver.read_to_end(&mut got).await.unwrap();
        assert_eq!((ended, got.as_slice()), (TunnelEnd::Ended, &b"early"[..]));
    }
}

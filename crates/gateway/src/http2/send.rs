//! Sending within a stream no more than its receiver takes.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use tokio::time::timeout;

use crate::outgoing::Frames;

/// Sends of a piece what there is room for; what is left of it stays.
pub(super) fn send_now(stream: &mut SendStream<Bytes>, piece: &mut Bytes, ends: bool) -> io::Result<()> {
    stream.reserve_capacity(piece.len());
    let room = stream.capacity().min(piece.len());
    if room == 0 {
        return Ok(());
    }
    let next = piece.split_to(room);
    stream.send_data(next, ends && piece.is_empty()).map_err(io::Error::other)
}

/// Sends a piece, unless the other side takes none for as long as `limit`. Where that is given up, what is left of it stays.
pub(super) async fn send_piece(
    stream: &mut SendStream<Bytes>,
    piece: &mut Bytes,
    ends: bool,
    limit: Duration,
) -> io::Result<()> {
    loop {
        send_now(stream, piece, ends)?;
        if piece.is_empty() {
            return Ok(());
        }
        let more = timeout(limit, poll_fn(|cx| stream.poll_capacity(cx))).await;
        let more = more.map_err(|_| io::ErrorKind::TimedOut)?;
        more.ok_or(io::ErrorKind::BrokenPipe)?.map_err(io::Error::other)?;
    }
}

/// Sends a body as far as it is here; returns how many bytes that were.
pub(super) async fn send_body(
    stream: &mut SendStream<Bytes>,
    frames: &mut Frames,
    limit: Duration,
) -> io::Result<usize> {
    frames.settle();
    let (ends, trailers) = (frames.ends, frames.trailers.take());
    let (count, mut bytes) = (frames.data.len(), 0);
    let last_ends = ends && trailers.is_none();
    for (index, mut piece) in frames.data.drain(..).enumerate() {
        bytes += piece.len();
        send_piece(stream, &mut piece, last_ends && index + 1 == count, limit).await?;
    }
    match trailers {
        Some(trailers) => stream.send_trailers(trailers).map_err(io::Error::other)?,
        None if ends && bytes == 0 => stream.send_data(Bytes::new(), true).map_err(io::Error::other)?,
        None => {}
    }
    Ok(bytes)
}

//! Sending within a stream no more than its receiver takes.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use tokio::time::timeout;

use crate::outgoing::Frames;

/// Sends a piece, unless the other side takes none for as long as `limit`.
pub(super) async fn send_piece(
    stream: &mut SendStream<Bytes>,
    mut piece: Bytes,
    ends: bool,
    limit: Duration,
) -> io::Result<()> {
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let mut room = stream.capacity();
        if room == 0 {
            let more = timeout(limit, poll_fn(|cx| stream.poll_capacity(cx))).await;
            let more = more.map_err(|_| io::ErrorKind::TimedOut)?;
            room = more.ok_or(io::ErrorKind::BrokenPipe)?.map_err(io::Error::other)?;
        }
        let next = piece.split_to(room.min(piece.len()));
        stream.send_data(next, ends && piece.is_empty()).map_err(io::Error::other)?;
    }
    Ok(())
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
    for (index, piece) in frames.data.drain(..).enumerate() {
        bytes += piece.len();
        send_piece(stream, piece, last_ends && index + 1 == count, limit).await?;
    }
    match trailers {
        Some(trailers) => stream.send_trailers(trailers).map_err(io::Error::other)?,
        None if ends && bytes == 0 => stream.send_data(Bytes::new(), true).map_err(io::Error::other)?,
        None => {}
    }
    Ok(bytes)
}

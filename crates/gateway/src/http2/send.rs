//! Sending within a stream no more than its receiver takes.

use std::future::poll_fn;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use tokio::time::timeout;

use super::room::Room;
use crate::outgoing::Frames;

/// Sends of a piece what there is room for; what is left of it stays.
pub(super) fn send_now(stream: &mut SendStream<Bytes>, piece: &mut Bytes, ends: bool) -> io::Result<()> {
    match Room::now(stream, piece.len()) {
        0 => Ok(()),
        room => send_part(stream, piece, room, ends),
    }
}

fn send_part(stream: &mut SendStream<Bytes>, piece: &mut Bytes, room: usize, ends: bool) -> io::Result<()> {
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
    send_now(stream, piece, ends)?;
    while !piece.is_empty() {
        let mut room = Room::default();
        let given = timeout(limit, poll_fn(|cx| room.poll(stream, piece.len(), cx))).await;
        let given = given.map_err(|_| io::ErrorKind::TimedOut)??;
        send_part(stream, piece, given, ends)?;
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

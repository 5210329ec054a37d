//! A file on its way to a server, read piece by piece as the connection takes it.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};

/// Read at once: large enough that system calls do not count.
const PIECE_BYTES: usize = 256 * 1024;

/// Exactly so many bytes of a file. Reading waits for the disk, which nobody else waits for in the thread of a client.
pub(super) struct Sending {
    file: Box<dyn Read + Send>,
    left: u64,
}

impl Sending {
    pub(super) fn of(file: impl Read + Send + 'static, bytes: u64) -> Self {
        Self { file: Box::new(file), left: bytes }
    }

    fn piece(&mut self) -> io::Result<Bytes> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut piece = vec![0; length];
        self.file.read_exact(&mut piece)?;
        self.left -= length as u64;
        Ok(piece.into())
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(if self.left == 0 { None } else { Some(self.piece().map(Frame::data)) })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn as_many_bytes_are_sent_as_were_announced_or_it_fails() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sent = |there: usize, announced| {
            let file = io::Cursor::new(vec![7; there]);
            runtime.block_on(Sending::of(file, announced).collect()).map(|sent| sent.to_bytes().len())
        };
        assert_eq!(sent(1_000_000, 1_000_000).unwrap(), 1_000_000);
        assert_eq!(sent(10, 3).unwrap(), 3, "it grew meanwhile");
        assert_eq!(
            sent(3, 10).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof,
            "it became shorter meanwhile"
        );
    }
}

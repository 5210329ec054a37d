//! What a peer said first: kept aside, so that an error can say what it is that answers there.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As much as tells protocols apart.
const KEPT: usize = 5;

/// What a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    Nothing,
    Tls,
    Http,
    Other,
}

/// The first bytes that came.
#[derive(Debug, Clone, Default)]
pub(crate) struct First(Arc<OnceLock<Vec<u8>>>);

impl First {
    pub(crate) fn spoken(&self) -> Spoken {
        self.0.get().map_or(Spoken::Nothing, |bytes| protocol(bytes))
    }
}

/// A record of TLS has a type from 20 to 23 and a version that begins with 3.
fn protocol(bytes: &[u8]) -> Spoken {
    match bytes {
        [20..=23, 3, ..] => Spoken::Tls,
        bytes if bytes.starts_with(b"HTTP/") => Spoken::Http,
        _ => Spoken::Other,
    }
}

/// Tells whether a page of an error is what nginx, Apache, HAProxy or Go say to plain HTTP on a port of TLS.
pub(crate) fn is_complaint_of_tls_port(body: &[u8]) -> bool {
    const WORDS: [&str; 3] = ["sent to HTTPS port", "SSL-enabled server port", "to an HTTPS server"];
    let text = String::from_utf8_lossy(body);
    WORDS.iter().any(|words| text.contains(words))
}

/// A stream that keeps aside what comes first.
pub(crate) struct Listening<S> {
    stream: S,
    first: First,
}

impl<S> Listening<S> {
    pub(crate) fn new(stream: S) -> (Self, First) {
        let first = First::default();
        (Self { stream, first: first.clone() }, first)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if !read.is_empty() {
            self.first.0.get_or_init(|| read[..read.len().min(KEPT)].to_vec());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listening<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_apart_by_their_first_bytes() {
        assert_eq!(First::default().spoken(), Spoken::Nothing);
        for (bytes, spoken) in [
            (&b"\x15\x03\x01\x00\x02"[..], Spoken::Tls),
            (b"\x16\x03\x03\x00\x7a", Spoken::Tls),
            (b"HTTP/", Spoken::Http),
            (b"SSH-2", Spoken::Other),
            (b"\x15", Spoken::Other),
        ] {
            assert_eq!(protocol(bytes), spoken, "{bytes:?}");
        }
    }
}

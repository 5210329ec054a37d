//! One connection and what was read from it but not used yet.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::io::poll_read_buf;

use crate::buffers::{HEAD_ROOM, give_back, make_room};
use crate::owner::unacknowledged;
use crate::stream::{ReadHalf, Stream, WriteHalf};

/// How much is read and thrown away from a client that still sends after its answer, so that it can read that answer.
const LINGER_BYTES: usize = 256 * 1_024;
/// How long a client may go on sending after it has all of its answer, and how often is looked whether it takes more of it.
const LINGER: Duration = Duration::from_secs(1);
/// How many times in a row a client may be found to have taken nothing of what it has not got.
const STUCK: u32 = 10;
/// How many times it is looked at at most: what the kernel holds for a client is some megabytes.
const LOOKS: u32 = 600;
/// How long the end of a connection within TLS may take to be sent.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long the refusal of bytes may follow the end of a connection: programs close right after they said they would.
const REFUSAL: Duration = Duration::from_millis(100);
/// After this long without traffic the other side is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// One connection and what was read from it but not used yet.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    pub(crate) input: BytesMut,
    /// Until when it serves one request after the other; for ever where nothing is said.
    pub(crate) until: Option<Instant>,
}

/// Lets the other side see an error, and no end, when a socket is closed.
pub(crate) fn breaks_off(socket: &TcpStream, breaks: bool) {
    // Where the system refuses it the connection ends in an orderly way, which is all that is left then.
    let _ = SockRef::from(socket).set_linger(breaks.then_some(Duration::ZERO));
}

impl Wire {
    pub(crate) fn new(stream: impl Into<Stream>) -> Self {
        let stream = stream.into();
        stream.socket(|socket| {
            // Without these two a connection still works, only slower or held longer.
            let _ = socket.set_nodelay(true);
            let _ = SockRef::from(socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
        });
        Self { stream, input: BytesMut::new(), until: None }
    }

    /// Reads what has arrived; 0 when the other side sends no more.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        poll_fill(&mut self.stream, &mut self.input, HEAD_ROOM, cx)
    }

    /// Sends all bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8], limit: Duration) -> io::Result<()> {
        send(&mut self.stream, bytes, limit).await
    }

    /// Tells whether the connection is open and nothing was sent unasked.
    ///
    /// The system is asked, which costs a call: what the runtime knows may be a moment old, and in that moment the other
    /// side may have closed, or sent bytes that would be taken for the next answer.
    pub(crate) fn is_quiet(&self) -> bool {
        let peek = |socket: &TcpStream| SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]);
        let waits = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.input.is_empty() && self.stream.socket(peek).is_err_and(waits)
    }

    /// Tells the same without asking the system where the runtime has heard of nothing, which may be a moment old.
    ///
    /// What the other side sends or ends in that moment is found as it is when it comes a moment later, after the request
    /// was sent: so this is for requests that can be sent again.
    pub(crate) fn seems_quiet(&self) -> bool {
        let hear = |socket: &TcpStream| socket.poll_read_ready(&mut Context::from_waker(Waker::noop()));
        let unheard = self.stream.socket(hear).is_pending();
        self.input.is_empty() && (unheard || self.is_quiet())
    }

    /// Tells whether the other side first ended the connection and then refused bytes that were sent to it, or comes to
    /// do so within a moment. Within TLS that cannot be told: whether what was sent was read is known to the session there.
    pub(crate) async fn is_refused_after_its_end(&self) -> bool {
        let Stream::Plain(socket) = &self.stream else { return false };
        // Linux names a reset that follows an end so; one that comes first is a `ConnectionReset`.
        let refused = || socket.take_error().ok().flatten().map(|error| error.kind());
        if let Some(kind) = refused() {
            return kind == io::ErrorKind::BrokenPipe;
        }
        let _ = timeout(REFUSAL, socket.ready(Interest::ERROR)).await;
        refused() == Some(io::ErrorKind::BrokenPipe)
    }

    /// Tells whether it has served for so long that the next request gets another one, or who is at its other end is not believed any more.
    pub(crate) fn is_aged(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until) || self.stream.is_withdrawn()
    }

    /// Forgets what was read and not used, and gives the buffer back.
    pub(crate) fn empty(&mut self) {
        self.input.clear();
        give_back(&mut self.input);
    }

    /// Takes the connection apart, so that both directions can be used at once.
    pub(crate) fn parts(&mut self) -> (ReadHalf<'_>, &mut BytesMut, WriteHalf<'_>) {
        let (read, write) = self.stream.split();
        (read, &mut self.input, write)
    }

    /// Closes so that the other side sees an error and not an end.
    pub(crate) fn reset(self) {
        self.breaks(true);
    }

    /// Lets it end with an error, however it ends from here on: also when this process is killed.
    pub(crate) fn breaks(&self, breaks: bool) {
        self.stream.socket(|socket| breaks_off(socket, breaks));
    }

    /// Closes in an orderly way. Within TLS the other side is told that this is the end, unless it takes nothing any more.
    pub(crate) async fn close(mut self) {
        if !matches!(self.stream, Stream::Plain(_)) {
            // Whatever happens here, the connection is closed next.
            let _ = timeout(FAREWELL, self.stream.shutdown()).await;
        }
    }

    /// Returns how many bytes wait in the kernel for the other side; `None` when that does not say.
    pub(crate) fn unacknowledged(&self) -> Option<u32> {
        let (ours, peer) =
            self.stream.socket(|socket| Some((socket.local_addr().ok()?, socket.peer_addr().ok()?)))?;
        unacknowledged(ours, peer)
    }

    /// Closes so that the client can read all of its answer although it sends more than is read: closing with unread bytes, or before the
    /// next of them, would reset the connection and destroy the answer on its way. So it ends with the client, or some time after
    /// the client has all of it, or when it takes no more.
    pub(crate) async fn linger(mut self) {
        let (mut left, mut idle) = (LINGER_BYTES, 0);
        let mut waits = self.unacknowledged().unwrap_or(0);
        for _ in 0..LOOKS {
            let before = waits;
            if timeout(LINGER, self.drain(&mut left)).await.is_ok() {
                return;
            }
            waits = self.unacknowledged().unwrap_or(0);
            // Whoever only sends takes nothing.
            idle = if waits < before { 0 } else { idle + 1 };
            if waits == 0 || idle == STUCK {
                return;
            }
        }
    }

    /// Says that this is the end, and throws away what the other side sends until its own, or until that is `left` bytes.
    async fn drain(&mut self, left: &mut usize) -> io::Result<()> {
        self.stream.shutdown().await?;
        while *left > 0 {
            self.input.clear();
            let read = fill(&mut self.stream, &mut self.input, HEAD_ROOM).await?;
            *left = if read == 0 { 0 } else { left.saturating_sub(read) };
        }
        Ok(())
    }
}

/// What was read before comes first.
impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let wire = self.get_mut();
        if wire.input.is_empty() {
            return Pin::new(&mut wire.stream).poll_read(cx, to);
        }
        let length = wire.input.len().min(to.remaining());
        to.put_slice(&wire.input[..length]);
        wire.input.advance(length);
        give_back(&mut wire.input);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.empty();
        // As the system says of a socket that this is its end, unless it is to be seen as an error; nobody waits for it.
        let is_carried = self.until.is_some();
        let linger = || self.stream.socket(|socket| SockRef::from(socket).linger().ok().flatten());
        if is_carried && linger() != Some(Duration::ZERO) {
            let _ = Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// Reads what has arrived into `input`; 0 when the other side sends no more. While it waits, an empty `input` is given back.
pub(crate) fn poll_fill<R: AsyncRead + Unpin>(
    stream: &mut R,
    input: &mut BytesMut,
    room: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    make_room(input, room);
    let read = poll_read_buf(Pin::new(stream), cx, input);
    if read.is_pending() {
        give_back(input);
    }
    read
}

/// Reads what has arrived into `input`; 0 when the other side sends no more.
pub(crate) fn fill<R: AsyncRead + Unpin>(
    stream: &mut R,
    input: &mut BytesMut,
    room: usize,
) -> impl Future<Output = io::Result<usize>> {
    poll_fn(move |cx| poll_fill(stream, input, room, cx))
}

/// Sends all bytes, unless the other side takes none for as long as `limit`.
pub(crate) async fn send<W: AsyncWrite + Unpin>(
    stream: &mut W,
    bytes: &[u8],
    limit: Duration,
) -> io::Result<()> {
    let mut rest = bytes;
    send_rest(stream, &mut rest, limit).await
}

/// Sends all bytes like [`send`]; what could not be sent stays in `rest`.
pub(crate) async fn send_rest<W: AsyncWrite + Unpin>(
    stream: &mut W,
    rest: &mut &[u8],
    limit: Duration,
) -> io::Result<()> {
    while !rest.is_empty() {
        // There is nearly always room, and then no timer is needed.
        let at_once = poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_write(cx, rest))).await;
        let written = match at_once {
            Poll::Ready(written) => written?,
            Poll::Pending => {
                timeout(limit, stream.write(rest)).await.map_err(|_| io::ErrorKind::TimedOut)??
            }
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        *rest = &rest[written..];
    }
    // What waits in a session of TLS has not been sent; a plain connection has nothing that waits.
    match poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_flush(cx))).await {
        Poll::Ready(flushed) => flushed,
        Poll::Pending => timeout(limit, stream.flush()).await.map_err(|_| io::ErrorKind::TimedOut)?,
    }
}

//! Connections to an instance that many requests share: each is a stream with a lease of its own.
//!
//! Invariant: a request that the instance has not looked at, and says so (`REFUSED_STREAM`, or `GOAWAY` with a lower stream), is
//! the only one that is taken for unread after it was sent.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use http::request::Parts;
use tokio::time::timeout;

use super::send::{send_body, send_now, send_piece};
use super::{CONNECTION_WINDOW, MAX_STREAMS, SEND_BUFFER, STREAM_WINDOW};
use crate::answer::{self, AnswerHead, Asked, BadAnswer};
use crate::chunked::ChunkError;
use crate::dial::Speaks;
use crate::endpoint::Lease;
use crate::exchange::Ends;
use crate::framing::{Body, Recode};
use crate::grpc::GrpcStatus;
use crate::moment::{Moment, micros};
use crate::outgoing::{Frames, Outgoing, Pieces};
use crate::proxy_out::Told;
use crate::reply::{AnswerSource, HearError};
use crate::request::MAX_HEAD;
use crate::upload::{RequestSink, Upload};
use crate::wire::Wire;
use crate::worker::Worker;

/// How long a connection without streams is kept: its end is announced, so nothing is lost by an instance that ends it sooner.
const IDLE: Duration = Duration::from_secs(60);
/// Heads with a status below 200 that may come before the answer.
const MAX_INTERIM_HEADS: usize = 8;
/// What frames of an instance that nobody took yet may cost beyond their bytes, counted as 256 less their length each: small
/// messages of many streams whose clients are slow must not end the connection for all others. Pieces of 16 bytes fill the
/// windows before.
const FRAME_BUDGET: usize = CONNECTION_WINDOW as usize / 16 * (256 - 16);

/// One worker's connections to an instance that speaks HTTP/2.
#[derive(Debug, Default)]
pub(crate) struct Trunks {
    open: Mutex<Vec<Arc<Trunk>>>,
    /// Held while one is being opened, so that those who come meanwhile share it.
    opening: tokio::sync::Mutex<()>,
}

/// A connection that many requests share.
#[derive(Debug)]
struct Trunk {
    requests: SendRequest<Bytes>,
    streams: AtomicUsize,
    /// When its last stream ended.
    used: AtomicU64,
    gone: AtomicBool,
    /// Until when further requests share it.
    until: Option<Moment>,
}

/// A place on a connection, until it is dropped.
#[derive(Debug)]
struct Seat {
    trunk: Arc<Trunk>,
    requests: SendRequest<Bytes>,
}

impl Seat {
    /// Tells whether the instance takes a request on it.
    fn is_open(&mut self) -> bool {
        self.trunk.is_wanted() && takes_requests(&mut self.requests)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.trunk.used.store(Moment::now().0, Ordering::Relaxed);
        self.trunk.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

fn takes_requests(requests: &mut SendRequest<Bytes>) -> bool {
    let ready = requests.poll_ready(&mut Context::from_waker(Waker::noop()));
    !matches!(ready, Poll::Ready(Err(_)))
}

impl Trunk {
    fn is_wanted(&self) -> bool {
        !self.gone.load(Ordering::Relaxed) && self.until.is_none_or(|until| Moment::now() < until)
    }

    /// Tells whether the instance takes requests on it at all.
    fn is_open(&self) -> bool {
        self.is_wanted() && takes_requests(&mut self.requests.clone())
    }

    fn take(self: &Arc<Self>) -> Option<Seat> {
        let most = self.requests.current_max_send_streams().min(MAX_STREAMS as usize);
        if self.streams.load(Ordering::Relaxed) >= most {
            return None;
        }
        self.streams.fetch_add(1, Ordering::Relaxed);
        Some(Seat { trunk: Arc::clone(self), requests: self.requests.clone() })
    }
}

impl Trunks {
    /// Closes connections as soon as their streams have ended; none is kept any more.
    pub(crate) fn clear(&self) {
        self.open().clear();
    }

    /// Closes connections that nobody used for long.
    pub(crate) fn sweep(&self, now: Moment) {
        let idle = |trunk: &Arc<Trunk>| {
            trunk.streams.load(Ordering::Relaxed) == 0
                && now.since(Moment(trunk.used.load(Ordering::Relaxed))) > micros(IDLE)
        };
        self.open().retain(|trunk| !idle(trunk) && trunk.is_open());
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Trunk>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seat(&self) -> Option<Seat> {
        let mut open = self.open();
        loop {
            let (index, mut seat) =
                open.iter().enumerate().find_map(|(index, it)| Some((index, it.take()?)))?;
            if seat.is_open() {
                return Some(seat);
            }
            open.swap_remove(index);
        }
    }
}

/// One request at an instance.
#[derive(Debug)]
pub(crate) struct StreamLoan {
    // Fields are dropped in this order: the instance is told before the request stops counting as under way.
    send: SendStream<Bytes>,
    answer: StreamAnswer,
    seat: Seat,
    lease: Lease,
    upload: Upload,
    /// What there was no room for of what was sent with the head, and whether that is the end of the body.
    early: Bytes,
    ends: bool,
}

/// A place on a connection for one request.
#[derive(Debug)]
pub(crate) struct Place {
    seat: Seat,
    lease: Lease,
}

impl Place {
    /// Finds a place, on a new connection where there is none; opening counts as an attempt of the instance.
    pub(crate) async fn find(
        lease: Lease,
        told: &Told<'_>,
        worker: &Worker,
        limit: Duration,
    ) -> io::Result<Self> {
        let endpoint = Arc::clone(lease.endpoint());
        let trunks = &endpoint.trunks;
        if endpoint.instance.is_for_one() {
            let seat = open(&lease, told, worker, limit).await?;
            return Ok(Self { seat, lease });
        }
        if let Some(seat) = trunks.seat() {
            return Ok(Self { seat, lease });
        }
        let opening = async {
            let _alone = trunks.opening.lock().await;
            match trunks.seat() {
                Some(seat) => Ok(seat),
                None => open(&lease, told, worker, limit).await,
            }
        };
        let opened = timeout(limit, opening).await;
        match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(seat) => Ok(Self { seat, lease }),
            Err(error) => {
                endpoint.instance.refused(Moment::now());
                Err(error)
            }
        }
    }

    /// Sends a request, with what there is room for of what is here of its body; gives the lease back when it did not go out.
    pub(crate) async fn send(self, parts: Parts, mut early: Bytes, rest: &Body) -> Result<StreamLoan, Lease> {
        let Self { mut seat, lease } = self;
        let ends = rest.is_done();
        let requests = &mut seat.requests;
        let ready = poll_fn(|cx| requests.poll_ready(cx)).await;
        let request = http::Request::from_parts(parts, ());
        let sent = ready.and_then(|()| requests.send_request(request, ends && early.is_empty()));
        let Ok((response, mut send)) = sent else { return Err(lease) };
        let upload = Upload::default();
        if send_now(&mut send, &mut early, ends).is_err() {
            upload.refuse();
        } else if ends && early.is_empty() {
            upload.is_sent();
        }
        let answer = StreamAnswer::new(response);
        Ok(StreamLoan { send, answer, seat, lease, upload, early, ends })
    }
}

/// Opens a connection, and waits for the instance to say how many streams it takes: only one that speaks HTTP/2 does.
async fn open(lease: &Lease, told: &Told<'_>, worker: &Worker, limit: Duration) -> io::Result<Seat> {
    let endpoint = lease.endpoint();
    let wire = endpoint.instance.dial(told, Speaks::Http2, limit).await?;
    let until = wire.until.map(Moment::of);
    let mut builder = Builder::new();
    builder
        .initial_max_send_streams(0)
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(FRAME_BUDGET);
    let (requests, mut connection) = builder.handshake::<_, Bytes>(wire).await.map_err(io::Error::other)?;
    poll_fn(|cx| hear_settings(&mut connection, cx)).await?;
    endpoint.instance.connected();
    let (streams, used) = (AtomicUsize::new(1), AtomicU64::new(Moment::now().0));
    let trunk = Arc::new(Trunk { requests, streams, used, gone: AtomicBool::new(false), until });
    let ended = Arc::downgrade(&trunk);
    worker.runtime().spawn(async move {
        // Streams hear of how it ends.
        let _ = connection.await;
        if let Some(trunk) = ended.upgrade() {
            trunk.gone.store(true, Ordering::Relaxed);
        }
    });
    if !endpoint.instance.is_retired() && !endpoint.instance.is_for_one() {
        endpoint.trunks.open().push(Arc::clone(&trunk));
    }
    let requests = trunk.requests.clone();
    Ok(Seat { trunk, requests })
}

fn hear_settings(connection: &mut Connection<Wire, Bytes>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    match Pin::new(&mut *connection).poll(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(Err(io::Error::other(error))),
        Poll::Ready(Ok(())) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        Poll::Pending if connection.max_concurrent_send_streams() > 0 => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    }
}

impl StreamLoan {
    /// Ends the stream, but keeps the request counted as under way.
    pub(crate) fn hang_up(self) -> Lease {
        self.lease
    }

    /// Lets no further request share the connection: on it nothing was heard for too long, and maybe nobody reads it.
    pub(crate) fn distrust(&self) {
        self.seat.trunk.gone.store(true, Ordering::Relaxed);
    }

    pub(crate) fn upload(&self) -> &Upload {
        &self.upload
    }
}

impl Ends for StreamLoan {
    type Writer<'l> = StreamWriter<'l>;
    type Reader<'l> = &'l mut StreamAnswer;

    fn ends(&mut self) -> (StreamWriter<'_>, &Upload, &mut StreamAnswer) {
        let early = (&mut self.early, self.ends);
        let writer = StreamWriter { stream: &mut self.send, upload: &self.upload, early };
        (writer, &self.upload, &mut self.answer)
    }
}

/// Where the rest of a request goes.
pub(crate) struct StreamWriter<'l> {
    stream: &'l mut SendStream<Bytes>,
    upload: &'l Upload,
    early: (&'l mut Bytes, bool),
}

impl RequestSink for StreamWriter<'_> {
    type Output = Frames;

    fn upload(&self) -> &Upload {
        self.upload
    }

    async fn begin(&mut self, limit: Duration) {
        let (early, ends) = &mut self.early;
        if !early.is_empty() {
            let sent = send_piece(self.stream, early, *ends, limit).await;
            self.upload.note(sent.is_ok(), *ends);
        }
    }

    async fn send(&mut self, piece: &mut Frames, limit: Duration) -> bool {
        send_body(self.stream, piece, limit).await.is_ok()
    }
}

/// The answer of an instance.
#[derive(Debug)]
pub(crate) struct StreamAnswer {
    response: Option<ResponseFuture>,
    interim: usize,
    body: Option<RecvStream>,
    got: Option<Bytes>,
    /// What was taken and not sent on yet: the instance may send as much again only after that.
    owed: usize,
    end: Option<HeaderMap>,
    /// How the call ended, where what followed the body says so.
    grpc: Option<GrpcStatus>,
}

impl StreamAnswer {
    fn new(response: ResponseFuture) -> Self {
        Self { response: Some(response), interim: 0, body: None, got: None, owed: 0, end: None, grpc: None }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<http::response::Parts, HearError>> {
        let Some(response) = &mut self.response else { return Poll::Ready(Err(HearError::Closed)) };
        if let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            return Poll::Ready(Ok(interim.into_parts().0));
        }
        match Pin::new(response).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(failure(&error))),
            Poll::Ready(Ok(response)) => {
                let (parts, body) = response.into_parts();
                self.body = Some(body);
                Poll::Ready(Ok(parts))
            }
        }
    }

    fn pass_end(&mut self, output: &mut impl Outgoing, recode: Recode) -> bool {
        let Some(trailers) = self.end.take() else { return false };
        output.lend().pass_trailers(trailers, recode);
        output.lend().whole();
        true
    }
}

/// Tells what became of a request in a stream that ended without an answer.
fn failure(error: &h2::Error) -> HearError {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    if error.is_remote() && (refused || error.is_go_away()) {
        return HearError::Unread(error.to_string());
    }
    HearError::Broken(error.to_string())
}

impl AnswerSource for &mut StreamAnswer {
    async fn head(&mut self, asked: Asked, output: &mut impl Outgoing) -> Result<AnswerHead, HearError> {
        let parts = poll_fn(|cx| self.poll_head(cx)).await?;
        let ends = self.body.as_ref().is_some_and(RecvStream::is_end_stream);
        let head = answer::read_parts(&parts, ends, asked, output.lend())?;
        if head.is_interim() {
            self.interim += 1;
            return if self.interim > MAX_INTERIM_HEADS { Err(BadAnswer::Interim.into()) } else { Ok(head) };
        }
        self.end = head.body.is_done().then(HeaderMap::new);
        Ok(head)
    }

    fn take(&mut self, output: &mut impl Outgoing, recode: Recode) -> Result<bool, ChunkError> {
        if let Some(got) = self.got.take() {
            output.lend().piece(got, recode);
        }
        Ok(self.pass_end(output, recode))
    }

    async fn more(&mut self) -> io::Result<usize> {
        let owed = std::mem::take(&mut self.owed);
        let Some(body) = &mut self.body else { return Ok(0) };
        // A stream that has ended needs no room.
        let _ = body.flow_control().release_capacity(owed);
        match body.data().await {
            Some(got) => {
                let got = got.map_err(io::Error::other)?;
                self.owed = got.len();
                self.got = Some(got);
                self.end = body.is_end_stream().then(HeaderMap::new);
                Ok(self.owed.max(1))
            }
            None => {
                let trailers = body.trailers().await.map_err(io::Error::other)?.unwrap_or_default();
                self.grpc = trailers.get("grpc-status").map(|status| GrpcStatus::read(status.as_bytes()));
                self.end = Some(trailers);
                Ok(0)
            }
        }
    }

    fn close(&mut self, output: &mut impl Outgoing, recode: Recode) -> bool {
        self.pass_end(output, recode)
    }

    fn grpc(&self) -> Option<GrpcStatus> {
        self.grpc
    }
}

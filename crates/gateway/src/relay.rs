//! Moving bytes between a client and an instance, both directions at once.
//!
//! Three pieces that run side by side on one task: the client's side (the rest of the request's body, then watching
//! whether the client leaves), hearing the head of the answer, and passing on its body. Each piece reads only after
//! the other end took what it had, so a slow receiver slows its sender, and nothing piles up here.

use std::future::{Future, pending};
use std::io;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use thiserror::Error;
use tokio::time::timeout;

use crate::answer::{AnswerHead, Asked};
use crate::buffers::{BODY_ROOM, Output};
use crate::chunked::ChunkError;
use crate::compress::Packer;
use crate::deadline::Deadline;
use crate::forerun::Forerun;
use crate::framing::{Body, Recode};
use crate::leaving::{Delivery, watch};
use crate::limiter::Waiting;
use crate::outgoing::{Frames, Outgoing, Pieces};
use crate::reply::{AnswerSource, HearError};
use crate::stream::{ReadHalf, WriteHalf};
use crate::trial::Tap;
use crate::upload::{RequestSink, Upload};
use crate::wire::{breaks_off, fill, send};

/// The word to go on with the body.
const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Bytes of further requests that are read while one is answered.
const MAX_READ_AHEAD: usize = 16 * 1_024;

/// How the client's side ended before the answer did.
#[derive(Debug, Error)]
pub(crate) enum ClientEnd {
    #[error("the client closed the connection")]
    Gone,
    #[error("the client had ended its sending, and another request needs its place")]
    GaveWay,
    #[error("the body of the request is not valid")]
    Body(#[source] ChunkError),
    #[error("the body of the request did not arrive in time")]
    Stalled,
}

/// Where the rest of a request comes from.
pub(crate) trait RequestSource {
    /// Moves what has arrived of the body to `piece`; returns whether the body has ended.
    fn take(&mut self, piece: &mut impl Outgoing, recode: Recode) -> Result<bool, ChunkError>;

    /// Waits for more of the body; `None` when the client is gone.
    async fn more(&mut self) -> Option<()>;

    /// Watches a client whose request was sent as a whole then; ends when it has left.
    async fn watch(&mut self, sent: Instant, delivery: &Delivery);
}

/// The body of a request on HTTP/1.1.
pub(crate) struct BodyReader<'c> {
    pub(crate) half: ReadHalf<'c>,
    pub(crate) input: &'c mut BytesMut,
    pub(crate) body: &'c mut Body,
}

impl RequestSource for BodyReader<'_> {
    fn take(&mut self, piece: &mut impl Outgoing, recode: Recode) -> Result<bool, ChunkError> {
        self.body.advance(self.input, piece.lend(), recode)?;
        if self.body.is_done() {
            piece.lend().whole();
        }
        Ok(self.body.is_done())
    }

    async fn more(&mut self) -> Option<()> {
        fill(&mut self.half, self.input, BODY_ROOM).await.ok().filter(|&read| read > 0).map(|_| ())
    }

    async fn watch(&mut self, sent: Instant, delivery: &Delivery) {
        watch(&mut self.half, self.input, MAX_READ_AHEAD, sent, delivery).await;
    }
}

/// Sends the rest of the request's body, then watches the client. Completes only when the answer is of no use any more.
pub(crate) async fn client_side<S: RequestSource, K: RequestSink>(
    mut client: S,
    recode: Recode,
    mut upstream: K,
    delivery: &Delivery,
    Patience { stall, pause }: Patience,
) -> ClientEnd {
    upstream.begin(stall).await;
    while upstream.upload().ended().is_none() {
        let mut piece = K::Output::default();
        let ended = match client.take(&mut piece, recode) {
            Ok(ended) => ended,
            Err(error) => return ClientEnd::Body(error),
        };
        let taken = ended || piece.seen().mark() > 0;
        if taken {
            // Sending may be given up while it waits, and what was taken is gone from the client all the same.
            upstream.upload().touch();
        }
        let sent = !taken || upstream.send(&mut piece, stall).await;
        if taken {
            upstream.upload().note(sent, ended);
        }
        piece.give_back();
        if ended || !sent {
            break;
        }
        match timeout(pause, client.more()).await {
            Err(_) => return ClientEnd::Stalled,
            Ok(Some(())) => {}
            Ok(None) => return ClientEnd::Gone,
        }
    }
    let sent = upstream.upload().ended().unwrap_or_else(Instant::now);
    client.watch(sent, delivery).await;
    if delivery.gave_way() { ClientEnd::GaveWay } else { ClientEnd::Gone }
}

/// How long a side may take nothing, and a client say nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) stall: Duration,
    pub(crate) pause: Duration,
}

/// Where an answer goes.
pub(crate) trait AnswerSink {
    type Output: Outgoing;

    /// Sends what was written and gives its place back; returns how many bytes that were.
    async fn send(&mut self, output: &mut Self::Output, limit: Duration) -> io::Result<usize>;

    /// Sends a head that comes before the answer.
    async fn interim(
        &mut self,
        head: &AnswerHead,
        output: &mut Self::Output,
        limit: Duration,
    ) -> io::Result<()>;

    /// Tells the client to go on with its body.
    async fn go_on(&mut self, limit: Duration) -> io::Result<()>;

    /// Ends when the client takes no answer any more, where that is not seen by what it sends.
    async fn gone(&mut self);

    /// Lets the connection end with an error while only its end would end the answer.
    fn breaks(&self, _breaks: bool) {}
}

impl AnswerSink for WriteHalf<'_> {
    type Output = Output;

    async fn send(&mut self, output: &mut Output, limit: Duration) -> io::Result<usize> {
        let sent = send(self, output.bytes(), limit).await;
        let bytes = output.bytes().len();
        output.give_back();
        sent.map(|()| bytes)
    }

    async fn interim(&mut self, _head: &AnswerHead, output: &mut Output, limit: Duration) -> io::Result<()> {
        output.lend().extend_from_slice(b"\r\n");
        AnswerSink::send(self, output, limit).await.map(|_| ())
    }

    async fn go_on(&mut self, limit: Duration) -> io::Result<()> {
        send(self, GO_ON, limit).await
    }

    async fn gone(&mut self) {
        pending::<()>().await;
    }

    fn breaks(&self, breaks: bool) {
        self.socket(|socket| breaks_off(socket, breaks));
    }
}

/// How long an answer may take from the end of the request, wherever that lies.
pub(crate) struct Limit<'a> {
    pub(crate) upload: &'a Upload,
    pub(crate) answer: Duration,
    pub(crate) deadline: &'a mut Deadline,
    /// Takes its place among those that wait when all of the request was sent.
    pub(crate) waiting: Option<&'a Waiting>,
    pub(crate) delivery: &'a Delivery,
}

/// Hears the head of the answer; what comes before it is passed on.
pub(crate) async fn hear<W: AnswerSink>(
    mut client_side: Pin<&mut impl Future<Output = ClientEnd>>,
    answer: &mut impl AnswerSource,
    output: &mut W::Output,
    mut limit: Limit<'_>,
    mut forerun: Forerun<'_, W>,
    asked: Asked,
) -> Result<AnswerHead, HearError> {
    loop {
        let head = next_head(client_side.as_mut(), answer, output, &mut limit, &mut forerun, asked).await?;
        if !head.is_interim() {
            return Ok(head);
        }
        forerun.pass(&head, output).await.map_err(HearError::Client)?;
        output.give_back();
    }
}

/// Hears the next head, which may be one before the answer.
async fn next_head<W: AnswerSink>(
    mut client_side: Pin<&mut impl Future<Output = ClientEnd>>,
    answer: &mut impl AnswerSource,
    output: &mut W::Output,
    limit: &mut Limit<'_>,
    forerun: &mut Forerun<'_, W>,
    asked: Asked,
) -> Result<AnswerHead, HearError> {
    let mut head = pin!(answer.head(asked, output));
    loop {
        // While the body is on its way only its stalling is limited.
        let last = limit.upload.ended().unwrap_or_else(Instant::now) + limit.answer;
        let hesitates = forerun.hesitates_until();
        limit.deadline.set(hesitates.map_or(last, |until| until.min(last)));
        tokio::select! {
            biased;
            head = &mut head => return head,
            end = side(client_side.as_mut(), limit.upload, (limit.waiting, limit.delivery)) => return Err(HearError::Client(end)),
            () = forerun.gone() => return Err(HearError::Client(ClientEnd::Gone)),
            () = limit.deadline.passed() => {
                if limit.upload.ended().is_some_and(|ended| ended.elapsed() >= limit.answer) {
                    return Err(HearError::Silent);
                }
                if hesitates.is_some_and(|until| until <= Instant::now()) {
                    forerun.go_on().await.map_err(HearError::Client)?;
                }
            }
        }
    }
}

/// Goes on with the client's side, and sees when all of the request was sent, and when its client has ended its sending.
fn side(
    mut client_side: Pin<&mut impl Future<Output = ClientEnd>>,
    upload: &Upload,
    (waiting, delivery): (Option<&Waiting>, &Delivery),
) -> impl Future<Output = ClientEnd> {
    std::future::poll_fn(move |cx| {
        let polled = client_side.as_mut().poll(cx);
        if let Some(waiting) = waiting.filter(|_| upload.is_whole()) {
            waiting.begin();
            delivery.half_closed().into_iter().for_each(|who| waiting.doubt(who));
        }
        polled
    })
}

async fn ended(away: &mut Option<Away<'_>>) {
    match away {
        Some(away) => away.as_mut().await,
        None => pending().await,
    }
}

/// Why an answer was not passed on to its end.
#[derive(Debug, Error)]
pub(crate) enum RelayError {
    #[error("the client takes no more of the answer")]
    Client,
    #[error("the instance broke off its answer")]
    Cut,
    #[error("the answer's body is not valid")]
    Body(#[from] ChunkError),
    #[error("the answer never ends, and who serves it does")]
    Away,
}

/// Sends what is in `output`, and then the body of the answer.
pub(crate) async fn relay<A: AnswerSource, W: AnswerSink>(
    client_side: Pin<&mut impl Future<Output = ClientEnd>>,
    flow: &mut Flow<'_, A, W>,
) -> Result<(), RelayError> {
    // Nearly every answer is here as a whole, and is sent before anything has to wait.
    tokio::select! {
        biased;
        done = flow.run() => done,
        _ = client_side => Err(RelayError::Client),
    }
}

/// The way of an answer's body to the client.
pub(crate) struct Flow<'a, A, W: AnswerSink> {
    pub(crate) answer: &'a mut A,
    pub(crate) recode: Recode,
    /// What compresses the body, if anything.
    pub(crate) packer: Option<Packer>,
    /// Where the body is copied to, if anywhere.
    pub(crate) tap: Option<&'a mut Tap>,
    pub(crate) output: &'a mut W::Output,
    pub(crate) client: &'a mut W,
    pub(crate) delivery: &'a Delivery,
    /// How long the instance may say nothing.
    pub(crate) silence: Duration,
    /// How long the client may take nothing.
    pub(crate) stall: Duration,
    /// When it is ended in order though the instance would go on, where that may be.
    pub(crate) away: Option<Away<'a>>,
}

/// Ends when an answer is to end that never does by itself.
pub(crate) type Away<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send + 'a)>;

impl<A: AnswerSource, W: AnswerSink> Flow<'_, A, W> {
    async fn run(&mut self) -> Result<(), RelayError> {
        if let Some(packer) = self.packer.take() {
            // What only some answers need is not part of all of them.
            return Box::pin(self.pack(packer)).await;
        }
        loop {
            let before = self.output.seen().mark();
            let taken = self.answer.take(self.output, self.recode);
            if let Some(tap) = &mut self.tap {
                self.output.seen().copy_since(before, tap);
            }
            // What was read before the fault is the client's, as it is where that comes a moment later.
            self.flush().await?;
            if taken? {
                return Ok(());
            }
            let more = match self.more().await {
                Err(RelayError::Away) => {
                    self.output.lend().trailers(std::iter::empty(), self.recode);
                    return self.flush().await;
                }
                more => more?,
            };
            match more {
                Ok(0) if self.answer.close(self.output, self.recode) => return self.flush().await,
                Ok(read) if read > 0 => {}
                _ => return Err(RelayError::Cut),
            }
        }
    }

    /// Compresses what comes, and sends what is ready before it waits.
    async fn pack(&mut self, mut packer: Packer) -> Result<(), RelayError> {
        let mut plain = Frames::default();
        loop {
            let mut ended = self.answer.take(&mut plain, Recode::Plain)?;
            if let Some(tap) = &mut self.tap {
                plain.copy_since(0, tap);
            }
            for piece in plain.pieces() {
                packer.push(&piece).map_err(|_| RelayError::Cut)?;
            }
            if !ended {
                ended = match self.more_of_packed(&mut packer).await {
                    Err(RelayError::Away) => true,
                    Err(error) => return Err(error),
                    Ok(Ok(0)) if self.answer.close(&mut plain, Recode::Plain) => true,
                    Ok(Ok(1..)) => false,
                    Ok(_) => return Err(RelayError::Cut),
                };
            }
            if ended {
                let rest = [packer.ready(), packer.finish().map_err(|_| RelayError::Cut)?];
                let output = self.output.lend();
                rest.into_iter().filter(|it| !it.is_empty()).for_each(|it| output.piece(it, self.recode));
                output.pass_trailers(plain.end(), self.recode);
                return self.flush().await;
            }
        }
    }

    /// Waits for more of an answer that is compressed. What came before is sent where there is enough of it, and always before there is
    /// nothing to read: a client must not wait for what an instance has said.
    async fn more_of_packed(&mut self, packer: &mut Packer) -> Result<io::Result<usize>, RelayError> {
        let ready = tokio::select! {
            biased;
            more = self.more() => Some(more?),
            () = std::future::ready(()) => None,
        };
        if ready.is_none() {
            packer.flush().map_err(|_| RelayError::Cut)?;
        }
        if ready.is_none() || packer.len() >= BODY_ROOM {
            let piece = packer.ready();
            if !piece.is_empty() {
                self.output.lend().piece(piece, self.recode);
            }
            self.flush().await?;
        }
        match ready {
            Some(more) => Ok(more),
            None => self.more().await,
        }
    }

    /// Waits for more of the answer.
    async fn more(&mut self) -> Result<io::Result<usize>, RelayError> {
        let more = timeout(self.silence, self.answer.more());
        tokio::select! {
            biased;
            more = more => Ok(more.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))),
            () = self.client.gone() => Err(RelayError::Client),
            () = ended(&mut self.away), if self.away.is_some() => Err(RelayError::Away),
        }
    }

    async fn flush(&mut self) -> Result<(), RelayError> {
        let sent = self.client.send(self.output, self.stall).await;
        sent.map(|bytes| self.delivery.note(bytes)).map_err(|_| RelayError::Client)
    }
}

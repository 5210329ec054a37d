//! Moving bytes between a client and an instance, both directions at once.
//!
//! Three pieces that run side by side on one task: the client's side (the rest of the request's body, then watching
//! whether the client leaves), hearing the head of the answer, and passing on its body. Each piece reads only after
//! the other end took what it had, so a slow receiver slows its sender, and nothing piles up here.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::answer::{self, AnswerHead, Asked, BadAnswer};
use crate::chunked::ChunkError;
use crate::deadline::Deadline;
use crate::framing::{Body, Recode};
use crate::wire::{ANSWER_ROOM, BODY_ROOM, fill, send, watch};

/// Bytes of further requests that are read while one is answered.
const MAX_READ_AHEAD: usize = 16 * 1_024;
/// Heads with a status below 200 that may come before the answer.
const MAX_INTERIM_HEADS: usize = 8;

/// How the client's side ended before the answer did.
#[derive(Debug, Error)]
pub(crate) enum ClientEnd {
    #[error("the client closed the connection")]
    Gone,
    #[error("the body of the request is not valid")]
    Body(#[source] ChunkError),
    #[error("the body of the request did not arrive in time")]
    Stalled,
}

/// How the upload of a request's body ended, and when.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    end: OnceLock<(Instant, UploadEnd)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UploadEnd {
    Whole,
    /// The instance takes no more of it; it may still answer why.
    Refused,
}

impl Upload {
    /// Makes the upload of a request, which may have nothing left to send.
    pub(crate) fn of(body: &Body) -> Self {
        let upload = Self::default();
        if body.is_done() {
            upload.set(UploadEnd::Whole);
        }
        upload
    }

    /// Tells whether all of the body was sent.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.end.get(), Some((_, UploadEnd::Whole)))
    }

    fn set(&self, end: UploadEnd) {
        // Only the first end counts.
        let _ = self.end.set((Instant::now(), end));
    }

    fn ended(&self) -> Option<Instant> {
        self.end.get().map(|(at, _)| *at)
    }
}

/// Sends the rest of the request's body, then watches the client. Completes only when the answer is of no use any more.
pub(crate) async fn client_side<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut client: R,
    input: &mut BytesMut,
    (body, recode): (&mut Body, Recode),
    mut upstream: W,
    upload: &Upload,
    stall: Duration,
) -> ClientEnd {
    let mut piece = Vec::new();
    while !body.is_done() {
        if let Err(error) = body.advance(input, &mut piece, recode) {
            return ClientEnd::Body(error);
        }
        if send(&mut upstream, &piece, stall).await.is_err() {
            upload.set(UploadEnd::Refused);
            break;
        }
        piece.clear();
        if body.is_done() {
            break;
        }
        match timeout(stall, fill(&mut client, input, BODY_ROOM)).await {
            Err(_) => return ClientEnd::Stalled,
            Ok(Ok(read)) if read > 0 => {}
            Ok(_) => return ClientEnd::Gone,
        }
    }
    if body.is_done() {
        upload.set(UploadEnd::Whole);
    }
    watch(&mut client, input, MAX_READ_AHEAD).await;
    ClientEnd::Gone
}

/// Why no head of an answer was heard.
#[derive(Debug, Error)]
pub(crate) enum HearError {
    #[error("it closed the connection without an answer")]
    Closed,
    #[error("it closed the connection in the middle of the answer's head")]
    Cut,
    #[error(transparent)]
    Bad(#[from] BadAnswer),
    #[error("it did not answer in time")]
    Silent,
    #[error(transparent)]
    Client(ClientEnd),
}

/// How long an answer may take from the end of the request, wherever that lies.
pub(crate) struct Limit<'a> {
    pub(crate) upload: &'a Upload,
    pub(crate) answer: Duration,
    pub(crate) deadline: &'a mut Deadline,
}

/// Hears the head of the answer.
pub(crate) async fn hear<R: AsyncRead + Unpin>(
    mut client_side: Pin<&mut impl Future<Output = ClientEnd>>,
    upstream: &mut R,
    input: &mut BytesMut,
    output: &mut Vec<u8>,
    asked: Asked,
    limit: Limit<'_>,
) -> Result<AnswerHead, HearError> {
    let mut head = pin!(read_head(upstream, input, output, asked));
    loop {
        // While the body is on its way only its stalling is limited.
        limit.deadline.set(limit.upload.ended().unwrap_or_else(Instant::now) + limit.answer);
        tokio::select! {
            biased;
            head = &mut head => return head,
            end = &mut client_side => return Err(HearError::Client(end)),
            () = limit.deadline.passed() => {
                if limit.upload.ended().is_some_and(|ended| ended.elapsed() >= limit.answer) {
                    return Err(HearError::Silent);
                }
            }
        }
    }
}

async fn read_head<R: AsyncRead + Unpin>(
    upstream: &mut R,
    input: &mut BytesMut,
    output: &mut Vec<u8>,
    asked: Asked,
) -> Result<AnswerHead, HearError> {
    let mut interim = 0;
    loop {
        if !input.is_empty()
            && let Some(head) = answer::read(input, asked, output)?
        {
            input.advance(head.length);
            if !head.is_interim() {
                return Ok(head);
            }
            output.clear();
            interim += 1;
            if interim > MAX_INTERIM_HEADS {
                return Err(BadAnswer::Head.into());
            }
            continue;
        }
        match fill(upstream, input, ANSWER_ROOM).await {
            Ok(read) if read > 0 => {}
            _ if input.is_empty() && interim == 0 => return Err(HearError::Closed),
            _ => return Err(HearError::Cut),
        }
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
}

/// Sends what is in `output`, and then the body of the answer.
pub(crate) async fn relay<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    client_side: Pin<&mut impl Future<Output = ClientEnd>>,
    mut flow: Flow<'_, R, W>,
    body: (&mut Body, Recode),
) -> Result<(), RelayError> {
    // Nearly every answer is here as a whole, and is sent before anything has to wait.
    tokio::select! {
        biased;
        done = flow.run(body) => done,
        _ = client_side => Err(RelayError::Client),
    }
}

/// The way of an answer's body to the client.
pub(crate) struct Flow<'a, R, W> {
    pub(crate) upstream: &'a mut R,
    pub(crate) input: &'a mut BytesMut,
    pub(crate) output: &'a mut Vec<u8>,
    pub(crate) client: &'a mut W,
    pub(crate) stall: Duration,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Flow<'_, R, W> {
    async fn run(&mut self, (body, recode): (&mut Body, Recode)) -> Result<(), RelayError> {
        loop {
            body.advance(self.input, self.output, recode)?;
            self.flush().await?;
            if body.is_done() {
                return Ok(());
            }
            let filled = timeout(self.stall, fill(self.upstream, self.input, BODY_ROOM)).await;
            match filled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(0) if body.close(self.output, recode) => return self.flush().await,
                Ok(read) if read > 0 => {}
                _ => return Err(RelayError::Cut),
            }
        }
    }

    async fn flush(&mut self) -> Result<(), RelayError> {
        let sent = send(self.client, self.output, self.stall).await;
        self.output.clear();
        sent.map_err(|_| RelayError::Client)
    }
}

//! Moving bytes between a client and an instance, both directions at once.
//!
//! Three pieces that run side by side on one task: the client's side (the rest of the request's body, then watching
//! whether the client leaves), hearing the head of the answer, and passing on its body. Each piece reads only after
//! the other end took what it had, so a slow receiver slows its sender, and nothing piles up here.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::answer::{AnswerHead, Asked};
use crate::buffers::{BODY_ROOM, Output};
use crate::chunked::ChunkError;
use crate::deadline::Deadline;
use crate::forerun::Forerun;
use crate::framing::{Body, Recode};
use crate::leaving::{Delivery, watch};
use crate::reply::{AnswerReader, HearError};
use crate::trial::Tap;
use crate::upload::{RequestWriter, Upload};
use crate::wire::{fill, send};

/// Bytes of further requests that are read while one is answered.
const MAX_READ_AHEAD: usize = 16 * 1_024;

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

/// Sends the rest of the request's body, then watches the client. Completes only when the answer is of no use any more.
pub(crate) async fn client_side<R: AsyncRead + Unpin>(
    mut client: R,
    input: &mut BytesMut,
    (body, recode): (&mut Body, Recode),
    mut upstream: RequestWriter<'_>,
    delivery: &Delivery,
    stall: Duration,
) -> ClientEnd {
    while upstream.is_open() {
        if let Err(error) = upstream.send_body((body, recode), input, stall).await {
            return ClientEnd::Body(error);
        }
        if !upstream.is_open() {
            break;
        }
        match timeout(stall, fill(&mut client, input, BODY_ROOM)).await {
            Err(_) => return ClientEnd::Stalled,
            Ok(Ok(read)) if read > 0 => {}
            Ok(_) => return ClientEnd::Gone,
        }
    }
    let sent = upstream.ended().unwrap_or_else(Instant::now);
    watch(&mut client, input, MAX_READ_AHEAD, sent, delivery).await;
    ClientEnd::Gone
}

/// How long an answer may take from the end of the request, wherever that lies.
pub(crate) struct Limit<'a> {
    pub(crate) upload: &'a Upload,
    pub(crate) answer: Duration,
    pub(crate) deadline: &'a mut Deadline,
}

/// Hears the head of the answer; what comes before it is passed on.
pub(crate) async fn hear<W: AsyncWrite + Unpin>(
    mut client_side: Pin<&mut impl Future<Output = ClientEnd>>,
    answer: &mut AnswerReader<'_>,
    output: &mut Output,
    mut limit: Limit<'_>,
    mut forerun: Forerun<'_, W>,
    asked: Asked,
) -> Result<AnswerHead, HearError> {
    loop {
        let head = next_head(client_side.as_mut(), answer, output, &mut limit, &mut forerun, asked).await?;
        if !head.is_interim() {
            return Ok(head);
        }
        forerun.pass(&head, output.lend()).await.map_err(HearError::Client)?;
        output.give_back();
    }
}

/// Hears the next head, which may be one before the answer.
async fn next_head<W: AsyncWrite + Unpin>(
    mut client_side: Pin<&mut impl Future<Output = ClientEnd>>,
    answer: &mut AnswerReader<'_>,
    output: &mut Output,
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
            end = &mut client_side => return Err(HearError::Client(end)),
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
pub(crate) async fn relay<W: AsyncWrite + Unpin>(
    client_side: Pin<&mut impl Future<Output = ClientEnd>>,
    mut flow: Flow<'_, '_, W>,
) -> Result<(), RelayError> {
    // Nearly every answer is here as a whole, and is sent before anything has to wait.
    tokio::select! {
        biased;
        done = flow.run() => done,
        _ = client_side => Err(RelayError::Client),
    }
}

/// The way of an answer's body to the client.
pub(crate) struct Flow<'a, 'l, W> {
    pub(crate) answer: &'a mut AnswerReader<'l>,
    pub(crate) recode: Recode,
    /// Where the body is copied to, if anywhere.
    pub(crate) tap: Option<&'a mut Tap>,
    pub(crate) output: &'a mut Output,
    pub(crate) client: &'a mut W,
    pub(crate) delivery: &'a Delivery,
    /// How long the instance may say nothing.
    pub(crate) silence: Duration,
    /// How long the client may take nothing.
    pub(crate) stall: Duration,
}

impl<W: AsyncWrite + Unpin> Flow<'_, '_, W> {
    async fn run(&mut self) -> Result<(), RelayError> {
        loop {
            let before = self.output.bytes().len();
            let ended = self.answer.take(self.output, self.recode)?;
            if let Some(tap) = &mut self.tap {
                tap.copy(&self.output.bytes()[before..]);
            }
            self.flush().await?;
            if ended {
                return Ok(());
            }
            let more = timeout(self.silence, self.answer.more()).await;
            match more.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(0) if self.answer.close(self.output, self.recode) => return self.flush().await,
                Ok(read) if read > 0 => {}
                _ => return Err(RelayError::Cut),
            }
        }
    }

    async fn flush(&mut self) -> Result<(), RelayError> {
        let sent = send(self.client, self.output.bytes(), self.stall).await;
        let bytes = self.output.bytes().len();
        self.output.give_back();
        sent.map(|()| self.delivery.note(bytes)).map_err(|_| RelayError::Client)
    }
}

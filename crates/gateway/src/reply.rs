//! Reading an answer from an instance, and knowing whether it was read as a whole.
//!
//! Invariant: only [`AnswerReader`] says that an answer was read to its end, and it says so when its framing said so.

use std::io;

use bytes::{Buf, BytesMut};
use thiserror::Error;

use crate::answer::{self, AnswerHead, Asked, BadAnswer};
use crate::buffers::{ANSWER_ROOM, BODY_ROOM};
use crate::chunked::ChunkError;
use crate::framing::{Body, Recode};
use crate::grpc::GrpcStatus;
use crate::outgoing::{Outgoing, Pieces};
use crate::relay::ClientEnd;
use crate::stream::ReadHalf;
use crate::upload::Upload;
use crate::wire::fill;

/// Heads with a status below 200 that may come before the answer.
const MAX_INTERIM_HEADS: usize = 8;

/// How much of an answer was read.
#[derive(Debug, Default)]
pub(crate) enum Reply {
    /// Not even its head.
    #[default]
    Awaited,
    /// Its head, and all of its body but this.
    Begun { left: Body, reusable: bool },
}

impl Reply {
    /// Tells whether all of the answer was read and the instance leaves the connection open.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::Begun { left: Body::Done, reusable: true })
    }
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
    /// It has not looked at the request, and says so.
    #[error("it took no further request on this connection: {0}")]
    Unread(String),
    /// It broke off before an answer.
    #[error("{0}")]
    Broken(String),
    #[error("it did not answer in time")]
    Silent,
    /// Another instance answered first.
    #[error("another instance answered first")]
    Overtaken,
    #[error(transparent)]
    Client(ClientEnd),
}

/// Where an answer is read from.
pub(crate) trait AnswerSource {
    /// Reads the next head: that of the answer, or one that comes before it. Its status and fields are written.
    async fn head(&mut self, asked: Asked, output: &mut impl Outgoing) -> Result<AnswerHead, HearError>;

    /// Moves what has arrived of the body to `output`; returns whether the body has ended.
    fn take(&mut self, output: &mut impl Outgoing, recode: Recode) -> Result<bool, ChunkError>;

    /// Waits for more of the body; 0 when the instance sends no more.
    async fn more(&mut self) -> io::Result<usize>;

    /// Takes note that the instance sends no more; returns whether that was the end of the body.
    fn close(&mut self, output: &mut impl Outgoing, recode: Recode) -> bool;

    /// Returns how the call ended, where what followed the body says so.
    fn grpc(&self) -> Option<GrpcStatus> {
        None
    }
}

/// The end of a connection from which an answer is read.
#[derive(Debug)]
pub(crate) struct AnswerReader<'l> {
    half: ReadHalf<'l>,
    input: &'l mut BytesMut,
    reply: &'l mut Reply,
    upload: &'l Upload,
    /// Heads below 200 that came before the answer.
    interim: usize,
    /// Whether it said that the body is to come.
    went_on: bool,
}

impl<'l> AnswerReader<'l> {
    pub(crate) fn new(
        half: ReadHalf<'l>,
        input: &'l mut BytesMut,
        reply: &'l mut Reply,
        upload: &'l Upload,
    ) -> Self {
        Self { half, input, reply, upload, interim: 0, went_on: false }
    }

    /// Tells whether the instance read the request as a whole, as far as it can be told. Who answers before all was sent, or before it asked
    /// for the body, or refuses one that came in pieces, may not read the rest, and take it for a further request.
    fn was_read(&self, status: u16, asked: Asked) -> bool {
        let is_wanted = !asked.waits_to_go_on || self.went_on;
        let is_refused = status >= 400 && self.upload.is_touched();
        self.upload.is_whole() && is_wanted && !is_refused
    }
}

impl AnswerSource for AnswerReader<'_> {
    async fn head(&mut self, asked: Asked, output: &mut impl Outgoing) -> Result<AnswerHead, HearError> {
        loop {
            if !self.input.is_empty()
                && let Some(head) = answer::read(self.input, asked, output.lend())?
            {
                self.input.advance(head.length);
                if !head.is_interim() {
                    head.body.begins_well(self.input).map_err(BadAnswer::Body)?;
                    let reusable = head.reusable && !head.is_switch() && self.was_read(head.status, asked);
                    *self.reply = Reply::Begun { left: head.body.clone(), reusable };
                    return Ok(head);
                }
                self.interim += 1;
                self.went_on |= head.status == 100;
                return if self.interim > MAX_INTERIM_HEADS {
                    Err(BadAnswer::Interim.into())
                } else {
                    Ok(head)
                };
            }
            match fill(&mut self.half, self.input, ANSWER_ROOM).await {
                Ok(read) if read > 0 => {}
                _ if self.input.is_empty() && self.interim == 0 => return Err(HearError::Closed),
                _ => return Err(HearError::Cut),
            }
        }
    }

    fn take(&mut self, output: &mut impl Outgoing, recode: Recode) -> Result<bool, ChunkError> {
        let Reply::Begun { left, .. } = self.reply else { return Ok(false) };
        left.advance(self.input, output.lend(), recode)?;
        if left.is_done() {
            output.lend().whole();
        }
        Ok(left.is_done())
    }

    async fn more(&mut self) -> io::Result<usize> {
        fill(&mut self.half, self.input, BODY_ROOM).await
    }

    fn close(&mut self, output: &mut impl Outgoing, recode: Recode) -> bool {
        let Reply::Begun { left, .. } = self.reply else { return false };
        let whole = left.close(output.lend(), recode);
        if whole {
            output.lend().whole();
        }
        whole
    }
}

//! Sending a request to an instance, and knowing how far that came.
//!
//! Invariant: only [`RequestWriter`] says that a request was sent as a whole, and it says so when the last byte was taken.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::buffers::Output;
use crate::framing::Body;
use crate::outgoing::Outgoing;
use crate::stream::WriteHalf;
use crate::wire::send_rest;

/// How far the sending of a request came, and when it ended.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    end: OnceLock<(Instant, UploadEnd)>,
    /// Whether any of the body was taken from the client: it cannot be sent again.
    touched: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UploadEnd {
    Whole,
    /// The instance takes no more of it; it may still answer why.
    Refused,
}

impl Upload {
    /// Tells whether all of the request was sent.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.end.get(), Some((_, UploadEnd::Whole)))
    }

    /// Tells when the sending ended, whole or not.
    pub(crate) fn ended(&self) -> Option<Instant> {
        self.end.get().map(|(at, _)| *at)
    }

    /// Tells when all of the request was sent; nothing where it was not.
    pub(crate) fn sent(&self) -> Option<Instant> {
        self.ended().filter(|_| self.is_whole())
    }

    /// Tells whether any of the body was taken from the client.
    pub(crate) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed)
    }

    /// Notes that a piece is taken from the client.
    pub(crate) fn touch(&self) {
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Notes that a piece was sent, or not; `ended` when it was the last.
    pub(crate) fn note(&self, sent: bool, ended: bool) {
        if !sent {
            self.set(UploadEnd::Refused);
        } else if ended {
            self.set(UploadEnd::Whole);
        }
    }

    /// Notes that the instance takes no more.
    pub(crate) fn refuse(&self) {
        self.set(UploadEnd::Refused);
    }

    /// Notes that all was sent.
    pub(crate) fn is_sent(&self) {
        self.set(UploadEnd::Whole);
    }

    fn set(&self, end: UploadEnd) {
        // Only the first end counts.
        let _ = self.end.set((Instant::now(), end));
    }
}

/// Why the head of a request did not go out.
#[derive(Debug)]
pub(crate) struct SendError {
    /// Whether any byte went out before.
    pub(crate) began: bool,
    pub(crate) source: io::Error,
}

/// The end of a connection into which a request is written.
#[derive(Debug)]
pub(crate) struct RequestWriter<'l> {
    half: WriteHalf<'l>,
    upload: &'l Upload,
}

impl<'l> RequestWriter<'l> {
    pub(crate) fn new(half: WriteHalf<'l>, upload: &'l Upload) -> Self {
        Self { half, upload }
    }

    /// Sends the head, and with it whatever of the body stands behind it; `rest` is what comes after that.
    pub(crate) async fn send_head(
        &mut self,
        head: &[u8],
        rest: &Body,
        limit: Duration,
    ) -> Result<(), SendError> {
        let mut left = head;
        let sent = send_rest(&mut self.half, &mut left, limit).await;
        match sent {
            Ok(()) if rest.is_done() => self.upload.set(UploadEnd::Whole),
            Ok(()) => {}
            Err(source) => {
                self.upload.set(UploadEnd::Refused);
                return Err(SendError { began: left.len() < head.len(), source });
            }
        }
        Ok(())
    }
}

/// Where the rest of a request goes.
pub(crate) trait RequestSink {
    type Output: Outgoing;

    fn upload(&self) -> &Upload;

    /// Sends what did not go out with the head and belongs before everything else.
    async fn begin(&mut self, _limit: Duration) {}

    /// Sends a piece; returns whether the instance took it.
    async fn send(&mut self, piece: &mut Self::Output, limit: Duration) -> bool;
}

impl RequestSink for RequestWriter<'_> {
    type Output = Output;

    fn upload(&self) -> &Upload {
        self.upload
    }

    async fn send(&mut self, piece: &mut Output, limit: Duration) -> bool {
        send_rest(&mut self.half, &mut piece.bytes(), limit).await.is_ok()
    }
}

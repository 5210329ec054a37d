//! A connection to an instance while one request uses it.
//!
//! Invariant: a connection serves another request only after a [`Whole`] was made of its loan, and that is made only
//! when both ends were seen on this very connection: all of the request was written, all of the answer was read, and
//! nothing is left over. In every other case, whatever happened, dropping the loan closes the connection; and only
//! after that does the request stop counting as under way.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::dial::Speaks;
use crate::endpoint::Lease;
use crate::exchange::Ends;
use crate::moment::Moment;
use crate::proxy_out::Told;
use crate::reply::{AnswerReader, Reply};
use crate::tunnel::{Passes, Side, TunnelEnd, tunnel};
use crate::upload::{RequestWriter, Upload};
use crate::wire::Wire;

/// A connection to an instance while one request uses it.
#[derive(Debug)]
pub(crate) struct Loan {
    // Fields are dropped in this order: the instance is told before the request stops counting as under way.
    wire: Wire,
    lease: Lease,
    origin: Origin,
    upload: Upload,
    reply: Reply,
}

/// Whether a connection served a request before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was idle since then.
    Kept(Instant),
    New,
}

/// A connection on which the whole request was written and the whole answer was read, and nothing is left over.
#[derive(Debug)]
pub(crate) struct Whole {
    wire: Wire,
    lease: Lease,
}

impl Loan {
    /// Takes the connection that was used last, if one is left that is open and silent; gives the lease back otherwise.
    pub(crate) fn kept(lease: Lease, closely: bool) -> Result<Self, Lease> {
        match lease.endpoint().take_idle(closely) {
            Some((wire, since)) => Ok(Self::new(wire, lease, Origin::Kept(since))),
            None => Err(lease),
        }
    }

    /// Opens a connection; it counts as an attempt of the instance whether it opens or not.
    pub(crate) async fn open(lease: Lease, told: &Told<'_>, limit: Duration) -> io::Result<Self> {
        let wire = lease.endpoint().instance.dial(told, Speaks::Http1, limit).await?;
        Ok(Self::new(wire, lease, Origin::New))
    }

    fn new(wire: Wire, lease: Lease, origin: Origin) -> Self {
        Self { wire, lease, origin, upload: Upload::default(), reply: Reply::default() }
    }

    /// Tells whether the connection served a request before.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Tells, after the instance closed without an answer, whether it had done so without reading the request.
    ///
    /// It had, when the end of the connection came first and then a refusal of our bytes. A program that read them all
    /// causes no refusal, and one that dies with some unread causes no end. Where the system does not show both, the
    /// instance may have read the request.
    pub(crate) async fn was_stale(&self) -> bool {
        matches!(self.origin, Origin::Kept(_)) && self.wire.is_refused_after_its_end().await
    }

    /// Notes that the instance, which was asked then, answered, or that it closed without.
    pub(crate) fn note(&self, answered: bool, asked: Instant) {
        let Origin::Kept(since) = self.origin else { return };
        let keeping = &self.lease.endpoint().instance.keeping;
        if answered {
            keeping.worked();
        } else {
            keeping.ended(asked.saturating_duration_since(since), Moment::now());
        }
    }

    /// Closes the connection, but keeps the request counted as under way.
    pub(crate) fn hang_up(self) -> Lease {
        self.lease
    }

    /// Passes bytes both ways until one side closes, or until both are told that the gateway goes away or the instance. A side that was cut off
    /// is no orderly end for the instance either.
    pub(crate) async fn tunnel<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        mut self,
        client: Side<'_, R, W>,
        away: impl Future<Output = ()>,
        passes: Passes,
    ) -> io::Result<TunnelEnd> {
        let ended = match tunnel(client, &mut self.wire, away, passes).await {
            Ok(ended) => ended,
            Err(error) => {
                self.wire.reset();
                return Err(error);
            }
        };
        if ended == TunnelEnd::Away {
            let Self { wire, lease, .. } = self;
            wire.linger().await;
            drop(lease);
        }
        Ok(ended)
    }

    /// Makes the proof that the connection can serve another request; closes it when it cannot.
    pub(crate) fn whole(self) -> Option<Whole> {
        let whole = self.upload.is_whole() && self.reply.is_whole() && self.wire.input.is_empty();
        whole.then_some(Whole { wire: self.wire, lease: self.lease })
    }
}

impl Ends for Loan {
    type Writer<'l> = RequestWriter<'l>;
    type Reader<'l> = AnswerReader<'l>;

    fn ends(&mut self) -> (RequestWriter<'_>, &Upload, AnswerReader<'_>) {
        let (read, input, write) = self.wire.parts();
        let writer = RequestWriter::new(write, &self.upload);
        (writer, &self.upload, AnswerReader::new(read, input, &mut self.reply, &self.upload))
    }
}

impl Whole {
    /// Gives the connection back to its instance, for the next request.
    pub(crate) fn give_back(self) {
        let endpoint = std::sync::Arc::clone(self.lease.endpoint());
        endpoint.keep(self);
    }

    /// Ends the request; what is left is a connection that can be kept.
    pub(crate) fn into_idle(self) -> Wire {
        self.wire
    }
}

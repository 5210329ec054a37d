//! Spans of requests and connections, sent to a collector by OTLP.
//!
//! What is noted of a request is noted only where its span may be sent. At its end the worker hands it to a bounded queue and waits for
//! nobody: what finds no room is dropped and counted. One thread writes the spans and sends them ([`export`]).
//!
//! A span names no secret: the path without the caller's token, no query unless it is asked for, and no field of the request.

mod export;
mod message;
mod noted;
mod sampling;
mod settings;
mod write;

use std::io;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use noted::{Connection, Ended, Hop, Hops, Noted, Record};
pub use sampling::{Ratio, RatioError, Sampling};
pub use settings::{SpanOptions, SpansConfig};

use export::Exporter;

use crate::random::Random;
use crate::trace::{RANDOM, SAMPLED, TraceContext, new_span, new_trace};

/// Requests whose spans wait to be sent: 2 MB at 500 bytes each, and with paths as long as they are noted 20 MB.
const QUEUE: usize = 4_096;
/// How many are sent at once, as SDKs of OpenTelemetry do by default.
const BATCH: usize = 512;

/// The spans of a gateway, on their way.
#[derive(Debug)]
pub(crate) struct Spans {
    sampling: Sampling,
    queries: bool,
    records: SyncSender<Box<Record>>,
    shared: Arc<Shared>,
    finished: watch::Receiver<bool>,
    _leave: DropGuard,
}

/// What the thread shares with who hands spans to it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Records in the queue, about.
    queued: AtomicI64,
    /// Told when there are enough of them to be sent.
    full: Notify,
    leave: CancellationToken,
    counts: SpanCounts,
}

/// What became of spans.
#[derive(Debug, Default)]
struct SpanCounts {
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    /// Those that wait, or are on their way.
    waiting: AtomicU64,
    /// Why a collector took some not, the last time.
    why: Mutex<String>,
}

impl SpanCounts {
    /// Counts spans of which nobody waits to hear any more, and how many of them were taken.
    fn settled(&self, count: u64, taken: u64) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        self.exported.fetch_add(taken, Ordering::Relaxed);
        self.failed.fetch_add(count - taken, Ordering::Relaxed);
    }

    fn refused_because(&self, why: &str) {
        why.clone_into(&mut self.why.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Where a request stands in its trace, as it goes on to an instance.
#[derive(Debug)]
pub(crate) struct Begun {
    /// What the instance is told.
    pub(crate) onward: TraceContext,
    /// What its own span is, where it may be sent.
    pub(crate) noted: Option<Box<Noted>>,
}

impl Spans {
    /// Starts the thread. It ends with this, or when it is told to.
    pub(crate) fn open(config: &SpansConfig, gateway: &str) -> io::Result<Arc<Self>> {
        let (records, received) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let (finish, finished) = watch::channel(false);
        Exporter::new(config, gateway, received, Arc::clone(&shared)).start(finish)?;
        let (sampling, queries, leave) = (config.sampling, config.queries, shared.leave.clone().drop_guard());
        Ok(Arc::new(Self { sampling, queries, records, shared, finished, _leave: leave }))
    }

    /// Tells whether spans have the query.
    pub(crate) fn has_queries(&self) -> bool {
        self.queries
    }

    /// Begins the span of a request that came with this context, if with any. `None` means that nothing is recorded, and that the
    /// context goes on as it came, or as a new one that was made.
    pub(crate) fn begin(
        &self,
        random: &Random,
        came: Option<TraceContext>,
        is_trusted: bool,
    ) -> Option<Begun> {
        let made = new_trace(random);
        let is_sampled = self.sampling.samples(came, is_trusted, made, random.draw());
        let is_noted = is_sampled || self.sampling.looks_at_ends();
        let is_right = |came: TraceContext| is_trusted || came.flags & SAMPLED == 0;
        if !is_noted && came.is_some_and(is_right) {
            return None;
        }
        let trace = came.map_or(made, |came| came.trace);
        let random_flag = came.map_or(RANDOM, |came| came.flags & RANDOM);
        let flags = random_flag | if is_sampled { SAMPLED } else { 0 };
        let onward = TraceContext { trace, parent: new_span(random), flags };
        let noted = is_noted.then(|| {
            Box::new(Noted {
                span: TraceContext { parent: new_span(random), ..onward },
                parent: came.map(|came| came.parent),
                first: onward.parent,
                ..Noted::default()
            })
        });
        Some(Begun { onward, noted })
    }

    /// Tells whether a request that ended so is to be sent.
    pub(crate) fn wants(&self, noted: &Noted, failed: bool, took: Duration) -> bool {
        noted.span.flags & SAMPLED != 0 || self.sampling.keeps(failed, took)
    }

    /// Draws the trace of a connection that came with none; `None` where it is not recorded.
    pub(crate) fn draw(&self, random: &Random, failed: bool) -> Option<TraceContext> {
        let trace = new_trace(random);
        let is_sampled = self.sampling.samples(None, false, trace, 0);
        // How long a connection lives says nothing about how slow somebody was.
        let is_kept = is_sampled || self.sampling.keeps(failed, Duration::ZERO);
        let flags = RANDOM | if is_sampled { SAMPLED } else { 0 };
        is_kept.then(|| TraceContext { trace, parent: new_span(random), flags })
    }

    /// Sends a record on its way, or drops it.
    pub(crate) fn send(&self, record: Box<Record>) {
        let (spans, counts) = (record.spans(), &self.shared.counts);
        // Before it is sent: it may be settled at once.
        counts.waiting.fetch_add(spans, Ordering::Relaxed);
        if self.records.try_send(record).is_err() {
            counts.waiting.fetch_sub(spans, Ordering::Relaxed);
            counts.dropped.fetch_add(spans, Ordering::Relaxed);
        } else if self.shared.queued.fetch_add(1, Ordering::Relaxed) + 1 == BATCH as i64 {
            self.shared.full.notify_one();
        }
    }

    /// Sends what waits, but for no longer than `limit`. Final.
    pub(crate) async fn finish(&self, limit: Duration) {
        self.shared.leave.cancel();
        let mut finished = self.finished.clone();
        let _ = tokio::time::timeout(limit, finished.wait_for(|it| *it)).await;
        let SpanCounts { exported, dropped, failed, waiting, why } = &self.shared.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (refused, no_room, too_late) = (read(failed), read(dropped), read(waiting));
        let lost = refused + no_room + too_late;
        if lost > 0 {
            let (exported, why) =
                (read(exported), why.lock().unwrap_or_else(PoisonError::into_inner).clone());
            tracing::warn!(
                lost,
                refused,
                no_room,
                too_late,
                exported,
                why,
                "spans were lost in the life of this gateway: not taken by their collector, without room in the queue, or not sent before the end"
            );
        }
    }

    /// Returns how many spans became what.
    pub(crate) fn read(&self) -> [(&'static str, u64); 3] {
        let SpanCounts { exported, dropped, failed, .. } = &self.shared.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("exported", read(exported)), ("dropped", read(dropped)), ("failed", read(failed))]
    }
}

//! Sending spans to a collector: OTLP over HTTP, in protobuf.
//!
//! Bounds: one batch at a time is under way, and a batch that the collector does not take is given up after [`MAX_TRIES`]. What comes meanwhile waits in the queue, and is dropped when that is full.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

use hyper::body::Bytes;
use lockstep_telemetry::Collector;
use lockstep_telemetry::otlp::PartialSuccess;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::message::{Attributes, request};
use super::write::{SCHEMA, write};
use super::{BATCH, Record, Shared, SpansConfig};

/// How long spans wait for others, at most.
const EVERY: Duration = Duration::from_secs(1);
/// How often a batch is sent at most: with the pauses between, some 15 s.
const MAX_TRIES: u32 = 5;
/// The pause after the first failure; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, also when the collector asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the last spans may take when nobody waits for them.
const FAREWELL: Duration = Duration::from_secs(10);
const NAME: &str = "lockstep-gateway";

/// What sends spans, on a thread of its own.
pub(super) struct Exporter {
    collector: Collector,
    resource: Attributes,
    records: Receiver<Box<Record>>,
    shared: Arc<Shared>,
    /// Spans that were lost since one was taken, where the last batch was not taken, which has been said.
    failing: Option<u64>,
}

impl Exporter {
    pub(super) fn new(
        config: &SpansConfig,
        gateway: &str,
        records: Receiver<Box<Record>>,
        shared: Arc<Shared>,
    ) -> Self {
        let given = &config.resource;
        let usual = [
            ("service.name", NAME),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", gateway),
        ];
        let is_given = |name: &str| given.iter().any(|(known, _)| known == name);
        let usual = usual.into_iter().filter(|(name, _)| !is_given(name));
        let given = given.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut resource = Attributes::of_resource();
        usual.chain(given).for_each(|(name, value)| resource.text(name, value));
        Self { collector: config.collector.clone(), resource, records, shared, failing: None }
    }

    /// Starts the thread; `finish` is told when it is over.
    pub(super) fn start(self, finish: watch::Sender<bool>) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(self.run());
            let _ = finish.send(true);
            // A search for the collector's name cannot be ended; nobody waits for its answer.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("spans".to_owned()).spawn(run).map(|_| ())
    }

    async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            tokio::select! {
                () = shared.leave.cancelled() => break,
                () = shared.full.notified() => {}
                () = sleep(EVERY) => {}
            }
            self.send_what_waits().await;
        }
        // What is left of it then is neither counted as sent nor waited for.
        let _ = timeout(FAREWELL, self.send_what_waits()).await;
    }

    async fn send_what_waits(&mut self) {
        loop {
            let batch: Vec<Box<Record>> = self.records.try_iter().take(BATCH).collect();
            self.shared.queued.fetch_sub(batch.len() as i64, Ordering::Relaxed);
            if batch.is_empty() {
                return;
            }
            self.deliver(&batch).await;
        }
    }

    async fn deliver(&mut self, batch: &[Box<Record>]) {
        let mut spans = Vec::with_capacity(2 * batch.len());
        batch.iter().for_each(|record| write(record, &mut spans));
        let count = spans.len() as u64;
        let body = self.body(&spans);
        let (mut tries, mut pause) = (0, FIRST_PAUSE);
        loop {
            tries += 1;
            let error = match self.collector.export(body.clone()).await {
                Ok(partial) => return self.delivered(count, &partial),
                Err(error) => error,
            };
            let is_last = tries >= MAX_TRIES || self.shared.leave.is_cancelled() || !error.is_passing();
            let (address, path, why) = (self.collector.address(), self.collector.path(), error.why());
            if self.failing.is_none() {
                let hint = error.hint(&self.collector);
                tracing::warn!(collector = %address, path, why, hint, "spans are not taken by their collector");
            }
            *self.failing.get_or_insert_default() += if is_last { count } else { 0 };
            self.shared.counts.refused_because(&why);
            if is_last {
                self.shared.counts.settled(count, 0);
                return;
            }
            tokio::select! {
                () = sleep(error.pause(pause, LONGEST_PAUSE)) => {}
                () = self.shared.leave.cancelled() => {}
            }
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn delivered(&mut self, count: u64, partial: &PartialSuccess) {
        let refused = partial.refused().min(count);
        self.shared.counts.settled(count, count - refused);
        let address = self.collector.address();
        if refused > 0 {
            let why = partial.why();
            self.shared.counts.refused_because(&why);
            if self.failing.is_none() {
                tracing::warn!(collector = %address, refused, why, "the collector did not take all spans");
            }
            *self.failing.get_or_insert_default() += refused;
        } else if let Some(lost) = self.failing.take() {
            tracing::info!(collector = %address, lost, "spans are taken by their collector again");
        }
    }

    fn body(&self, spans: &[Vec<u8>]) -> Bytes {
        self.collector.body(request(&self.resource, (NAME, env!("CARGO_PKG_VERSION")), spans, SCHEMA))
    }
}

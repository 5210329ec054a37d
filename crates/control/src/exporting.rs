//! What goes to collectors of telemetry: metrics, and what instances write.

mod lines;
mod positions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_telemetry::{LogCollector, MetricsPush};

use crate::Control;

/// The name of this program for collectors.
const NAME: &str = "lockstep-server";

/// Where metrics and logs go; nowhere by itself.
#[derive(Debug, Clone, Default)]
pub struct Exported {
    /// Where metrics go.
    pub metrics: Option<MetricsPush>,
    /// Where lines of logs go.
    pub logs: Vec<LogCollector>,
}

/// What became of lines.
#[derive(Debug, Default)]
pub(crate) struct LineCounts {
    sent: AtomicU64,
    refused: AtomicU64,
}

impl LineCounts {
    fn count(&self, sent: u64, refused: u64) {
        self.sent.fetch_add(sent, Ordering::Relaxed);
        self.refused.fetch_add(refused, Ordering::Relaxed);
    }

    /// Returns how many lines went to collectors, and how many these did not take.
    pub(crate) fn read(&self) -> [(&'static str, u64); 2] {
        [("sent", self.sent.load(Ordering::Relaxed)), ("refused", self.refused.load(Ordering::Relaxed))]
    }
}

impl Control {
    /// Begins to send what is to be sent.
    pub(crate) fn start_exporting(self: &Arc<Self>) {
        if let Some(push) = self.config.exported.metrics.clone() {
            self.spawn(Arc::clone(self).push_metrics(push));
        }
        for collector in self.config.exported.logs.clone() {
            self.spawn(Arc::clone(self).export_logs(collector));
        }
    }

    async fn push_metrics(self: Arc<Self>, push: MetricsPush) {
        let run = std::process::id().to_string();
        let version = env!("CARGO_PKG_VERSION");
        let known = [("service.name", NAME), ("service.version", version), ("service.instance.id", &run)];
        let known = known.map(|(name, value)| (name, value.to_owned())).to_vec();
        push.run(known, || async { self.metrics().await }, self.stop.clone()).await;
    }
}

//! Metrics sent again and again, as they are at that moment: what one request did not bring, the next one does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use crate::collector::Collector;
use crate::families::Families;
use crate::otlp::metrics::{Times, requests};
use crate::otlp::resource;
use crate::refusal::SendError;
use crate::settings::{SettingsError, SettingsErrors, Signal, Variables};

/// How long the last metrics may take when a program ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where metrics go, and how often.
#[derive(Debug, Clone)]
pub struct MetricsPush {
    collector: Collector,
    every: Duration,
    /// What a person says of this program.
    given: Vec<(String, String)>,
}

/// Why metrics were not taken.
#[derive(Debug)]
enum Refused {
    Send(SendError),
    Part(String),
    /// What was written cannot be read again.
    Text(String),
}

impl MetricsPush {
    /// Reads where metrics go; nothing where nobody wants them sent. `is_wanted` is what the command line says, `get` returns a variable of the
    /// environment.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn read(
        endpoint: Option<&str>,
        is_wanted: bool,
        get: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SettingsErrors> {
        let mut variables = Variables::new(Signal::Metrics, get);
        let read = Self::of(&mut variables, endpoint, is_wanted);
        variables.finish(read)
    }

    fn of(variables: &mut Variables<'_>, endpoint: Option<&str>, is_wanted: bool) -> Option<Self> {
        if !is_wanted && variables.named_exporter() != Some(true) {
            return None;
        }
        let every = variables.metrics_every();
        let collector = variables.collector(endpoint);
        if collector.is_none() && variables.wrong.is_empty() {
            variables.wrong.push(SettingsError::Nowhere(Signal::Metrics.word()));
        }
        let given = variables.resource();
        Some(Self { collector: collector?, every, given })
    }

    /// Sends what `text` returns until told to stop, and once more then. `known` is what is said of this program unless a person says
    /// otherwise.
    pub async fn run<F: Future<Output = String> + Send>(
        self,
        known: Vec<(&'static str, String)>,
        text: impl Fn() -> F + Send,
        stop: CancellationToken,
    ) {
        let (start, mut failing) = (now(), false);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(self.every) => {}
            }
            let text = text().await;
            let sent = self.send(&text, &known, start);
            // Nobody waits long for what a collector has lost.
            let limit = if stop.is_cancelled() { FAREWELL } else { Duration::MAX };
            if let Ok(sent) = tokio::time::timeout(limit, sent).await {
                self.note(sent, &mut failing);
            }
        }
    }

    async fn send(&self, text: &str, known: &[(&str, String)], start: u64) -> Result<(), Refused> {
        let known: Vec<_> = known.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let families = Families::parse(text).map_err(|error| Refused::Text(error.to_string()))?;
        let times = Times { start, now: now() };
        for request in requests(&families, &resource(&known, &self.given), times) {
            let partial = self.collector.export(self.collector.body(request)).await.map_err(Refused::Send)?;
            if partial.refused() > 0 {
                let why = format!("{} points were not taken: {}", partial.refused(), partial.why());
                return Err(Refused::Part(why));
            }
        }
        Ok(())
    }

    /// Says that metrics are not taken once, and that they are again.
    fn note(&self, sent: Result<(), Refused>, failing: &mut bool) {
        let (collector, was) = (self.collector.address(), std::mem::replace(failing, sent.is_err()));
        match sent {
            Ok(()) if was => tracing::info!(%collector, "metrics are taken by their collector again"),
            Err(refused) if !was => {
                let (why, hint) = refused.words(&self.collector);
                let path = self.collector.path();
                tracing::warn!(%collector, path, why, hint, "metrics are not taken by their collector");
            }
            _ => {}
        }
    }
}

impl Refused {
    fn words(&self, collector: &Collector) -> (String, String) {
        match self {
            Self::Send(error) => (error.why(), error.hint(collector)),
            Self::Part(why) => (why.clone(), "its log says more".to_owned()),
            Self::Text(why) => (why.clone(), "this is a fault of Lockstep".to_owned()),
        }
    }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        endpoint: Option<&str>,
        is_wanted: bool,
        variables: &[(&str, &str)],
    ) -> Result<Option<MetricsPush>, String> {
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        MetricsPush::read(endpoint, is_wanted, &get).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_sent_that_nobody_asked_for_and_what_is_asked_for_needs_a_place() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert!(read(None, false, &[base]).unwrap().is_none(), "spans go there, and nothing else by itself");
        assert!(read(None, false, &[base, ("OTEL_METRICS_EXPORTER", "none")]).unwrap().is_none());
        let push = read(None, false, &[base, ("OTEL_METRICS_EXPORTER", "otlp")]).unwrap().unwrap();
        assert_eq!((push.collector.path(), push.every), ("/v1/metrics", Duration::from_secs(60)));
        let often = [base, ("OTEL_METRIC_EXPORT_INTERVAL", "5000")];
        assert_eq!(read(None, true, &often).unwrap().unwrap().every, Duration::from_secs(5));
        assert!(read(None, true, &[]).unwrap_err().contains("where metrics go"));
        assert!(
            read(Some("x:1"), true, &[("OTEL_METRIC_EXPORT_INTERVAL", "0")])
                .unwrap_err()
                .contains("INTERVAL")
        );
    }
}

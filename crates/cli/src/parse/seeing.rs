//! How a gateway can be seen: the address of its questions, and where it logs requests.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use lockstep_gateway::spans::{Ratio, SpanOptions, SpansConfig};
use lockstep_gateway::{AccessFields, AccessLogConfig, AccessLogTarget};
use lockstep_telemetry::{LogCollector, MetricsPush, Prometheus, Signal, Variables};

use super::duration;
use crate::failure::Failure;

/// What stands for standard error where a file is expected.
const STANDARD_ERROR: &str = "-";

/// Reads an address, or a port alone, which means loopback: whoever reaches it sees which services there are.
pub(crate) fn admin_address(text: &str) -> Result<SocketAddr, String> {
    let loopback = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let port = text.parse().map(loopback).ok();
    let expected =
        || "write a port, such as 9900, or an address with a port, such as 10.0.0.5:9900".to_owned();
    port.or_else(|| text.parse().ok()).ok_or_else(expected)
}

/// Where requests are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogTarget(AccessLogTarget);

impl FromStr for LogTarget {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(match text {
            STANDARD_ERROR => AccessLogTarget::StandardError,
            path => AccessLogTarget::File(PathBuf::from(path)),
        }))
    }
}

impl LogTarget {
    /// Makes the configuration of a log.
    pub(crate) fn config(self, lines: Lines) -> AccessLogConfig {
        let Lines { queries, sample, slow_ms, fields } = lines;
        let usual = AccessLogConfig::new(self.0);
        let slow = slow_ms.map_or(usual.slow, Duration::from_millis);
        AccessLogConfig { queries, sample: sample.unwrap_or(usual.sample), slow, fields, ..usual }
    }
}

/// What an access log says, and of which requests.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) queries: bool,
    pub(crate) sample: Option<Ratio>,
    pub(crate) slow_ms: Option<u64>,
    pub(crate) fields: Option<AccessFields>,
}

/// Where spans go, and of which requests.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct SpanArgs {
    /// Export spans of requests to this collector by OTLP (HTTP, protobuf); `/v1/traces` is added to the address. Without it,
    /// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and OTEL_EXPORTER_OTLP_ENDPOINT say where, if they are set.
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// The share of requests that is recorded where no proxy or instance that is believed decided, 1% or 0.01 [default: what
    /// OTEL_TRACES_SAMPLER says, or all].
    #[arg(long, value_name = "SHARE")]
    otlp_sample: Option<Ratio>,
    /// Record all requests that failed as well.
    #[arg(long)]
    otlp_failures: bool,
    /// Record all requests as well that took so long.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds)]
    otlp_slower_than: Option<u64>,
    /// Let spans have the queries of requests as well.
    #[arg(long)]
    otlp_queries: bool,
}

impl SpanArgs {
    /// Returns where metrics go, where they are wanted there.
    pub(crate) fn metrics(&self, is_wanted: bool) -> Result<Option<MetricsPush>, Failure> {
        let read = MetricsPush::read(self.otlp_endpoint.as_deref(), is_wanted, &variable);
        read.map_err(|error| Failure::usage(error.to_string()))
    }

    /// Returns where lines of logs go.
    pub(crate) fn logs(&self, is_wanted: bool, loki: Option<&str>) -> Result<Vec<LogCollector>, Failure> {
        let mut variables = Variables::new(Signal::Logs, &variable);
        let otlp = LogCollector::otlp(&mut variables, self.otlp_endpoint.as_deref(), is_wanted);
        let loki = loki.and_then(|endpoint| LogCollector::loki(&mut variables, endpoint));
        let read = variables.finish(otlp.into_iter().chain(loki).collect());
        read.map_err(|error| Failure::usage(error.to_string()))
    }

    /// Makes the configuration, with the standard variables of the environment.
    pub(crate) fn config(self) -> Result<Option<SpansConfig>, Failure> {
        let options = SpanOptions {
            endpoint: self.otlp_endpoint,
            ratio: self.otlp_sample,
            failures: self.otlp_failures,
            slower_than: self.otlp_slower_than.map(Duration::from_millis),
            queries: self.otlp_queries,
        };
        let read = SpansConfig::read(&options, &variable);
        read.map_err(|error| Failure::usage(error.to_string()))
    }
}

/// Returns the Prometheus that is asked for charts.
pub(crate) fn prometheus(endpoint: &str) -> Result<Prometheus, Failure> {
    Prometheus::read(endpoint, &variable).map_err(|error| Failure::usage(error.to_string()))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        assert_eq!(admin_address("9900"), Ok(SocketAddr::from(([127, 0, 0, 1], 9900))));
        assert_eq!(admin_address("0.0.0.0:9900"), Ok(SocketAddr::from(([0, 0, 0, 0], 9900))));
        assert_eq!(admin_address("[::1]:1").map(|address| address.port()), Ok(1));
        for bad in ["", "99999", "localhost", "10.0.0.5", ":9900"] {
            assert!(admin_address(bad).is_err(), "{bad}");
        }
    }
}

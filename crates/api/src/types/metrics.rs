//! Metrics: who may read them, and what else there is to be asked.

use std::collections::BTreeMap;

use lockstep_domain::{EnvironmentName, ServiceName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that has metrics of its own, as the discovery by HTTP of Prometheus names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScrapeTarget {
    /// Its address, `HOST:PORT`.
    pub targets: Vec<String>,
    /// What it is, by the names that labels have.
    pub labels: BTreeMap<String, String>,
}

/// A token that is good for reading metrics and for nothing else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScrapeToken {
    /// The token; missing where the server asks nobody for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The file that the server keeps it in.
    pub file: String,
}

impl std::fmt::Debug for ScrapeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScrapeToken").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Curves of the figures of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChartsView {
    /// The environment.
    pub environment: EnvironmentName,
    /// The service.
    pub service: ServiceName,
    /// How much time a point stands for, in milliseconds.
    pub step_ms: u64,
    /// Whether all that was asked for is there; else the oldest is left out, because it would be too much.
    pub whole: bool,
    /// Where the curves come from.
    #[serde(default)]
    pub source: ChartSource,
    /// Why they do not come from the Prometheus that the server was told of; missing where they do, and where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The curves.
    pub series: Vec<ChartSeries>,
}

/// Where curves come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChartSource {
    /// The history that the server keeps itself.
    #[default]
    Own,
    /// A Prometheus that collects from the server.
    Prometheus,
}

/// A curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChartSeries {
    /// The version; missing for the service as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The figure: `requests`, `failures`, `latency-p50`, `latency-p95`, `latency-p99`, `healthy`, `instances`, `memory` or `processors`.
    pub figure: String,
    /// Its unit.
    pub unit: String,
    /// Its points, in the order of their times. Where there is none, nothing was known.
    pub points: Vec<ChartPoint>,
}

/// A point of a curve: over the time up to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChartPoint {
    /// When it begins.
    pub at: Timestamp,
    /// The average.
    pub average: f64,
    /// The largest value of ten seconds; of a Prometheus, the largest of what it can tell apart, which is a few of its intervals, and more in a
    /// long time.
    pub largest: f64,
}

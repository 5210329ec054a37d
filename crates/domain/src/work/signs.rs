//! By what a worker shows how its work goes: series in the text form of Prometheus, and a command that says how deep its queue is.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::work_path::WorkPath;

/// Longest series that can be named: more than any name with its labels needs.
const MAX_SERIES_LENGTH: usize = 500;
/// How often a queue is asked where nobody says.
pub const USUAL_QUEUE_INTERVAL_MS: u64 = 5_000;
/// How long the answer may take where nobody says.
pub const USUAL_QUEUE_TIMEOUT_MS: u64 = 5_000;

/// By what a worker shows how its work goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkSigns {
    /// What it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// What it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
}

impl WorkSigns {
    /// Tells whether it says nothing: what an older release recorded meant this.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.metrics.is_none() && self.queue.is_none()
    }

    /// Tells whether it is asked on a port of the instance.
    #[must_use]
    pub fn needs_a_port(&self) -> bool {
        matches!(&self.metrics, Some(Metrics { place: MetricsPlace::Http { .. }, .. }))
    }
}

/// What a worker counts of its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Where it says that.
    pub place: MetricsPlace,
    /// Jobs that were done well.
    pub done: Series,
    /// Jobs that failed.
    pub failed: Series,
}

/// Where a worker says what it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MetricsPlace {
    /// In a file below its working folder.
    File {
        /// Which.
        path: WorkPath,
    },
    /// In what `GET path` on its own port answers.
    Http {
        /// The path with its leading slash.
        path: String,
    },
}

impl fmt::Display for MetricsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path } => write!(f, "`{path}`"),
            Self::Http { path } => write!(f, "`GET {path}`"),
        }
    }
}

/// How the depth of a queue is found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Program and arguments, run like the instance; it prints one number.
    pub command: Vec<String>,
    /// Time between two answers.
    #[serde(default = "usual_interval_ms")]
    pub interval_ms: u64,
    /// A command that takes longer is ended, and says nothing.
    #[serde(default = "usual_timeout_ms")]
    pub timeout_ms: u64,
}

const fn usual_interval_ms() -> u64 {
    USUAL_QUEUE_INTERVAL_MS
}

const fn usual_timeout_ms() -> u64 {
    USUAL_QUEUE_TIMEOUT_MS
}

/// Series that are added up: all of a name, or those of them that have certain labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Series {
    name: String,
    labels: BTreeMap<String, String>,
}

/// Why a text names no series.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` names no series: {why}")]
pub struct SeriesError {
    /// The text, cut to a printable length.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Series {
    /// Tells whether a series with a name and labels is one of these.
    #[must_use]
    pub fn takes(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.name == name && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Tells whether it has this name, whatever the labels are.
    #[must_use]
    pub fn is_named(&self, name: &str) -> bool {
        self.name == name
    }

    /// Tells whether one series could be of both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let agree = |(key, value)| other.labels.get(key).is_none_or(|theirs| theirs == value);
        self.name == other.name && self.labels.iter().all(agree)
    }
}

impl FromStr for Series {
    type Err = SeriesError;

    fn from_str(text: &str) -> Result<Self, SeriesError> {
        let wrong = |why| {
            let text = text.chars().filter(|c| !c.is_control()).take(80).collect();
            SeriesError { text, why }
        };
        if text.len() > MAX_SERIES_LENGTH {
            return Err(wrong("it is longer than 500 bytes"));
        }
        let (name, labels) = super::exposition::name_and_labels(text)
            .filter(|(_, _, rest)| rest.trim().is_empty())
            .map(|(name, labels, _)| (name, labels))
            .ok_or_else(|| wrong("expected a name such as jobs_done_total, or jobs_total{result=\"ok\"}"))?;
        Ok(Self { name: name.to_owned(), labels })
    }
}

impl TryFrom<String> for Series {
    type Error = SeriesError;

    fn try_from(text: String) -> Result<Self, SeriesError> {
        text.parse()
    }
}

impl From<Series> for String {
    fn from(series: Series) -> Self {
        series.to_string()
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.labels.is_empty() {
            return Ok(());
        }
        let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels = self.labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value)));
        write!(f, "{{{}}}", labels.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &str) -> Series {
        text.parse().unwrap()
    }

    #[test]
    fn a_series_is_written_as_it_is_read() {
        for text in
            ["jobs_done_total", "jobs:rate", "jobs_total{result=\"ok\"}", r#"x{a="q\"\\\n",b=""}"#, "_x{}"]
        {
            let again = series(text);
            assert_eq!(series(&again.to_string()), again, "{text}");
        }
        for bad in ["", "1x", "jobs total", "jobs{result=ok}", "jobs{a=\"1\",a=\"2\"}", "jobs{", "x 1", "é"]
        {
            assert!(bad.parse::<Series>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_could_be_the_same_series_is_found() {
        let (ok, bad) = (series("jobs_total{result=\"ok\"}"), series("jobs_total{result=\"bad\"}"));
        assert!(!ok.overlaps(&bad) && !bad.overlaps(&ok));
        for other in ["jobs_total", "jobs_total{queue=\"mail\"}", "jobs_total{result=\"ok\",queue=\"mail\"}"]
        {
            assert!(ok.overlaps(&series(other)) && series(other).overlaps(&ok), "{other}");
        }
        assert!(!ok.overlaps(&series("jobs_done_total")));
    }
}

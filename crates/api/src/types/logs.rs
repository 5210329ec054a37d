//! Lines of logs of many instances.

use lockstep_domain::name::JobName;
use lockstep_domain::{HostName, InstanceId, ServiceName, Timestamp, VersionNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A line of an instance's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogEntry {
    /// When it was written, by the clock of the machine that the instance runs on.
    pub at: Timestamp,
    /// The service.
    pub service: ServiceName,
    /// Its version.
    pub version: VersionNumber,
    /// The instance.
    pub instance: InstanceId,
    /// The job that it is a run of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// The host that it runs on; the machine of the server when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// `out` and `err` for what the instance wrote, `lockstep` for what was said of it.
    pub source: String,
    /// What was written.
    pub text: String,
    /// Its level in capitals, where the line is JSON that says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// Its message, where the line is JSON that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The trace that it belongs to, where the line is JSON that says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// Which lines are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogQuery {
    /// Only of this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Only of this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionNumber>,
    /// Only of the last so many milliseconds, by the clock of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
    /// Only lines in which this text is, in small or capital letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// Only lines of this trace: that say so, or in which its id is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// So many lines of before at most, the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<usize>,
    /// Whether more is sent as it is written.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
}

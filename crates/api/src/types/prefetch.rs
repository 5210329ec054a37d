//! Artifacts that are brought to where an environment runs before anything of them starts.

use lockstep_domain::{HostName, VersionRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Versions whose artifacts are to be brought to where an environment runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrefetchRequest {
    /// Which.
    pub versions: Vec<VersionRef>,
}

/// How far the artifact of a version has come to one of the places where an environment runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Prefetched {
    /// Which version.
    pub version: VersionRef,
    /// Where; absent for the machine of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// How far.
    #[serde(flatten)]
    pub state: PrefetchState,
    /// What was sent of it, or is being sent, as far as this server knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Sent>,
}

/// How far an artifact has come to a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PrefetchState {
    /// It is there and unpacked.
    Here,
    /// It is on its way, or waits for others.
    Coming,
    /// The host is not reached; it is sent when it is.
    Away,
    /// It did not get there; it is tried again.
    Failed {
        /// Why.
        why: String,
    },
}

/// Bytes that are sent of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sent {
    /// Those that were.
    pub bytes: u64,
    /// Those that there are to send, which are few where the host has a similar artifact.
    pub of: u64,
    /// Those of the artifact.
    pub whole: u64,
}

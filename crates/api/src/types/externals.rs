//! Services that somebody else runs, as they are seen in an environment.

use lockstep_domain::{ServiceName, Timestamp, VersionNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a service is that somebody else runs, and which version it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExternalStatus {
    /// Its address as the manifest says it; references in it stand as they are.
    pub address: String,
    /// Which version it is.
    pub version: OtherVersion,
}

/// How it is known which version the other side is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "known", rename_all = "snake_case")]
pub enum OtherVersion {
    /// It is what people say: the number of the release.
    Told,
    /// It is asked.
    Asked {
        /// What it says; missing before its first answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        says: Option<String>,
        /// Since when it says so; missing until that is recorded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
        /// Why its last answer was none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
        /// Whether it says something else than the release that runs.
        #[serde(default)]
        differs: bool,
        /// What to type then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// The other side came to say that it is another version, without a change here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SaidChange {
    /// Of which service.
    pub service: ServiceName,
    /// The release that ran here.
    pub runs: VersionNumber,
    /// What it said before.
    pub before: String,
    /// What it says since.
    pub says: String,
    /// When that was heard first.
    pub at: Timestamp,
}

//! Where an environment and its services can go back to.

use std::collections::BTreeMap;

use lockstep_domain::readiness::{EnvironmentReadiness, Loss};
use lockstep_domain::{EnvironmentName, ServiceName, Timestamp, VersionRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where an environment and its services can go back to at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadinessView {
    /// The environment.
    pub environment: EnvironmentName,
    /// Grows with every change since the server began.
    pub revision: u64,
    /// What can be gone back to.
    #[serde(flatten)]
    pub readiness: EnvironmentReadiness,
    /// What was lost since the server began and is not there again, the last 20, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<LostReadiness>,
    /// What was lost and is there again, the last 20, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regained: Vec<RegainedReadiness>,
    /// Of services that cannot go back alone, and can with others: what goes together. It is searched for who asks, and in no stream.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub chains: BTreeMap<ServiceName, ChainBack>,
}

/// What a service can go back with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChainBack {
    /// All that goes together, the service with it, at the versions that they go to.
    pub versions: Vec<VersionRef>,
    /// The command that does it.
    pub command: String,
}

/// A way back that was there and is not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LostReadiness {
    /// When that was seen.
    pub at: Timestamp,
    /// What was lost and why.
    #[serde(flatten)]
    pub loss: Loss,
}

/// A way back that was lost and is there again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegainedReadiness {
    /// When that was seen.
    pub at: Timestamp,
    /// What it is, for people.
    pub what: String,
}

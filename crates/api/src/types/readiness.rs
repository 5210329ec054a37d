//! Where an environment and its services can go back to.

use lockstep_domain::readiness::{EnvironmentReadiness, Loss};
use lockstep_domain::{EnvironmentName, Timestamp};
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

//! Synthetic checks, and what gateways found by them.

use lockstep_domain::ServiceName;
use lockstep_domain::check::{Check, CheckRun};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A check that is made in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckView {
    /// Whose it is.
    pub service: ServiceName,
    /// The check, as its manifest has it, with the host that is asked for.
    pub check: Check,
    /// What each gateway says of it; a gateway that does not make it, or has not said so yet, is missing.
    pub gateways: Vec<CheckAt>,
}

/// What one gateway found by a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckAt {
    /// The gateway.
    pub gateway: String,
    /// The last run, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<CheckRun>,
    /// Whether that is too long ago to say anything: it should have run again since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_stale: bool,
    /// Runs that were as they must be, since the gateway has the check.
    pub passed: u64,
    /// Runs that were not.
    pub failed: u64,
    /// How many of the last runs failed one after the other.
    pub failed_in_a_row: u32,
}

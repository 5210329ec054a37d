//! What instances called.

use lockstep_domain::called::{Called, CalledByClients, Caller};
use lockstep_domain::{EnvironmentName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What instances of an environment called while one baseline was current, as gateways saw it at listeners of single instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallsView {
    /// The environment.
    pub environment: EnvironmentName,
    /// The baseline.
    pub baseline: u64,
    /// When the first call was seen; missing where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// When the last call was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Who calls, and how well it passes on for whom: also who requires others and was not seen calling, of the current baseline.
    pub callers: Vec<Caller>,
    /// Each operation that was called, by who called whom.
    pub calls: Vec<Called>,
    /// Each operation that clients asked for: whoever comes from outside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<CalledByClients>,
    /// The baselines of which calls are kept.
    pub known: Vec<u64>,
}

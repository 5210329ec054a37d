//! Faults that are injected on purpose.

use lockstep_domain::ServiceName;
use lockstep_domain::injection::{Fault, FaultInjection, Injected};
use lockstep_domain::version_rules::Pattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A fault is to be injected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddFault {
    /// The service.
    pub service: ServiceName,
    /// What its requests meet.
    pub does: Injected,
    /// How many of 10,000 requests meet it.
    pub share: u32,
    /// Only requests with a header field of this value meet it.
    #[serde(default)]
    pub header: Option<Pattern>,
    /// How long it is in force.
    pub for_ms: u64,
}

/// Faults are to end: all that are named, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveFaults {
    /// Their numbers.
    pub faults: Vec<u32>,
}

/// The faults of an environment that are in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FaultList {
    /// Whether the environment allows any.
    pub fault_injection: FaultInjection,
    /// The faults; the first of a service that takes a request is the one that it meets.
    pub faults: Vec<Fault>,
    /// Whether every gateway has what this list says.
    pub is_applied: bool,
}

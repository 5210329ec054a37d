//! What runs before each start of an instance: one command that ends, such as one that fills a cache.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long it may take where a manifest does not say: a start is waited for, by people as by operations.
pub const USUAL_PREPARE_TIMEOUT_MS: u64 = 60_000;

/// A command that is run before each start of the process, like the instance itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preparation {
    /// Program and arguments, as of the instance.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout_ms: u64,
}

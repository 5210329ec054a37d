//! Metrics: who may read them, and what else there is to be asked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that has metrics of its own, as the discovery by HTTP of Prometheus names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScrapeTarget {
    /// Its address, `HOST:PORT`.
    pub targets: Vec<String>,
    /// What it is, by the names that labels have.
    pub labels: BTreeMap<String, String>,
}

/// A token that is good for reading metrics and for nothing else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScrapeToken {
    /// The token; missing where the server asks nobody for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The file that the server keeps it in.
    pub file: String,
}

impl std::fmt::Debug for ScrapeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScrapeToken").field("file", &self.file).finish_non_exhaustive()
    }
}

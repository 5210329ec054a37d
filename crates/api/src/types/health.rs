//! How the server is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// The program's version.
    pub version: String,
    /// The last record of the journal.
    pub journal_seq: u64,
    /// Where data is kept.
    pub data_folder: String,
    /// What its host does not keep a service or build from, because of its kernel; empty where it keeps all apart.
    #[serde(default)]
    pub unprotected: Vec<String>,
}

//! Databases whose migrations are part of what is deployed.

use lockstep_domain::database::{Applied, KnownDatabase};
use lockstep_domain::name::DatabaseName;
use lockstep_domain::{OperationId, Timestamp, VersionRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A step at a database that could not read which migrations it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedLook {
    /// When it ended.
    pub at: Timestamp,
    /// The operation that it was a part of.
    pub operation: OperationId,
    /// Why.
    pub why: String,
}

/// A database of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseView {
    /// Its name.
    pub name: DatabaseName,
    /// The versions in force that bring migrations for it.
    pub brought_by: Vec<VersionRef>,
    /// Who applies them.
    pub applied: Applied,
    /// What was found there last; missing where nobody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownDatabase>,
    /// Why it could not be read when that was tried last; missing where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedLook>,
    /// The migrations of what is in force that it lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Those of them that contract.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contractions: Vec<String>,
}

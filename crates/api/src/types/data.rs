//! Data folders of services.

use lockstep_domain::name::ResourceName;
use lockstep_domain::work_path::WorkPath;
use lockstep_domain::{EnvironmentName, ServiceName, VersionNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A data folder of a service in an environment. It stays over versions, rollbacks and removals; no backup holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DataFolderView {
    /// Where it is; the environment may be removed.
    pub environment: EnvironmentName,
    /// Whose it is.
    pub service: ServiceName,
    /// The resource whose data it is; `service` repeats its name then, and `folder` says what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_resource: Option<OfResource>,
    /// Its name, as a manifest declares it.
    pub folder: WorkPath,
    /// Where it is on the host of the server.
    pub path: String,
    /// Whether it is there; the first instance that declares it makes it.
    pub is_there: bool,
    /// The versions that declare it and run there, are warm or are on their way; without any it is left behind.
    pub declared_by: Vec<VersionNumber>,
    /// The newest version that ever declared it, which may run elsewhere or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_declared_by: Option<VersionNumber>,
    /// What is in it, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<DataSize>,
}

/// A resource as the owner of a data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OfResource {
    /// Its name.
    pub resource: ResourceName,
    /// Whether it is there and Lockstep runs it; otherwise its data is left behind.
    pub in_use: bool,
}

/// How much is in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DataSize {
    /// What it takes on disk.
    pub bytes: u64,
    /// Files, folders and links in it.
    pub entries: u64,
    /// Whether there is more: what is counted is bounded.
    pub at_least: bool,
}

/// A data folder that nothing declares any more is to be removed, with everything in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveData {
    /// Where it is; the environment may be removed.
    pub environment: EnvironmentName,
    /// Whose it is.
    pub service: ServiceName,
    /// Its name.
    pub folder: WorkPath,
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
}

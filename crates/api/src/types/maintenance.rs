//! Maintenance of services and versions.

use lockstep_domain::maintenance::MaintenancePage;
use lockstep_domain::routes::actions::Respond;
use lockstep_domain::{ServiceName, VersionNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Clients are to get an answer instead of a service or a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMaintenance {
    /// The service; every service when left out.
    #[serde(default)]
    pub service: Option<ServiceName>,
    /// Only where a request would go to this version of it.
    #[serde(default)]
    pub version: Option<VersionNumber>,
    /// Only requests of routes for this host.
    #[serde(default)]
    pub host: Option<String>,
    /// Only requests of routes for this path and what is below it.
    #[serde(default)]
    pub path: Option<String>,
    /// What clients get.
    pub respond: Respond,
    /// After how many seconds they are told to come again.
    #[serde(default)]
    pub retry_after_s: Option<u64>,
}

/// Maintenance is to end: all that is named, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveMaintenance {
    /// The numbers of the pages.
    pub pages: Vec<u32>,
}

/// What is maintained in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MaintenanceList {
    /// The pages; the first that takes a request is what it gets.
    pub pages: Vec<MaintenancePage>,
    /// Whether every gateway has what this list says.
    pub is_applied: bool,
}

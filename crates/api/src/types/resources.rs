//! Resources of environments: databases and the like that services work with.

use std::fmt;

use lockstep_domain::name::ResourceName;
use lockstep_domain::resource::ResourceKind;
use lockstep_domain::{EnvironmentName, Instance, VersionRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data::DataSize;

/// A resource of an environment, without anything of it that is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceView {
    /// Where.
    pub environment: EnvironmentName,
    /// Its name.
    pub resource: ResourceName,
    /// What it is.
    pub kind: ResourceKind,
    /// Where it listens: scheme, host, port and the name of the database. The whole address is in the secret store.
    pub address: String,
    /// Whether it answers.
    pub health: ResourceHealth,
    /// The versions that run in the environment, or are on their way there, and need it.
    pub needed_by: Vec<VersionRef>,
    /// What Lockstep runs for it; missing where somebody else runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<ResourceRunView>,
}

/// Whether a resource answers, as far as can be told without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "health", rename_all = "snake_case")]
pub enum ResourceHealth {
    /// It answered as one of its kind does.
    Healthy,
    /// It did not.
    Unhealthy {
        /// Why, for people.
        reason: String,
    },
    /// It was not asked yet.
    Unknown,
}

/// What Lockstep runs for a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceRunView {
    /// Its processes: the one that runs, and those that failed lately. `lockstep logs` shows what they said.
    pub instances: Vec<Instance>,
    /// The folder of its data on the host of the server. No backup of Lockstep holds it.
    pub path: String,
    /// What is in it, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<DataSize>,
}

/// A resource that somebody else runs is to be known in an environment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddResource {
    /// Its name.
    pub resource: ResourceName,
    /// What it is.
    pub kind: ResourceKind,
    /// Its address as a URL, with user and password. It goes to the secret store and nowhere else.
    pub url: String,
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
}

/// A resource is to be run by Lockstep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunResource {
    /// Its name.
    pub resource: ResourceName,
    /// What it is.
    pub kind: ResourceKind,
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
}

/// A resource that somebody else runs is somewhere else from now on, or has another user or password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeResource {
    /// Its address as a URL, with user and password. It goes to the secret store and nowhere else.
    pub url: String,
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
}

/// A resource is to be removed from an environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveResource {
    /// Whether the data of what Lockstep ran goes too, for ever; also what a resource left that was removed before.
    #[serde(default)]
    pub delete_data: bool,
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
}

impl fmt::Debug for AddResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddResource")
            .field("resource", &self.resource)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ChangeResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeResource").field("reason", &self.reason).finish_non_exhaustive()
    }
}

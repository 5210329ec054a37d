//! Baselines and configurations, and how they differ.

use std::collections::BTreeMap;

use lockstep_domain::baseline::EntryChange;
use lockstep_domain::intent::Configuration;
use lockstep_domain::lane::{EndedLane, Lane};
use lockstep_domain::maintenance::MaintenanceTurn;
use lockstep_domain::operation::Acceptance;
use lockstep_domain::proven::{Alarm, Proof};
use lockstep_domain::variables::Revocation;
use lockstep_domain::version_rules::{EndedRule, VersionRule};
use lockstep_domain::{
    BaselineEntry, ConfigRevision, EnvironmentName, Operation, OperationId, ServiceName, Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::externals::SaidChange;

/// A secret is not to come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// The variable.
    pub key: String,
    /// The revision whose value is meant; all but the one that was set last when it is missing.
    #[serde(default)]
    pub revision: Option<ConfigRevision>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// What was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {
    /// The environment.
    pub environment: EnvironmentName,
    /// The service.
    pub service: ServiceName,
    /// The variable.
    pub key: String,
    /// How many values of it were revoked.
    pub values: usize,
    /// The configuration in force, where it has one of them: it goes on with it until another is set.
    pub still_in_force: Option<ConfigRevision>,
}

/// A baseline with where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineView {
    /// Its number.
    pub number: u64,
    /// The one it was made from.
    pub parent: Option<u64>,
    /// When it became current.
    pub at: Timestamp,
    /// The operation that made it.
    pub operation: Option<OperationId>,
    /// Who wanted it.
    pub actor: Option<String>,
    /// What was wanted.
    pub intent: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// What it runs.
    pub entries: BTreeMap<ServiceName, BaselineEntry>,
    /// What changed from the one it was made from.
    pub changes: Vec<EntryChange>,
    /// What was seen of it when it came; empty where nothing was watched.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub proof: String,
    /// What made it proven; missing where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<Proof>,
    /// Steps on the way to it that went on without evidence, and who answers for that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Acceptance>,
}

/// How far the current baseline is from being proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProvingView {
    /// Its number.
    pub baseline: u64,
    /// Since when it is counted: since it came, since the last alarm, or since a server that had lost what was counted.
    pub since: Timestamp,
    /// How much of that time somebody looked while everything served.
    pub seen_ms: u64,
    /// Requests that it answered in that time.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// What is missing, for people.
    pub missing: Vec<String>,
    /// The last alarm, which began the counting anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Alarm>,
}

/// The history of an environment, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The environment.
    pub environment: EnvironmentName,
    /// States that really ran.
    pub baselines: Vec<BaselineView>,
    /// How far the current baseline is from being proven; missing where it is, or nobody has looked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proving: Option<ProvingView>,
    /// Operations that were taken back and made no baseline.
    pub reverted: Vec<Operation>,
    /// What was done at databases beside deployments, the newest first: it made no baseline, and may have closed the way to some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<Operation>,
    /// Rules that give certain requests a version of their own, in force or over, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<VersionRule>,
    /// Those of them that are over, and what ended them, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules_ended: Vec<EndedRule>,
    /// Lanes in force, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<Lane>,
    /// Lanes that are over, and what ended them, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes_ended: Vec<EndedLane>,
    /// What services that somebody else runs came to say of their version without a change here, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<SaidChange>,
    /// Which pages of maintenance were set and lifted, as far as it is remembered, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<MaintenanceTurn>,
}

/// What differs between two baselines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineDiff {
    /// The environment.
    pub environment: EnvironmentName,
    /// The one.
    pub from: u64,
    /// The other.
    pub to: u64,
    /// Services that differ.
    pub services: Vec<ServiceDiff>,
}

/// One service that differs between two baselines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceDiff {
    /// The entries.
    #[serde(flatten)]
    pub change: EntryChange,
    /// Variables that differ, with their old and new value; secrets by name only.
    pub variables: BTreeMap<String, VariableDiff>,
}

/// The two values of a variable; missing where it is not set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VariableDiff {
    /// Before.
    pub from: Option<String>,
    /// After.
    pub to: Option<String>,
}

/// The configurations of a service in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigurationView {
    /// The service.
    pub service: ServiceName,
    /// The environment.
    pub environment: EnvironmentName,
    /// The revision that is in force.
    pub current: ConfigRevision,
    /// All revisions, from 1.
    pub revisions: Vec<Configuration>,
    /// Secrets that were revoked, by the name of their value.
    #[serde(default)]
    pub revoked: BTreeMap<String, Revocation>,
}

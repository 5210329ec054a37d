//! Which versions work together.

use lockstep_domain::compat::Pair;
use lockstep_domain::contract::Verdict;
use lockstep_domain::variables::VariableChange;
use lockstep_domain::{EnvironmentName, ServiceName, VersionNumber, VersionRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which versions of a consumer work with which versions of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompatMatrix {
    /// The service that requires the other.
    pub consumer: ServiceName,
    /// The other.
    pub provider: ServiceName,
    /// The versions of the provider, the newest first: the columns.
    pub providers: Vec<VersionNumber>,
    /// A row for each version of the consumer, the newest first.
    pub rows: Vec<CompatRow>,
}

/// One version of a consumer and how it works with each version of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompatRow {
    /// The version of the consumer.
    pub version: VersionNumber,
    /// What it requires of the provider; missing when it requires nothing.
    pub requires: Option<String>,
    /// The answer for each version of the provider, in their order; missing when it requires nothing.
    pub cells: Vec<Option<Pair>>,
}

/// Whether a version works with what an environment runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompatAnswer {
    /// Which.
    pub version: VersionRef,
    /// Where.
    pub environment: EnvironmentName,
    /// The version of the service that runs there now.
    pub live: Option<VersionNumber>,
    /// The answer: one check that fails makes it breaking, one that could not be made leaves it not checked.
    pub verdict: Verdict,
    /// What was checked.
    pub checks: Vec<CompatCheck>,
    /// Whether the version that runs now could come back afterwards, as far as the database tells; only when the version is
    /// newer, because an older one leaves the schema as it is.
    pub back: Option<CompatCheck>,
    /// Variables that would change with it, for going back.
    #[serde(default)]
    pub variables: Vec<VariableChange>,
    /// What a person should know before, for going back.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CompatCheck {
    /// What the other is to the version.
    pub relation: CompatRelation,
    /// The other service; for a database the service itself.
    pub service: ServiceName,
    /// The version of it that runs there; missing when none does.
    pub version: Option<VersionNumber>,
    /// The answer.
    #[serde(flatten)]
    pub pair: Pair,
}

/// What another version is to the one that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompatRelation {
    /// It is called by the version.
    Provider,
    /// It calls the version.
    Consumer,
    /// It shares the database with the version.
    Database,
    /// It has run there, and messages of its time are kept.
    Messages,
    /// It is the same service, and it is about whether that is a way back at all.
    WayBack,
}

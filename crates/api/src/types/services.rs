//! Services and their versions.

use lockstep_domain::branch::BranchPattern;
use lockstep_domain::lifecycle::{ClosedGate, Lifecycle};
use lockstep_domain::service::{EarlierRelease, Source, Version};
use lockstep_domain::{EnvironmentName, ServiceName, StageName, Timestamp, VersionNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operations::Mode;

/// A service is to be registered from its repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterService {
    /// A path on the server's host or a URL of a git repository, and the folder of the service in it.
    #[serde(flatten)]
    pub source: Source,
    /// The name of its lifecycle; the default one when it is missing.
    #[serde(default)]
    pub lifecycle: Option<StageName>,
    /// Whether a service that comes from elsewhere so far is meant to come from here.
    #[serde(default)]
    pub known: KnownService,
    /// Why it is meant to come from a repository without its versions.
    #[serde(default)]
    pub unrelated: Option<String>,
    /// Which tags of the repository are releases from before, as `v*`: what `*` stands for is the number.
    #[serde(default)]
    pub from_tags: Option<BranchPattern>,
    /// Whether it is done or only shown.
    #[serde(default)]
    pub mode: Mode,
}

/// What happens to a service that is registered and comes from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KnownService {
    /// It stays, and the request is refused.
    #[default]
    Stays,
    /// It comes from the new place from now on.
    Moves,
}

/// A service with its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// Where it comes from.
    pub source: Source,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Its lifecycle.
    pub lifecycle: StageName,
    /// When it was registered.
    pub registered: Timestamp,
    /// Its versions, the newest first.
    pub versions: Vec<VersionSummary>,
    /// Its releases from before it was registered, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierSummary>,
    /// What a person should know of what was just done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A release from before a service was registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarlierSummary {
    /// Its number.
    pub number: VersionNumber,
    /// What a tag says about it.
    #[serde(flatten)]
    pub release: EarlierRelease,
}

/// A version in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionSummary {
    /// Its number.
    pub number: VersionNumber,
    /// Its stage.
    pub stage: StageName,
    /// The commit it was built from.
    pub commit: String,
    /// The branch it was cut from.
    pub branch: String,
    /// When it was cut.
    pub recorded: Timestamp,
    /// Where it runs now.
    pub runs_in: Vec<EnvironmentName>,
}

/// A version with everything known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionView {
    /// Whose.
    pub service: ServiceName,
    /// Everything recorded.
    #[serde(flatten)]
    pub version: Version,
    /// Where it runs now.
    pub runs_in: Vec<EnvironmentName>,
    /// The next stage, and what keeps the version from it.
    pub next_stage: Option<NextStage>,
}

/// The next stage of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextStage {
    /// Its name.
    pub stage: StageName,
    /// Gates that are closed.
    pub closed: Vec<ClosedGate>,
}

/// A version is to enter a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageRequest {
    /// Which stage.
    pub stage: StageName,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Somebody approves a version for a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRequest {
    /// Which stage.
    pub stage: StageName,
    /// What they say to it.
    #[serde(default)]
    pub note: String,
}

/// A lifecycle with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LifecycleView {
    /// Its name.
    pub name: StageName,
    /// Its stages.
    #[serde(flatten)]
    pub lifecycle: Lifecycle,
}

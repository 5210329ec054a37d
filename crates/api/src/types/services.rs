//! Services and their versions.

use lockstep_domain::branch::BranchPattern;
use lockstep_domain::lifecycle::{ClosedGate, Lifecycle};
use lockstep_domain::service::{EarlierRelease, KeptManifest, Source, Version};
use lockstep_domain::{
    BaselineEntry, EnvironmentName, ServiceName, StageName, Timestamp, VersionNumber, VersionRef,
};
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
    /// The text of its manifest, to be kept outside of the repository. It counts in place of one there.
    #[serde(default)]
    pub manifest: Option<String>,
    /// Whether it is done or only shown.
    #[serde(default)]
    pub mode: Mode,
}

/// Which manifest counts for a service from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestRequest {
    /// The text of the one that is kept with it; that of its repository when it is missing.
    #[serde(default)]
    pub manifest: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: String,
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
    /// Names that it had before, and that go on meaning it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_names: Vec<ServiceName>,
    /// The manifests that were kept with it outside of its repository, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<KeptManifest>,
    /// What a person should know of what was just done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A service is to be given another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameRequest {
    /// Its name from then on.
    pub to: ServiceName,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Whether it is done or only shown.
    #[serde(default)]
    pub mode: Mode,
}

/// What a service takes along to another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Renaming {
    /// Its name until then.
    pub from: ServiceName,
    /// Its name from then on.
    pub to: ServiceName,
    /// Its other former names, which go on meaning it too.
    pub former_names: Vec<ServiceName>,
    /// How many versions it has.
    pub versions: usize,
    /// The environments that know it.
    pub environments: Vec<RenamedIn>,
    /// Versions of other services that require it by a name from before: live ones, and the newest.
    pub consumers: Vec<VersionRef>,
    /// Where it comes from: what is released next must carry the new name in its manifest.
    pub source: Source,
}

/// What a service takes along in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RenamedIn {
    /// The environment.
    pub environment: EnvironmentName,
    /// What runs of it.
    pub runs: Option<BaselineEntry>,
    /// Instances that go on running.
    pub instances: usize,
    /// Baselines that have it.
    pub baselines: usize,
    /// Its configurations.
    pub configurations: usize,
    /// Its versions that are held.
    pub holds: usize,
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

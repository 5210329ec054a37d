//! Releases and the builds that they make.

use lockstep_domain::{ServiceName, Timestamp, VersionNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::uploads::MadeElsewhereRequest;
use crate::problem::Problem;

/// Which number a release gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BumpChoice {
    /// What its commits and contracts owe, whichever is more.
    #[default]
    Auto,
    /// The next major number.
    Major,
    /// The next minor number.
    Minor,
    /// The next patch number.
    Patch,
}

/// Whether the commit of a release is tagged in its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TagChoice {
    /// It is not.
    #[default]
    None,
    /// It is, as `service-version`, without overwriting anything.
    Tag,
}

/// A version is to be cut.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// Branch, tag or commit; the repository's main branch when it is missing.
    #[serde(default)]
    pub reference: Option<String>,
    /// Which number it gets.
    #[serde(default)]
    pub bump: BumpChoice,
    /// What a person wrote about it.
    #[serde(default)]
    pub notes: String,
    /// Documents to attach.
    #[serde(default)]
    pub documents: Vec<DocumentUpload>,
    /// Whether the commit is tagged.
    #[serde(default)]
    pub tag: TagChoice,
    /// Why it is meant to be released although it does not contain the version before it.
    #[serde(default)]
    pub unrelated: Option<String>,
    /// The number that it gets, chosen by a person.
    #[serde(default)]
    pub version: Option<VersionNumber>,
    /// The text of a manifest for a commit that has none.
    #[serde(default)]
    pub manifest: Option<String>,
    /// The commit, where `reference` only names the branch that it is of.
    #[serde(default)]
    pub commit: Option<String>,
    /// What was made elsewhere of the commit, in place of a build.
    #[serde(default)]
    pub made_elsewhere: Option<MadeElsewhereRequest>,
}

/// A document to attach to a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentUpload {
    /// requirements, design, database, api, test-plan, deployment-plan, or a team's own kind.
    pub kind: String,
    /// The name of the file.
    pub file_name: String,
    /// Its text.
    pub content: String,
}

/// How a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    /// It waits for another build of the same service.
    Queued,
    /// It runs.
    Running,
    /// It ended with a version.
    Succeeded,
    /// It ended without one; `problem` says why.
    Failed,
    /// Somebody ended it.
    Cancelled,
    /// The server ended while it ran.
    Interrupted,
}

impl BuildState {
    /// Tells whether nothing more will happen.
    #[must_use]
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// A build: the way from a commit to a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildView {
    /// Its id.
    pub id: String,
    /// Of which service.
    pub service: ServiceName,
    /// How it is.
    pub state: BuildState,
    /// What was asked to be built.
    pub reference: String,
    /// The commit that meant.
    #[serde(default)]
    pub commit: Option<String>,
    /// The version it made.
    #[serde(default)]
    pub version: Option<VersionNumber>,
    /// The earlier build whose result it used.
    #[serde(default)]
    pub reused: Option<String>,
    /// The parts of it so far.
    pub phases: Vec<BuildPhase>,
    /// What a person should know.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Why it failed.
    #[serde(default)]
    pub problem: Option<Problem>,
    /// Who started it.
    pub actor: String,
    /// When it was asked for.
    pub requested: Timestamp,
    /// When it ended.
    #[serde(default)]
    pub ended: Option<Timestamp>,
    /// Grows with every change of this view; the id of the event that carries it.
    pub revision: u64,
}

/// One part of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildPhase {
    /// check, build, test unit, package, record.
    pub name: String,
    /// When it began.
    pub began: Timestamp,
    /// How long it took; missing while it runs.
    #[serde(default)]
    pub duration_ms: Option<u64>,
}

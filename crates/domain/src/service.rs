//! Services and their versions, as the journal tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imbl::OrdMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::changelog::Changelog;
use crate::check::Check;
use crate::contract::{ContractKind, OfferedContract, Requirement};
use crate::criticality::Criticality;
use crate::database::VersionDatabase;
use crate::digest::Digest;
use crate::evidence::{Evidence, EvidenceKind, Outcome};
use crate::job::Job;
use crate::name::{Actor, ResourceName, ServiceName, StageName};
use crate::process::Processes;
use crate::repository_address::NO_REPOSITORY;
use crate::resource::ResourceNeed;
use crate::routes::RouteRule;
use crate::run::RunSpec;
use crate::time::Timestamp;
use crate::version::VersionNumber;

/// A deployable unit with an owner, a repository and versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Where it comes from.
    pub source: Source,
    /// The team or person who answers for it.
    pub owner: Option<String>,
    /// The name of its lifecycle.
    pub lifecycle: StageName,
    /// When it was registered.
    pub registered: Timestamp,
    /// Its versions; none is ever taken away.
    pub versions: OrdMap<VersionNumber, Arc<Version>>,
    /// Its releases from before it was registered: their numbers are not given again, and the next one goes on from them.
    #[serde(default)]
    pub earlier: OrdMap<VersionNumber, EarlierRelease>,
    /// The name that it had first, where it was renamed: its data folders are kept under that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<ServiceName>,
    /// The manifests that were kept with it, outside of its repository, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<KeptManifest>,
    /// Since when it is removed: its name stands for nothing until it is registered again, and its numbers stay given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Timestamp>,
}

/// A manifest that is kept with a service, outside of its repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptManifest {
    /// Its text in the blob store.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// Who gave it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Until when it counted; missing while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Where the manifest of a version comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManifestOrigin {
    /// Its commit.
    #[default]
    Commit,
    /// It was kept with the service; the version has it as the document `manifest`.
    Service,
    /// Somebody gave it with the release; the version has it as the document `manifest`.
    Release,
}

impl ManifestOrigin {
    /// Tells whether it is what goes without saying.
    #[must_use]
    pub const fn is_commit(&self) -> bool {
        matches!(self, Self::Commit)
    }
}

/// A release from before the service was registered, as a tag tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarlierRelease {
    /// The git commit.
    pub commit: String,
    /// The tag that names it.
    pub tag: String,
}

impl Service {
    /// Returns the name under which its data folders are kept, whatever it is called.
    #[must_use]
    pub fn data_name(&self) -> &ServiceName {
        self.first_name.as_ref().unwrap_or(&self.name)
    }

    /// Returns the manifest that counts in place of the one of its repository.
    #[must_use]
    pub fn kept_manifest(&self) -> Option<&KeptManifest> {
        self.manifests.last().filter(|kept| kept.until.is_none())
    }

    /// From a time on the manifest that was kept counts no more.
    pub fn leave_manifest(&mut self, at: Timestamp) {
        if let Some(kept) = self.manifests.last_mut() {
            kept.until.get_or_insert(at);
        }
    }

    /// Returns the version with the highest precedence.
    #[must_use]
    pub fn newest(&self) -> Option<&Arc<Version>> {
        self.versions.get_max().map(|(_, version)| version)
    }

    /// Returns the version that was recorded last.
    #[must_use]
    pub fn latest_recorded(&self) -> Option<&Arc<Version>> {
        self.versions.values().max_by_key(|version| (version.recorded, version.number.clone()))
    }

    /// Returns every number that was ever given.
    #[must_use]
    pub fn numbers(&self) -> Vec<VersionNumber> {
        let all: BTreeSet<_> = self.versions.keys().chain(self.earlier.keys()).cloned().collect();
        all.into_iter().collect()
    }

    /// Returns the commit that a version or an earlier release was cut from.
    #[must_use]
    pub fn commit_of(&self, number: &VersionNumber) -> Option<&str> {
        let version = self.versions.get(number).map(|version| version.commit.as_str());
        version.or_else(|| Some(self.earlier.get(number)?.commit.as_str()))
    }

    /// Returns the release that was cut last from a branch.
    #[must_use]
    pub fn latest_release_of(&self, branch: &str) -> Option<&Arc<Version>> {
        let of_branch =
            |version: &&Arc<Version>| version.branch == branch && !version.number.is_pre_release();
        self.versions
            .values()
            .filter(of_branch)
            .max_by_key(|version| (version.recorded, version.number.clone()))
    }
}

/// Where a service's source lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// A path or URL of a git repository; `none` where there is none, and the manifest is kept with the service.
    pub repository: String,
    /// The folder of the service in it; empty for the whole repository.
    #[serde(default)]
    pub folder: String,
}

impl Source {
    /// Returns the source of a service that has no repository.
    #[must_use]
    pub fn nowhere() -> Self {
        Self { repository: NO_REPOSITORY.to_owned(), folder: String::new() }
    }

    /// Tells whether there is a repository.
    #[must_use]
    pub fn has_repository(&self) -> bool {
        self.repository != NO_REPOSITORY
    }

    /// Returns the folder of the repository, where it may be one of this machine: it need not exist.
    #[must_use]
    pub fn repository_here(&self) -> Option<&Path> {
        Some(Path::new(&self.repository)).filter(|path| path.is_absolute())
    }

    /// Returns the folder of the service, where it may be one of this machine.
    #[must_use]
    pub fn folder_here(&self) -> Option<PathBuf> {
        self.repository_here().map(|root| root.join(&self.folder))
    }
}

/// An immutable build of a service, with everything known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// Its number.
    pub number: VersionNumber,
    /// The git commit it was built from.
    pub commit: String,
    /// The branch it was cut from.
    pub branch: String,
    /// The last stage it may enter; `None` for a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<StageName>,
    /// The packaged files.
    pub artifact: Artifact,
    /// What was given in place of a build; `None` when Lockstep built it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_elsewhere: Option<MadeElsewhere>,
    /// Where its manifest comes from.
    #[serde(default, skip_serializing_if = "ManifestOrigin::is_commit")]
    pub manifest: ManifestOrigin,
    /// The build that made the artifact.
    pub build: String,
    /// What the artifact depends on: commit, manifest, tools. Equal keys give equal artifacts.
    pub build_key: Digest,
    /// Tools it was built with, by name.
    pub tools: BTreeMap<String, String>,
    /// How to run it.
    pub run: RunSpec,
    /// Programs of it that run beside the one of `run`.
    #[serde(default, skip_serializing_if = "Processes::is_empty")]
    pub processes: Processes,
    /// Programs of it that run once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<Job>,
    /// What it costs that the service moves, where a plan chooses what does.
    #[serde(default, skip_serializing_if = "Criticality::is_usual")]
    pub criticality: Criticality,
    /// What it needs of other services.
    pub requires: BTreeMap<ServiceName, Requirement>,
    /// Databases and the like that it needs in an environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<ResourceName, ResourceNeed>,
    /// Databases that it brings migrations for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<VersionDatabase>,
    /// What it offers to others, and what its database looks like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contracts: Vec<OfferedContract>,
    /// Entry points it wants.
    pub routes: Vec<RouteRule>,
    /// Requests that gateways make by themselves to see whether it works.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// What changed since the version before.
    pub changelog: Changelog,
    /// What a person wrote about it.
    #[serde(default)]
    pub notes: String,
    /// Why it does not contain the commit of the version before it, when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unrelated: Option<String>,
    /// Attached documents by kind (requirements, design, database, api, test-plan, deployment-plan, ...).
    #[serde(default)]
    pub documents: BTreeMap<String, Document>,
    /// Who cut it.
    pub recorded_by: Actor,
    /// When.
    pub recorded: Timestamp,
    /// Its stage.
    pub stage: StageName,
    /// Since when.
    pub stage_since: Timestamp,
    /// Findings, oldest first.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// Approvals, oldest first.
    #[serde(default)]
    pub approvals: Vec<Approval>,
}

/// The packaged files of a version in the blob store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Digest of the archive.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// What somebody gave in place of a build. Who gave it is who cut the version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MadeElsewhere {
    /// The archive: the artifact has its files, packaged anew.
    pub archive: GivenFile,
    /// Reports of tests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<GivenReport>,
    /// The image that was in it, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<GivenImage>,
}

/// An image as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GivenImage {
    /// What it was asked for by: a name in a registry, as `registry.example/orders:1.4`, or of a file or folder.
    pub reference: String,
    /// Digest of its manifest; missing where what was given has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Digest of its configuration, which Docker calls its id.
    pub id: Digest,
    /// What it runs on, as `linux/amd64`.
    pub platform: String,
}

/// A file as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GivenFile {
    /// Its name where it came from.
    pub name: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// How many these are.
    pub bytes: u64,
}

/// A report of tests that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GivenReport {
    /// Of which tests.
    pub kind: EvidenceKind,
    /// The file.
    #[serde(flatten)]
    pub file: GivenFile,
}

/// A document attached to a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// The name of the file it came from.
    pub file_name: String,
    /// Its content in the blob store.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// Somebody's yes to a version entering a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Who.
    pub by: Actor,
    /// For which stage.
    pub stage: StageName,
    /// When.
    pub at: Timestamp,
    /// What they said to it.
    #[serde(default)]
    pub note: String,
}

impl Version {
    /// Goes through everything of it that is run: its instances, and its jobs.
    pub fn runs(&self) -> impl Iterator<Item = RunSpec> {
        let standing = std::iter::once(&self.run).chain(self.processes.others.values()).cloned();
        standing.chain(self.jobs.iter().map(|job| job.run(&self.run)))
    }

    /// Returns the newest evidence of a kind.
    #[must_use]
    pub fn newest_evidence(&self, kind: &EvidenceKind) -> Option<&Evidence> {
        self.evidence.iter().rev().find(|evidence| evidence.kind == *kind)
    }

    /// Returns the kinds whose newest evidence is red.
    #[must_use]
    pub fn red_kinds(&self) -> BTreeSet<EvidenceKind> {
        let is_red = |kind: &&EvidenceKind| {
            self.newest_evidence(kind).is_some_and(|evidence| evidence.outcome == Outcome::Red)
        };
        self.evidence.iter().map(|evidence| &evidence.kind).filter(is_red).cloned().collect()
    }

    /// Counts the different people who approved a stage.
    #[must_use]
    pub fn approvals_of(&self, stage: &StageName) -> u32 {
        let people: BTreeSet<_> = self
            .approvals
            .iter()
            .filter(|approval| approval.stage == *stage)
            .map(|approval| approval.by.person())
            .collect();
        u32::try_from(people.len()).unwrap_or(u32::MAX)
    }

    /// Finds what a person has approved already, in whatever spelling.
    #[must_use]
    pub fn approval_by(&self, actor: &Actor, stage: &StageName) -> Option<&Approval> {
        let person = actor.person();
        self.approvals.iter().find(|approval| approval.stage == *stage && approval.by.person() == person)
    }

    /// Returns every digest in the blob store that this version needs, with what it is.
    #[must_use]
    pub fn blobs(&self) -> Vec<(Digest, String)> {
        let artifact = [(self.artifact.digest, "artifact".to_owned())];
        let documents =
            self.documents.iter().map(|(kind, document)| (document.digest, format!("document {kind}")));
        let reports = self
            .evidence
            .iter()
            .filter_map(|evidence| Some((evidence.report?, format!("report {}", evidence.kind))));
        let offered = self.contracts.iter().flat_map(|contract| {
            let reports = contract.findings.iter();
            let reports =
                reports.map(|finding| (finding.report, format!("comparison with {}", finding.against)));
            std::iter::once((contract.digest, format!("contract {}", contract.name))).chain(reports)
        });
        let used = self.requires.values().filter_map(|requirement| requirement.contract.as_ref());
        let used = used.map(|contract| (contract.digest, format!("contract {}", contract.name)));
        artifact.into_iter().chain(documents).chain(reports).chain(offered).chain(used).collect()
    }

    /// Returns the contracts of a kind.
    pub fn contracts_of(&self, kind: ContractKind) -> impl Iterator<Item = &OfferedContract> {
        self.contracts.iter().filter(move |contract| contract.kind == kind)
    }
}

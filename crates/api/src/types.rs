//! Wire types: what is asked and answered, where it is not a domain type already.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_domain::baseline::EntryChange;
use lockstep_domain::branch::BranchPattern;
use lockstep_domain::compat::Pair;
use lockstep_domain::contract::Verdict;
use lockstep_domain::edition::TableHistory;
use lockstep_domain::environment::{EnvironmentSettings, Hold};
use lockstep_domain::gateway_rules::{NamedServices, Network};
use lockstep_domain::intent::{Configuration, Leaving, Step};
use lockstep_domain::lifecycle::{ClosedGate, Lifecycle};
use lockstep_domain::operation::Acceptance;
use lockstep_domain::routes::{ArmTraffic, RefusedTable};
use lockstep_domain::run::DataFolder;
use lockstep_domain::service::{EarlierRelease, Source, Version};
use lockstep_domain::step::Obstacle;
use lockstep_domain::step_place::StepPlace;
use lockstep_domain::variables::{Revocation, VariableChange};
use lockstep_domain::watch::AnswerChecks;
use lockstep_domain::ways_back::WayBack;
use lockstep_domain::{
    Actor, Arm, BaselineEntry, CallAddress, ConfigRevision, Digest, EnvironmentName, GatewayName, Instance,
    InstanceId, Intent, Operation, OperationId, Plan, ServiceName, StageName, Strategy, Timestamp,
    VersionNumber, VersionRef,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// How the server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// The program's version.
    pub version: String,
    /// The last record of the journal.
    pub journal_seq: u64,
    /// Where data is kept.
    pub data_folder: String,
    /// What its host does not keep a service or build from, because of its kernel; empty where it keeps all apart.
    #[serde(default)]
    pub unprotected: Vec<String>,
}

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

/// An environment is to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateEnvironment {
    /// Its name.
    pub name: EnvironmentName,
    /// Its settings; missing ones get defaults.
    #[serde(default)]
    pub settings: SettingsChange,
}

/// Settings of an environment to change; missing ones stay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// The first stage that is accepted.
    #[serde(default)]
    pub accepts_from: Option<StageName>,
    /// The strategy of an operation that names none.
    #[serde(default)]
    pub strategy: Option<Strategy>,
    /// How long old instances stay.
    #[serde(default)]
    pub warm_ms: Option<u64>,
    /// How long a version must be healthy there before it counts as having run there.
    #[serde(default)]
    pub stay_ms: Option<u64>,
    /// How long an instance that gets no more requests has for those that it has begun.
    #[serde(default)]
    pub drain_ms: Option<u64>,
    /// The port of its gateway.
    #[serde(default)]
    pub gateway_port: Option<u16>,
    /// Where instances that start from now on are told to call other services: `server` for the gateway inside the server,
    /// or the URL of a gateway of its own.
    #[serde(default)]
    pub gateway_url: Option<CallAddress>,
    /// Who may ask for a service by its name, `/@orders`, without a route.
    #[serde(default)]
    pub named_services: Option<NamedServices>,
    /// The networks whose clients are believed what they say of the request before them, instead of those there were.
    #[serde(default)]
    pub trusted_networks: Option<Vec<Network>>,
    /// How long a service may say nothing, where its route does not say.
    #[serde(default)]
    pub request_timeout_ms: Option<u64>,
    /// Whether answers of versions on trial are compared with their contracts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_checks: Option<AnswerChecks>,
}

/// An environment in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentSummary {
    /// Its name.
    pub name: EnvironmentName,
    /// Its settings.
    pub settings: EnvironmentSettings,
    /// The current baseline.
    pub baseline: u64,
    /// How many services run there.
    pub services: usize,
    /// The operation under way; of several the one that began first.
    pub operation: Option<OperationId>,
    /// All operations under way, in the order in which they began.
    #[serde(default)]
    pub under_way: Vec<OperationId>,
}

/// An environment with everything seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentView {
    /// Its name.
    pub name: EnvironmentName,
    /// Its settings.
    pub settings: EnvironmentSettings,
    /// The address of its gateway.
    pub gateway: String,
    /// The current baseline.
    pub baseline: u64,
    /// Since when it is current.
    pub baseline_since: Timestamp,
    /// What runs.
    pub services: Vec<ServiceStatus>,
    /// The operation under way that moves services; of several the one that began first.
    pub operation: Option<Operation>,
    /// Operations under way beside it, in the order in which they began: they move, scale or restart other services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Operation>,
    /// What the verdicts on its versions miss now, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<String>,
    /// Versions that nothing brings here by itself.
    pub holds: Vec<HeldVersion>,
    /// Gateways that serve it.
    pub gateways: Vec<GatewayView>,
    /// Data folders of services there, without sizes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataFolderView>,
    /// What the host of the server does not keep a service or build from, because of its kernel; empty where it keeps all apart.
    #[serde(default)]
    pub unprotected: Vec<String>,
}

/// A data folder of a service in an environment. It stays over versions, rollbacks and removals; no backup holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DataFolderView {
    /// Where it is; the environment may be removed.
    pub environment: EnvironmentName,
    /// Whose it is.
    pub service: ServiceName,
    /// Its name, as a manifest declares it.
    pub folder: DataFolder,
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
    pub folder: DataFolder,
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
}

/// A service in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStatus {
    /// Its name.
    pub service: ServiceName,
    /// What the current baseline says.
    pub entry: Option<BaselineEntry>,
    /// How many instances are wanted.
    pub replicas: u32,
    /// Its instances, whatever version.
    pub instances: Vec<Instance>,
    /// The split of its requests, with what was counted.
    pub arms: Vec<ArmStatus>,
    /// Where it can go back to by a change of routes alone.
    pub warm: Vec<WarmArm>,
}

/// What gateways counted of a service in the last hour, and what a rollout of it begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceTraffic {
    /// The service.
    pub service: ServiceName,
    /// The environment.
    pub environment: EnvironmentName,
    /// The version that runs there.
    pub version: VersionNumber,
    /// How long was counted: at most about an hour, and not since before the server began; 0 before a gateway reported.
    pub counted_ms: u64,
    /// Requests of all its versions in that time.
    pub requests: u64,
    /// What the version that runs did in that time.
    pub of_version: ArmTraffic,
    /// The first step of the environment's strategy.
    pub first_step: Step,
    /// The environment's strategy; a server of an older release does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// How many operations a new version would be judged by, each for itself.
    #[serde(default)]
    pub operations: usize,
    /// Whether its answers would be compared with its contract.
    #[serde(default)]
    pub checks_answers: bool,
    /// Bounds of latency in milliseconds that it would be judged by.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub latency_bounds_ms: BTreeSet<u64>,
}

/// An arm's share and counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArmStatus {
    /// The arm.
    pub arm: Arm,
    /// Its share of the clients in 1/10,000.
    pub weight: u32,
    /// Requests since its gateways started.
    pub traffic: ArmTraffic,
}

/// An arm that is kept for going back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WarmArm {
    /// The arm.
    pub arm: Arm,
    /// Until when.
    pub until: Timestamp,
}

/// A version that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldVersion {
    /// Which.
    pub version: VersionRef,
    /// Why.
    #[serde(flatten)]
    pub hold: Hold,
}

/// A gateway that serves an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayView {
    /// Identifies one run of one gateway process.
    pub gateway: String,
    /// The history of the table it serves.
    #[serde(default)]
    pub history: TableHistory,
    /// The revision of the table it serves; 0 when it serves none.
    pub revision: u64,
    /// The table that it was given last and did not take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedTable>,
    /// When it last reported.
    pub seen: Timestamp,
    /// Why it is not believed, or not in everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A gateway of its own is to be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddGateway {
    /// Its name.
    pub name: GatewayName,
    /// The environments it serves.
    pub environments: BTreeSet<EnvironmentName>,
}

/// A gateway of its own that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayAdded {
    /// Its name.
    pub name: GatewayName,
    /// The environments it serves.
    pub environments: BTreeSet<EnvironmentName>,
    /// Its key, this once: the server keeps only a digest.
    pub key: String,
}

/// A gateway of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayIdentityView {
    /// Its name.
    pub name: GatewayName,
    /// The environments it serves.
    pub environments: BTreeSet<EnvironmentName>,
    /// When it was added.
    pub added: Timestamp,
    /// By whom.
    pub by: Actor,
}

/// The keys of an installation: where they are and what they do. None of them is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeysView {
    /// The key of callers.
    pub callers: CallersKeyView,
    /// The file with the key of the journal.
    pub journal: String,
    /// Gateways of their own that have a key.
    pub gateways: Vec<GatewayIdentityView>,
    /// The file with the token that the server made for itself; missing where it was given one, or has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// The key from which instances get the tokens that gateways recognise them by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallersKeyView {
    /// Its file.
    pub file: String,
    /// Whether the next key is announced to gateways, and instances are not given tokens of it yet.
    pub is_being_exchanged: bool,
    /// Instances with a token of a former key, which is recognised until they end.
    pub stale: Vec<StaleInstance>,
}

/// An instance that has a token of a former key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StaleInstance {
    /// Where it runs.
    pub environment: EnvironmentName,
    /// Of which service.
    pub service: ServiceName,
    /// Which.
    pub instance: InstanceId,
}

/// A key is to be exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
}

/// Whether an intent is carried out or only planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is carried out.
    #[default]
    Execute,
    /// Only the plan is answered; nothing is recorded.
    DryRun,
}

/// What happens to holds that stand in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldHandling {
    /// They refuse the intent.
    #[default]
    Respect,
    /// Holds of the versions that are named are released with the operation.
    Release,
}

/// What happens to operations that are in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnderWay {
    /// They refuse the intent.
    #[default]
    Respect,
    /// They are taken back, in the same record that begins to go back. Only for going back.
    TakeBack,
}

/// An environment is to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationRequest {
    /// What is wanted.
    pub intent: Intent,
    /// How new instances take over. When it is missing: the environment's own strategy, and all at once when going back.
    /// Where services are only taken out it says nothing.
    #[serde(default)]
    pub strategy: Option<Strategy>,
    /// Why, for the history.
    #[serde(default)]
    pub reason: String,
    /// Whether it is carried out.
    #[serde(default)]
    pub mode: Mode,
    /// What happens to holds that stand in the way.
    #[serde(default)]
    pub holds: HoldHandling,
    /// The baseline that was looked at; when another is current, the intent is refused. For a promotion it is a baseline of the
    /// environment that is copied.
    #[serde(default)]
    pub expect: Option<u64>,
    /// The operation under way that an undo takes back. When it is missing: the only one that moves services, and what is undone
    /// must be clear without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// What happens to operations that are in the way.
    #[serde(default)]
    pub under_way: UnderWay,
    /// What becomes of the arms that are left. When it is missing: they stay warm, and going back ends them.
    #[serde(default)]
    pub leaving: Option<Leaving>,
    /// Values of secret variables by their key, for a configuration. They go to the secret store and nowhere else.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
}

/// An instance is to be ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DismissRequest {
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
}

/// The plan of an intent, and the operation that carries it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationAnswer {
    /// How it is or would be carried out. Missing when an operation under way was taken back.
    pub plan: Option<Plan>,
    /// The operation; missing for a dry run.
    pub operation: Option<Operation>,
}

/// What an environment, or one of its services, can go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaysBack {
    /// The environment.
    pub environment: EnvironmentName,
    /// The current baseline.
    pub baseline: u64,
    /// The service, where it is one alone.
    pub service: Option<ServiceName>,
    /// What runs of that service.
    pub runs: Option<BaselineEntry>,
    /// What it can go back to, the newest first.
    pub ways: Vec<WayBack>,
}

/// A step that waits is to go on without evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// The step that was looked at, such as `1.2`: the second of the first wave.
    pub step: StepPlace,
    /// What keeps it, and shall not; anything else goes on keeping it.
    pub despite: BTreeSet<Obstacle>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// A service or an environment is to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveRequest {
    /// Why.
    #[serde(default)]
    pub reason: String,
}

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
    /// Steps on the way to it that went on without evidence, and who answers for that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Acceptance>,
}

/// The history of an environment, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// The environment.
    pub environment: EnvironmentName,
    /// States that really ran.
    pub baselines: Vec<BaselineView>,
    /// Operations that were taken back and made no baseline.
    pub reverted: Vec<Operation>,
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

/// What a check of the journal found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalReport {
    /// Records that were checked.
    pub records: u64,
    /// The hash of the last one.
    pub last_hash: Option<Digest>,
    /// The record after which all were appended by who has the journal's key; those up to it are older than the key, which notes
    /// the hash of the last of them. Nothing when no key was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyed_after: Option<u64>,
    /// The first record that is not as it was written.
    pub tampered: Option<TamperedRecord>,
}

/// A record that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TamperedRecord {
    /// Its sequence number.
    pub seq: u64,
    /// What is wrong with it.
    pub what: String,
}

/// What nothing needs is to be collected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectRequest {
    /// Whether it is done.
    #[serde(default)]
    pub mode: Mode,
}

/// What a collection takes and leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CollectReport {
    /// Whether it was done.
    pub mode: Mode,
    /// Blobs that go.
    pub goes: Vec<CollectedBlob>,
    /// Blobs that stay, and why.
    pub stays: Vec<KeptBlob>,
    /// Unpacked artifacts, by digest. One that goes is unpacked again when an instance needs it.
    #[serde(default)]
    pub releases: FolderReport,
    /// Mirrors of repositories. One that goes is cloned again when a build needs it.
    #[serde(default)]
    pub mirrors: FolderReport,
}

/// Which folders go and which stay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct FolderReport {
    /// What goes.
    pub goes: Vec<CollectedFolder>,
    /// What stays, and why.
    pub stays: Vec<KeptFolder>,
}

/// A folder that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CollectedFolder {
    /// Its name.
    pub name: String,
    /// The size of its files.
    pub bytes: u64,
}

/// A folder that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptFolder {
    /// Its name.
    pub name: String,
    /// The size of its files.
    pub bytes: u64,
    /// Why it stays.
    pub reasons: Vec<String>,
}

/// A blob that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CollectedBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// A blob that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// Why it stays.
    pub reasons: Vec<String>,
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

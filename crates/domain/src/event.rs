//! Events: everything that the journal keeps. The state of the installation is the fold of them.
//!
//! Stored text must load for ever: fields are only added, with a default, and variants are never renamed.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_judge::Obstacle;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::acme::{AcmeRequest, Progress};
use crate::baseline::OperationId;
use crate::branch::BranchPolicy;
use crate::certificate::CertificateFacts;
use crate::database::Told;
use crate::digest::Digest;
use crate::environment::{EnvironmentSettings, Hold};
use crate::evidence::Evidence;
use crate::fault::Blame;
use crate::host::{HostSettings, Stance};
use crate::injection::Fault;
use crate::instance::{Arm, ConfigRevision, InstanceId};
use crate::job::PlannedJob;
use crate::lane::NewLane;
use crate::lifecycle::Lifecycle;
use crate::mirror::MirrorCounts;
use crate::name::{
    Actor, CertificateName, EnvironmentName, GatewayName, HostName, JobName, LaneName, ResourceName,
    ServiceName, StageName, WatchingName,
};
use crate::operation::Operation;
use crate::resource::{Origin, ResourceKind};
use crate::schedule::Schedule;
use crate::service::{Approval, EarlierRelease, Source, Version};
use crate::step_place::StepPlace;
use crate::time::Timestamp;
use crate::version::{VersionNumber, VersionRef};
use crate::version_rules::Takes;
use crate::watching::WatchingKind;
use crate::work_path::WorkPath;

/// An event at its place in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recorded {
    /// Its sequence number, from 1.
    pub seq: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The clock was behind the wall clock, and time was added to it that nobody lived through: durations do not contain it.
    ClockSkipped {
        /// How much, in milliseconds.
        ms: u64,
    },
    /// A lifecycle was defined, or defined anew.
    LifecycleDefined {
        /// Its name.
        name: StageName,
        /// Its stages.
        lifecycle: Lifecycle,
    },
    /// It was said which branches may cut which versions.
    BranchPolicyDefined {
        /// The rules.
        policy: BranchPolicy,
    },
    /// An environment was created.
    EnvironmentCreated {
        /// Its name.
        environment: EnvironmentName,
        /// Its settings.
        settings: EnvironmentSettings,
    },
    /// The settings of an environment were changed.
    EnvironmentChanged {
        /// Its name.
        environment: EnvironmentName,
        /// All its settings.
        settings: EnvironmentSettings,
    },
    /// The faults that requests of an environment meet on purpose were changed.
    FaultsChanged {
        /// Its name.
        environment: EnvironmentName,
        /// All that there are from now on.
        faults: Vec<Fault>,
    },
    /// A service was registered, or its source, owner or lifecycle changed.
    ServiceRegistered {
        /// Its name.
        service: ServiceName,
        /// Where it comes from.
        source: Source,
        /// Who answers for it.
        owner: Option<String>,
        /// The name of its lifecycle.
        lifecycle: StageName,
        /// Why it comes from a repository without its versions now, when it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unrelated: Option<String>,
    },
    /// A manifest is kept with a service, and counts in place of the one of its repository.
    ManifestKept {
        /// Whose.
        service: ServiceName,
        /// Its text in the blob store.
        manifest: Digest,
        /// Its size.
        bytes: u64,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// The manifest of its repository counts again for a service.
    ManifestLeft {
        /// Whose.
        service: ServiceName,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Releases from before a service was registered were taken up.
    EarlierReleasesTaken {
        /// Whose.
        service: ServiceName,
        /// The releases by their numbers.
        releases: BTreeMap<VersionNumber, EarlierRelease>,
    },
    /// A service was removed. Its versions stay what they are, for whoever registers it again.
    ServiceRemoved {
        /// Its name.
        service: ServiceName,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// A service was given another name; its former one goes on meaning it.
    ServiceRenamed {
        /// Its name until then.
        service: ServiceName,
        /// Its name from then on.
        to: ServiceName,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// An environment was removed, with its history, configurations and holds.
    EnvironmentRemoved {
        /// Its name.
        environment: EnvironmentName,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// A version was cut.
    VersionRecorded {
        /// Whose.
        service: ServiceName,
        /// Everything about it.
        version: Box<Version>,
    },
    /// Something was found out about a version.
    EvidenceAdded {
        /// Which.
        version: VersionRef,
        /// What.
        evidence: Evidence,
    },
    /// Somebody approved a version for a stage.
    Approved {
        /// Which.
        version: VersionRef,
        /// The approval.
        approval: Approval,
    },
    /// A version changed its stage.
    StageChanged {
        /// Which.
        version: VersionRef,
        /// The stage it left.
        from: StageName,
        /// The stage it entered.
        to: StageName,
        /// Why.
        reason: String,
    },
    /// A change of an environment was decided.
    OperationBegun {
        /// The operation with its plan.
        operation: Box<Operation>,
    },
    /// A wave is being prepared.
    WavePrepared {
        /// The operation.
        operation: OperationId,
        /// Its environment.
        environment: EnvironmentName,
        /// Index of the wave whose instances are made healthy now.
        wave: usize,
        /// What let the last step of the wave before pass.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        proof: String,
    },
    /// A wave was given a share of the requests.
    WaveShifted {
        /// The operation.
        operation: OperationId,
        /// Its environment.
        environment: EnvironmentName,
        /// Index of the wave.
        wave: usize,
        /// Index of the strategy's step.
        step: usize,
        /// What allowed it.
        reason: String,
    },
    /// The bake of a step is over, and the verdict on its versions misses something.
    StepWaits {
        /// The operation.
        operation: OperationId,
        /// Its environment.
        environment: EnvironmentName,
        /// What is missing, for people.
        missing: String,
    },
    /// It was measured how long a start of a worker took.
    StartMeasured {
        /// Where.
        environment: EnvironmentName,
        /// What was started.
        arm: Arm,
        /// From being asked for until it was healthy, in milliseconds.
        ms: u64,
    },
    /// A step may go on without evidence.
    StepAccepted {
        /// The operation.
        operation: OperationId,
        /// Its environment.
        environment: EnvironmentName,
        /// Which step.
        step: StepPlace,
        /// Despite of what; anything else stops it again.
        despite: BTreeSet<Obstacle>,
        /// What was known then, for people.
        known: String,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// The next job of an operation is begun: it runs once, whoever dies meanwhile.
    JobBegun {
        /// The operation.
        operation: OperationId,
        /// Its environment.
        environment: EnvironmentName,
        /// What it runs as.
        instance: InstanceId,
    },
    /// The job that was begun last has ended.
    JobEnded {
        /// The operation.
        operation: OperationId,
        /// Its environment.
        environment: EnvironmentName,
        /// What it ran as.
        instance: InstanceId,
        /// What went wrong; `None` where its program ended with 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
        /// What it found, where it was a step at a database.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told: Option<Box<Told>>,
    },
    /// The schedule of a job of what runs is followed, or another one, or none any more.
    ScheduleChanged {
        /// The environment.
        environment: EnvironmentName,
        /// The service.
        service: ServiceName,
        /// Its job.
        job: JobName,
        /// The schedule; `None` when nothing that runs has it any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schedule: Option<Schedule>,
        /// From which time of the wall clock on.
        since: Timestamp,
    },
    /// A job is begun because its time has come: for this time it runs once, whoever dies meanwhile.
    ScheduledRunBegun {
        /// The environment.
        environment: EnvironmentName,
        /// What runs.
        planned: PlannedJob,
        /// The time of its schedule.
        due: Timestamp,
        /// What it runs as.
        instance: InstanceId,
    },
    /// A time of a schedule has come, and the job is not run for it.
    ScheduledRunSkipped {
        /// The environment.
        environment: EnvironmentName,
        /// What would have run.
        planned: PlannedJob,
        /// The time of its schedule.
        due: Timestamp,
        /// Why it does not run.
        reason: String,
    },
    /// A job that was begun by its schedule has ended.
    ScheduledRunEnded {
        /// The environment.
        environment: EnvironmentName,
        /// The service.
        service: ServiceName,
        /// Its job.
        job: JobName,
        /// What it ran as.
        instance: InstanceId,
        /// What went wrong; `None` where its program ended with 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
    },
    /// An operation waits for resources that are not healthy.
    ResourceAwaited {
        /// The operation.
        operation: OperationId,
        /// Its environment.
        environment: EnvironmentName,
        /// Which, and how they are, for people.
        missing: String,
    },
    /// An operation waits for hosts that are not reached.
    HostAwaited {
        /// The operation.
        operation: OperationId,
        /// Its environment.
        environment: EnvironmentName,
        /// Which, and what is missing, for people.
        missing: String,
    },
    /// An operation is taken back.
    OperationReverting {
        /// The operation.
        operation: OperationId,
        /// Its environment.
        environment: EnvironmentName,
        /// Why.
        cause: String,
        /// The arms that failed, and for what. An older release did not say.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        blamed: Vec<Blame>,
    },
    /// An operation is over and its target is the new baseline.
    OperationDone {
        /// The operation.
        operation: OperationId,
        /// Its environment.
        environment: EnvironmentName,
        /// The number of the new baseline; the current one where nothing moved.
        baseline: u64,
        /// What let its last step pass; empty where nothing was watched, or an older release did it.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        proof: String,
    },
    /// The current baseline served long enough without an alarm.
    BaselineProven {
        /// Its environment.
        environment: EnvironmentName,
        /// Its number.
        baseline: u64,
        /// Since when it was looked at without an alarm.
        since: Timestamp,
        /// How much of that time somebody looked.
        seen_ms: u64,
        /// Requests that it answered.
        requests: u64,
        /// Those of them that failed.
        failures: u64,
        /// Services that take requests and had none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unasked: Vec<ServiceName>,
    },
    /// An operation is over and everything is as before it.
    OperationReverted {
        /// The operation.
        operation: OperationId,
        /// Its environment.
        environment: EnvironmentName,
    },
    /// An instance is to end, whatever its arm is wanted for: another takes its place where one is wanted.
    InstanceDismissed {
        /// Where it runs.
        environment: EnvironmentName,
        /// Which.
        instance: InstanceId,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// A version must not come back to an environment by itself.
    HoldPlaced {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        version: VersionRef,
        /// Why.
        hold: Hold,
    },
    /// A secret value must not come back by itself: whoever goes back is given another one.
    SecretRevoked {
        /// Where.
        environment: EnvironmentName,
        /// Of which service.
        service: ServiceName,
        /// Of which variable.
        key: String,
        /// The name of the value in the secret store.
        secret: String,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// An environment has a resource, or has it elsewhere from now on.
    ResourceSet {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        resource: ResourceName,
        /// What it is.
        kind: ResourceKind,
        /// Where it is.
        origin: Origin,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// An environment has a resource no more. What was run for it ends, and its data stays.
    ResourceRemoved {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        resource: ResourceName,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Somebody had the data of a resource removed for good, that nothing used any more.
    ResourceDataRemoved {
        /// Where it was; the environment may be gone.
        of_environment: EnvironmentName,
        /// Which.
        resource: ResourceName,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// A gateway of its own may ask for tables and report.
    GatewayAdded {
        /// Its name.
        gateway: GatewayName,
        /// The environments it serves.
        environments: BTreeSet<EnvironmentName>,
        /// SHA-256 of its key.
        key: Digest,
    },
    /// Instances may run on a host from now on.
    HostAdded {
        /// Its name.
        host: HostName,
        /// What was decided about it.
        settings: Box<HostSettings>,
    },
    /// What is decided about a host was changed.
    HostChanged {
        /// Its name.
        host: HostName,
        /// All of it.
        settings: Box<HostSettings>,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// A host was opened, cordoned, or is to be drained.
    HostTurned {
        /// Its name.
        host: HostName,
        /// What may run there from now on.
        stance: Stance,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Nothing runs on a host any more.
    HostRemoved {
        /// Its name.
        host: HostName,
        /// What was last seen there of instances that nobody could end, where it was removed all the same.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<InstanceId>,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// The key of a gateway is not valid any more.
    GatewayRemoved {
        /// Its name.
        gateway: GatewayName,
    },
    /// Somebody ended a build.
    BuildCancelled {
        /// The build.
        build: String,
        /// Of which service.
        service: ServiceName,
    },
    /// Somebody had what nothing needs removed from the store.
    StoreCollected {},
    /// Somebody had a data folder of a service removed for good, that nothing there declared any more.
    DataRemoved {
        /// Where it was; the environment may be gone.
        of_environment: EnvironmentName,
        /// Whose it was.
        service: ServiceName,
        /// Which.
        folder: WorkPath,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Somebody had the key exchanged from which instances get the tokens that gateways recognise them by.
    CallersKeyRotated {
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Somebody took the journal as it was for complete.
    JournalAccepted {
        /// How many records it had.
        records: u64,
        /// The hash of the last one.
        last_hash: Digest,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// A hold was released.
    HoldReleased {
        /// Where.
        environment: EnvironmentName,
        /// Which.
        version: VersionRef,
    },
    /// Certain requests of a service get a version of their own from now on.
    VersionRuleAdded {
        /// Where.
        environment: EnvironmentName,
        /// Of which service.
        service: ServiceName,
        /// What they get.
        version: VersionNumber,
        /// With which configuration.
        config: ConfigRevision,
        /// Which requests.
        takes: Takes,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// They get what all others get again.
    VersionRuleRemoved {
        /// Where.
        environment: EnvironmentName,
        /// The number of the rule.
        rule: u32,
        /// What it had found, where it is a mirror.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        found: Option<Box<MirrorCounts>>,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// A lane begins: certain requests get other versions of a few services from now on.
    LaneBegun {
        /// Where.
        environment: EnvironmentName,
        /// What it is made of.
        lane: Box<NewLane>,
    },
    /// They get what all others get again.
    LaneEnded {
        /// Where.
        environment: EnvironmentName,
        /// Its name.
        lane: LaneName,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Clients of an environment are shown a certificate from now on; another one of its name is replaced.
    CertificateAdded {
        /// Where.
        environment: EnvironmentName,
        /// Its name there.
        certificate: CertificateName,
        /// What it is.
        facts: Box<CertificateFacts>,
        /// The name of the secret with its chain and key.
        secret: String,
    },
    /// Clients of an environment are shown a certificate no more.
    CertificateRemoved {
        /// Where.
        environment: EnvironmentName,
        /// Its name there.
        certificate: CertificateName,
    },
    /// A certificate is to be got from an authority by ACME, and renewed before it ends.
    CertificateRequested {
        /// Where.
        environment: EnvironmentName,
        /// Its name there.
        certificate: CertificateName,
        /// What is asked for.
        request: Box<AcmeRequest>,
    },
    /// An order of a certificate came further, or failed.
    CertificateOrderProgressed {
        /// Where.
        environment: EnvironmentName,
        /// Its name there.
        certificate: CertificateName,
        /// How it stands now.
        progress: Box<Progress>,
    },
    /// A certificate renews itself no more; clients are shown it until it ends.
    CertificateRequestEnded {
        /// Where.
        environment: EnvironmentName,
        /// Its name there.
        certificate: CertificateName,
    },
    /// Secrets of certificates that nothing shows any more were removed.
    CertificateSecretsRemoved {
        /// Their names.
        secrets: Vec<String>,
    },
    /// Somebody decided whom to tell, what not to tell for a while, or a rule; one of the name is replaced.
    WatchingSet {
        /// Which of them.
        what: WatchingKind,
        /// Its name.
        name: WatchingName,
        /// What it says, as JSON; no secret is in it.
        settings: String,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// It does not hold any more.
    WatchingRemoved {
        /// Which of them.
        what: WatchingKind,
        /// Its name.
        name: WatchingName,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// A service that somebody else runs began to say that it is another version.
    VersionSaid {
        /// Where.
        environment: EnvironmentName,
        /// The version and configuration of ours that it was asked for.
        arm: Arm,
        /// Its words.
        said: String,
    },
}

impl Event {
    /// Returns the environment it concerns, if any.
    #[must_use]
    pub fn environment(&self) -> Option<&EnvironmentName> {
        match self {
            Self::EnvironmentCreated { environment, .. }
            | Self::EnvironmentChanged { environment, .. }
            | Self::FaultsChanged { environment, .. }
            | Self::EnvironmentRemoved { environment, .. }
            | Self::WavePrepared { environment, .. }
            | Self::WaveShifted { environment, .. }
            | Self::StepWaits { environment, .. }
            | Self::StepAccepted { environment, .. }
            | Self::StartMeasured { environment, .. }
            | Self::JobBegun { environment, .. }
            | Self::JobEnded { environment, .. }
            | Self::ScheduleChanged { environment, .. }
            | Self::ScheduledRunBegun { environment, .. }
            | Self::ScheduledRunSkipped { environment, .. }
            | Self::ScheduledRunEnded { environment, .. }
            | Self::ResourceAwaited { environment, .. }
            | Self::HostAwaited { environment, .. }
            | Self::ResourceSet { environment, .. }
            | Self::ResourceRemoved { environment, .. }
            | Self::OperationReverting { environment, .. }
            | Self::OperationDone { environment, .. }
            | Self::OperationReverted { environment, .. }
            | Self::BaselineProven { environment, .. }
            | Self::InstanceDismissed { environment, .. }
            | Self::HoldPlaced { environment, .. }
            | Self::SecretRevoked { environment, .. }
            | Self::VersionRuleAdded { environment, .. }
            | Self::VersionRuleRemoved { environment, .. }
            | Self::LaneBegun { environment, .. }
            | Self::LaneEnded { environment, .. }
            | Self::CertificateAdded { environment, .. }
            | Self::CertificateRemoved { environment, .. }
            | Self::CertificateRequested { environment, .. }
            | Self::CertificateOrderProgressed { environment, .. }
            | Self::CertificateRequestEnded { environment, .. }
            | Self::VersionSaid { environment, .. }
            | Self::HoldReleased { environment, .. } => Some(environment),
            Self::OperationBegun { operation } => Some(&operation.environment),
            Self::BuildCancelled { .. }
            | Self::WatchingSet { .. }
            | Self::WatchingRemoved { .. }
            | Self::CertificateSecretsRemoved { .. }
            | Self::StoreCollected {}
            | Self::DataRemoved { .. }
            | Self::ResourceDataRemoved { .. }
            | Self::CallersKeyRotated { .. }
            | Self::JournalAccepted { .. }
            | Self::GatewayAdded { .. }
            | Self::GatewayRemoved { .. }
            | Self::HostAdded { .. }
            | Self::HostChanged { .. }
            | Self::HostTurned { .. }
            | Self::HostRemoved { .. }
            | Self::ClockSkipped { .. }
            | Self::LifecycleDefined { .. }
            | Self::BranchPolicyDefined { .. }
            | Self::ServiceRegistered { .. }
            | Self::ManifestKept { .. }
            | Self::ManifestLeft { .. }
            | Self::EarlierReleasesTaken { .. }
            | Self::ServiceRemoved { .. }
            | Self::ServiceRenamed { .. }
            | Self::VersionRecorded { .. }
            | Self::EvidenceAdded { .. }
            | Self::Approved { .. }
            | Self::StageChanged { .. } => None,
        }
    }

    /// Returns every blob that it names.
    #[must_use]
    pub fn blobs(&self) -> Vec<Digest> {
        match self {
            Self::VersionRecorded { version, .. } => {
                version.blobs().into_iter().map(|(digest, _)| digest).collect()
            }
            Self::EvidenceAdded { evidence, .. } => evidence.report.into_iter().collect(),
            Self::ManifestKept { manifest, .. } => vec![*manifest],
            // Named one by one: who adds an event must say whether it names blobs, or backups would lack them.
            Self::LifecycleDefined { .. }
            | Self::BranchPolicyDefined { .. }
            | Self::EnvironmentCreated { .. }
            | Self::EnvironmentChanged { .. }
            | Self::FaultsChanged { .. }
            | Self::ServiceRegistered { .. }
            | Self::ManifestLeft { .. }
            | Self::EarlierReleasesTaken { .. }
            | Self::ServiceRemoved { .. }
            | Self::ServiceRenamed { .. }
            | Self::EnvironmentRemoved { .. }
            | Self::Approved { .. }
            | Self::StageChanged { .. }
            | Self::OperationBegun { .. }
            | Self::WavePrepared { .. }
            | Self::WaveShifted { .. }
            | Self::StepWaits { .. }
            | Self::StepAccepted { .. }
            | Self::StartMeasured { .. }
            | Self::JobBegun { .. }
            | Self::JobEnded { .. }
            | Self::ScheduleChanged { .. }
            | Self::ScheduledRunBegun { .. }
            | Self::ScheduledRunSkipped { .. }
            | Self::ScheduledRunEnded { .. }
            | Self::ResourceAwaited { .. }
            | Self::HostAwaited { .. }
            | Self::ResourceSet { .. }
            | Self::ResourceRemoved { .. }
            | Self::ResourceDataRemoved { .. }
            | Self::OperationReverting { .. }
            | Self::OperationDone { .. }
            | Self::OperationReverted { .. }
            | Self::BaselineProven { .. }
            | Self::InstanceDismissed { .. }
            | Self::HoldPlaced { .. }
            | Self::SecretRevoked { .. }
            | Self::HoldReleased { .. }
            | Self::VersionRuleAdded { .. }
            | Self::VersionRuleRemoved { .. }
            | Self::LaneBegun { .. }
            | Self::LaneEnded { .. }
            | Self::CertificateAdded { .. }
            | Self::CertificateRemoved { .. }
            | Self::CertificateRequested { .. }
            | Self::CertificateOrderProgressed { .. }
            | Self::CertificateRequestEnded { .. }
            | Self::CertificateSecretsRemoved { .. }
            | Self::VersionSaid { .. }
            | Self::WatchingSet { .. }
            | Self::WatchingRemoved { .. }
            | Self::ClockSkipped { .. }
            | Self::BuildCancelled { .. }
            | Self::StoreCollected {}
            | Self::DataRemoved { .. }
            | Self::CallersKeyRotated { .. }
            | Self::JournalAccepted { .. }
            | Self::GatewayAdded { .. }
            | Self::GatewayRemoved { .. }
            | Self::HostAdded { .. }
            | Self::HostChanged { .. }
            | Self::HostTurned { .. }
            | Self::HostRemoved { .. } => Vec::new(),
        }
    }

    /// Returns the operation it belongs to, if any.
    #[must_use]
    pub fn operation(&self) -> Option<OperationId> {
        match self {
            Self::OperationBegun { operation } => Some(operation.id),
            Self::WavePrepared { operation, .. }
            | Self::WaveShifted { operation, .. }
            | Self::StepWaits { operation, .. }
            | Self::StepAccepted { operation, .. }
            | Self::JobBegun { operation, .. }
            | Self::JobEnded { operation, .. }
            | Self::ResourceAwaited { operation, .. }
            | Self::HostAwaited { operation, .. }
            | Self::OperationReverting { operation, .. }
            | Self::OperationDone { operation, .. }
            | Self::OperationReverted { operation, .. } => Some(*operation),
            _ => None,
        }
    }
}

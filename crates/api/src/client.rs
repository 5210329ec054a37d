//! A typed client. Blocking: the command line has nothing else to do while it waits.

mod blocking;
mod hosts;
mod sending;

use std::io::{BufReader, Read};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use blocking::{Blocking, BodyReader};
use sending::Sending;

use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use hyper::{Method, Response};
use lockstep_domain::branch::BranchPolicy;
use lockstep_domain::contract::ContractKind;
use lockstep_domain::name::JobName;
use lockstep_domain::name::ResourceName;
use lockstep_domain::plan::FleetFile;
use lockstep_domain::routes::RouteTable;
use lockstep_domain::scheduled::ScheduledRun;
use lockstep_domain::{
    CertificateName, EnvironmentName, GatewayName, InstanceId, LaneName, Operation, OperationId, Recorded,
    ServiceName, VersionNumber, VersionRef, WatchingName,
};
use lockstep_reach::{Outgoing, Reach, ReachError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::problem::{ErrorCode, Problem};
use crate::types::{
    AcceptRequest, AddCertificate, AddFault, AddGateway, AddMaintenance, AddResource, AddSilence,
    AddVersionRule, AlertList, ApprovalRequest, BaselineDiff, BlameView, BuildView, CallsView,
    CertificateList, ChangeResource, ChartsView, CheckView, CollectReport, CollectRequest, CompatAnswer,
    CompatMatrix, ConfigurationView, CreateEnvironment, CreateLane, DataFolderView, DeliveryView,
    DismissRequest, EndLane, EnvironmentSummary, EnvironmentView, EventQuery, EventView, FaultList,
    GatewayAdded, GatewayIdentityView, Health, History, JournalReport, KeysView, LaneList, LaneView,
    LifecycleView, LogQuery, MaintenanceList, ManifestRequest, MirrorList, OperationAnswer, OperationRequest,
    ReadinessView, RegisterService, ReleaseRequest, RemoveData, RemoveFaults, RemoveMaintenance,
    RemoveRequest, RemoveResource, RemoveVersionRules, RemoveWatching, RenameRequest, Renaming,
    RequestCertificate, ResourceView, RevokeRequest, Revoked, RotateRequest, RuleView, RunResource,
    ScrapeToken, ServiceTraffic, ServiceView, SetRules, SetTarget, SettingsChange, SilenceView, StageRequest,
    TargetView, TestedTarget, Upload, VersionRuleList, VersionView, WaysBack,
};
use crate::{FILE_MEDIA_TYPE, PREFIX};

/// For whom is asked.
const ACTOR: HeaderName = HeaderName::from_static("lockstep-actor");
/// The largest answer that is read into memory.
const MAX_ANSWER_BYTES: u64 = 256 * 1024 * 1024;
/// Longest line of a stream of events: the same.
const MAX_EVENT_BYTES: u64 = MAX_ANSWER_BYTES;
/// How long a stream of events may be silent: the server says something every 15 seconds.
const EVENT_SILENCE: Duration = Duration::from_secs(60);

/// Why a call gave no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The server was not reached.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The system gives nothing to work with.
    #[error("the system gives no means to ask a server")]
    System(#[source] std::io::Error),
    /// The server refused or failed.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The answer is not what was expected: another program listens there, or another version.
    #[error("the answer of {server} to {path} is not understood")]
    Answer {
        /// The server.
        server: String,
        /// What was asked.
        path: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ClientError {
    /// Tells whether the same would be answered however long one waits.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Problem(_) | Self::System(_) => true,
            Self::Reach(error) => error.is_lasting(),
            Self::Answer { .. } => false,
        }
    }
}

/// Asks one server.
#[derive(Debug, Clone)]
pub struct Client {
    blocking: Arc<Blocking>,
    reach: Reach,
    actor: String,
}

type Answer<T> = Result<T, ClientError>;

impl Client {
    /// Makes a client of the server that is reached in this way. `actor` is recorded with what is changed.
    ///
    /// # Errors
    /// When the system gives no means to wait for sockets.
    pub fn new(reach: Reach, actor: &str) -> Answer<Self> {
        let blocking = Blocking::new().map_err(ClientError::System)?;
        Ok(Self { blocking: Arc::new(blocking), reach, actor: actor.to_owned() })
    }

    /// Returns the server's address.
    #[must_use]
    pub fn server(&self) -> String {
        self.reach.address().to_string()
    }

    /// Asks how the server is.
    pub fn health(&self) -> Answer<Health> {
        self.get("/health")
    }

    /// Lists services.
    pub fn services(&self) -> Answer<Vec<ServiceView>> {
        self.get("/services")
    }

    /// Returns a service.
    pub fn service(&self, service: &ServiceName) -> Answer<ServiceView> {
        self.get(&format!("/services/{service}"))
    }

    /// Registers a service.
    pub fn register(&self, request: &RegisterService) -> Answer<ServiceView> {
        self.post("/services", request)
    }

    /// Returns the manifest that is kept with a service.
    pub fn manifest(&self, service: &ServiceName) -> Answer<Vec<u8>> {
        self.bytes(&format!("/services/{service}/manifest"))
    }

    /// Keeps a manifest with a service, or lets that of its repository count again.
    pub fn keep_manifest(&self, service: &ServiceName, request: &ManifestRequest) -> Answer<ServiceView> {
        self.post(&format!("/services/{service}/manifest"), request)
    }

    /// Returns a version.
    pub fn version(&self, version: &VersionRef) -> Answer<VersionView> {
        self.get(&version_path(version))
    }

    /// Returns a document of a version.
    pub fn document(&self, version: &VersionRef, kind: &str) -> Answer<Vec<u8>> {
        self.bytes(&format!("{}/documents/{}", version_path(version), encode(kind)))
    }

    /// Returns the snapshot of a contract of a version.
    pub fn contract(&self, version: &VersionRef, kind: ContractKind, name: Option<&str>) -> Answer<Vec<u8>> {
        let name = name.map(|name| format!("?name={}", encode(name))).unwrap_or_default();
        self.bytes(&format!("{}/contracts/{kind}{name}", version_path(version)))
    }

    /// Judges the versions of two services with each other.
    pub fn compat(&self, one: &ServiceName, other: &ServiceName) -> Answer<Vec<CompatMatrix>> {
        self.get(&format!("/services/{one}/compat/{other}"))
    }

    /// Asks whether a version works with what an environment runs.
    pub fn can_deploy(&self, environment: &EnvironmentName, version: &VersionRef) -> Answer<CompatAnswer> {
        let VersionRef { service, version } = version;
        self.get(&format!("/environments/{environment}/can-deploy/{service}/{version}"))
    }

    /// Asks whether an earlier version can come back to an environment.
    pub fn can_roll_back(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
        to: Option<&VersionNumber>,
    ) -> Answer<CompatAnswer> {
        let to = to.map(|version| format!("?to={}", encode(&version.to_string()))).unwrap_or_default();
        self.get(&format!("/environments/{environment}/can-roll-back/{service}{to}"))
    }

    /// Lists what became of the last times of a job's schedule, the newest first.
    pub fn scheduled_runs(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
        job: &JobName,
    ) -> Answer<Vec<ScheduledRun>> {
        self.get(&format!("/environments/{environment}/jobs/{service}/{job}/runs"))
    }

    /// Lists the certificates of an environment.
    pub fn certificates(&self, environment: &EnvironmentName) -> Answer<CertificateList> {
        self.get(&format!("/environments/{environment}/certificates"))
    }

    /// Shows a certificate to clients of an environment.
    pub fn add_certificate(
        &self,
        environment: &EnvironmentName,
        request: &AddCertificate,
    ) -> Answer<CertificateList> {
        self.post(&format!("/environments/{environment}/certificates"), request)
    }

    /// Gets a certificate from an authority by ACME, and renews it from now on.
    pub fn request_certificate(
        &self,
        environment: &EnvironmentName,
        request: &RequestCertificate,
    ) -> Answer<CertificateList> {
        self.post(&format!("/environments/{environment}/certificates/request"), request)
    }

    /// Renews a certificate that renews itself now.
    pub fn renew_certificate(
        &self,
        environment: &EnvironmentName,
        name: &CertificateName,
    ) -> Answer<CertificateList> {
        let nothing = serde_json::Map::new();
        self.post(&format!("/environments/{environment}/certificates/{name}/renew"), &nothing)
    }

    /// Shows another certificate in place of one.
    pub fn replace_certificate(
        &self,
        environment: &EnvironmentName,
        name: &CertificateName,
        request: &AddCertificate,
    ) -> Answer<CertificateList> {
        self.post(&format!("/environments/{environment}/certificates/{name}/replace"), request)
    }

    /// Shows a certificate no more.
    pub fn remove_certificate(
        &self,
        environment: &EnvironmentName,
        name: &CertificateName,
    ) -> Answer<CertificateList> {
        let nothing = serde_json::Map::new();
        self.post(&format!("/environments/{environment}/certificates/{name}/remove"), &nothing)
    }

    /// Asks what gateways counted of a service lately.
    pub fn traffic(&self, environment: &EnvironmentName, service: &ServiceName) -> Answer<ServiceTraffic> {
        self.get(&format!("/environments/{environment}/traffic/{service}"))
    }

    /// Moves a version to a stage.
    pub fn stage(&self, version: &VersionRef, request: &StageRequest) -> Answer<VersionView> {
        self.post(&format!("{}/stage", version_path(version)), request)
    }

    /// Approves a version for a stage.
    pub fn approve(&self, version: &VersionRef, request: &ApprovalRequest) -> Answer<VersionView> {
        self.post(&format!("{}/approvals", version_path(version)), request)
    }

    /// Starts a release.
    pub fn release(&self, service: &ServiceName, request: &ReleaseRequest) -> Answer<BuildView> {
        self.post(&format!("/services/{service}/releases"), request)
    }

    /// Sends a file of so many bytes. It is read as it is sent; when there is less of it, nothing has arrived.
    pub fn upload(&self, file: impl Read + Send + 'static, bytes: u64) -> Answer<Upload> {
        let path = "/uploads";
        let fields = [(CONTENT_TYPE, FILE_MEDIA_TYPE), (ACTOR, self.actor.as_str())];
        let body = self.send_with(Method::POST, path, &fields, Sending::of(file, bytes))?;
        self.json(path, &self.whole(path, body)?)
    }

    /// Lists builds, newest first.
    pub fn builds(&self) -> Answer<Vec<BuildView>> {
        self.get("/builds")
    }

    /// Returns a build.
    pub fn build(&self, id: &str) -> Answer<BuildView> {
        self.get(&format!("/builds/{}", encode(id)))
    }

    /// Ends a build.
    pub fn cancel_build(&self, id: &str) -> Answer<BuildView> {
        self.post(&format!("/builds/{}/cancel", encode(id)), &serde_json::json!({}))
    }

    /// Follows a build: every change of its view, until it is over.
    pub fn watch_build(&self, id: &str, mut each: impl FnMut(BuildView)) -> Answer<()> {
        self.events(&format!("/builds/{}/events", encode(id)), |view| {
            each(view);
            ControlFlow::Continue(())
        })
    }

    /// Returns the log of a build as a stream; with `follow` it ends when the build does.
    pub fn build_log(&self, id: &str, follow: Follow) -> Answer<impl Read + use<>> {
        self.stream(&format!("/builds/{}/log?follow={}", encode(id), follow == Follow::Yes))
    }

    /// Returns the log of an instance as a stream.
    pub fn instance_log(
        &self,
        environment: &EnvironmentName,
        instance: &InstanceId,
        follow: Follow,
    ) -> Answer<impl Read + use<>> {
        let follow = follow == Follow::Yes;
        self.stream(&format!("/environments/{environment}/instances/{instance}/log?follow={follow}"))
    }

    /// Returns lines of the logs of many instances as a stream of [`LogEntry`](crate::types::LogEntry), one a line.
    pub fn logs(&self, environment: &EnvironmentName, query: &LogQuery) -> Answer<impl Read + use<>> {
        let text = |text: &Option<String>| text.as_deref().map(encode);
        let given = [
            ("service", query.service.as_ref().map(ToString::to_string)),
            ("version", query.version.as_ref().map(|version| encode(&version.to_string()))),
            ("within_ms", query.within_ms.map(|ms| ms.to_string())),
            ("contains", text(&query.contains)),
            ("trace", text(&query.trace)),
            ("newest", query.newest.map(|newest| newest.to_string())),
        ];
        let given = given.into_iter().filter_map(|(name, value)| Some(format!("&{name}={}", value?)));
        let given: String = given.collect();
        self.stream(&format!("/environments/{environment}/logs?follow={}{given}", query.follow))
    }

    /// Lists environments.
    pub fn environments(&self) -> Answer<Vec<EnvironmentSummary>> {
        self.get("/environments")
    }

    /// Creates an environment.
    pub fn create_environment(&self, request: &CreateEnvironment) -> Answer<EnvironmentView> {
        self.post("/environments", request)
    }

    /// Changes settings of an environment.
    pub fn change_environment(
        &self,
        environment: &EnvironmentName,
        change: &SettingsChange,
    ) -> Answer<EnvironmentView> {
        self.post(&format!("/environments/{environment}/settings"), change)
    }

    /// Returns an environment with everything seen of it.
    pub fn environment(&self, environment: &EnvironmentName) -> Answer<EnvironmentView> {
        self.get(&format!("/environments/{environment}"))
    }

    /// Returns what an environment or one of its services can go back to.
    pub fn ways_back(
        &self,
        environment: &EnvironmentName,
        service: Option<&ServiceName>,
    ) -> Answer<WaysBack> {
        let query = service.map(|service| format!("?service={service}")).unwrap_or_default();
        self.get(&format!("/environments/{environment}/ways-back{query}"))
    }

    /// Asks where an environment and its services can go back to now.
    pub fn readiness(
        &self,
        environment: &EnvironmentName,
        service: Option<&ServiceName>,
    ) -> Answer<ReadinessView> {
        let query = service.map(|service| format!("?service={service}")).unwrap_or_default();
        self.get(&format!("/environments/{environment}/readiness{query}"))
    }

    /// Asks what instances called while a baseline was current; the current one when none is named.
    pub fn calls(&self, environment: &EnvironmentName, baseline: Option<u64>) -> Answer<CallsView> {
        let query = baseline.map(|number| format!("?baseline={number}")).unwrap_or_default();
        self.get(&format!("/environments/{environment}/calls{query}"))
    }

    /// Follows where an environment can go back to: the present view, and each that is another, until `each` wants no more.
    pub fn watch_readiness(
        &self,
        environment: &EnvironmentName,
        each: impl FnMut(ReadinessView) -> ControlFlow<()>,
    ) -> Answer<()> {
        self.events(&format!("/environments/{environment}/readiness/events"), each)
    }

    /// Returns an environment as a fleet in a file.
    pub fn fleet(&self, environment: &EnvironmentName) -> Answer<FleetFile> {
        self.get(&format!("/environments/{environment}/fleet"))
    }

    /// Removes an environment; returns those that are left.
    pub fn remove_environment(
        &self,
        environment: &EnvironmentName,
        request: &RemoveRequest,
    ) -> Answer<Vec<EnvironmentSummary>> {
        self.post(&format!("/environments/{environment}/remove"), request)
    }

    /// Removes a service; returns those that are left.
    pub fn remove_service(&self, service: &ServiceName, request: &RemoveRequest) -> Answer<Vec<ServiceView>> {
        self.post(&format!("/services/{service}/remove"), request)
    }

    /// Gives a service another name, or says what that would take along.
    pub fn rename_service(&self, service: &ServiceName, request: &RenameRequest) -> Answer<Renaming> {
        self.post(&format!("/services/{service}/rename"), request)
    }

    /// Revokes secrets of a variable.
    pub fn revoke(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
        request: &RevokeRequest,
    ) -> Answer<Revoked> {
        self.post(&format!("/environments/{environment}/configurations/{service}/revocations"), request)
    }

    /// Returns the history of an environment.
    pub fn history(&self, environment: &EnvironmentName) -> Answer<History> {
        self.get(&format!("/environments/{environment}/history"))
    }

    /// Compares two baselines.
    pub fn diff(&self, environment: &EnvironmentName, from: u64, to: u64) -> Answer<BaselineDiff> {
        self.get(&format!("/environments/{environment}/diff?from={from}&to={to}"))
    }

    /// Returns the configurations of a service.
    pub fn configuration(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
    ) -> Answer<ConfigurationView> {
        self.get(&format!("/environments/{environment}/configurations/{service}"))
    }

    /// Returns the route table of an environment.
    pub fn routes(&self, environment: &EnvironmentName) -> Answer<RouteTable> {
        // A server that has just begun publishes its first tables in a moment.
        self.get(&format!("/environments/{environment}/routes?wait_ms=5000"))
    }

    /// Lists gateways of their own.
    pub fn gateways(&self) -> Answer<Vec<GatewayIdentityView>> {
        self.get("/gateways")
    }

    /// Adds a gateway of its own.
    pub fn add_gateway(&self, request: &AddGateway) -> Answer<GatewayAdded> {
        self.post("/gateways", request)
    }

    /// Makes the key of a gateway invalid.
    pub fn remove_gateway(&self, gateway: &GatewayName) -> Answer<Vec<GatewayIdentityView>> {
        self.post(&format!("/gateways/{gateway}/remove"), &serde_json::json!({}))
    }

    /// Plans an intent or carries it out.
    pub fn operate(
        &self,
        environment: &EnvironmentName,
        request: &OperationRequest,
    ) -> Answer<OperationAnswer> {
        self.post(&format!("/environments/{environment}/operations"), request)
    }

    /// Returns the route table as it would be once an intent were carried out.
    pub fn routes_after(
        &self,
        environment: &EnvironmentName,
        request: &OperationRequest,
    ) -> Answer<RouteTable> {
        self.post(&format!("/environments/{environment}/routes/planned"), request)
    }

    /// Releases a hold.
    pub fn release_hold(
        &self,
        environment: &EnvironmentName,
        version: &VersionRef,
    ) -> Answer<EnvironmentView> {
        let (service, version) = (&version.service, &version.version);
        self.post(
            &format!("/environments/{environment}/holds/{service}/{version}/release"),
            &serde_json::json!({}),
        )
    }

    /// Ends an instance.
    pub fn stop_instance(
        &self,
        environment: &EnvironmentName,
        instance: &InstanceId,
        request: &DismissRequest,
    ) -> Answer<EnvironmentView> {
        self.post(&format!("/environments/{environment}/instances/{instance}/stop"), request)
    }

    /// Returns an operation.
    pub fn operation(&self, id: OperationId) -> Answer<Operation> {
        self.get(&format!("/operations/{id}"))
    }

    /// Lets the step go on that an operation waits at.
    pub fn accept(&self, id: OperationId, request: &AcceptRequest) -> Answer<Operation> {
        self.post(&format!("/operations/{id}/accept"), request)
    }

    /// Lists operations of all environments, newest first.
    pub fn operations(&self) -> Answer<Vec<Operation>> {
        self.get("/operations")
    }

    /// Follows an operation: all its events from the first, until it is over or `each` wants no more.
    pub fn watch_operation(
        &self,
        id: OperationId,
        each: impl FnMut(Recorded) -> ControlFlow<()>,
    ) -> Answer<()> {
        self.events(&format!("/operations/{id}/events"), each)
    }

    /// Lists whom alerts are told.
    pub fn targets(&self) -> Answer<Vec<TargetView>> {
        self.get("/notify/targets")
    }

    /// Sets whom alerts are told.
    pub fn set_target(&self, request: &SetTarget) -> Answer<TargetView> {
        self.post("/notify/targets", request)
    }

    /// Tells a target no more.
    pub fn remove_target(&self, name: &WatchingName, request: &RemoveWatching) -> Answer<Vec<TargetView>> {
        self.post(&format!("/notify/targets/{name}/remove"), request)
    }

    /// Sends a notice to a target to see whether it arrives.
    pub fn test_target(&self, name: &WatchingName) -> Answer<TestedTarget> {
        self.post(&format!("/notify/targets/{name}/test"), &serde_json::json!({}))
    }

    /// Lists alerts that are not told for a while.
    pub fn silences(&self) -> Answer<Vec<SilenceView>> {
        self.get("/silences")
    }

    /// Tells certain alerts to nobody for a while.
    pub fn add_silence(&self, request: &AddSilence) -> Answer<Vec<SilenceView>> {
        self.post("/silences", request)
    }

    /// Ends a silence.
    pub fn end_silence(&self, name: &WatchingName, request: &RemoveWatching) -> Answer<Vec<SilenceView>> {
        self.post(&format!("/silences/{name}/end"), request)
    }

    /// Shows what is wrong, in all environments or in one.
    pub fn alerts(&self, environment: Option<&EnvironmentName>) -> Answer<AlertList> {
        let of = environment.map(|name| format!("?environment={name}")).unwrap_or_default();
        self.get(&format!("/alerts{of}"))
    }

    /// Lists the rules that say when something is wrong.
    pub fn rules(&self) -> Answer<Vec<RuleView>> {
        self.get("/rules")
    }

    /// Sets rules, all of them or none.
    pub fn set_rules(&self, request: &SetRules) -> Answer<Vec<RuleView>> {
        self.post("/rules", request)
    }

    /// Removes a rule that somebody set.
    pub fn remove_rule(&self, name: &WatchingName, request: &RemoveWatching) -> Answer<Vec<RuleView>> {
        self.post(&format!("/rules/{name}/remove"), request)
    }

    /// Lists the checks that gateways make by themselves, with what each found.
    pub fn checks(&self, environment: &EnvironmentName) -> Answer<Vec<CheckView>> {
        self.get(&format!("/environments/{environment}/checks"))
    }

    /// Returns curves of figures of a service, of one figure or of all.
    pub fn charts(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
        figure: Option<&str>,
        within_ms: u64,
        points: usize,
    ) -> Answer<ChartsView> {
        let figure = figure.map(|name| format!("&figure={name}")).unwrap_or_default();
        let query = format!("within_ms={within_ms}&points={points}{figure}");
        self.get(&format!("/environments/{environment}/charts/{service}?{query}"))
    }

    /// Returns DORA's figures of an environment, of one service or of all.
    pub fn delivery(
        &self,
        environment: &EnvironmentName,
        service: Option<&ServiceName>,
        within_ms: u64,
    ) -> Answer<DeliveryView> {
        let of = service.map(|name| format!("&service={name}")).unwrap_or_default();
        self.get(&format!("/environments/{environment}/delivery?within_ms={within_ms}{of}"))
    }

    /// Ranks what changed before a fault of a service.
    pub fn blame(
        &self,
        environment: &EnvironmentName,
        service: &ServiceName,
        within_ms: Option<u64>,
    ) -> Answer<BlameView> {
        let within = within_ms.map(|ms| format!("?within_ms={ms}")).unwrap_or_default();
        self.get(&format!("/environments/{environment}/blame/{service}{within}"))
    }

    /// Lists what happened, the oldest first.
    pub fn past_events(&self, query: &EventQuery) -> Answer<Vec<EventView>> {
        self.get(&format!("/events{query}"))
    }

    /// Follows what happened and happens, until the server ends or `each` wants no more.
    pub fn follow_events(
        &self,
        query: &EventQuery,
        each: impl FnMut(EventView) -> ControlFlow<()>,
    ) -> Answer<()> {
        self.events(&format!("/events/live{query}"), each)
    }

    /// Checks the journal.
    pub fn verify_journal(&self) -> Answer<JournalReport> {
        self.get("/journal/verify")
    }

    /// Returns the journal as JSON lines.
    pub fn export_journal(&self) -> Answer<impl Read + use<>> {
        self.stream("/journal/export")
    }

    /// Collects unused blobs.
    pub fn collect(&self, request: &CollectRequest) -> Answer<CollectReport> {
        self.post("/store/collect", request)
    }

    /// Returns what is measured, in the text format of Prometheus.
    pub fn metrics(&self) -> Answer<Vec<u8>> {
        self.bytes("/metrics")
    }

    /// Returns the token that is good for reading metrics and for nothing else.
    pub fn scrape_token(&self) -> Answer<ScrapeToken> {
        self.get("/scrape-token")
    }

    /// Says which keys there are.
    pub fn keys(&self) -> Answer<KeysView> {
        self.get("/keys")
    }

    /// Exchanges the key of callers.
    pub fn rotate_callers(&self, request: &RotateRequest) -> Answer<KeysView> {
        self.post("/keys/callers/rotate", request)
    }

    /// Lists data folders of services.
    pub fn data(&self, environment: Option<&EnvironmentName>) -> Answer<Vec<DataFolderView>> {
        let of = environment.map(|name| format!("?environment={name}")).unwrap_or_default();
        self.get(&format!("/data{of}"))
    }

    /// Lists the rules that give certain requests a version of their own.
    pub fn version_rules(&self, environment: &EnvironmentName) -> Answer<VersionRuleList> {
        self.get(&format!("/environments/{environment}/version-rules"))
    }

    /// Lists the lanes of an environment.
    pub fn lanes(&self, environment: &EnvironmentName) -> Answer<LaneList> {
        self.get(&format!("/environments/{environment}/lanes"))
    }

    /// Shows a lane that is in force.
    pub fn lane(&self, environment: &EnvironmentName, lane: &LaneName) -> Answer<LaneView> {
        self.get(&format!("/environments/{environment}/lanes/{lane}"))
    }

    /// Begins a lane.
    pub fn create_lane(&self, environment: &EnvironmentName, request: &CreateLane) -> Answer<LaneView> {
        self.post(&format!("/environments/{environment}/lanes"), request)
    }

    /// Ends a lane before its time.
    pub fn end_lane(
        &self,
        environment: &EnvironmentName,
        lane: &LaneName,
        request: &EndLane,
    ) -> Answer<LaneList> {
        self.post(&format!("/environments/{environment}/lanes/{lane}/end"), request)
    }

    /// Lists what is maintained.
    pub fn maintenance(&self, environment: &EnvironmentName) -> Answer<MaintenanceList> {
        self.get(&format!("/environments/{environment}/maintenance"))
    }

    /// Gives clients an answer instead of a service or a version.
    pub fn add_maintenance(
        &self,
        environment: &EnvironmentName,
        request: &AddMaintenance,
    ) -> Answer<MaintenanceList> {
        self.post(&format!("/environments/{environment}/maintenance"), request)
    }

    /// Ends maintenance, all that is named or none.
    pub fn remove_maintenance(
        &self,
        environment: &EnvironmentName,
        request: &RemoveMaintenance,
    ) -> Answer<MaintenanceList> {
        self.post(&format!("/environments/{environment}/maintenance/remove"), request)
    }

    /// Lists the faults that requests meet on purpose.
    pub fn faults(&self, environment: &EnvironmentName) -> Answer<FaultList> {
        self.get(&format!("/environments/{environment}/faults"))
    }

    /// Injects a fault for some time.
    pub fn add_fault(&self, environment: &EnvironmentName, request: &AddFault) -> Answer<FaultList> {
        self.post(&format!("/environments/{environment}/faults"), request)
    }

    /// Ends faults, all that are named or none.
    pub fn remove_faults(&self, environment: &EnvironmentName, request: &RemoveFaults) -> Answer<FaultList> {
        self.post(&format!("/environments/{environment}/faults/remove"), request)
    }

    /// Lists the versions that get copies of requests, and what was found by them.
    pub fn mirrors(&self, environment: &EnvironmentName) -> Answer<MirrorList> {
        self.get(&format!("/environments/{environment}/mirrors"))
    }

    /// Gives certain requests of a service a version of their own.
    pub fn add_version_rule(
        &self,
        environment: &EnvironmentName,
        request: &AddVersionRule,
    ) -> Answer<VersionRuleList> {
        self.post(&format!("/environments/{environment}/version-rules"), request)
    }

    /// Removes rules, all that are named or none.
    pub fn remove_version_rules(
        &self,
        environment: &EnvironmentName,
        request: &RemoveVersionRules,
    ) -> Answer<VersionRuleList> {
        self.post(&format!("/environments/{environment}/version-rules/remove"), request)
    }

    /// Lists the resources of an environment.
    pub fn resources(&self, environment: &EnvironmentName) -> Answer<Vec<ResourceView>> {
        self.get(&format!("/environments/{environment}/resources"))
    }

    /// Returns a resource.
    pub fn resource(&self, environment: &EnvironmentName, resource: &ResourceName) -> Answer<ResourceView> {
        self.get(&format!("/environments/{environment}/resources/{resource}"))
    }

    /// Says where a resource is that somebody else runs.
    pub fn add_resource(&self, environment: &EnvironmentName, request: &AddResource) -> Answer<ResourceView> {
        self.post(&format!("/environments/{environment}/resources"), request)
    }

    /// Lets Lockstep run a resource.
    pub fn run_resource(&self, environment: &EnvironmentName, request: &RunResource) -> Answer<ResourceView> {
        self.post(&format!("/environments/{environment}/resources/run"), request)
    }

    /// Changes the address of a resource.
    pub fn change_resource(
        &self,
        environment: &EnvironmentName,
        resource: &ResourceName,
        request: &ChangeResource,
    ) -> Answer<ResourceView> {
        self.post(&format!("/environments/{environment}/resources/{resource}"), request)
    }

    /// Removes a resource; returns those that are left.
    pub fn remove_resource(
        &self,
        environment: &EnvironmentName,
        resource: &ResourceName,
        request: &RemoveResource,
    ) -> Answer<Vec<ResourceView>> {
        self.post(&format!("/environments/{environment}/resources/{resource}/remove"), request)
    }

    /// Removes a data folder that nothing declares any more.
    pub fn remove_data(&self, request: &RemoveData) -> Answer<Vec<DataFolderView>> {
        self.post("/data/remove", request)
    }

    /// Lists lifecycles.
    pub fn lifecycles(&self) -> Answer<Vec<LifecycleView>> {
        self.get("/lifecycles")
    }

    /// Defines a lifecycle.
    pub fn define_lifecycle(&self, lifecycle: &LifecycleView) -> Answer<LifecycleView> {
        self.post("/lifecycles", lifecycle)
    }

    /// Shows which branches may cut which versions.
    pub fn branch_policy(&self) -> Answer<BranchPolicy> {
        self.get("/branches")
    }

    /// Defines which branches may cut which versions.
    pub fn define_branch_policy(&self, policy: &BranchPolicy) -> Answer<BranchPolicy> {
        self.post("/branches", policy)
    }

    /// Returns the OpenAPI document.
    pub fn openapi(&self) -> Answer<serde_json::Value> {
        self.get("/openapi.json")
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        let body = self.send_get(path, "application/json")?;
        self.json(path, &self.whole(path, body)?)
    }

    fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Answer<T> {
        let body = serde_json::to_vec(body).map_err(|source| self.answer(path, source))?;
        let fields = [(CONTENT_TYPE, "application/json"), (ACTOR, &self.actor)];
        let body = self.send(Method::POST, path, &fields, body)?;
        self.json(path, &self.whole(path, body)?)
    }

    fn bytes(&self, path: &str) -> Answer<Vec<u8>> {
        let body = self.send_get(path, "*/*")?;
        self.whole(path, body)
    }

    fn stream(&self, path: &str) -> Answer<impl Read + use<>> {
        self.send_get(path, "*/*")
    }

    fn send_get(&self, path: &str, accept: &str) -> Answer<BodyReader> {
        self.send(Method::GET, path, &[(ACCEPT, accept)], Vec::new())
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        fields: &[(HeaderName, &str)],
        body: Vec<u8>,
    ) -> Answer<BodyReader> {
        let whole_path = format!("{PREFIX}{path}");
        let response = self.blocking.run(self.reach.ask(method, &whole_path, fields, body.into()))?;
        self.answered(path, response)
    }

    fn send_with(
        &self,
        method: Method,
        path: &str,
        fields: &[(HeaderName, &str)],
        body: Sending,
    ) -> Answer<BodyReader> {
        let whole_path = format!("{PREFIX}{path}");
        let asked = self.reach.ask_with(method, &whole_path, fields, Outgoing::new(body));
        let response = self.blocking.run(asked)?;
        self.answered(path, response)
    }

    fn answered(&self, path: &str, response: Response<Incoming>) -> Answer<BodyReader> {
        let status = response.status();
        let body = BodyReader::new(Arc::clone(&self.blocking), response.into_body());
        if status.is_success() { Ok(body) } else { Err(self.refusal(path, status.as_u16(), body)) }
    }

    /// Reads why the server refused; another program that answers there is asked for its reason as well.
    fn refusal(&self, path: &str, status: u16, body: BodyReader) -> ClientError {
        let bytes = match self.whole(path, body) {
            Ok(bytes) => bytes,
            Err(error) => return error,
        };
        if let Ok(problem) = serde_json::from_slice(&bytes) {
            return ClientError::Problem(Box::new(problem));
        }
        if status == ErrorCode::TooLarge.status() {
            let detail =
                format!("what stands before {} lets nothing so large through to {path}", self.server());
            let hint = "raise its bound, as client_max_body_size of nginx: docs/guides/operations.md#tls-and-clients-on-other-hosts";
            return ClientError::Problem(Box::new(Problem::new(ErrorCode::TooLarge, detail).with_hint(hint)));
        }
        self.reach.explain(status, &bytes).map_or_else(
            || {
                let detail = format!("{} answered {status} to {path}", self.server());
                ClientError::Problem(Box::new(Problem::new(ErrorCode::Internal, detail)))
            },
            ClientError::from,
        )
    }

    /// Reads a body to its end.
    fn whole(&self, path: &str, body: BodyReader) -> Answer<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = body.take(MAX_ANSWER_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|source| self.reach.broke_off(source))?;
        if bytes.len() as u64 > MAX_ANSWER_BYTES {
            return Err(self.answer(path, std::io::Error::other("it is larger than 256 MiB")));
        }
        Ok(bytes)
    }

    fn json<T: DeserializeOwned>(&self, path: &str, bytes: &[u8]) -> Answer<T> {
        serde_json::from_slice(bytes).map_err(|source| self.answer(path, source))
    }

    /// Reads server-sent events; each one's data is one JSON text. Ends when the server ends the stream, or `each` wants no more.
    fn events<T: DeserializeOwned>(
        &self,
        path: &str,
        mut each: impl FnMut(T) -> ControlFlow<()>,
    ) -> Answer<()> {
        let body = self.send_get(path, "text/event-stream")?.silent_at_most(EVENT_SILENCE);
        let mut reader = BufReader::new(body);
        let mut data = String::new();
        while let Some(line) =
            blocking::line(&mut reader, MAX_EVENT_BYTES).map_err(|source| self.answer(path, source))?
        {
            if let Some(more) = line.strip_prefix("data:") {
                data.push_str(more.trim_start());
            } else if line.is_empty() && !data.is_empty() {
                let event = serde_json::from_str(&data).map_err(|source| self.answer(path, source))?;
                data.clear();
                if each(event).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn answer(&self, path: &str, source: impl std::error::Error + Send + Sync + 'static) -> ClientError {
        ClientError::Answer { server: self.server(), path: path.to_owned(), source: Box::new(source) }
    }
}

/// Whether a log is followed until what writes it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// It is.
    Yes,
    /// What is there is enough.
    No,
}

fn version_path(version: &VersionRef) -> String {
    format!("/services/{}/versions/{}", version.service, version.version)
}

/// Percent-encodes a path segment.
fn encode(segment: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    segment.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_encoded() {
        assert_eq!(encode("a/b c.d"), "a%2Fb%20c.d");
    }
}

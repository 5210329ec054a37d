//! Environments, with what is seen of them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use lockstep_domain::clients_at::ClientsAt;
use lockstep_domain::environment::{EnvironmentSettings, Hold};
use lockstep_domain::gateway_rules::{NamedServices, Network, ViaField};
use lockstep_domain::injection::FaultInjection;
use lockstep_domain::instance_ports::InstancePorts;
use lockstep_domain::intent::Step;
use lockstep_domain::lane::{Lane, LanesAccept};
use lockstep_domain::limits::Held;
use lockstep_domain::lost_host::{EvacuateAfter, HostLost};
use lockstep_domain::name::ProcessName;
use lockstep_domain::request_path::{EscapedSlashes, PathForm, PathParameters};
use lockstep_domain::routes::ArmTraffic;
use lockstep_domain::start::StartOutlook;
use lockstep_domain::version_rules::VersionRule;
use lockstep_domain::watch::AnswerChecks;
use lockstep_domain::work::Told;
use lockstep_domain::{
    Arm, BaselineEntry, CallAddress, EnvironmentName, Instance, InstanceId, Operation, OperationId,
    ServiceName, StageName, Strategy, Timestamp, VersionNumber, VersionRef,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::certificates::{EntryChange, EntryView};
use super::data::DataFolderView;
use super::databases::DatabaseView;
use super::externals::ExternalStatus;
use super::gateways::GatewayView;
use super::resources::ResourceView;
use super::schedules::ScheduleView;

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
    /// Which versions are taken in lanes: `deployed` for those that are taken when they are deployed, or those from a stage on as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lanes_accept: Option<LanesAccept>,
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
    /// Where the ports of instances that start from now on are taken from: `server`, or a range such as `21000-21999`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_ports: Option<InstancePorts>,
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
    /// Whether faults can be injected; refusing ends all there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault_injection: Option<FaultInjection>,
    /// Whether services see the gateway in `via`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<ViaField>,
    /// How paths are written when they are sent on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_form: Option<PathForm>,
    /// What becomes of slashes that a path has encoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escaped_slashes: Option<EscapedSlashes>,
    /// What becomes of parameters of the parts of a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_parameters: Option<PathParameters>,
    /// Whether answers of versions on trial are compared with their contracts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_checks: Option<AnswerChecks>,
    /// How long a baseline has to be current without an alarm before it is proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_ms: Option<u64>,
    /// How many requests it has to answer in that time; 0 lets time alone decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_requests: Option<u64>,
    /// What an operation does when a host fails before its switch and no other can take its instances: `go-back`, `wait` or `go-on`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_lost: Option<HostLost>,
    /// After how long what runs on a host that is not reached is moved by itself: `never`, or milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evacuate_after: Option<EvacuateAfter>,
    /// Which gateways listen for clients from outside: `server`, or `hosts:` with the labels of hosts whose gateways do as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients_at: Option<ClientsAt>,
    /// How clients come in.
    #[serde(default, skip_serializing_if = "EntryChange::is_nothing")]
    pub entry: EntryChange,
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

/// An instance that listens for more than its machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExposedInstance {
    /// Which.
    pub instance: InstanceId,
    /// Where it listens so.
    pub addresses: Vec<SocketAddr>,
}

/// How instances of a version are held to their limits, and whom they run as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitedArm {
    /// Which.
    pub arm: Arm,
    /// Whom they run as, where that is not the user of the server, or their manifest says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How.
    #[serde(flatten)]
    pub held: Held,
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
    /// Where clients come in by https, and what is wrong there.
    #[serde(default, skip_serializing_if = "EntryView::is_nothing")]
    pub entry: EntryView,
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
    /// Databases and the like that services there work with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ResourceView>,
    /// Rules that give certain requests a version of their own, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub version_rules: Vec<VersionRule>,
    /// Lanes, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<Lane>,
    /// Versions that nothing brings here by itself.
    pub holds: Vec<HeldVersion>,
    /// Gateways that serve it.
    pub gateways: Vec<GatewayView>,
    /// Data folders of services there, without sizes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<DataFolderView>,
    /// The schedules that are followed there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<ScheduleView>,
    /// Databases whose migrations are part of what is deployed there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<DatabaseView>,
    /// Instances that listen for more than their machine: whoever reaches it can call them past the gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<ExposedInstance>,
    /// How versions are held to their limits, what of them is not held on this host, and whom they run as.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitedArm>,
    /// What the host of the server does not keep a service or build from, because of its kernel; empty where it keeps all apart.
    #[serde(default)]
    pub unprotected: Vec<String>,
}

/// A service in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStatus {
    /// Its name.
    pub service: ServiceName,
    /// What the current baseline says.
    pub entry: Option<BaselineEntry>,
    /// How many instances of its main process are wanted.
    pub replicas: u32,
    /// Its processes, where they have names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<ProcessStatus>,
    /// Its instances, whatever version.
    pub instances: Vec<Instance>,
    /// The split of its requests, with what was counted.
    pub arms: Vec<ArmStatus>,
    /// Where it can go back to by a change of routes alone.
    pub warm: Vec<WarmArm>,
    /// What it can go back to by a start, with what is known of that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepared: Vec<PreparedArm>,
    /// What its workers say of their work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub work: Vec<InstanceWork>,
    /// Where it is and which version, where somebody else runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalStatus>,
}

/// A version with workers that is kept unpacked and checked on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreparedArm {
    /// Which version, with which configuration it ran.
    pub arm: Arm,
    /// Until when it is kept so, by the clock of the server.
    pub until: Timestamp,
    /// How long that is from now, in milliseconds: the clock of the server need not be that of who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// Why it cannot be gone back to although it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// How it starts.
    pub start: StartOutlook,
}

/// What an instance of a worker has said of its work since it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceWork {
    /// Which instance.
    pub instance: InstanceId,
    /// What it has said.
    pub told: Told,
}

/// A process of what is live of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessStatus {
    /// Its name; the arm of an instance names it where it is not the main one.
    pub process: ProcessName,
    /// Whether requests go to it.
    pub is_main: bool,
    /// How many instances of it are wanted.
    pub replicas: u32,
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
    /// Until when, by the clock of the server.
    pub until: Timestamp,
    /// How long that is from now, in milliseconds: the clock of the server need not be that of who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
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

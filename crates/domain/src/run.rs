//! How a version is run: command, port, environment, health check, stop and restart. Data only; drivers carry it out.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::approach::Approach;
use crate::external::External;
use crate::host_wish::HostWish;
use crate::image_run::ImageRun;
use crate::intent::Configuration;
use crate::limits::Limits;
use crate::preparation::Preparation;
use crate::protocol::Protocol;
use crate::reference::{Reader, Reference, has_references, references};
use crate::routes::service_policy::ServicePolicy;
use crate::static_files::StaticFiles;
use crate::work::WorkSigns;
use crate::work_path::WorkPath;

/// Largest file that is filled in at start: configuration is written by people.
pub const MAX_FILLED_BYTES: u64 = 1024 * 1024;

/// Everything a driver must know to run one instance of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// What kind of a service it is.
    #[serde(default, skip_serializing_if = "Kind::is_web")]
    pub kind: Kind,
    /// Program and arguments, run without a shell, in the working folder of the instance; a program with a slash is one
    /// of the artifact.
    pub command: Vec<String>,
    /// What runs before each start of the process, and has to end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<Preparation>,
    /// Environment variables of the version itself; configuration of the environment overrides them.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// The port the instance listens on; a worker has none, whatever stands here.
    #[serde(default)]
    pub port: Port,
    /// How to know that an instance can serve.
    pub health: HealthCheck,
    /// How to end an instance.
    #[serde(default)]
    pub stop: Stop,
    /// What to do when the process ends by itself.
    #[serde(default)]
    pub restart: Restart,
    /// Folders that the service keeps over its versions, one of each in an environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<WorkPath>,
    /// Files of the artifact whose references are filled in at start, in the working folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<WorkPath>,
    /// Whether `command`, `variables` and the command of the health check have references that are filled in at start.
    #[serde(default, skip_serializing_if = "Values::is_verbatim")]
    pub values: Values,
    /// Which instances come first when a version takes over.
    #[serde(default, skip_serializing_if = "Replace::is_usual")]
    pub replace: Replace,
    /// What to do with an instance that runs and stays unhealthy.
    #[serde(default, skip_serializing_if = "ReplaceAfter::is_usual")]
    pub replace_after: ReplaceAfter,
    /// The files that Lockstep serves by itself, in the place of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub static_files: Option<StaticFiles>,
    /// Where the service is that somebody else runs: instances are relays to it, in the place of a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// What an instance may use at most.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// How it runs in the root of an image, where its files are those of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageRun>,
    /// Whom it runs as where the server is root.
    #[serde(default, skip_serializing_if = "RunUser::is_own")]
    pub user: RunUser,
    /// On which hosts it runs, by their labels.
    #[serde(default, skip_serializing_if = "HostWish::is_none")]
    pub hosts: HostWish,
    /// By what it shows how its work goes.
    #[serde(default, skip_serializing_if = "WorkSigns::is_none")]
    pub work: WorkSigns,
    /// What it speaks on its port.
    #[serde(default, skip_serializing_if = "Protocol::is_http1")]
    pub protocol: Protocol,
    /// What it asks of gateways for all its requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Arc<ServicePolicy>>,
    /// What comes before that on a connection.
    #[serde(default, skip_serializing_if = "Approach::is_plain")]
    pub approach: Approach,
}

/// Whom a service runs as where the server is root. Elsewhere it runs as the user of the server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunUser {
    /// A user of its own, which it has with nobody else. What an older release recorded means this now.
    #[default]
    Own,
    /// A user of the host, by name.
    Named(String),
}

impl RunUser {
    /// Tells whether it is what holds where nothing is said.
    #[must_use]
    pub fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

/// What kind of a service a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It answers requests on a port. What an older release recorded meant this.
    #[default]
    Web,
    /// It fetches its work itself: it has no port, no routes and no share of the traffic, and works as long as it runs.
    Worker,
    /// It runs once: what a job of a version is run as. A service of this kind has jobs and nothing else: no instance, no port, no routes.
    Job,
}

impl Kind {
    /// Tells whether it is what an older release meant.
    #[must_use]
    pub fn is_web(&self) -> bool {
        *self == Self::Web
    }

    /// Tells whether instances of it run all the time.
    #[must_use]
    pub fn has_instances(self) -> bool {
        self != Self::Job
    }

    /// Returns it as a manifest says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Worker => "worker",
            Self::Job => "job",
        }
    }

    /// Which instances come first where a manifest does not say: two versions of a worker never work at the same time.
    #[must_use]
    pub fn usual_replace(self) -> Replace {
        match self {
            Self::Web | Self::Job => Replace::NewFirst,
            Self::Worker => Replace::OldFirst,
        }
    }

    /// What is asked where a manifest does not say.
    #[must_use]
    pub fn usual_probe(self) -> Probe {
        match self {
            Self::Web => Probe::Tcp,
            Self::Worker => Probe::Lives { for_ms: USUAL_LIFE_MS },
            Self::Job => Probe::Ends,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How long a worker runs before it counts as healthy.
const USUAL_LIFE_MS: u64 = 5_000;

/// Which instances come first when a version takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Replace {
    /// The new ones are healthy before the old ones end, wherever the port allows it.
    #[default]
    NewFirst,
    /// The old ones have ended before the new ones start: two versions never run at the same time.
    OldFirst,
    /// Of a worker: at each step of a rollout a share of the instances is of the new version, and both versions work.
    SideBySide,
}

impl Replace {
    /// Tells whether it is what holds where nothing is said.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::NewFirst
    }
}

/// In which order a version takes over from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Takeover {
    /// The new instances are healthy before the old ones get no more requests. What an older release recorded meant this.
    #[default]
    Beside,
    /// The old instances have ended before the new ones start. In between nobody answers.
    OldFirst,
    /// Instances of both versions work, a growing share of them of the new one.
    SideBySide,
}

impl Takeover {
    /// Tells whether it is what an older release meant.
    #[must_use]
    pub fn is_beside(&self) -> bool {
        *self == Self::Beside
    }

    /// Returns how one version takes over from another.
    #[must_use]
    pub fn between(old: &RunSpec, new: &RunSpec) -> Self {
        let both = [old.replace, new.replace];
        let is_apart = both.contains(&Replace::OldFirst) || old.kind != new.kind || same_port(old, new);
        match both {
            _ if is_apart => Self::OldFirst,
            [Replace::SideBySide, Replace::SideBySide] => Self::SideBySide,
            _ => Self::Beside,
        }
    }
}

/// Tells whether two always listen on the same port.
pub(crate) fn same_port(one: &RunSpec, other: &RunSpec) -> bool {
    one.port != Port::Assigned && one.port == other.port
}

/// How the texts of a [`RunSpec`] are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// As they stand. What an older release recorded meant this.
    #[default]
    Verbatim,
    /// References in them are filled in where an instance starts.
    Filled,
}

impl Values {
    /// Tells whether it is what an older release meant.
    #[must_use]
    pub fn is_verbatim(&self) -> bool {
        *self == Self::Verbatim
    }
}

impl RunSpec {
    /// How something is run of which nothing runs all the time: what its jobs have in common is to be said.
    #[must_use]
    pub fn of_jobs() -> Self {
        Self {
            kind: Kind::Job,
            command: Vec::new(),
            prepare: None,
            variables: BTreeMap::new(),
            port: Port::Assigned,
            health: HealthCheck::new(Kind::Job.usual_probe()),
            stop: Stop::default(),
            restart: Restart::default(),
            data: Vec::new(),
            files: Vec::new(),
            values: Values::Verbatim,
            replace: Kind::Job.usual_replace(),
            replace_after: ReplaceAfter::default(),
            static_files: None,
            external: None,
            limits: Limits::default(),
            image: None,
            user: RunUser::default(),
            hosts: HostWish::default(),
            work: WorkSigns::default(),
            protocol: Protocol::default(),
            gateway: None,
            approach: Approach::default(),
        }
    }

    /// What is asked of its health where a manifest does not say.
    #[must_use]
    pub fn usual_health(&self) -> HealthCheck {
        let usual = || HealthCheck::new(self.kind.usual_probe());
        self.external.as_ref().map_or_else(usual, |_| External::usual_health())
    }

    /// The port of an instance, if it has one at all: a worker has one where its health or its metrics are asked there.
    #[must_use]
    pub fn listens_on(&self) -> Option<Port> {
        let is_asked = self.health.probe.needs_a_port() || self.work.needs_a_port();
        (self.kind.is_web() || is_asked).then_some(self.port)
    }

    /// How long an instance may take from its start until it is healthy, with what comes before.
    #[must_use]
    pub fn start_limit_ms(&self) -> u64 {
        let prepare_ms = self.prepare.as_ref().map_or(0, |prepare| prepare.timeout_ms);
        self.health.start_timeout_ms.saturating_add(prepare_ms)
    }

    /// Tells whether an instance starts before the one that it replaces ends.
    #[must_use]
    pub fn is_replaced_beside(&self) -> bool {
        self.replace != Replace::OldFirst && self.port == Port::Assigned
    }

    /// Tells whether an instance that nobody calls does nothing: only such a one can be kept warm.
    #[must_use]
    pub fn rests_unasked(&self) -> bool {
        self.kind.is_web()
    }

    /// Goes through everything that may have references.
    pub fn texts(&self) -> impl Iterator<Item = &String> {
        let check = match &self.health.probe {
            Probe::Command { command } => command.as_slice(),
            _ => &[],
        };
        let queue = self.work.queue.iter().flat_map(|queue| &queue.command);
        let of_others = self.external.iter().flat_map(|it| [&it.address].into_iter().chain(&it.certificate));
        let prepare = self.prepare.iter().flat_map(|prepare| &prepare.command);
        let programs = self.command.iter().chain(prepare);
        programs.chain(self.variables.values()).chain(check).chain(queue).chain(of_others)
    }

    /// Lists the variables that an address refers to and that nobody sets. What Lockstep itself sets is known at start.
    #[must_use]
    pub fn unset_in_address(&self, configured: &Configuration) -> Vec<String> {
        let Some(external) = &self.external else { return Vec::new() };
        let named = references(&external.address, Reader::Program).unwrap_or_default();
        let is_set = |name: &str| {
            self.variables.contains_key(name)
                || configured.contains_key(name)
                || matches!(name, "PORT" | "HOST")
                || name.starts_with("LOCKSTEP_")
        };
        let named = named.into_iter().filter_map(|reference| match reference {
            Reference::Variable(name) => Some(name),
            Reference::Own(_) | Reference::Service(..) | Reference::Resource(..) => None,
        });
        named.filter(|name| !is_set(name)).collect()
    }

    /// Notes whether there is something to fill in.
    #[must_use]
    pub fn with_values_noted(self) -> Self {
        let any = self.texts().any(|text| has_references(text));
        Self { values: if any { Values::Filled } else { Values::Verbatim }, ..self }
    }

    /// Goes through everything that may have references, to change it; but an address, which may refer to what is among this.
    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let check = match &mut self.health.probe {
            Probe::Command { command } => command.as_mut_slice(),
            _ => &mut [],
        };
        let queue = self.work.queue.iter_mut().flat_map(|queue| &mut queue.command);
        let prepare = self.prepare.iter_mut().flat_map(|prepare| &mut prepare.command);
        let programs = self.command.iter_mut().chain(prepare);
        programs.chain(self.variables.values_mut()).chain(check).chain(queue)
    }
}

/// How long an instance may be unhealthy before another takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplaceAfter {
    /// So many milliseconds.
    Ms(u64),
    /// It is left alone, however long it takes.
    Never,
}

impl Default for ReplaceAfter {
    /// A minute: longer than a pause of garbage collection or a slow neighbour, shorter than a person needs to come.
    fn default() -> Self {
        Self::Ms(60_000)
    }
}

impl ReplaceAfter {
    /// Tells whether it is what holds where nothing is said.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// The port of an instance. It is always handed over as `PORT`, and listening is on loopback unless the driver says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Port {
    /// The driver picks a free one for each instance.
    #[default]
    Assigned,
    /// Always this one: only one instance can run on a host at a time.
    Fixed(u16),
}

/// A periodic check of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Time between two checks once the instance is healthy. Before that, checks follow each other faster.
    #[serde(default = "default_interval_ms")]
    pub interval_ms: u64,
    /// A check that takes longer has failed.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// An instance that is not healthy this long after its start has failed.
    #[serde(default = "default_start_timeout_ms")]
    pub start_timeout_ms: u64,
    /// Failed checks in a row after which a healthy instance is unhealthy.
    #[serde(default = "default_unhealthy_after")]
    pub unhealthy_after: u32,
}

impl HealthCheck {
    /// Makes a check with default times.
    #[must_use]
    pub const fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval_ms: default_interval_ms(),
            timeout_ms: default_timeout_ms(),
            start_timeout_ms: default_start_timeout_ms(),
            unhealthy_after: default_unhealthy_after(),
        }
    }
}

const fn default_interval_ms() -> u64 {
    2_000
}

const fn default_timeout_ms() -> u64 {
    1_000
}

const fn default_start_timeout_ms() -> u64 {
    30_000
}

const fn default_unhealthy_after() -> u32 {
    3
}

/// What a health check asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Probe {
    /// `GET path` on the instance's port answers with a status from 200 to 399.
    Http {
        /// The path with its leading slash.
        path: String,
    },
    /// A TCP connection to the instance's port is accepted.
    Tcp,
    /// The health service of gRPC (`grpc.health.v1.Health/Check`) on the instance's port says that it serves.
    Grpc {
        /// Of which service; empty asks for the server as a whole.
        service: String,
    },
    /// A command, run like the instance itself, ends with exit code 0.
    Command {
        /// Program and arguments.
        command: Vec<String>,
    },
    /// The process has run for so long.
    Lives {
        /// How long.
        for_ms: u64,
    },
    /// The process touches a file again and again.
    File {
        /// Where, below its working folder.
        path: WorkPath,
        /// How old the last touch may be.
        fresh_ms: u64,
    },
    /// Nothing is asked: the process ends by itself.
    Ends,
}

impl Probe {
    /// Tells whether it is asked on a port.
    #[must_use]
    pub fn needs_a_port(&self) -> bool {
        matches!(self, Self::Http { .. } | Self::Tcp | Self::Grpc { .. })
    }

    /// What an instance speaks that is asked so, where a manifest does not say.
    #[must_use]
    pub fn usual_protocol(&self) -> Protocol {
        if matches!(self, Self::Grpc { .. }) { Protocol::H2c } else { Protocol::Http1 }
    }
}

/// How an instance is ended: a signal, a wait, then by force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// The first signal.
    #[serde(default)]
    pub signal: StopSignal,
    /// After this time whatever is left of the process group is killed.
    #[serde(default = "default_stop_timeout_ms")]
    pub timeout_ms: u64,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: StopSignal::default(), timeout_ms: default_stop_timeout_ms() }
    }
}

const fn default_stop_timeout_ms() -> u64 {
    10_000
}

/// The signal that asks an instance to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum StopSignal {
    /// Terminate.
    #[default]
    #[serde(rename = "TERM")]
    Term,
    /// Interrupt.
    #[serde(rename = "INT")]
    Int,
    /// Quit.
    #[serde(rename = "QUIT")]
    Quit,
    /// Hang up.
    #[serde(rename = "HUP")]
    Hup,
}

/// What happens when an instance ends by itself: it is started again after a growing pause, a bounded number of times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restart {
    /// Restarts without a healthy period in between after which the instance has failed.
    #[serde(default = "default_max_restarts")]
    pub max_restarts: u32,
    /// First pause; it doubles each time.
    #[serde(default = "default_backoff_ms")]
    pub backoff_ms: u64,
    /// Longest pause.
    #[serde(default = "default_max_backoff_ms")]
    pub max_backoff_ms: u64,
    /// An instance that was healthy for this long starts counting anew.
    #[serde(default = "default_reset_after_ms")]
    pub reset_after_ms: u64,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            max_restarts: default_max_restarts(),
            backoff_ms: default_backoff_ms(),
            max_backoff_ms: default_max_backoff_ms(),
            reset_after_ms: default_reset_after_ms(),
        }
    }
}

const fn default_max_restarts() -> u32 {
    5
}

const fn default_backoff_ms() -> u64 {
    200
}

const fn default_max_backoff_ms() -> u64 {
    30_000
}

const fn default_reset_after_ms() -> u64 {
    60_000
}

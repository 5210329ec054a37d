//! What is seen at one look: numbers and names, filled by whoever looks.
//!
//! Nothing is decided here, and nothing is made up: what could not be looked at says so ([`Seen::Failed`], [`Seen::Nothing`])
//! and is never an empty list or a 0, because "no instance is down" and "nobody asked" are not the same.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What came of a look at something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen<T> {
    /// It was looked at.
    Is(T),
    /// Nobody looked, or there is nothing yet that could be looked at.
    #[default]
    Nothing,
    /// It was looked at, and that failed.
    Failed(String),
}

/// Everything that is seen at one look.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Observation {
    /// When, in milliseconds since 1970, by the clock of the server.
    pub at_ms: u64,
    /// Environments by name.
    #[serde(default)]
    pub environments: Seen<BTreeMap<String, EnvironmentSeen>>,
    /// Hosts by name.
    #[serde(default)]
    pub hosts: Seen<BTreeMap<String, HostSeen>>,
    /// Certificates, of all environments.
    #[serde(default)]
    pub certificates: Seen<Vec<CertificateSeen>>,
    /// The disk with the data folder of the server.
    #[serde(default)]
    pub server_disk: Seen<DiskSeen>,
}

/// An environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EnvironmentSeen {
    /// Services by name.
    #[serde(default)]
    pub services: Seen<BTreeMap<String, ServiceSeen>>,
    /// Operations that are under way, and the last one of each service when it was taken back.
    #[serde(default)]
    pub operations: Seen<Vec<OperationSeen>>,
    /// Gateways that should serve it.
    #[serde(default)]
    pub gateways: Seen<Vec<GatewaySeen>>,
}

/// A service in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSeen {
    /// Who owns it.
    #[serde(default)]
    pub owners: Vec<String>,
    /// Whether it is asked by requests: nobody asks a worker.
    #[serde(default = "yes")]
    pub is_asked: bool,
    /// Services that it calls.
    #[serde(default)]
    pub calls: BTreeSet<String>,
    /// Its versions that serve or should, by what people call them (`1.4.0`, `1.4.0 (c2)`).
    #[serde(default)]
    pub arms: BTreeMap<String, ArmSeen>,
    /// Its instances.
    #[serde(default)]
    pub instances: Seen<Vec<InstanceSeen>>,
    /// The way back to the version before.
    #[serde(default)]
    pub way_back: Seen<WayBackSeen>,
    /// Its checks by name: what each gateway says that makes them and has said so lately.
    #[serde(default)]
    pub checks: BTreeMap<String, Vec<CheckSeen>>,
}

const fn yes() -> bool {
    true
}

impl Default for ServiceSeen {
    fn default() -> Self {
        Self {
            owners: Vec::new(),
            is_asked: true,
            calls: BTreeSet::new(),
            arms: BTreeMap::new(),
            instances: Seen::Nothing,
            way_back: Seen::Nothing,
            checks: BTreeMap::new(),
        }
    }
}

/// What one gateway found by a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckSeen {
    /// The gateway.
    pub gateway: String,
    /// What is asked for (`GET /orders/health`).
    pub request: String,
    /// How many of its last runs failed one after the other.
    pub failed_in_a_row: u32,
    /// What was wrong with the last one (`was answered 500 instead of 200`), if anything was.
    #[serde(default)]
    pub fault: Option<String>,
    /// Who answered it (`orders@1.4.0`), where a version did.
    #[serde(default)]
    pub version: Option<String>,
}

/// A version with one configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ArmSeen {
    /// How many instances should serve.
    #[serde(default)]
    pub wanted: u32,
    /// What was counted of it.
    #[serde(default)]
    pub counters: Seen<Counters>,
}

/// What was counted of a version since it was first counted. Counters may begin at 0 again, but must never contain at once what
/// a gateway had counted before anybody saw it: nobody knows when that was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Requests.
    #[serde(default)]
    pub requests: u64,
    /// Those that failed.
    #[serde(default)]
    pub failures: u64,
    /// For bounds in milliseconds, requests that took longer.
    #[serde(default)]
    pub slower: BTreeMap<u64, u64>,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSeen {
    /// Its id.
    pub id: String,
    /// The key of its version in [`ServiceSeen::arms`].
    pub version: String,
    /// The host that it runs on; the machine of the server when left out.
    #[serde(default)]
    pub host: Option<String>,
    /// How it is.
    pub state: InstanceState,
    /// Since when it is so, in milliseconds since 1970.
    pub since_ms: u64,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
    /// Why, in one line, where that is known.
    #[serde(default)]
    pub reason: Option<String>,
}

/// How an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Not yet healthy.
    Starting,
    /// It serves.
    Healthy,
    /// It served, and does not now.
    Unhealthy,
    /// It will not be started again by itself.
    Failed,
    /// It was told to end, or ended as it was told, or completed.
    Leaving,
}

/// The way back to the version before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayBackSeen {
    /// There is nothing before what runs.
    First,
    /// It can be gone, now or when what is under way has ended.
    Open,
    /// It cannot be gone.
    Closed {
        /// What is in the way.
        why: String,
        /// The command that helps, where one does.
        #[serde(default)]
        hint: Option<String>,
    },
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationSeen {
    /// What people call it (`operation 12`).
    pub id: String,
    /// What it is (`deploy orders@1.5.0`).
    pub what: String,
    /// Whether it goes forward or back.
    pub way: Way,
    /// Services that it moves.
    #[serde(default)]
    pub services: BTreeSet<String>,
    /// How far it came.
    pub phase: OperationPhase,
    /// Since when it is so, in milliseconds since 1970.
    pub since_ms: u64,
    /// Who takes it back, when that is a person: then nobody needs to be told.
    #[serde(default)]
    pub person: Option<String>,
    /// What the judge says of its step, when it fails: the version, and for what.
    #[serde(default)]
    pub failed: Option<FailedVersion>,
}

/// Which way an operation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// To something new.
    Forward,
    /// To something that ran.
    Back,
}

/// How far an operation came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationPhase {
    /// It goes on by itself.
    Goes,
    /// It waits for a person, or for something that does not come by itself.
    Waits {
        /// For what.
        what: String,
    },
    /// It is being taken back.
    Reverting {
        /// Why.
        cause: String,
    },
    /// It was taken back, and nothing was decided about its services since.
    Reverted {
        /// Why.
        cause: String,
    },
}

/// A version that failed in its rollout by its own doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedVersion {
    /// Its service.
    pub service: String,
    /// Its number.
    pub version: String,
    /// What it did, in one line.
    pub why: String,
}

/// A gateway that should serve an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewaySeen {
    /// Its name, or the id of its run.
    pub name: String,
    /// The host that it runs on, when it is one of ours.
    #[serde(default)]
    pub host: Option<String>,
    /// When its last receipt came, in milliseconds since 1970; `None` before the first.
    #[serde(default)]
    pub receipt_ms: Option<u64>,
    /// Since when there is a table that it should serve and does not, in milliseconds since 1970.
    #[serde(default)]
    pub behind_since_ms: Option<u64>,
    /// Why it did not take the last table.
    #[serde(default)]
    pub refused: Option<String>,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostSeen {
    /// Since when it cannot be reached, in milliseconds since 1970; `None` when it can.
    #[serde(default)]
    pub away_since_ms: Option<u64>,
    /// Why it cannot be reached.
    #[serde(default)]
    pub why: Option<String>,
    /// Its disk.
    #[serde(default)]
    pub disk: Seen<DiskSeen>,
}

/// A disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskSeen {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Bytes that it has.
    pub size_bytes: u64,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateSeen {
    /// Its environment.
    pub environment: String,
    /// Its name.
    pub name: String,
    /// When it ends, in milliseconds since 1970.
    pub not_after_ms: u64,
    /// Why it was not renewed, when that was tried.
    #[serde(default)]
    pub not_renewed: Option<String>,
}

/// Why something is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blind {
    /// Nobody looked.
    NoData(String),
    /// It was looked at, and that failed.
    Error(String),
    /// It has not been looked at for long enough: whatever a rule says of missing data, this changes nothing.
    Begins(String),
}

impl<T> Seen<T> {
    /// Returns what was seen, or why nothing was; `what` names it.
    ///
    /// # Errors
    /// [`Blind`] when it was not looked at, or that failed.
    pub fn get(&self, what: &str) -> Result<&T, Blind> {
        match self {
            Self::Is(seen) => Ok(seen),
            Self::Nothing => Err(Blind::NoData(format!("{what}: nothing is known"))),
            Self::Failed(why) => Err(Blind::Error(format!("{what}: {why}"))),
        }
    }

    /// Returns what was seen, if anything.
    pub const fn seen(&self) -> Option<&T> {
        match self {
            Self::Is(seen) => Some(seen),
            Self::Nothing | Self::Failed(_) => None,
        }
    }
}

impl Observation {
    /// Returns each service that was seen, with the name of its environment and its own.
    pub fn services(&self) -> impl Iterator<Item = (&str, &str, &ServiceSeen)> {
        self.environments().flat_map(|(environment, seen)| {
            let services = seen.services.seen().into_iter().flatten();
            services.map(move |(name, service)| (environment, name.as_str(), service))
        })
    }

    /// Returns each environment that was seen, with its name.
    pub fn environments(&self) -> impl Iterator<Item = (&str, &EnvironmentSeen)> {
        self.environments.seen().into_iter().flatten().map(|(name, seen)| (name.as_str(), seen))
    }

    /// Returns a service in an environment, if it was seen.
    #[must_use]
    pub fn service(&self, environment: &str, service: &str) -> Option<&ServiceSeen> {
        self.environments.seen()?.get(environment)?.services.seen()?.get(service)
    }
}

impl InstanceState {
    /// Tells whether an instance in this state should serve and does not.
    #[must_use]
    pub const fn is_down(self) -> bool {
        matches!(self, Self::Unhealthy | Self::Failed)
    }
}

impl Blind {
    /// Returns what is not known and why.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::NoData(why) | Self::Error(why) | Self::Begins(why) => why,
        }
    }
}

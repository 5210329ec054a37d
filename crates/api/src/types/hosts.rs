//! Hosts: the machines that instances run on, apart from the one of the server.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lockstep_domain::host::{HostSettings, Labels, Network, Stance, Turned};
use lockstep_domain::placement::Misplaced;
use lockstep_domain::ssh_target::SshTarget;
use lockstep_domain::{Actor, EnvironmentName, HostName, Instance, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A host is to be added: it is looked at first, and added when instances could run there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddHost {
    /// Its name.
    pub name: HostName,
    /// Where `ssh` of the server connects to.
    pub ssh: SshTarget,
    /// The file on the machine of the server with the key to log in with; what `ssh` has by itself when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The folder there; one in the home of the user when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The address at which others reach it; the one at which the connection comes in when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Whether the network that leads there is trusted; it is not when left out.
    #[serde(default)]
    pub network: Network,
    /// What it is like.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// Whose instances run there; when left out, those of every environment of which nothing runs on the machine of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments: Option<BTreeSet<EnvironmentName>>,
    /// The fingerprint that its key must have, such as `SHA256:...`; whatever it shows is pinned when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// What is decided about a host is to be changed; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeHost {
    /// Where `ssh` of the server connects to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshTarget>,
    /// The file on the machine of the server with the key to log in with; empty for what `ssh` has by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What it is like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
    /// Whether the network that leads there is trusted. What runs there stays as it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Whose instances run there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environments: Option<BTreeSet<EnvironmentName>>,
    /// The fingerprint of the key that it shows now, which is pinned in place of the former one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A host is to be opened, cordoned or drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TurnHost {
    /// What may run there from now on.
    pub stance: Stance,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A host is to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveHost {
    /// Whether it is removed although it is away, and instances on it could not be ended: they go on where the host does.
    #[serde(default)]
    pub lost: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Whether a host is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "connection", rename_all = "snake_case")]
pub enum HostConnection {
    /// It is tried since the server began.
    Connecting,
    /// It is there.
    Here,
    /// It is not reached. What runs there may go on.
    Away {
        /// For how long, in milliseconds.
        for_ms: u64,
        /// Why.
        why: String,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// What a host has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostSize {
    /// The name that it has for itself.
    pub name: String,
    /// The release of its kernel.
    pub kernel: String,
    /// Its architecture.
    pub architecture: String,
    /// How many processors may be used.
    pub processors: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes that are free where artifacts and logs are.
    pub free_bytes: u64,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostView {
    /// Its name.
    pub name: HostName,
    /// What a person decided about it.
    pub settings: HostSettings,
    /// The fingerprint of the key that is pinned.
    pub fingerprint: Option<String>,
    /// What may run there.
    pub stance: Stance,
    /// Since when that is so, and why; missing as long as it was never turned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turned: Option<Turned>,
    /// When it was added.
    pub added: Timestamp,
    /// By whom.
    pub by: Actor,
    /// Whether it is reached.
    #[serde(flatten)]
    pub connection: HostConnection,
    /// What it has; as long as it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<HostSize>,
    /// What runs there, as it was last seen, without what is over.
    pub instances: Vec<Instance>,
    /// Whether nobody knows what runs there, before it is reached for the first time.
    #[serde(default)]
    pub unknown: bool,
    /// After how long that it is not reached it is evacuated by itself, in milliseconds; missing where a person does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evacuates_after_ms: Option<u64>,
    /// What runs there although the host lacks a label that it requires; `rebalance` moves it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub misplaced: Vec<Misplaced>,
    /// What is worth knowing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What was found when a host was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostFindings {
    /// Whether instances can run there.
    pub usable: bool,
    /// How long a question takes there and back, in milliseconds.
    pub round_trip_ms: u64,
    /// By how many milliseconds the clock there is ahead of the one of the server; negative when it is behind.
    pub clock_ahead_ms: i64,
    /// What it has.
    pub size: HostSize,
    /// What keeps instances from running there.
    pub problems: Vec<String>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

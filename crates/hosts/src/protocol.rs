//! What a server and an agent say to each other: requests of HTTP/2 on the standard streams of the agent.
//!
//! | path | body | answer |
//! | --- | --- | --- |
//! | `/look` | [`LookRequest`], before any greeting; changes nothing | [`Looked`] |
//! | `/hello` | [`Hello`], the first request of a connection that works | [`Welcome`] |
//! | `/call` | [`Call`] | [`Said`] |
//! | `/watch` | none | [`Seen`] in lines: everything that there is, [`Seen::All`], then what changes |
//! | `/log` | [`LogRequest`] | the lines of a log |
//! | `/way` | what the server says to a gateway of the host | what that says; it begins when one has come |
//! | `/artifact` | [`Artifact`] in the field [`ARTIFACT_FIELD`], and the bytes from its offset on | [`Said`] |
//! | `/rest` | the same, of what was said to be lacking of an artifact ([`Call::Lacking`]) | [`Said`] |
//!
//! Both sides are of one release: the agent is brought along. What outlives a release are folders, whose files have formats of their own.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lockstep_domain::instance_ports::PortRange;
use lockstep_domain::limits::Means;
use lockstep_domain::work::Told;
use lockstep_domain::{Digest, EnvironmentName, Instance, InstanceId};
use lockstep_runtime::{HeldAs, InstanceSpec, LogLimits, Unpacked, Usage};
use serde::{Deserialize, Serialize};

use crate::difference::{Lacking, Recipe};
use crate::lease::{Claim, Lease};
use crate::refusal::Refusal;

/// The number of this protocol. An agent of another one is never spoken to, because programs are told apart by their digest; should it
/// happen, both say so.
pub(crate) const PROTOCOL: u32 = 1;
/// The longest message, which holds filled files of an instance.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// The longest line of what is watched or of a log.
pub(crate) const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;
/// Most instances that a host may show: far above what a host can run.
pub(crate) const MAX_ROWS: usize = 10_000;
/// Says which artifact is sent.
pub(crate) const ARTIFACT_FIELD: &str = "lockstep-artifact";

/// How a server greets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// [`PROTOCOL`].
    pub(crate) protocol: u32,
    /// By what right it works here.
    pub(crate) claim: Claim,
    /// How it keeps instances there.
    pub(crate) options: HostOptions,
}

/// How instances are kept on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostOptions {
    /// How much log of an instance is kept.
    pub log: LogLimits,
    /// Whether they start again after a boot by themselves, as far as the host can do that: a unit of systemd is written for it.
    pub starts_at_boot: bool,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { log: LogLimits::default(), starts_at_boot: true }
    }
}

/// How an agent greets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// [`PROTOCOL`].
    pub(crate) protocol: u32,
    /// The lease as it stands now.
    pub(crate) lease: Lease,
    /// What the host is like.
    pub(crate) facts: HostFacts,
}

/// Asks what a host is like.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct LookRequest {
    /// Which ports instances would get, where it is to be tried whether they are free.
    pub(crate) ports: Option<PortRange>,
    /// Where instances would listen, where it is to be tried whether they can.
    #[serde(default)]
    pub(crate) address: Option<IpAddr>,
}

/// What a host is like, looked at without working on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// What it is like.
    pub facts: HostFacts,
    /// What the server is called that has it, if one has.
    pub owner: Option<String>,
    /// How many of the ports are free that instances would get.
    pub free_ports: u32,
    /// Why instances cannot listen at the address that was asked about, where that is so.
    #[serde(default)]
    pub no_listening: Option<String>,
    /// Why what a login has started ends when it logs out, where that is so.
    pub ends_at_logout: Option<String>,
}

/// What a host is like, as its agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The name that it has for itself.
    pub name: String,
    /// The release of its kernel, such as `6.1.0-28-amd64`.
    pub kernel: String,
    /// Its architecture, such as `x86_64`.
    pub architecture: String,
    /// Differs after each boot.
    pub boot: String,
    /// Milliseconds since 1970 by its clock.
    pub clock_ms: i64,
    /// The user of the agent, by its number.
    pub user: u32,
    /// Where the agent keeps what it has.
    pub folder: String,
    /// Bytes that are free there.
    pub free_bytes: u64,
    /// How many processors may be used.
    pub processors: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// The address at which the connection came in, where it came by `sshd`.
    pub address: Option<IpAddr>,
    /// Why instances do not start again after a boot without a server, where that is so.
    pub not_after_boot: Option<String>,
    /// What instances are not kept from there.
    pub unprotected: Vec<String>,
    /// With what it holds instances to their limits.
    #[serde(default)]
    pub means: Means,
}

/// A request that has one answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Call {
    Start(Box<InstanceSpec>),
    Stop(InstanceId),
    Routed {
        id: InstanceId,
        routed: bool,
    },
    Remove(InstanceId),
    Look(Digest),
    Releases,
    RemoveRelease(Digest),
    Usage,
    /// How much there is of the disk where the agent keeps what it has.
    Room,
    /// Instances that have ended and whose logs are kept.
    Ended,
    /// How many bytes of an artifact have come.
    Arrived(Artifact),
    /// What of an artifact is in no file of similar ones.
    Lacking {
        artifact: Digest,
        recipe: Box<Recipe>,
        like: Vec<Digest>,
    },
}

/// The answer to a [`Call`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    Done,
    Looked(Look),
    Releases(Vec<Digest>),
    Usage(BTreeMap<InstanceId, Usage>),
    Room { free: u64, size: u64 },
    Ended(Vec<Instance>),
    Arrived(u64),
    Lacking(Lacking),
    Refused(Refusal),
}

/// What is unpacked of an artifact; [`Unpacked`] as it is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Look {
    Missing,
    Good(String),
    Changed(String),
}

impl From<Unpacked> for Look {
    fn from(unpacked: Unpacked) -> Self {
        match unpacked {
            Unpacked::Missing => Self::Missing,
            Unpacked::Good(path) => Self::Good(path.display().to_string()),
            Unpacked::Changed(why) => Self::Changed(why),
        }
    }
}

impl From<Look> for Unpacked {
    fn from(look: Look) -> Self {
        match look {
            Look::Missing => Self::Missing,
            Look::Good(path) => Self::Good(path.into()),
            Look::Changed(why) => Self::Changed(why),
        }
    }
}

/// An artifact, or the rest of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) digest: Digest,
    /// How many bytes the whole of it has.
    pub(crate) bytes: u64,
    /// Where what is sent begins.
    #[serde(default)]
    pub(crate) offset: u64,
}

/// Asks for a log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LogRequest {
    pub(crate) environment: EnvironmentName,
    pub(crate) id: InstanceId,
    pub(crate) follow: bool,
}

/// A line of what an agent sees of its instances.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Seen {
    /// One is new, or has changed.
    Row(Box<Row>),
    /// One is forgotten.
    Gone(InstanceId),
    /// Until here it was everything that there is.
    All,
}

/// An instance, and what it said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) instance: Instance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) told: Option<Told>,
    /// How it is held to its limits, and whom it runs as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) held: Option<HeldAs>,
}

//! What a gateway reports to its server.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FORMAT_BEFORE_ALIASES;
use crate::between::SaidBetween;
use crate::breaker::Phase;
use crate::called::{Called, CalledByClients};
use crate::check::CheckSeen;
use crate::clients_at::OutsideAt;
use crate::edition::{Edition, TableHistory};
use crate::instance::{Arm, InstanceId};
use crate::listeners::ListensAt;
use crate::mirror::Mirrored;
use crate::name::EnvironmentName;
use crate::watch::{AnswerSample, Watched};

/// Requests and failures of one arm since a gateway started, as that gateway counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ArmTraffic {
    /// Requests that were sent to the arm.
    pub requests: u64,
    /// Those that failed: a status of 500 or more, or no valid answer. A connection that could not be opened is not a request.
    pub failures: u64,
}

/// What a gateway reports: which table it serves, and what it counted. Counters only grow while `gateway` stays the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayReceipt {
    /// Identifies one run of one gateway process.
    pub gateway: String,
    /// The environment it serves.
    pub environment: EnvironmentName,
    /// The history of the table it serves.
    #[serde(default, skip_serializing_if = "TableHistory::is_empty")]
    pub history: TableHistory,
    /// The revision of the table it serves; 0 when it serves none.
    pub revision: u64,
    /// The newest format of tables that it takes; a gateway of a release before [`RouteTable::aliases`] does not say it.
    #[serde(default = "format_before_aliases")]
    pub takes_format: u32,
    /// The table that it was given last and did not take, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedTable>,
    /// Requests under way at each instance; instances without any may be missing.
    pub in_flight: BTreeMap<InstanceId, u64>,
    /// Counters of each arm.
    pub traffic: Vec<(Arm, ArmTraffic)>,
    /// How long instances of each arm took to begin their answers: counts of the classes that
    /// [`crate::watch::latency_bound_ms`] bounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latencies: Vec<(Arm, Vec<u64>)>,
    /// What was counted for verdicts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<Watched>,
    /// Answers to be compared with contracts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<AnswerSample>,
    /// What was found by copies of requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrored: Vec<Mirrored>,
    /// What instances called since the last report, at listeners of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Called>,
    /// What clients asked for since the last report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<CalledByClients>,
    /// Of each instance whose listeners this gateway opens: whether it listens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listens: Vec<ListensAt>,
    /// Versions that it leaves alone at this moment, because they fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_alone: Vec<LeftAlone>,
    /// The lowest revision of a table that requests under way were admitted by; left out where none are. 0 is a table of another history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_admitted: Option<u64>,
    /// Nothing comes after it: the run is over, and has counted everything that it says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub last: bool,
    /// The run whose listening sockets this one took over, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<String>,
    /// The run to which this one gave its listening sockets, if it did: it serves only clients that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_to: Option<String>,
    /// What it is known by to other gateways, and where it listens for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<SaidBetween>,
    /// Where it listens for clients from outside beside the addresses of its host, or why it does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<OutsideAt>,
    /// What it found by its checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckSeen>,
}

const fn format_before_aliases() -> u32 {
    FORMAT_BEFORE_ALIASES
}

impl GatewayReceipt {
    /// Returns the place of the table that is served.
    #[must_use]
    pub fn edition(&self) -> Edition {
        Edition { history: self.history.clone(), revision: self.revision }
    }
}

/// A version that a gateway leaves alone because it fails its requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftAlone {
    /// The version, with its configuration.
    pub arm: Arm,
    /// The version that is kept from it; none for everybody who is not known to call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Arm>,
    /// Whether it is tried again already.
    pub phase: Phase,
    /// Requests that the version before was given instead, since it is known.
    pub degraded: u64,
    /// Requests that the gateway answered instead.
    pub answered: u64,
}

/// A table that a gateway was given and did not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedTable {
    /// Its history.
    pub history: TableHistory,
    /// Its revision.
    pub revision: u64,
    /// Why it was not taken.
    pub why: String,
}

//! Gateways and who they are.

use std::collections::BTreeSet;

use lockstep_domain::clients_at::OutsideAt;
use lockstep_domain::edition::TableHistory;
use lockstep_domain::routes::{LeftAlone, RefusedTable};
use lockstep_domain::{Actor, EnvironmentName, GatewayName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Versions that it leaves alone because they fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_alone: Vec<LeftAlone>,
    /// Where clients from outside come in to it beside the address that it was told, or why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<OutsideAt>,
    /// When it last reported.
    pub seen: Timestamp,
    /// What is wrong with it: it is not believed, or not in everything, or does not listen for calls between services.
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

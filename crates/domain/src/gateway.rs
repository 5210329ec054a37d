//! Gateways of their own: who they are, and what their keys allow. Nothing of what they do is here.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::{Actor, EnvironmentName};
use crate::time::Timestamp;

/// Most gateways that are known at the same time.
pub const MAX_GATEWAY_IDENTITIES: usize = 1_000;
/// Every key of a gateway begins with this, so that it is never taken for a token, even when it is not valid any more.
pub const GATEWAY_KEY_PREFIX: &str = "lockstep-gateway-";

/// A gateway that may ask for the tables of its environments and report on them, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayIdentity {
    /// The environments it serves.
    pub environments: BTreeSet<EnvironmentName>,
    /// SHA-256 of its key; the key itself is kept nowhere.
    pub key: Digest,
    /// The record that added it; 0 in what an older release kept.
    #[serde(default)]
    pub record: u64,
    /// When it was added.
    pub added: Timestamp,
    /// By whom.
    pub by: Actor,
}

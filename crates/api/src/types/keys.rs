//! Keys of an installation; none of them is in it.

use lockstep_domain::{EnvironmentName, InstanceId, ServiceName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::gateways::GatewayIdentityView;

/// The keys of an installation: where they are and what they do. None of them is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeysView {
    /// The key of callers.
    pub callers: CallersKeyView,
    /// The file with the key of the journal.
    pub journal: String,
    /// Gateways of their own that have a key.
    pub gateways: Vec<GatewayIdentityView>,
    /// The file with the token that the server made for itself; missing where it was given one, or has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// The key from which instances get the tokens that gateways recognise them by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallersKeyView {
    /// Its file.
    pub file: String,
    /// Whether the next key is announced to gateways, and instances are not given tokens of it yet.
    pub is_being_exchanged: bool,
    /// Instances with a token of a former key, which is recognised until they end.
    pub stale: Vec<StaleInstance>,
}

/// An instance that has a token of a former key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StaleInstance {
    /// Where it runs.
    pub environment: EnvironmentName,
    /// Of which service.
    pub service: ServiceName,
    /// Which.
    pub instance: InstanceId,
}

/// A key is to be exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
}

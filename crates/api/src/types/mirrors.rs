//! Versions that get copies of requests, and what was found by them.

use lockstep_domain::mirror::MirrorCounts;
use lockstep_domain::version_rules::EndedRule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::VersionRuleView;

/// The mirrors of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MirrorList {
    /// Those that are there.
    pub mirrors: Vec<MirrorView>,
    /// Those that are over, the newest first.
    pub ended: Vec<EndedMirror>,
}

/// A mirror, how far it is in force, and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MirrorView {
    /// The mirror is a rule that takes no requests.
    #[serde(flatten)]
    pub rule: VersionRuleView,
    /// Whether its version is deployed or on its way: then it has requests of its own, and no copies are sent.
    pub is_paused: bool,
    /// What was found, by all gateways since this server began.
    pub found: MirrorCounts,
}

/// A mirror that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndedMirror {
    /// The mirror, and who ended it.
    #[serde(flatten)]
    pub ended: EndedRule,
    /// What was found: as the journal has it where somebody removed it.
    #[serde(rename = "result")]
    pub found: MirrorCounts,
}

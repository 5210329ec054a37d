//! The form of a file with a fleet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of a service's versions: the first one, and the first one that is not in it any more; open where there is none.
pub type Interval = [Option<String>; 2];

/// All that is asked: what there is, what works together, and what is wished for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// The services.
    pub services: Vec<FleetService>,
    /// What some versions of a service offer and some versions of another one use.
    #[serde(default)]
    pub features: Vec<Feature>,
    /// What is wished for; all of it is to hold.
    #[serde(default)]
    pub intent: Vec<Wish>,
}

/// A service of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetService {
    /// What it is called.
    pub name: String,
    /// What it costs that it moves, at least 1.
    #[serde(default = "one")]
    pub criticality: u64,
    /// Its versions, the oldest first.
    pub versions: Vec<String>,
    /// The version that runs.
    pub current: String,
    /// Whether it stays where it is unless a wish names it.
    #[serde(default)]
    pub pinned: bool,
}

const fn one() -> u64 {
    1
}

/// Something that a consumer uses and a provider offers. A version that uses it needs one that offers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// What it is called.
    pub name: String,
    /// The service that offers it.
    pub provider: String,
    /// Which of its versions do.
    pub offered: Interval,
    /// More of its versions that do, where one part does not tell all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_offered: Vec<Interval>,
    /// The service that uses it.
    pub consumer: String,
    /// Which of its versions do.
    pub used: Interval,
}

/// A wish for a service; what it says of versions is to hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// The service.
    pub service: String,
    /// Exactly this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// This version or an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<String>,
    /// This version or a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
    /// Any version but this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<String>,
}

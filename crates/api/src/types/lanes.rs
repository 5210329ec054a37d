//! Lanes: overlays on a baseline, for certain requests.

use lockstep_domain::lane::{EndedLane, Lane, LaneService, LaneWhen};
use lockstep_domain::{LaneName, Timestamp, VersionRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{Force, Mode};

/// A lane is to begin in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateLane {
    /// Its name.
    pub name: LaneName,
    /// What its requests get, a version a service. Everything else they get as all others.
    pub versions: Vec<VersionRef>,
    /// Which requests are in it: those for which any of these holds.
    pub when: Vec<LaneWhen>,
    /// Who answers for it; who asks when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// After how many milliseconds it ends by itself; a week when neither this nor `until` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// At which moment it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How many instances of each of its versions run for it alone.
    #[serde(default = "one")]
    pub replicas: u32,
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
    /// Whether it begins, or only what it would be is answered.
    #[serde(default)]
    pub mode: Mode,
}

const fn one() -> u32 {
    1
}

/// A lane is to end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndLane {
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
    /// Whether it ends, or only what would end is answered.
    #[serde(default)]
    pub mode: Mode,
}

/// What a lane gives of one service, and how far that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneServiceView {
    /// What it gives.
    #[serde(flatten)]
    pub gives: LaneService,
    /// How far it is in force.
    pub force: Force,
    /// How many instances of its version are healthy.
    pub healthy: u32,
    /// How many there should be.
    pub replicas: u32,
    /// Requests that gateways counted of that version lately, of the lane and others.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
}

/// A lane, and how far it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneView {
    /// The lane.
    #[serde(flatten)]
    pub lane: Lane,
    /// Its services.
    pub in_force: Vec<LaneServiceView>,
    /// What a person should know of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The lanes of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaneList {
    /// Those in force, the oldest first: a request is in the first that it matches.
    pub lanes: Vec<LaneView>,
    /// Those that are over, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<EndedLane>,
    /// Whether every gateway has what this list says, also that a lane is gone.
    pub is_applied: bool,
}

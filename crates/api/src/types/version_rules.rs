//! Rules that give certain requests of a service a version of their own.

use lockstep_domain::version_rules::{Takes, VersionRule};
use lockstep_domain::{ServiceName, VersionNumber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A rule is to be added to an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddVersionRule {
    /// The service.
    pub service: ServiceName,
    /// What its requests get.
    pub version: VersionNumber,
    /// Which requests.
    pub takes: Takes,
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
}

/// Rules are to be removed from an environment: all that are named, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveVersionRules {
    /// Their numbers.
    pub rules: Vec<u32>,
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
}

/// A rule, and how far it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionRuleView {
    /// The rule.
    #[serde(flatten)]
    pub rule: VersionRule,
    /// How far it is in force.
    pub force: Force,
    /// How many instances of its version are healthy.
    pub healthy: u32,
    /// How many there should be.
    pub replicas: u32,
}

/// How far a rule is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "force", rename_all = "snake_case")]
pub enum Force {
    /// Every gateway has it.
    InForce,
    /// Not every gateway has confirmed it.
    Changing {
        /// Those that have not; none is named before there is a table.
        behind: Vec<String>,
    },
    /// No instance of its version is healthy: its requests get what all others get.
    NotServed {
        /// What is known of the reason.
        why: String,
        /// Whether it was tried and failed; it is tried again after pauses that grow.
        failed: bool,
    },
}

/// The rules of an environment, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionRuleList {
    /// The rules. The first of a service that matches wins; shares come after all others.
    pub rules: Vec<VersionRuleView>,
    /// Whether every gateway has what this list says, also that a rule is gone.
    pub is_applied: bool,
}

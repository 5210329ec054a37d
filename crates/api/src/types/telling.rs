//! Whom to tell of alerts, what not to tell for a while, and rules of people.

use std::collections::BTreeMap;

use lockstep_domain::{Actor, Timestamp, WatchingName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A target of notices is to be set; one of its name is replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetTarget {
    /// Its name. One that is called as the owner of services is told of these.
    pub name: WatchingName,
    /// What it is and how it is reached, such as `{ "kind": "slack", "url": "https://..." }`. Secrets are kept apart, and shown to nobody.
    pub target: Value,
    /// What it takes; everything when left out.
    #[serde(default)]
    pub takes: TakesNotices,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Which notices a target takes; what is left out takes all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TakesNotices {
    /// Of environments with such a name; `*` stands for anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Of services with such a name; `*` stands for anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Of services that one of these owns; what nobody owns is for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// Nothing milder: `info`, `warning` or `critical`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
}

/// A target of notices, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetView {
    /// Its name.
    pub name: WatchingName,
    /// What it is, such as `slack`.
    pub kind: String,
    /// What it takes.
    pub takes: TakesNotices,
    /// Who set it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// What is perhaps not meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Notices that wait to be sent.
    pub waiting: usize,
    /// Why the last try failed, until one succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When a notice was sent last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sent: Option<Timestamp>,
    /// Notices that were given up lately.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<GivenUpNotice>,
}

/// A notice that was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GivenUpNotice {
    /// What it said.
    pub title: String,
    /// When it was given up.
    pub at: Timestamp,
    /// Why.
    pub why: String,
}

/// What became of a notice that was sent to see whether it arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestedTarget {
    /// Whether the target has it.
    pub sent: bool,
    /// What became of it, in words.
    pub what: String,
}

/// Something that was decided is to hold no more.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveWatching {
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Alerts are not to be told for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddSilence {
    /// What it is about: `environment`, `service`, `version`, `instance`, `host`, `certificate`, `gateway`, `rule` or `severity`, with patterns in
    /// which `*` stands for anything. All must match.
    pub about: BTreeMap<String, String>,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// Who answers for it; whoever asks when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Why.
    pub reason: String,
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SilenceView {
    /// Its name.
    pub name: WatchingName,
    /// What it is about.
    pub about: BTreeMap<String, String>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Alerts that it keeps from being told now.
    pub silenced: Vec<String>,
}

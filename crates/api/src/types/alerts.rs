//! Alerts, and what changed before them.

use std::collections::BTreeMap;

use lockstep_domain::{Actor, EnvironmentName, ServiceName, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is wrong, and what was lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertList {
    /// When it was looked last, by the clock of the server; missing before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<Timestamp>,
    /// What is wrong, the worst first.
    pub alerts: Vec<AlertView>,
    /// What fired and recovered lately, the newest first.
    pub turns: Vec<AlertTurn>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertView {
    /// What tells it from every other one.
    pub alert: String,
    /// The rule.
    pub rule: String,
    /// `critical`, `warning` or `info`.
    pub severity: String,
    /// `pending` while it is not seen for long enough, `firing`, or `keep_firing` while it is not seen any more, and not for long enough.
    pub stage: String,
    /// What it is about: `environment`, `service`, `version`, `instance`, `host` and the like.
    pub subject: BTreeMap<String, String>,
    /// What is wrong, in one line.
    pub summary: String,
    /// Numbers, or a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The command to run next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// What it follows from: it needs no message of its own then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows_from: Option<String>,
    /// Why nothing is known of it at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// The change that came before, where one is likely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ChangeView>,
}

/// An alert that fired or recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertTurn {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub alert: String,
    /// Whether it fired; else it recovered.
    pub fired: bool,
}

/// A change that came before something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeView {
    /// When.
    pub at: Timestamp,
    /// What was changed, in one line.
    pub what: String,
    /// Who changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// The command that takes it back, or that leads there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

/// What changed before a fault of a service, the likeliest cause first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlameView {
    /// The service.
    pub service: ServiceName,
    /// Where.
    pub environment: EnvironmentName,
    /// Before when it was looked for changes: since when an alert of the service fires, or now.
    pub since: Timestamp,
    /// What is wrong with the service, where an alert of it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// The changes.
    pub changes: Vec<BlamedChange>,
}

/// A change that may have caused a fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BlamedChange {
    /// The change.
    #[serde(flatten)]
    pub change: ChangeView,
    /// What kind of change, such as `deploy` or `configuration`.
    pub kind: String,
    /// How likely, compared with the others; no probability.
    pub score: f64,
    /// How near in time and in the graph of calls, in words.
    pub why: String,
}

/// A rule that says when something is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// `critical`, `warning` or `info`.
    pub severity: String,
    /// Whether it is looked at.
    pub enabled: bool,
    /// Whether it is there by itself; else somebody set it, maybe in the place of one that is.
    pub built_in: bool,
    /// What it says, in words.
    pub says: String,
    /// The rule as a `[[rule]]` of TOML has it.
    pub rule: serde_json::Value,
    /// Who set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// When it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Sets rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRules {
    /// The rules as TOML, a `[[rule]]` each. One of the same name is replaced.
    pub rules: String,
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Whether it is only looked whether they can be set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

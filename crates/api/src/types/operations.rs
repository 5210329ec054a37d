//! What is wanted of an environment, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_domain::intent::Leaving;
use lockstep_domain::lost::Lost;
use lockstep_domain::plan::{Answer, ServiceWish};
use lockstep_domain::step::Obstacle;
use lockstep_domain::step_place::StepPlace;
use lockstep_domain::ways_back::WayBack;
use lockstep_domain::{
    BaselineEntry, EnvironmentName, Intent, Operation, OperationId, Plan, ServiceName, Strategy, VersionRef,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether an intent is carried out or only planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is carried out.
    #[default]
    Execute,
    /// Only the plan is answered; nothing is recorded.
    DryRun,
}

/// What happens to holds that stand in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldHandling {
    /// They refuse the intent.
    #[default]
    Respect,
    /// Holds of the versions that are named are released with the operation.
    Release,
}

/// What happens to operations that are in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnderWay {
    /// They refuse the intent.
    #[default]
    Respect,
    /// They are taken back, in the same record that begins to go back. Only for going back.
    TakeBack,
}

/// What happens when what is wanted does not work without others that nobody named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// It is refused, and the answer names the smallest set that would work.
    #[default]
    Refuse,
    /// The smallest set that works moves. Only for a deployment, a promotion, and services that go back.
    Take,
}

impl Needs {
    /// Tells whether it is what goes without saying.
    #[must_use]
    pub const fn is_refuse(&self) -> bool {
        matches!(self, Self::Refuse)
    }
}

/// What would have to move for what was refused, or why nothing helps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhatItNeeds {
    /// What would come along that nobody named; nothing where no way was found.
    pub added: Vec<VersionRef>,
    /// Why some of it should not come, and does since nothing else works: it is held, or its life is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub despite: Vec<String>,
    /// The baseline of the environment that was looked at. Whoever takes exactly this names it in `expect`, so that it is done to what was
    /// looked at and to nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<u64>,
    /// The command that takes it along; missing where no way was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// All that would move and why, in the form in which `lockstep plan --world` answers; or what contradicts itself.
    pub answer: Answer,
}

/// An environment is to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationRequest {
    /// What is wanted.
    pub intent: Intent,
    /// How new instances take over. When it is missing: the environment's own strategy, and all at once when going back.
    /// Where services are only taken out it says nothing.
    #[serde(default)]
    pub strategy: Option<Strategy>,
    /// Why, for the history.
    #[serde(default)]
    pub reason: String,
    /// Whether it is carried out.
    #[serde(default)]
    pub mode: Mode,
    /// What happens to holds that stand in the way.
    #[serde(default)]
    pub holds: HoldHandling,
    /// The baseline that was looked at; when another is current, the intent is refused. For a promotion it is a baseline of the
    /// environment that is copied.
    #[serde(default)]
    pub expect: Option<u64>,
    /// The operation under way that an undo takes back. When it is missing: the only one that moves services, and what is undone
    /// must be clear without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<OperationId>,
    /// What happens to operations that are in the way.
    #[serde(default)]
    pub under_way: UnderWay,
    /// What happens when it does not work without others.
    #[serde(default, skip_serializing_if = "Needs::is_refuse")]
    pub needs: Needs,
    /// What is wanted of services beside the versions that the intent names: a deployment chooses the nearest versions that keep all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wishes: Vec<ServiceWish>,
    /// What becomes of the arms that are left. When it is missing: they stay warm, and going back ends them.
    #[serde(default)]
    pub leaving: Option<Leaving>,
    /// Values of secret variables by their key, for a configuration. They go to the secret store and nowhere else.
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
}

/// An instance is to be ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DismissRequest {
    /// Why, for the journal.
    #[serde(default)]
    pub reason: String,
}

/// The plan of an intent, and the operation that carries it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OperationAnswer {
    /// How it is or would be carried out. Missing when an operation under way was taken back.
    pub plan: Option<Plan>,
    /// The operation; missing for a dry run that would begin one.
    pub operation: Option<Operation>,
    /// What going back loses, by service: changes of the versions that are left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<Lost>,
    /// True when nothing was recorded, because the operation does it already: somebody else began it, or takes it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub already: bool,
}

/// What an environment, or one of its services, can go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaysBack {
    /// The environment.
    pub environment: EnvironmentName,
    /// The current baseline.
    pub baseline: u64,
    /// The service, where it is one alone.
    pub service: Option<ServiceName>,
    /// What runs of that service.
    pub runs: Option<BaselineEntry>,
    /// What it can go back to, the newest first.
    pub ways: Vec<WayBack>,
    /// The newest proven baseline of the environment that is a way back, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<u64>,
}

/// A step that waits is to go on without evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// The step that was looked at, such as `1.2`: the second of the first wave.
    pub step: StepPlace,
    /// What keeps it, and shall not; anything else goes on keeping it.
    pub despite: BTreeSet<Obstacle>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// A service or an environment is to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveRequest {
    /// Why.
    #[serde(default)]
    pub reason: String,
}

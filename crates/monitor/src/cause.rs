//! Which change came before a fault, by closeness in time and in the call graph: what `lockstep blame` shows.
//!
//! It is a ranking of what could be looked at first, and no proof. Reasons for the weights are in `docs/design/watching.md`.
//!
//! Invariant: a change after the fault is not in it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::calls::Calls;
use crate::notice::NoticeChange;
use crate::reading::lasting;
use crate::rule::Family;

/// Nothing that is older is looked at: a week has had time to show itself.
pub const MAX_BEFORE_MS: u64 = 7 * 24 * 3_600_000;
/// A change that is so far back counts half; where a rule looks back longer, that long.
const HALF_AFTER_MS: u64 = 300_000;
/// What scores less is not told with an alert: it would be a guess.
const LIKELY: f64 = 0.05;

/// Something that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When it took effect, in milliseconds since 1970.
    pub at_ms: u64,
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// Where; everywhere when left out.
    #[serde(default)]
    pub environment: Option<String>,
    /// Of which service; of the whole environment when left out.
    #[serde(default)]
    pub service: Option<String>,
    /// To which version.
    #[serde(default)]
    pub version: Option<String>,
    /// On which host.
    #[serde(default)]
    pub host: Option<String>,
    /// What was changed, in one line.
    pub what: String,
    /// Who changed it.
    #[serde(default)]
    pub who: Option<String>,
    /// The command that takes it back.
    #[serde(default)]
    pub undo: Option<String>,
    /// When its effect ends by itself, in milliseconds since 1970.
    #[serde(default)]
    pub until_ms: Option<u64>,
}

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Another version, forward.
    Deploy,
    /// The first version of a service: there was nothing that worked before.
    First,
    /// An older version.
    Rollback,
    /// Other variables.
    Configuration,
    /// A migration of a database.
    Migration,
    /// A database, broker or store that is elsewhere or otherwise.
    Resource,
    /// A route, a rule of versions, a lane, a mirror.
    Route,
    /// A fault that was injected to try something.
    Injection,
    /// A host that was added, removed, cordoned or drained.
    Host,
    /// A gateway that was added or removed.
    Gateway,
    /// A certificate or a key.
    Certificate,
    /// Limits, time-outs, breakers, judging: how the environment is run.
    Policy,
    /// Another number of instances.
    Scale,
    /// Instances that were started anew.
    Restart,
    /// Something else.
    Other,
}

/// A fault of which the cause is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When it was first seen, in milliseconds since 1970.
    pub at_ms: u64,
    /// For how long it may have gone on before: what the rule looks back.
    pub over_ms: u64,
    /// What kind of fault it is.
    pub family: Family,
    /// Where.
    pub environment: Option<String>,
    /// Of which service.
    pub service: Option<String>,
    /// Of which version, when it is of one.
    pub version: Option<String>,
    /// Hosts that it is on.
    pub hosts: BTreeSet<String>,
}

/// A change with how likely it is the cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// The change.
    pub change: Change,
    /// How likely, compared with the others; not a probability.
    pub score: f64,
    /// How far before the fault, in milliseconds.
    pub before_ms: u64,
    /// How near in the call graph.
    pub nearness: Nearness,
    /// Both in words.
    pub why: String,
}

/// How near a change is to a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nearness {
    /// Of the same service, or of a host of it.
    Same,
    /// Of a service that it calls, over so many calls.
    Below(usize),
    /// Of the whole environment, or of all.
    Around,
    /// Of a service that calls it.
    Above,
    /// Of neither.
    Elsewhere,
}

/// Ranks changes by how likely each caused a fault, the most likely first.
#[must_use]
pub fn rank(changes: &[Change], fault: &Fault, calls: &Calls) -> Vec<Ranked> {
    let mut ranked: Vec<Ranked> = changes.iter().filter_map(|change| score(change, fault, calls)).collect();
    ranked.sort_by(|a, b| {
        let scores = b.score.total_cmp(&a.score);
        scores.then(a.before_ms.cmp(&b.before_ms)).then_with(|| a.change.what.cmp(&b.change.what))
    });
    ranked
}

/// Returns the change that is told with a fault: the most likely, if any is likely.
#[must_use]
pub fn likely(changes: &[Change], fault: &Fault, calls: &Calls) -> Option<NoticeChange> {
    let ranked = rank(changes, fault, calls).into_iter().next();
    let is_over = |change: &Change| change.until_ms.is_some_and(|until_ms| until_ms <= fault.at_ms);
    let told = |change: Change| Change { undo: change.undo.clone().filter(|_| !is_over(&change)), ..change };
    ranked.filter(|ranked| ranked.score >= LIKELY).map(|ranked| told(ranked.change).into())
}

fn score(change: &Change, fault: &Fault, calls: &Calls) -> Option<Ranked> {
    let before_ms = fault.at_ms.checked_sub(change.at_ms).filter(|before_ms| *before_ms <= MAX_BEFORE_MS)?;
    // What was over when the fault began is no cause of it.
    let began_ms = fault.at_ms.saturating_sub(fault.over_ms);
    if change.until_ms.is_some_and(|until_ms| until_ms < began_ms) {
        return None;
    }
    let is_there = change.environment.is_none()
        || fault.environment.is_none()
        || change.environment == fault.environment;
    let nearness = is_there.then(|| nearness(change, fault, calls))?;
    let half_after_ms = HALF_AFTER_MS.max(fault.over_ms) as f64;
    let in_time = half_after_ms / (half_after_ms + before_ms as f64);
    let score = in_time * nearness.weight() * change.kind.weight() * fit(change, fault);
    let why = format!("{} before, {}", lasting(before_ms), nearness.words(change, fault));
    Some(Ranked { change: change.clone(), score, before_ms, nearness, why })
}

fn nearness(change: &Change, fault: &Fault, calls: &Calls) -> Nearness {
    if change.host.as_ref().is_some_and(|host| fault.hosts.contains(host)) {
        return Nearness::Same;
    }
    match (&change.service, &fault.service) {
        // Whatever runs may fill a disk.
        (Some(_), None) if fault.family == Family::Disk => Nearness::Around,
        (Some(changed), Some(service)) => between(changed, service, calls),
        (Some(_), None) | (None, _) if change.host.is_some() => Nearness::Elsewhere,
        (Some(_), None) => Nearness::Elsewhere,
        (None, _) => Nearness::Around,
    }
}

fn between(changed: &str, service: &str, calls: &Calls) -> Nearness {
    match calls.distance(service, changed) {
        Some(0) => Nearness::Same,
        Some(distance) => Nearness::Below(distance),
        None if calls.distance(changed, service).is_some() => Nearness::Above,
        None => Nearness::Elsewhere,
    }
}

/// How well the kind of a change and what it names fit to the kind of a fault.
fn fit(change: &Change, fault: &Fault) -> f64 {
    use ChangeKind as Kind;
    let of_kind = match (fault.family, change.kind) {
        (Family::Host, Kind::Host)
        | (Family::Certificate, Kind::Certificate)
        | (Family::Gateway, Kind::Gateway)
        | (Family::WayBack, Kind::Migration) => 3.0,
        // What goes back because of it came after it.
        (Family::Rollout, Kind::Rollback) => 0.1,
        (Family::Host | Family::Certificate | Family::Gateway | Family::Disk, _) => 0.3,
        (
            Family::Instance | Family::CrashLoop | Family::AllDown,
            Kind::Host | Kind::Restart | Kind::Scale,
        ) => 1.5,
        _ => 1.0,
    };
    let is_own = change.service == fault.service;
    let of_version = match (&change.version, &fault.version) {
        (Some(changed), Some(version)) if is_own && changed == version => 1.5,
        (Some(_), Some(_)) if is_own => 0.5,
        _ => 1.0,
    };
    of_kind * of_version
}

impl ChangeKind {
    const fn weight(self) -> f64 {
        match self {
            Self::Deploy | Self::Injection => 1.0,
            Self::Configuration => 0.95,
            Self::Migration => 0.9,
            Self::Route | Self::Resource => 0.8,
            Self::Rollback => 0.7,
            Self::Host => 0.6,
            Self::First | Self::Gateway | Self::Certificate | Self::Policy => 0.5,
            Self::Scale => 0.4,
            Self::Restart => 0.3,
            Self::Other => 0.2,
        }
    }
}

impl Nearness {
    fn weight(self) -> f64 {
        match self {
            Self::Same => 1.0,
            Self::Below(1) => 0.8,
            Self::Below(2) => 0.6,
            Self::Below(_) => 0.45,
            Self::Around => 0.6,
            Self::Above => 0.35,
            Self::Elsewhere => 0.05,
        }
    }

    fn words(self, change: &Change, fault: &Fault) -> String {
        let service = fault.service.as_deref().unwrap_or("it");
        let changed = change.service.as_deref().or(change.host.as_deref()).unwrap_or("all");
        match self {
            Self::Same if change.service.is_none() => format!("of {changed}, which it is on"),
            Self::Same => format!("of {changed} itself"),
            Self::Below(1) => format!("of {changed}, which {service} calls"),
            Self::Below(calls) => format!("of {changed}, which {service} reaches over {calls} calls"),
            Self::Around => "of everything there".to_owned(),
            Self::Above => format!("of {changed}, which calls {service}"),
            Self::Elsewhere => format!("of {changed}, which has nothing to do with it as far as is known"),
        }
    }
}

impl From<Change> for NoticeChange {
    fn from(change: Change) -> Self {
        Self { what: change.what, who: change.who, at_ms: change.at_ms, undo: change.undo }
    }
}

#[cfg(test)]
mod tests;

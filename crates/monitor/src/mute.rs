//! One cause, one message: which alerts follow from another one, or are being mended.
//!
//! Invariant: whatever is muted by an alert follows, over one or more steps, from an alert that nothing mutes, or from an operation
//! that goes back. So a fault is never kept silent by faults that are silent because of it.

mod below;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::alert::{Alert, Muted, Stage, Tick};
use crate::notice::Severity;
use crate::reading::CALM_MS;
use crate::rule::Family;
use crate::seen::{Observation, OperationPhase, OperationSeen, Way};

/// What goes back mends what it is about; if it has not by then, people are told.
pub const MENDS_WITHIN_MS: u64 = 600_000;
/// When a cause is over, what followed from it is given so long to be over as well.
const LINGERS_MS: u64 = 60_000;
/// What was calm for so long is calm.
const MOST_CALM_MS: u64 = 8 * CALM_MS;

/// Alerts by fingerprint.
pub type Alerts = BTreeMap<String, Alert>;

/// Marks each alert that follows from something with what that is.
pub fn mark(alerts: &mut Alerts, look: &Observation, tick: Tick) {
    let causes = Causes::of(alerts, look).all();
    for (fingerprint, alert) in alerts {
        alert.muted = match (causes.get(fingerprint), alert.muted.take()) {
            (Some(by), _) => Some(Muted { by: by.clone(), over_ms: 0, restless_ms: 0 }),
            (None, Some(muted)) => {
                let muted = muted.after(tick.passed_ms, alert.finding.calm_ms);
                (muted.may_follow() && alert.is_firing()).then_some(muted)
            }
            (None, None) => None,
        };
    }
}

impl Muted {
    /// Returns the same a while after its cause was over. What a rule finds that looks far back is that cause's still, as long as nothing of it
    /// came after: calm is known of a minute, two, four and so on.
    fn after(self, passed_ms: u64, calm_ms: Option<u64>) -> Self {
        let over_ms = self.over_ms + passed_ms;
        let wanted_ms = (over_ms / 2).clamp(CALM_MS / 2, MOST_CALM_MS);
        let is_calm = calm_ms.is_some_and(|calm_ms| calm_ms >= wanted_ms);
        let restless_ms = if is_calm { 0 } else { self.restless_ms + passed_ms };
        Self { over_ms, restless_ms, ..self }
    }

    const fn may_follow(&self) -> bool {
        self.over_ms < LINGERS_MS || self.restless_ms < LINGERS_MS
    }
}

/// Where something is: an environment and a service.
type Place<'a> = (&'a str, &'a str);

/// What can be a cause.
struct Causes<'a> {
    alerts: &'a Alerts,
    /// Hosts that are away, or seem to be.
    away: BTreeMap<&'a str, &'a str>,
    /// Versions of which no instance serves.
    down: BTreeMap<(Place<'a>, &'a str), &'a str>,
    /// Services of which no instance of some version serves.
    down_services: BTreeMap<Place<'a>, &'a str>,
    /// Instances that end again and again.
    loops: BTreeMap<&'a str, &'a str>,
    /// Gateways of an environment that are silent.
    gateways: BTreeMap<&'a str, &'a str>,
    /// The alert that tells best that a service is in trouble.
    troubled: BTreeMap<Place<'a>, &'a str>,
    /// The worst alert of a kind about one subject.
    worst: BTreeMap<(Family, &'a crate::subject::Subject), &'a str>,
    /// Services that go back.
    mended: BTreeMap<Place<'a>, &'a str>,
    /// Services in trouble that each service in trouble follows from.
    below: BTreeMap<Place<'a>, Place<'a>>,
}

impl<'a> Causes<'a> {
    fn of(alerts: &'a Alerts, look: &'a Observation) -> Self {
        let firing = || alerts.iter().filter(|(_, alert)| alert.is_firing());
        let of = |family: Family| firing().filter(move |(_, alert)| alert.family == family);
        // A host that may be away explains at once what is down on it: otherwise that would be told first.
        let may_be = alerts
            .iter()
            .filter(|(_, alert)| alert.family == Family::Host && alert.stage != Stage::Recovered);
        let troubled = troubled(alerts);
        Self {
            alerts,
            away: may_be
                .filter_map(|(name, alert)| Some((alert.subject.get("host")?, name.as_str())))
                .collect(),
            down: of(Family::AllDown)
                .filter_map(|(name, alert)| Some((version(alert)?, name.as_str())))
                .collect(),
            down_services: of(Family::AllDown)
                .filter_map(|(name, alert)| Some((place(alert)?, name.as_str())))
                .collect(),
            loops: of(Family::CrashLoop)
                .filter_map(|(name, alert)| Some((alert.subject.get("instance")?, name.as_str())))
                .collect(),
            gateways: of(Family::Gateway)
                .filter_map(|(name, alert)| Some((alert.subject.environment()?, name.as_str())))
                .collect(),
            worst: worst(alerts),
            mended: mended(look),
            below: below::below(&troubled, alerts, look),
            troubled,
        }
    }

    fn all(&self) -> BTreeMap<String, String> {
        let live = self.alerts.iter().filter(|(_, alert)| alert.stage != Stage::Recovered);
        live.filter_map(|(name, alert)| Some((name.clone(), self.cause(name, alert)?.to_owned()))).collect()
    }

    fn cause(&self, name: &str, alert: &'a Alert) -> Option<&'a str> {
        let mended = || self.mended.get(&place(alert)?).copied();
        match alert.family {
            Family::Instance => self
                .on_host(alert)
                .or_else(|| self.version_down(alert))
                .or_else(|| self.looping(alert))
                .or_else(mended),
            Family::CrashLoop => self.on_host(alert).or_else(|| self.version_down(alert)).or_else(mended),
            Family::AllDown => mended(),
            Family::Traffic => self.of_traffic(name, alert).or_else(mended),
            Family::Check => self.of_check(name, alert).or_else(mended),
            Family::Gateway => self.on_host(alert),
            Family::Unwatched => self.gateways.get(alert.subject.environment()?).copied(),
            Family::Certificate | Family::Disk => self.worse(name, alert),
            Family::Host | Family::WayBack | Family::Rollout | Family::Waits => None,
        }
    }

    fn of_traffic(&self, name: &str, alert: &'a Alert) -> Option<&'a str> {
        let place = place(alert)?;
        let down = self.down_services.get(&place).copied();
        let below = || self.below.get(&place).and_then(|below| self.troubled.get(below)).copied();
        down.or_else(|| self.worse(name, alert)).or_else(below)
    }

    /// What fails for clients is told before what a check finds of it.
    fn of_check(&self, name: &str, alert: &'a Alert) -> Option<&'a str> {
        let known = place(alert).and_then(|place| self.troubled.get(&place)).copied();
        known.filter(|known| *known != name).or_else(|| self.of_traffic(name, alert))
    }

    fn on_host(&self, alert: &Alert) -> Option<&'a str> {
        self.away.get(alert.subject.get("host")?).copied()
    }

    fn version_down(&self, alert: &Alert) -> Option<&'a str> {
        self.down.get(&version(alert)?).copied()
    }

    fn looping(&self, alert: &Alert) -> Option<&'a str> {
        self.loops.get(alert.subject.get("instance")?).copied()
    }

    fn worse(&self, name: &str, alert: &Alert) -> Option<&'a str> {
        self.worst.get(&(alert.family, &alert.subject)).copied().filter(|worst| *worst != name)
    }
}

fn place(alert: &Alert) -> Option<Place<'_>> {
    Some((alert.subject.environment()?, alert.subject.service()?))
}

fn version(alert: &Alert) -> Option<(Place<'_>, &str)> {
    Some((place(alert)?, alert.subject.get("version")?))
}

/// Worse goes before mild, then what is so now before what was so over hours, then told before not told, then early before late.
fn order<'a>(name: &'a str, alert: &Alert) -> (Reverse<Severity>, bool, bool, u64, &'a str) {
    let looks_far_back = alert.finding.calm_ms.is_some();
    (Reverse(alert.severity), looks_far_back, !alert.told, alert.since_ms, name)
}

fn worst(alerts: &Alerts) -> BTreeMap<(Family, &crate::subject::Subject), &str> {
    let mut worst = BTreeMap::<_, &str>::new();
    for (name, alert) in alerts.iter().filter(|(_, alert)| alert.is_open() && !alert.lingers()) {
        let kept = worst.entry((alert.family, &alert.subject)).or_insert(name);
        if alerts.get(*kept).is_some_and(|other| order(name, alert) < order(kept, other)) {
            *kept = name;
        }
    }
    worst
}

/// Services whose requests fail or which are down, or of which a check fails, each with the alert that says it best.
fn troubled(alerts: &Alerts) -> BTreeMap<Place<'_>, &str> {
    let is_trouble = |alert: &Alert| {
        matches!(alert.family, Family::Traffic | Family::AllDown | Family::Check)
            && alert.is_firing()
            && !alert.lingers()
    };
    let mut troubled = BTreeMap::<Place<'_>, &str>::new();
    let firing = alerts.iter().filter(|(_, alert)| is_trouble(alert));
    for (place, name, alert) in firing.filter_map(|(name, alert)| Some((place(alert)?, name, alert))) {
        let kept = troubled.entry(place).or_insert(name);
        let kind = |alert: &Alert| match alert.family {
            Family::AllDown => 0,
            Family::Traffic => 1,
            _ => 2,
        };
        let rank = |name, alert: &Alert| (kind(alert), order(name, alert).0, alert.since_ms);
        if alerts.get(*kept).is_some_and(|other| rank(name, alert) < rank(kept, other)) {
            *kept = name;
        }
    }
    troubled
}

fn mended(look: &Observation) -> BTreeMap<Place<'_>, &str> {
    let is_going_back = |operation: &OperationSeen| {
        let is_recent = look.at_ms.saturating_sub(operation.since_ms) < MENDS_WITHIN_MS;
        let is_back = matches!(operation.phase, OperationPhase::Reverting { .. })
            || (operation.way == Way::Back && operation.phase == OperationPhase::Goes);
        is_recent && is_back
    };
    let operations = look.environments().flat_map(|(environment, seen)| {
        seen.operations.seen().into_iter().flatten().map(move |operation| (environment, operation))
    });
    operations
        .filter(|(_, operation)| is_going_back(operation))
        .flat_map(|(environment, operation)| {
            operation
                .services
                .iter()
                .map(move |service| ((environment, service.as_str()), operation.id.as_str()))
        })
        .collect()
}

#[cfg(test)]
mod tests;

//! The state of all alerts, and how one look changes it: what is to be told comes out.
//!
//! A function of the state, the look and the time in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Tick, Turn, step};
use crate::calls::Calls;
use crate::cause::{Change, Fault, likely};
use crate::group::{Groups, Pacing};
use crate::history::History;
use crate::mute::{self, Alerts};
use crate::notice::Notice;
use crate::reading::{Known, Value, of_absent, readings};
use crate::rule::{Condition, Rule};
use crate::seen::Observation;
use crate::series::tick_ms;
use crate::silence::Silence;
use crate::subject::Subject;

/// More alerts than this are not kept: what fires then is far more than anybody can be told.
pub const MAX_KEPT: usize = 50_000;

/// What people decided about watching.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Config {
    /// Rules, those that are there by themselves among them.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Silences.
    #[serde(default)]
    pub silences: Vec<Silence>,
    /// How alerts are told.
    #[serde(default)]
    pub pacing: Pacing,
}

/// The state of all alerts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Watch {
    #[serde(default)]
    last_ms: Option<u64>,
    #[serde(default)]
    alerts: Alerts,
    #[serde(default)]
    groups: Groups,
    /// Alerts that were not kept because there were too many.
    #[serde(default)]
    pub dropped: u64,
}

/// What a look changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Looked {
    /// What is told.
    pub notices: Vec<Notice>,
    /// Alerts that fired or recovered, told or not, for the history.
    pub turns: Vec<(String, Turn)>,
}

impl Watch {
    /// Takes in a look. Changes are those of the last days, in any order.
    pub fn look(&mut self, known: Known<'_>, config: &Config, changes: &[Change]) -> Looked {
        let now_ms = known.look.at_ms;
        let tick = Tick { now_ms, passed_ms: tick_ms(self.last_ms.unwrap_or(now_ms), now_ms) };
        self.last_ms = Some(now_ms);
        let mut turns: Vec<(String, Turn)> =
            config.rules.iter().flat_map(|rule| self.read(rule, known, tick)).collect();
        turns.extend(self.end_without_rule(&config.rules, tick));
        self.find_changes(&turns, known, config, changes);
        mute::mark(&mut self.alerts, known.look, tick);
        self.adopt_changes();
        self.silence(&config.silences, now_ms);
        let notices = self.groups.tell(&mut self.alerts, known.look, &config.pacing, tick);
        Looked { notices, turns }
    }

    /// Returns all alerts that are not inactive, by fingerprint.
    #[must_use]
    pub const fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// Returns the groups.
    #[must_use]
    pub const fn groups(&self) -> &Groups {
        &self.groups
    }

    fn read(&mut self, rule: &Rule, known: Known<'_>, tick: Tick) -> Vec<(String, Turn)> {
        let mut found = self.absent(rule, known.look);
        let is_quiet = found.is_empty();
        for reading in readings(rule, known) {
            // Most rules find nothing, and naming each subject costs more than looking at it.
            if is_quiet && reading.value == Value::Fine {
                continue;
            }
            let name = reading.subject.fingerprint(&rule.name);
            // Two operations may speak of one service: what is wrong goes before what is not.
            let is_told = found.get(&name).is_some_and(|(_, value)| matches!(value, Value::Wrong(_)));
            if !is_told {
                found.insert(name, (reading.subject, reading.value));
            }
        }
        let mut turns = Vec::new();
        for (name, (subject, value)) in found {
            let turn = self.step(&name, rule, &subject, &value, tick);
            turns.extend(turn.map(|turn| (name, turn)));
        }
        turns
    }

    /// How subjects are of which the rule had alerts; readings of them replace it.
    fn absent(&self, rule: &Rule, look: &Observation) -> BTreeMap<String, (Subject, Value)> {
        let own = self.alerts.iter().filter(|(_, alert)| alert.rule == rule.name);
        own.map(|(name, alert)| {
            let is_about = rule.is_about(&alert.subject);
            let value =
                if is_about { of_absent(rule.condition.family(), &alert.subject, look) } else { Value::Fine };
            (name.clone(), (alert.subject.clone(), value))
        })
        .collect()
    }

    fn step(
        &mut self,
        name: &str,
        rule: &Rule,
        subject: &Subject,
        value: &Value,
        tick: Tick,
    ) -> Option<Turn> {
        let before = self.alerts.remove(name);
        if before.is_none() && self.alerts.len() >= MAX_KEPT {
            self.dropped += u64::from(matches!(value, Value::Wrong(_)));
            return None;
        }
        let (after, turn) = step(before, rule, subject, value, tick);
        if let Some(alert) = after {
            self.alerts.insert(name.to_owned(), alert);
        }
        turn
    }

    /// A rule that is not there any more finds nothing.
    fn end_without_rule(&mut self, rules: &[Rule], tick: Tick) -> Vec<(String, Turn)> {
        let is_lost = |alert: &Alert| rules.iter().all(|rule| rule.name != alert.rule);
        let lost: Vec<String> =
            self.alerts.iter().filter(|(_, alert)| is_lost(alert)).map(|(name, _)| name.clone()).collect();
        let mut turns = Vec::new();
        for name in lost {
            let Some(mut alert) = self.alerts.remove(&name) else { continue };
            alert.finding.detail = Some(format!("the rule `{}` was removed or turned off", alert.rule));
            let (after, turn) = alert.end(tick);
            turns.extend(turn.map(|turn| (name.clone(), turn)));
            self.alerts.extend(after.map(|alert| (name, alert)));
        }
        turns
    }

    fn find_changes(
        &mut self,
        turns: &[(String, Turn)],
        known: Known<'_>,
        config: &Config,
        changes: &[Change],
    ) {
        let fired = turns.iter().filter(|(_, turn)| *turn == Turn::Fired);
        let mut calls = BTreeMap::new();
        for (name, _) in fired {
            let Some(alert) = self.alerts.get_mut(name) else { continue };
            let environment = alert.subject.environment().unwrap_or_default().to_owned();
            let calls = calls.entry(environment).or_insert_with_key(|name| calls_in(known.look, name));
            let rule = config.rules.iter().find(|rule| rule.name == alert.rule);
            alert.change = likely(changes, &fault(alert, rule, known), calls);
        }
    }

    /// What follows from another fault has the change that came before that.
    fn adopt_changes(&mut self) {
        let cause = |alert: &Alert| Some(self.alerts.get(&alert.muted.as_ref()?.by)?.change.clone());
        let adopted: Vec<_> =
            self.alerts.iter().filter_map(|(name, alert)| Some((name.clone(), cause(alert)?))).collect();
        for (name, change) in adopted {
            self.alerts.entry(name).and_modify(|alert| alert.change = change);
        }
    }

    fn silence(&mut self, silences: &[Silence], now_ms: u64) {
        for alert in self.alerts.values_mut() {
            let by = silences.iter().find(|silence| silence.covers(alert, now_ms));
            alert.silenced = by.map(|silence| silence.id.clone());
        }
    }
}

fn calls_in(look: &Observation, environment: &str) -> Calls {
    let seen = look.environments.seen().and_then(|environments| environments.get(environment));
    seen.and_then(|seen| seen.services.seen()).map(Calls::of).unwrap_or_default()
}

fn fault(alert: &Alert, rule: Option<&Rule>, known: Known<'_>) -> Fault {
    let (environment, service) = (alert.subject.environment(), alert.subject.service());
    let place = environment.zip(service);
    let seen = place.and_then(|(environment, service)| known.look.service(environment, service));
    let instances = seen.and_then(|service| service.instances.seen()).into_iter().flatten();
    let on = instances.filter_map(|instance| instance.host.clone());
    let hosts = alert.subject.get("host").map(str::to_owned);
    let over_ms = rule.map_or(0, |rule| over_ms(&rule.condition));
    let began_ms = place.zip(rule).and_then(|(place, rule)| began_ms(place, &rule.condition, known.history));
    Fault {
        at_ms: began_ms.unwrap_or(alert.since_ms),
        over_ms: if began_ms.is_some() { 0 } else { over_ms },
        family: alert.family,
        environment: environment.map(str::to_owned),
        service: service.map(str::to_owned),
        version: alert.subject.get("version").map(str::to_owned),
        hosts: if hosts.is_some() { hosts.into_iter().collect() } else { on.collect() },
    }
}

/// Returns when a fault began that is found long after: a budget that burns.
fn began_ms((environment, service): (&str, &str), condition: &Condition, history: &History) -> Option<u64> {
    let Condition::BudgetBurn { long_seconds, .. } = *condition else { return None };
    history.began_ms(environment, service, long_seconds * 1_000)
}

/// Returns for how long a fault may have gone on before its rule finds it.
const fn over_ms(condition: &Condition) -> u64 {
    match *condition {
        Condition::BudgetBurn { long_seconds, .. } => long_seconds * 1_000,
        Condition::FailureShare { over_seconds, .. }
        | Condition::SlowShare { over_seconds, .. }
        | Condition::TooFewRequests { over_seconds, .. }
        | Condition::CrashLoop { over_seconds, .. } => over_seconds * 1_000,
        Condition::GatewayBehind { longer_than_seconds }
        | Condition::OperationWaits { longer_than_seconds } => longer_than_seconds * 1_000,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;

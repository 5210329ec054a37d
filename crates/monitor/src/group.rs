//! Which alerts are told together, and when: by environment and service, and in a storm all of an environment in one.
//!
//! Waits are lived times, as in [`crate::alert`]. A group is told when it opens, when it changed (at most once in an interval, unless
//! it became worse), and when it is over: once. What was over before it was told is not told at all: it is in the history, and a
//! message about nothing teaches people to pass over messages.

mod words;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, CALM_AFTER_MS, Tick, keeps_ms};
use crate::mute::Alerts;
use crate::notice::{MAX_ALERTS, Notice, NoticeChange, NoticeKind, Severity};
use crate::rule::Family;
use crate::seen::Observation;

/// How long a group that opened counts against a storm.
const BURST_MS: u64 = 300_000;

/// How alerts are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pacing {
    /// How long a group waits for more before it is told first.
    pub group_wait_ms: u64,
    /// How long it waits before it is told that it changed.
    pub group_interval_ms: u64,
    /// After how long it is told again although nothing changed; never when left out.
    pub repeat_ms: Option<u64>,
    /// When more groups than this open in one environment in five minutes, the others are told as one.
    pub storm_above: u32,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { group_wait_ms: 500, group_interval_ms: 300_000, repeat_ms: None, storm_above: 5 }
    }
}

/// Alerts that are told together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Group {
    /// The environment, when it is of one.
    #[serde(default)]
    pub environment: Option<String>,
    /// The service, when it is of one.
    #[serde(default)]
    pub service: Option<String>,
    /// Where it stands.
    pub phase: Phase,
    /// How long it has been since it opened, was told, or was over; lived time.
    #[serde(default)]
    pub spent_ms: u64,
    /// For how long nothing of it fires, while it is told; lived time.
    #[serde(default)]
    pub over_ms: Option<u64>,
    /// How often it opened since it was calm.
    #[serde(default)]
    pub opened: u32,
    /// The worst that was told.
    #[serde(default)]
    pub severity: Severity,
    /// The change that was told.
    #[serde(default)]
    pub change: Option<NoticeChange>,
    /// Who was told of.
    #[serde(default)]
    pub owners: BTreeSet<String>,
}

/// Where a group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits to be told.
    #[default]
    Waits,
    /// It was told.
    Told,
    /// It is over, and remembered.
    Closed,
}

/// All groups, by the key that notices carry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Groups {
    #[serde(default)]
    groups: BTreeMap<String, Group>,
    /// How long ago groups opened, by environment; lived time.
    #[serde(default)]
    bursts: BTreeMap<String, Vec<u64>>,
    /// Notices that were made.
    #[serde(default)]
    made: u64,
}

/// What is told, and of which alerts.
struct Telling {
    kind: NoticeKind,
    alerts: Vec<String>,
}

/// Puts a key together with the environment and service that it is of.
struct Natural {
    key: String,
    environment: Option<String>,
    service: Option<String>,
}

fn natural(alert: &Alert) -> Natural {
    let subject = &alert.subject;
    let (environment, service) = (subject.environment(), subject.service());
    let part = ["certificate", "gateway"].into_iter().find_map(|label| Some((label, subject.get(label)?)));
    let key = match (environment, service, part, subject.get("host")) {
        (Some(environment), Some(service), ..) => format!("{environment}/{service}"),
        (Some(environment), None, Some((label, name)), _) => format!("{environment}/{label} {name}"),
        (Some(environment), ..) => format!("{environment}/watching"),
        (None, _, _, Some(host)) => format!("host {host}"),
        (None, ..) if alert.family == Family::Disk => "server".to_owned(),
        (None, ..) => "watching".to_owned(),
    };
    Natural { key, environment: environment.map(str::to_owned), service: service.map(str::to_owned) }
}

impl Groups {
    /// Puts what fires into groups, and returns what is told now.
    pub fn tell(
        &mut self,
        alerts: &mut Alerts,
        look: &Observation,
        pacing: &Pacing,
        tick: Tick,
    ) -> Vec<Notice> {
        self.age(tick);
        self.assign(alerts, pacing);
        let members = members(alerts);
        let held = held(alerts);
        let mut notices = Vec::new();
        let keys: Vec<String> = self.groups.keys().cloned().collect();
        for key in keys {
            let Some(group) = self.groups.get_mut(&key) else { continue };
            let names = members.get(&key).map_or(&[][..], Vec::as_slice);
            let telling = group.advance(names, alerts, held.contains(&key), pacing);
            if let Some(telling) = &telling {
                self.made += 1;
                let id = format!("{:x}-{}", tick.now_ms, self.made);
                notices.push(group.notice(id, &key, telling, alerts, look, tick));
            }
            group.release(names, alerts, telling.is_some());
        }
        self.groups.retain(|_, group| !group.is_forgotten());
        notices
    }

    /// Tells whether a group waits to be told.
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.groups.values().any(|group| group.phase == Phase::Waits)
    }

    /// Returns groups that were told and are not over, by key.
    pub fn open(&self) -> impl Iterator<Item = (&str, &Group)> {
        let told = self.groups.iter().filter(|(_, group)| group.phase == Phase::Told);
        told.map(|(key, group)| (key.as_str(), group))
    }

    fn age(&mut self, tick: Tick) {
        self.groups.values_mut().for_each(|group| group.age(tick));
        for ages in self.bursts.values_mut() {
            ages.iter_mut().for_each(|age_ms| *age_ms += tick.passed_ms);
            ages.retain(|age_ms| *age_ms < BURST_MS);
        }
        self.bursts.retain(|_, ages| !ages.is_empty());
    }

    fn is_open(&self, key: &str) -> bool {
        self.groups.get(key).is_some_and(|group| group.phase != Phase::Closed)
    }

    fn assign(&mut self, alerts: &mut Alerts, pacing: &Pacing) {
        let mut fresh = BTreeMap::<String, BTreeMap<String, (Natural, Vec<String>)>>::new();
        for (name, alert) in
            alerts.iter_mut().filter(|(_, alert)| alert.may_be_told() && alert.group.is_none())
        {
            let natural = natural(alert);
            if self.is_open(&natural.key) {
                alert.group = Some(natural.key);
                continue;
            }
            let of_environment = fresh.entry(natural.environment.clone().unwrap_or_default()).or_default();
            of_environment
                .entry(natural.key.clone())
                .or_insert_with(|| (natural, Vec::new()))
                .1
                .push(name.clone());
        }
        for (environment, groups) in fresh {
            self.open_all(&environment, groups, alerts, pacing);
        }
    }

    fn open_all(
        &mut self,
        environment: &str,
        fresh: BTreeMap<String, (Natural, Vec<String>)>,
        alerts: &mut Alerts,
        pacing: &Pacing,
    ) {
        let storm_above = pacing.storm_above as usize;
        let ages = self.bursts.entry(environment.to_owned()).or_default();
        let is_storm = ages.len() + fresh.len() > storm_above;
        ages.extend(std::iter::repeat_n(0, fresh.len().min(storm_above)));
        let excess = ages.len().saturating_sub(storm_above);
        ages.drain(..excess);
        for (natural, names) in fresh.into_values() {
            let natural = if is_storm { storm(environment) } else { natural };
            for name in names {
                if let Some(alert) = alerts.get_mut(&name) {
                    alert.group = Some(natural.key.clone());
                }
            }
            self.open_one(natural);
        }
    }

    fn open_one(&mut self, natural: Natural) {
        if self.is_open(&natural.key) {
            return;
        }
        let opened = self.groups.get(&natural.key).map_or(0, |group| group.opened).saturating_add(1);
        let Natural { key, environment, service } = natural;
        self.groups.insert(key, Group { environment, service, opened, ..Group::default() });
    }
}

fn storm(environment: &str) -> Natural {
    let is_one = !environment.is_empty();
    let key = if is_one { format!("{environment}/many") } else { "many".to_owned() };
    Natural { key, environment: is_one.then(|| environment.to_owned()), service: None }
}

fn members(alerts: &Alerts) -> BTreeMap<String, Vec<String>> {
    let mut members = BTreeMap::<String, Vec<String>>::new();
    for (name, alert) in alerts {
        if let Some(group) = &alert.group {
            members.entry(group.clone()).or_default().push(name.clone());
        }
    }
    members
}

/// Groups in which something still fires that is not told because of another alert of the same group: they are not over. What follows
/// from elsewhere, such as a host, is over when that is; and what only lingers, because its rule looks far back, is over.
fn held(alerts: &Alerts) -> BTreeSet<String> {
    let holds = |alert: &&Alert| {
        alert.is_firing() && !alert.lingers() && alert.group.is_none() && alert.silenced.is_none()
    };
    let in_same = |alert: &Alert| {
        let cause = alerts.get(&alert.muted.as_ref()?.by)?;
        let key = natural(alert).key;
        (natural(cause).key == key).then_some(key)
    };
    alerts.values().filter(holds).filter_map(in_same).collect()
}

impl Group {
    fn age(&mut self, tick: Tick) {
        self.spent_ms = self.spent_ms.saturating_add(tick.passed_ms);
        self.over_ms = self.over_ms.map(|over_ms| over_ms.saturating_add(tick.passed_ms));
    }

    fn advance(
        &mut self,
        names: &[String],
        alerts: &mut Alerts,
        is_held: bool,
        pacing: &Pacing,
    ) -> Option<Telling> {
        match self.phase {
            Phase::Waits => self.first(names, alerts, pacing),
            Phase::Told => self.later(names, alerts, is_held, pacing),
            Phase::Closed => None,
        }
    }

    /// Tells of it for the first time, after a wait for more.
    fn first(&mut self, names: &[String], alerts: &mut Alerts, pacing: &Pacing) -> Option<Telling> {
        let tellable = pick(names, alerts, Alert::may_be_told);
        if tellable.is_empty() {
            self.close();
            return None;
        }
        (self.spent_ms >= pacing.group_wait_ms).then(|| {
            self.told(&tellable, alerts);
            Telling { kind: NoticeKind::Fault, alerts: tellable }
        })
    }

    fn later(
        &mut self,
        names: &[String],
        alerts: &mut Alerts,
        is_held: bool,
        pacing: &Pacing,
    ) -> Option<Telling> {
        if is_held || !pick(names, alerts, Alert::is_firing).is_empty() {
            self.over_ms = None;
            return self.changed(names, alerts, pacing);
        }
        let over_ms = *self.over_ms.get_or_insert(0);
        (over_ms >= keeps_ms(0, self.opened)).then(|| {
            self.close();
            Telling { kind: NoticeKind::Recovered, alerts: pick(names, alerts, |alert| alert.told) }
        })
    }

    fn changed(&mut self, names: &[String], alerts: &mut Alerts, pacing: &Pacing) -> Option<Telling> {
        let new = pick(names, alerts, |alert| alert.may_be_told() && !alert.told);
        let ended = pick(names, alerts, |alert| alert.told && !alert.is_firing());
        let worst = new.iter().filter_map(|name| alerts.get(name)).map(|alert| alert.severity).max();
        let wait_ms =
            if worst > Some(self.severity) { pacing.group_wait_ms } else { pacing.group_interval_ms };
        // Where nothing that was told fires any more, what goes on is not over and no news.
        let is_less =
            !ended.is_empty() && !pick(names, alerts, |alert| alert.told && alert.is_firing()).is_empty();
        let is_changed = (is_less || !new.is_empty()) && self.spent_ms >= wait_ms;
        let is_again = pacing.repeat_ms.is_some_and(|repeat_ms| self.spent_ms >= repeat_ms);
        (is_changed || is_again).then(|| {
            self.told(&new, alerts);
            self.severity = worst_firing(names, alerts).unwrap_or(self.severity);
            let kind = if is_changed { NoticeKind::Changed } else { NoticeKind::Fault };
            Telling { kind, alerts: pick(names, alerts, |alert| alert.told) }
        })
    }

    fn told(&mut self, names: &[String], alerts: &mut Alerts) {
        (self.phase, self.spent_ms, self.over_ms) = (Phase::Told, 0, None);
        for name in names {
            let Some(alert) = alerts.get_mut(name) else { continue };
            alert.told = true;
            self.severity = self.severity.max(alert.severity);
            self.change = self.change.take().or_else(|| alert.change.clone());
        }
    }

    fn close(&mut self) {
        (self.phase, self.spent_ms, self.over_ms) = (Phase::Closed, 0, None);
    }

    /// Lets go of alerts: all when it is over, else those that were told to be over or were never told.
    fn release(&self, names: &[String], alerts: &mut Alerts, was_told_now: bool) {
        for name in names {
            let Some(alert) = alerts.get_mut(name) else { continue };
            let is_done = !alert.is_firing() && (was_told_now || !alert.told);
            let is_unsaid = !alert.told && !alert.may_be_told();
            if self.phase == Phase::Closed || is_done || is_unsaid {
                (alert.group, alert.told) = (None, false);
            }
        }
    }

    fn is_forgotten(&self) -> bool {
        self.phase == Phase::Closed && self.spent_ms >= CALM_AFTER_MS
    }

    fn notice(
        &mut self,
        id: String,
        key: &str,
        telling: &Telling,
        alerts: &Alerts,
        look: &Observation,
        tick: Tick,
    ) -> Notice {
        let mut told: Vec<(&String, &Alert)> =
            telling.alerts.iter().filter_map(|name| alerts.get_key_value(name)).collect();
        told.sort_by_key(|(name, alert)| {
            (!alert.is_firing(), std::cmp::Reverse(alert.severity), alert.since_ms, *name)
        });
        self.owners.extend(words::owners(&told, alerts, look));
        let listed = told.iter().take(MAX_ALERTS).map(|(name, alert)| words::listed(name, alert, alerts));
        Notice {
            id,
            at_ms: tick.now_ms,
            kind: telling.kind,
            severity: self.severity,
            group: key.to_owned(),
            environment: self.environment.clone(),
            service: self.service.clone(),
            title: words::title(telling.kind, self, &told),
            alerts: listed.collect(),
            more: u32::try_from(told.len().saturating_sub(MAX_ALERTS)).unwrap_or(u32::MAX),
            change: self.change.clone(),
            owners: self.owners.iter().cloned().collect(),
            link: None,
        }
    }
}

fn worst_firing(names: &[String], alerts: &Alerts) -> Option<Severity> {
    let told =
        names.iter().filter_map(|name| alerts.get(name)).filter(|alert| alert.told && alert.is_firing());
    told.map(|alert| alert.severity).max()
}

fn pick(names: &[String], alerts: &Alerts, is: impl Fn(&Alert) -> bool) -> Vec<String> {
    names.iter().filter(|name| alerts.get(*name).is_some_and(&is)).cloned().collect()
}

//! Proven baselines: those that served long enough without an alarm, so that they come first when somebody goes back.
//!
//! Whoever looks says how much time it saw itself, and the clock is never asked for it: a clock that was set, a machine that slept and a
//! server that was away prove nothing. What is proven is recorded once and stays so.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::{Baseline, BaselineEntry};
use crate::environment::Environment;
use crate::event::Event;
use crate::instance::{Arm, Instance, InstanceId, InstanceState};
use crate::intent::Intent;
use crate::name::ServiceName;
use crate::observed::Observed;
use crate::operation::{Operation, Phase};
use crate::plan::is_forward;
use crate::replicas::has_instances;
use crate::routes::ArmTraffic;
use crate::time::Timestamp;
use crate::version::VersionRef;
use crate::world::World;

/// Requests that are asked for where nobody said otherwise: when none of so many fails, fewer than 3 of 1,000 do in 95 of 100 cases.
pub const USUAL_REQUESTS: u64 = 1_000;
/// The time that is asked for where nobody said otherwise: what leaks or runs full is often seen within an hour.
pub const USUAL_MS: u64 = 60 * 60 * 1_000;
/// Longest time that can be asked for.
pub const MAX_PROVEN_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// Failures are looked at together for so long: a short incident in a long quiet time is not averaged away.
const WINDOW_MS: u64 = 60_000;
/// Fewer failures than this within a window are no alarm of their own: one of three says little.
const MIN_FAILURES: u64 = 10;
/// An instance that stays unhealthy for so long is an alarm; it is replaced after a minute.
const UNHEALTHY_MS: u64 = 30_000;

/// What makes a baseline of an environment proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProvenAfter {
    /// How long it has to be current without an alarm.
    pub ms: u64,
    /// How many requests it has to serve in that time; 0 lets time alone decide.
    pub requests: u64,
}

impl Default for ProvenAfter {
    fn default() -> Self {
        Self { ms: USUAL_MS, requests: USUAL_REQUESTS }
    }
}

impl ProvenAfter {
    /// Tells whether it is what goes without saying.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// What made a baseline proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proof {
    /// When that was recorded.
    pub at: Timestamp,
    /// Since when it was looked at without an alarm.
    pub since: Timestamp,
    /// How much of that time somebody looked.
    pub seen_ms: u64,
    /// Requests that it answered.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Services that take requests and had none: of these nothing was seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unasked: Vec<ServiceName>,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, failures, seen_ms, unasked, .. } = self;
        match requests {
            0 => write!(f, "{} without an alarm, nobody asked", span(*seen_ms))?,
            _ => write!(f, "{requests} requests in {}, {failures} failed", span(*seen_ms))?,
        }
        let unasked: Vec<_> = unasked.iter().map(ServiceName::as_str).collect();
        match unasked.as_slice() {
            [] => Ok(()),
            _ if *requests == 0 => Ok(()),
            few => write!(f, ", none to {}", few.join(", ")),
        }
    }
}

/// Writes a time as people say it: `3h 20m`.
#[must_use]
pub fn span(ms: u64) -> String {
    let (days, hours, minutes, seconds) =
        (ms / 86_400_000, ms / 3_600_000 % 24, ms / 60_000 % 60, ms / 1_000 % 60);
    let two = |large: u64, unit: &str, small: u64, below: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit} {small}{below}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => two(minutes, "m", seconds, "s"),
        (0, hours, minutes) => two(hours, "h", minutes, "m"),
        (days, hours, _) => two(days, "d", hours, "h"),
    }
}

/// What began the counting anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alarm {
    /// When it was seen.
    pub at: Timestamp,
    /// What happened, for people.
    pub what: String,
}

/// What was seen of the baseline that is current, since it came or since the last alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proving {
    /// The record that made the environment.
    record: u64,
    /// The baseline.
    pub baseline: u64,
    /// When it became current: tells it from one of the same number in a journal that was put back.
    came: Timestamp,
    /// Since when this is counted.
    pub since: Timestamp,
    /// How much time was seen in which everything served.
    pub seen_ms: u64,
    /// What each service answered.
    services: BTreeMap<ServiceName, ArmTraffic>,
    /// The last alarm.
    pub alarm: Option<Alarm>,
    window_ms: u64,
    window: BTreeMap<ServiceName, ArmTraffic>,
    instances: BTreeMap<InstanceId, KnownInstance>,
}

/// What is known of an instance, so that what happens to it is an alarm once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownInstance {
    restarts: u32,
    failed: bool,
    unhealthy_ms: u64,
}

/// What was seen since the look before.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// What there is.
    pub world: &'a World,
    /// Where.
    pub environment: &'a Environment,
    /// What runs there.
    pub observed: &'a Observed,
    /// What gateways counted since the look before, under whichever name of a service.
    pub counted: &'a BTreeMap<Arm, ArmTraffic>,
    /// How long ago that was, by a clock that nobody sets.
    pub elapsed_ms: u64,
    /// When, for people.
    pub now: Timestamp,
}

impl Proving {
    /// Takes in what was seen. Begins anew with another baseline, and with an alarm.
    #[must_use]
    pub fn look(before: Option<Self>, seen: Seen<'_>) -> Self {
        let Some(mut proving) = before.filter(|it| it.is_of(seen.environment)) else {
            return Self::begin(seen);
        };
        proving.rename(seen.world);
        match proving.trouble(seen).or_else(|| proving.count(seen)) {
            None => proving,
            Some(what) => Self { alarm: Some(Alarm { at: seen.now, what }), ..Self::begin(seen) },
        }
    }

    fn begin(seen: Seen<'_>) -> Self {
        let baseline = seen.environment.baselines.current();
        let known = |instance: &Instance| (instance.id.clone(), KnownInstance::of(instance));
        Self {
            record: seen.environment.record,
            baseline: baseline.number,
            came: baseline.at,
            since: seen.now,
            seen_ms: 0,
            services: BTreeMap::new(),
            alarm: None,
            window_ms: 0,
            window: BTreeMap::new(),
            instances: of_baseline(seen).map(known).collect(),
        }
    }

    /// Tells whether it is about what is current now.
    #[must_use]
    pub fn is_of(&self, environment: &Environment) -> bool {
        let baseline = environment.baselines.current();
        (self.record, self.baseline, self.came) == (environment.record, baseline.number, baseline.at)
    }

    fn rename(&mut self, world: &World) {
        if world.renamed.is_empty() {
            return;
        }
        for all in [&mut self.services, &mut self.window] {
            let named = |(service, it)| (world.current_name(&service).clone(), it);
            *all = std::mem::take(all).into_iter().map(named).collect();
        }
    }

    /// Finds an instance that failed by its own doing, ended and was started again, or stays unhealthy.
    fn trouble(&mut self, seen: Seen<'_>) -> Option<String> {
        let before = std::mem::take(&mut self.instances);
        let mut alarm = None;
        for instance in of_baseline(seen) {
            let mut now = KnownInstance::of(instance);
            let known = before.get(&instance.id);
            if matches!(instance.state, InstanceState::Unhealthy { .. }) {
                now.unhealthy_ms = known.map_or(0, |it| it.unhealthy_ms).saturating_add(seen.elapsed_ms);
            }
            alarm = alarm.or_else(|| now.since(known).map(|what| format!("{} {what}", instance.id)));
            self.instances.insert(instance.id.clone(), now);
        }
        alarm
    }

    /// Adds what was counted; finds a service that fails more than the environment allows.
    fn count(&mut self, seen: Seen<'_>) -> Option<String> {
        for (arm, more) in seen.counted {
            let service = seen.world.current_name(&arm.service);
            let runs = seen.environment.entries().get(service);
            if runs.is_some_and(|runs| (&runs.version, runs.config) == (&arm.version, arm.config)) {
                for all in [&mut self.services, &mut self.window] {
                    add(all.entry(service.clone()).or_default(), *more);
                }
            }
        }
        if serves(seen) {
            self.seen_ms = self.seen_ms.saturating_add(seen.elapsed_ms);
        }
        self.window_ms = self.window_ms.saturating_add(seen.elapsed_ms);
        let allowed = allowed(seen.environment);
        let fails = |it: &ArmTraffic| it.failures >= MIN_FAILURES && is_beyond(*it, allowed);
        let alarm = self.window.iter().find(|(_, it)| fails(it)).map(|(service, it)| {
            format!("{service} failed {} of {} requests within a minute", it.failures, it.requests)
        });
        if self.window_ms >= WINDOW_MS {
            (self.window_ms, self.window) = (0, BTreeMap::new());
        }
        alarm
    }

    /// Returns how many requests were answered, and how many of them failed.
    #[must_use]
    pub fn answered(&self) -> ArmTraffic {
        let mut sum = ArmTraffic::default();
        self.services.values().for_each(|more| add(&mut sum, *more));
        sum
    }

    /// Lists what is missing until the baseline is proven, for people; nothing when it is.
    #[must_use]
    pub fn missing(&self, world: &World, environment: &Environment) -> Vec<String> {
        let wanted = environment.settings.proven_after;
        if environment.entries().is_empty() {
            return vec!["nothing runs".to_owned()];
        }
        let mut missing = Vec::new();
        let ArmTraffic { requests, .. } = self.answered();
        if takes_requests(world, environment).next().is_some() && requests < wanted.requests {
            missing.push(format!("{requests} of {} requests", wanted.requests));
        }
        if self.seen_ms < wanted.ms {
            missing.push(format!("{} of {}", span(self.seen_ms), span(wanted.ms)));
        }
        let allowed = allowed(environment);
        let failing = self.services.iter().filter(|(_, it)| is_beyond(**it, allowed));
        missing.extend(failing.map(|(service, it)| {
            let share = |of: u64| format!("{}.{:02} %", of / 100, of % 100);
            let fails = share(it.failures.saturating_mul(10_000) / it.requests.max(1));
            format!("{service} fails {fails} of its requests, and {} are allowed", share(allowed))
        }));
        missing
    }

    /// Makes the event that the baseline is proven, when it is and was not before.
    #[must_use]
    pub fn due(&self, world: &World, environment: &Environment) -> Option<Event> {
        let is_new = self.is_of(environment) && !environment.proven.contains_key(&self.baseline);
        if !is_new || !self.missing(world, environment).is_empty() {
            return None;
        }
        let ArmTraffic { requests, failures } = self.answered();
        let asked = |service: &ServiceName| self.services.get(service).is_some_and(|it| it.requests > 0);
        let unasked = takes_requests(world, environment).filter(|service| !asked(service));
        Some(Event::BaselineProven {
            environment: environment.name.clone(),
            baseline: self.baseline,
            since: self.since,
            seen_ms: self.seen_ms,
            requests,
            failures,
            unasked: unasked.cloned().collect(),
        })
    }
}

impl KnownInstance {
    fn of(instance: &Instance) -> Self {
        let failed = matches!(&instance.state, InstanceState::Failed { fault, .. } if fault.is_own());
        Self { restarts: instance.restarts, failed, unhealthy_ms: 0 }
    }

    /// Says what happened since it was known.
    fn since(&self, before: Option<&Self>) -> Option<&'static str> {
        if self.failed && !before.is_some_and(|it| it.failed) {
            return Some("failed");
        }
        if self.restarts > before.map_or(0, |it| it.restarts) {
            return Some("ended by itself and was started again");
        }
        (self.unhealthy_ms >= UNHEALTHY_MS).then_some("stayed unhealthy")
    }
}

/// The instances of all processes of what the baseline has.
fn of_baseline(seen: Seen<'_>) -> impl Iterator<Item = &Instance> {
    seen.observed.instances.iter().filter(move |instance| {
        let runs = seen.environment.entries().get(&instance.arm.service);
        runs.is_some_and(|it| (&it.version, it.config) == (&instance.arm.version, instance.arm.config))
    })
}

/// Tells whether something of every service is healthy that has instances.
fn serves(seen: Seen<'_>) -> bool {
    let is_healthy = |arm: &Arm| {
        of_baseline(seen).any(|instance| instance.arm.service == arm.service && instance.state.is_healthy())
    };
    let arms = seen.environment.entries().iter().map(|(service, entry)| entry.arm(service));
    arms.filter(|arm| has_instances(seen.world, arm)).all(|arm| is_healthy(&arm))
}

/// The services of the baseline that requests could go to.
fn takes_requests<'a>(
    world: &'a World,
    environment: &'a Environment,
) -> impl Iterator<Item = &'a ServiceName> {
    let takes = |(service, entry): &(&ServiceName, &BaselineEntry)| {
        world.find_version(service, &entry.version).is_some_and(|version| version.run.kind.is_web())
    };
    environment.entries().iter().filter(takes).map(|(service, _)| service)
}

/// The failures in 10,000 requests at which a rollout would be taken back.
fn allowed(environment: &Environment) -> u64 {
    u64::from(environment.settings.strategy.bound().unwrap_or_default().max_failures_in_10000)
}

const fn is_beyond(traffic: ArmTraffic, allowed: u64) -> bool {
    traffic.failures.saturating_mul(10_000) > traffic.requests.saturating_mul(allowed)
}

const fn add(sum: &mut ArmTraffic, more: ArmTraffic) {
    sum.requests = sum.requests.saturating_add(more.requests);
    sum.failures = sum.failures.saturating_add(more.failures);
}

/// Why there is no baseline to go back to that is proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoLastGood {
    /// The newest proven one that is not gone to by itself, and why.
    pub passed_over: Option<(u64, &'static str)>,
}

/// Finds the newest proven baseline that is a way back: another set than the current one, that nobody went back from, and in which nothing
/// is held or newer than what runs.
///
/// # Errors
/// When there is none.
pub fn last_good(environment: &Environment) -> Result<&Baseline, NoLastGood> {
    let current = environment.baselines.current();
    let proven = environment.proven.keys().rev().filter_map(|number| environment.baselines.get(*number));
    let others = proven.filter(|baseline| baseline.entries != current.entries);
    let mut passed_over = None;
    for baseline in others {
        match against(environment, baseline) {
            None => return Ok(baseline),
            Some(why) => passed_over = passed_over.or(Some((baseline.number, why))),
        }
    }
    Err(NoLastGood { passed_over })
}

/// Says why a proven baseline is not gone to unless somebody names it.
fn against(environment: &Environment, baseline: &Baseline) -> Option<&'static str> {
    let goes_back = |operation: &Operation| {
        operation.intent.goes_back() && !matches!(operation.intent, Intent::Remove { .. })
    };
    let left = |operation: &Operation| {
        operation.plan.parent == baseline.number && matches!(operation.phase, Phase::Done { .. })
    };
    if environment.operations.iter().any(|operation| left(operation) && goes_back(operation)) {
        return Some("somebody went back from it");
    }
    let versions = baseline.entries.iter().map(|(service, entry)| entry.arm(service).version_ref());
    let is_held = |version: &VersionRef| environment.holds.contains_key(version);
    let is_newer = |version: &VersionRef| {
        let runs = environment.entries().get(&version.service);
        runs.is_some_and(|runs| {
            runs.version != version.version && is_forward(environment, version, &runs.version)
        })
    };
    for version in versions {
        if is_held(&version) {
            return Some("it has a version that is held");
        }
        if is_newer(&version) {
            return Some("it has a version that is newer than what runs");
        }
    }
    None
}

/// Finds what proved a version with a configuration: the newest proven baseline that has both.
#[must_use]
pub fn proof_of<'a>(
    environment: &'a Environment,
    service: &ServiceName,
    entry: &BaselineEntry,
) -> Option<&'a Proof> {
    let has = |number: &u64| {
        let baseline = environment.baselines.get(*number);
        baseline.and_then(|baseline| baseline.entries.get(service)) == Some(entry)
    };
    environment.proven.iter().rev().find(|(number, _)| has(number)).map(|(_, proof)| proof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_say_them() {
        let written = [7_000, 60_000, 90_000, 3_600_000, 12_000_000, 90_000_000].map(span);
        assert_eq!(written, ["7s", "1m", "1m 30s", "1h", "3h 20m", "1d 1h"]);
    }
}

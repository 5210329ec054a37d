//! What is wrong with instances, with all instances of a version, and with the way back.

use std::collections::BTreeMap;

use super::{Finding, Known, Reading, lasting};
use crate::rule::Condition;
use crate::seen::{ArmSeen, Blind, InstanceSeen, InstanceState, Seen, ServiceSeen, WayBackSeen};
use crate::subject::Subject;

/// What nobody asks and was started again within this time is not down.
const RESTARTS_WITHIN_MS: u64 = 30_000;

/// A service that is looked at.
#[derive(Clone, Copy)]
struct At<'a> {
    known: Known<'a>,
    environment: &'a str,
    name: &'a str,
    service: &'a ServiceSeen,
}

pub(super) fn readings(condition: &Condition, known: Known<'_>) -> Vec<Reading> {
    let services = known.look.services();
    services
        .flat_map(|(environment, name, service)| At { known, environment, name, service }.readings(condition))
        .collect()
}

impl<'a> At<'a> {
    fn readings(self, condition: &Condition) -> Vec<Reading> {
        if let Condition::WayBackLost {} = condition {
            return vec![self.way_back()];
        }
        match self.service.instances.get("instances") {
            Ok(instances) => self.of_instances(condition, instances),
            Err(why) => vec![Reading::unknown(self.subject(), why)],
        }
    }

    fn of_instances(self, condition: &Condition, instances: &'a [InstanceSeen]) -> Vec<Reading> {
        match *condition {
            Condition::AllDown {} => self.versions(instances),
            Condition::InstanceDown { starting_seconds } => {
                instances.iter().map(|instance| self.down(instance, starting_seconds * 1_000)).collect()
            }
            Condition::CrashLoop { at_least_restarts, over_seconds } => instances
                .iter()
                .map(|instance| self.crash_loop(instance, at_least_restarts as usize, over_seconds * 1_000))
                .collect(),
            _ => Vec::new(),
        }
    }

    fn subject(self) -> Subject {
        Subject::of([("environment", self.environment), ("service", self.name)])
    }

    fn subject_of(self, instance: &InstanceSeen) -> Subject {
        let of = self.subject().with("version", Some(&instance.version)).with("instance", Some(&instance.id));
        of.with("host", instance.host.as_deref())
    }

    fn status(self) -> String {
        format!("lockstep status {}", self.environment)
    }

    fn logs(self, instance: &InstanceSeen) -> String {
        format!("lockstep logs {} --env {}", instance.id, self.environment)
    }

    fn down(self, instance: &InstanceSeen, starting_ms: u64) -> Reading {
        let lasts_ms = self.known.look.at_ms.saturating_sub(instance.since_ms);
        let how = match instance.state {
            InstanceState::Failed => Some("has ended and is not started again".to_owned()),
            InstanceState::Unhealthy => Some("is down".to_owned()),
            InstanceState::Starting if lasts_ms > starting_ms => {
                Some(format!("has been starting for {}", lasting(lasts_ms)))
            }
            _ => None,
        };
        let place = instance.host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
        let wrong = how.map(|how| {
            let summary = format!(
                "an instance of {}@{}{place} {how} in {}",
                self.name, instance.version, self.environment
            );
            Finding::new(summary).because(instance.reason.clone()).then(self.logs(instance))
        });
        Reading::of(self.subject_of(instance), wrong)
    }

    fn crash_loop(self, instance: &InstanceSeen, at_least: usize, over_ms: u64) -> Reading {
        let count = self.known.history.restarts(self.environment, self.name, &instance.id, over_ms);
        let wrong = (count >= at_least).then(|| {
            let summary = format!(
                "an instance of {}@{} was started again {count} times in {} in {}",
                self.name,
                instance.version,
                lasting(over_ms),
                self.environment
            );
            Finding::new(summary).because(instance.reason.clone()).then(self.logs(instance))
        });
        Reading::of(self.subject_of(instance), wrong)
    }

    fn versions(self, instances: &'a [InstanceSeen]) -> Vec<Reading> {
        let mut by_version = BTreeMap::<&str, Vec<&InstanceSeen>>::new();
        for instance in instances {
            by_version.entry(&instance.version).or_default().push(instance);
        }
        let of = |version: &String| by_version.get(version.as_str()).map_or(&[][..], Vec::as_slice);
        self.service.arms.iter().map(|(version, arm)| self.version(version, arm, of(version))).collect()
    }

    /// A version whose first instances are still starting has never served: that is a matter of its operation.
    fn version(self, version: &str, arm: &ArmSeen, instances: &[&InstanceSeen]) -> Reading {
        let is_down = |instance: &&InstanceSeen| instance.state.is_down();
        let serves = instances.iter().any(|instance| instance.state == InstanceState::Healthy);
        let starts = instances.iter().any(|instance| instance.state == InstanceState::Starting);
        let down = instances.iter().filter(|instance| is_down(instance)).count();
        let all_down = arm.wanted > 0 && !serves && (down > 0 || !starts);
        // What nobody asks may be started again first: no answer is lost.
        let since_ms =
            instances.iter().filter(|instance| is_down(instance)).map(|instance| instance.since_ms);
        let lasts_ms =
            since_ms.max().map_or(u64::MAX, |since_ms| self.known.look.at_ms.saturating_sub(since_ms));
        let all_down = all_down && (self.service.is_asked || lasts_ms >= RESTARTS_WITHIN_MS);
        let wrong = all_down.then(|| {
            let summary =
                format!("no instance of {}@{version} is healthy in {}", self.name, self.environment);
            let reason = instances
                .iter()
                .filter(|instance| is_down(instance))
                .find_map(|instance| instance.reason.as_ref());
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            let detail = format!(
                "{down} of {} are down{reason}",
                arm.wanted.max(u32::try_from(down).unwrap_or(u32::MAX))
            );
            Finding::new(summary).because(Some(detail)).then(self.status())
        });
        Reading::of(self.subject().with("version", Some(version)), wrong)
    }

    fn way_back(self) -> Reading {
        let closed = |why: &String, hint: &Option<String>| {
            let summary = format!("{} has no way back in {}", self.name, self.environment);
            let hint = hint.clone().unwrap_or_else(|| format!("lockstep readiness {}", self.environment));
            Finding::new(summary).because(Some(why.clone())).then(hint)
        };
        match &self.service.way_back {
            Seen::Is(WayBackSeen::Closed { why, hint }) => {
                Reading::of(self.subject(), Some(closed(why, hint)))
            }
            Seen::Is(WayBackSeen::First | WayBackSeen::Open) => Reading::of(self.subject(), None),
            Seen::Nothing => {
                Reading::unknown(self.subject(), Blind::NoData("way back: nothing is known".into()))
            }
            Seen::Failed(why) => Reading::unknown(self.subject(), Blind::Error(format!("way back: {why}"))),
        }
    }
}

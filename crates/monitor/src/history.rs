//! What looks before this one showed: counters as they were last, what they gained lately, and restarts.
//!
//! It is apart from the state of alerts, because it is large and may be lost: whoever stores it every few minutes loses a few
//! minutes of shares, and no alert.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::seen::{Counters, Observation, ServiceSeen};
use crate::series::{Series, Tally, is_close, tick_ms};

/// Restarts of an instance that are remembered: no rule asks for more.
const MAX_RESTARTS: usize = 20;

/// What was seen before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct History {
    #[serde(default)]
    last_ms: Option<u64>,
    /// By environment and service.
    #[serde(default)]
    services: BTreeMap<String, BTreeMap<String, Served>>,
}

/// What a service did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Served {
    all: Series,
    #[serde(default)]
    versions: BTreeMap<String, ServedVersion>,
    #[serde(default)]
    restarts: BTreeMap<String, Restarts>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ServedVersion {
    last: Counters,
    lately: Series,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Restarts {
    count: u32,
    at_ms: Vec<u64>,
}

/// What a look adds.
#[derive(Debug, Clone, Copy)]
struct Tick {
    now_ms: u64,
    seen_ms: u64,
    is_close: bool,
}

impl History {
    /// Takes in a look. Counters that are seen for the first time only begin: what they held before came at a time that
    /// nobody knows.
    pub fn note(&mut self, look: &Observation) {
        let now_ms = look.at_ms;
        let last_ms = self.last_ms.unwrap_or(now_ms);
        if now_ms < last_ms {
            self.each(|served| served.forget_after(now_ms));
        }
        self.forget_gone(look);
        let tick = Tick { now_ms, seen_ms: tick_ms(last_ms, now_ms), is_close: is_close(last_ms, now_ms) };
        for (environment, name, service) in look.services() {
            let services = self.services.entry(environment.to_owned()).or_default();
            services.entry(name.to_owned()).or_insert_with(Served::new).note(tick, service);
        }
        self.last_ms = Some(now_ms);
    }

    /// Returns what a service did in the last `over_ms`.
    #[must_use]
    pub fn lately(&self, environment: &str, service: &str, over_ms: u64) -> Tally {
        let now_ms = self.last_ms.unwrap_or_default();
        self.served(environment, service).map(|served| served.all.lately(now_ms, over_ms)).unwrap_or_default()
    }

    /// Returns when failures of a service began to be as many as they are in the last `over_ms`.
    #[must_use]
    pub fn began_ms(&self, environment: &str, service: &str, over_ms: u64) -> Option<u64> {
        self.served(environment, service)?.all.began_ms(self.last_ms?, over_ms)
    }

    /// Returns what each version of a service did in the last `over_ms`, at most ten minutes.
    pub fn versions_lately(
        &self,
        environment: &str,
        service: &str,
        over_ms: u64,
    ) -> impl Iterator<Item = (&str, Tally)> {
        let now_ms = self.last_ms.unwrap_or_default();
        let versions = self.served(environment, service).into_iter().flat_map(|served| &served.versions);
        versions.map(move |(name, version)| (name.as_str(), version.lately.lately(now_ms, over_ms)))
    }

    /// Returns how often an instance was started again in the last `over_ms`.
    #[must_use]
    pub fn restarts(&self, environment: &str, service: &str, instance: &str, over_ms: u64) -> usize {
        let from = self.last_ms.unwrap_or_default().saturating_sub(over_ms);
        let restarts = self.served(environment, service).and_then(|served| served.restarts.get(instance));
        restarts.map_or(0, |restarts| restarts.at_ms.iter().filter(|at_ms| **at_ms >= from).count())
    }

    fn served(&self, environment: &str, service: &str) -> Option<&Served> {
        self.services.get(environment)?.get(service)
    }

    fn each(&mut self, mut work: impl FnMut(&mut Served)) {
        self.services.values_mut().flat_map(BTreeMap::values_mut).for_each(&mut work);
    }

    /// What was looked at and is not there is gone; what could not be looked at stays.
    fn forget_gone(&mut self, look: &Observation) {
        let Some(environments) = look.environments.seen() else { return };
        self.services.retain(|name, _| environments.contains_key(name));
        for (name, services) in &mut self.services {
            if let Some(seen) = environments.get(name).and_then(|environment| environment.services.seen()) {
                services.retain(|name, _| seen.contains_key(name));
            }
        }
    }
}

impl Served {
    fn new() -> Self {
        Self { all: Series::of_service(), versions: BTreeMap::new(), restarts: BTreeMap::new() }
    }

    fn forget_after(&mut self, now_ms: u64) {
        self.all.forget_after(now_ms);
        self.versions.values_mut().for_each(|version| version.lately.forget_after(now_ms));
        self.restarts.values_mut().for_each(|restarts| restarts.at_ms.retain(|at_ms| *at_ms <= now_ms));
    }

    fn note(&mut self, tick: Tick, service: &ServiceSeen) {
        self.all.mend(Series::LEVELS_OF_SERVICE);
        self.note_counters(tick, service);
        self.note_restarts(tick, service);
    }

    fn note_counters(&mut self, tick: Tick, service: &ServiceSeen) {
        self.versions.retain(|name, _| service.arms.contains_key(name));
        let mut sum = Tally::default();
        for (name, arm) in &service.arms {
            let Some(counters) = arm.counters.seen() else { continue };
            let gained = self.note_version(tick, name, counters);
            let seen_ms = sum.seen_ms.max(gained.seen_ms);
            sum.add(&gained);
            sum.seen_ms = seen_ms;
        }
        self.all.add(tick.now_ms, &sum);
    }

    fn note_version(&mut self, tick: Tick, name: &str, counters: &Counters) -> Tally {
        let Some(version) = self.versions.get_mut(name) else {
            let version = ServedVersion { last: counters.clone(), lately: Series::of_version() };
            self.versions.insert(name.to_owned(), version);
            return Tally::default();
        };
        let mut gained =
            if tick.is_close { Tally::gained(&version.last, counters) } else { Tally::default() };
        gained.seen_ms = tick.seen_ms;
        version.last = counters.clone();
        version.lately.mend(Series::LEVELS_OF_VERSION);
        version.lately.add(tick.now_ms, &gained);
        gained
    }

    /// A restart counts when it is seen. An instance that is seen for the first time only begins, as counters do.
    fn note_restarts(&mut self, tick: Tick, service: &ServiceSeen) {
        let Some(instances) = service.instances.seen() else { return };
        let ids: BTreeSet<&String> = instances.iter().map(|instance| &instance.id).collect();
        self.restarts.retain(|id, _| ids.contains(id));
        for instance in instances {
            let first = || Restarts { count: instance.restarts, at_ms: Vec::new() };
            let restarts = self.restarts.entry(instance.id.clone()).or_insert_with(first);
            let more = instance.restarts.saturating_sub(restarts.count) as usize;
            restarts.at_ms.extend(std::iter::repeat_n(tick.now_ms, more.min(MAX_RESTARTS)));
            let excess = restarts.at_ms.len().saturating_sub(MAX_RESTARTS);
            restarts.at_ms.drain(..excess);
            restarts.count = instance.restarts;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Fleet, SECOND};

    fn seen(fleet: &Fleet, history: &mut History) {
        history.note(&fleet.look());
    }

    #[test]
    fn what_counters_held_before_they_were_seen_is_in_no_share() {
        let (mut fleet, mut history) = (Fleet::shop(), History::default());
        fleet.serve("orders", 1_000_000, 900_000);
        seen(&fleet, &mut history);
        assert_eq!(history.lately("production", "orders", 60_000), Tally::default());
        fleet.pass(SECOND);
        fleet.serve("orders", 10, 1);
        seen(&fleet, &mut history);
        let lately = history.lately("production", "orders", 60_000);
        assert_eq!((lately.requests, lately.failures, lately.seen_ms), (10, 1, SECOND));
    }

    #[test]
    fn what_came_while_nobody_looked_is_in_no_share() {
        let (mut fleet, mut history) = (Fleet::shop(), History::default());
        seen(&fleet, &mut history);
        fleet.pass(3 * 86_400 * SECOND);
        fleet.serve("orders", 1_000_000, 1_000_000);
        seen(&fleet, &mut history);
        assert_eq!(history.lately("production", "orders", 3_600_000).failures, 0);
    }

    #[test]
    fn a_service_that_is_gone_is_forgotten_and_one_that_was_not_looked_at_is_not() {
        let (mut fleet, mut history) = (Fleet::shop(), History::default());
        seen(&fleet, &mut history);
        fleet.blind("broken");
        seen(&fleet, &mut history);
        assert!(history.served("production", "orders").is_some());
        fleet.see();
        fleet.services.remove("orders");
        seen(&fleet, &mut history);
        assert!(history.served("production", "orders").is_none());
    }

    proptest! {
        #[test]
        fn shares_are_shares_whatever_counters_and_clocks_do(
            looks in prop::collection::vec((any::<u64>(), any::<u64>(), -90_000_i64..90_000), 1..60),
        ) {
            let (mut fleet, mut history) = (Fleet::shop(), History::default());
            for (requests, failures, ms) in looks {
                fleet.now_ms = fleet.now_ms.saturating_add_signed(ms);
                fleet.count("orders", requests, failures);
                seen(&fleet, &mut history);
                for over_ms in [10_000, 600_000, 86_400_000] {
                    let lately = history.lately("production", "orders", over_ms);
                    prop_assert!(lately.failures <= lately.requests);
                    prop_assert!((0.0..=1.0).contains(&lately.failing()));
                }
            }
            let stored = serde_json::to_string(&history).unwrap();
            prop_assert_eq!(serde_json::from_str::<History>(&stored).unwrap(), history);
        }
    }
}

//! Since when instances are in their state, and since when nobody sends requests to them, by this server's own clock.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use lockstep_domain::{Instance, InstanceId, InstanceState, Timestamp};

/// What is remembered of the instances of an environment.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    seen: BTreeMap<InstanceId, (InstanceState, Timestamp)>,
    unrouted: BTreeMap<InstanceId, Timestamp>,
    leaving: BTreeMap<InstanceId, Timestamp>,
    steady: BTreeMap<InstanceId, Steady>,
}

/// A time in which an instance was healthy without an interruption.
#[derive(Debug, Clone, Copy)]
struct Steady {
    /// What its supervisor says of it: it becomes another with every change of state, also one that nobody saw.
    reported: (Timestamp, u32),
    /// When this server saw it first: what was before is not known.
    since: Timestamp,
}

impl Instances {
    /// Returns the instances that were there when it was looked last.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &InstanceId> {
        self.seen.keys()
    }

    /// Sets every `since` by our clock: a supervisor's wall clock may have been set back in between.
    pub(crate) fn restamp(&mut self, instances: &mut [Instance], now: Timestamp) {
        let present: BTreeSet<_> = instances.iter().map(|instance| instance.id.clone()).collect();
        self.seen.retain(|id, _| present.contains(id));
        self.unrouted.retain(|id, _| present.contains(id));
        self.leaving.retain(|id, _| present.contains(id));
        self.steady.retain(|id, _| present.contains(id));
        for instance in instances {
            self.note_steady(instance, now);
            let first_seen = instance.since.min(now);
            let (state, since) =
                self.seen.entry(instance.id.clone()).or_insert_with(|| (instance.state.clone(), first_seen));
            if discriminant(state) != discriminant(&instance.state) {
                *since = now;
            }
            *state = instance.state.clone();
            instance.since = *since;
        }
    }

    /// Sets every `since` as [`Self::restamp`] would, and remembers nothing.
    pub(crate) fn stamp(&self, instances: &mut [Instance], now: Timestamp) {
        for instance in instances {
            instance.since = match self.seen.get(&instance.id) {
                Some((state, since)) if discriminant(state) == discriminant(&instance.state) => *since,
                Some(_) => now,
                None => instance.since.min(now),
            };
        }
    }

    /// Moves every time by time that was added to the clock.
    pub(crate) fn skip(&mut self, ms: u64) {
        let since = self.seen.values_mut().map(|(_, since)| since).chain(self.unrouted.values_mut());
        let since = since.chain(self.leaving.values_mut());
        let since = since.chain(self.steady.values_mut().map(|steady| &mut steady.since));
        since.for_each(|since| *since = since.plus_ms(ms));
    }

    fn note_steady(&mut self, instance: &Instance, now: Timestamp) {
        let reported = (instance.since, instance.restarts);
        let goes_on = self.steady.get(&instance.id).is_some_and(|steady| steady.reported == reported);
        if !instance.state.is_healthy() {
            self.steady.remove(&instance.id);
        } else if !goes_on {
            self.steady.insert(instance.id.clone(), Steady { reported, since: now });
        }
    }

    /// Returns since when instances have been healthy without an interruption.
    pub(crate) fn steady(&self) -> BTreeMap<InstanceId, Timestamp> {
        self.steady.iter().map(|(id, steady)| (id.clone(), steady.since)).collect()
    }

    /// Forgets that nobody sends requests to these instances.
    pub(crate) fn forget_unrouted(&mut self, routed: &BTreeSet<InstanceId>) {
        self.unrouted.retain(|id, _| !routed.contains(id));
    }

    /// Forgets it of all.
    pub(crate) fn forget_all_unrouted(&mut self) {
        self.unrouted.clear();
    }

    /// Notes which instances every gateway has stopped sending requests to.
    pub(crate) fn note_routes(&mut self, routed: &BTreeSet<InstanceId>, now: Timestamp) {
        self.forget_unrouted(routed);
        for id in self.seen.keys().filter(|id| !routed.contains(*id)) {
            self.unrouted.entry(id.clone()).or_insert(now);
        }
    }

    /// Notes which instances are in the table only for the clients that are kept at them; `given` get new ones as well. What
    /// has left the table is remembered: its time does not begin anew.
    pub(crate) fn note_leaving(
        &mut self,
        leaving: &BTreeSet<InstanceId>,
        given: &BTreeSet<InstanceId>,
        now: Timestamp,
    ) {
        self.leaving.retain(|id, _| !given.contains(id));
        for id in leaving {
            self.leaving.entry(id.clone()).or_insert(now);
        }
    }

    /// Returns since when instances have been there only for the clients that are kept at them.
    pub(crate) fn leaving(&self) -> BTreeMap<InstanceId, Timestamp> {
        self.leaving.clone()
    }

    /// Returns since when nobody sends requests to the instances.
    pub(crate) fn unrouted(&self) -> BTreeMap<InstanceId, Timestamp> {
        self.unrouted.clone()
    }
}

//! Which service in trouble follows from which, by the calls between them.

use std::collections::BTreeMap;

use super::{Alerts, Place};
use crate::calls::Calls;
use crate::seen::Observation;

/// Services in trouble of one environment: since when, and which of them each reaches over how many calls.
struct Trouble<'a> {
    since_ms: BTreeMap<&'a str, u64>,
    reach: BTreeMap<&'a str, BTreeMap<&'a str, usize>>,
}

/// Finds for each service in trouble one that it follows from: one that it reaches by calls and that does not reach it; among those
/// that call each other in a circle, the one that was in trouble first. So following it always ends.
pub(super) fn below<'a>(
    troubled: &BTreeMap<Place<'a>, &'a str>,
    alerts: &'a Alerts,
    look: &Observation,
) -> BTreeMap<Place<'a>, Place<'a>> {
    let mut by_environment = BTreeMap::<&'a str, BTreeMap<&'a str, u64>>::new();
    for ((environment, service), name) in troubled {
        let since_ms = alerts.get(*name).map_or(0, |alert| alert.since_ms);
        by_environment.entry(environment).or_default().insert(service, since_ms);
    }
    let of = |(environment, since_ms): (&'a str, BTreeMap<&'a str, u64>)| {
        let seen = look.environments.seen()?.get(environment)?.services.seen()?;
        let trouble = Trouble::of(since_ms, &Calls::of(seen));
        Some(trouble.pairs().into_iter().map(move |(of, from)| ((environment, of), (environment, from))))
    };
    by_environment.into_iter().filter_map(of).flatten().collect()
}

impl<'a> Trouble<'a> {
    fn of(since_ms: BTreeMap<&'a str, u64>, calls: &Calls) -> Self {
        let reached = |service: &&'a str| {
            let reached = calls.reach(service);
            let in_trouble = since_ms.keys().filter_map(|other| Some((*other, *reached.get(*other)?)));
            (*service, in_trouble.collect())
        };
        let reach = since_ms.keys().map(reached).collect();
        Self { since_ms, reach }
    }

    fn pairs(&self) -> Vec<(&'a str, &'a str)> {
        self.reach.keys().filter_map(|service| Some((*service, self.cause(service)?))).collect()
    }

    fn cause(&self, service: &str) -> Option<&'a str> {
        let others = self.reach.get(service)?.iter().filter(|(other, _)| **other != service);
        let causes = others
            .filter(|(other, _)| !self.is_circle(service, other) || self.order(other) < self.order(service));
        let nearest = causes.min_by_key(|(other, distance)| {
            (self.is_circle(service, other), **distance, self.since_ms.get(*other), **other)
        });
        nearest.map(|(other, _)| *other)
    }

    fn is_circle(&self, service: &str, other: &str) -> bool {
        self.reach.get(other).is_some_and(|back| back.contains_key(service))
    }

    fn order<'b>(&self, service: &'b str) -> (Option<u64>, &'b str) {
        (self.since_ms.get(service).copied(), service)
    }
}

//! Who calls whom in an environment: how near a change is to a fault, and which service is in trouble because of which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::seen::ServiceSeen;

/// Services of one environment with those that each calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls(BTreeMap<String, BTreeSet<String>>);

impl Calls {
    /// Takes the calls of services that were seen.
    #[must_use]
    pub fn of(services: &BTreeMap<String, ServiceSeen>) -> Self {
        Self(services.iter().map(|(name, service)| (name.clone(), service.calls.clone())).collect())
    }

    /// Adds that a service calls another.
    pub fn add(&mut self, caller: &str, callee: &str) {
        self.0.entry(caller.to_owned()).or_default().insert(callee.to_owned());
    }

    /// Returns the services that a service calls.
    pub fn callees<'a>(&'a self, service: &str) -> impl Iterator<Item = &'a str> {
        self.0.get(service).into_iter().flatten().map(String::as_str)
    }

    /// Returns over how many calls one service reaches another; 0 for itself, `None` when it does not.
    #[must_use]
    pub fn distance(&self, from: &str, to: &str) -> Option<usize> {
        self.reach(from).get(to).copied()
    }

    /// Returns all services that a service reaches, with the number of calls; itself with 0.
    #[must_use]
    pub fn reach<'a>(&'a self, from: &'a str) -> BTreeMap<&'a str, usize> {
        let mut reached = BTreeMap::from([(from, 0)]);
        let mut next = VecDeque::from([(from, 0)]);
        while let Some((service, distance)) = next.pop_front() {
            for callee in self.callees(service) {
                if !reached.contains_key(callee) {
                    reached.insert(callee, distance + 1);
                    next.push_back((callee, distance + 1));
                }
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_of_the_shortest_way_and_circles_end() {
        let mut calls = Calls::default();
        for (caller, callee) in [("a", "b"), ("b", "c"), ("c", "a"), ("a", "c"), ("d", "a")] {
            calls.add(caller, callee);
        }
        assert_eq!(calls.reach("a"), BTreeMap::from([("a", 0), ("b", 1), ("c", 1)]));
        assert_eq!(calls.distance("d", "c"), Some(2));
        assert_eq!(calls.distance("a", "d"), None);
        assert_eq!(calls.distance("unknown", "unknown"), Some(0));
    }
}

//! The routes of a table as requests meet them: what each is called, and what its clients got.
//!
//! Invariant: counters are bounded, however many routes a table has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_domain::ServiceName;
use lockstep_domain::routes::{Route, RouteTable};

use crate::counts::{Counts, Sums};

/// Routes of an environment that are counted for themselves, the first ones; the others are counted together.
pub(crate) const MAX_COUNTED: usize = 200;

/// What a route is counted as: what it is called, and its service. The empty one is all routes that are not counted for themselves.
pub(crate) type RouteName = (String, String);

/// A route as the requests of one worker meet it.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Host, path and conditions.
    pub(crate) label: String,
    /// Its path alone, as it is written.
    pub(crate) path: String,
    pub(crate) service: ServiceName,
    pub(crate) counts: Arc<Counts>,
}

/// What the clients of each route got, for each worker.
#[derive(Debug, Default)]
pub(crate) struct RouteCounts(BTreeMap<RouteName, Vec<Arc<Counts>>>);

impl RouteCounts {
    /// Makes counters for the routes of a table, and forgets those of routes that it does not name.
    pub(crate) fn meet(&mut self, table: &RouteTable, workers: usize) {
        let mut names: BTreeSet<_> = table.routes.iter().take(MAX_COUNTED).map(name).collect();
        names.extend((table.routes.len() > MAX_COUNTED).then(RouteName::default));
        self.0.retain(|name, _| names.contains(name));
        let fresh = || (0..workers).map(|_| Arc::default()).collect();
        names.into_iter().for_each(|name| {
            self.0.entry(name).or_insert_with(fresh);
        });
    }

    /// Returns the routes as a worker's requests meet them.
    pub(crate) fn seats(&self, table: &RouteTable, worker: usize) -> Vec<Arc<Seat>> {
        let seat = |route: &Route| {
            let (label, _) = name(route);
            let counts = self.0.get(&name(route)).or_else(|| self.0.get(&RouteName::default()));
            let counts = counts.map(|counts| Arc::clone(&counts[worker])).unwrap_or_default();
            let path = route.rule.path.clone();
            Arc::new(Seat { label, path, service: route.service.clone(), counts })
        };
        table.routes.iter().map(seat).collect()
    }

    /// Adds up what all workers counted.
    pub(crate) fn sums(&self) -> BTreeMap<RouteName, Sums> {
        let sum = |counts: &Vec<Arc<Counts>>| {
            let mut sums = Sums::default();
            counts.iter().for_each(|counts| counts.add_to(&mut sums));
            sums
        };
        self.0.iter().map(|(name, counts)| (name.clone(), sum(counts))).collect()
    }
}

fn name(route: &Route) -> RouteName {
    (route.rule.to_string(), route.service.to_string())
}

//! What is counted of a request, by the functions that count it on its way and in their order: for the benchmark of what that costs, and for nothing else.
//!
//! Left out is what an instance asks another service for, by operation, which a request does not have that a client sends.

use std::sync::Arc;
use std::time::Instant;

use lockstep_domain::Arm;
use lockstep_domain::called::operation;

use crate::asking::Operations;
use crate::calls::Calls;
use crate::counts::Counts;
use crate::report::Report;
use crate::table::{Outcome, Tally};

/// What a worker counts in for arms of services, each of which has a route.
#[derive(Debug)]
pub struct Counters {
    arms: Vec<Counted>,
    calls: Calls,
    operations: Operations,
    report: Report,
    asked: Instant,
}

#[derive(Debug)]
struct Counted {
    arm: Arc<Arm>,
    tally: Tally,
    counts: Counts,
    route: Counts,
}

impl Counters {
    /// Makes counters for arms; nothing is counted yet.
    #[must_use]
    pub fn of(arms: impl IntoIterator<Item = Arm>) -> Self {
        let counted = |arm: Arm| {
            let counts = Counts::of(arm.clone());
            Counted { arm: Arc::new(arm), tally: Tally::default(), counts, route: Counts::default() }
        };
        Self {
            arms: arms.into_iter().map(counted).collect(),
            calls: Calls::default(),
            operations: Operations::default(),
            report: Report { status: 200, tries: 1, ..Report::begin() },
            asked: Instant::now(),
        }
    }

    /// Lets the requests that are counted from now on have begun now.
    pub fn begin(&mut self) {
        let now = Instant::now();
        (self.report.began, self.asked) = (now, now);
    }

    /// Counts an answer of an arm: its requests, how long it took until the answer began and ended, and the same of its route.
    pub fn count(&self, place: usize) {
        let Counted { tally, counts, route, .. } = &self.arms[place];
        tally.count(Outcome::Served);
        tally.took(self.asked.elapsed());
        let took = self.report.began.elapsed();
        counts.count(&self.report, took);
        route.count(&self.report, took);
    }

    /// Counts what a client asked an arm for, such as `GET /orders/7`.
    pub fn count_operation(&self, place: usize, path: &str) {
        let operation = operation("GET", path, false);
        self.operations.count_client(&self.arms[place].arm, &operation, (200, false));
    }

    /// Counts that the version of one arm called another.
    pub fn count_call(&self, caller: usize, place: usize) {
        let callee = &*self.arms[place].arm;
        self.calls.count(&self.arms[caller].arm, &callee.service, Some(callee), 200);
    }

    /// Returns how many requests were counted, of which as many took a route, and as many have a time.
    #[must_use]
    pub fn counted(&self) -> [u64; 3] {
        let sums = |of: fn(&Counted) -> &Counts| {
            let mut sums = crate::counts::Sums::default();
            self.arms.iter().for_each(|arm| of(arm).add_to(&mut sums));
            sums
        };
        let requests = self.arms.iter().map(|arm| arm.tally.read().requests).sum();
        let routed = sums(|arm| &arm.route).classes.iter().sum();
        [requests, routed, sums(|arm| &arm.counts).durations.iter().sum()]
    }
}

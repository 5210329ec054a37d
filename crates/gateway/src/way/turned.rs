//! Requests that have a version and are given to none of its instances: whose doing that is, and what it counts as.
//!
//! Invariant: whatever the version that was chosen has no room for, or cannot serve, counts as failed there, whoever finds it out first: a version
//! on trial must not look better because it turns its clients away. It never counts for its breaker, which asks how instances answer. What the
//! caller has too much of counts for no version.

use std::sync::Arc;

use lockstep_domain::ServiceName;
use lockstep_domain::priority::Priority;

use super::arrive::Arrival;
use super::{Desk, Notes};
use crate::problem::{BUSY, OVERLOADED, Problem, Status};
use crate::table::Target;

/// Why a request is given to no instance.
#[derive(Debug)]
pub(super) enum Turned {
    /// The version has no room for it, or cannot serve it.
    ByVersion(Why),
    /// Its caller, or all callers of its route, ask for more than the route takes.
    ByRoute(Problem),
}

/// What a version has no room for, or cannot do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why {
    /// As many requests wait for it as it answers in time.
    Overloaded,
    /// Each of its instances has so many requests under way as it takes.
    Full(u32),
    /// It is left alone for so many milliseconds, and nothing stands in for it.
    LeftAlone(u64),
    /// It has no instance, and no other version has one.
    NoInstance,
}

impl Desk {
    /// Counts a request that is turned away, and answers for its version or its route.
    pub(super) fn turn_away(&self, turned: Turned, arrival: &Arrival<'_, '_>, notes: &mut Notes) -> Problem {
        let why = match turned {
            Turned::ByRoute(problem) => return problem,
            Turned::ByVersion(why) => why,
        };
        let arm = arrival.arm();
        if let Some(arm) = arm {
            arrival.count_failed(arm, notes);
            let turned_by = (Arc::clone(&arm.counts), arrival.chosen(notes));
            notes.rare().turned_by = Some(turned_by);
        }
        match (why, arm) {
            (Why::Overloaded, Some(arm)) => overloaded(arm, notes.priority()),
            (Why::Full(most), Some(arm)) => full(arm, most, notes.priority()),
            (Why::LeftAlone(wait_ms), Some(arm)) => self.shut(arm, wait_ms, arrival.rule(), notes),
            (Why::NoInstance, _) | (_, None) => no_instance(&arrival.service.service),
        }
    }
}

/// Says of which requests there are no more, where others may be let in.
fn of(priority: Priority) -> &'static str {
    match priority {
        Priority::Critical => " at all",
        Priority::Normal => "",
        Priority::Low => " of low priority",
        Priority::Bulk => " that can be done at any time",
    }
}

fn overloaded(arm: &Target, priority: Priority) -> Problem {
    let label = arm.label.as_str();
    let detail =
        format!("as many requests wait for `{label}` as it answers in time, and no more{} may", of(priority));
    let problem = Problem::new(Status::Unavailable, OVERLOADED, detail);
    problem.hint("see `lockstep gateway top`").of_version(label)
}

fn full(arm: &Target, most: u32, priority: Priority) -> Problem {
    let label = arm.label.as_str();
    let detail = format!(
        "each instance of `{label}` has {most} requests under way and takes no more{} at once",
        of(priority)
    );
    Problem::new(Status::Unavailable, BUSY, detail).of_version(label)
}

pub(super) fn no_instance(service: &ServiceName) -> Problem {
    let detail = format!("no instance of `{service}` takes requests");
    Problem::new(Status::Unavailable, "no_instance", detail).hint("see `lockstep status`")
}

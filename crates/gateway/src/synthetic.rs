//! Synthetic checks: the requests that this gateway makes by itself, and what became of them.
//!
//! Each goes the way of a client's: over a connection of its own to this process, by a route, to the version that is drawn for it. So it sees what
//! clients see, and is counted as none of them.

mod ask;

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lockstep_domain::check::{CheckRun, CheckSeen, TableCheck};
use lockstep_domain::routes::RouteTable;

use crate::environment::Environment;
use crate::gateway::{State, lock};
use crate::worker::Worker;

/// How often is looked which checks are due.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Over how long the first runs of checks are spread: not all at the moment at which a table comes.
const SPREAD_MS: u64 = 2_000;
/// Checks of an environment that run at the same moment; others wait until one has ended.
const MAX_RUNNING: usize = 64;

/// The checks of an environment.
#[derive(Debug, Default)]
pub(crate) struct CheckBook(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    check: Arc<TableCheck>,
    due: Instant,
    is_running: bool,
    last: Option<Ended>,
    passed: u64,
    failed: u64,
    failed_in_a_row: u32,
}

/// A run that is over.
#[derive(Debug)]
struct Ended {
    at: Instant,
    took: Duration,
    version: Option<String>,
    fault: Option<String>,
}

impl Entry {
    fn new(check: TableCheck, now: Instant) -> Self {
        let first = now + spread(&check);
        let check = Arc::new(check);
        Self { check, due: first, is_running: false, last: None, passed: 0, failed: 0, failed_in_a_row: 0 }
    }

    fn note(&mut self, ended: Ended) {
        self.is_running = false;
        match ended.fault {
            Some(_) => {
                self.failed += 1;
                self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
            }
            None => {
                self.passed += 1;
                self.failed_in_a_row = 0;
            }
        }
        self.last = Some(ended);
    }

    fn seen(&self, now: Instant) -> CheckSeen {
        let TableCheck { service, check } = &*self.check;
        CheckSeen {
            service: service.clone(),
            name: check.name.clone(),
            request: check.request.clone(),
            every_ms: check.every_ms,
            within_ms: check.expect.within_ms,
            last: self.last.as_ref().map(|ended| ended.seen(now)),
            passed: self.passed,
            failed: self.failed,
            failed_in_a_row: self.failed_in_a_row,
        }
    }
}

impl Ended {
    fn seen(&self, now: Instant) -> CheckRun {
        CheckRun {
            ago_ms: millis(now.saturating_duration_since(self.at)),
            took_ms: millis(self.took),
            version: self.version.clone(),
            fault: self.fault.clone(),
        }
    }
}

impl CheckBook {
    /// Takes the checks of a table. What is known of one stays as long as it comes back unchanged.
    pub(crate) fn follow(&self, table: &RouteTable) {
        let now = Instant::now();
        let mut entries = self.entries();
        let mut known = std::mem::take(&mut *entries);
        let next = table.checks.iter().map(|check| {
            let place = known.iter().position(|entry| *entry.check == *check);
            place.map_or_else(|| Entry::new(check.clone(), now), |place| known.swap_remove(place))
        });
        *entries = next.collect();
    }

    /// Returns what is known of all.
    pub(crate) fn seen(&self) -> Vec<CheckSeen> {
        let now = Instant::now();
        self.entries().iter().map(|entry| entry.seen(now)).collect()
    }

    /// Takes those that are due, as many as may run at once.
    fn due(&self, now: Instant) -> Vec<Arc<TableCheck>> {
        let mut entries = self.entries();
        let running = entries.iter().filter(|entry| entry.is_running).count();
        let due = entries.iter_mut().filter(|entry| !entry.is_running && entry.due <= now);
        due.take(MAX_RUNNING.saturating_sub(running))
            .map(|entry| {
                entry.is_running = true;
                entry.due = now + Duration::from_millis(entry.check.check.every_ms);
                Arc::clone(&entry.check)
            })
            .collect()
    }

    /// Notes how a run ended. One that is not in the table any more is of no interest.
    fn note(&self, check: &TableCheck, ended: Ended) {
        let mut entries = self.entries();
        if let Some(entry) = entries.iter_mut().find(|entry| *entry.check == *check) {
            entry.note(ended);
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs what is due, on one worker after the other, until clients are to go elsewhere: then the next gateway checks.
pub(crate) async fn tend(state: Arc<Mutex<State>>, workers: Vec<Arc<Worker>>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let mut turn = workers.iter().cycle();
    while !workers.iter().any(|worker| worker.departure.is_leaving()) {
        ticks.tick().await;
        let environments: Vec<_> = lock(&state).environments.values().cloned().collect();
        for environment in environments {
            for check in environment.checks().due(Instant::now()) {
                let Some(worker) = turn.next() else { return };
                worker.runtime().spawn(run(check, Arc::clone(&environment), Arc::clone(worker)));
            }
        }
    }
}

async fn run(check: Arc<TableCheck>, environment: Arc<Environment>, worker: Arc<Worker>) {
    let began = Instant::now();
    let heard = ask::ask(&check.check, &environment, &worker).await;
    let (version, fault) = heard.conclude(&check.check.expect);
    let at = Instant::now();
    environment.checks().note(&check, Ended { at, took: at - began, version, fault });
}

/// How long after the table came its first run begins.
fn spread(check: &TableCheck) -> Duration {
    let mut hasher = DefaultHasher::new();
    (check.service.as_str(), &check.check.name).hash(&mut hasher);
    Duration::from_millis(hasher.finish() % SPREAD_MS.min(check.check.every_ms))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use lockstep_domain::check::{Check, Expect};

    use super::*;

    fn check(name: &str, every_ms: u64) -> TableCheck {
        let expect = Expect { status: None, within_ms: 1_000, contains: None };
        let request = "GET /".parse().unwrap();
        let check = Check { name: name.to_owned(), request, host: None, every_ms, expect };
        TableCheck { service: "orders".parse().unwrap(), check }
    }

    fn book(checks: Vec<TableCheck>) -> CheckBook {
        let book = CheckBook::default();
        let now = Instant::now();
        *book.entries() = checks.into_iter().map(|check| Entry::new(check, now)).collect();
        book
    }

    fn ended(fault: Option<&str>) -> Ended {
        let (at, took) = (Instant::now(), Duration::from_millis(7));
        Ended { at, took, version: None, fault: fault.map(str::to_owned) }
    }

    #[test]
    fn a_check_runs_once_at_a_time_and_again_after_its_time() {
        let book = book(vec![check("a", 10_000)]);
        let start = Instant::now() + Duration::from_secs(2);
        assert_eq!(book.due(start).len(), 1);
        assert_eq!(book.due(start + Duration::from_secs(60)).len(), 0, "it still runs");
        book.note(&check("a", 10_000), ended(None));
        assert_eq!(book.due(start + Duration::from_secs(9)).len(), 0);
        assert_eq!(book.due(start + Duration::from_secs(10)).len(), 1);
    }

    #[test]
    fn failures_in_a_row_end_with_a_run_that_is_fine() {
        let book = book(vec![check("a", 1_000)]);
        for fault in [None, Some("x"), Some("y")] {
            book.note(&check("a", 1_000), ended(fault));
        }
        let seen = book.seen().remove(0);
        assert_eq!((seen.passed, seen.failed, seen.failed_in_a_row), (1, 2, 2));
        assert_eq!(seen.last.unwrap().fault.as_deref(), Some("y"));
        book.note(&check("a", 1_000), ended(None));
        assert_eq!(book.seen()[0].failed_in_a_row, 0);
        book.note(&check("b", 1_000), ended(Some("of a table before")));
        assert_eq!(book.seen().len(), 1);
    }

    #[test]
    fn no_more_run_at_once_than_may() {
        let book = book((0..200).map(|n| check(&n.to_string(), 1_000)).collect());
        let later = Instant::now() + Duration::from_secs(5);
        assert_eq!(book.due(later).len(), MAX_RUNNING);
        assert_eq!(book.due(later).len(), 0);
        book.note(&check("0", 1_000), ended(None));
        assert_eq!(book.due(later).len(), 1);
    }
}

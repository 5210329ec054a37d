//! The counters of one arm with one weight.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockstep_domain::Arm;
use lockstep_domain::watch::ArmCounts;
use lockstep_judge::{Answers, Counts, RouteClass, StatusClass};

use super::keys::{Key, Sort};
use super::samples::{Sample, Tap};
use super::{Class, Trial};

/// The counters of one arm with one weight.
#[derive(Debug)]
pub(crate) struct Meter {
    trial: Arc<Trial>,
    arm: Arm,
    weight: u32,
    /// The total, then each operation, then the rest.
    scopes: Vec<Scope>,
}

/// What was seen of a request that an arm was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// An answer with this status began.
    Status(u16),
    /// There was no valid answer, or a client left after waiting for long.
    Nothing,
    /// The client left early: nobody can say how the arm would have answered.
    Left,
}

/// Which answers a class takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Nothing,
    Status(u16),
    Hundred(u16),
    /// What is not HTTP's; nothing is counted here yet.
    Unknown,
}

impl Answer {
    pub(super) fn of(class: &StatusClass) -> Self {
        match (class.as_str(), class.as_str().strip_suffix("xx").and_then(|digit| digit.parse().ok())) {
            (StatusClass::NO_ANSWER, _) => Self::Nothing,
            (_, Some(hundred)) => Self::Hundred(hundred),
            (status, None) => status.parse().map_or(Self::Unknown, Self::Status),
        }
    }
}

#[derive(Debug)]
struct Scope {
    requests: AtomicU64,
    statuses: Vec<Count>,
    slower: Vec<Count>,
}

#[derive(Debug, Default)]
struct Count {
    answers: AtomicU64,
    keys: AtomicU64,
}

impl Meter {
    pub(crate) fn new(trial: Arc<Trial>, arm: Arm, weight: u32) -> Self {
        let counts = |count: usize| (0..count).map(|_| Count::default()).collect();
        let scope = || Scope {
            requests: AtomicU64::new(0),
            statuses: counts(trial.watch.statuses.len()),
            slower: counts(trial.watch.latency_bounds_ms.len()),
        };
        let scopes = (0..trial.templates.len() + 2).map(|_| scope()).collect();
        Self { trial, arm, weight, scopes }
    }

    /// Counts a request that the arm was asked, and how long it took until the answer began or was given up.
    pub(crate) fn count(&self, class: Class, key: Key<'_>, seen: Seen, took: Duration) {
        let status = self.place(seen);
        for (scope, counts) in self.scopes_of(class) {
            counts.requests.fetch_add(1, Ordering::Relaxed);
            if let Some(place) = status {
                self.tick(&counts.statuses[place], key, scope, Sort::Status(place));
            }
            let bounds = self.trial.watch.latency_bounds_ms.iter().enumerate();
            for (place, _) in bounds.take_while(|(_, bound)| took > Duration::from_millis(**bound)) {
                self.tick(&counts.slower[place], key, scope, Sort::Slower(place));
            }
        }
    }

    /// Counts that an answer which had begun was broken off: its request was counted when it began.
    pub(crate) fn broke_off(&self, class: Class, key: Key<'_>) {
        let Some(place) = self.place(Seen::Nothing) else { return };
        for (scope, counts) in self.scopes_of(class) {
            self.tick(&counts.statuses[place], key, scope, Sort::Status(place));
        }
    }

    /// Tells whether an answer of an operation is wanted to be copied. It is known before anything else of the answer.
    pub(crate) fn wants(&self, class: Class) -> bool {
        self.trial.wants(class).is_some()
    }

    /// Keeps an answer that has passed as a whole.
    pub(crate) fn keep(&self, Class(class): Class, key: Key<'_>, status: u16, mut tap: Tap) {
        let (arm, weight, key) = (self.arm.clone(), self.weight, self.trial.keys.stand_in(key));
        let media_type = std::mem::take(&mut tap.media_type);
        if let Some(body) = tap.body() {
            self.trial.samples.keep(Sample { arm, weight, class, key, status, media_type, body });
        }
    }

    /// Returns what was counted.
    pub(crate) fn read(&self) -> ArmCounts {
        let operations = self.trial.watch.operations.iter().map(|operation| operation.class.clone());
        let rest = RouteClass::OTHER.parse().ok();
        let mut classes = BTreeMap::<RouteClass, Counts>::new();
        for (class, scope) in operations.chain(rest).zip(&self.scopes[1..]) {
            let counts = scope.read(&self.trial);
            if counts.requests > 0 {
                classes.entry(class).or_default().add(&counts);
            }
        }
        ArmCounts { total: self.scopes[0].read(&self.trial), classes }
    }

    /// The total, and the class that a request is in. A class of another trial is one of the rest here.
    fn scopes_of(&self, Class(class): Class) -> [(usize, &Scope); 2] {
        let index = (class + 1).min(self.scopes.len() - 1);
        [(0, &self.scopes[0]), (index, &self.scopes[index])]
    }

    fn tick(&self, count: &Count, key: Key<'_>, scope: usize, sort: Sort) {
        // The answer first: whoever looks in between must not find more keys than answers.
        count.answers.fetch_add(1, Ordering::Relaxed);
        if self.trial.keys.is_first(key, scope, sort) {
            count.keys.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Finds the class of an answer among those that are counted: a status of its own before its hundred.
    fn place(&self, seen: Seen) -> Option<usize> {
        let find = |wanted| self.trial.answers.iter().position(|answer| *answer == wanted);
        match seen {
            Seen::Left => None,
            Seen::Nothing => find(Answer::Nothing),
            Seen::Status(status) => {
                find(Answer::Status(status)).or_else(|| find(Answer::Hundred(status / 100)))
            }
        }
    }
}

impl Scope {
    fn read(&self, trial: &Trial) -> Counts {
        let watch = &trial.watch;
        Counts {
            statuses: seen(watch.statuses.iter().cloned().zip(&self.statuses)),
            slower: seen(watch.latency_bounds_ms.iter().copied().zip(&self.slower)),
            // Last: whoever looks in between must not find more answers than requests.
            requests: self.requests.load(Ordering::Relaxed),
            ..Counts::default()
        }
    }
}

fn seen<'a, K: Ord>(counts: impl Iterator<Item = (K, &'a Count)>) -> BTreeMap<K, Answers> {
    let read = |count: &Count| {
        let keys = count.keys.load(Ordering::Relaxed);
        Answers { keys, answers: count.answers.load(Ordering::Relaxed) }
    };
    counts.map(|(kind, count)| (kind, read(count))).filter(|(_, seen)| seen.answers > 0).collect()
}

//! Asks a worker again and again what it does, and adds up what it says.
//!
//! Invariant: of each sign at most one question is open, and nothing waits for its answer.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use lockstep_domain::work::exposition::{self, Read};
use lockstep_domain::work::told::{Last, SLICE_MS};
use lockstep_domain::work::{MetricsPlace, Told, WorkSigns};

use super::children::Children;
use super::hold::Hold;
use super::{Event, Supervisor, launch};
use crate::folder::InstanceFolder;
use crate::metrics;
use crate::process::ProcessIdentity;
use crate::spec::SpecFile;

/// Time between two readings of metrics.
const METRICS_EVERY: Duration = Duration::from_secs(1);

/// What is to be asked next, and since when what was said counts.
#[derive(Debug, Default)]
pub(super) struct Telling {
    last: Last,
    /// When each is asked again; `None` while a question is open.
    metrics_at: Option<Duration>,
    queue_at: Option<Duration>,
    /// Up to when time was told to have passed.
    passed: Duration,
}

impl Telling {
    /// Begins to ask whatever there are signs for.
    pub(super) fn of(signs: &WorkSigns) -> Self {
        let at = |is_there: bool| is_there.then_some(Duration::ZERO);
        Self {
            metrics_at: at(signs.metrics.is_some()),
            queue_at: at(signs.queue.is_some()),
            ..Self::default()
        }
    }

    fn next_due(&self) -> Option<Duration> {
        self.metrics_at.into_iter().chain(self.queue_at).min()
    }
}

/// What a worker answered.
pub(super) enum Said {
    /// Of its jobs.
    Jobs(Result<Read, String>),
    /// Of its queue.
    Depth(Result<u64, String>),
}

/// What is worth to be written down.
type News = (u64, u64, bool, Option<String>, u64, Option<String>, bool);

fn news(told: &Told) -> News {
    let Told { done, failed, heard, silent, depths, no_depth, slices, .. } = told;
    // So that a part of the last minutes that nothing came of is written down, too.
    let is_late = slices.back().is_some_and(|slice| slice.ms >= SLICE_MS / 2);
    (*done, *failed, *heard > 0, silent.clone(), *depths, no_depth.clone(), is_late)
}

impl Supervisor {
    /// Asks what is due, as long as there is a process.
    pub(super) fn ask_of_work(&mut self) {
        let signs = &self.spec.run.work;
        if signs.is_none() || self.process.is_none() || self.is_preparing {
            return;
        }
        let now = self.now();
        let passed_ms = now.saturating_sub(self.telling.passed).as_millis();
        self.change_told(|told, _| told.pass(u64::try_from(passed_ms).unwrap_or(u64::MAX)));
        self.telling.passed = now;
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        if is_due(self.telling.metrics_at) {
            self.telling.metrics_at = None;
            self.ask("metrics", |asked| Said::Jobs(asked.jobs()));
        }
        if is_due(self.telling.queue_at) {
            self.telling.queue_at = None;
            self.ask("queue", |asked| Said::Depth(asked.depth()));
        }
    }

    /// When something is to be asked next.
    pub(super) fn next_question(&self) -> Option<Duration> {
        self.process.as_ref().filter(|_| !self.is_preparing).and_then(|_| self.telling.next_due())
    }

    fn ask(&self, name: &str, question: impl FnOnce(&Asked) -> Said + Send + 'static) {
        let asked = Asked {
            folder: self.folder.clone(),
            spec: self.spec.clone(),
            children: self.children.clone(),
            hold: self.hold.clone(),
            process: self.status.process.clone(),
        };
        let (events, start) = (self.events.clone(), self.start);
        let answer = move || {
            let _ = events.send(Event::Said(start, question(&asked)));
        };
        // Without a thread it is asked when the next process is started: whoever is so short of them has other troubles.
        if let Err(error) = thread::Builder::new().name(name.to_owned()).spawn(answer) {
            self.log.note(&format!("what it does cannot be asked: {error}"));
        }
    }

    /// Takes in an answer. One of the process before says nothing of this one.
    pub(super) fn hear_of_work(&mut self, start: u64, said: Said) {
        let next = self.now();
        let is_present = start == self.start;
        match said {
            Said::Jobs(read) => {
                self.telling.metrics_at = Some(next + METRICS_EVERY);
                if is_present {
                    self.change_told(|told, last| told.take(last, read));
                }
            }
            Said::Depth(depth) => {
                let interval_ms = self.spec.run.work.queue.as_ref().map_or(0, |queue| queue.interval_ms);
                self.telling.queue_at = Some(next + Duration::from_millis(interval_ms));
                if is_present {
                    self.change_told(|told, _| told.take_depth(depth));
                }
            }
        }
    }

    /// Reads the file of a process that has ended: what it did last is in it.
    pub(super) fn hear_the_last(&mut self) {
        let spec = self.spec.clone();
        let Some(metrics) = &spec.run.work.metrics else { return };
        if let (MetricsPlace::File { .. }, Ok(read)) =
            (&metrics.place, metrics::read(&self.folder.work(), None, metrics))
        {
            self.change_told(|told, last| told.take(last, Ok(read)));
        }
    }

    fn change_told(&mut self, change: impl FnOnce(&mut Told, &mut Last)) {
        let before = news(&self.status.told);
        change(&mut self.status.told, &mut self.telling.last);
        if news(&self.status.told) != before {
            self.is_saved = false;
        }
    }
}

/// Whom a question is put to.
struct Asked {
    folder: Arc<InstanceFolder>,
    spec: Arc<SpecFile>,
    children: Arc<Children>,
    hold: Arc<Hold>,
    process: Option<ProcessIdentity>,
}

impl Asked {
    fn jobs(&self) -> Result<Read, String> {
        let metrics = self.spec.run.work.metrics.as_ref().ok_or_else(String::new)?;
        metrics::read(&self.folder.work(), self.spec.address(), metrics)
    }

    fn depth(&self) -> Result<u64, String> {
        let queue = self.spec.run.work.queue.as_ref().ok_or_else(String::new)?;
        let held = (&*self.children, &*self.hold);
        let process = self.process.as_ref();
        let printed =
            launch::printed(&self.folder, &self.spec, (&queue.command, process), held, queue.timeout_ms)?;
        exposition::depth(&printed).map_err(|why| format!("`{}` {why}", queue.command.join(" ")))
    }
}

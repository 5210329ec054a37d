//! The trial of a worker: what its instances say of their work, beside the old version or after it, and the verdict on that.
//!
//! The judge is the one that judges requests; only what is counted is another. Where both versions share the work their jobs of the
//! same time are compared. Where the old one has ended, all jobs of the new one are compared with the last minutes of the old one, at
//! 5 jobs, 10, 20 and so on: each comparison has a part of the error that is allowed, and the parts add up to it. Invariant: when
//! something is compared depends on how many jobs there were and never on how many of them failed.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_judge::{
    Backlog, Bake, Counts, Evidence, Health, Interval, Judgement, Look, Names, Obstacle, Pair, Plan, Reading,
    Rules, Share, Split, Unit, Waiting, decide, missed,
};

use super::base::WorkBase;
use super::signs::WorkSigns;
use super::told::{Slice, Told};
use crate::instance::{Arm, InstanceId};
use crate::time::Timestamp;
use crate::verdict::{Unproven, Verdict};

/// An interval with so many jobs of each version is long enough.
const JOBS: u64 = 20;
/// No interval is shorter.
const SHORTEST_MS: u64 = 1_000;
/// No interval is longer, however few jobs there were: many programs say what they did every 15 s.
const LONGEST_MS: u64 = 30_000;
/// All jobs are compared with those of before at so many, and each time that there are twice as many.
const FIRST_COMPARED: u64 = 5;
/// How often that is: up to some 80,000 jobs.
const MAX_COMPARED: u32 = 15;
/// Instances of which it is remembered what they said, far more than a rollout has.
const MAX_INSTANCES: usize = 10_000;

/// A trial of a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkTrial {
    new: Arm,
    old: Option<Arm>,
    signs: WorkSigns,
    plan: Plan,
    evidence: Evidence,
    base: Option<WorkBase>,
    /// Whether both versions share the work, so that jobs of the same time are compared.
    is_shared: bool,
    /// How often all jobs were compared with those of before, and what came of it.
    compared: u32,
    worse: Option<Judgement>,
    latest: Option<Judgement>,
    /// How often evidence was lost.
    lost: u32,
    seen: BTreeMap<InstanceId, Seen>,
    open: Open,
    looked: Timestamp,
    silent: BTreeMap<InstanceId, String>,
    backlog: Backlog,
    no_depth: Option<String>,
    /// The jobs of the new version, and how long they were counted.
    jobs: Slice,
    /// Whether another version works on the same queue now.
    is_beside: bool,
    /// Whether the next depth may have been asked for before the other version had ended.
    is_next_stale: bool,
    /// What the new version and the old one beside it did since it is beside it, or since it is alone.
    new_pace: Pace,
    old_pace: Pace,
}

/// What an instance had said at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    done: u64,
    failed: u64,
    depths: u64,
    is_heard: bool,
}

/// The interval that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Open {
    since: Timestamp,
    new: Slice,
    old: Slice,
}

/// What a trial begins with.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// The arm on trial.
    pub new: Arm,
    /// The one that it takes over from.
    pub old: Option<Arm>,
    /// By what the new one shows how its work goes.
    pub signs: WorkSigns,
    /// What the old one did before.
    pub base: Option<WorkBase>,
    /// Whether both share the work.
    pub is_shared: bool,
    /// The rules of the strategy.
    pub rules: Rules,
    /// How often its evidence was lost.
    pub lost: u32,
}

impl WorkTrial {
    /// Begins a trial.
    #[must_use]
    pub fn begin(beginning: Beginning, now: Timestamp) -> Self {
        let Beginning { new, old, signs, base, is_shared, rules, lost } = beginning;
        let total = base.as_ref().map(WorkBase::total).unwrap_or_default();
        let usual = (total.jobs() > 0).then(|| counts(total));
        let evidence = evidence(lost);
        Self {
            new,
            old,
            signs,
            plan: Plan { rules, usual, ..Plan::default() },
            evidence,
            base,
            is_shared,
            compared: 0,
            worse: None,
            latest: None,
            lost,
            seen: BTreeMap::new(),
            open: Open { since: now, ..Open::default() },
            looked: now,
            silent: BTreeMap::new(),
            backlog: Backlog::default(),
            no_depth: None,
            jobs: Slice::default(),
            is_beside: false,
            is_next_stale: false,
            new_pace: Pace::default(),
            old_pace: Pace::default(),
        }
    }

    /// Says that the share of the new version grew.
    pub fn begin_step(&mut self) {
        self.evidence.begin_step();
    }

    /// Moves every time by time that did not pass.
    pub fn skip(&mut self, ms: u64) {
        self.open.since = self.open.since.plus_ms(ms);
        self.looked = self.looked.plus_ms(ms);
    }

    /// Takes in what instances that run say now, of whatever arm.
    pub fn look<'a>(
        &mut self,
        instances: impl Iterator<Item = (&'a InstanceId, &'a Arm, &'a Told)>,
        now: Timestamp,
    ) {
        self.silent.clear();
        let passed_ms = now.since_ms(self.looked);
        self.looked = now;
        self.no_depth = None;
        let (mut asked, mut works, mut is_beside) = (None, false, false);
        for (id, arm, told) in instances {
            if *arm == self.new {
                works = true;
                let before = self.take(id, told, (false, passed_ms));
                self.note_silence(id, told);
                // All ask for the same queue: one answer is enough.
                if asked.is_none() && (told.depths > 0 || told.no_depth.is_some()) {
                    asked = Some((told, before));
                }
            } else if arm.service == self.new.service && arm.process == self.new.process {
                is_beside = true;
                if self.is_shared && self.old.as_ref() == Some(arm) {
                    self.take(id, told, (true, passed_ms));
                }
            }
        }
        self.note_depth(asked, is_beside);
        if !works {
            // A process that follows in the last step does nothing until then.
            self.open.since = now;
        }
        self.close(now);
        self.compare();
    }

    /// Adds what grew since the last look. What was counted before the first one is no part of the trial.
    fn take(&mut self, id: &InstanceId, told: &Told, (is_old, passed_ms): (bool, u64)) -> Option<Seen> {
        let Told { done, failed, depths, heard, .. } = *told;
        let now = Seen { done, failed, depths, is_heard: heard > 0 };
        if self.seen.len() >= MAX_INSTANCES && !self.seen.contains_key(id) {
            return None;
        }
        let before = self.seen.insert(id.clone(), now)?;
        let (open, pace) = match is_old {
            true => (&mut self.open.old, &mut self.old_pace),
            false => (&mut self.open.new, &mut self.new_pace),
        };
        let done = now.done.saturating_sub(before.done);
        pace.add(done, if before.is_heard { passed_ms } else { 0 });
        open.done = open.done.saturating_add(done);
        open.failed = open.failed.saturating_add(now.failed.saturating_sub(before.failed));
        Some(before)
    }

    fn note_silence(&mut self, id: &InstanceId, told: &Told) {
        let Some(metrics) = &self.signs.metrics else { return };
        let place = &metrics.place;
        let why = match &told.silent {
            Some(why) => format!("{place} of {id}: {why}"),
            None if told.heard == 0 => format!("{place} of {id} was not read yet"),
            None => return,
        };
        self.silent.insert(id.clone(), why);
    }

    /// Ends an interval that is long enough.
    fn close(&mut self, now: Timestamp) {
        let lasted_ms = now.since_ms(self.open.since);
        let Open { new, old, .. } = self.open;
        let is_full = new.jobs() >= JOBS && (old.jobs() >= JOBS || !self.is_shared);
        if lasted_ms >= SHORTEST_MS && (lasted_ms >= LONGEST_MS || is_full) {
            self.end_interval(now);
        }
    }

    fn end_interval(&mut self, now: Timestamp) {
        let lasted_ms = now.since_ms(self.open.since);
        let Open { new, old, .. } = self.open;
        let total = Pair { new: counts(new), old: counts(old) };
        let interval = Interval { lasted_ms, split: Split::Counted, total, classes: BTreeMap::new() };
        self.evidence.take(&self.plan, &Reading::Counted(interval));
        self.jobs = Slice { ms: self.jobs.ms.saturating_add(lasted_ms), ..self.jobs.beside(new) };
        self.open = Open { since: now, ..Open::default() };
    }

    /// Compares all jobs with those of before, each time that there are twice as many.
    fn compare(&mut self) {
        let before = self.base.as_ref().map(WorkBase::total).filter(|total| total.jobs() > 0);
        let Some(before) = before.filter(|_| !self.is_shared) else { return };
        let all = self.jobs.beside(self.open.new);
        while self.compared < MAX_COMPARED && all.jobs() >= FIRST_COMPARED << self.compared {
            let judgement = self.compared_with(before, all);
            if matches!(judgement.verdict, lockstep_judge::Verdict::Fail(_)) {
                self.worse.get_or_insert_with(|| judgement.clone());
            }
            self.latest = Some(judgement);
            self.compared += 1;
        }
    }

    /// The parts of the error of all comparisons, 1/2, 1/6, 1/12 and so on, add up to less than 1.
    fn compared_with(&self, before: Slice, all: Slice) -> Judgement {
        let Share(alpha) = self.plan.rules.alpha;
        let alpha = Share((alpha / ((self.compared + 1) * (self.compared + 2))).max(1));
        let rules = Rules { alpha, min_requests: 0, ..self.plan.rules.clone() };
        let plan = Plan { rules, ..self.plan.clone() };
        let mut evidence = evidence(self.lost);
        let total = Pair { new: counts(all), old: counts(before) };
        let interval = Interval { lasted_ms: all.ms, split: Split::Counted, total, classes: BTreeMap::new() };
        evidence.take(&plan, &Reading::Counted(interval));
        decide(&plan, &evidence, &Look { health: Health::Ready, bake: Bake::Over })
    }

    /// Judges by all that was said so far, with so many milliseconds of the bake left. When it is over, what the interval that goes on
    /// has is looked at as well.
    #[must_use]
    pub fn judge(&self, left_ms: u64) -> Verdict {
        if left_ms == 0 && self.open.new.jobs() > 0 {
            let mut whole = self.clone();
            whole.end_interval(self.looked);
            return whole.judge_all(left_ms);
        }
        self.judge_all(left_ms)
    }

    fn judge_all(&self, left_ms: u64) -> Verdict {
        let mut said = Said::default();
        self.judge_queue(&mut said);
        match &self.signs.metrics {
            Some(_) => self.judge_jobs(&mut said, left_ms),
            None => self.judge_without_jobs(&mut said),
        }
        said.verdict(&self.new)
    }

    fn judge_jobs(&self, said: &mut Said, left_ms: u64) {
        let bake = if left_ms == 0 { Bake::Over } else { Bake::Left(left_ms) };
        let judgement = decide(&self.plan, &self.evidence, &Look { health: Health::Ready, bake });
        let new = self.new.version.to_string();
        let old =
            self.old.as_ref().map_or_else(|| "what was before".to_owned(), |old| old.version.to_string());
        let names = Names { service: self.new.service.as_str(), new: &new, old: &old, of: Unit::Jobs };
        if let Some(worse) = &self.worse {
            said.faults.push(worse.sentence(&names));
        }
        self.judge_latest(said, &names);
        let sentence = judgement.sentence(&names);
        said.notes.extend(judgement.notes.iter().map(|note| note.sentence(&names)));
        let known = missed(&self.plan, &self.evidence).sentence(Unit::Jobs);
        said.known.push(format!("passed, not proven: {known}"));
        match judgement.verdict {
            lockstep_judge::Verdict::Fail(_) => said.faults.push(sentence),
            lockstep_judge::Verdict::Pass(_) => said.passed.push(sentence),
            lockstep_judge::Verdict::None(waiting) => {
                let obstacles = waiting.iter().map(Waiting::obstacle).collect();
                said.wait(sentence, obstacles);
            }
        }
        if !self.silent.is_empty() {
            said.wait(self.silence(), BTreeSet::from([Obstacle::NoCounters]));
        }
    }

    /// What came of the latest comparison with what was before: a suspicion keeps the step as one about requests does.
    fn judge_latest(&self, said: &mut Said, names: &Names<'_>) {
        let Some(latest) = &self.latest else { return };
        if let lockstep_judge::Verdict::None(waiting) = &latest.verdict {
            let obstacles = waiting.iter().map(Waiting::obstacle).collect();
            said.wait(latest.sentence(names), obstacles);
        }
        if self.worse.is_some() {
            return;
        }
        let before = self.base.as_ref().map(WorkBase::total).unwrap_or_default();
        let now = self.jobs.beside(self.open.new);
        let share = |slice: Slice| Share::of(slice.failed, slice.jobs());
        said.notes.push(format!(
            "{} fails {} of jobs, {} failed {} before",
            names.new,
            share(now),
            names.old,
            share(before)
        ));
    }

    /// Says who says nothing; with many of them, the first and how many there are.
    fn silence(&self) -> String {
        let first = self.silent.values().next().map(String::as_str).unwrap_or_default();
        match self.silent.len() {
            1 => format!("it does not say what it does: {first}"),
            all => format!("{all} instances do not say what they do: {first}"),
        }
    }

    /// Where nothing is counted, a queue that somebody takes from is the only sign of work.
    fn judge_without_jobs(&self, said: &mut Said) {
        if self.backlog.taken() == 0 {
            let why = self.no_depth.as_deref().unwrap_or("its queue was not asked yet");
            said.wait(format!("it does not say what it does: {why}"), BTreeSet::from([Obstacle::NoCounters]));
            said.known.push("passed, not proven: its queue said nothing".to_owned());
            return;
        }
        let nothing = match self.backlog.was_always_empty() {
            true => "its queue was empty all the time, so nothing shows that it works",
            false if self.is_beside => {
                "nothing shows who takes from its queue: the old version works on it too"
            }
            false => "nothing was seen to be taken from its queue",
        };
        if self.takes() {
            said.passed.push("it takes from its queue".to_owned());
        } else if self.plan.rules.min_requests == 0 {
            said.passed.push(format!("passed, not proven: {nothing}"));
        } else {
            said.wait(nothing.to_owned(), BTreeSet::from([Obstacle::FewRequests]));
            said.known.push(format!("passed, not proven: {nothing}"));
        }
    }
}

fn evidence(lost: u32) -> Evidence {
    if lost == 0 { Evidence::default() } else { Evidence::begun_anew(lost) }
}

fn counts(slice: Slice) -> Counts {
    Counts::with_failures(slice.jobs(), slice.failed)
}

/// What is said of a worker: by all its signs together.
#[derive(Debug, Default)]
struct Said {
    faults: Vec<String>,
    waits: Vec<String>,
    obstacles: BTreeSet<Obstacle>,
    known: Vec<String>,
    passed: Vec<String>,
    notes: Vec<String>,
}

impl Said {
    fn wait(&mut self, why: String, obstacles: BTreeSet<Obstacle>) {
        self.waits.push(why);
        self.obstacles.extend(obstacles);
    }

    fn verdict(self, new: &Arm) -> Verdict {
        let Self { faults, waits, obstacles, known, passed, notes } = self;
        let with_notes = |said: Vec<String>| said.into_iter().chain(notes).collect::<Vec<_>>().join("; ");
        if !faults.is_empty() {
            return Verdict::Fail { why: with_notes(faults) };
        }
        if waits.is_empty() {
            return Verdict::Pass { why: format!("{new}: {}", with_notes(passed)) };
        }
        Verdict::None(Unproven {
            missing: format!("{new}: {}", with_notes(waits)),
            obstacles,
            known: format!("{new}: {}", known.join("; ")),
        })
    }
}

mod queue;

use queue::Pace;

#[cfg(test)]
mod tests;

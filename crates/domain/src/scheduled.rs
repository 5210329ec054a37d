//! What is known of the runs of a job by its schedule in an environment.

use imbl::Vector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::instance::InstanceId;
use crate::job::{JobEnd, JobRun, PlannedJob};
use crate::schedule::Schedule;
use crate::time::Timestamp;

/// Runs of a job that are remembered, the ones left out among them.
pub const REMEMBERED_RUNS: usize = 50;

/// The runs of a job by its schedule in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scheduled {
    /// What is watched; `None` while no version with this job runs here.
    #[serde(default)]
    pub watched: Option<Watched>,
    /// Its last runs, the newest last.
    #[serde(default)]
    pub runs: Vector<ScheduledRun>,
}

/// A schedule, and how far it was followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Watched {
    /// The schedule.
    pub schedule: Schedule,
    /// Until which time of the wall clock it is decided what runs and what is left out.
    pub decided: Timestamp,
}

/// A time of a schedule that came, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScheduledRun {
    /// The time, on the wall clock.
    pub due: Timestamp,
    /// What was to run.
    pub planned: PlannedJob,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was begun.
    Ran(JobRun),
    /// It was left out.
    Skipped(Skip),
}

/// Why a run was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skip {
    /// When that was decided.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

impl ScheduledRun {
    /// Returns how it ran, unless it was left out.
    #[must_use]
    pub fn run(&self) -> Option<&JobRun> {
        match &self.outcome {
            Outcome::Ran(run) => Some(run),
            Outcome::Skipped(_) => None,
        }
    }

    fn run_mut(&mut self) -> Option<&mut JobRun> {
        match &mut self.outcome {
            Outcome::Ran(run) => Some(run),
            Outcome::Skipped(_) => None,
        }
    }
}

impl Scheduled {
    /// Returns the run that was begun and has not ended.
    #[must_use]
    pub fn under_way(&self) -> Option<(&ScheduledRun, &JobRun)> {
        let mut begun = self.runs.iter().filter_map(|it| Some((it, it.run()?)));
        begun.find(|(_, run)| run.end.is_none())
    }

    /// Follows a schedule from a moment on, or none. Folding only.
    pub(crate) fn watch(&mut self, schedule: Option<&Schedule>, decided: Timestamp) {
        self.watched = schedule.map(|schedule| Watched { schedule: schedule.clone(), decided });
    }

    /// Notes what became of a time. Folding only.
    pub(crate) fn decide(&mut self, run: ScheduledRun) -> Result<(), String> {
        if run.run().is_some() && self.under_way().is_some() {
            return Err(format!("a run of {} is under way", run.planned));
        }
        if let Some(watched) = &mut self.watched {
            watched.decided = run.due;
        }
        self.runs.push_back(run);
        let is_over = |run: &ScheduledRun| run.run().is_none_or(|run| run.end.is_some());
        if self.runs.len() > REMEMBERED_RUNS
            && let Some(oldest) = self.runs.iter().position(is_over)
        {
            self.runs.remove(oldest);
        }
        Ok(())
    }

    /// Ends the run that is under way. Folding only.
    pub(crate) fn end(&mut self, instance: &InstanceId, end: JobEnd) -> Result<(), String> {
        let unended = |run: &&mut JobRun| run.instance == *instance && run.end.is_none();
        let run = self.runs.iter_mut().filter_map(ScheduledRun::run_mut).find(unended);
        let run = run.ok_or_else(|| format!("no run {instance} is under way"))?;
        run.end = Some(end);
        Ok(())
    }

    /// Moves the times from which a duration is measured. Folding only.
    pub(crate) fn skip(&mut self, ms: u64) {
        self.runs.iter_mut().filter_map(ScheduledRun::run_mut).for_each(|run| run.skip(ms));
    }

    /// Goes through what ran, to rename the service. Folding only.
    pub(crate) fn planned_mut(&mut self) -> impl Iterator<Item = &mut PlannedJob> {
        self.runs.iter_mut().map(|run| &mut run.planned)
    }
}

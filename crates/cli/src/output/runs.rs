//! Runs of jobs for people.

use lockstep_domain::job::{Job, JobRun};
use lockstep_domain::scheduled::{Outcome, ScheduledRun};

use super::style::printable;
use super::times;

/// Says when a job runs.
pub(crate) fn when(job: &Job) -> String {
    job.schedule.as_ref().map_or_else(|| job.when.to_string(), ToString::to_string)
}

/// Says how a run ended.
pub(crate) fn how(run: &JobRun) -> String {
    let Some(end) = &run.end else { return "it runs".to_owned() };
    match &end.failure {
        None => format!("done after {}", times::exact(end.at.since_ms(run.begun))),
        Some(why) => format!("failed: {}", printable(why.lines().next().unwrap_or_default())),
    }
}

/// Says what became of a time of a schedule.
pub(crate) fn outcome(scheduled: &ScheduledRun) -> String {
    match &scheduled.outcome {
        Outcome::Ran(run) => how(run),
        Outcome::Skipped(skip) => format!("left out: {}", printable(&skip.reason)),
    }
}

/// The command that shows what a run wrote; empty where nothing ran.
pub(crate) fn log_of(run: Option<&JobRun>) -> String {
    run.map(|run| format!("lockstep logs {}", run.instance)).unwrap_or_default()
}

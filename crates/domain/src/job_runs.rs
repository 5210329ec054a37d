//! The jobs of an operation: which is due, and what is to be done for it.
//!
//! Invariant: a job is begun once in an operation. It is recorded under the name of its run before anything starts, and only that
//! run is ever started; one that is gone without having ended is not tried again.

use crate::action::KILLED_WITHIN_MS;
use crate::database::Told;
use crate::environment::Environment;
use crate::event::Event;
use crate::fault::Cause;
use crate::instance::{Arm, InstanceId, InstanceState};
use crate::job::{JobRun, PlannedJob, When};
use crate::observed::Observed;
use crate::operation::{Operation, Phase};
use crate::time::Timestamp;

/// What a job may take on top of its time limit before it is given up: to be unpacked and started, asked to end, and killed.
const GIVEN_UP_AFTER_MS: u64 = 10 * 60 * 1_000;
pub(crate) const TOLD_TO_END: &str = "it was told to end";

/// How it stands with the jobs of an operation that are due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// One of them has to be begun, or has ended.
    Record(Box<Event>),
    /// One of them runs.
    Runs,
    /// One of them failed that everything else depends on.
    Failed(Cause),
    /// All have run.
    Over,
}

/// Tells whether nothing of an operation may start, because a job comes first that has not succeeded: between its bad end and the record
/// that takes the operation back nothing of it starts either.
pub(crate) fn come_first(operation: &Operation) -> bool {
    let first = operation.plan.jobs.iter().take_while(|planned| planned.when != When::AfterDeploy).count();
    let has_succeeded = |run: &&JobRun| run.end.as_ref().is_some_and(|end| end.failure.is_none());
    operation.jobs.iter().take_while(has_succeeded).count() < first
}

/// Since when instances are made ready that could be since a moment: the time of jobs that come first is not theirs.
pub(crate) fn ready_since(operation: &Operation, since: Timestamp) -> Timestamp {
    let first = operation.job_runs().filter(|(planned, _)| planned.when != When::AfterDeploy);
    first.filter_map(|(_, run)| Some(run.end.as_ref()?.at)).fold(since, Timestamp::max)
}

/// Returns how it stands with the jobs that are due: those that come first, or all.
pub(crate) fn due(
    environment: &Environment,
    operation: &Operation,
    (observed, now): (&Observed, Timestamp),
    all: bool,
) -> Due {
    let due = operation.plan.jobs.iter().filter(|planned| all || planned.when != When::AfterDeploy);
    for (index, planned) in due.enumerate() {
        match operation.jobs.get(index) {
            // Two runs of a job never go on at once.
            None if environment.scheduled_run(&planned.arm.service, &planned.job).is_some() => {
                return Due::Runs;
            }
            None => return Due::Record(Box::new(begin(operation, planned, index, now))),
            Some(run) => match &run.end {
                None => return running(operation, (planned, run), observed, now),
                Some(end) if planned.when == When::AfterDeploy || end.failure.is_none() => {}
                Some(end) => {
                    let why = end.failure.as_deref().unwrap_or_default();
                    return Due::Failed(Cause::of_nobody(format!("{planned} failed: {why}")));
                }
            },
        }
    }
    Due::Over
}

fn begin(operation: &Operation, planned: &PlannedJob, index: usize, now: Timestamp) -> Event {
    Event::JobBegun {
        operation: operation.id,
        environment: operation.environment.clone(),
        instance: run_id(operation, planned, index, now),
    }
}

/// The name of a run: an operation has no second one of a job, and no other journal that came to this number had one of that name. The
/// job's name is cut, so that the whole is never too long.
fn run_id(operation: &Operation, planned: &PlannedJob, index: usize, now: Timestamp) -> InstanceId {
    let PlannedJob { arm: Arm { service, version, config, .. }, job, .. } = planned;
    let job: String = job.as_str().chars().take(16).collect();
    let text = format!("{service}-{version}-{config}-{job}-{:x}-{}.{index}", now.0, operation.id);
    text.parse().expect("names, numbers, hyphens and dots make an id")
}

fn running(
    operation: &Operation,
    (planned, run): (&PlannedJob, &JobRun),
    observed: &Observed,
    now: Timestamp,
) -> Due {
    match end_seen(run, observed) {
        Some(failure) => {
            let told = told(run, observed);
            let failure = why(planned, failure, told.as_deref());
            Due::Record(Box::new(ended(operation, run, failure, told)))
        }
        None if now >= given_up_at(planned, run) => {
            Due::Record(Box::new(ended(operation, run, Some(unheard()), None)))
        }
        None => Due::Runs,
    }
}

/// How a run is seen to have ended: with a failure or without; `None` while nothing says that it has.
pub(crate) fn end_seen(run: &JobRun, observed: &Observed) -> Option<Option<String>> {
    let seen = observed.jobs.iter().find(|instance| instance.id == run.instance)?;
    match &seen.state {
        InstanceState::Completed => Some(None),
        failed @ InstanceState::Failed { .. } => Some(failed.what_happened().map(str::to_owned)),
        InstanceState::Stopped => Some(Some(TOLD_TO_END.to_owned())),
        _ => None,
    }
}

/// Why a run failed: in the words of a step at a database, where it found them; one that says nothing has failed.
fn why(planned: &PlannedJob, failure: Option<String>, told: Option<&Told>) -> Option<String> {
    match told {
        Some(told) => failure.map(|failure| told.failure.clone().unwrap_or(failure)),
        None if planned.database.is_some() => failure
            .or_else(|| Some("it did not say what it found, or what it said cannot be read".to_owned())),
        None => failure,
    }
}

/// What a step at a database has said, whether it failed or not.
fn told(run: &JobRun, observed: &Observed) -> Option<Box<Told>> {
    observed.databases.get(&run.instance).cloned().map(Box::new)
}

fn ended(operation: &Operation, run: &JobRun, failure: Option<String>, told: Option<Box<Told>>) -> Event {
    let (environment, instance) = (operation.environment.clone(), run.instance.clone());
    Event::JobEnded { operation: operation.id, environment, instance, failure, told }
}

/// Why a run failed that is not waited for any more.
pub(crate) fn unheard() -> String {
    "nothing was heard of it any more".to_owned()
}

/// Tells whether a run is seen, in whatever state.
pub(crate) fn is_there(run: &InstanceId, observed: &Observed) -> bool {
    observed.jobs.iter().any(|instance| instance.id == *run)
}

/// Tells whether everything has taken over, and only what runs afterwards is left.
pub(crate) fn only_afterwards_left(operation: &Operation) -> bool {
    operation.job_runs().any(|(planned, _)| planned.when == When::AfterDeploy)
}

/// Ends the job of an operation that is taken back, once nothing of it is left.
pub(crate) fn end_left(operation: &Operation, observed: &Observed) -> Option<Event> {
    let run = operation.jobs.last().filter(|run| run.end.is_none() && !is_left(operation, observed))?;
    let failure = end_seen(run, observed).unwrap_or_else(|| Some(TOLD_TO_END.to_owned()));
    Some(ended(operation, run, failure, told(run, observed)))
}

/// Ends every run that was recorded and that nobody knows of.
pub(crate) fn lost(
    environment: &Environment,
    is_known: impl Fn(&InstanceId) -> bool,
    why: &str,
) -> Vec<Event> {
    let unended = environment.under_way().filter_map(|operation| Some((operation, operation.jobs.last()?)));
    let lost = unended.filter(|(_, run)| run.end.is_none() && !is_known(&run.instance));
    lost.map(|(operation, run)| ended(operation, run, Some(why.to_owned()), None)).collect()
}

/// When a job is not waited for any more: its time was over long before.
pub(crate) fn given_up_at(planned: &PlannedJob, run: &JobRun) -> Timestamp {
    run.begun.plus_ms(planned.timeout_ms.saturating_add(GIVEN_UP_AFTER_MS + KILLED_WITHIN_MS))
}

/// The run that should be alive now, and its job; none while an operation goes back.
pub(crate) fn wanted(operation: &Operation) -> Option<(&PlannedJob, &JobRun)> {
    let is_moving = matches!(operation.phase, Phase::Preparing { .. } | Phase::Shifted { .. });
    operation.job_runs().last().filter(|(_, run)| is_moving && run.end.is_none())
}

/// Tells whether a run of an operation has not ended.
pub(crate) fn is_left(operation: &Operation, observed: &Observed) -> bool {
    let mut runs = observed.jobs.iter().filter(|instance| !instance.state.is_over());
    runs.any(|instance| operation.jobs.iter().any(|run| run.instance == instance.id))
}

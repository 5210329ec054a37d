//! Jobs by schedules: whose time has come, and what becomes of it.
//!
//! Times are those of the wall clock, which people set their schedules by; how long a run takes is measured by the clock that never turns.
//!
//! Invariants: what becomes of a time is recorded before anything starts, so no time is decided twice, whoever dies. Two runs of a job never go
//! on at once. What runs is the version of the baseline; a run of a newer version than the one that is there, or is about to come back, is told to end.

use crate::action::Look;
use crate::baseline::BaselineEntry;
use crate::environment::Environment;
use crate::event::Event;
use crate::instance::{Arm, InstanceId};
use crate::job::{Job, JobRun, PlannedJob};
use crate::job_runs::{TOLD_TO_END, end_seen, given_up_at, is_there, unheard};
use crate::name::{JobName, ServiceName};
use crate::operation::{Operation, Phase};
use crate::schedule::{MISSED_AFTER_MS, Missed, Overlap, Schedule};
use crate::scheduled::{Scheduled, ScheduledRun, Watched};
use crate::time::Timestamp;
use crate::version::VersionNumber;

/// A wall clock that was set back by more than this was wrong before, and is followed. Within it no time comes twice. As in Vixie cron.
const TURNED_BACK_MS: u64 = 3 * 60 * 60 * 1_000;

/// A job that runs by a schedule, of what is live.
struct Live<'a> {
    arm: Arm,
    job: &'a Job,
    schedule: &'a Schedule,
    /// Its place among the jobs of its version.
    index: usize,
}

/// Returns what is to be recorded now.
pub(crate) fn events(look: Look<'_>) -> Vec<Event> {
    let ended: Vec<_> = under_way(look.environment).filter_map(|one| ended(look, &one)).collect();
    // Whether one is under way is looked at again when that is recorded.
    if !ended.is_empty() {
        return ended;
    }
    let live: Vec<_> = live(look).collect();
    let over = all(look.environment).filter(|(service, job, known)| {
        let is_live = || live.iter().any(|it| it.arm.service == **service && it.job.name == **job);
        known.watched.is_some() && !is_live()
    });
    let over = over.map(|(service, job, _)| changed(look, (service, job), None, look.wall));
    over.chain(live.iter().filter_map(|it| decide(look, it))).collect()
}

/// Returns the runs that should go on, or begin.
pub(crate) fn wanted(look: Look<'_>) -> impl Iterator<Item = (&PlannedJob, &JobRun)> {
    let wanted = under_way(look.environment).filter(move |one| is_wanted(look, one));
    wanted.map(|one| (&one.scheduled.planned, one.run))
}

/// Returns when the next time of a schedule comes, on the clock by which durations are measured.
pub(crate) fn next_look(look: Look<'_>) -> Option<Timestamp> {
    let next = live(look).filter_map(|it| {
        let known = known(look.environment, &it.arm.service, &it.job.name)?;
        it.schedule.next_after(known.watched.as_ref()?.decided.max(look.wall))
    });
    let given_up = wanted(look).map(|(planned, run)| given_up_at(planned, run));
    next.map(|at| look.now.plus_ms(at.since_ms(look.wall))).chain(given_up).min()
}

/// Ends every run that was recorded and that nobody knows of.
pub(crate) fn lost(
    environment: &Environment,
    is_known: impl Fn(&InstanceId) -> bool,
    why: &str,
) -> Vec<Event> {
    let lost = under_way(environment).filter(|one| !is_known(&one.run.instance));
    lost.map(|one| end(environment, &one, Some(why.to_owned()))).collect()
}

/// Tells whether a run has not ended as far as is recorded.
pub(crate) fn is_under_way(environment: &Environment, instance: &InstanceId) -> bool {
    under_way(environment).any(|one| one.run.instance == *instance)
}

/// A run that was begun and has not ended.
struct UnderWay<'a> {
    service: &'a ServiceName,
    known: &'a Scheduled,
    scheduled: &'a ScheduledRun,
    run: &'a JobRun,
}

fn all(environment: &Environment) -> impl Iterator<Item = (&ServiceName, &JobName, &Scheduled)> {
    let jobs = |(service, jobs)| (service, jobs);
    let by_service = environment.scheduled.iter().map(jobs);
    by_service.flat_map(|(service, jobs)| jobs.iter().map(move |(job, known)| (service, job, known)))
}

fn under_way(environment: &Environment) -> impl Iterator<Item = UnderWay<'_>> {
    all(environment).filter_map(|(service, _, known)| {
        let (scheduled, run) = known.under_way()?;
        Some(UnderWay { service, known, scheduled, run })
    })
}

fn known<'a>(environment: &'a Environment, service: &ServiceName, job: &JobName) -> Option<&'a Scheduled> {
    environment.scheduled.get(service)?.get(job)
}

fn live(look: Look<'_>) -> impl Iterator<Item = Live<'_>> {
    let jobs = move |(service, entry): (&ServiceName, &BaselineEntry)| {
        let arm = entry.arm(service);
        let jobs = look.world.version(&arm.version_ref()).map(|version| version.jobs.as_slice());
        let jobs = jobs.unwrap_or_default().iter().enumerate();
        jobs.filter_map(move |(index, job)| {
            Some(Live { arm: arm.clone(), job, schedule: job.schedule.as_ref()?, index })
        })
    };
    look.environment.entries().iter().flat_map(jobs)
}

fn decide(look: Look<'_>, live: &Live<'_>) -> Option<Event> {
    let Live { arm, job, schedule, .. } = live;
    let change = |since| Some(changed(look, (&arm.service, &job.name), Some(schedule), since));
    let known = known(look.environment, &arm.service, &job.name);
    let Some((known, watched)) = known.and_then(|known| Some((known, known.watched.as_ref()?))) else {
        return change(look.wall);
    };
    if watched.decided.since_ms(look.wall) > TURNED_BACK_MS || !watched.schedule.has_times_of(schedule) {
        return change(look.wall);
    }
    if watched.schedule != **schedule {
        return change(watched.decided);
    }
    let at = schedule.last_between(decided(known, watched, look.wall), look.wall)?;
    if comes_back(look.environment, &arm.service).is_some() {
        return None;
    }
    match before(look.environment, known, live) {
        Some(before) if schedule.overlap == Overlap::Skip => {
            Some(skipped(look, live, at, format!("{before} went on")))
        }
        Some(_) => None,
        None if schedule.missed == Missed::Skip && is_missed(known, at, look.wall) => {
            Some(skipped(look, live, at, "nobody was there to begin it at its time".to_owned()))
        }
        None => Some(begun(look, live, at)),
    }
}

/// Until when it is decided. A clock that was wrong for a while does not make a time that was remembered come again.
fn decided(known: &Scheduled, watched: &Watched, wall: Timestamp) -> Timestamp {
    let remembered = known.runs.iter().map(|run| run.due).filter(|&due| due <= wall);
    remembered.fold(watched.decided, Timestamp::max)
}

/// Says which run of a job goes on: one by its schedule, or one in an operation.
fn before(environment: &Environment, known: &Scheduled, live: &Live<'_>) -> Option<String> {
    if let Some((scheduled, _)) = known.under_way() {
        return Some(format!("the run of {}", scheduled.due.day()));
    }
    let operation = environment.running_in(&live.arm.service, &live.job.name)?;
    Some(format!("the run of operation {operation}"))
}

/// Tells whether nobody was there at a time: it is long over, and no run before it was waited for.
fn is_missed(known: &Scheduled, at: Timestamp, wall: Timestamp) -> bool {
    let last = known.runs.iter().rev().find_map(ScheduledRun::run);
    let waited = last.and_then(|run| run.end.as_ref()).is_some_and(|end| end.at >= at);
    wall.since_ms(at) > MISSED_AFTER_MS && !waited
}

/// The version that an operation under way brings back in the place of a newer one; `Some(None)` when it takes the service out.
fn comes_back<'a>(environment: &'a Environment, service: &ServiceName) -> Option<Option<&'a VersionNumber>> {
    let operation = environment.mover_of(service).filter(|operation| goes_on(operation))?;
    let (_, part) = operation.plan.move_of(service)?;
    let from = &part.from.as_ref()?.version;
    let to = part.to.as_ref().map(|to| &to.version);
    to.is_none_or(|to| to < from).then_some(to)
}

fn goes_on(operation: &Operation) -> bool {
    matches!(operation.phase, Phase::Preparing { .. } | Phase::Shifted { .. })
}

/// The version that is there, or is about to come back.
fn standing<'a>(environment: &'a Environment, service: &ServiceName) -> Option<&'a VersionNumber> {
    let live = environment.entries().get(service).map(|entry| &entry.version);
    comes_back(environment, service).unwrap_or(live)
}

fn is_wanted(look: Look<'_>, one: &UnderWay<'_>) -> bool {
    let standing = standing(look.environment, one.service);
    let is_gone = standing.is_none_or(|version| *version < one.scheduled.planned.arm.version);
    let gives_way = || {
        one.known.watched.as_ref().is_some_and(|watched| {
            watched.schedule.overlap == Overlap::Replace
                && watched.schedule.last_between(decided(one.known, watched, look.wall), look.wall).is_some()
        })
    };
    !is_gone && !gives_way()
}

fn ended(look: Look<'_>, one: &UnderWay<'_>) -> Option<Event> {
    let failure = match end_seen(one.run, look.observed) {
        Some(failure) => failure,
        None if look.now >= given_up_at(&one.scheduled.planned, one.run) => Some(unheard()),
        // It was never started, and will not be any more.
        None if !is_wanted(look, one) && !is_there(&one.run.instance, look.observed) => {
            Some(TOLD_TO_END.to_owned())
        }
        None => return None,
    };
    Some(end(look.environment, one, failure))
}

fn end(environment: &Environment, one: &UnderWay<'_>, failure: Option<String>) -> Event {
    Event::ScheduledRunEnded {
        environment: environment.name.clone(),
        service: one.service.clone(),
        job: one.scheduled.planned.job.clone(),
        instance: one.run.instance.clone(),
        failure,
    }
}

fn changed(
    look: Look<'_>,
    (service, job): (&ServiceName, &JobName),
    schedule: Option<&Schedule>,
    since: Timestamp,
) -> Event {
    let (service, job, schedule) = (service.clone(), job.clone(), schedule.cloned());
    Event::ScheduleChanged { environment: look.environment.name.clone(), service, job, schedule, since }
}

fn skipped(look: Look<'_>, live: &Live<'_>, at: Timestamp, reason: String) -> Event {
    let (environment, planned) = (look.environment.name.clone(), PlannedJob::of(&live.arm, live.job));
    Event::ScheduledRunSkipped { environment, planned, due: at, reason }
}

fn begun(look: Look<'_>, live: &Live<'_>, at: Timestamp) -> Event {
    Event::ScheduledRunBegun {
        environment: look.environment.name.clone(),
        planned: PlannedJob::of(&live.arm, live.job),
        due: at,
        instance: run_id(look, live),
    }
}

/// The name of a run: the clock never turns, so no other run of this job here has it, no other job of the version has its number, and no other
/// environment was created by the same record.
fn run_id(look: Look<'_>, live: &Live<'_>) -> InstanceId {
    let Live { arm: Arm { service, version, config, .. }, job, index, .. } = live;
    let job: String = job.name.as_str().chars().take(16).collect();
    let (now, place) = (look.now.0, look.environment.record);
    let text = format!("{service}-{version}-{config}-{job}-{now:x}-{place}s{index}");
    text.parse().expect("names, numbers, hyphens and dots make an id")
}

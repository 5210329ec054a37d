//! Shows the jobs that run by schedules.

use lockstep_api::Problem;
use lockstep_api::types::ScheduleView;
use lockstep_domain::name::JobName;
use lockstep_domain::scheduled::{Scheduled, ScheduledRun};
use lockstep_domain::{Environment, EnvironmentName, ServiceName};

use crate::clock::wall;
use crate::{Control, not_found};

impl Control {
    /// Lists what became of the last times of a job's schedule, the newest first, also of one that nothing has any more.
    ///
    /// # Errors
    /// When there is no such environment, or the job never had a schedule there.
    pub fn scheduled_runs(
        &self,
        name: &EnvironmentName,
        service: &ServiceName,
        job: &JobName,
    ) -> Result<Vec<ScheduledRun>, Problem> {
        let world = self.ledger.world();
        self.check_environment(name)?;
        let jobs = world.environment(name).and_then(|it| it.scheduled.get(service));
        let known = jobs.and_then(|jobs| jobs.get(job));
        let known = known.ok_or_else(|| {
            let text = format!("the job `{job}` of `{service}` has no schedule in `{name}`");
            not_found(text, &format!("lockstep job list --env {name}"))
        })?;
        Ok(known.runs.iter().rev().cloned().collect())
    }
}

/// Shows every schedule that is followed in an environment.
pub(crate) fn views(environment: &Environment) -> Vec<ScheduleView> {
    let jobs = environment.scheduled.iter();
    let all = jobs.flat_map(|(service, jobs)| jobs.iter().map(move |(job, known)| (service, job, known)));
    all.filter_map(|(service, job, known)| view(service, job, known)).collect()
}

fn view(service: &ServiceName, job: &JobName, known: &Scheduled) -> Option<ScheduleView> {
    let watched = known.watched.as_ref()?;
    Some(ScheduleView {
        service: service.clone(),
        job: job.clone(),
        schedule: watched.schedule.clone(),
        next: watched.schedule.next_after(watched.decided.max(wall())),
        last: known.runs.last().cloned(),
    })
}

//! The jobs of an environment: which runs are to be started, ended, or forgotten.

use crate::action::{Action, Look};
use crate::instance::InstanceId;
use crate::job::PlannedJob;
use crate::job_runs;
use crate::observed::is_alive;
use crate::over::forgotten;
use crate::resource::needs;
use crate::scheduled_runs;

/// Starts the runs of jobs that are wanted, and ends those that are not any more.
pub(crate) fn jobs(look: Look<'_>) -> Vec<Action> {
    let Look { environment, observed, now, .. } = look;
    let of_operations = environment.under_way().filter_map(|operation| job_runs::wanted(operation));
    let wanted: Vec<_> = of_operations.chain(scheduled_runs::wanted(look)).collect();
    let is_wanted = |id: &InstanceId| wanted.iter().any(|(_, run)| run.instance == *id);
    let starts = wanted
        .iter()
        .filter(|(_, run)| !job_runs::is_there(&run.instance, observed))
        .filter(|(planned, _)| !needs::keep_back(look.world, environment, observed, &planned.arm))
        .map(|(job, run)| Action::RunJob { job: PlannedJob::clone(job), instance: run.instance.clone() });
    let left = observed.jobs.iter().filter(|run| !is_wanted(&run.id) && is_alive(run));
    let ends = left.map(|run| Action::Stop { instance: run.id.clone() });
    // How it ended is recorded before it is forgotten.
    let is_settled = |id: &InstanceId| !is_wanted(id) && !scheduled_runs::is_under_way(environment, id);
    let old = forgotten(&observed.jobs, now).into_iter().filter(|run| is_settled(&run.id));
    starts.chain(ends).chain(old.map(|run| Action::Remove { instance: run.id.clone() })).collect()
}

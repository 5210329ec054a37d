//! The jobs of a plan, and what a plan that goes back says of those that ran.

use std::collections::BTreeSet;

use crate::baseline::EntryChange;
use crate::environment::Environment;
use crate::job::{PlannedJob, When};
use crate::operation::Move;
use crate::plan::order::Direction;
use crate::version::VersionRef;
use crate::world::World;

/// Returns the jobs of the versions that come, in the order of the waves; those that run after everything else are the last ones.
/// A way back runs none: what a newer version did to its data is not what an older one knows to undo.
pub(super) fn of_plan(
    world: &World,
    direction: Direction,
    waves: &[Vec<Move>],
    asked: Vec<PlannedJob>,
) -> Vec<PlannedJob> {
    let coming = waves.iter().flatten().filter(|part| direction == Direction::Forward && goes_up(part));
    let mut jobs: Vec<_> = coming.flat_map(|part| of_move(world, part)).collect();
    jobs.sort_by_key(|planned| planned.when == When::AfterDeploy);
    asked.into_iter().chain(jobs).collect()
}

/// Tells whether a newer version comes, or the first one; also a deploy may go down.
fn goes_up(part: &Move) -> bool {
    let Some(to) = &part.to else { return false };
    part.from.as_ref().is_none_or(|from| to.version > from.version)
}

fn of_move(world: &World, part: &Move) -> Vec<PlannedJob> {
    let Some(arm) = part.to_arm() else { return Vec::new() };
    let jobs = world.version(&arm.version_ref()).map(|version| version.jobs.as_slice()).unwrap_or_default();
    let in_plans = jobs.iter().filter(|job| job.when.is_in_plans());
    in_plans.map(|job| PlannedJob::of(&arm, job)).collect()
}

/// Says which jobs have run here for versions that are left behind.
pub(super) fn not_undone(
    environment: &Environment,
    direction: Direction,
    changes: &[EntryChange],
) -> Vec<String> {
    let goes_down = |change: &&EntryChange| match (&change.from, &change.to) {
        (Some(from), Some(to)) => to.version < from.version,
        (Some(_), None) => true,
        _ => false,
    };
    let back = changes.iter().filter(|change| direction == Direction::Back || goes_down(change));
    let left: Vec<_> = back.flat_map(|change| ran_for(environment, change)).collect();
    left.iter()
        .map(|(job, version)| format!("what the job `{job}` of {version} changed is not undone"))
        .collect()
}

/// The jobs that ran for versions of a service that are newer than the one that it goes back to.
fn ran_for(environment: &Environment, change: &EntryChange) -> BTreeSet<(String, VersionRef)> {
    let to = change.to.as_ref().map(|entry| &entry.version);
    let is_left = |planned: &PlannedJob| {
        let is_own = planned.database.is_none();
        is_own && planned.arm.service == change.service && to.is_none_or(|to| planned.arm.version > *to)
    };
    let runs = environment.operations.iter().flat_map(|operation| operation.job_runs());
    let left = runs.filter(|(planned, _)| is_left(planned));
    left.map(|(planned, _)| (planned.job.to_string(), planned.arm.version_ref())).collect()
}

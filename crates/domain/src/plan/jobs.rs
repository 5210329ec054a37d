//! The jobs of a plan, and what a plan that goes back says of those that ran.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::EntryChange;
use crate::environment::Environment;
use crate::job::{PlannedJob, When};
use crate::operation::Move;
use crate::plan::order::Direction;
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
    let left: BTreeMap<_, _> = back.map(|change| (&change.service, change.to.as_ref())).collect();
    let is_left = |planned: &PlannedJob| {
        let to = left.get(&planned.arm.service).filter(|_| planned.database.is_none());
        to.is_some_and(|to| to.is_none_or(|to| planned.arm.version > to.version))
    };
    let runs = environment.operations.iter().flat_map(|operation| operation.job_runs());
    let runs = runs.map(|(planned, _)| planned).filter(|planned| is_left(planned));
    let named = runs.map(|planned| (&planned.arm.service, planned.job.as_str(), planned.arm.version_ref()));
    let named: BTreeSet<_> = named.collect();
    let said = |(_, job, version)| format!("what the job `{job}` of {version} changed is not undone");
    named.into_iter().map(said).collect()
}

//! Runs of jobs that nobody knows of any more.

use std::collections::BTreeSet;

use crate::event::Event;
use crate::instance::InstanceId;
use crate::world::World;
use crate::{job_runs, scheduled_runs};

/// Ends every run that was recorded and that nobody knows of any more: in a folder that was restored or copied it may have been
/// begun elsewhere.
#[must_use]
pub fn lost(world: &World, known: &BTreeSet<InstanceId>) -> Vec<Event> {
    let why = "nobody knows how it ended: the data folder was adopted";
    let is_known = |id: &InstanceId| known.contains(id);
    let in_environment = |environment| {
        let of_operations = job_runs::lost(environment, is_known, why);
        of_operations.into_iter().chain(scheduled_runs::lost(environment, is_known, why))
    };
    world.environments.values().flat_map(|environment| in_environment(environment)).collect()
}

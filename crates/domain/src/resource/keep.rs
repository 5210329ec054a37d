//! Keeping the resources of an environment running: which process is to be started, ended, or forgotten.
//!
//! Invariant: nothing of a resource is started while anything that was started for it has not ended, whatever it was set to then.

use crate::action::{Action, Look};
use crate::instance::{Instance, InstanceState};
use crate::mend::{FIRST_PAUSE_MS, LONGEST_PAUSE_MS};
use crate::name::ResourceName;
use crate::observed::{Observed, is_alive};
use crate::over::forgotten;
use crate::resource::Resource;
use crate::time::Timestamp;

/// Returns what is to be done for the resources that Lockstep runs.
pub(crate) fn actions(look: Look<'_>) -> Vec<Action> {
    let starts = wanted(look).filter(|(name, resource)| can_start(look, name, resource));
    let starts = starts.map(|(name, _)| Action::RunResource { resource: name.clone() });
    let left = look.observed.resources.iter().filter(|it| is_alive(it) && !is_wanted(look, it));
    let ends = left.map(|instance| Action::Stop { instance: instance.id.clone() });
    let gone = forgotten(&look.observed.resources, look.now)
        .into_iter()
        .map(|it| Action::Remove { instance: it.id.clone() });
    starts.chain(ends).chain(gone).collect()
}

/// Returns when one that failed is started again.
pub(crate) fn next_look(look: Look<'_>) -> Option<Timestamp> {
    wanted(look).filter_map(|(name, resource)| not_before(look.observed, name, resource)).min()
}

fn wanted(look: Look<'_>) -> impl Iterator<Item = (&ResourceName, &Resource)> {
    look.environment.resources.iter().filter(|(_, resource)| resource.runs_here())
}

fn is_wanted(look: Look<'_>, instance: &Instance) -> bool {
    wanted(look).any(|(name, resource)| resource.arm(name) == instance.arm)
}

/// Goes through everything that was started under a name and is still shown.
fn of<'a>(observed: &'a Observed, name: &'a ResourceName) -> impl Iterator<Item = &'a Instance> {
    observed.resources.iter().filter(move |instance| instance.resource.as_ref() == Some(name))
}

fn can_start(look: Look<'_>, name: &ResourceName, resource: &Resource) -> bool {
    let is_free = of(look.observed, name).all(|instance| instance.state.is_over());
    is_free && not_before(look.observed, name, resource).is_none_or(|at| look.now >= at)
}

fn not_before(observed: &Observed, name: &ResourceName, resource: &Resource) -> Option<Timestamp> {
    let arm = resource.arm(name);
    let is_failed = |it: &&Instance| it.arm == arm && matches!(it.state, InstanceState::Failed { .. });
    let failed: Vec<_> = of(observed, name).filter(is_failed).collect();
    let last = failed.iter().map(|instance| instance.since).max()?;
    let doubled = FIRST_PAUSE_MS << (failed.len() - 1).min(10);
    Some(last.plus_ms(doubled.min(LONGEST_PAUSE_MS)))
}

//! Which instances of an arm stand, and which are too many. The route table and the stops ask the same function, so what is to
//! end is what has left the table, and both agree whatever they look at.

use crate::environment::Environment;
use crate::instance::{Arm, Instance, InstanceId, InstanceState};
use crate::observed::{Observed, is_alive};

/// The instances of an arm that run and were not told to end, split by whether they are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet<'a> {
    /// As many as are wanted, the best first.
    pub standing: Vec<&'a Instance>,
    /// A replacement in the making, which stays until it can take the place of another.
    pub coming: Vec<&'a Instance>,
    /// What is too many: it leaves the table, and ends when no request is under way at it.
    pub surplus: Vec<&'a Instance>,
}

impl<'a> Fleet<'a> {
    /// Sorts the instances of an arm of which `wanted` are to stand.
    ///
    /// Healthy ones stand first, and of them those that nobody takes the place of; then those that were healthy, then
    /// those that are on their way. Of equals the older one stands, so that scaling down takes the newest. What was
    /// dismissed never stands, and neither does what nobody waits for because its host is lost.
    #[must_use]
    pub fn of(environment: &Environment, observed: &'a Observed, arm: &Arm, wanted: u32) -> Self {
        let alive = observed.instances.iter().filter(|instance| instance.arm == *arm && is_alive(instance));
        let (dismissed, mut alive): (Vec<_>, Vec<_>) =
            alive.partition(|it| environment.is_dismissed(&it.id) || observed.lost.contains(&it.id));
        let leaves = |instance: &Instance| is_to_be_replaced(environment, observed, &instance.id);
        alive.sort_by_cached_key(|instance| (rank(instance), leaves(instance), instance.since, &instance.id));
        let rest = alive.split_off(alive.len().min(usize::try_from(wanted).unwrap_or(usize::MAX)));
        let waited_for = alive.iter().any(|instance| !instance.state.is_healthy() || leaves(instance));
        let mut fleet = Self { standing: alive, coming: Vec::new(), surplus: dismissed };
        for instance in rest {
            let is_coming = instance.state == InstanceState::Starting;
            let keep = waited_for && is_coming && fleet.coming.is_empty();
            if keep { &mut fleet.coming } else { &mut fleet.surplus }.push(instance);
        }
        fleet
    }

    /// Sorts the instances of an arm that serves, or is about to.
    #[must_use]
    pub fn serving(environment: &Environment, observed: &'a Observed, arm: &Arm) -> Self {
        Self::of(environment, observed, arm, environment.count_of(arm))
    }

    /// Counts the standing instances that may be given requests.
    #[must_use]
    pub fn healthy(&self) -> u32 {
        let healthy = self.standing.iter().filter(|instance| instance.state.is_healthy()).count();
        u32::try_from(healthy).unwrap_or(u32::MAX)
    }

    /// Counts the instances that stand or are on their way.
    #[must_use]
    pub fn size(&self) -> u32 {
        u32::try_from(self.standing.len() + self.coming.len()).unwrap_or(u32::MAX)
    }
}

/// Tells whether another instance is to take the place of this one: an operation says so, or its host is being drained.
pub(crate) fn is_to_be_replaced(
    environment: &Environment,
    observed: &Observed,
    instance: &InstanceId,
) -> bool {
    environment.is_to_be_replaced(instance) || observed.evacuated.contains(instance)
}

const fn rank(instance: &Instance) -> u8 {
    match instance.state {
        InstanceState::Healthy => 0,
        InstanceState::Unhealthy { .. } => 1,
        _ => 2,
    }
}

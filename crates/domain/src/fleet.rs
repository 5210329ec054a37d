//! Which instances of an arm stand, and which are too many. The route table and the stops ask the same function, so what is to
//! end is what has left the table, and both agree whatever they look at.

use crate::environment::Environment;
use crate::instance::{Arm, Instance, InstanceState};
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
    /// Healthy ones stand first, then those that were healthy, then those that are on their way; of equals the older
    /// one, so that scaling down takes the newest.
    #[must_use]
    pub fn of(observed: &'a Observed, arm: &'a Arm, wanted: u32) -> Self {
        let mut alive: Vec<_> = observed.of(arm).filter(|instance| is_alive(instance)).collect();
        alive.sort_by(|a, b| (rank(a), a.since, &a.id).cmp(&(rank(b), b.since, &b.id)));
        let rest = alive.split_off(alive.len().min(usize::try_from(wanted).unwrap_or(usize::MAX)));
        let waited_for = alive.iter().any(|instance| !instance.state.is_healthy());
        let mut fleet = Self { standing: alive, ..Self::default() };
        for instance in rest {
            let is_coming = instance.state == InstanceState::Starting;
            let keep = waited_for && is_coming && fleet.coming.is_empty();
            if keep { &mut fleet.coming } else { &mut fleet.surplus }.push(instance);
        }
        fleet
    }

    /// Sorts the instances of an arm that serves, or is about to.
    #[must_use]
    pub fn serving(environment: &Environment, observed: &'a Observed, arm: &'a Arm) -> Self {
        Self::of(observed, arm, environment.replicas_of(&arm.service))
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

const fn rank(instance: &Instance) -> u8 {
    match instance.state {
        InstanceState::Healthy => 0,
        InstanceState::Unhealthy { .. } => 1,
        _ => 2,
    }
}

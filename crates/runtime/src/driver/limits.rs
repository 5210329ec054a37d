//! With what this host holds instances to their limits, and how those that run are held.

use std::collections::BTreeMap;

use lockstep_domain::InstanceId;
use lockstep_domain::limits::Held;
use lockstep_domain::run::RunSpec;

use super::{LocalDriver, Shared};
use crate::spec::{GroupOf, InstanceSpec};
use crate::status::Status;

impl LocalDriver {
    /// Says how this host would hold an instance to its limits.
    #[must_use]
    pub fn would_hold(&self, run: &RunSpec) -> Held {
        run.limits.held(&self.shared.groups.means(false))
    }

    /// Says how the instances that run are held to their limits; those without limits are left out.
    #[must_use]
    pub fn held(&self) -> BTreeMap<InstanceId, Held> {
        let alive = self.list().into_iter().filter(|instance| !instance.state.is_over());
        let held = alive.filter_map(|instance| {
            let status = Status::read(&self.shared.folder(&instance.id)).ok().flatten()?;
            Some((instance.id, status.limits))
        });
        held.filter(|(_, held)| !held.is_empty()).collect()
    }
}

impl Shared {
    /// Chooses the control group of an instance. Whoever has no limits need not know why there is none.
    pub(super) fn group_of(&self, spec: &InstanceSpec) -> Option<GroupOf> {
        match self.groups.of(&spec.id) {
            Some(path) => Some(GroupOf::At(path)),
            None if spec.run.limits.is_none() => None,
            None => Some(GroupOf::Nothing(self.groups.means(false).why)),
        }
    }
}

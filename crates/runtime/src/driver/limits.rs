//! With what this host holds instances to their limits, whom they run as, and how it is with those that run.

use std::collections::BTreeMap;
use std::io;

use lockstep_confine::User;
use lockstep_domain::InstanceId;
use lockstep_domain::limits::Held;
use lockstep_domain::run::{RunSpec, RunUser};

use super::{LocalDriver, Shared, StartError};
use crate::give;
use crate::spec::{GroupOf, InstanceSpec, SpecFile};
use crate::status::Status;
use crate::users::SpecUser;

impl LocalDriver {
    /// Says how this host would hold an instance to its limits.
    #[must_use]
    pub fn would_hold(&self, run: &RunSpec) -> Held {
        run.limits.held(&self.shared.groups.means(self.shared.users.counts(&run.user)))
    }

    /// Says how the instances that run are held to their limits, and whom they run as; those of which neither is to be said are
    /// left out.
    #[must_use]
    pub fn held(&self) -> BTreeMap<InstanceId, (Held, Option<String>)> {
        let alive = self.list().into_iter().filter(|instance| !instance.state.is_over());
        let held = alive.filter_map(|instance| {
            let folder = self.shared.folder(&instance.id);
            let (status, spec) = (Status::read(&folder).ok().flatten()?, folder.read_spec().ok()?);
            let asked = match &spec.run.user {
                RunUser::Named(name) => Some(format!("{name}, as its manifest says")),
                RunUser::Own => None,
            };
            let user = spec.user.as_ref().map(SpecUser::words).or(asked);
            Some((instance.id, (status.limits, user)))
        });
        held.filter(|(_, (held, user))| !held.is_empty() || user.is_some()).collect()
    }
}

impl Shared {
    /// Chooses whom an instance runs as. A database has a user of its own kind, an image says whom it runs as, and what is
    /// ours has ours.
    pub(super) fn user_of(&self, spec: &InstanceSpec) -> Result<Option<SpecUser>, StartError> {
        if spec.resource.is_some() || spec.own.is_some() || spec.run.image.is_some() {
            return Ok(None);
        }
        let service = spec.data_of.as_ref().unwrap_or(&spec.arm.service);
        let user = self.users.of(&spec.environment, service, &spec.run.user);
        user.map_err(|source| StartError::User { id: spec.id.clone(), source })
    }

    /// Changes data over to the user of its service again, once an instance has ended that worked in it as another.
    pub(super) fn give_again(&self, spec: &SpecFile) -> io::Result<()> {
        let is_of_service = spec.resource.is_none() && spec.own.is_none() && spec.run.image.is_none();
        let Some(rooms) = spec.rooms.as_ref().filter(|_| is_of_service) else {
            return Ok(());
        };
        let mut names = rooms.data.iter().rev().filter_map(|name| name.to_str());
        let service = names.next().and_then(|name| name.parse().ok());
        let environment = names.next().and_then(|name| name.parse().ok());
        let Some((environment, service)) = environment.zip(service) else { return Ok(()) };
        let Some(id) = self.users.known(&environment, &service) else { return Ok(()) };
        if spec.user.as_ref().is_some_and(|user| user.id == id) {
            return Ok(());
        }
        let user = User { id, group: id, binds: false };
        let folders = spec.run.data.iter();
        folders.map(|folder| give::again(&rooms.data, folder, user)).collect::<io::Result<Vec<_>>>().map(drop)
    }

    /// Chooses the control group of an instance. Whoever has no limits need not know why there is none.
    pub(super) fn group_of(&self, spec: &InstanceSpec) -> Option<GroupOf> {
        match self.groups.of(&spec.id) {
            Some(path) => Some(GroupOf::At(path)),
            None if spec.run.limits.is_none() => None,
            None => Some(GroupOf::Nothing(self.groups.means(false).why)),
        }
    }
}

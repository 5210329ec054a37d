//! With what this host holds instances to their limits, whom they run as, and how it is with those that run.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use lockstep_confine::User;
use lockstep_domain::limits::{Held, Means};
use lockstep_domain::run::{RunSpec, RunUser};
use lockstep_domain::{Instance, InstanceId};
use tokio::task::spawn_blocking;

use super::{LocalDriver, Shared, StartError};
use crate::give;
use crate::process::every_process;
use crate::spec::{GroupOf, InstanceSpec, SpecFile};
use crate::status::Status;
use crate::usage::{Usage, of_group, of_processes};
use crate::users::SpecUser;

/// How an instance is held to its limits, and whom it runs as.
pub type HeldAs = (Held, Option<String>);

impl LocalDriver {
    /// Says how this host would hold an instance to its limits.
    #[must_use]
    pub fn would_hold(&self, run: &RunSpec) -> Held {
        run.limits.held(&self.shared.groups.means(self.shared.users.counts(&run.user)))
    }

    /// Says how the instances that run are held to their limits, and whom they run as; those of which neither is to be said are
    /// left out.
    #[must_use]
    pub fn held(&self) -> BTreeMap<InstanceId, HeldAs> {
        let all = self.list();
        all.iter().filter_map(|instance| Some((instance.id.clone(), self.held_of(instance)?))).collect()
    }

    /// Says the same of one of them.
    #[must_use]
    pub fn held_of(&self, instance: &Instance) -> Option<HeldAs> {
        if instance.state.is_over() {
            return None;
        }
        let folder = self.shared.folder(&instance.id);
        let (status, spec) = (Status::read(&folder).ok().flatten()?, folder.read_spec().ok()?);
        let asked = match &spec.run.user {
            RunUser::Named(name) => Some(format!("{name}, as its manifest says")),
            RunUser::Own => None,
        };
        let user = spec.user.as_ref().map(SpecUser::words).or(asked);
        (!status.limits.is_empty() || user.is_some()).then_some((status.limits, user))
    }

    /// Says with what this host holds limits of services that say nothing of a user.
    #[must_use]
    pub fn means(&self) -> Means {
        self.shared.groups.means(self.shared.users.counts(&RunUser::Own))
    }
}

impl LocalDriver {
    /// Returns instances that have ended and whose logs are kept, the newest of each service and job.
    ///
    /// # Errors
    /// When the looking itself breaks off.
    pub async fn ended(&self) -> io::Result<Vec<Instance>> {
        let shared = Arc::clone(&self.shared);
        let newest = move || shared.ended.newest(shared.options.ended.instances);
        spawn_blocking(newest).await.map_err(io::Error::other)
    }

    /// Looks what the instances use that run now; one whose process is not there is left out.
    ///
    /// # Errors
    /// When the looking itself breaks off.
    pub async fn usage(&self) -> io::Result<BTreeMap<InstanceId, Usage>> {
        let shared = Arc::clone(&self.shared);
        spawn_blocking(move || shared.usage()).await.map_err(io::Error::other)
    }
}

impl Shared {
    fn usage(&self) -> BTreeMap<InstanceId, Usage> {
        let all = every_process();
        let instances = Arc::clone(&self.instances.borrow());
        let alive = instances.values().filter(|instance| !instance.state.is_over());
        let used = alive.filter_map(|instance| {
            let process = Status::read(&self.folder(&instance.id)).ok().flatten()?.process?;
            let found = of_processes(process.pid, &all);
            let used = match self.groups.of(&instance.id) {
                Some(group) => of_group(&group, found),
                None => found,
            };
            (used.processes > 0).then(|| (instance.id.clone(), used))
        });
        used.collect()
    }

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

//! What hosts are told of instances that run there. Nobody waits for it: a host that does not answer holds up no environment.

use std::future::Future;
use std::io;
use std::sync::Arc;

use lockstep_domain::{EnvironmentName, HostName, InstanceId};
use lockstep_hosts::RemoteDriver;
use lockstep_runtime::{Driver as _, StopError};

use crate::{Control, lock};

impl Control {
    /// Carries the word that an instance is to end to its host. A host that is not reached is told when it is.
    pub(crate) fn end_on_host(
        self: &Arc<Self>,
        environment: &EnvironmentName,
        driver: Arc<RemoteDriver>,
        id: InstanceId,
    ) {
        let (control, environment, instance) = (Arc::clone(self), environment.clone(), id.clone());
        self.tell_apart(id, async move {
            match driver.stop(&instance).await {
                Ok(()) => control.registry.delivered(&environment, &instance),
                Err(StopError::Unknown { .. } | StopError::Elsewhere(_)) => return,
                Err(error) => tracing::warn!(%instance, %error, "an instance could not be told to end"),
            }
            control.wake(&environment);
        });
    }

    /// Has a host forget an instance that is over.
    pub(crate) fn remove_on_host(self: &Arc<Self>, driver: Arc<RemoteDriver>, id: InstanceId) {
        let instance = id.clone();
        self.tell_apart(id, async move {
            if let Err(error) = driver.remove(&instance).await {
                tracing::debug!(%instance, %error, "an instance that is over could not be forgotten");
            }
        });
    }

    /// Tells an instance on a host whether requests are routed to it; later, when that cannot be said now.
    pub(crate) fn tell_on_host(
        self: &Arc<Self>,
        host: &HostName,
        id: &InstanceId,
        routed: bool,
    ) -> io::Result<()> {
        let link = self.hosts.link(host).filter(|link| link.is_here());
        let link = link.ok_or(io::ErrorKind::NotConnected)?;
        let (control, driver, id) = (Arc::clone(self), link.driver(), id.clone());
        self.spawn(async move {
            if driver.tell_routed(&id, routed).await.is_err() {
                control.routed.untold(&id);
            }
        });
        Ok(())
    }

    /// Says something of an instance, unless something is being said of it.
    pub(super) fn tell_apart(
        self: &Arc<Self>,
        id: InstanceId,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        if !lock(&self.hosts.telling).insert(id.clone()) {
            return;
        }
        let control = Arc::clone(self);
        self.spawn(async move {
            tokio::select! {
                () = work => {}
                () = control.stop.cancelled() => {}
            }
            lock(&control.hosts.telling).remove(&id);
        });
    }
}

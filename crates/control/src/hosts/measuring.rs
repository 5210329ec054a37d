//! What is asked of hosts to be measured.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_domain::{HostName, InstanceId};
use lockstep_hosts::{HostState, RemoteDriver};

use super::Hosts;

impl Hosts {
    /// Returns the drivers of the hosts that are reached now.
    pub(crate) fn drivers(&self) -> Vec<(HostName, Arc<RemoteDriver>)> {
        let reached = self.links().into_iter().filter(|link| link.is_here());
        reached.map(|link| (link.name.clone(), link.driver())).collect()
    }

    /// Returns how many bytes were free on each host that is reached, when it was reached.
    pub(crate) fn free_bytes(&self) -> BTreeMap<HostName, u64> {
        let facts =
            self.links().into_iter().filter_map(|link| Some((link.name.clone(), link.facts()?.free_bytes)));
        facts.collect()
    }

    /// Says for how many milliseconds a host has been away, and why; `None` while it is there or was not tried yet.
    pub(crate) fn away(&self, name: &HostName) -> Option<(u64, String)> {
        match self.link(name)?.state() {
            HostState::Away { since, error } => {
                let for_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                Some((for_ms, error.to_string()))
            }
            _ => None,
        }
    }

    /// Tells whether this server knows that an instance is on a host.
    pub(crate) fn runs(&self, host: &HostName, id: &InstanceId) -> bool {
        self.link(host).is_some_and(|link| link.has(id))
    }

    /// Tells whether others reach what listens on a host: where its network is not trusted only its own gateway does.
    pub(crate) fn is_open(&self, host: &HostName) -> bool {
        self.link(host).is_some_and(|link| !link.listens().is_loopback())
    }
}

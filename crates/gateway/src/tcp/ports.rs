//! The ports of an environment whose connections go to services that speak TCP: they follow the table.
//!
//! They are open on the addresses on which the gateway listens for requests. What cannot be opened is said once and tried again; so where two gateways of one
//! host want the same port, one of them has it, and the other one takes it over when that is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use lockstep_domain::EnvironmentName;

use crate::environment::Environment;
use crate::gateway::{Gateway, State, lock};
use crate::listening::Entrance;

impl Gateway {
    /// Opens and closes ports of services that speak TCP, so that they are those of the table.
    pub(crate) fn keep_ports(&self, name: &EnvironmentName) {
        let mut state = lock(&self.state);
        let Some(environment) = state.environments.get(name).cloned() else { return };
        let wanted = wanted(&environment, &state, name);
        state.listeners.retain(|(of, address), listening| {
            let stays =
                of != name || !matches!(listening.entrance, Entrance::Port) || wanted.contains(address);
            if !stays {
                listening.stop.cancel();
            }
            stays
        });
        let mut problems = BTreeMap::new();
        for address in wanted {
            let key = (name.clone(), address);
            if matches!(state.listeners.get(&key), Some(it) if matches!(it.entrance, Entrance::Port)) {
                continue;
            }
            match self.open_on_all(&environment, address, &Entrance::Port) {
                Ok((_, listening)) => drop(state.listeners.insert(key, listening)),
                Err(error) => drop(problems.insert(address, error.with_source())),
            }
        }
        environment.note_ports(problems);
    }

    /// Returns the ports of services that speak TCP which are to be open and are not, and why.
    #[must_use]
    pub fn closed_ports(&self, name: &EnvironmentName) -> Vec<(SocketAddr, String)> {
        self.environment(name).closed_ports()
    }
}

/// Each port on each address on which the gateway listens; where it listens on all of a kind, on those.
fn wanted(environment: &Arc<Environment>, state: &State, name: &EnvironmentName) -> BTreeSet<SocketAddr> {
    let table = environment.routes();
    let entry = table.as_ref().and_then(|table| table.entry.as_ref());
    let Some(ports) = entry.map(|entry| &entry.settings.tcp).filter(|ports| !ports.is_empty()) else {
        return BTreeSet::new();
    };
    let addresses: BTreeSet<IpAddr> = state.mains(name).map(|main| main.ip()).collect();
    let has_all =
        |of: &IpAddr| addresses.iter().any(|it| it.is_unspecified() && it.is_ipv4() == of.is_ipv4());
    let used = addresses.iter().filter(|it| it.is_unspecified() || !has_all(it));
    used.flat_map(|ip| ports.iter().map(|port| SocketAddr::new(*ip, port.port))).collect()
}

//! Where other gateways come in: the listener, and its port.

use std::fs;
use std::net::{IpAddr, SocketAddr};

use lockstep_domain::{EnvironmentName, HostName};

use super::lock;
use crate::error::ListenError;
use crate::follow::TableStore;
use crate::gateway::{Gateway, lock as lock_state};
use crate::listening::Entrance;

/// Ports that are tried, from the one that is asked for on.
const PORTS: u16 = 100;

/// Where others are to come in, until they do.
#[derive(Debug)]
pub(super) struct Wish {
    address: SocketAddr,
    store: TableStore,
    /// What was said last about why they do not.
    said: Option<String>,
}

impl Gateway {
    /// Says which hosts have the loopback of this gateway: their instances are asked there, and others may have connections carried to them.
    pub fn stand_on(&self, environment: &EnvironmentName, hosts: impl IntoIterator<Item = HostName>) {
        self.environment(environment).neighbours().stand_on(hosts.into_iter().collect());
    }

    /// Listens for other gateways of an environment, at the port at which it did so before, or at the next one that is free.
    ///
    /// # Errors
    /// When none of these can be listened on.
    pub fn listen_between(
        &self,
        environment: &EnvironmentName,
        address: SocketAddr,
        store: &TableStore,
    ) -> Result<SocketAddr, ListenError> {
        if let Some(open) = self.door_at(environment, address.ip()) {
            return Ok(open);
        }
        let served = self.environment(environment);
        let mut failed = None;
        for candidate in candidates(store.door(environment), address) {
            match self.open_on_all(&served, candidate, &Entrance::Between) {
                Ok((actual, listening)) => {
                    lock_state(&self.state).listeners.insert((environment.clone(), actual), listening);
                    served.neighbours().note_door(Some(actual));
                    if let Err(error) = store.keep_secret(&store.door_path(environment), &actual.to_string())
                    {
                        tracing::warn!(%environment, %error, "another port may be listened on after a restart");
                    }
                    return Ok(actual);
                }
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or(ListenError::ShuttingDown))
    }

    /// Lets gateways of other hosts come in from now on, or as soon as that is possible: whoever calls from here, and instances of this host, are
    /// served meanwhile.
    pub(crate) fn want_door(&self, environment: &EnvironmentName, address: SocketAddr, store: &TableStore) {
        let wish = Wish { address, store: store.clone(), said: None };
        *lock(&self.environment(environment).neighbours().wish) = Some(wish);
        self.keep_door(environment);
    }

    /// Opens the door that is wished for, where it is not open. Cheap where there is nothing to do.
    pub(crate) fn keep_door(&self, environment: &EnvironmentName) {
        let served = self.environment(environment);
        let mut wish = lock(&served.neighbours().wish);
        let Some(Wish { address, store, said }) = &mut *wish else { return };
        if self.door_at(environment, address.ip()).is_some() {
            return;
        }
        match self.listen_between(environment, *address, store) {
            Ok(open) => tracing::info!(%environment, %open, "gateways of other hosts come in here"),
            Err(error) => {
                // Said once for each reason: it is tried again every second.
                let why = error.to_string();
                if said.as_ref() != Some(&why) {
                    tracing::error!(%environment, why, "gateways of other hosts cannot come in here");
                    *said = Some(why);
                }
            }
        }
    }

    /// Returns where other gateways come in at an address of this machine, if they do.
    #[must_use]
    pub fn door_at(&self, environment: &EnvironmentName, ip: IpAddr) -> Option<SocketAddr> {
        let state = lock_state(&self.state);
        let mut doors = state.listeners.iter();
        let door = doors.find(|((of, address), it)| {
            of == environment && address.ip() == ip && matches!(it.entrance, Entrance::Between)
        });
        door.map(|((_, address), _)| *address)
    }
}

/// The port of before comes first, where the address is still the same; then the one that is asked for, and those behind it.
fn candidates(before: Option<SocketAddr>, wanted: SocketAddr) -> impl Iterator<Item = SocketAddr> {
    let before = before.filter(|before| before.ip() == wanted.ip());
    let ports = (0..PORTS).filter_map(move |more| wanted.port().checked_add(more));
    before.into_iter().chain(ports.map(move |port| SocketAddr::new(wanted.ip(), port)))
}

impl TableStore {
    fn door_path(&self, environment: &EnvironmentName) -> std::path::PathBuf {
        self.folder().join(format!("{environment}.between.address"))
    }

    /// Reads where others came in before.
    fn door(&self, environment: &EnvironmentName) -> Option<SocketAddr> {
        fs::read_to_string(self.door_path(environment)).ok()?.trim().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_before_is_tried_first_and_only_at_the_same_address() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let first = |before: Option<&str>| candidates(before.map(address), address("10.0.0.5:18500")).next();
        assert_eq!(first(None), Some(address("10.0.0.5:18500")));
        assert_eq!(first(Some("10.0.0.5:18507")), Some(address("10.0.0.5:18507")));
        assert_eq!(first(Some("10.0.0.6:18507")), Some(address("10.0.0.5:18500")));
        assert_eq!(candidates(None, address("10.0.0.5:65500")).count(), 36);
    }
}

//! Where other gateways come in: the listener, and how much a stranger may cost.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use lockstep_domain::{EnvironmentName, HostName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Neighbours, lock};
use crate::error::ListenError;
use crate::follow::TableStore;
use crate::gateway::{Gateway, lock as lock_state};
use crate::listening::Entrance;

/// Connections that are not known to be a gateway's, over all workers. More are closed at once.
const STRANGERS: usize = 1_024;
/// Of one address; more of it wait for their turn, as long as a handshake may take.
const STRANGERS_OF_ONE: usize = 64;
/// Ports that are tried, from the one that is asked for on.
const PORTS: u16 = 100;

/// How many that nobody knows yet may be there.
#[derive(Debug)]
pub(super) struct Bounds {
    all: Arc<Semaphore>,
    by_address: Mutex<BTreeMap<IpAddr, Arc<Semaphore>>>,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(STRANGERS)), by_address: Mutex::default() }
    }
}

impl Bounds {
    /// Counts one more; nothing where there are too many.
    pub(super) fn stranger(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).try_acquire_owned().ok()
    }

    /// Waits for the turn of one of an address.
    pub(super) async fn turn(&self, address: IpAddr) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut all = lock(&self.by_address);
            // Those of whom nobody is there are forgotten, so there are never more than strangers.
            all.retain(|it, turns| *it == address || Arc::strong_count(turns) > 1);
            let new = || Arc::new(Semaphore::new(STRANGERS_OF_ONE));
            Arc::clone(all.entry(address).or_insert_with(new))
        };
        turns.acquire_owned().await.ok()
    }
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

    /// Listens for other gateways no more. Connections that are carried go on.
    pub fn close_between(&self, environment: &EnvironmentName) {
        let mut state = lock_state(&self.state);
        state.listeners.retain(|(of, _), listening| {
            let stays = of != environment || !matches!(listening.entrance, Entrance::Between);
            if !stays {
                listening.stop.cancel();
            }
            stays
        });
        drop(state);
        self.environment(environment).neighbours().note_door(None);
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

impl Neighbours {
    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
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

    #[tokio::test]
    async fn of_one_address_only_so_many_are_looked_at_at_once_and_others_have_their_turn() {
        let bounds = Bounds::default();
        let (one, other): (IpAddr, IpAddr) = ("10.0.0.5".parse().unwrap(), "10.0.0.6".parse().unwrap());
        let mut held = Vec::new();
        for _ in 0..STRANGERS_OF_ONE {
            held.push(bounds.turn(one).await.unwrap());
        }
        assert!(tokio::time::timeout(std::time::Duration::ZERO, bounds.turn(one)).await.is_err());
        assert!(bounds.turn(other).await.is_some());
        held.pop();
        assert!(bounds.turn(one).await.is_some());
        drop(held);
        let _ = bounds.turn(other).await;
        assert_eq!(lock(&bounds.by_address).len(), 1, "nobody is remembered who is gone");
        let all: Vec<_> = (0..STRANGERS).map(|_| bounds.stranger().unwrap()).collect();
        assert!(bounds.stranger().is_none());
        drop(all);
        assert!(bounds.stranger().is_some());
    }
}

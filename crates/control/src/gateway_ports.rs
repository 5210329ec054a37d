//! Ports for the gateways of new environments.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener};

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::World;

use crate::ControlConfig;

/// Ports that the system is asked for before it is said that there is none.
const TRIES: usize = 1_000;

/// Where gateways listen, and the ports that they may have.
pub(crate) struct GatewayPorts {
    address: IpAddr,
    /// First port that is tried; 0 leaves the choice to the system.
    first: u16,
}

impl GatewayPorts {
    pub(crate) fn of(config: &ControlConfig) -> Self {
        Self { address: config.gateway_address, first: config.first_gateway_port }
    }

    /// Finds a port that nothing listens on and no environment has. The answer is good only for the world that `taken`
    /// was read from: ask where the environment is recorded, so that two that are created at once get two ports.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) fn free(&self, taken: &BTreeSet<u16>) -> Result<u16, Problem> {
        let found = match self.first {
            0 => (0..TRIES).find_map(|_| self.bound(0).filter(|port| !taken.contains(port))),
            first => (first..=u16::MAX).find(|&port| !taken.contains(&port) && self.bound(port).is_some()),
        };
        found.ok_or_else(|| Problem::new(ErrorCode::Unavailable, "no port is free for a gateway"))
    }

    fn bound(&self, port: u16) -> Option<u16> {
        let listener = TcpListener::bind((self.address, port)).ok()?;
        listener.local_addr().ok().map(|address| address.port())
    }
}

/// The ports that the environments of a world have, whether their gateways listen already or not.
pub(crate) fn ports_of(world: &World) -> BTreeSet<u16> {
    world
        .environments
        .values()
        .flat_map(|environment| crate::entry::ports_of(&environment.settings))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(first: u16) -> GatewayPorts {
        GatewayPorts { address: IpAddr::from([127, 0, 0, 1]), first }
    }

    #[test]
    fn a_port_that_an_environment_has_is_not_free_before_its_gateway_listens() {
        let first = ports(0).free(&BTreeSet::new()).unwrap();
        let second = ports(first).free(&BTreeSet::from([first])).unwrap();
        assert!(second > first);
    }

    #[test]
    fn a_port_that_something_listens_on_is_not_free() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(ports(port).free(&BTreeSet::new()).is_ok_and(|free| free > port));
    }

    #[test]
    fn without_a_free_port_it_is_said() {
        let all = (0..=u16::MAX).collect();
        for first in [0, 1, u16::MAX] {
            assert_eq!(ports(first).free(&all).unwrap_err().code, ErrorCode::Unavailable);
        }
    }
}

//! Where an instance calls the services that it requires by host and port: an address of loopback of its own, a port for each.
//!
//! The gateway listens there, so it knows who calls from where it was called. Invariants: no two instances of a server have
//! one address at the same time, one that was given up is the last to be given again, and what an instance was given
//! stays as long as it lives: it is recorded before its first start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::Requirement;
use crate::instance::{Arm, InstanceId};
use crate::name::ServiceName;

/// The block of loopback from which addresses are given, 127.64.0.0/10: far from 127.0.0.0/16, where programs and the resolvers
/// of some systems listen.
const FIRST: u32 = u32::from_be_bytes([127, 64, 0, 0]);
/// How many addresses there are: more than instances that one host can run.
const COUNT: u32 = 1 << 22;
/// The first port: below those of instances and those that Linux gives to outgoing connections.
const FIRST_PORT: u16 = 17_000;
/// Services that one instance can call by host and port.
pub const MAX_CALLED: usize = 256;
/// How often an address is chosen for an instance before it is said that none can be had: each time with other ports, because
/// who listens on a port of all addresses keeps it from every instance.
pub const MAX_TRIES: usize = 8;

/// Where one instance calls others by host and port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallAddresses {
    /// Which gateway listens there.
    pub opener: Opener,
    /// The listener for each service, by the name under which it is required.
    pub services: BTreeMap<ServiceName, SocketAddr>,
}

/// Which gateway opens the listeners of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Opener {
    /// The one inside the server.
    Server,
    /// The one that listens here for the requests of clients.
    At(SocketAddr),
}

/// Which gateway opens listeners, as gateways know it of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpenedBy {
    /// The run of a gateway that has this id.
    Run(String),
    /// The one that listens here for the requests of clients.
    At(SocketAddr),
}

/// The listeners of all instances of an environment, as a route table has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listeners {
    /// The machine on which the instances run: loopback addresses mean nothing on another.
    pub host: String,
    /// The user whose processes the instances are that name no other, by its number.
    pub user: u32,
    /// Who calls, and where.
    pub callers: Vec<CallerListeners>,
}

/// The listeners of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallerListeners {
    /// Who calls there.
    pub instance: InstanceId,
    /// What it is a copy of.
    pub arm: Arm,
    /// The user whose process it is, where that is another than that of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// Which gateway opens them.
    pub opened_by: OpenedBy,
    /// The listener for each service, by the name under which it is required.
    pub services: BTreeMap<ServiceName, SocketAddr>,
}

/// Whether a gateway listens for an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListensAt {
    /// The address of the instance's listeners.
    pub address: IpAddr,
    /// Why it does not listen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl CallAddresses {
    /// Returns the address that all its listeners have.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.services.values().next().map(SocketAddr::ip)
    }
}

/// Tells whether an address is one that may be given to an instance.
#[must_use]
pub fn is_given(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => (FIRST..FIRST + COUNT).contains(&address.to_bits()),
        IpAddr::V6(_) => false,
    }
}

/// Returns an address of the block for whoever wants any to begin with, such as two servers on one host.
#[must_use]
pub fn nth(n: u64) -> Ipv4Addr {
    let n = u32::try_from(n % u64::from(COUNT)).unwrap_or_default();
    Ipv4Addr::from_bits(FIRST + n)
}

/// Finds the next address after another one that nobody has, going round; `None` when all are taken.
#[must_use]
pub fn next_free(after: Ipv4Addr, taken: &BTreeSet<IpAddr>) -> Option<Ipv4Addr> {
    let at = after.to_bits().wrapping_sub(FIRST) % COUNT;
    let candidates = (1..=COUNT).map(|step| nth(u64::from(at) + u64::from(step)));
    candidates.into_iter().find(|address| !taken.contains(&IpAddr::V4(*address)))
}

/// Tells whether a port is one that a listener may get by itself: one that is asked for is none of these.
#[must_use]
pub fn is_given_port(port: u16) -> bool {
    (FIRST_PORT..FIRST_PORT + (MAX_TRIES * MAX_CALLED) as u16).contains(&port)
}

/// Gives each service that is called by host and port its listener: the port that is asked for, or one that says which of all
/// that are required it is, so that it does not depend on who is called how. `None` when too many are required.
#[must_use]
pub fn listeners(
    address: Ipv4Addr,
    attempt: usize,
    required: &BTreeMap<ServiceName, Requirement>,
    called: &BTreeSet<ServiceName>,
) -> Option<BTreeMap<ServiceName, SocketAddr>> {
    let begin = usize::from(FIRST_PORT) + attempt % MAX_TRIES * MAX_CALLED;
    let mut listeners = BTreeMap::new();
    let all = required.iter().enumerate().filter(|(_, (service, _))| called.contains(*service));
    for (place, (service, requirement)) in all {
        if place >= MAX_CALLED {
            return None;
        }
        let port = requirement.port.or_else(|| u16::try_from(begin + place).ok())?;
        listeners.insert(service.clone(), SocketAddr::from((address, port)));
    }
    Some(listeners)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::instance_ports::PortRange;

    fn name(text: &str) -> ServiceName {
        text.parse().unwrap()
    }

    fn all_of(names: impl IntoIterator<Item = ServiceName>) -> BTreeMap<ServiceName, Requirement> {
        names.into_iter().map(|name| (name, Requirement::default())).collect()
    }

    #[test]
    fn the_block_is_loopback_and_far_from_what_programs_use() {
        for n in [0, 1, u64::from(COUNT) - 1, u64::from(COUNT), u64::MAX] {
            let address = nth(n);
            assert!(address.is_loopback() && is_given(address.into()), "{address}");
            assert!(address.octets()[1] != 0, "{address}");
        }
        for other in ["127.0.0.1", "127.63.255.255", "127.128.0.0", "10.64.0.1", "::1"] {
            assert!(!is_given(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn a_listener_is_found_by_the_place_of_its_service_among_all_that_are_required() {
        let required = all_of(["web", "api", "cart"].map(name));
        let called = BTreeSet::from([name("cart"), name("web"), name("stranger")]);
        let all = listeners(nth(1), 0, &required, &called).unwrap();
        let text: Vec<_> = all.iter().map(|(service, at)| format!("{service} {at}")).collect();
        assert_eq!(text, ["cart 127.64.0.1:17001", "web 127.64.0.1:17002"]);
        let again = listeners(nth(1), 1, &required, &called).unwrap();
        assert_eq!(again[&name("cart")].port(), 17_001 + 256, "who has a port of all addresses is avoided");
        let fixed = Requirement { port: Some(80), ..Requirement::default() };
        let required = required.into_iter().chain([(name("cart"), fixed)]).collect();
        let again = listeners(nth(1), 1, &required, &called).unwrap();
        assert_eq!((again[&name("cart")].port(), again[&name("web")].port()), (80, 17_002 + 256));
    }

    #[test]
    fn more_than_can_have_ports_are_refused_and_all_ports_are_below_those_of_instances() {
        let many: Vec<_> = (0..=MAX_CALLED).map(|n| name(&format!("s{n:04}"))).collect();
        let all = many.iter().cloned().collect();
        assert_eq!(listeners(nth(0), 0, &all_of(many.clone()), &all), None);
        let most = all_of(many[..MAX_CALLED].to_vec());
        let most = listeners(nth(0), MAX_TRIES - 1, &most, &all).unwrap();
        assert_eq!(most.len(), MAX_CALLED);
        assert!(most.values().all(|at| at.port() < PortRange::USUAL.nth(0) && is_given_port(at.port())));
    }

    proptest! {
        #[test]
        fn nobody_gets_an_address_that_somebody_has(begin in any::<u64>(), steps in prop::collection::vec(any::<bool>(), 0..200)) {
            let (mut taken, mut last) = (BTreeSet::new(), nth(begin));
            for gives_up in steps {
                let given = next_free(last, &taken).unwrap();
                prop_assert!(is_given(given.into()) && given != last);
                prop_assert!(taken.insert(IpAddr::V4(given)), "given twice");
                if gives_up {
                    taken.remove(&IpAddr::V4(given));
                }
                last = given;
            }
        }

        #[test]
        fn each_service_has_a_listener_of_its_own(required in prop::collection::btree_set("[a-z]{1,8}", 1..40), attempt in 0_usize..20) {
            let required: Vec<_> = required.iter().map(|text| name(text)).collect();
            let all = listeners(nth(7), attempt, &all_of(required.clone()), &required.iter().cloned().collect()).unwrap();
            let different: BTreeSet<_> = all.values().collect();
            prop_assert_eq!((all.len(), different.len()), (required.len(), required.len()));
        }
    }
}

//! What gateways of one environment know of each other, where the network between hosts is not trusted: who may ask, and who carries
//! connections to the instances of a host.
//!
//! Instances of such a host listen on its loopback alone. The gateway there takes in gateways that show a key of this table, and carries
//! their bytes to the instance that they name. Keys are compared, and no clock has a say: one is good as long as the table names it.
//! Invariant: where an instance is carried to is an address of loopback, so no table makes a gateway a way to anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::instance::{Instance, InstanceId};
use crate::name::{EnvironmentName, HostName};
use crate::routes::{Endpoint, RouteTable, Split};
use crate::world::World;

/// The format of route tables that a gateway must take where connections are carried between hosts.
pub const FORMAT_WITH_BETWEEN: u32 = 27;
/// Most keys of one gateway that are taken: the one that it shows, and those that are to come, of two processes that take over from each other.
pub const MAX_KEYS: usize = 8;
/// What the gateway inside the server is called among those that may ask; no gateway of its own can have a name with a space.
pub const OF_SERVER: &str = "the server";
/// What names of instances end with, as gateways say them to each other.
const SUFFIX: &str = "instance.lockstep.internal";
/// Digits of a name: as many as nobody finds a second instance for, and a label of a name may have.
const NAME_DIGITS: usize = 40;
/// The ports of doors lie so far from those of the environments, where these are below it.
const DOOR_DISTANCE: u16 = 10_000;
/// The ports of all other doors: behind those that instances usually have, and before those that systems give to connections that go out.
const OTHER_DOORS: std::ops::Range<u16> = 30_000..32_768;

/// What gateways know of each other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Between {
    /// The gateways that others carry connections for, by name.
    pub callers: BTreeMap<String, BetweenGateway>,
    /// Keys that every gateway has heard of: who has announced one shows it from now on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<Digest>,
    /// The hosts whose instances are reached through the gateway there.
    pub hosts: BTreeMap<HostName, BetweenHost>,
}

/// A gateway that others carry connections for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BetweenGateway {
    /// SHA-256 of its public keys.
    pub keys: Vec<Digest>,
}

/// A host whose instances are reached through the gateway there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BetweenHost {
    /// Where that gateway listens for others.
    pub at: SocketAddr,
    /// SHA-256 of its public keys.
    pub keys: Vec<Digest>,
    /// Where instances listen there, on loopback.
    pub instances: BTreeMap<InstanceId, SocketAddr>,
}

/// What a gateway says of itself to its server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SaidBetween {
    /// SHA-256 of its public keys: the one that it shows comes first.
    pub keys: Vec<Digest>,
    /// Where it listens for other gateways, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<SocketAddr>,
    /// Whether the table that it serves is not on its disk: with the one that is there it would go on when it began anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unkept: bool,
}

impl Between {
    /// Returns the name of the gateway that has a key.
    #[must_use]
    pub fn caller_of(&self, key: &Digest) -> Option<&str> {
        let found = self.callers.iter().find(|(_, gateway)| gateway.keys.contains(key));
        found.map(|(name, _)| name.as_str())
    }

    /// Returns everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let instances =
            self.hosts.iter().flat_map(|(host, it)| it.instances.iter().map(move |at| (host, at)));
        let elsewhere = instances.filter(|(_, (_, address))| !address.ip().is_loopback());
        let problem = |(host, (id, address)): (&HostName, (&InstanceId, &SocketAddr))| {
            format!("the gateway of `{host}` is to carry to `{id}` at {address}, which is not on loopback")
        };
        elsewhere.map(problem).collect()
    }
}

/// Returns the endpoints of a table that lead through a gateway which the table does not know.
#[must_use]
pub fn unknown_ways(table: &RouteTable) -> Vec<String> {
    let hosts = table.between.as_ref().map(|between| &between.hosts);
    let is_unknown = |it: &&Endpoint| {
        let through = it.through.as_ref();
        through.is_some_and(|host| hosts.is_none_or(|hosts| !hosts.contains_key(host)))
    };
    let splits = table.services.values().flat_map(|routes| &routes.splits);
    let unknown = splits.flat_map(Split::instances).filter(is_unknown);
    unknown.map(|it| format!("`{}` is behind a gateway of which nothing is said", it.instance)).collect()
}

/// Returns what an instance is called between gateways: a name that tells nobody on the way which one it is.
#[must_use]
pub fn name_of_instance(environment: &EnvironmentName, instance: &InstanceId) -> String {
    let text = format!("lockstep between hosts\0{environment}\0{instance}");
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let digits = Digest::from_bytes(digest).to_string();
    format!("{}.{SUFFIX}", &digits[..NAME_DIGITS])
}

/// Returns the port at which the gateway of a host looks first for room to listen for other gateways: the environment's own, moved to where
/// neither instances nor connections that go out usually have theirs.
#[must_use]
pub fn door_port(gateway_port: u16) -> u16 {
    match gateway_port {
        ..DOOR_DISTANCE => gateway_port + DOOR_DISTANCE,
        _ => OTHER_DOORS.start + gateway_port % (OTHER_DOORS.end - OTHER_DOORS.start),
    }
}

/// Where an instance on a host that is reached through its gateway is told to be: at the address of its host, which tells it from those of
/// others, with the port that it has on loopback.
#[must_use]
pub fn is_carried(listens: SocketAddr, host: IpAddr) -> bool {
    listens.ip().is_loopback() && listens.ip() != host
}

/// Tells whether nobody reaches an instance: it listens on loopback of a host that there is no more.
#[must_use]
pub fn is_stranded(world: &World, instance: &Instance) -> bool {
    let is_gone = instance.host.as_ref().is_some_and(|host| !world.hosts.contains_key(host));
    is_gone && instance.address.is_some_and(|at| at.ip().is_loopback())
}

/// The instances that are reached through gateways, each with its host and the address of that; nothing where nobody knows the gateway there.
pub type Carried = BTreeMap<InstanceId, Option<(HostName, IpAddr)>>;

impl RouteTable {
    /// Returns the table with what gateways know of each other, where any instance is reached through one of them. What cannot be reached so
    /// is left out: its address on loopback is another process wherever else it is asked.
    #[must_use]
    pub fn with_between(mut self, between: Between, carried: &Carried) -> Self {
        let is_reached = |it: &Endpoint| carried.get(&it.instance).is_none_or(Option::is_some);
        for split in self.services.values_mut().flat_map(|routes| &mut routes.splits) {
            for endpoints in [&mut split.endpoints, &mut split.leaving] {
                endpoints.retain(is_reached);
                for endpoint in endpoints {
                    if let Some(Some((host, address))) = carried.get(&endpoint.instance) {
                        endpoint.through = Some(host.clone());
                        endpoint.address.set_ip(*address);
                    }
                }
            }
        }
        Self { between: Some(between), ..self }.in_its_format()
    }

    /// Returns the table without instances that nobody reaches.
    #[must_use]
    pub fn leaving_out(mut self, unreached: &BTreeSet<InstanceId>) -> Self {
        for split in self.services.values_mut().flat_map(|routes| &mut routes.splits) {
            split.endpoints.retain(|it| !unreached.contains(&it.instance));
            split.leaving.retain(|it| !unreached.contains(&it.instance));
        }
        self
    }
}

/// Which keys are new to everybody, and which each gateway has heard of: decides when a key may be shown.
///
/// `has` says of each gateway the last table that it confirmed, as a number that only grows, and `since` since which table a key is named. A
/// gateway that is away counts too: with its last table it may go on for as long as it wants.
#[must_use]
pub fn known_to_all<'a>(
    coming: impl IntoIterator<Item = (&'a Digest, u64)>,
    has: impl Iterator<Item = u64> + Clone,
) -> Vec<Digest> {
    let least = has.min();
    let is_known = |since: u64| least.is_some_and(|least| least >= since);
    let known: BTreeSet<Digest> =
        coming.into_iter().filter(|(_, since)| is_known(*since)).map(|(key, _)| *key).collect();
    known.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> Digest {
        Digest::from_bytes([byte; 32])
    }

    #[test]
    fn a_name_is_one_of_hosts_and_differs_by_environment_and_instance() {
        let name = |environment: &str, instance: &str| {
            name_of_instance(&environment.parse().unwrap(), &instance.parse().unwrap())
        };
        let long = name("production", &"x".repeat(200));
        assert!(long.len() < 253 && long.split('.').all(|label| label.len() <= 63), "{long}");
        assert_eq!(name("production", "a"), name("production", "a"));
        assert_ne!(name("production", "a"), name("staging", "a"));
        assert_ne!(name("production", "a"), name("production", "b"));
        assert!(!name("production", "orders-1.0.0-c0-1").contains("orders"));
    }

    #[test]
    fn no_table_makes_a_gateway_a_way_to_anything_but_loopback() {
        let host = |address: &str| BetweenHost {
            at: "10.0.0.5:18500".parse().unwrap(),
            keys: vec![key(1)],
            instances: BTreeMap::from([("a-1".parse().unwrap(), address.parse().unwrap())]),
        };
        let between = |address| Between {
            hosts: BTreeMap::from([("web1".parse().unwrap(), host(address))]),
            ..Between::default()
        };
        assert!(between("127.0.0.1:20000").problems().is_empty());
        assert!(between("[::1]:20000").problems().is_empty());
        for bad in ["10.0.0.5:22", "169.254.169.254:80", "0.0.0.0:20000"] {
            assert_eq!(between(bad).problems().len(), 1, "{bad}");
        }
    }

    #[test]
    fn a_key_is_its_gateways_and_nobody_elses() {
        let mut between = Between::default();
        between.callers.insert("host-web1".to_owned(), BetweenGateway { keys: vec![key(1), key(2)] });
        assert_eq!(between.caller_of(&key(2)), Some("host-web1"));
        assert_eq!(between.caller_of(&key(3)), None);
    }

    #[test]
    fn instances_on_loopback_of_their_host_are_carried_to_and_others_are_not() {
        let host: IpAddr = "10.0.0.5".parse().unwrap();
        assert!(is_carried("127.0.0.1:20000".parse().unwrap(), host));
        assert!(!is_carried("10.0.0.5:20000".parse().unwrap(), host));
        // A host that is reached by loopback is this machine: nothing of it goes anywhere.
        assert!(!is_carried("127.0.0.1:20000".parse().unwrap(), "127.0.0.1".parse().unwrap()));
        assert_eq!((door_port(8_500), door_port(27_485), door_port(65_535)), (18_500, 32_573, 31_871));
    }

    proptest! {
        #[test]
        fn a_key_is_shown_when_the_gateway_that_is_furthest_behind_has_heard_of_it(
            has in proptest::collection::vec(0_u64..6, 0..5), since in 0_u64..6,
        ) {
            let known = known_to_all([(&key(1), since)], has.iter().copied());
            let is_known = !has.is_empty() && has.iter().all(|it| *it >= since);
            prop_assert_eq!(known, if is_known { vec![key(1)] } else { Vec::new() });
        }

        #[test]
        fn doors_have_ports_of_their_own(port in 1_024_u16..) {
            let door = door_port(port);
            prop_assert!(door != port && (1_024..32_768).contains(&door), "{door}");
            prop_assert!(!(20_000..30_000).contains(&door), "{door} is one of instances");
        }
    }
}

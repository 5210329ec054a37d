//! What sets and hosts are called, and what of theirs is called on the machine.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::subnet::Subnet;

/// What everything of ours on the machine begins with: network namespaces, machines, control groups.
pub(crate) const PREFIX: &str = "lockstep-hosts-";
/// How many hosts a set may have: some 30 MB of memory each.
pub(crate) const MOST: u8 = 64;
/// How long the name of a set may be, so that the name of a machine stays below the 64 characters that Linux allows.
const LONGEST_SET: usize = 24;
/// The address of the first host ends with one more.
const BEFORE_THE_FIRST: u8 = 10;

/// The name of a set: lower-case letters and digits, so that it ends where a `-` begins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SetName(String);

impl FromStr for SetName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if text.is_empty() || text.len() > LONGEST_SET || !text.bytes().all(good) {
            return Err(format!("a set has 1 to {LONGEST_SET} lower-case letters and digits"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SetName {
    /// The network namespace that has the bridge.
    pub(crate) fn namespace(&self) -> String {
        format!("{PREFIX}{self}")
    }

    /// The set that something on the machine belongs to, by its name there.
    pub(crate) fn of(name_on_machine: &str) -> Option<Self> {
        let rest = name_on_machine.strip_prefix(PREFIX)?;
        rest.split('-').next()?.parse().ok()
    }
}

/// A host of a set: `web1` is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Host(u8);

impl Host {
    /// The host with a number, counted from one.
    pub(crate) fn numbered(number: u8) -> Self {
        Self(number.clamp(1, MOST))
    }

    /// Every host that a set may have.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (1..=MOST).map(Self)
    }

    /// Its address in the network of its set.
    pub(crate) fn address(self, subnet: Subnet) -> Ipv4Addr {
        subnet.address(BEFORE_THE_FIRST + self.0)
    }

    /// What its namespace, its machine and its control group are called.
    pub(crate) fn on_machine(self, set: &SetName) -> String {
        format!("{PREFIX}{set}-{self}")
    }

    /// The address of its network card, the same at every start: others remember it, and would not find a host that had a new one.
    pub(crate) fn hardware_address(self) -> String {
        format!("02:6c:73:00:00:{:02x}", self.0)
    }

    /// The end of its line at the bridge.
    pub(crate) fn port(self) -> String {
        format!("host{}", self.0)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "web{}", self.0)
    }
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::all()
            .find(|host| host.to_string() == text)
            .ok_or_else(|| format!("hosts are called web1 to web{MOST}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_by_the_name_it_shows() {
        assert!(Host::all().all(|host| host.to_string().parse() == Ok(host)));
        for wrong in ["web0", "web65", "web01", "web", "Web1", "web1 "] {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn hosts_have_addresses_of_their_own_within_their_network() {
        let addresses: Vec<Ipv4Addr> = Host::all().map(|host| host.address(Subnet::numbered(7))).collect();
        assert_eq!(addresses[0], Ipv4Addr::new(10, 213, 7, 11));
        assert_eq!(addresses[63], Ipv4Addr::new(10, 213, 7, 74));
        assert!(addresses.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn the_set_is_read_from_every_name_on_the_machine_and_from_no_other() {
        let set: SetName = "default".parse().unwrap();
        for name in [set.namespace(), Host::numbered(3).on_machine(&set)] {
            assert_eq!(SetName::of(&name), Some(set.clone()), "{name}");
        }
        for foreign in ["default", "lockstep-hosts", "lockstep-hosts-", "lockstep-default-web1", "docker0"] {
            assert_eq!(SetName::of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn names_on_the_machine_are_short_enough_for_it() {
        let set: SetName = "a".repeat(LONGEST_SET).parse().unwrap();
        assert!(Host::all().all(|host| host.on_machine(&set).len() <= 64 && host.port().len() <= 14));
        for wrong in ["", "a-b", "A", "ä", "..", "a/b", &"a".repeat(LONGEST_SET + 1)] {
            assert!(wrong.parse::<SetName>().is_err(), "{wrong}");
        }
    }
}

//! Which private network a set gets: the first of thirty-two that nothing on the machine overlaps.

use std::fmt;
use std::net::Ipv4Addr;

use serde_json::Value;

/// How many sets may be up at once.
const MOST: u8 = 32;
/// All networks are of this length.
pub(crate) const LENGTH: u8 = 24;

/// One of the networks 10.213.0.0/24 to 10.213.31.0/24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet(u8);

impl Subnet {
    /// The network with a number.
    pub(crate) fn numbered(number: u8) -> Self {
        Self(number.min(MOST - 1))
    }

    /// Its number.
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// An address in it.
    pub(crate) fn address(self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.0, last)
    }

    /// The address that this machine has in it.
    pub(crate) fn of_machine(self) -> Ipv4Addr {
        self.address(1)
    }

    /// The interface that this machine has in it.
    pub(crate) fn interface(self) -> String {
        format!("lsh{}", self.0)
    }

    /// Chooses the first that is not taken and that no prefix overlaps.
    pub(crate) fn first_free(taken: &[Self], prefixes: &[Prefix]) -> Option<Self> {
        let mut all = (0..MOST).map(Self);
        all.find(|subnet| !taken.contains(subnet) && !prefixes.iter().any(|prefix| prefix.overlaps(*subnet)))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{LENGTH}", self.address(0))
    }
}

/// A network that the machine has an address or a route in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    address: Ipv4Addr,
    length: u8,
}

impl Prefix {
    fn overlaps(self, subnet: Subnet) -> bool {
        let shorter = self.length.min(LENGTH);
        let mask = u32::MAX.checked_shl(32 - u32::from(shorter)).unwrap_or(0);
        self.address.to_bits() & mask == subnet.address(0).to_bits() & mask
    }

    fn read(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').unwrap_or((text, "32"));
        Some(Self {
            address: address.parse().ok()?,
            length: length.parse().ok().filter(|length| *length <= 32)?,
        })
    }
}

/// The networks in what `ip -j -4 route show table all` says. The default route is none: everything lies behind it.
pub(crate) fn prefixes(routes: &Value) -> Vec<Prefix> {
    let routes = routes.as_array().map(Vec::as_slice).unwrap_or_default();
    let destinations = routes.iter().filter_map(|route| route["dst"].as_str());
    destinations.filter_map(Prefix::read).filter(|prefix| prefix.length > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chosen(taken: &[u8], destinations: &[&str]) -> Option<u8> {
        let routes: Vec<Value> =
            destinations.iter().map(|dst| json!({ "dst": dst, "dev": "eth0" })).collect();
        let taken: Vec<Subnet> = taken.iter().copied().map(Subnet::numbered).collect();
        Subnet::first_free(&taken, &prefixes(&Value::Array(routes))).map(Subnet::number)
    }

    #[test]
    fn the_first_network_is_taken_that_is_free() {
        assert_eq!(chosen(&[], &["default", "192.0.2.0/24", "127.0.0.1"]), Some(0));
        assert_eq!(chosen(&[0, 1], &[]), Some(2));
        assert_eq!(chosen(&[1], &["10.213.0.0/24"]), Some(2));
    }

    #[test]
    fn a_network_that_anything_overlaps_is_left_alone() {
        assert_eq!(chosen(&[], &["10.213.0.7"]), Some(1), "a single address in it");
        assert_eq!(chosen(&[], &["10.213.0.128/25"]), Some(1), "a part of it");
        assert_eq!(chosen(&[], &["10.213.0.0/22"]), Some(4), "more than it");
        assert_eq!(chosen(&[], &["10.0.0.0/8"]), None, "all of them");
        assert_eq!(chosen(&[], &["0.0.0.0/0"]), Some(0), "the way to everywhere else");
    }
}

//! A request as the conditions of routes look at it.

use std::net::{IpAddr, SocketAddr};

use lockstep_domain::gateway_rules::{Caller, GatewayRules};
use lockstep_domain::routes::conditions::RequestView;

use crate::field::{Field, members};
use crate::peer::Peer;
use crate::request::Request;

/// Reads the address of a hop. Some proxies write it with its port (Azure's gateways), or in brackets.
fn address_of(hop: &str) -> Option<IpAddr> {
    let with_port = || Some(hop.parse::<SocketAddr>().ok()?.ip());
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    hop.parse().ok().or_else(with_port).or_else(in_brackets)
}

/// A request as the conditions of routes look at it.
pub(crate) struct View<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) peer: &'a Peer,
    pub(crate) caller: Caller,
    pub(crate) rules: &'a GatewayRules,
}

impl RequestView for View<'_> {
    fn method(&self) -> &str {
        self.request.method
    }

    fn query(&self) -> &str {
        self.request.query.strip_prefix('?').unwrap_or_default()
    }

    fn any_header(&self, name: &str, is_wanted: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.request.fields_named(name).any(is_wanted)
    }

    fn cookie(&self, name: &str) -> Option<&[u8]> {
        self.request.raw_cookies(name.as_bytes()).next()
    }

    /// Who is at the other end; behind proxies that are believed, the nearest that is none of them.
    fn client(&self) -> Option<IpAddr> {
        if self.caller != Caller::Proxy {
            return Some(self.peer.address());
        }
        let lists: Vec<&str> = self.request.values(Field::ForwardedFor).collect();
        let hops: Vec<&str> = lists.iter().flat_map(|list| members(list)).collect();
        let mut last = Some(self.peer.address());
        for hop in hops.into_iter().rev() {
            last = address_of(hop).map(|address| address.to_canonical());
            if !last.is_some_and(|address| self.rules.trusts(address)) {
                break;
            }
        }
        last
    }
}

#[test]
fn the_address_of_a_hop_may_have_a_port_or_brackets() {
    let of = |text: &str| address_of(text).map(|address| address.to_string());
    for (text, address) in [("192.0.2.1", "192.0.2.1"), ("192.0.2.1:4711", "192.0.2.1")] {
        assert_eq!(of(text).as_deref(), Some(address));
    }
    for text in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:4711"] {
        assert_eq!(of(text).as_deref(), Some("2001:db8::1"));
    }
    for text in ["", "unknown", "shop.test:80", "_hidden", "192.0.2.1:", "192.0.2.1:x", "[192.0.2.1", "1.2.3"]
    {
        assert_eq!(of(text), None, "{text}");
    }
}

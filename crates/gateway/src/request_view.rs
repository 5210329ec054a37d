//! A request as the conditions of routes look at it.

use std::net::IpAddr;

use lockstep_domain::gateway_rules::{Caller, GatewayRules};
use lockstep_domain::routes::conditions::RequestView;

use crate::field::{Field, members};
use crate::peer::Peer;
use crate::request::Request;

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
            last = hop.parse::<IpAddr>().ok().map(|address| address.to_canonical());
            if !last.is_some_and(|address| self.rules.trusts(address)) {
                break;
            }
        }
        last
    }
}

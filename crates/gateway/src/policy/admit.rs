//! Whether a route takes a request: its body, how many are under way, how many came.
//!
//! What is counted belongs to the gateway and is shared by its workers. It is kept while tables change, for each route that is the same.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use lockstep_domain::ServiceName;
use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::routes::limits::{RateBy, RateLimit, RouteLimits};
use lockstep_domain::routes::{Route, RouteTable};

use super::Pace;
use super::buckets::{Buckets, Taken};
use crate::chunked::ChunkError;
use crate::framing::Body;
use crate::moment::Moment;
use crate::problem::{BUSY, Problem, Quota, Status};
use crate::room::{Place, Room};

/// What is counted of a route.
#[derive(Debug, Default)]
pub(crate) struct RouteState {
    under_way: Arc<Room>,
    /// Made with the first request that is counted.
    buckets: OnceLock<Buckets>,
    /// How long its answers take to begin, where that decides something.
    pub(super) pace: Pace,
}

/// What is counted of all routes that limit something, or learn how long their answers take.
#[derive(Debug, Default)]
pub(crate) struct RouteStates(BTreeMap<(ServiceName, String), Arc<RouteState>>);

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) caller: Caller,
    pub(crate) address: IpAddr,
    /// The key that it came with.
    pub(crate) key: Option<&'a [u8]>,
}

fn counts(route: &Route) -> bool {
    route.rule.policy.as_ref().is_some_and(|policy| !policy.limits.is_none() || policy.hedge.is_some())
}

impl RouteStates {
    /// Takes the routes of a table; what is counted of those that were there before stays.
    pub(crate) fn follow(&mut self, table: &RouteTable) {
        let counting = table.routes.iter().filter(|route| counts(route));
        let keep = |route: &Route| {
            let key = (route.service.clone(), route.rule.key());
            let state = self.0.get(&key).cloned().unwrap_or_default();
            (key, state)
        };
        self.0 = counting.map(keep).collect();
    }

    /// Returns what is counted of each route of the table, by its place; nothing where nothing is counted of any.
    pub(crate) fn of(&self, table: &RouteTable) -> Vec<Option<Arc<RouteState>>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let one = |route: &Route| {
            counts(route).then_some(())?;
            self.0.get(&(route.service.clone(), route.rule.key())).cloned()
        };
        table.routes.iter().map(one).collect()
    }
}

impl RouteState {
    /// Takes a request in.
    ///
    /// # Errors
    /// The answer of the gateway where one more is too much.
    pub(crate) fn admit(
        &self,
        limits: &RouteLimits,
        body: &Body,
        who: Who<'_>,
    ) -> Result<Option<Place>, Problem> {
        if let (Some(limit), Body::Length(length)) = (limits.body_bytes, body)
            && *length > limit
        {
            return Err(too_large(limit));
        }
        // Who finds no place has used nothing up.
        let enter = |most| self.under_way.enter(most).ok_or_else(|| busy(most));
        let place = limits.concurrency.map(enter).transpose()?;
        // What services of the environment ask each other is theirs to bound.
        if let Some(rate) = limits.rate.filter(|_| who.caller != Caller::Instance) {
            self.count(&rate, who)?;
        }
        Ok(place)
    }

    fn count(&self, rate: &RateLimit, who: Who<'_>) -> Result<(), Problem> {
        let buckets = self.buckets.get_or_init(Buckets::default);
        let now = Moment::now().0.saturating_mul(1_000);
        let network = network(who.address);
        // What was used of another rate says nothing of this one, so each has buckets of its own.
        let taken = match (rate.by, who.key) {
            (RateBy::Route, _) => buckets.take(rate, rate, now),
            (RateBy::Key, Some(key)) => buckets.take((rate, key), rate, now),
            (RateBy::Key, None) | (RateBy::Network, _) => buckets.take((rate, network), rate, now),
        };
        match taken {
            Taken::Token { .. } => Ok(()),
            Taken::Wait(wait) => Err(too_many(rate, wait)),
        }
    }
}

/// Returns what stands for a client: its address, of IPv6 the network that one household or machine is given.
fn network(address: IpAddr) -> [u8; 8] {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            // Below the networks of IPv6 that are given to anybody.
            [0, 0, 0, 0, a, b, c, d]
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, ..] = address.octets();
            [a, b, c, d, e, f, g, h]
        }
    }
}

/// Returns what a client is told whose body cannot be read, or is longer than its route takes.
pub(crate) fn bad_body(error: ChunkError, limit: Option<u64>) -> Problem {
    match (error, limit) {
        (ChunkError::TooLong, Some(limit)) => too_large(limit),
        (error, _) => Problem::new(Status::BadRequest, "bad_body", error.to_string()),
    }
}

fn too_large(limit: u64) -> Problem {
    let detail = format!("the body is longer than the {limit} bytes that its route takes");
    Problem::new(Status::ContentTooLarge, "body_too_large", detail)
}

fn busy(most: u32) -> Problem {
    let detail = format!("{most} requests are under way on this route, and it takes no more at once");
    Problem::new(Status::Unavailable, BUSY, detail)
}

fn too_many(rate: &RateLimit, wait_ns: u64) -> Problem {
    let RateLimit { requests, per_ms, by, .. } = *rate;
    let detail = format!("the route takes {requests} requests in {per_ms} ms by {}", by.word());
    let seconds = per_ms.div_ceil(1_000);
    let quota = Quota { requests, seconds, wait_s: wait_ns.div_ceil(1_000_000_000) };
    Problem::new(Status::TooManyRequests, "rate_limited", detail).with_quota(quota)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_request_is_over() {
        let state = Arc::new(RouteState::default());
        let limits = RouteLimits { concurrency: Some(2), ..RouteLimits::default() };
        let who = Who { caller: Caller::Outside, address: [127, 0, 0, 1].into(), key: None };
        let enter = || state.admit(&limits, &Body::Done, who);
        let both = (enter().unwrap(), enter().unwrap());
        assert_eq!(enter().unwrap_err().code(), "busy");
        drop(both);
        assert!(enter().is_ok());
    }

    fn rated(requests: u32, per_ms: u64) -> RouteLimits {
        let rate = RateLimit { requests, per_ms, burst: None, by: RateBy::Network };
        RouteLimits { rate: Some(rate), concurrency: Some(1), ..RouteLimits::default() }
    }

    #[test]
    fn a_rate_that_changes_begins_anew_and_who_finds_no_place_has_used_nothing_up() {
        let state = Arc::new(RouteState::default());
        let who = Who { caller: Caller::Outside, address: [127, 0, 0, 1].into(), key: None };
        let ask = |limits| state.admit(&limits, &Body::Done, who).map_err(|problem| problem.code());
        let day = || rated(2, 86_400_000);
        let place = ask(day()).unwrap();
        assert_eq!([ask(day()).unwrap_err(), ask(day()).unwrap_err()], ["busy", "busy"]);
        drop(place);
        assert!(ask(day()).is_ok());
        assert_eq!(ask(day()).unwrap_err(), "rate_limited");
        assert!(ask(rated(1_000, 1_000)).is_ok(), "a day of the former rate is not waited for");
        assert_eq!(ask(day()).unwrap_err(), "rate_limited");
    }

    #[test]
    fn networks_of_ipv6_are_one_client_and_addresses_of_ipv4_are_each_their_own() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::7"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::7"), of("2001:db8:1:3::7"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("10.0.0.1"), of("::ffff:10.0.0.1"));
    }
}

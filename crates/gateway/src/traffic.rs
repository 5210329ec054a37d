//! What a gateway counts, as a document: for `lockstep gateway top`, which compares two of them.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_domain::Arm;
use lockstep_domain::breaker::Phase;
use serde::{Deserialize, Serialize};

use crate::breaker::BreakerSeen;
use crate::counts::{BOUNDS_MS, CLASSES, Sums};
use crate::names::NameSeen;
use crate::seat::RouteName;
use crate::tcp::TcpSums;

/// The class of answers that are failures.
const FAILED: usize = CLASSES.len() - 1;

/// What a gateway counted since it was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// The gateway; its id is another one after each start.
    pub gateway: String,
    /// For how many milliseconds it has run.
    pub up_ms: u64,
    /// Connections of clients.
    pub connections: usize,
    /// Upper bounds of the classes of durations in milliseconds; the last class has none.
    pub bounds_ms: Vec<u64>,
    /// By name.
    pub environments: BTreeMap<String, EnvironmentTraffic>,
}

/// What was counted of an environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnvironmentTraffic {
    /// The table that is served; 0 for none.
    pub revision: u64,
    /// The salts of its services: whoever knows where a key lies knows its version by them.
    pub salts: BTreeMap<String, String>,
    /// By version and configuration: `orders@1.4.0`, `orders@1.4.0 configuration 2`.
    pub versions: BTreeMap<String, Counted>,
    /// Connections to versions that speak TCP.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tcp: BTreeMap<String, TcpCounted>,
    /// By route; the empty one is all that are not counted for themselves.
    pub routes: BTreeMap<String, Counted>,
    /// What the gateway answered before it had chosen a version.
    pub own: Counted,
    /// By the names of instances, with their ports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, NameLook>,
}

/// What was counted of connections to a version that speaks TCP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TcpCounted {
    /// Connections that are over.
    pub connections: u64,
    /// Those that an instance broke off, or that none took.
    pub failures: u64,
    /// Bytes that instances took.
    pub bytes_up: u64,
    /// Bytes that clients took.
    pub bytes_down: u64,
    /// Connections under way at instances.
    pub under_way: u64,
}

impl TcpCounted {
    fn of(sums: &TcpSums, under_way: u64) -> Self {
        Self {
            connections: sums.ends().map(|(_, count)| count).sum(),
            failures: sums.ends().filter(|(end, _)| end.is_failure()).map(|(_, count)| count).sum(),
            bytes_up: sums.to_instance,
            bytes_down: sums.to_client,
            under_way,
        }
    }

    /// Returns what was counted since an earlier look; all of it where a counter began anew.
    #[must_use]
    pub fn since(&self, before: Option<&Self>) -> Self {
        let Some(before) = before.filter(|before| before.connections <= self.connections) else {
            return self.clone();
        };
        Self {
            connections: self.connections - before.connections,
            failures: self.failures.saturating_sub(before.failures),
            bytes_up: self.bytes_up.saturating_sub(before.bytes_up),
            bytes_down: self.bytes_down.saturating_sub(before.bytes_down),
            under_way: self.under_way,
        }
    }
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counted {
    /// Requests that are over.
    pub requests: u64,
    /// Those whose clients got 500 or more.
    pub failures: u64,
    /// How many took how long, by class.
    pub durations: Vec<u64>,
    /// Requests under way at instances; known of versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<u64>,
    /// `open` or `half-open` while the version is left alone, by anybody who asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<String>,
    /// Requests that met a fault on purpose; they are in nothing else here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub faulted: u64,
    /// Requests in which the version stood in for another that was left alone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub degraded: u64,
    /// How often an instance of the zone of the gateway was picked, and one that stands elsewhere; known where there is a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<[u64; 2]>,
}

/// A name of instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameLook {
    /// The addresses that are asked.
    pub addresses: usize,
    /// Why they are those from before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// For how many seconds that is so.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub for_s: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Counted {
    fn of(sums: &Sums, under_way: Option<u64>) -> Self {
        Self {
            requests: sums.classes.iter().sum(),
            failures: sums.classes[FAILED],
            durations: sums.durations.to_vec(),
            under_way,
            breaker: None,
            faulted: sums.faulted.iter().flatten().sum(),
            degraded: sums.degraded,
            zones: None,
        }
    }

    /// Returns what was counted since an earlier look; all of it where a counter began anew.
    #[must_use]
    pub fn since(&self, before: Option<&Self>) -> Self {
        let Some(before) = before.filter(|before| before.requests <= self.requests) else {
            return self.clone();
        };
        let less = |(now, before): (&u64, &u64)| now.saturating_sub(*before);
        Self {
            requests: self.requests - before.requests,
            failures: self.failures.saturating_sub(before.failures),
            durations: self.durations.iter().zip(&before.durations).map(less).collect(),
            under_way: self.under_way,
            breaker: self.breaker.clone(),
            faulted: self.faulted.saturating_sub(before.faulted),
            degraded: self.degraded.saturating_sub(before.degraded),
            zones: self.zones.map(|now| {
                let before = before.zones.unwrap_or_default();
                [now[0].saturating_sub(before[0]), now[1].saturating_sub(before[1])]
            }),
        }
    }

    /// Returns the bound within which a part of the requests was over: the class that has it; `None` when there were none, and
    /// `Some(None)` beyond the last bound.
    #[must_use]
    pub fn within_ms(&self, percent: u64, bounds: &[u64]) -> Option<Option<u64>> {
        let total: u64 = self.durations.iter().sum();
        let wanted = (total * percent).div_ceil(100);
        let mut below = 0;
        let class = self.durations.iter().position(|count| {
            below += count;
            total > 0 && below >= wanted
        })?;
        Some(bounds.get(class).copied())
    }
}

/// Says how the breakers of a version are that are not closed.
fn worst<'a>(breakers: impl Iterator<Item = &'a BreakerSeen>) -> Option<&'static str> {
    let not_closed = breakers.map(|seen| seen.phase).filter(|phase| *phase != Phase::Closed);
    not_closed.max_by_key(|phase| *phase == Phase::Open).map(Phase::word)
}

/// Names a version with its configuration, where it has one.
pub(crate) fn arm_name(arm: &Arm) -> String {
    match arm.config.0 {
        0 => arm.version_ref().to_string(),
        config => format!("{} configuration {config}", arm.version_ref()),
    }
}

/// Returns the upper bounds of durations.
pub(crate) fn bounds() -> Vec<u64> {
    BOUNDS_MS.to_vec()
}

/// What there is of an environment.
pub(crate) struct Counters<'a> {
    pub(crate) revision: u64,
    pub(crate) arms: &'a [(Arm, Sums)],
    pub(crate) routes: &'a BTreeMap<RouteName, Sums>,
    pub(crate) own: &'a Sums,
    pub(crate) breakers: &'a [BreakerSeen],
    pub(crate) zones: &'a [(Arm, [u64; 2])],
    pub(crate) names: &'a [NameSeen],
    /// The versions that speak TCP, by name.
    pub(crate) over_tcp: &'a BTreeSet<String>,
}

impl EnvironmentTraffic {
    pub(crate) fn of(
        Counters { revision, arms, routes, own, breakers, zones, names, over_tcp }: Counters<'_>,
        salts: BTreeMap<String, String>,
        under_way: &BTreeMap<String, u64>,
    ) -> Self {
        let (mut versions, mut tcp) = (BTreeMap::new(), BTreeMap::new());
        for (arm, sums) in arms {
            let name = arm_name(arm);
            let here = under_way.get(&name).copied().unwrap_or(0);
            if over_tcp.contains(&name) || !sums.tcp.is_empty() {
                tcp.insert(name, TcpCounted::of(&sums.tcp, here));
                continue;
            }
            let breaker = worst(breakers.iter().filter(|seen| seen.arm == *arm)).map(str::to_owned);
            let zones = zones.iter().find(|(of, _)| of == arm).map(|(_, counts)| *counts);
            versions.insert(name, Counted { breaker, zones, ..Counted::of(sums, Some(here)) });
        }
        let route = |(route, service): &RouteName| {
            if route.is_empty() { String::new() } else { format!("{route} ({service})") }
        };
        let routes = routes.iter().map(|(name, sums)| (route(name), Counted::of(sums, None))).collect();
        let names = names.iter().map(|seen| {
            let (trouble, for_s) = seen.trouble.clone().unzip();
            let look = NameLook { addresses: seen.addresses, trouble, for_s: for_s.unwrap_or(0) };
            (seen.name.clone(), look)
        });
        let (own, names) = (Counted::of(own, None), names.collect());
        Self { revision, salts, versions, tcp, routes, own, names }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(requests: u64, durations: &[u64]) -> Counted {
        Counted { requests, durations: durations.to_vec(), ..Counted::default() }
    }

    #[test]
    fn what_came_since_is_the_difference_and_all_of_it_after_a_new_start() {
        let (before, now) = (counted(5, &[3, 2]), counted(9, &[4, 5]));
        assert_eq!(now.since(Some(&before)), counted(4, &[1, 3]));
        assert_eq!(before.since(Some(&now)), before);
        assert_eq!(now.since(None), now);
    }

    #[test]
    fn a_part_of_the_requests_is_within_the_class_that_has_it() {
        let bounds = [1, 5];
        let all = counted(100, &[50, 49, 1]);
        assert_eq!(all.within_ms(50, &bounds), Some(Some(1)));
        assert_eq!(all.within_ms(51, &bounds), Some(Some(5)));
        assert_eq!(all.within_ms(99, &bounds), Some(Some(5)));
        assert_eq!(all.within_ms(100, &bounds), Some(None));
        assert_eq!(counted(0, &[0, 0, 0]).within_ms(50, &bounds), None);
    }
}

//! Which instance gets a request: the less busy and faster of two random ones, and others when those do not serve.
//!
//! An arm on trial is balanced by requests under way alone, and none of its instances is taken out: what fails there is
//! what the trial is about, and must not be sorted out before it is counted.

#[cfg(test)]
mod simulation;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lockstep_domain::outliers::{Counted, Outlier, Room};
use lockstep_domain::priority::Priority;
use lockstep_domain::routes::SplitRole;
use lockstep_domain::routes::service_policy::Balance;

use crate::affinity::Affinity;
use crate::endpoint::{Endpoint, Lease};
use crate::latency::{Load, second_is_better};
use crate::moment::Moment;
use crate::random::Random;
use crate::table::{ServiceTargets, Target};
use crate::zone::Spread;

/// An instance that was chosen for a request, and the arm it belongs to.
#[derive(Debug)]
pub(crate) struct Pick {
    /// Index of the arm in the service's targets.
    pub(crate) target: usize,
    pub(crate) lease: Lease,
}

impl Pick {
    /// Tells whether connections to the instance could be opened lately.
    pub(crate) fn is_good(&self, now: Moment) -> bool {
        !self.lease.endpoint().instance.is_avoided(now)
    }
}

/// How an instance is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search<'a> {
    /// Instances that are passed over.
    pub(crate) tried: &'a [Arc<Endpoint>],
    /// Where the client is to be kept, if it is.
    pub(crate) affinity: Option<&'a Affinity>,
    pub(crate) random: &'a Random,
    pub(crate) now: Moment,
    /// How important the request is that one is looked for.
    pub(crate) priority: Priority,
}

impl Search<'_> {
    /// Tells whether an instance serves well, as far as it is known.
    fn serves(&self, arm: &Target, endpoint: &Arc<Endpoint>) -> bool {
        let out = endpoint.instance.is_out(self.now) && !arm.health.is_panic();
        !out && !endpoint.instance.is_avoided(self.now) && !is_tried(endpoint, self.tried)
    }
}

/// Picks an instance of the arm `wanted`; when none is left there or all refused connections just now, of the stable
/// arm, then of any other but those that only rules lead to.
///
/// Returns `None` when there is no instance but those that were tried.
pub(crate) fn pick(service: &ServiceTargets, wanted: usize, search: Search<'_>) -> Option<Pick> {
    let now = search.now;
    let own = pick_in(service, wanted, search);
    if own.is_none() && service.targets.get(wanted).is_some_and(|arm| arm.is_full(search.priority)) {
        // What a version has no room for is refused: no other was meant for it.
        return None;
    }
    if own.as_ref().is_some_and(|own| own.is_good(now)) {
        return own;
    }
    let stable = service.stable();
    // What is there for rules alone is nobody's way out.
    let is_open = |index: &usize| service.targets[*index].role != SplitRole::Pinned;
    let others = (0..service.targets.len()).rev().filter(|&index| Some(index) != stable).filter(is_open);
    let mut order = stable.into_iter().chain(others).filter(|&index| index != wanted);
    let fits = |pick: &Pick| own.is_none() || pick.is_good(now);
    order.find_map(|target| pick_in(service, target, search).filter(fits)).or(own)
}

/// Picks an instance of exactly this arm.
pub(crate) fn pick_in(service: &ServiceTargets, target: usize, search: Search<'_>) -> Option<Pick> {
    let arm = service.targets.get(target)?;
    let kept = search.affinity.and_then(|affinity| kept(arm, affinity, search));
    let lease = kept.or_else(|| match arm.endpoints.as_slice() {
        [] => None,
        [only] => {
            Some(only).filter(|it| !is_tried(it, search.tried)).and_then(|it| arm.lease(it, search.priority))
        }
        many => {
            let found = match &arm.zones {
                None => among(arm, many, search),
                Some(zones) => zones.choose(arm, search),
            };
            found.or_else(|| last_resort(arm, search))
        }
    });
    let lease = lease.or_else(|| instead(arm, search.tried))?;
    Some(Pick { target, lease })
}

/// Picks an instance of the arm that serves well and has room, for what is as well left undone.
pub(crate) fn spare(arm: &Target, search: Search<'_>) -> Option<Lease> {
    match &arm.zones {
        None => among(arm, &arm.endpoints, search),
        Some(zones) => zones.choose(arm, search),
    }
}

/// Picks one of these instances of an arm that serve well.
pub(crate) fn among(arm: &Target, endpoints: &[Arc<Endpoint>], search: Search<'_>) -> Option<Lease> {
    match endpoints {
        [] => None,
        [only] => {
            Some(only).filter(|it| search.serves(arm, it)).and_then(|it| arm.lease(it, search.priority))
        }
        many if arm.takes_turns() => in_turn(arm, many, search),
        many => two_choices(arm, many, search),
    }
}

/// Picks the instance that a client is kept at, while that serves.
fn kept(arm: &Target, affinity: &Affinity, search: Search<'_>) -> Option<Lease> {
    let chosen = affinity.choose(&arm.endpoints, &arm.leaving, |it| search.serves(arm, it))?;
    arm.lease(chosen, search.priority)
}

fn two_choices(arm: &Target, endpoints: &[Arc<Endpoint>], search: Search<'_>) -> Option<Lease> {
    let Search { random, now, .. } = search;
    let serves = |it: &Arc<Endpoint>| search.serves(arm, it);
    let (first, second) = draw(arm, endpoints, (random, now));
    if serves(first)
        && serves(second)
        && let Some(lease) = arm.lease(better(arm, first, second, now), search.priority)
    {
        return Some(lease);
    }
    let serving: Vec<_> = endpoints.iter().filter(|it| serves(it)).cloned().collect();
    match serving.as_slice() {
        [] => None,
        [only] => arm.lease(only, search.priority),
        many => {
            let (first, second) = draw(arm, many, (random, now));
            arm.lease(better(arm, first, second, now), search.priority)
        }
    }
}

/// One after the other. In the place of one that does not serve another is drawn, so that no neighbour gets twice as much.
fn in_turn(arm: &Target, endpoints: &[Arc<Endpoint>], search: Search<'_>) -> Option<Lease> {
    let Search { random, now, .. } = search;
    let turn = &endpoints[arm.choosing.turn.fetch_add(1, Ordering::Relaxed) % endpoints.len()];
    if search.serves(arm, turn)
        && arm.is_warm(turn, (random, now))
        && let Some(lease) = arm.lease(turn, search.priority)
    {
        return Some(lease);
    }
    let serving: Vec<_> = endpoints.iter().filter(|it| search.serves(arm, it)).collect();
    let drawn = || serving[random.below(serving.len())];
    let warm = (0..REDRAWS).filter(|_| !serving.is_empty()).map(|_| drawn());
    warm.filter(|it| arm.is_warm(it, (random, now))).find_map(|it| arm.lease(it, search.priority))
}

impl Target {
    /// Counts a request as under way at an instance that has room for it.
    fn lease(&self, endpoint: &Arc<Endpoint>, priority: Priority) -> Option<Lease> {
        endpoint.lease(self.choosing.most(priority))
    }

    /// Tells whether its instances are asked one after the other. On trial they are balanced by requests under way alone.
    fn takes_turns(&self) -> bool {
        self.choosing.balance == Balance::RoundRobin && self.role != SplitRole::Candidate
    }

    /// Returns the part of requests that an instance gets beside others: all, unless it is fresh.
    fn warmth(&self, endpoint: &Endpoint, now: Moment) -> f64 {
        self.choosing.slow_start.map_or(1.0, |over| endpoint.instance.warmth(over, now))
    }

    /// Tells whether an instance that was drawn is taken: a fresh one is with a probability that grows.
    fn is_warm(&self, endpoint: &Endpoint, (random, now): (&Random, Moment)) -> bool {
        let warmth = self.warmth(endpoint, now);
        // A draw of 53 bits is a number below 1.
        warmth >= 1.0 || (random.draw() >> 11) as f64 / (1_u64 << 53) as f64 <= warmth
    }
}

/// How often is drawn anew in the place of a fresh instance.
const REDRAWS: usize = 16;

/// Draws two different ones of at least two; twice the same where the other is fresh and its turn has not come.
fn draw<'e>(
    arm: &Target,
    endpoints: &'e [Arc<Endpoint>],
    (random, now): (&Random, Moment),
) -> (&'e Arc<Endpoint>, &'e Arc<Endpoint>) {
    let count = endpoints.len();
    let mut first = random.below(count);
    let beside = |first: usize| (first + 1 + random.below(count - 1)) % count;
    if arm.choosing.slow_start.is_none() {
        return (&endpoints[first], &endpoints[beside(first)]);
    }
    if !arm.is_warm(&endpoints[first], (random, now)) {
        let drawn = (0..REDRAWS).map(|_| random.below(count));
        let mut warm = drawn.filter(|&it| arm.is_warm(&endpoints[it], (random, now)));
        first = warm.next().unwrap_or(first);
    }
    // A fresh one is less busy and would win: it is asked when it is drawn first, and not as the better of two.
    let is_fresh = |it: usize| arm.warmth(&endpoints[it], now) < 1.0;
    let second = if is_fresh(first) {
        beside(first)
    } else {
        (0..REDRAWS).map(|_| beside(first)).find(|&it| !is_fresh(it)).unwrap_or(first)
    };
    (&endpoints[first], &endpoints[second])
}

fn better<'e>(
    arm: &Target,
    first: &'e Arc<Endpoint>,
    second: &'e Arc<Endpoint>,
    now: Moment,
) -> &'e Arc<Endpoint> {
    let load = |it: &Arc<Endpoint>| match arm.role {
        SplitRole::Stable | SplitRole::Pinned if arm.choosing.balance != Balance::LeastRequests => {
            it.instance.load(now)
        }
        SplitRole::Stable | SplitRole::Pinned | SplitRole::Candidate => {
            Load { under_way: it.instance.in_flight(), latency: None }
        }
    };
    if second_is_better(load(first), load(second)) { second } else { first }
}

/// None serves well: a doubtful answer is better than none.
fn last_resort(arm: &Target, Search { tried, now, priority, .. }: Search<'_>) -> Option<Lease> {
    let mut rest: Vec<_> = arm.endpoints.iter().filter(|it| !is_tried(it, tried)).collect();
    rest.sort_by_key(|it| (it.instance.is_avoided(now), it.instance.in_flight()));
    rest.into_iter().find_map(|it| arm.lease(it, priority))
}

/// None takes one more, and somebody who may have left gives a place up.
fn instead(arm: &Target, tried: &[Arc<Endpoint>]) -> Option<Lease> {
    arm.choosing.most?;
    let mut rest = arm.endpoints.iter().filter(|it| !is_tried(it, tried));
    rest.find(|it| it.instance.doubtful.end_one()).and_then(|it| it.lease(None))
}

fn is_tried(endpoint: &Arc<Endpoint>, tried: &[Arc<Endpoint>]) -> bool {
    // By address: whatever name it has, what listens there is the same program.
    tried.iter().any(|it| it.instance.address == endpoint.instance.address)
}

/// What all workers know of the instances of an arm together.
#[derive(Debug, Default)]
pub(crate) struct ArmHealth {
    panic: AtomicBool,
    /// How requests are spread over zones, where instances stand in several.
    pub(crate) spread: Spread,
    /// Held while one is taken out, so that two workers do not take out one each.
    taking_out: Mutex<()>,
    /// How often an instance was asked on, or again, because too few would have been left.
    held: AtomicU64,
    /// The same at the last look.
    held_before: AtomicU64,
    /// What was counted of each instance at the last looks, the oldest first, where they are compared.
    history: Mutex<VecDeque<(Moment, BTreeMap<SocketAddr, Counted>)>>,
}

impl ArmHealth {
    /// Tells whether so few instances are healthy that all are asked.
    pub(crate) fn is_panic(&self) -> bool {
        self.panic.load(Ordering::Relaxed)
    }

    /// Looks at all instances of the arm, and says in the log when it comes to ask all of them, and when no longer.
    pub(crate) fn look(&self, arm: &Target, now: Moment) {
        if arm.choosing.ejection.compares() && arm.role != SplitRole::Candidate {
            self.compare(arm, now);
        }
        self.hold_floor(arm, now);
        let (all, healthy) = (arm.endpoints.len(), healthy_in(&arm.endpoints, now));
        let panic = arm.choosing.ejection.is_panic(all, healthy);
        if let Some(zones) = &arm.zones {
            zones.look(arm, healthy_in(&zones.near, now));
        }
        let version = arm.label.as_str();
        match (self.panic.swap(panic, Ordering::Relaxed), panic) {
            (false, true) => {
                tracing::warn!(version, healthy, all, "too few of the instances are healthy; asking all");
            }
            (true, false) => {
                tracing::info!(version, healthy, all, "enough instances are healthy again");
            }
            _ => {}
        }
    }
}

impl ArmHealth {
    /// Returns how often an instance was asked on, or again, because too few would have been left.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Takes instances in again where others left the table and too few would be asked, those first that would come back first; says in the log when it
    /// begins to hold some.
    fn hold_floor(&self, arm: &Target, now: Moment) {
        let rule = &arm.choosing.ejection;
        if let Ok(_alone) = self.taking_out.try_lock() {
            let mut out: Vec<_> = arm.endpoints.iter().filter(|it| it.instance.is_out(now)).collect();
            out.sort_by_key(|it| it.instance.back_at());
            for endpoint in out.iter().take(rule.back(arm.endpoints.len(), out.len())) {
                endpoint.instance.take_in(now);
                self.held.fetch_add(1, Ordering::Relaxed);
            }
        }
        let held = self.held();
        let before = self.held_before.swap(held, Ordering::Relaxed);
        if before == 0 && held > 0 {
            let (version, instances) = (arm.label.as_str(), arm.endpoints.len());
            let floor = rule.stay(instances);
            tracing::warn!(
                version,
                instances,
                floor,
                "an instance that would be left alone is asked, because too few would be left"
            );
        }
    }
}

fn healthy_in(endpoints: &[Arc<Endpoint>], now: Moment) -> usize {
    let healthy = |it: &&Arc<Endpoint>| !it.instance.is_out(now) && !it.instance.is_avoided(now);
    endpoints.iter().filter(healthy).count()
}

impl ArmHealth {
    /// Takes out those that do worse than the others.
    fn compare(&self, arm: &Target, now: Moment) {
        let rule = &arm.choosing.ejection;
        let present = |it: &Arc<Endpoint>| (it.instance.address, it.instance.counted());
        let counted: BTreeMap<_, _> = arm.endpoints.iter().map(present).collect();
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.push_back((now, counted));
        let window = rule.window_ms * 1_000;
        while history.front().is_some_and(|(at, _)| now.since(*at) > window) {
            history.pop_front();
        }
        let lately: Vec<_> = arm.endpoints.iter().map(|it| since(&history, it)).collect();
        drop(history);
        for (place, outlier) in rule.outliers(&lately) {
            take_out_outlier(arm, &arm.endpoints[place], now, outlier);
        }
    }
}

/// What was counted of an instance in the window, but nothing of before it came back.
fn since(history: &VecDeque<(Moment, BTreeMap<SocketAddr, Counted>)>, endpoint: &Endpoint) -> Counted {
    let (address, back) = (endpoint.instance.address, endpoint.instance.back_at());
    let mut seen = history.iter().filter(|(at, _)| *at >= back).filter_map(|(_, all)| all.get(&address));
    let before = seen.next().copied().unwrap_or_default();
    let now = seen.next_back().copied().unwrap_or(before);
    Counted {
        requests: now.requests.saturating_sub(before.requests),
        failures: now.failures.saturating_sub(before.failures),
        total_us: now.total_us.saturating_sub(before.total_us),
    }
}

/// Takes an instance out where others are left; returns for how long.
fn take_out(arm: &Target, endpoint: &Endpoint, now: Moment) -> Option<Duration> {
    // Another worker that is at it decides; a further failure or look will ask again.
    let _alone = arm.health.taking_out.try_lock().ok()?;
    let out = arm.endpoints.iter().filter(|it| it.instance.is_out(now)).count();
    let rule = &arm.choosing.ejection;
    if endpoint.instance.is_out(now) {
        return None;
    }
    match rule.room(arm.endpoints.len(), out) {
        Room::Free => Some(endpoint.instance.take_out(rule, now)),
        Room::Full => None,
        Room::Floor => {
            arm.health.held.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// Takes an instance out that does worse than the others.
fn take_out_outlier(arm: &Target, endpoint: &Endpoint, now: Moment, why: Outlier) {
    let Some(time) = take_out(arm, endpoint, now) else { return };
    let (version, address, seconds) = (arm.label.as_str(), endpoint.instance.address, time.as_secs());
    match why {
        Outlier::Fails(percent) => {
            tracing::warn!(version, %address, seconds, percent, "an instance that fails more than others is left alone");
        }
        Outlier::Slow(times) => {
            tracing::warn!(version, %address, seconds, times, "an instance that is slower than others is left alone");
        }
    }
}

/// Notes that an instance failed a request, and takes it out when it does so again and again and others are left.
pub(crate) fn note_failure(arm: &Target, endpoint: &Endpoint, now: Moment) {
    if !endpoint.instance.failed(&arm.choosing.ejection) || arm.role == SplitRole::Candidate {
        return;
    }
    let Some(time) = take_out(arm, endpoint, now) else { return };
    let (version, address) = (arm.label.as_str(), endpoint.instance.address);
    tracing::warn!(version, %address, seconds = time.as_secs(), "an instance that fails again and again is left alone");
    arm.health.look(arm, now);
}

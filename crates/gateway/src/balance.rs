//! Which instance gets a request: the less busy and faster of two random ones, and others when those do not serve.
//!
//! An arm on trial is balanced by requests under way alone, and none of its instances is taken out: what fails there is
//! what the trial is about, and must not be sorted out before it is counted.

#[cfg(test)]
mod simulation;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lockstep_domain::routes::SplitRole;

use crate::affinity::Affinity;
use crate::ejection::{has_room, is_panic};
use crate::endpoint::{Endpoint, Lease};
use crate::latency::{Load, second_is_better};
use crate::moment::Moment;
use crate::random::Random;
use crate::table::{ServiceTargets, Target};

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
        [only] => Some(only).filter(|it| !is_tried(it, search.tried)).and_then(Endpoint::lease),
        many => two_choices(arm, many, search),
    })?;
    Some(Pick { target, lease })
}

/// Picks the instance that a client is kept at, while that serves.
fn kept(arm: &Target, affinity: &Affinity, search: Search<'_>) -> Option<Lease> {
    affinity.choose(&arm.endpoints, &arm.leaving, |it| search.serves(arm, it))?.lease()
}

fn two_choices(arm: &Target, endpoints: &[Arc<Endpoint>], search: Search<'_>) -> Option<Lease> {
    let Search { tried, random, now, .. } = search;
    let serves = |it: &Arc<Endpoint>| search.serves(arm, it);
    let (first, second) = draw(endpoints, random);
    if serves(first)
        && serves(second)
        && let Some(lease) = better(arm, first, second, now).lease()
    {
        return Some(lease);
    }
    let serving: Vec<_> = endpoints.iter().filter(|it| serves(it)).cloned().collect();
    let lease = match serving.as_slice() {
        [] => None,
        [only] => only.lease(),
        many => {
            let (first, second) = draw(many, random);
            better(arm, first, second, now).lease()
        }
    };
    lease.or_else(|| last_resort(endpoints, tried, now))
}

/// Draws two different ones of at least two.
fn draw<'e>(endpoints: &'e [Arc<Endpoint>], random: &Random) -> (&'e Arc<Endpoint>, &'e Arc<Endpoint>) {
    let first = random.below(endpoints.len());
    let second = (first + 1 + random.below(endpoints.len() - 1)) % endpoints.len();
    (&endpoints[first], &endpoints[second])
}

fn better<'e>(
    arm: &Target,
    first: &'e Arc<Endpoint>,
    second: &'e Arc<Endpoint>,
    now: Moment,
) -> &'e Arc<Endpoint> {
    let load = |it: &Arc<Endpoint>| match arm.role {
        SplitRole::Stable | SplitRole::Pinned => it.instance.load(now),
        SplitRole::Candidate => Load { under_way: it.instance.in_flight(), latency: None },
    };
    if second_is_better(load(first), load(second)) { second } else { first }
}

/// None serves well: a doubtful answer is better than none.
fn last_resort(endpoints: &[Arc<Endpoint>], tried: &[Arc<Endpoint>], now: Moment) -> Option<Lease> {
    let mut rest: Vec<_> = endpoints.iter().filter(|it| !is_tried(it, tried)).collect();
    rest.sort_by_key(|it| (it.instance.is_avoided(now), it.instance.in_flight()));
    rest.into_iter().find_map(Endpoint::lease)
}

fn is_tried(endpoint: &Arc<Endpoint>, tried: &[Arc<Endpoint>]) -> bool {
    // By address: whatever name it has, what listens there is the same program.
    tried.iter().any(|it| it.instance.address == endpoint.instance.address)
}

/// What all workers know of the instances of an arm together.
#[derive(Debug, Default)]
pub(crate) struct ArmHealth {
    panic: AtomicBool,
    /// Held while one is taken out, so that two workers do not take out one each.
    taking_out: Mutex<()>,
}

impl ArmHealth {
    /// Tells whether so few instances are healthy that all are asked.
    fn is_panic(&self) -> bool {
        self.panic.load(Ordering::Relaxed)
    }

    /// Looks at all instances of the arm, and says in the log when it comes to ask all of them, and when no longer.
    pub(crate) fn look(&self, arm: &Target, now: Moment) {
        let healthy = |it: &&Arc<Endpoint>| !it.instance.is_out(now) && !it.instance.is_avoided(now);
        let (all, healthy) = (arm.endpoints.len(), arm.endpoints.iter().filter(healthy).count());
        let (panic, version) = (is_panic(all, healthy), arm.label.as_str());
        match (self.panic.swap(panic, Ordering::Relaxed), panic) {
            (false, true) => {
                tracing::warn!(
                    version,
                    healthy,
                    all,
                    "fewer than half of the instances are healthy; asking all"
                );
            }
            (true, false) => {
                tracing::info!(version, healthy, all, "enough instances are healthy again");
            }
            _ => {}
        }
    }
}

/// Notes that an instance failed a request, and takes it out when it does so again and again and others are left.
pub(crate) fn note_failure(arm: &Target, endpoint: &Endpoint, now: Moment) {
    if !endpoint.instance.failed() || arm.role == SplitRole::Candidate {
        return;
    }
    // Another worker that is at it decides; a further failure will ask again.
    let Ok(_alone) = arm.health.taking_out.try_lock() else { return };
    let out = arm.endpoints.iter().filter(|it| it.instance.is_out(now)).count();
    if endpoint.instance.is_out(now) || !has_room(arm.endpoints.len(), out) {
        return;
    }
    let time = endpoint.instance.take_out(now);
    let (version, address) = (arm.label.as_str(), endpoint.instance.address);
    tracing::warn!(version, %address, seconds = time.as_secs(), "an instance that fails again and again is left alone");
    arm.health.look(arm, now);
}

//! Which instance gets a request: the less busy of two random ones, and others when those refuse connections.

use std::sync::Arc;

use crate::endpoint::{Endpoint, Lease};
use crate::random::Random;
use crate::table::ServiceTargets;

/// An instance that was chosen for a request, and the arm it belongs to.
#[derive(Debug)]
pub(crate) struct Pick {
    /// Index of the arm in the service's targets.
    pub(crate) target: usize,
    pub(crate) lease: Lease,
}

impl Pick {
    /// Tells whether connections to the instance could be opened lately.
    fn is_good(&self) -> bool {
        !self.lease.endpoint().is_avoided()
    }
}

/// Picks an instance of the arm `wanted`; when none is left there or all refused connections just now, of the stable
/// arm, then of any other.
///
/// Instances in `tried` are passed over. Returns `None` when there is no other instance.
pub(crate) fn pick(
    service: &ServiceTargets,
    wanted: usize,
    tried: &[Arc<Endpoint>],
    random: &Random,
) -> Option<Pick> {
    let own = pick_in(service, wanted, tried, random);
    if own.as_ref().is_some_and(Pick::is_good) {
        return own;
    }
    let stable = service.stable();
    let others = (0..service.targets.len()).rev().filter(|&index| Some(index) != stable);
    let mut order = stable.into_iter().chain(others).filter(|&index| index != wanted);
    let fits = |pick: &Pick| own.is_none() || pick.is_good();
    order.find_map(|target| pick_in(service, target, tried, random).filter(fits)).or(own)
}

/// Picks an instance of exactly this arm.
pub(crate) fn pick_in(
    service: &ServiceTargets,
    target: usize,
    tried: &[Arc<Endpoint>],
    random: &Random,
) -> Option<Pick> {
    let endpoints = &service.targets.get(target)?.endpoints;
    let lease = match endpoints.as_slice() {
        [] => None,
        [only] => Some(only).filter(|it| !is_tried(it, tried)).and_then(Endpoint::lease),
        many => two_choices(many, tried, random),
    }?;
    Some(Pick { target, lease })
}

fn two_choices(endpoints: &[Arc<Endpoint>], tried: &[Arc<Endpoint>], random: &Random) -> Option<Lease> {
    let first = random.below(endpoints.len());
    let second = (first + 1 + random.below(endpoints.len() - 1)) % endpoints.len();
    let (first, second) = (&endpoints[first], &endpoints[second]);
    let better = if second.in_flight() < first.in_flight() { second } else { first };
    if !better.is_avoided()
        && !is_tried(better, tried)
        && let Some(lease) = better.lease()
    {
        return Some(lease);
    }
    let mut rest: Vec<_> = endpoints.iter().filter(|it| !is_tried(it, tried)).collect();
    rest.sort_by_key(|it| (it.is_avoided(), it.in_flight()));
    rest.into_iter().find_map(Endpoint::lease)
}

fn is_tried(endpoint: &Arc<Endpoint>, tried: &[Arc<Endpoint>]) -> bool {
    // By address: whatever name it has, what listens there is the same program.
    tried.iter().any(|it| it.address == endpoint.address)
}

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

/// Picks an instance of the arm `wanted`; when none is left there, of the stable arm, then of any other.
///
/// Instances in `tried` are passed over. Returns `None` when there is no other instance.
pub(crate) fn pick(
    service: &ServiceTargets,
    wanted: usize,
    tried: &[Arc<Endpoint>],
    random: &Random,
) -> Option<Pick> {
    pick_in(service, wanted, tried, random).or_else(|| {
        let stable = service.stable();
        let others =
            (0..service.targets.len()).rev().filter(|&index| index != wanted && Some(index) != stable);
        let order = stable.filter(|&index| index != wanted).into_iter().chain(others);
        order.into_iter().find_map(|target| pick_in(service, target, tried, random))
    })
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
    tried.iter().any(|it| Arc::ptr_eq(it, endpoint))
}

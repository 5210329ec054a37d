//! Instances of the gateway's own zone first, as long as enough of them are healthy.
//!
//! How much stays in the zone follows Envoy's priority levels, as Istio uses them for localities: each healthy instance counts for
//! [`OVERPROVISIONED`], so nothing leaves the zone while more than five of seven are healthy, and after that as much as the others cannot carry.
//! Invariant: the version is chosen before, and its share does not change by it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use lockstep_domain::ZoneName;
use lockstep_domain::routes::{FULL_WEIGHT, Split};

use crate::balance::{Search, among};
use crate::endpoint::{Endpoint, Lease};
use crate::table::Target;

/// How many times its own part of the requests an instance is thought to carry, in hundredths: Envoy's `overprovisioning_factor`.
const OVERPROVISIONED: u64 = 140;

/// The instances of an arm by zone.
#[derive(Debug)]
pub(crate) struct Zones {
    /// Those that stand in the zone of the gateway; at least one.
    pub(crate) near: Vec<Arc<Endpoint>>,
    /// All others, those of which nobody knows where they stand as well; at least one.
    pub(crate) far: Vec<Arc<Endpoint>>,
}

/// How the requests of an arm are spread over zones, for all workers.
#[derive(Debug)]
pub(crate) struct Spread {
    /// The part that stays in the zone, in 1/10,000.
    near: AtomicU32,
    /// Requests that stayed, and that did not.
    counts: [AtomicU64; 2],
}

impl Default for Spread {
    fn default() -> Self {
        Self { near: AtomicU32::new(FULL_WEIGHT), counts: Default::default() }
    }
}

impl Spread {
    /// Returns how many requests went to instances of the zone, and to others.
    pub(crate) fn read(&self) -> [u64; 2] {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

impl Zones {
    /// Sorts the instances of a split; nothing where there is no choice.
    pub(crate) fn of(
        zone: Option<&ZoneName>,
        split: &Split,
        endpoints: &[Arc<Endpoint>],
    ) -> Option<Box<Self>> {
        let zone = Some(zone?);
        let placed = split.endpoints.iter().filter(|it| it.zone.as_ref() == zone);
        let here: BTreeSet<SocketAddr> = placed.map(|it| it.address).collect();
        let is_near = |it: &Arc<Endpoint>| here.contains(&it.instance.address);
        let (near, far): (Vec<_>, Vec<_>) = endpoints.iter().cloned().partition(is_near);
        (!near.is_empty() && !far.is_empty()).then(|| Box::new(Self { near, far }))
    }

    /// Picks an instance that serves well, of the zone where that can carry the request.
    pub(crate) fn choose(&self, arm: &Target, search: Search<'_>) -> Option<Lease> {
        if arm.health.is_panic() {
            // So few are healthy that each counts, wherever it stands.
            let lease = among(arm, &arm.endpoints, search)?;
            let is_near = self.near.iter().any(|it| Arc::ptr_eq(it, lease.endpoint()));
            return Some(self.counted(arm, lease, is_near));
        }
        let share = arm.health.spread.near.load(Ordering::Relaxed);
        let stays = share >= FULL_WEIGHT || search.random.below(FULL_WEIGHT as usize) < share as usize;
        let near = || among(arm, &self.near, search).map(|lease| (lease, true));
        let far = || among(arm, &self.far, search).map(|lease| (lease, false));
        let (lease, is_near) = if stays { near().or_else(far) } else { far().or_else(near) }?;
        Some(self.counted(arm, lease, is_near))
    }

    fn counted(&self, arm: &Target, lease: Lease, is_near: bool) -> Lease {
        arm.health.spread.counts[usize::from(!is_near)].fetch_add(1, Ordering::Relaxed);
        lease
    }

    /// Takes in how many instances of the zone are healthy, and says in the log when requests begin to leave it, and when no longer.
    pub(crate) fn look(&self, arm: &Target, healthy: usize) {
        let (version, all) = (arm.label.as_str(), self.near.len());
        let now = share(healthy, all);
        let before = arm.health.spread.near.swap(now, Ordering::Relaxed);
        if before == FULL_WEIGHT && now < FULL_WEIGHT {
            tracing::warn!(
                version,
                healthy,
                all,
                "too few of the instances of this zone are healthy; some requests go to others"
            );
        } else if before < FULL_WEIGHT && now == FULL_WEIGHT {
            tracing::info!(version, healthy, all, "all requests stay in this zone again");
        }
    }
}

/// Returns the part of requests that stays in a zone of so many healthy instances, in 1/10,000.
fn share(healthy: usize, all: usize) -> u32 {
    let carried = healthy as u64 * OVERPROVISIONED * u64::from(FULL_WEIGHT) / (all.max(1) as u64 * 100);
    u32::try_from(carried).unwrap_or(FULL_WEIGHT).min(FULL_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_a_zone_before_two_of_seven_are_gone() {
        let shares = [(7, 7), (6, 7), (5, 7), (4, 7), (1, 2), (1, 1), (0, 3), (2, 3)];
        let shares = shares.map(|(healthy, all)| share(healthy, all));
        assert_eq!(shares, [10_000, 10_000, 10_000, 8_000, 7_000, 10_000, 0, 9_333]);
    }
}

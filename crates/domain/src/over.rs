//! What is over: how long it is shown.

use std::collections::BTreeMap;

use crate::instance::Instance;
use crate::name::ServiceName;
use crate::time::Timestamp;

/// An instance that is over is shown for this time. What it leaves behind is not a matter of this: its driver puts that away.
pub const KEEP_OVER_MS: u64 = 60 * 60 * 1_000;
/// Most instances of a service that are over and shown: enough to see a crash loop, and why an operation was taken back.
pub const MAX_OVER: usize = 5;

/// The instances that are over and not shown any more: the old ones, and of each service all but the newest.
pub(crate) fn forgotten(instances: &[Instance], now: Timestamp) -> Vec<&Instance> {
    let mut over: Vec<_> = instances.iter().filter(|instance| instance.state.is_over()).collect();
    over.sort_by_key(|instance| (std::cmp::Reverse(instance.since), &instance.id));
    let mut shown: BTreeMap<&ServiceName, usize> = BTreeMap::new();
    over.retain(|instance| {
        let newer = shown.entry(&instance.arm.service).or_default();
        *newer += 1;
        *newer > MAX_OVER || now >= instance.since.plus_ms(KEEP_OVER_MS)
    });
    over
}

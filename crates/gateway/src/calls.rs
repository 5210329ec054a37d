//! Who calls whom: what instances asked for, by the version that called and the one that answered.
//!
//! What is counted is bounded: only what proves to be an instance calls, only arms of the table answer, and of versions that are no callers of
//! the table any more only so many are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use lockstep_domain::{Arm, InstanceId, ServiceName};

use crate::counts::CLASSES;

/// Pairs that are kept although nobody calls so any more. Beyond it they are forgotten.
const MAX_FORMER: usize = 1_024;
/// Pairs that are counted: an instance could say that it is one version after the other.
const MAX_PAIRS: usize = 65_536;

/// A listener at which one instance calls one service.
#[derive(Debug)]
pub(crate) struct CallPoint {
    pub(crate) instance: InstanceId,
    /// By the name under which it is required.
    pub(crate) service: ServiceName,
    /// What the instance is a copy of; its service may be renamed.
    pub(crate) caller: ArcSwap<Arm>,
    /// The user whose process the instance is; not known of one that is about to start.
    pub(crate) user: AtomicU32,
}

/// A version that called, and what answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) caller: Arc<Arm>,
    /// By the name under which it is required, where none of it answered.
    pub(crate) service: ServiceName,
    /// What was asked; nothing where the gateway answered itself.
    pub(crate) callee: Option<Arm>,
}

/// How many calls ended with which class of status; the last is for connections that passed bytes.
pub(crate) type Classes = [u64; CLASSES.len() + 1];

/// Names of the classes.
pub(crate) fn classes() -> impl Iterator<Item = &'static str> {
    CLASSES.into_iter().chain(["tcp"])
}

/// Calls as one worker counted them.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    counted: Mutex<BTreeMap<Call, Classes>>,
}

impl Calls {
    /// Counts a call that is over.
    pub(crate) fn count(&self, caller: &Arc<Arm>, service: &ServiceName, callee: Option<&Arm>, status: u16) {
        self.add((caller, service), callee, usize::from(status / 100).min(CLASSES.len() - 1));
    }

    /// Counts a connection that is over, and whether any bytes could be passed on it.
    pub(crate) fn count_connection(&self, point: &CallPoint, callee: Option<&Arm>, passed: bool) {
        let service = callee.map_or(&point.service, |arm| &arm.service);
        self.add((&point.caller.load_full(), service), callee, if passed { CLASSES.len() } else { 0 });
    }

    fn add(&self, (caller, service): (&Arc<Arm>, &ServiceName), callee: Option<&Arm>, class: usize) {
        let call = Call { caller: Arc::clone(caller), service: service.clone(), callee: callee.cloned() };
        let mut counted = self.lock();
        if counted.len() < MAX_PAIRS || counted.contains_key(&call) {
            counted.entry(call).or_default()[class] += 1;
        }
    }

    /// Adds what was counted to `sums`.
    pub(crate) fn add_to(&self, sums: &mut BTreeMap<Call, Classes>) {
        for (call, classes) in self.lock().iter() {
            let sum = sums.entry(call.clone()).or_default();
            sum.iter_mut().zip(classes).for_each(|(sum, more)| *sum += more);
        }
    }

    /// Forgets pairs that nobody is any more, when there are too many.
    pub(crate) fn keep(&self, callers: &BTreeSet<&Arm>) {
        let mut counted = self.lock();
        let former = |call: &Call| !callers.contains(&*call.caller);
        let excess = counted.keys().filter(|call| former(call)).count().saturating_sub(MAX_FORMER);
        let gone: Vec<_> = counted.keys().filter(|call| former(call)).take(excess).cloned().collect();
        gone.iter().for_each(|call| {
            counted.remove(call);
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Call, Classes>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::{ConfigRevision, VersionNumber};

    use super::*;

    fn arm(service: &str, major: u64) -> Arm {
        let service = service.parse().unwrap();
        Arm { service, version: VersionNumber::new(major, 0, 0), config: ConfigRevision(0), process: None }
    }

    #[test]
    fn former_pairs_are_forgotten_when_there_are_too_many_and_present_ones_never() {
        let calls = Calls::default();
        let point = CallPoint {
            instance: "web-1".parse().unwrap(),
            service: "api".parse().unwrap(),
            caller: ArcSwap::from_pointee(arm("web", 0)),
            user: AtomicU32::new(0),
        };
        let versions = MAX_FORMER as u64 + 5;
        for version in 0..versions {
            point.caller.store(Arc::new(arm("web", version)));
            calls.count(&point.caller.load_full(), &point.service, Some(&arm("api", 1)), 200);
        }
        calls.count(&point.caller.load_full(), &point.service, None, 503);
        calls.keep(&BTreeSet::from([&arm("web", 0), &arm("web", versions - 1)]));
        let mut sums = BTreeMap::new();
        calls.add_to(&mut sums);
        let has = |version| sums.keys().any(|call: &Call| *call.caller == arm("web", version));
        assert!(has(0) && has(versions - 1) && !has(1));
        assert_eq!(sums.len(), MAX_FORMER + 3);
        let own = sums.iter().find(|(call, _)| call.callee.is_none()).unwrap();
        assert_eq!(own.1, &[0, 0, 0, 0, 0, 1, 0]);
    }
}

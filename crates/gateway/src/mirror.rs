//! Copies of requests for a version that is tried: the client gets nothing of them and waits for nothing, and the answers are compared.
//!
//! A copy is sent once the answer to its original has passed as a whole, in a task of its own that no connection waits for. Invariant:
//! no more than [`MAX_UNDER_WAY`] copies of a mirror are under way at a time, and none is counted for the version but here: not in its
//! traffic, not for a verdict, not for the health of its instances.

mod ask;
mod plan;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lockstep_domain::ServiceName;
use lockstep_domain::mirror::{Compared, Mirror, MirrorCounts, Mirrored, SplitMirror};
use lockstep_domain::routes::{RouteTable, ServiceRoutes, SplitRole};

pub(crate) use plan::{Plan, settle};

/// Copies of one mirror that are under way at a gateway, of all workers together: what an instance takes that is tried, and at 16 KiB of
/// a request and 64 KiB of an answer each no more than 10 MB.
const MAX_UNDER_WAY: usize = 64;
/// Mirrors that left the table and of which is still told what they found. Beyond it those are forgotten first that are oldest.
const MAX_FORMER: usize = 64;
/// The header by which a service can tell a copy from a request of a client.
pub(crate) const HEADER: &str = "lockstep-mirrored";

/// What copies of the requests of one service are made of, as a worker uses it.
#[derive(Debug)]
pub(crate) struct Copies {
    pub(crate) state: Arc<MirrorState>,
    /// Index of the arm in the service's targets.
    pub(crate) target: usize,
    pub(crate) which: Mirror,
}

impl Copies {
    /// Finds what a service of a table copies; `None` where that is nothing, or its version has requests of its own.
    pub(crate) fn of(routes: &ServiceRoutes, mirrors: &Mirrors) -> Option<Self> {
        let mirror = routes.mirror.as_ref()?;
        let leads_to = |split: &&lockstep_domain::routes::Split| {
            mirror.leads_to(&split.version, split.config) && split.role == SplitRole::Pinned
        };
        let target = routes.splits.iter().position(|split| leads_to(&split))?;
        Some(Self { state: Arc::clone(mirrors.known.get(&mirror.id)?), target, which: mirror.copies })
    }
}

/// The mirrors of an environment, for all workers.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    known: BTreeMap<u64, Arc<MirrorState>>,
}

/// What one mirror does and found, for all workers.
#[derive(Debug)]
pub(crate) struct MirrorState {
    pub(crate) id: u64,
    /// The version that gets the copies.
    label: String,
    under_way: AtomicUsize,
    dropped: AtomicU64,
    uncopied: AtomicU64,
    found: Mutex<MirrorCounts>,
}

/// A place among the copies that are under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<MirrorState>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Mirrors {
    /// Takes in the mirrors of a table. What one found stays as long as it comes back.
    pub(crate) fn follow(&mut self, table: &RouteTable) {
        for (service, mirror) in mirrors(table) {
            let state = || Arc::new(MirrorState::new(service, mirror));
            self.known.entry(mirror.id).or_insert_with(state);
        }
        let current: Vec<u64> = mirrors(table).map(|(_, mirror)| mirror.id).collect();
        while self.known.len() > current.len() + MAX_FORMER {
            let Some(oldest) = self.known.keys().find(|id| !current.contains(id)).copied() else { return };
            self.known.remove(&oldest);
        }
    }

    /// Returns what was found.
    pub(crate) fn read(&self) -> Vec<Mirrored> {
        self.known.values().map(|state| Mirrored { id: state.id, counts: state.read() }).collect()
    }

    /// Returns what was found, by the names of the versions.
    pub(crate) fn by_version(&self) -> Vec<(String, MirrorCounts)> {
        let mut sums = BTreeMap::<String, MirrorCounts>::new();
        for state in self.known.values() {
            sums.entry(state.label.clone()).or_default().add(&state.read());
        }
        sums.into_iter().collect()
    }
}

/// Goes through the mirrors of a table.
pub(crate) fn mirrors(table: &RouteTable) -> impl Iterator<Item = (&ServiceName, &SplitMirror)> {
    table.services.iter().filter_map(|(service, routes)| Some((service, routes.mirror.as_ref()?)))
}

impl MirrorState {
    fn new(service: &ServiceName, mirror: &SplitMirror) -> Self {
        Self {
            id: mirror.id,
            label: format!("{service}@{}", mirror.version),
            under_way: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            uncopied: AtomicU64::new(0),
            found: Mutex::default(),
        }
    }

    /// Takes a place for a copy; `None`, and counted, when there is none.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        if self.under_way.fetch_add(1, Ordering::Relaxed) < MAX_UNDER_WAY {
            return Some(Place(Arc::clone(self)));
        }
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.dropped.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// Counts a request that cannot be copied.
    pub(crate) fn count_uncopied(&self) {
        self.uncopied.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a copy that is over.
    pub(crate) fn note(&self, compared: Compared) {
        self.found().note(compared);
    }

    fn read(&self) -> MirrorCounts {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let uncopied = self.uncopied.load(Ordering::Relaxed);
        MirrorCounts { dropped, uncopied, ..self.found().clone() }
    }

    fn found(&self) -> MutexGuard<'_, MirrorCounts> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(id: u64) -> Arc<MirrorState> {
        let version = "1.1.0".parse().unwrap();
        let copies = Mirror { share: 1, unsafe_methods: false };
        let mirror = SplitMirror { id, version, config: lockstep_domain::ConfigRevision(0), copies };
        Arc::new(MirrorState::new(&"shop".parse().unwrap(), &mirror))
    }

    #[test]
    fn no_more_copies_are_under_way_than_may_be_and_the_others_are_counted() {
        let state = state(7);
        let places: Vec<_> = (0..MAX_UNDER_WAY + 3).filter_map(|_| state.enter()).collect();
        assert_eq!((places.len(), state.read().dropped), (MAX_UNDER_WAY, 3));
        drop(places);
        assert!(state.enter().is_some());
        assert_eq!(state.under_way.load(Ordering::Relaxed), 0);
    }
}

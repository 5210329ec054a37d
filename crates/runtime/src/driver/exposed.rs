//! Which instances of the driver listen where others than this machine reach them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lockstep_domain::InstanceId;

use super::LocalDriver;
use crate::process::exposed::{all_listeners, belongs, holders, listeners};
use crate::process::marker_of;
use crate::status::Status;

/// How long an answer is given again: to look at every process costs some milliseconds, and many may ask.
const FRESH: Duration = Duration::from_secs(2);

/// What was found last, and when.
#[derive(Debug, Default)]
pub(super) struct Exposed(Mutex<Option<(Instant, Found)>>);

type Found = BTreeMap<InstanceId, BTreeSet<SocketAddr>>;

impl LocalDriver {
    /// Returns where instances listen for more than this machine, as far as this user can see it: at most two seconds old.
    #[must_use]
    pub fn exposed(&self) -> Found {
        let mut last = self.shared.exposed.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, found)) if at.elapsed() < FRESH => found.clone(),
            _ => {
                let found = self.look_for_exposed();
                *last = Some((Instant::now(), found.clone()));
                found
            }
        }
    }

    /// Returns where instances listen, as far as this user can see it.
    #[must_use]
    pub fn listening(&self) -> BTreeMap<InstanceId, BTreeSet<SocketAddr>> {
        self.look_for(&all_listeners())
    }

    fn look_for_exposed(&self) -> Found {
        self.look_for(&listeners())
    }

    fn look_for(&self, sockets: &BTreeMap<u64, SocketAddr>) -> Found {
        if sockets.is_empty() {
            return Found::new();
        }
        let holders = holders(sockets);
        let alive = self.list().into_iter().filter(|instance| !instance.state.is_over());
        let all = alive.map(|instance| {
            let folder = self.shared.folder(&instance.id);
            let main = Status::read(&folder).ok().flatten().and_then(|status| status.process);
            let (marker, group) = (marker_of(folder.path()), main.map(|process| process.pid));
            let held = holders.iter().filter(|(pid, _)| belongs(*pid, &marker, group));
            (instance.id, held.flat_map(|(_, held)| held.iter().copied()).collect::<BTreeSet<_>>())
        });
        all.filter(|(_, held)| !held.is_empty()).collect()
    }
}

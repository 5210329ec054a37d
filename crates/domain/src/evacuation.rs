//! Evacuating a host by itself: how long it has not been reached, as far as that says something of it and not of our own line.
//!
//! What is counted is time that somebody looked, so neither a clock that was set nor a server that was held up makes a host older than it is. It is
//! kept in memory: a server that is started anew begins to count anew.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_judge::duration;

use crate::event::Event;
use crate::host::{Host, Stance};
use crate::lost_host::EvacuateAfter;
use crate::name::{EnvironmentName, HostName};
use crate::time::Timestamp;
use crate::world::World;

/// Most that one look counts: whoever looks more seldom was held up, and knows nothing of the time in between.
pub const MOST_A_LOOK_MS: u64 = 5_000;

/// For how long hosts have not been reached.
#[derive(Debug, Clone, Default)]
pub struct Evacuations(BTreeMap<HostName, Counted>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    ms: u64,
    mark: Mark,
}

/// What a person decided last: a host that was opened while it is away begins anew.
type Mark = (u64, Stance, Option<Timestamp>);

impl Evacuations {
    /// Counts the time that has passed since the last look, and returns which hosts are to be drained now. `occupied` are those on which
    /// something runs as far as is known. As long as most hosts are not reached, nothing is counted: it is our line then.
    pub fn look(
        &mut self,
        world: &World,
        (unreached, occupied): (&BTreeSet<HostName>, &BTreeSet<HostName>),
        passed_ms: u64,
    ) -> Vec<Event> {
        self.0.retain(|name, _| unreached.contains(name));
        let counts = unreached.len() * 2 <= world.hosts.len();
        let hosts = unreached.iter().filter_map(|name| world.hosts.get_key_value(name));
        let due = hosts.filter_map(|(name, host)| {
            let ms = self.count(name, host, if counts { passed_ms.min(MOST_A_LOOK_MS) } else { 0 });
            let (after_ms, environment) = evacuates_after(world, host)?;
            let is_due = ms >= after_ms && host.stance != Stance::Draining && occupied.contains(name);
            let reason =
                format!("it was not reached for {}, after which {environment} evacuates", duration(after_ms));
            is_due.then(|| Event::HostTurned { host: name.clone(), stance: Stance::Draining, reason })
        });
        due.collect()
    }

    fn count(&mut self, name: &HostName, host: &Host, passed_ms: u64) -> u64 {
        let mark = (host.record, host.stance, host.turned.as_ref().map(|turned| turned.since));
        match self.0.get_mut(name) {
            Some(counted) if counted.mark == mark => {
                counted.ms = counted.ms.saturating_add(passed_ms);
                counted.ms
            }
            _ => {
                self.0.insert(name.clone(), Counted { ms: 0, mark });
                0
            }
        }
    }
}

/// Returns after how long a host that is not reached is evacuated by itself, and which of its environments says so: the one that waits longest, and
/// `None` where one of them never does.
#[must_use]
pub fn evacuates_after<'a>(world: &World, host: &'a Host) -> Option<(u64, &'a EnvironmentName)> {
    let after = |name: &'a EnvironmentName| match world.environment(name)?.settings.lost_hosts.evacuate_after
    {
        EvacuateAfter::Never => None,
        EvacuateAfter::Ms(ms) => Some((ms, name)),
    };
    let all: Option<Vec<_>> = host.settings.environments.iter().map(after).collect();
    all?.into_iter().max()
}

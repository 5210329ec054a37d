//! Evacuating hosts by themselves, where their environments say after how long.

use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::Event;
use lockstep_domain::evacuation::Evacuations;
use lockstep_domain::host::Stance;
use tokio::time::{Instant, sleep};

use crate::{Control, ourselves};

/// How often it is looked which hosts are not reached.
const LOOK: Duration = Duration::from_secs(1);

impl Control {
    /// Drains hosts that were not reached for as long as their environments say.
    pub(crate) async fn look_after_lost_hosts(self: Arc<Self>) {
        let (mut evacuations, mut last) = (Evacuations::default(), Instant::now());
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(LOOK) => {}
            }
            let passed_ms = u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX);
            last = Instant::now();
            let world = self.ledger.world();
            let unreached = self.hosts.unreached(&world);
            let alive = self.hosts.instances().into_iter().filter(|it| !it.state.is_over());
            let occupied = alive.filter_map(|it| it.host).collect();
            for event in evacuations.look(&world, (&unreached, &occupied), passed_ms) {
                self.evacuate(&event);
            }
        }
    }

    /// Records that a host is drained, unless a person turned it meanwhile.
    fn evacuate(&self, event: &Event) {
        let Event::HostTurned { host: name, reason, .. } = event else { return };
        let before = self.ledger.world().hosts.get(name).cloned();
        let recorded = tokio::task::block_in_place(|| {
            self.ledger.commit(&ourselves(), |world, _| {
                let known = world.hosts.get(name);
                let is_as_seen =
                    known == before.as_ref() && known.is_some_and(|it| it.stance != Stance::Draining);
                Ok((if is_as_seen { vec![event.clone()] } else { Vec::new() }, ()))
            })
        });
        match recorded {
            Ok(()) => tracing::warn!(host = %name, reason, "the host is evacuated"),
            Err(problem) => tracing::error!(host = %name, %problem, "the host could not be evacuated"),
        }
    }
}

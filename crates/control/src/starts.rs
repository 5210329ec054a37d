//! Going back to what cannot be kept warm: artifacts that stay unpacked and checked on this host, and how long starts took.
//!
//! Invariant: an artifact is said to be ready only when it was found so, by a look that is not older than [`LOOK_AGAIN`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockstep_api::types::PreparedArm;
use lockstep_domain::observed::Observed;
use lockstep_domain::start::{is_wanted, outlook, works_unasked};
use lockstep_domain::ways_back::lost;
use lockstep_domain::{
    Arm, Digest, Environment, EnvironmentName, Event, InstanceId, InstanceState, ServiceName, Timestamp,
    World,
};

use crate::{Control, lock, ourselves};

/// How often it is looked whether artifacts are still what was unpacked.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How often it is looked whether they are there, and whether others are to be unpacked although nothing was recorded.
const LOOK: Duration = Duration::from_secs(1);
/// Starts that are measured at a time; of more than that nothing is learnt.
const MAX_MEASURED: usize = 10_000;

/// What is known of artifacts that are to be ready, and of starts that go on.
#[derive(Debug, Default)]
pub(crate) struct Starts {
    /// Each artifact that is to be ready: when it was looked at, and why it is not ready if it is not.
    looked: Mutex<BTreeMap<Digest, (Instant, Option<String>)>>,
    /// When instances were begun to be started, once their artifact was unpacked.
    begun: Mutex<BTreeMap<InstanceId, Instant>>,
}

impl Starts {
    /// Notes that an instance is being started.
    pub(crate) fn begin(&self, id: &InstanceId) {
        let mut begun = lock(&self.begun);
        if begun.len() < MAX_MEASURED {
            begun.insert(id.clone(), Instant::now());
        }
    }

    /// Forgets a start that failed, or of what is gone.
    pub(crate) fn forget(&self, id: &InstanceId) {
        lock(&self.begun).remove(id);
    }

    /// Returns how long the starts took that are over, and forgets them. One that failed or was told to end tells nothing.
    fn finished(&self, observed: &Observed) -> Vec<(Arm, u64)> {
        let mut begun = lock(&self.begun);
        if begun.is_empty() {
            return Vec::new();
        }
        let mut took = Vec::new();
        for instance in &observed.instances {
            if matches!(instance.state, InstanceState::Starting) && instance.restarts == 0 {
                continue;
            }
            let Some(since) = begun.remove(&instance.id) else { continue };
            if instance.state.is_healthy() && instance.restarts == 0 {
                let ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                took.push((instance.arm.clone(), ms));
            }
        }
        took
    }

    fn note(&self, digest: Digest, unprepared: Option<String>) {
        lock(&self.looked).insert(digest, (Instant::now(), unprepared));
    }

    /// Forgets what need not be ready any more; returns what is to be looked at now.
    fn due(&self, wanted: &BTreeSet<Digest>, is_there: impl Fn(&Digest) -> bool) -> Vec<Digest> {
        let mut looked = lock(&self.looked);
        looked.retain(|digest, _| wanted.contains(digest));
        let is_due = |digest: &&Digest| match looked.get(digest) {
            None => true,
            Some((_, None)) if !is_there(digest) => true,
            Some((at, _)) => at.elapsed() >= LOOK_AGAIN,
        };
        wanted.iter().filter(is_due).copied().collect()
    }
}

impl Control {
    /// Records how long starts of workers took that are over now.
    pub(crate) fn note_starts(&self, world: &World, environment: &Environment, observed: &Observed) {
        let took = self.starts.finished(observed);
        let of_workers = took.into_iter().filter(|(arm, _)| works_unasked(world, arm));
        for (arm, ms) in of_workers.filter(|(arm, _)| is_wanted(environment, arm)) {
            self.record_start(&environment.name, &arm, ms);
        }
    }

    fn record_start(&self, environment: &EnvironmentName, arm: &Arm, ms: u64) {
        let recorded = tokio::task::block_in_place(|| {
            self.ledger.commit(&ourselves(), |world, _| {
                let wanted = world.environment(environment).is_some_and(|it| is_wanted(it, arm));
                let event =
                    || Event::StartMeasured { environment: environment.clone(), arm: arm.clone(), ms };
                Ok((wanted.then(event).into_iter().collect(), ()))
            })
        });
        if let Err(problem) = recorded {
            tracing::warn!(%arm, %problem, "how long a start took could not be recorded");
        }
    }

    /// Keeps the artifacts unpacked of what is to be gone back to by a start.
    pub(crate) async fn look_after_starts(self: Arc<Self>) {
        let mut recorded = self.ledger.follow();
        loop {
            recorded.borrow_and_update();
            let (now, world) = self.ledger.look();
            let is_there = |digest: &Digest| self.driver.release_path(digest).is_dir();
            for digest in self.starts.due(&wanted(&world, now), is_there) {
                let _not_removed_meanwhile = self.unpacked.read().await;
                let unprepared = self.unpack(digest).await.err();
                if let Some(why) = &unprepared {
                    tracing::warn!(%digest, why = why.reason(), "an artifact that can be gone back to is not unpacked");
                }
                self.starts.note(digest, unprepared.map(|why| why.reason().to_owned()));
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = recorded.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// What of a service is kept ready on this host to be started.
    pub(crate) fn prepared(
        &self,
        world: &World,
        environment: &Environment,
        service: &ServiceName,
        now: Timestamp,
    ) -> Vec<PreparedArm> {
        let kept = environment.prepared.iter();
        let kept = kept.filter(|(arm, until)| arm.service == *service && now < **until);
        let prepared = kept.filter_map(|(arm, until)| {
            let start = outlook(world, environment, arm, self.unprepared(world, arm))?;
            let version = arm.version_ref();
            let refused = (!self.has_artifact(world, &version)).then(|| lost(&version));
            let left_ms = Some(until.since_ms(now));
            Some(PreparedArm { arm: arm.clone(), until: *until, left_ms, refused, start })
        });
        prepared.collect()
    }

    /// Says why the artifact of an arm is not ready on this host; `None` when it is.
    pub(crate) fn unprepared(&self, world: &World, arm: &Arm) -> Option<String> {
        let Some(version) = world.version(&arm.version_ref()) else {
            return Some("the version is not known".to_owned());
        };
        let digest = version.artifact.digest;
        let known = lock(&self.starts.looked).get(&digest).cloned();
        match known {
            None => Some("it is being looked at".to_owned()),
            Some((_, Some(why))) => Some(why),
            // Between two looks somebody may have removed it.
            Some((_, None)) if !self.driver.release_path(&digest).is_dir() => {
                Some("it is not where it was unpacked".to_owned())
            }
            Some((_, None)) => None,
        }
    }
}

/// The artifacts that are to be unpacked.
fn wanted(world: &World, now: Timestamp) -> BTreeSet<Digest> {
    let kept = world.environments.values().flat_map(|environment| {
        environment.prepared.keys().filter(move |arm| environment.keeps_prepared(arm, now))
    });
    kept.filter_map(|arm| Some(world.version(&arm.version_ref())?.artifact.digest)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_ready_is_looked_at_once_and_what_is_not_is_forgotten() {
        let starts = Starts::default();
        let (one, two) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        let both = BTreeSet::from([one, two]);
        let due = |wanted: &BTreeSet<Digest>| starts.due(wanted, |digest| *digest != two);
        assert_eq!(due(&both), [one, two]);
        starts.note(one, None);
        assert_eq!(due(&both), [two]);
        starts.note(two, None);
        assert_eq!(due(&both), [two], "its folder was lost");
        starts.note(two, Some("its artifact is gone".to_owned()));
        assert_eq!(due(&both), [], "that is looked at again later");
        due(&BTreeSet::from([two]));
        assert_eq!(due(&both), [one], "it was forgotten meanwhile");
    }
}

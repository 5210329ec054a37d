//! Artifacts that somebody wants where an environment runs before anything of them starts: for a day, and as long as this server runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockstep_api::Problem;
use lockstep_api::types::{PrefetchState, Prefetched, Sent};
use lockstep_domain::host::{Stance, is_on_hosts};
use lockstep_domain::{Digest, EnvironmentName, HostName, VersionRef, World};
use lockstep_hosts::HostState;
use lockstep_runtime::Unpacked;

use super::Hosts;
use super::link::Link;
use crate::environments::find;
use crate::services::find_version;
use crate::{Control, lock};

/// How long an artifact is wanted that nobody deploys.
const WANTED_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long a host may be away before somebody who waits is told.
const MOMENT: Duration = Duration::from_secs(10);
/// Most versions that are wanted at the same time: whoever asks for more gets the last ones.
const MOST: usize = 1_000;

/// Where an artifact is to be: on a host, or on the machine of the server.
type Place = Option<HostName>;

/// What is wanted ahead, and why some of it did not arrive.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    wanted: Mutex<BTreeMap<(EnvironmentName, VersionRef), (Digest, Instant)>>,
    failed: Mutex<BTreeMap<(Place, Digest), String>>,
}

impl Ahead {
    fn want(&self, environment: &EnvironmentName, versions: &BTreeMap<VersionRef, Digest>) {
        let until = Instant::now() + WANTED_FOR;
        let mut wanted = lock(&self.wanted);
        wanted.retain(|_, (_, until)| Instant::now() < *until);
        for (version, digest) in versions {
            wanted.insert((environment.clone(), version.clone()), (*digest, until));
        }
        while wanted.len() > MOST {
            let oldest = wanted.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| key.clone());
            if let Some(key) = oldest {
                wanted.remove(&key);
            }
        }
        lock(&self.failed).retain(|(_, digest), _| !versions.values().any(|wanted| wanted == digest));
    }

    fn of(&self, environment: &EnvironmentName) -> Vec<(VersionRef, Digest)> {
        let wanted = lock(&self.wanted);
        let is_wanted = |until: &Instant| Instant::now() < *until;
        let of_it = wanted.iter().filter(|((name, _), (_, until))| name == environment && is_wanted(until));
        of_it.map(|((_, version), (digest, _))| (version.clone(), *digest)).collect()
    }

    /// The artifacts that are wanted where these environments run.
    pub(super) fn artifacts(&self, environments: &BTreeSet<EnvironmentName>) -> BTreeSet<Digest> {
        environments.iter().flat_map(|name| self.of(name)).map(|(_, digest)| digest).collect()
    }

    /// Notes whether an artifact has arrived.
    pub(super) fn note(&self, place: Place, digest: Digest, why_not: Option<String>) {
        let mut failed = lock(&self.failed);
        match why_not {
            Some(why) => drop(failed.insert((place, digest), why)),
            None => drop(failed.remove(&(place, digest))),
        }
    }

    fn wants(&self, artifact: &Digest) -> bool {
        lock(&self.wanted).values().any(|(digest, until)| digest == artifact && Instant::now() < *until)
    }

    fn why_not(&self, place: &Place, digest: &Digest) -> Option<String> {
        lock(&self.failed).get(&(place.clone(), *digest)).cloned()
    }
}

impl Hosts {
    /// Says why an artifact stays unpacked that is wanted ahead.
    pub(crate) fn wanted_ahead(&self, artifact: &Digest) -> Option<&'static str> {
        self.ahead.wants(artifact).then_some("it was asked for ahead")
    }
}

impl Control {
    /// Begins to bring the artifacts of versions to where an environment runs, and starts nothing.
    ///
    /// # Errors
    /// When there is no such environment or version.
    pub async fn prefetch(
        self: &Arc<Self>,
        environment: &EnvironmentName,
        versions: &[VersionRef],
    ) -> Result<Vec<Prefetched>, Problem> {
        let world = self.ledger.world();
        find(&world, environment)?;
        let artifact = |version: &VersionRef| {
            let found = find_version(&world, version)?;
            Ok((version.clone(), found.artifact.digest))
        };
        let wanted = versions.iter().map(artifact).collect::<Result<BTreeMap<_, _>, Problem>>()?;
        self.hosts.ahead.want(environment, &wanted);
        // Somebody may have done something there meanwhile: it is looked again, and what was sent before does not count.
        for link in self.links_of(&world, environment) {
            wanted.values().for_each(|digest| link.look_again(digest));
        }
        if is_on_hosts(&world, environment) {
            self.hosts.look_again();
        } else {
            wanted.into_values().for_each(|digest| drop(tokio::spawn(Arc::clone(self).bring_here(digest))));
        }
        self.prefetched(environment).await
    }

    async fn bring_here(self: Arc<Self>, digest: Digest) {
        let _not_removed_meanwhile = self.unpacked.read().await;
        let brought = self.unpack(digest).await;
        self.hosts.ahead.note(None, digest, brought.err().map(|error| error.reason().to_owned()));
    }

    /// Tells how far the artifacts have come that are wanted ahead where an environment runs.
    ///
    /// # Errors
    /// When there is no such environment.
    pub async fn prefetched(&self, environment: &EnvironmentName) -> Result<Vec<Prefetched>, Problem> {
        let world = self.ledger.world();
        find(&world, environment)?;
        let mut rows = Vec::new();
        for (version, digest) in self.hosts.ahead.of(environment) {
            if is_on_hosts(&world, environment) {
                let links = self.links_of(&world, environment);
                rows.extend(links.iter().map(|link| self.row(link, &version, digest)));
            } else {
                rows.push(self.row_of_here(version, digest).await);
            }
        }
        Ok(rows)
    }

    fn links_of(&self, world: &World, environment: &EnvironmentName) -> Vec<Arc<Link>> {
        let is_of_it = |link: &Arc<Link>| {
            let host = world.hosts.get(&link.name).filter(|host| host.stance != Stance::Draining);
            host.is_some_and(|host| host.settings.environments.contains(environment))
        };
        self.hosts.links().into_iter().filter(is_of_it).collect()
    }

    fn row(&self, link: &Link, version: &VersionRef, digest: Digest) -> Prefetched {
        let host = Some(link.name.clone());
        let state = match link.state() {
            HostState::Away { since, .. } if since.elapsed() > MOMENT => PrefetchState::Away,
            HostState::Here(_) if link.lacking(&BTreeSet::from([digest])).is_empty() => PrefetchState::Here,
            HostState::Here(_) | HostState::Connecting | HostState::Away { .. } => {
                self.not_here(&host, &digest)
            }
        };
        let transfer = link.driver().transfer(&digest);
        let sent = transfer.map(|it| Sent { bytes: it.sent, of: it.bytes, whole: it.whole });
        Prefetched { version: version.clone(), host, state, sent }
    }

    async fn row_of_here(&self, version: VersionRef, digest: Digest) -> Prefetched {
        let state = match self.driver.unpacked(&digest).await {
            Unpacked::Good(_) => PrefetchState::Here,
            _ => self.not_here(&None, &digest),
        };
        Prefetched { version, host: None, state, sent: None }
    }

    fn not_here(&self, place: &Place, digest: &Digest) -> PrefetchState {
        let why = self.hosts.ahead.why_not(place, digest);
        why.map_or(PrefetchState::Coming, |why| PrefetchState::Failed { why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> Digest {
        Digest::from_bytes([number; 32])
    }

    #[test]
    fn what_is_wanted_is_of_one_environment_and_what_failed_is_forgotten_when_it_is_wanted_again() {
        let (ahead, production) = (Ahead::default(), "production".parse().unwrap());
        let version: VersionRef = "orders@1.0.0".parse().unwrap();
        let wanted = BTreeMap::from([(version.clone(), digest(1))]);
        ahead.want(&production, &wanted);
        assert_eq!(ahead.of(&production), [(version, digest(1))]);
        let both = BTreeSet::from([production.clone(), "staging".parse().unwrap()]);
        assert_eq!(ahead.artifacts(&both), BTreeSet::from([digest(1)]));
        assert!(ahead.of(&"staging".parse().unwrap()).is_empty());
        ahead.note(None, digest(1), Some("no room".to_owned()));
        assert_eq!(ahead.why_not(&None, &digest(1)).as_deref(), Some("no room"));
        assert_eq!(ahead.why_not(&Some("web1".parse().unwrap()), &digest(1)), None);
        ahead.want(&production, &wanted);
        assert_eq!(ahead.why_not(&None, &digest(1)), None);
    }

    #[test]
    fn who_asks_for_more_than_is_kept_gets_the_last() {
        let (ahead, production) = (Ahead::default(), "production".parse().unwrap());
        let version = |number: usize| -> VersionRef { format!("orders@1.0.{number}").parse().unwrap() };
        for number in 0..=MOST {
            ahead.want(&production, &BTreeMap::from([(version(number), digest(1))]));
        }
        let kept = ahead.of(&production);
        assert_eq!(kept.len(), MOST);
        assert!(!kept.iter().any(|(it, _)| *it == version(0)));
    }
}

//! The keys on disk, and when they are others.
//!
//! Two processes have the same folder while one takes over from the other. Whoever changes the keys first looks whether they are still those
//! that it has, and takes those that are there otherwise; so what is kept is what a process shows.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstep_domain::{Digest, EnvironmentName};

use super::Neighbours;
use super::identity::Identity;
use crate::follow::TableStore;
use crate::gateway::Gateway;

/// Longest stored file: two keys.
const MAX_BYTES: u64 = 4_096;

impl Gateway {
    /// Has keys by which other gateways of an environment know this one: those that are kept, or a new one; and exchanges them when that is
    /// due. Cheap where nothing is to be done, so it may be called all the time. Returns whether they are others now.
    pub fn keep_identity(&self, environment: &EnvironmentName, store: &TableStore, life: Duration) -> bool {
        let served = self.environment(environment);
        let neighbours = served.neighbours();
        let Some(present) = neighbours.identity() else {
            return match first(environment, store) {
                Some(identity) => {
                    neighbours.identify(Arc::new(identity));
                    true
                }
                None => false,
            };
        };
        let next = match present.next(life, &neighbours.known(), now_ms()) {
            Ok(Some(next)) => next,
            Ok(None) => return false,
            Err(error) => {
                tracing::error!(%environment, %error, "no key can be made");
                return false;
            }
        };
        // What another process of this gateway has kept was exchanged as this was; what somebody put there may be shown to nobody yet.
        let is_shown =
            |kept: &Identity| kept.digests().first().is_some_and(|key| neighbours.may_show(&present, key));
        let next = match store.identity(environment) {
            Some(kept) if kept.digests() != present.digests() && is_shown(&kept) => kept,
            _ => match store.keep_secret(&store.identity_path(environment), &next.text()) {
                Ok(()) => next,
                Err(error) => {
                    tracing::warn!(%environment, %error, "the keys between gateways are not exchanged: the next one cannot be kept");
                    return false;
                }
            },
        };
        tracing::info!(environment = %environment, keys = next.digests().len(), "the keys between gateways are exchanged");
        neighbours.identify(Arc::new(next));
        true
    }
}

impl Neighbours {
    /// Tells whether a key may be shown by who has others: it is one of these, or the table names it.
    fn may_show(&self, present: &Identity, key: &Digest) -> bool {
        present.digests().contains(key) || self.present.caller_of(key).is_some()
    }
}

fn first(environment: &EnvironmentName, store: &TableStore) -> Option<Identity> {
    if let Some(kept) = store.identity(environment) {
        return Some(kept);
    }
    let say = |error: &dyn std::fmt::Display| {
        tracing::error!(%environment, %error, "a key between gateways is not to be had, or ends with this process");
    };
    let made = Identity::make(now_ms()).inspect_err(|error| say(error)).ok()?;
    if let Err(error) = store.keep_secret(&store.identity_path(environment), &made.text()) {
        say(&error);
    }
    Some(made)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl TableStore {
    fn identity_path(&self, environment: &EnvironmentName) -> PathBuf {
        self.folder().join(format!("{environment}.between.key"))
    }

    /// Reads stored keys; what cannot be used is as good as none.
    fn identity(&self, environment: &EnvironmentName) -> Option<Identity> {
        let path = self.identity_path(environment);
        let length = fs::metadata(&path).ok()?.len();
        let text = fs::read_to_string(&path).ok().filter(|_| length <= MAX_BYTES)?;
        let parsed = Identity::parse(&text);
        if parsed.is_none() {
            tracing::error!(path = %path.display(), "the stored keys between gateways are damaged; others are made");
        }
        parsed
    }
}

//! Whether resources that somebody else runs answer: asked again and again from the host of the server, in memory only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use lockstep_api::types::ResourceHealth;
use lockstep_domain::resource::ResourceKind;
use lockstep_domain::resource::address::Address;
use lockstep_runtime::resource::greet;

use crate::lock;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// How long it may take with the look-up of the name, before the rest goes on without it.
const PATIENCE: Duration = Duration::from_secs(8);

/// What was seen of each resource, by the record that says where it is.
#[derive(Debug, Default)]
pub(crate) struct Health {
    seen: Mutex<BTreeMap<u64, ResourceHealth>>,
    /// Those that are being asked: one that hangs is not asked again meanwhile.
    asked: Mutex<BTreeSet<u64>>,
}

impl Health {
    /// Returns what was seen last.
    pub(crate) fn of(&self, record: u64) -> ResourceHealth {
        lock(&self.seen).get(&record).cloned().unwrap_or(ResourceHealth::Unknown)
    }

    /// Forgets all that is not there any more.
    pub(crate) fn keep(&self, records: &BTreeSet<u64>) {
        lock(&self.seen).retain(|record, _| records.contains(record));
    }

    /// Asks a resource once, unless it is being asked.
    pub(crate) async fn ask(&self, record: u64, kind: ResourceKind, address: Address) {
        if !lock(&self.asked).insert(record) {
            return;
        }
        let asked = tokio::task::spawn_blocking(move || greet::anywhere(kind, &address, TIMEOUT));
        let answer = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(Ok(()))) => ResourceHealth::Healthy,
            Ok(Ok(Err(reason))) => ResourceHealth::Unhealthy { reason },
            Ok(Err(error)) => ResourceHealth::Unhealthy { reason: format!("it could not be asked: {error}") },
            Err(_) => ResourceHealth::Unhealthy { reason: "its name takes too long to look up".to_owned() },
        };
        lock(&self.seen).insert(record, answer);
        lock(&self.asked).remove(&record);
    }
}

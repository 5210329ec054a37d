//! Secrets of certificates: which are named, and which are not any more and can be removed.
//!
//! Certificates are no part of baselines and configurations: nothing that goes back brings an earlier one again. So a secret that the
//! world names no more is needed by nobody: gateways of their own ask by the digest of a certificate that is shown now, and keep what
//! they got. It stays for a while all the same, for whoever looked at the world a moment before.

use std::collections::BTreeSet;

use imbl::OrdMap;

use crate::environment::Environment;
use crate::event::Event;
use crate::time::Timestamp;
use crate::world::World;

/// How long a secret stays after it was named last, in milliseconds. Whoever looked at the world before has long read it by then.
pub const KEPT_MS: u64 = 60 * 60 * 1_000;

/// Secrets of certificates that were named once, and since when they are not.
pub type Spent = OrdMap<String, Timestamp>;

/// Returns every secret that certificates, accounts and orders of an environment name.
#[must_use]
pub fn named(environment: &Environment) -> BTreeSet<String> {
    let certificates = environment.certificates.values().map(|it| &it.secret);
    let accounts = environment.automatic.values().map(|it| &it.request.account);
    let orders = environment.automatic.values().filter_map(|it| Some(&it.progress.order.as_ref()?.key));
    certificates.chain(accounts).chain(orders).cloned().collect()
}

/// Tells whether an event can change what is named.
pub(crate) const fn concerns(event: &Event) -> bool {
    matches!(
        event,
        Event::CertificateAdded { .. }
            | Event::CertificateRemoved { .. }
            | Event::CertificateRequested { .. }
            | Event::CertificateOrderProgressed { .. }
            | Event::CertificateRequestEnded { .. }
            | Event::EnvironmentRemoved { .. }
    )
}

impl World {
    /// Notes what was named before and is not now.
    pub(crate) fn note_spent(
        &mut self,
        before: &BTreeSet<String>,
        after: Option<&Environment>,
        at: Timestamp,
    ) {
        let after = after.map(named).unwrap_or_default();
        for name in before.difference(&after) {
            self.spent.insert(name.clone(), at);
        }
    }

    /// Returns the secrets that can be removed: named once by a certificate, by nothing now, and not since [`KEPT_MS`].
    #[must_use]
    pub fn removable_secrets(&self, now: Timestamp) -> Vec<String> {
        if self.spent.is_empty() {
            return Vec::new();
        }
        let still: BTreeSet<String> = self.environments.values().flat_map(|it| named(it)).collect();
        let old = self.spent.iter().filter(|(_, since)| now.since_ms(**since) >= KEPT_MS);
        old.map(|(name, _)| name).filter(|name| !still.contains(*name)).cloned().collect()
    }
}

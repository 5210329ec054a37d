//! Gateways of their own: taking in their receipts, and remembering who they are over a restart of the server.
//!
//! Invariant: a server that was started anew ends no instance to which a gateway may still send requests, because it
//! waits for the gateways that its predecessor knew as for those that it has heard of itself. Who reports is no decision
//! and is not in the journal; when what is remembered is lost, a gateway is known again with its next receipt.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use lockstep_domain::EnvironmentName;
use lockstep_domain::routes::GatewayReceipt;
use lockstep_files::{foreign, whole};

use crate::{Control, lock};

/// Largest file that is read: some thousand gateways.
const MAX_BYTES: u64 = 1024 * 1024;

/// The ids of the gateways of each environment.
type Known = BTreeMap<EnvironmentName, BTreeSet<String>>;

/// The gateways of their own that reported last, kept in a file.
#[derive(Debug)]
pub(crate) struct KnownGateways {
    path: PathBuf,
    known: Mutex<Known>,
}

impl KnownGateways {
    /// Reads what is remembered. A file that cannot be understood is as good as none.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let text = foreign::open(&path).and_then(|file| foreign::read(file, MAX_BYTES));
        let known = match text {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "the gateways that were known are forgotten");
                Known::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Known::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, known: Mutex::new(known) })
    }

    /// Returns the gateways that are to be waited for, each with its environment.
    pub(crate) fn expected(&self) -> Vec<(EnvironmentName, String)> {
        let known = lock(&self.known);
        let all = known.iter().flat_map(|(environment, ids)| ids.iter().map(move |id| (environment, id)));
        all.map(|(environment, id)| (environment.clone(), id.clone())).collect()
    }

    /// Remembers the gateways of an environment. A disk that is full costs only that the next server does not wait.
    fn remember(&self, environment: &EnvironmentName, gateways: BTreeSet<String>) {
        let mut known = lock(&self.known);
        if known.get(environment) == Some(&gateways) {
            return;
        }
        known.insert(environment.clone(), gateways);
        if let Err(error) = self.keep(&known) {
            tracing::warn!(path = %self.path.display(), %error, "the known gateways could not be kept");
        }
    }

    fn keep(&self, known: &Known) -> io::Result<()> {
        whole::put(&self.path, &serde_json::to_vec(known).map_err(io::Error::other)?, 0o644)
    }
}

impl Control {
    /// Takes in the receipt of a gateway of its own.
    pub fn receive(&self, receipt: &GatewayReceipt) {
        let (environment, now) = (&receipt.environment, self.ledger.now());
        self.registry.receive(receipt, now);
        let own = self.gateway.receipt(environment).gateway;
        let seen = self.registry.gateways(environment, now).into_iter().map(|seen| seen.gateway);
        let others = seen.filter(|gateway| *gateway != own).collect();
        tokio::task::block_in_place(|| self.known_gateways.remember(environment, others));
        self.wake(environment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_expected_again_by_the_next_server_until_they_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let open = || KnownGateways::open(folder.path().join("gateways.json")).unwrap();
        let production: EnvironmentName = "production".parse().unwrap();
        let expected = || open().expected();
        assert_eq!(expected(), []);
        open().remember(&production, BTreeSet::from(["edge-1".to_owned()]));
        assert_eq!(expected(), [(production.clone(), "edge-1".to_owned())]);
        open().remember(&production, BTreeSet::new());
        assert_eq!(expected(), []);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateways.json");
        std::fs::write(&path, "{\"production\": [").unwrap();
        assert_eq!(KnownGateways::open(path).unwrap().expected(), []);
    }
}

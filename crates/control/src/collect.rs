//! Collecting what nothing needs. A version that any baseline names is never touched: its blobs stay, and what was made
//! of them can be made again.

mod folders;

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_api::types::{
    CollectReport, CollectRequest, CollectedBlob, JournalReport, KeptBlob, Mode, TamperedRecord,
};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::{Actor, Digest, Event, World};
use lockstep_store::blobs::GcMode;
use lockstep_store::{Journal, JournalError};

use crate::instances::with_sources;
use crate::{Control, internal};

/// Blobs younger than this stay: a release stores them before it records the version that needs them.
const GRACE: Duration = Duration::from_secs(60 * 60);

impl Control {
    /// Collects unused blobs, unpacked artifacts and mirrors, or says what would go and why the rest stays.
    ///
    /// # Errors
    /// When something cannot be read or removed; what was removed before stays removed.
    pub async fn collect(&self, actor: &Actor, request: &CollectRequest) -> Result<CollectReport, Problem> {
        if request.mode == Mode::Execute {
            tokio::task::block_in_place(|| self.ledger.note(actor, &Event::StoreCollected {}));
        }
        let keep = needed(&self.ledger.world());
        let mode = match request.mode {
            Mode::DryRun => GcMode::DryRun,
            Mode::Execute => GcMode::Collect,
        };
        let report = tokio::task::block_in_place(|| self.blobs.gc(&keep, self.ledger.now(), GRACE, mode));
        let report = report.map_err(|error| {
            Problem::new(ErrorCode::Internal, with_sources(&error)).with_hint(error.hint())
        })?;
        let kept = report.kept.into_iter();
        Ok(CollectReport {
            mode: request.mode,
            goes: report
                .collected
                .iter()
                .map(|blob| CollectedBlob { digest: blob.digest, bytes: blob.bytes })
                .collect(),
            stays: kept
                .map(|blob| KeptBlob { digest: blob.digest, bytes: blob.bytes, reasons: blob.reasons })
                .collect(),
            releases: self.collect_releases(request.mode).await?,
            mirrors: tokio::task::block_in_place(|| self.collect_mirrors(request.mode))?,
        })
    }

    /// Checks every record of the journal against its chain and its key.
    ///
    /// # Errors
    /// When the journal cannot be read at all.
    pub fn verify_journal(&self) -> Result<JournalReport, Problem> {
        let (folder, key) = (self.ledger.folder(), &self.config.journal_key);
        let reader = Journal::open_read_only_with(folder, key).map_err(internal)?;
        match reader.verify() {
            Ok(verified) => Ok(JournalReport {
                records: verified.records,
                last_hash: Some(verified.last_hash),
                keyed_after: verified.keyed_after,
                tampered: None,
            }),
            Err(JournalError::Tampered(tampered)) => Ok(JournalReport {
                records: tampered.seq.saturating_sub(1),
                last_hash: None,
                keyed_after: None,
                tampered: Some(TamperedRecord { seq: tampered.seq, what: tampered.to_string() }),
            }),
            Err(error) => Err(internal(with_sources(&error)).with_hint(error.hint())),
        }
    }

    /// Writes the journal as JSON lines.
    ///
    /// # Errors
    /// When the journal cannot be read or the writer fails.
    pub fn export_journal(&self, writer: impl std::io::Write) -> Result<(), Problem> {
        let reader = Journal::open_read_only(self.ledger.folder()).map_err(internal)?;
        reader.export(writer).map(|_| ()).map_err(|error| internal(with_sources(&error)))
    }
}

/// Every digest that is needed, with the reasons.
fn needed(world: &World) -> BTreeMap<Digest, Vec<String>> {
    let mut needed: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for service in world.services.values() {
        for kept in &service.manifests {
            needed.entry(kept.digest).or_default().push(format!("manifest of {}", service.name));
        }
        for version in service.versions.values() {
            let name = format!("{}@{}", service.name, version.number);
            let live: Vec<_> = baselines_with(world, &service.name, &version.number);
            let why = if live.is_empty() { "released".to_owned() } else { live.join(", ") };
            for (digest, what) in version.blobs() {
                needed.entry(digest).or_default().push(format!("{what} of {name}: {why}"));
            }
        }
    }
    needed
}

/// The environments whose baselines name a version, each with the newest such baseline.
fn baselines_with(
    world: &World,
    service: &lockstep_domain::ServiceName,
    version: &lockstep_domain::VersionNumber,
) -> Vec<String> {
    world
        .environments
        .values()
        .filter_map(|environment| {
            let mut newest = environment.baselines.newest_first();
            let names = |entry: &lockstep_domain::BaselineEntry| entry.version == *version;
            let found = newest.find(|baseline| baseline.entries.get(service).is_some_and(names))?;
            Some(format!("baseline {} of {}", found.number, environment.name))
        })
        .collect()
}

//! How far each log was sent, kept in a file: a server that is killed sends again at most what it had not written down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use lockstep_domain::{Digest, InstanceId, Timestamp};
use lockstep_files::{foreign, whole};
use lockstep_telemetry::LogCollector;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::logs::Last;

/// The folder of such files, in the data folder.
const FOLDER: &str = "exported-logs";
/// Largest file that is read: some hundred thousand instances.
const MAX_BYTES: u64 = 32 << 20;
/// For its owner alone.
const MODE: u32 = 0o600;

/// How far each log was sent to one collector.
#[derive(Debug)]
pub(super) struct Positions {
    path: PathBuf,
    pub(super) kept: Kept,
}

/// What is written down.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Nothing is sent that was written before anybody wanted it sent.
    pub(super) since: Timestamp,
    pub(super) of: BTreeMap<InstanceId, Last>,
}

impl Positions {
    /// Reads how far logs were sent to a collector. What cannot be understood is as good as nothing: it begins now.
    pub(super) fn open(folder: &Path, collector: &LogCollector, now: Timestamp) -> Self {
        let collector = collector.collector();
        let place = format!("{}{}", collector.address(), collector.path());
        let place = Digest::from_bytes(Sha256::digest(place).into()).to_string();
        let short: String = place.chars().rev().take(12).collect();
        let path = folder.join(FOLDER).join(format!("{short}.json"));
        let read = foreign::open(&path).and_then(|file| foreign::read(file, MAX_BYTES));
        let kept = read.ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self { path, kept: kept.unwrap_or(Kept { since: now, of: BTreeMap::new() }) }
    }

    /// Writes them down, without those of instances that are gone.
    pub(super) fn keep(&mut self, present: &BTreeSet<InstanceId>) -> io::Result<()> {
        self.kept.of.retain(|id, _| present.contains(id));
        if let Some(folder) = self.path.parent() {
            // It may have been removed meanwhile, or never been there.
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        whole::put(&self.path, &serde_json::to_vec(&self.kept).map_err(io::Error::other)?, MODE)
    }
}

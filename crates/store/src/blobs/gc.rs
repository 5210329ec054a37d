//! Collecting the blobs that nobody needs any more; the caller says which are needed, and why.
//!
//! Invariant: a blob that is named, or younger than the grace time, stays. The grace time covers the moment between
//! storing a blob and recording the version that names it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use lockstep_domain::{Digest, Timestamp};

use super::{BlobError, Blobs};

/// Whether to collect or only to say what would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcMode {
    /// Nothing is changed.
    DryRun,
    /// What is not needed is removed.
    Collect,
}

/// What goes and what stays, in the order of the digests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcReport {
    /// What goes, or would go.
    pub collected: Vec<Collected>,
    /// What stays, each with the reasons.
    pub kept: Vec<Kept>,
    /// What someone needs but is not there.
    pub missing: Vec<Digest>,
}

/// A blob that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// How long ago it was stored, in milliseconds.
    pub age_ms: u64,
}

/// A blob that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// Why it stays; `new` when it is only within its grace time.
    pub reasons: Vec<String>,
}

impl GcReport {
    /// Returns how many bytes go.
    #[must_use]
    pub fn collected_bytes(&self) -> u64 {
        self.collected.iter().map(|blob| blob.bytes).sum()
    }
}

impl Blobs {
    /// Removes every blob that `keep` does not name and that was stored more than `grace` before `now`.
    ///
    /// `keep` holds for each needed blob the reasons, such as `baseline 17 of production`.
    ///
    /// # Errors
    /// When a folder cannot be read or a file cannot be removed; what was removed before stays removed.
    pub fn gc(
        &self,
        keep: &BTreeMap<Digest, Vec<String>>,
        now: Timestamp,
        grace: Duration,
        mode: GcMode,
    ) -> Result<GcReport, BlobError> {
        let entries = self.entries()?;
        let there: BTreeSet<Digest> = entries.iter().map(|(digest, _)| *digest).collect();
        let missing = keep.keys().filter(|digest| !there.contains(digest)).copied().collect();
        let mut report = GcReport { missing, ..GcReport::default() };
        for (digest, metadata) in entries {
            let (bytes, age_ms) = (metadata.len(), age_ms(&metadata, now));
            let mut reasons = reasons(keep.get(&digest), age_ms, grace);
            if reasons.is_none() && mode == GcMode::Collect {
                reasons = self.remove_if_old(&digest, now, grace)?;
            }
            match reasons {
                Some(reasons) => report.kept.push(Kept { digest, bytes, reasons }),
                None => report.collected.push(Collected { digest, bytes, age_ms }),
            }
        }
        Ok(report)
    }

    /// Removes a blob unless it was stored again since it was listed; returns why it stays then.
    fn remove_if_old(
        &self,
        digest: &Digest,
        now: Timestamp,
        grace: Duration,
    ) -> Result<Option<Vec<String>>, BlobError> {
        let _lock = self.lock()?;
        let path = self.path(digest);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BlobError::file(&path)(error)),
        };
        let reasons = reasons(None, age_ms(&metadata, now), grace);
        if reasons.is_none() {
            self.remove(digest)?;
        }
        Ok(reasons)
    }
}

fn reasons(named: Option<&Vec<String>>, age_ms: u64, grace: Duration) -> Option<Vec<String>> {
    let new = || (u128::from(age_ms) < grace.as_millis()).then(|| vec!["new".to_owned()]);
    named.cloned().or_else(new)
}

/// A file from the future, after a clock went backwards, is of age 0.
fn age_ms(metadata: &Metadata, now: Timestamp) -> u64 {
    let stored = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let stored = stored.and_then(|time| u64::try_from(time.as_millis()).ok());
    now.since_ms(Timestamp(stored.unwrap_or(now.0)))
}

//! How far the sending of artifacts to a host has come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lockstep_domain::Digest;

/// Most that are kept in mind: those of the last baselines of some environments.
const KEPT: usize = 64;

/// How far the sending of an artifact has come, or came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Which.
    pub artifact: Digest,
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that there are to send, which are few where the host has a similar artifact.
    pub bytes: u64,
    /// Bytes of the whole artifact.
    pub whole: u64,
}

/// Counts what is sent.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent: AtomicU64,
    bytes: AtomicU64,
    whole: u64,
}

impl Progress {
    /// Begins anew to count what is sent, of so many bytes.
    pub(super) fn begin(&self, sent: u64, bytes: u64) {
        self.sent.store(sent, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What was sent last, and is being sent.
#[derive(Debug, Default)]
pub(super) struct Transfers(Mutex<BTreeMap<Digest, Arc<Progress>>>);

impl Transfers {
    /// Begins to count the bytes of an artifact.
    pub(super) fn begin(&self, artifact: Digest, whole: u64) -> Arc<Progress> {
        let progress = Arc::new(Progress { whole, ..Progress::default() });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT && !all.contains_key(&artifact) {
            all.pop_first();
        }
        all.insert(artifact, Arc::clone(&progress));
        progress
    }

    pub(super) fn forget(&self, artifact: &Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(artifact);
    }

    pub(super) fn get(&self, artifact: &Digest) -> Option<Transfer> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = all.get(artifact)?;
        let [sent, bytes] = [&progress.sent, &progress.bytes].map(|count| count.load(Ordering::Relaxed));
        Some(Transfer { artifact: *artifact, sent, bytes, whole: progress.whole })
    }
}

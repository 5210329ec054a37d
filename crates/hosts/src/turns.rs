//! One at a time, for each of many things.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Gives turns.
#[derive(Debug)]
pub(crate) struct Turns<K>(Mutex<BTreeMap<K, Arc<Turn<()>>>>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Copy> Turns<K> {
    /// Waits for a turn.
    pub(crate) async fn take(&self, of: K) -> OwnedMutexGuard<()> {
        self.turn(of).lock_owned().await
    }

    /// Takes a turn, unless somebody has it.
    pub(crate) fn take_if_free(&self, of: K) -> Option<OwnedMutexGuard<()>> {
        self.turn(of).try_lock_owned().ok()
    }

    fn turn(&self, of: K) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(of).or_default())
    }
}

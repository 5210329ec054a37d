//! One at a time for each key: who comes while another is at work on the same thing waits, and then finds it done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// Whose turn it is, for each key that somebody is at work on or waits for.
#[derive(Debug)]
pub struct Turns<K>(Mutex<BTreeMap<K, Arc<tokio::sync::Mutex<()>>>>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone> Turns<K> {
    /// Waits until nobody else is at work on a key. Those who wait come in their order; the turn ends with the guard.
    pub async fn take(&self, key: &K) -> OwnedMutexGuard<()> {
        self.turn(key).lock_owned().await
    }

    /// Begins a turn, unless somebody is at work on the key.
    #[must_use]
    pub fn take_if_free(&self, key: &K) -> Option<OwnedMutexGuard<()>> {
        self.turn(key).try_lock_owned().ok()
    }

    fn turn(&self, key: &K) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What only the table knows is nobody's: it would stay for every key that ever was.
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(key.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn the_same_key_waits_another_does_not_and_nothing_is_left() {
        let turns = Turns::default();
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(first) = pin!(turns.take(&"a")).as_mut().poll(&mut context) else {
            panic!("nobody else is at work")
        };
        let mut second = pin!(turns.take(&"a"));
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(pin!(turns.take(&"b")).as_mut().poll(&mut context).is_ready());
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        let Poll::Ready(second) = second.as_mut().poll(&mut context) else { panic!("the turn has ended") };
        drop(second);
        assert!(pin!(turns.take(&"c")).as_mut().poll(&mut context).is_ready());
        assert_eq!(turns.0.lock().unwrap().len(), 1);
    }
}

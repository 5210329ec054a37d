//! One at a time for each key: who comes while another is at work on the same thing waits, and then finds it done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::OwnedMutexGuard;

use crate::lock;

/// Whose turn it is, for each key that somebody is at work on or waits for.
#[derive(Debug)]
pub(crate) struct Turns<K>(Mutex<BTreeMap<K, Arc<tokio::sync::Mutex<()>>>>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone> Turns<K> {
    /// Waits until nobody else is at work on a key. Those who wait come in their order; the turn ends with the guard.
    pub(crate) async fn take(&self, key: &K) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = lock(&self.0);
            // What only the table knows is nobody's: it would stay for every key that ever was.
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(key.clone()).or_default())
        };
        turn.lock_owned().await
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
        assert_eq!(lock(&turns.0).len(), 1);
    }
}

//! Places of a limit, and those of them that are taken from whoever may not be there any more when there is no other left.
//!
//! A client that has ended its sending may wait for its answer, or have left ([`crate::leaving`]). It keeps its places while nobody else needs
//! them. Who would be refused has the one ended that waits longest, and is let in for it.
//!
//! Invariant: each request that is ended lets in one, once for each limit that it counts for. Until it has ended both count, so a limit is
//! exceeded by those that are ending, and by nobody else.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A limit of requests at once.
#[derive(Debug, Default)]
pub(crate) struct Room {
    taken: AtomicU32,
    doubtful: Arc<Doubtful>,
}

/// A place of a limit, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Room>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    /// Returns those of the same limit whose clients may have left.
    pub(crate) fn doubtful(&self) -> &Arc<Doubtful> {
        &self.0.doubtful
    }
}

impl Room {
    /// Takes a place, where fewer than `most` are taken or somebody gives one up.
    pub(crate) fn enter(self: &Arc<Self>, most: u32) -> Option<Place> {
        let one_more = |count: u32| (count < most).then_some(count + 1);
        let entered = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if !entered {
            self.doubtful.end_one().then(|| self.taken.fetch_add(1, Ordering::Relaxed))?;
        }
        Some(Place(Arc::clone(self)))
    }
}

/// Requests that count for one limit and whose clients have ended their sending: the one that waits longest first.
#[derive(Debug, Default)]
pub(crate) struct Doubtful(Mutex<VecDeque<Arc<HalfClosed>>>);

/// A request whose client has ended its sending.
#[derive(Debug, Default)]
pub(crate) struct HalfClosed {
    is_ended: AtomicBool,
    ended: Notify,
}

/// Keeps a request among those that give their places up, until it is dropped.
#[derive(Debug)]
pub(crate) struct Doubt {
    among: Arc<Doubtful>,
    who: Arc<HalfClosed>,
}

impl HalfClosed {
    /// Ends when the request is ended for another.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Tells whether it was ended for another.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.is_ended.store(true, Ordering::Relaxed);
        self.ended.notify_one();
    }
}

impl Doubtful {
    /// Counts a request among them.
    pub(crate) fn add(self: &Arc<Self>, who: &Arc<HalfClosed>) -> Doubt {
        self.all().push_back(Arc::clone(who));
        Doubt { among: Arc::clone(self), who: Arc::clone(who) }
    }

    /// Ends the one that waits longest; tells whether there was one.
    pub(crate) fn end_one(&self) -> bool {
        let first = self.all().pop_front();
        first.inspect(|who| who.end()).is_some()
    }

    /// Tells whether there is one.
    pub(crate) fn is_some(&self) -> bool {
        !self.all().is_empty()
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<Arc<HalfClosed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Doubt {
    fn drop(&mut self) {
        self.among.all().retain(|it| !Arc::ptr_eq(it, &self.who));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_waits_longest_gives_its_place_up_once_and_only_when_no_other_is_left() {
        let room = Arc::new(Room::default());
        let (first, second) = (room.enter(2).unwrap(), room.enter(3).unwrap());
        assert!(room.enter(2).is_none(), "nobody has ended his sending");
        let who: [Arc<HalfClosed>; 2] = Default::default();
        let doubts = who.each_ref().map(|who| room.doubtful.add(who));
        let third = room.enter(3).unwrap();
        assert!(who.iter().all(|who| !who.is_ended()), "there was room");
        let fourth = room.enter(3).unwrap();
        assert_eq!(who.each_ref().map(|who| who.is_ended()), [true, false]);
        let fifth = room.enter(3).unwrap();
        assert!(who[1].is_ended() && room.enter(3).is_none() && !room.doubtful.is_some());
        drop((doubts, first, second));
        assert!(room.enter(3).is_none(), "what was ended has ended, and others are in its place");
        drop((third, fourth, fifth));
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_has_its_answer_is_not_ended_any_more() {
        let room = Arc::new(Room::default());
        let _place = room.enter(1).unwrap();
        let who = Arc::default();
        drop(room.doubtful.add(&who));
        assert!(room.enter(1).is_none() && !who.is_ended());
    }
}

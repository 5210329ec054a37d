//! How many connections there may be, in all and of one caller, and which one has to go for a new one.
//!
//! Invariant: a connection with a request under way is never ended for another one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use crate::brake::network;

/// Connections at once: hundreds of gateways and people, each with a stream and a request. More is a fault or an attack,
/// and each may hold a request head of some hundred kilobytes.
const MOST: usize = 1_024;
/// Of so many files that the process may have open, one may be a connection of the API. The others are for the gateway (two
/// a request), instances, builds and the journal.
const SHARE_OF_FILES: u64 = 4;

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    all: usize,
    /// Of this host: every command, and whatever a proxy on it passes on, comes from one address.
    of_this_host: usize,
    /// Of another address.
    of_another: usize,
}

impl Limits {
    /// Leaves most of the files that a process may have open to everything else. Loopback may take three quarters, so
    /// that others are heard whatever happens on this host; any other address a quarter, enough for an office behind it.
    pub(crate) fn for_files(files: u64) -> Self {
        let share = usize::try_from(files / SHARE_OF_FILES).unwrap_or(MOST);
        Self::of(share.clamp(4, MOST))
    }

    pub(super) const fn of(all: usize) -> Self {
        Self { all, of_this_host: all - all / 4, of_another: all / 4 }
    }

    fn of_caller(&self, caller: IpAddr) -> usize {
        if caller.to_canonical().is_loopback() { self.of_this_host } else { self.of_another }
    }
}

/// All connections there are.
#[derive(Debug)]
pub(super) struct Room {
    limits: Limits,
    next: u64,
    guests: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    caller: IpAddr,
    activity: Arc<Activity>,
    leave: CancellationToken,
}

impl Room {
    pub(super) fn new(limits: Limits) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { limits, next: 0, guests: BTreeMap::new() }))
    }

    /// Takes in a connection; `leave` is cancelled when it has to go. `None` when no other one can go for it.
    pub(super) fn enter(
        room: &Arc<Mutex<Self>>,
        caller: IpAddr,
        activity: &Arc<Activity>,
        leave: &CancellationToken,
    ) -> Option<Seat> {
        let mut inside = lock(room);
        let most = inside.limits.of_caller(caller);
        let caller = network(caller);
        let of_caller = inside.guests.values().filter(|guest| guest.caller == caller).count();
        if of_caller >= most {
            inside.send_away(|guest| guest.caller == caller)?;
        } else if inside.guests.len() >= inside.limits.all {
            inside.send_away(|_| true)?;
        }
        let number = inside.next;
        inside.next += 1;
        let guest = Guest { caller, activity: Arc::clone(activity), leave: leave.clone() };
        inside.guests.insert(number, guest);
        Some(Seat { room: Arc::clone(room), number })
    }

    /// Tells the one that has waited longest for its client to leave.
    fn send_away(&mut self, among: impl Fn(&Guest) -> bool) -> Option<()> {
        let waiting = self.guests.iter().filter(|(_, guest)| among(guest));
        let waiting = waiting.filter_map(|(number, guest)| Some((guest.activity.waits_since()?, *number)));
        let (_, oldest) = waiting.min()?;
        self.guests.remove(&oldest)?.leave.cancel();
        Some(())
    }
}

/// The place of one connection; dropping it makes room.
#[derive(Debug)]
pub(super) struct Seat {
    room: Arc<Mutex<Room>>,
    number: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.room).guests.remove(&self.number);
    }
}

fn lock(room: &Mutex<Room>) -> MutexGuard<'_, Room> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// A connection that began to wait so many seconds after the others.
    struct Caller {
        seat: Option<Seat>,
        activity: Arc<Activity>,
        leave: CancellationToken,
    }

    fn call(room: &Arc<Mutex<Room>>, caller: &str, seconds: u64) -> Caller {
        let activity = Activity::begin(Instant::now() + Duration::from_secs(1_000 + seconds));
        let leave = CancellationToken::new();
        let seat = Room::enter(room, caller.parse().unwrap(), &activity, &leave);
        Caller { seat, activity, leave }
    }

    #[test]
    fn the_oldest_connection_that_waits_goes_for_a_new_one() {
        let room = Room::new(Limits::of(4));
        let far = call(&room, "192.0.2.1", 9);
        let near: Vec<_> = (0..3).map(|second| call(&room, "127.0.0.1", second)).collect();
        let busy = near[0].activity.answer();
        let another = call(&room, "198.51.100.1", 20);
        assert!(another.seat.is_some());
        let gone: Vec<_> = near.iter().map(|caller| caller.leave.is_cancelled()).collect();
        assert_eq!((gone, far.leave.is_cancelled()), (vec![false, true, false], false));
        drop(busy);
        assert_eq!(lock(&room).guests.len(), 4);
    }

    #[test]
    fn who_has_too_many_loses_one_of_its_own() {
        let room = Room::new(Limits::of(8));
        let near = call(&room, "127.0.0.1", 0);
        let far: Vec<_> = (1..=3).map(|host| call(&room, &format!("2001:db8::{host}"), host)).collect();
        assert!(far[0].leave.is_cancelled(), "a network is one caller");
        assert!(far.iter().all(|caller| caller.seat.is_some()) && !near.leave.is_cancelled());
        let _busy = (far[1].activity.answer(), far[2].activity.answer());
        assert!(call(&room, "2001:db8::4", 9).seat.is_none(), "no request ends for another connection");
        assert!(call(&room, "2001:db8:1::1", 9).seat.is_some());
    }

    #[test]
    fn whoever_leaves_makes_room() {
        let room = Room::new(Limits::of(4));
        let callers: Vec<_> = (0..3).map(|second| call(&room, "::1", second)).collect();
        let _busy: Vec<_> = callers.iter().map(|caller| caller.activity.answer()).collect();
        assert!(call(&room, "::1", 9).seat.is_none());
        drop(callers);
        assert!(call(&room, "::1", 9).seat.is_some());
    }

    #[test]
    fn most_files_are_left_to_everything_else() {
        let counts = [0, 1_024, 20_000, u64::MAX].map(|files| Limits::for_files(files).all);
        assert_eq!(counts, [4, 256, 1_024, 1_024]);
    }
}

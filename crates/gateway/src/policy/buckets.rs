//! Buckets of tokens, one for each client, in a place of fixed size.
//!
//! A bucket is one number: when it will be full again (GCRA, as ATM Forum TM 4.0 has it and as many gateways count). Where a place is taken
//! by another client, the bucket that is full soonest is forgotten: nearly nothing is given away by that, unless more clients than
//! places come at once.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

use lockstep_domain::routes::limits::RateLimit;

/// Sets of places; a client belongs to one of them, by a hash that nobody can foresee.
const SETS: usize = 4_096;
/// Places in a set. With the sets it is 32,768 clients, in half a megabyte for each route with a rate.
const WAYS: usize = 8;

/// Buckets of tokens.
#[derive(Debug)]
pub(crate) struct Buckets {
    hash: RandomState,
    sets: Box<[Mutex<[Slot; WAYS]>]>,
}

/// A bucket and whose it is; 0 is nobody.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    client: u64,
    full_at: u64,
}

/// What became of asking for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There was one; this is when the bucket is full again, in nanoseconds.
    Token { full_at: u64 },
    /// There is one after so many nanoseconds.
    Wait(u64),
}

/// Takes a token at a moment, in nanoseconds, from a bucket that is full then.
pub(crate) fn take(rate: &RateLimit, full_at: u64, now: u64) -> Taken {
    let interval = (rate.per_ms.saturating_mul(1_000_000) / u64::from(rate.requests.max(1))).max(1);
    let room = interval.saturating_mul(u64::from(rate.bucket()));
    let after = full_at.max(now).saturating_add(interval);
    match (after - now).checked_sub(room) {
        None | Some(0) => Taken::Token { full_at: after },
        Some(wait) => Taken::Wait(wait),
    }
}

impl Default for Buckets {
    fn default() -> Self {
        Self { hash: RandomState::new(), sets: (0..SETS).map(|_| Mutex::default()).collect() }
    }
}

impl Buckets {
    /// Takes a token of a client.
    pub(crate) fn take(&self, client: impl Hash, rate: &RateLimit, now: u64) -> Taken {
        let client = self.hash.hash_one(client).max(1);
        let set = &self.sets[client as usize % SETS];
        let mut slots = set.lock().unwrap_or_else(PoisonError::into_inner);
        let known = slots.iter().position(|slot| slot.client == client);
        let soonest = || (0..WAYS).min_by_key(|&way| slots[way].full_at).unwrap_or_default();
        let way = known.unwrap_or_else(soonest);
        let full_at = if known.is_some() { slots[way].full_at } else { 0 };
        let taken = take(rate, full_at, now);
        if let Taken::Token { full_at } = taken {
            slots[way] = Slot { client, full_at };
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::routes::limits::RateBy;
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(requests: u32, per_ms: u64, burst: Option<u32>) -> RateLimit {
        RateLimit { requests, per_ms, burst, by: RateBy::Network }
    }

    #[test]
    fn a_bucket_is_emptied_at_once_and_filled_again_evenly() {
        let (buckets, rate) = (Buckets::default(), rate(2, 1_000, Some(3)));
        let take = |now| matches!(buckets.take("ann", &rate, now), Taken::Token { .. });
        assert_eq!([take(SECOND), take(SECOND), take(SECOND), take(SECOND)], [true, true, true, false]);
        let half = SECOND + SECOND / 2;
        assert_eq!([take(half - 1), take(half), take(half)], [false, true, false]);
        assert_eq!(buckets.take("ann", &rate, half), Taken::Wait(SECOND / 2));
        assert!(matches!(buckets.take("ben", &rate, half), Taken::Token { .. }), "each has their own");
    }

    #[test]
    fn a_flood_of_clients_takes_no_more_room_and_lets_through_who_is_new() {
        let (buckets, rate) = (Buckets::default(), rate(1, 60_000, None));
        let admitted =
            (0..200_000_u32).filter(|n| matches!(buckets.take(n, &rate, SECOND), Taken::Token { .. }));
        assert_eq!(admitted.count(), 200_000);
        assert_eq!(buckets.sets.len() * WAYS, 32_768);
    }

    proptest! {
        #[test]
        fn no_more_pass_in_any_time_than_burst_and_rate_give(
            requests in 1..50_u32,
            per_ms in 1..5_000_u64,
            burst in prop::option::of(1..50_u32),
            pauses in prop::collection::vec(0..2_000_000_000_u64, 1..200),
        ) {
            let rate = rate(requests, per_ms, burst);
            let (mut now, mut full_at, mut passed) = (1, 0, Vec::new());
            for pause in pauses {
                now += pause;
                match take(&rate, full_at, now) {
                    Taken::Token { full_at: after } => {
                        full_at = after;
                        passed.push(now);
                    }
                    Taken::Wait(wait) => {
                        prop_assert!(wait > 0);
                        let later = take(&rate, full_at, now + wait);
                        prop_assert!(matches!(later, Taken::Token { .. }), "after the wait there is one");
                    }
                }
            }
            let interval = per_ms * 1_000_000 / u64::from(requests);
            for (first, from) in passed.iter().enumerate() {
                for (more, until) in passed[first..].iter().enumerate() {
                    let most = u64::from(rate.bucket()) + (until - from) / interval + 1;
                    prop_assert!((more as u64) < most);
                }
            }
        }
    }
}

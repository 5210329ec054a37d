//! How many there may be that nobody knows yet. Whoever waits is bound by where it comes from first, so that none takes the places of all; and
//! addresses of gateways have places that no stranger takes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use lockstep_domain::Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::lock;

/// Connections that are not known to be a gateway's, over all workers. More are closed at once.
const STRANGERS: usize = 1_024;
/// Of one address, those that wait included: a quarter of all, and as many as a gateway with a key of its own opens at once.
const STRANGERS_OF_ONE: usize = 256;
/// The same of addresses at which gateways are: each connection takes a file.
const GATEWAYS: usize = 2_048;
/// Of one of them: as many requests as a host sends at once to another one at which it has no connections yet.
const GATEWAYS_OF_ONE: usize = 1_024;
/// Of one address that are looked at; more of it wait for their turn, as long as a handshake may take.
const LOOKED_AT_OF_ONE: usize = 64;
/// Addresses that are remembered because a key was proved from there: more gateways than an environment has.
const PROVED: usize = 1_024;

/// Where somebody comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// Somewhere: an address, or of version 6 the network that a machine is given.
    Somewhere(IpAddr),
    /// An address of a gateway.
    Gateway(IpAddr),
}

/// The places.
#[derive(Debug)]
pub(super) struct Seats {
    strangers: Arc<Semaphore>,
    gateways: Arc<Semaphore>,
    by_origin: Mutex<BTreeMap<Origin, Arc<OfOne>>>,
    /// From where a key was proved, and which.
    proved: Mutex<BTreeMap<IpAddr, Digest>>,
}

/// The places of one origin.
#[derive(Debug)]
struct OfOne {
    room: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// The place of one that nobody knows yet; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    _one_of_all: OwnedSemaphorePermit,
    _one_of_its: OwnedSemaphorePermit,
    of: Arc<OfOne>,
}

impl Seat {
    /// Waits until it is looked at.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.of.turns).acquire_owned().await.ok()
    }
}

impl Default for Seats {
    fn default() -> Self {
        Self {
            strangers: Arc::new(Semaphore::new(STRANGERS)),
            gateways: Arc::new(Semaphore::new(GATEWAYS)),
            by_origin: Mutex::default(),
            proved: Mutex::default(),
        }
    }
}

impl Seats {
    /// Takes a place for one that comes from an address, at which a gateway is or not; nothing where there are too many.
    pub(super) fn take(&self, from: IpAddr, is_gateway: bool) -> Option<Seat> {
        let (origin, all, most) = match is_gateway {
            true => (Origin::Gateway(from), &self.gateways, GATEWAYS_OF_ONE),
            false => (Origin::Somewhere(network(from)), &self.strangers, STRANGERS_OF_ONE),
        };
        let of = self.of(origin, most);
        let its = Arc::clone(&of.room).try_acquire_owned().ok()?;
        let one = Arc::clone(all).try_acquire_owned().ok()?;
        Some(Seat { _one_of_all: one, _one_of_its: its, of })
    }

    fn of(&self, origin: Origin, most: usize) -> Arc<OfOne> {
        let mut all = lock(&self.by_origin);
        if let Some(known) = all.get(&origin) {
            return Arc::clone(known);
        }
        // Those of whom nobody is there are forgotten, so there are never more than places.
        all.retain(|_, it| Arc::strong_count(it) > 1);
        let semaphore = |most| Arc::new(Semaphore::new(most));
        let new = Arc::new(OfOne { room: semaphore(most), turns: semaphore(LOOKED_AT_OF_ONE) });
        all.insert(origin, Arc::clone(&new));
        new
    }

    /// Notes that a key was proved from an address. Those of keys that are not named any more make room.
    pub(super) fn note_proved(&self, from: IpAddr, key: Digest, is_named: impl Fn(&Digest) -> bool) {
        let mut proved = lock(&self.proved);
        if proved.get(&from) == Some(&key) {
            return;
        }
        proved.retain(|_, key| is_named(key));
        if proved.len() < PROVED || proved.contains_key(&from) {
            proved.insert(from, key);
        }
    }

    /// Returns how many places are taken.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        STRANGERS - self.strangers.available_permits() + GATEWAYS - self.gateways.available_permits()
    }

    /// Returns the key that was proved last from an address.
    pub(super) fn proved(&self, from: IpAddr) -> Option<Digest> {
        lock(&self.proved).get(&from).copied()
    }
}

/// Whoever has one address of version 6 has all of its network.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(it) => Ipv6Addr::from_bits(it.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_takes_the_places_of_nobody_else_however_many_it_opens() {
        let seats = Seats::default();
        let held: Vec<_> = (0..10_000).filter_map(|_| seats.take(ip("10.0.0.5"), false)).collect();
        assert_eq!(held.len(), STRANGERS_OF_ONE);
        assert!(seats.take(ip("10.0.0.6"), false).is_some());
        // A neighbour with a network of its own has as many addresses as it wants.
        let of_network = |n: usize| seats.take(ip(&format!("2001:db8::{n:x}")), false);
        assert_eq!((0..10_000).filter_map(of_network).collect::<Vec<_>>().len(), STRANGERS_OF_ONE);
        assert!(seats.take(ip("2001:db8:0:1::1"), false).is_some());
        drop(held);
        assert!(seats.take(ip("10.0.0.5"), false).is_some());
    }

    #[test]
    fn strangers_of_all_addresses_leave_the_places_of_gateways_alone() {
        let seats = Seats::default();
        let many = (0..10_000_usize).map(|n| IpAddr::from([10, 1, (n % 200) as u8, (n / 200) as u8]));
        let held: Vec<_> = many.filter_map(|from| seats.take(from, false)).collect();
        assert_eq!(held.len(), STRANGERS);
        assert!(seats.take(ip("10.0.0.6"), false).is_none());
        let gateway: Vec<_> = (0..10_000).filter_map(|_| seats.take(ip("10.0.0.6"), true)).collect();
        assert_eq!(gateway.len(), GATEWAYS_OF_ONE);
        assert!(seats.take(ip("10.0.0.7"), true).is_some());
    }

    #[test]
    fn an_address_is_that_of_a_gateway_as_long_as_the_key_is_named_that_was_proved_from_there() {
        let (seats, key) = (Seats::default(), |byte| Digest::from_bytes([byte; 32]));
        seats.note_proved(ip("10.0.0.5"), key(1), |_| true);
        assert_eq!(seats.proved(ip("10.0.0.5")), Some(key(1)));
        seats.note_proved(ip("10.0.0.6"), key(2), |it| *it == key(2));
        assert_eq!(seats.proved(ip("10.0.0.5")), None);
        (0..10_000_u32).for_each(|n| seats.note_proved(n.to_be_bytes().into(), key(3), |_| true));
        assert!(lock(&seats.proved).len() <= PROVED);
    }

    #[tokio::test]
    async fn of_one_address_only_so_many_are_looked_at_at_once_and_others_have_their_turn() {
        let seats = Seats::default();
        let take = |from| seats.take(ip(from), false).unwrap();
        let (one, other) = (take("10.0.0.5"), take("10.0.0.6"));
        let mut held = Vec::new();
        for _ in 0..LOOKED_AT_OF_ONE {
            held.push(one.turn().await.unwrap());
        }
        assert!(tokio::time::timeout(Duration::ZERO, one.turn()).await.is_err());
        assert!(other.turn().await.is_some());
        held.pop();
        assert!(one.turn().await.is_some());
        drop((held, one, other));
        let _last = take("10.0.0.7");
        assert_eq!(lock(&seats.by_origin).len(), 1, "nobody is remembered who is gone");
    }
}

//! What goes between hosts: connections to instances of another host are carried by the gateway there, within TLS that both sides know each
//! other in.
//!
//! Each gateway has keys of its own and shows one of them as it is (RFC 7250), with no certificate and no date. Whom it speaks to is decided
//! by the table that it serves at that moment, and by nothing else: no authority, no clock, no session of before. Invariant: what is carried
//! to is an instance that the table says is on this host, and a byte of it passes only after both sides have proved their keys.

mod carry;
mod door;
mod identity;
mod keep;
mod line;
mod reach;
mod seats;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use lockstep_domain::between::{Between, SaidBetween, name_of_instance};
use lockstep_domain::routes::{Endpoint, RouteTable};
use lockstep_domain::{Digest, EnvironmentName, HostName};
use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::tls::Handshakes;

pub(crate) use carry::Visitor;
use door::Wish;
pub(crate) use identity::Identity;
pub use identity::KEY_LIFE;
use line::Lines;
pub(crate) use reach::{AGE, Carried};
use seats::Seats;

/// What is agreed upon within TLS: bytes of an instance, behind one that says whether they come.
const PROTOCOL: &[u8] = b"lockstep-between/1";

/// How an instance is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// At its address.
    Straight,
    /// On loopback of this host.
    Near(SocketAddr),
    /// By the gateway of its host, where it has this name.
    Through(HostName, String),
}

/// What a gateway knows of the others of an environment, and they of it.
#[derive(Debug)]
pub(crate) struct Neighbours {
    environment: EnvironmentName,
    present: Arc<Present>,
    /// The hosts whose loopback is that of this gateway.
    own: ArcSwap<BTreeSet<HostName>>,
    identity: Mutex<Option<Arc<Identity>>>,
    configs: Mutex<Configs>,
    /// Where others come in.
    door: Mutex<Option<SocketAddr>>,
    /// Where they are to come in.
    wish: Mutex<Option<Wish>>,
    seats: Seats,
    lines: Mutex<KeyLines>,
    /// Whether the table that is served is not on disk.
    unkept: AtomicBool,
    /// How others came in.
    pub(crate) handshakes: Handshakes,
    /// Connections for which the instance took none.
    pub(crate) refused: AtomicU64,
    /// Connections that are carried.
    pub(crate) carried: AtomicU64,
    /// Whether there was a table: nobody is let in before.
    heard: watch::Sender<bool>,
}

/// Which keys follow each other.
#[derive(Debug, Default)]
struct KeyLines {
    callers: Lines<String>,
    hosts: Lines<HostName>,
}

/// What the table says, for those who look at it in the middle of a handshake.
#[derive(Debug, Default)]
pub(crate) struct Present {
    told: ArcSwap<Between>,
    /// The instances of this host, by their names.
    here: ArcSwap<BTreeMap<String, SocketAddr>>,
}

/// Both sides of TLS with the key that is shown, made when they are needed.
#[derive(Debug, Default)]
struct Configs {
    server: Option<Arc<ServerConfig>>,
    clients: BTreeMap<HostName, Arc<ClientConfig>>,
}

impl Present {
    fn keys_of(&self, host: &HostName) -> Vec<Digest> {
        self.told.load().hosts.get(host).map(|it| it.keys.clone()).unwrap_or_default()
    }

    fn caller_of(&self, key: &Digest) -> Option<String> {
        self.told.load().caller_of(key).map(str::to_owned)
    }
}

impl Neighbours {
    pub(crate) fn new(environment: EnvironmentName) -> Self {
        Self {
            environment,
            present: Arc::default(),
            own: ArcSwap::default(),
            identity: Mutex::default(),
            configs: Mutex::default(),
            door: Mutex::default(),
            wish: Mutex::default(),
            seats: Seats::default(),
            lines: Mutex::default(),
            unkept: AtomicBool::new(false),
            handshakes: Handshakes::default(),
            refused: AtomicU64::new(0),
            carried: AtomicU64::new(0),
            heard: watch::Sender::default(),
        }
    }

    /// Takes in what a table says.
    pub(crate) fn hear(&self, table: &RouteTable) {
        let told = table.between.clone().unwrap_or_default();
        if *self.present.told.load_full() != told {
            let mut lines = lock(&self.lines);
            lines.callers.follow(told.callers.iter().map(|(name, it)| (name.clone(), it.keys.clone())));
            lines.hosts.follow(told.hosts.iter().map(|(name, it)| (name.clone(), it.keys.clone())));
            self.present.told.store(Arc::new(told));
            drop(lines);
            self.find_here();
        }
        self.heard.send_replace(true);
    }

    /// Returns when there is a table by which others can be let in.
    pub(crate) async fn has_heard(&self) {
        // It ends with this, which its caller holds.
        let _ = self.heard.subscribe().wait_for(|heard| *heard).await;
    }

    /// Returns what tells when a gateway that has proved a key is no more to be carried for; `None` where the table does not name the key.
    fn line_of_caller(&self, key: &Digest) -> Option<CancellationToken> {
        let lines = lock(&self.lines);
        lines.callers.of(&self.present.caller_of(key)?)
    }

    /// Returns what tells when what is carried by the gateway of a host is no more to be believed.
    fn line_of_host(&self, host: &HostName) -> Option<CancellationToken> {
        lock(&self.lines).hosts.of(host)
    }

    /// Tells whether a gateway is at an address, by what the table says or a key that was proved from there.
    fn is_of_gateway(&self, address: IpAddr) -> bool {
        let told = self.present.told.load();
        let proved = || self.seats.proved(address).is_some_and(|key| told.caller_of(&key).is_some());
        told.hosts.values().any(|host| host.at.ip() == address) || proved()
    }

    /// Notes whether the table that is served is on disk: a key that is only in memory is not known after a restart.
    pub(crate) fn note_kept(&self, is_kept: bool) {
        self.unkept.store(!is_kept, Ordering::Relaxed);
    }

    /// Tells whether it is.
    pub(crate) fn is_kept(&self) -> bool {
        !self.unkept.load(Ordering::Relaxed)
    }

    /// Says which hosts have the loopback of this gateway. What follows from it for a table that is served is for the next one.
    pub(crate) fn stand_on(&self, hosts: BTreeSet<HostName>) {
        if **self.own.load() != hosts {
            self.own.store(Arc::new(hosts));
            self.find_here();
        }
    }

    fn find_here(&self) {
        let (told, own) = (self.present.told.load_full(), self.own.load_full());
        let hosts = told.hosts.iter().filter(|(host, _)| own.contains(*host));
        let named = hosts.flat_map(|(_, host)| &host.instances);
        let here = named.map(|(id, address)| (name_of_instance(&self.environment, id), *address));
        self.present.here.store(Arc::new(here.collect()));
    }

    /// Tells how an instance of the table is reached from here.
    pub(crate) fn route_to(&self, endpoint: &Endpoint) -> Route {
        let Some(host) = &endpoint.through else { return Route::Straight };
        let told = self.present.told.load();
        let at = told.hosts.get(host).and_then(|it| it.instances.get(&endpoint.instance));
        match at.filter(|_| self.own.load().contains(host)) {
            Some(at) => Route::Near(*at),
            None => Route::Through(host.clone(), name_of_instance(&self.environment, &endpoint.instance)),
        }
    }

    /// Shows other keys from now on.
    pub(crate) fn identify(&self, identity: Arc<Identity>) {
        *lock(&self.identity) = Some(identity);
        *lock(&self.configs) = Configs::default();
    }

    pub(crate) fn identity(&self) -> Option<Arc<Identity>> {
        lock(&self.identity).clone()
    }

    /// Notes where others come in.
    pub(crate) fn note_door(&self, at: Option<SocketAddr>) {
        *lock(&self.door) = at;
    }

    /// Lets others come in here no more, because another process has the door.
    pub(crate) fn give_up_door(&self) {
        *lock(&self.wish) = None;
        self.note_door(None);
    }

    /// Returns what others have to know of this gateway.
    pub(crate) fn said(&self) -> Option<SaidBetween> {
        let keys = self.identity()?.named();
        Some(SaidBetween { keys, at: *lock(&self.door), unkept: !self.is_kept() })
    }

    /// Tells whether others would let this gateway in who serve a table, or need not.
    pub(crate) fn is_named_in(&self, table: &RouteTable) -> bool {
        let (Some(between), Some(identity)) = (&table.between, self.identity()) else { return true };
        identity.digests().first().is_none_or(|shown| between.caller_of(shown).is_some())
    }

    /// Returns the keys that every gateway has heard of.
    pub(crate) fn known(&self) -> Vec<Digest> {
        self.present.told.load().known.clone()
    }

    /// Returns how others came in, how many connections are carried, and for how many the instance took none.
    pub(crate) fn read(&self) -> (Vec<(&'static str, u64)>, u64, u64) {
        let number = |it: &AtomicU64| it.load(Ordering::Relaxed);
        (self.handshakes.read(), number(&self.carried), number(&self.refused))
    }

    /// Counts a connection that is carried until the result is dropped.
    fn carrying(&self) -> Carrying<'_> {
        self.carried.fetch_add(1, Ordering::Relaxed);
        Carrying(&self.carried)
    }
}

struct Carrying<'a>(&'a AtomicU64);

impl Drop for Carrying<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

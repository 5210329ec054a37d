//! Instances that are named by host: their addresses are looked up beside the requests, again and again, and put in place of those before.
//!
//! Which addresses are taken and how long they hold is decided in `domain`. Invariant: no request waits for a name server, and none of
//! them can take an instance away that serves but by saying for a while that the name is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockstep_domain::DnsName;
use lockstep_domain::routes::{Endpoint, NamedEndpoint, RouteTable};
use lockstep_domain::targets::lanes::{Lanes, Pace, QUICK_MS};
use lockstep_domain::targets::{Found, Heard, LookupBounds, MAX_NAMES, SaidBy, take};
use lockstep_reach::{Addresses, Names, NamesError};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::Lookups;
use crate::gateway::{State, lock};
use crate::moment::Moment;

/// How long a table waits for the first addresses of its names.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// How long a name is remembered that no table has yet, or any more.
const REMEMBERED_MS: u64 = 10_000;
/// The longest that nobody looks what is due: new tables say so themselves.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// A name with the port that its instances listen at.
type Target = (DnsName, u16);

/// What is known of the names of instances, for all environments of a gateway.
#[derive(Debug)]
pub(crate) struct NameBook {
    names: Names,
    /// What answers of name servers count for.
    said_by: SaidBy,
    bounds: LookupBounds,
    known: Mutex<Known>,
    /// Something may be due.
    told: Notify,
    /// Something was heard.
    heard: Notify,
}

#[derive(Debug, Default)]
struct Known {
    entries: BTreeMap<Target, Entry>,
    /// Looks that are under way.
    lanes: Lanes,
}

#[derive(Debug, Default)]
struct Entry {
    /// Whether the last look took long.
    pace: Pace,
    found: Found,
    /// Whether anything was heard of it.
    is_heard: bool,
    is_under_way: bool,
    /// Until when it is kept although no table has it, in milliseconds.
    until_ms: u64,
    lookups: Arc<[AtomicU64; 3]>,
}

/// What can be seen of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameSeen {
    pub(crate) name: String,
    pub(crate) addresses: usize,
    /// Why the addresses are not those of the last answer, and for how many seconds.
    pub(crate) trouble: Option<(String, u64)>,
    /// How many lookups brought addresses, no such name, or nothing.
    pub(crate) lookups: [u64; 3],
}

/// Goes through the names of a table.
pub(crate) fn names_of(table: &RouteTable) -> impl Iterator<Item = Target> {
    table.named_endpoints().map(|named| (named.host.clone(), named.port))
}

impl NameBook {
    pub(crate) fn new(Lookups { servers, bounds, hosts, loopback }: Lookups) -> Self {
        let names = Names::new(servers);
        let names = match hosts {
            Some(hosts) => names.with_hosts(hosts),
            None => names,
        };
        let said_by = if loopback { SaidBy::LocalNames } else { SaidBy::Names };
        Self { names, said_by, bounds, known: Mutex::default(), told: Notify::new(), heard: Notify::new() }
    }

    /// Returns the instances that a name stands for.
    pub(crate) fn endpoints(&self, named: &NamedEndpoint) -> Vec<Endpoint> {
        let known = self.known();
        let entry = known.entries.get(&(named.host.clone(), named.port));
        entry.iter().flat_map(|entry| &entry.found.ips).map(|ip| named.at(*ip)).collect()
    }

    /// Returns what is known of the names of a table.
    pub(crate) fn seen(&self, table: Option<&RouteTable>) -> Vec<NameSeen> {
        let (known, now_ms) = (self.known(), now_ms());
        let names: BTreeSet<Target> = table.into_iter().flat_map(names_of).collect();
        let seen = |(host, port): Target| {
            let entry = known.entries.get(&(host.clone(), port))?;
            let for_s = now_ms.saturating_sub(entry.found.since_ms) / 1_000;
            Some(NameSeen {
                name: format!("{host}:{port}"),
                addresses: entry.found.ips.len(),
                trouble: entry.found.trouble.clone().map(|why| (why, for_s)),
                lookups: entry.lookups.each_ref().map(|count| count.load(Ordering::Relaxed)),
            })
        };
        names.into_iter().filter_map(seen).collect()
    }

    /// Says that a table may have other names.
    pub(crate) fn look_again(&self) {
        self.told.notify_one();
    }

    /// Leaves addresses at which this gateway has come to listen: a name may have been looked up before.
    pub(crate) fn disown(&self, state: &Mutex<State>) {
        let listening = listening(state);
        let mut left = false;
        for ((_, port), entry) in &mut self.known().entries {
            let before = entry.found.ips.len();
            entry.found.ips.retain(|ip| !is_itself(*ip, *port, &listening));
            if entry.found.ips.len() < before {
                (left, entry.found.next_ms) = (true, 0);
            }
        }
        if left {
            aim(state);
            self.told.notify_one();
        }
    }

    /// Waits until all names of a table were looked up once, but not for long.
    pub(crate) async fn expect(&self, table: &RouteTable) {
        let names: BTreeSet<Target> = names_of(table).collect();
        if names.is_empty() {
            return;
        }
        let until_ms = now_ms() + REMEMBERED_MS;
        for name in names.iter().take(MAX_NAMES) {
            self.known().entries.entry(name.clone()).or_default().until_ms = until_ms;
        }
        self.told.notify_one();
        let all_heard = async {
            loop {
                let heard = self.heard.notified();
                if names.iter().all(|name| self.known().entries.get(name).is_none_or(|it| it.is_heard)) {
                    return;
                }
                heard.await;
            }
        };
        if timeout(FIRST_LOOK, all_heard).await.is_err() {
            tracing::warn!(
                "not all names of instances were looked up in time; they get requests once they are"
            );
        }
    }

    /// Looks up what is due, for ever.
    pub(crate) async fn tend(self: Arc<Self>, state: Arc<Mutex<State>>) {
        let mut under_way = JoinSet::new();
        loop {
            let wanted = wanted(&state);
            for (name, lane) in self.due(&wanted) {
                let (book, state) = (Arc::clone(&self), Arc::clone(&state));
                under_way.spawn(async move { book.look(name, lane, &state).await });
            }
            let rest = self.rest(&wanted);
            tokio::select! {
                _ = under_way.join_next(), if !under_way.is_empty() => {}
                () = self.told.notified() => {}
                () = sleep(rest) => {}
            }
        }
    }

    /// Forgets names that nobody wants, and returns how long nothing is due whose lane has room: the end of a look says so itself.
    fn rest(&self, wanted: &BTreeSet<Target>) -> Duration {
        let (mut known, now_ms) = (self.known(), now_ms());
        let Known { entries, lanes } = &mut *known;
        entries.retain(|name, entry| wanted.contains(name) || entry.until_ms > now_ms || entry.is_under_way);
        let waits = |entry: &&Entry| !entry.is_under_way && lanes.room(entry.pace) > 0;
        let next = entries.values().filter(waits).map(|entry| entry.found.next_ms).min();
        let rest = next.map_or(LONGEST_REST, |next| Duration::from_millis(next.saturating_sub(now_ms)));
        rest.clamp(Duration::from_millis(1), LONGEST_REST)
    }

    /// Takes names that are due and whose turn it is.
    fn due(&self, wanted: &BTreeSet<Target>) -> Vec<(Target, Pace)> {
        let (mut known, now_ms) = (self.known(), now_ms());
        let Known { entries, lanes } = &mut *known;
        for name in wanted.iter().take(MAX_NAMES) {
            if !entries.contains_key(name) {
                entries.insert(name.clone(), Entry::default());
            }
        }
        let due = entries.iter().filter(|(_, entry)| !entry.is_under_way && entry.found.next_ms <= now_ms);
        let due = due.map(|(name, entry)| (name.clone(), entry.found.next_ms, entry.pace)).collect();
        let begun = lanes.begin(due);
        for (name, _) in &begun {
            entries.entry(name.clone()).and_modify(|entry| entry.is_under_way = true);
        }
        begun
    }

    /// Looks a name up once, and puts its addresses in place. Among quick ones it has little time: then it goes on among those that take long, or
    /// its turn comes there.
    async fn look(&self, name: Target, lane: Pace, state: &Mutex<State>) {
        let (mut lane, began_ms, port) = (lane, now_ms(), name.1);
        let mut answer = pin!(self.names.addresses(name.0.as_str()));
        let answer = match lane {
            Pace::Slow => answer.await,
            Pace::Quick => match timeout(Duration::from_millis(QUICK_MS), &mut answer).await {
                Ok(answer) => answer,
                Err(_) if self.outstays(&name) => {
                    lane = Pace::Slow;
                    answer.await
                }
                Err(_) => return,
            },
        };
        let took = Pace::of(now_ms().saturating_sub(began_ms));
        let listening = listening(state);
        let (heard, kind) = heard(answer, self.said_by, |ip| is_itself(ip, port, &listening));
        let is_news = self.hear(&name, (heard, kind), (lane, took));
        self.heard.notify_waiters();
        if is_news {
            aim(state);
        }
    }

    /// Gives the place of a look among quick ones back that is not answered yet; returns whether it goes on.
    fn outstays(&self, name: &Target) -> bool {
        let mut known = self.known();
        let goes_on = known.lanes.outstays();
        if let Some(entry) = known.entries.get_mut(name) {
            (entry.pace, entry.is_under_way) = (Pace::Slow, goes_on);
        }
        self.told.notify_one();
        goes_on
    }

    fn hear(&self, name: &Target, (heard, kind): (Heard, usize), (lane, took): (Pace, Pace)) -> bool {
        let mut known = self.known();
        known.lanes.end(lane);
        let Some(entry) = known.entries.get_mut(name) else { return false };
        entry.pace = took;
        let before = entry.found.clone();
        entry.lookups[kind].fetch_add(1, Ordering::Relaxed);
        if let Heard::Addresses { taken, .. } = &heard {
            say_left_out(name, taken, before.ips != taken.ips || before.trouble.is_some());
        }
        let is_news = entry.found.hear(heard, now_ms(), self.bounds);
        (entry.is_heard, entry.is_under_way) = (true, false);
        say(name, &before, &entry.found);
        is_news
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> u64 {
    Moment::now().0 / 1_000
}

/// Where this gateway listens.
fn listening(state: &Mutex<State>) -> BTreeSet<SocketAddr> {
    lock(state).listeners.keys().map(|(_, address)| *address).collect()
}

/// Puts the addresses that names have now into all tables.
fn aim(state: &Mutex<State>) {
    let environments: Vec<_> = lock(state).environments.values().cloned().collect();
    environments.iter().for_each(|environment| environment.aim());
}

/// The names of the tables that are served.
fn wanted(state: &Mutex<State>) -> BTreeSet<Target> {
    let environments: Vec<_> = lock(state).environments.values().cloned().collect();
    environments.iter().flat_map(|environment| environment.names()).collect()
}

/// Reads an answer; the number says of which kind it is: addresses, no such name, nothing.
fn heard(
    answer: Result<Addresses, NamesError>,
    said_by: SaidBy,
    is_itself: impl Fn(IpAddr) -> bool,
) -> (Heard, usize) {
    match answer {
        Ok(Addresses { ips, ttl, is_of_machine }) => {
            let said_by = if is_of_machine { SaidBy::Machine } else { said_by };
            let mut taken = take(&ips, said_by, is_itself);
            let reachable = taken.ips.iter().copied().filter(|ip| has_way(*ip)).collect::<BTreeSet<_>>();
            if !reachable.is_empty() {
                taken.ips = reachable;
            }
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
            (Heard::Addresses { taken, ttl_ms }, 0)
        }
        Err(error @ (NamesError::NoName | NamesError::NoAddress)) => (Heard::Missing(error.to_string()), 1),
        Err(NamesError::Failed(why)) => (Heard::Failed(why), 2),
    }
}

/// Tells whether this machine knows a way to an address: many know none for IPv6. Nothing is sent.
fn has_way(ip: IpAddr) -> bool {
    let any = SocketAddr::new(unspecified(ip), 0);
    UdpSocket::bind(any).and_then(|socket| socket.connect((ip, 9))).is_ok()
}

/// Tells whether this gateway listens at a port of an address.
fn is_itself(ip: IpAddr, port: u16, listening: &BTreeSet<SocketAddr>) -> bool {
    let mut at_port = listening.iter().filter(|it| it.port() == port);
    // An address that can be listened at is of this machine.
    at_port.any(|it| it.ip() == ip || (it.ip().is_unspecified() && UdpSocket::bind((ip, 0)).is_ok()))
}

fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::from([0_u8; 4]),
        IpAddr::V6(_) => IpAddr::from([0_u8; 16]),
    }
}

/// Says which addresses are not asked, once for each other answer.
fn say_left_out((host, port): &Target, taken: &lockstep_domain::targets::Taken, is_news: bool) {
    if !is_news {
        return;
    }
    for (address, why) in &taken.unfit {
        tracing::warn!(%host, port, %address, why = why.as_str(), "an address of a name is not asked");
    }
    if taken.beyond > 0 {
        tracing::warn!(%host, port, taken = taken.ips.len(), beyond = taken.beyond, "a name has more addresses than are asked");
    }
}

/// Says what changed, once.
fn say((host, port): &Target, before: &Found, now: &Found) {
    let addresses = now.ips.len();
    match (&before.trouble, &now.trouble) {
        (before, Some(why)) if before.as_ref() != Some(why) => {
            tracing::warn!(%host, port, why, addresses, "a name cannot be looked up; its last addresses are asked on");
        }
        (Some(_), None) => tracing::info!(%host, port, addresses, "a name was looked up again"),
        _ if before.ips != now.ips => tracing::info!(%host, port, addresses, "a name has other addresses"),
        _ => {}
    }
    if now.ips.is_empty() && !before.ips.is_empty() {
        tracing::error!(%host, port, "a name is gone: nobody is asked by it");
    }
}

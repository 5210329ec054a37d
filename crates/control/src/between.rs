//! What gateways of an environment know each other by, where the network between hosts is not trusted: their keys, as they said them, and which
//! instance is reached through whom.
//!
//! A key is taken from a receipt, so from whoever may report as that gateway, and stands in the next table. It is remembered: a host that is
//! away goes on with its last table, and must find the others as it knows them. Invariant: others are led to an instance only after the
//! gateway of its host has confirmed a table that has it; and what was led to once is not taken away because that gateway is silent.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lockstep_domain::between::{
    Between, BetweenGateway, BetweenHost, Carried, MAX_KEYS, OF_SERVER, SaidBetween, door_port, is_carried,
    known_to_all,
};
use lockstep_domain::edition::Edition;
use lockstep_domain::host::{Host, is_on_hosts};
use lockstep_domain::routes::RouteTable;
use lockstep_domain::{
    Digest, Environment, EnvironmentName, GatewayName, HostName, Instance, InstanceId, InstanceState,
    Timestamp, World,
};
use lockstep_files::{foreign, whole};
use lockstep_gateway::KEY_LIFE;
use lockstep_gateway::follow::TableStore;
use lockstep_hosts::gateway::{host_of, name_of};
use lockstep_registry::GATEWAY_LEASE_MS;
use serde::{Deserialize, Serialize};

use crate::gateways::check_key;
use crate::hosts::is_local;
use crate::{Control, lock};

/// Largest file that is read: a thousand gateways of a hundred environments.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Processes of one gateway that are remembered at once: one takes over from another.
const MAX_RUNS: usize = 4;

/// What one process of a gateway said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    keys: Vec<Digest>,
    at: Option<SocketAddr>,
    #[serde(skip)]
    seen: Timestamp,
}

/// The processes of a gateway, by their runs.
type Runs = BTreeMap<String, Said>;

/// What gateways of an environment said, by their names.
type Gateways = BTreeMap<String, Runs>;

/// The keys of all gateways, in a file, and how far they are known.
#[derive(Debug)]
pub(crate) struct KnownKeys {
    path: PathBuf,
    store: TableStore,
    said: Mutex<BTreeMap<EnvironmentName, Gateways>>,
    heard: Mutex<BTreeMap<EnvironmentName, Heard>>,
    /// Why gateways of other hosts cannot come in to the gateway in the server, by environment.
    deaf: Mutex<BTreeMap<EnvironmentName, Option<String>>>,
}

/// What gateways have confirmed, since this server began.
#[derive(Debug, Default)]
struct Heard {
    /// The first table with a key.
    since: BTreeMap<Digest, Edition>,
    /// The first table with an instance, where it listens.
    listed: BTreeMap<(InstanceId, SocketAddr), Edition>,
    /// The last table that each gateway confirmed.
    has: BTreeMap<String, Edition>,
}

impl KnownKeys {
    /// Reads what is remembered. A file that cannot be understood is as good as none: gateways say it again.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("gateways.json");
        let said = match foreign::open(&path).and_then(|file| foreign::read(file, MAX_BYTES)) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "the keys between gateways are forgotten until they are said again");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let store = TableStore::new(folder.to_owned());
        Ok(Self { path, store, said: Mutex::new(said), heard: Mutex::default(), deaf: Mutex::default() })
    }

    /// Takes in what a process of a gateway says of itself; `run` is its name, and whether it says nothing after this. A disk that is full
    /// costs only what a host that is away then says when it is back.
    pub(crate) fn hear(
        &self,
        environment: &EnvironmentName,
        gateway: &str,
        (run, is_last): (&str, bool),
        between: &SaidBetween,
        now: Timestamp,
    ) {
        let mut all = lock(&self.said);
        let runs = all.entry(environment.clone()).or_default().entry(gateway.to_owned()).or_default();
        let before = keys_of(runs);
        take(runs, run, is_last, between, now);
        if keys_of(runs) != before {
            self.keep(&all);
        }
    }

    /// Takes the keys of a gateway away.
    pub(crate) fn forget_gateway(&self, environment: &EnvironmentName, gateway: &GatewayName) {
        let mut all = lock(&self.said);
        if all.get_mut(environment).is_some_and(|known| known.remove(gateway.as_str()).is_some()) {
            self.keep(&all);
        }
    }

    /// Forgets an environment that was removed.
    pub(crate) fn forget(&self, environment: &EnvironmentName) {
        lock(&self.heard).remove(environment);
        let mut all = lock(&self.said);
        if all.remove(environment).is_some() {
            self.keep(&all);
        }
    }

    fn keep(&self, all: &BTreeMap<EnvironmentName, Gateways>) {
        let write = || whole::put(&self.path, &serde_json::to_vec(all).map_err(io::Error::other)?, 0o600);
        let folder = self.path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = folder.and_then(|()| write()) {
            tracing::warn!(path = %self.path.display(), %error, "the keys between gateways could not be kept");
        }
    }

    fn of(&self, environment: &EnvironmentName) -> Gateways {
        lock(&self.said).get(environment).cloned().unwrap_or_default()
    }
}

/// What there is to be known of a gateway, whichever of its processes said it.
fn keys_of(runs: &Runs) -> (BTreeSet<Digest>, BTreeSet<Digest>, Option<SocketAddr>) {
    let shown = runs.values().filter_map(|said| said.keys.first().copied()).collect();
    let coming = runs.values().flat_map(|said| said.keys.iter().skip(1).copied()).collect();
    // The newest one listens; the one before it does no more.
    let newest = runs.values().filter(|said| said.at.is_some()).max_by_key(|said| said.seen);
    (shown, coming, newest.and_then(|said| said.at))
}

/// A process that is silent while another one of the gateway speaks has gone; the only one is remembered however long it is silent.
fn take(runs: &mut Runs, run: &str, is_last: bool, between: &SaidBetween, now: Timestamp) {
    runs.retain(|id, said| id == run || now.since_ms(said.seen) <= GATEWAY_LEASE_MS);
    if is_last && runs.len() > 1 {
        runs.remove(run);
        return;
    }
    if runs.len() >= MAX_RUNS && !runs.contains_key(run) {
        return;
    }
    let keys = between.keys.iter().take(MAX_KEYS).copied().collect();
    runs.insert(run.to_owned(), Said { keys, at: between.at, seen: now });
}

/// Where an instance listens on its host, and where that is reached.
#[derive(Debug, Clone)]
pub(crate) struct Behind {
    host: HostName,
    host_address: IpAddr,
    listens: SocketAddr,
}

/// The instances of an environment that are reached through the gateway of their host.
pub(crate) type AllBehind = BTreeMap<InstanceId, Behind>;

impl Control {
    /// Returns the instances that are reached through the gateway of their host.
    pub(crate) fn carried(&self, world: &World, instances: &[Instance]) -> AllBehind {
        let behind = |instance: &Instance| {
            let (host, listens) = (instance.host.clone()?, instance.address?);
            let host_address = world.hosts.get(&host)?.settings.address;
            let behind = Behind { host, host_address, listens };
            is_carried(listens, host_address).then(|| (instance.id.clone(), behind))
        };
        let is_there = |instance: &&Instance| instance.resource.is_none() && !instance.state.is_over();
        instances.iter().filter(is_there).filter_map(behind).collect()
    }

    /// Shows instances as they are for whoever leads requests to them: one to which the gateway of its host does not lead yet is on its way.
    pub(crate) fn until_carried(&self, mut instances: Vec<Instance>, carried: &AllBehind) -> Vec<Instance> {
        for instance in instances.iter_mut().filter(|it| it.state.is_healthy() && it.job.is_none()) {
            let behind = carried.get(&instance.id);
            if behind.is_some_and(|behind| !self.is_led_to(&instance.id, behind)) {
                instance.state = InstanceState::Starting;
            }
        }
        instances
    }

    fn is_led_to(&self, id: &InstanceId, behind: &Behind) -> bool {
        self.hosts.link(&behind.host).is_some_and(|link| link.is_carried(id, behind.listens))
    }

    /// Lets the gateway in the server be one among those of hosts: with keys of its own, and in the place of that of a host which is this machine.
    pub(crate) fn stand_among_gateways(
        &self,
        world: &World,
        environment: &Environment,
        carried: &AllBehind,
        now: Timestamp,
    ) {
        let name = &environment.name;
        if !is_on_hosts(world, name) && carried.is_empty() {
            return;
        }
        let local = || hosts_of(world, name, carried).filter(|(_, host)| is_local(host.settings.address));
        self.gateway.stand_on(name, local().map(|(name, _)| name.clone()));
        let has_door = |(name, host): &(&HostName, &Host)| {
            is_behind(host) || carried.values().any(|behind| behind.host == **name)
        };
        let doors: BTreeSet<_> = local().filter(has_door).map(|(_, host)| host.settings.address).collect();
        tokio::task::block_in_place(|| {
            self.gateway.keep_identity(name, &self.between.store, KEY_LIFE);
            doors.into_iter().for_each(|address| self.keep_door(environment, address));
            if let Some(said) = self.gateway.receipt(name).between {
                self.between.hear(name, OF_SERVER, (self.gateway.id(), false), &said, now);
            }
        });
    }

    /// Lets gateways of other hosts come in at an address of this machine.
    fn keep_door(&self, environment: &Environment, address: IpAddr) {
        let name = &environment.name;
        if self.gateway.door_at(name, address).is_some() {
            return;
        }
        let at = SocketAddr::new(address, door_port(environment.settings.gateway_port));
        let opened = self.gateway.listen_between(name, at, &self.between.store);
        let why = opened.as_ref().err().map(ToString::to_string);
        // Said once for each reason: it is tried again with each look.
        let is_news = lock(&self.between.deaf).insert(name.clone(), why.clone()) != Some(why);
        match opened {
            Ok(open) => tracing::info!(environment = %name, %open, "gateways of other hosts come in here"),
            Err(error) if is_news => {
                tracing::error!(environment = %name, %error, "gateways of other hosts cannot come in here");
            }
            Err(_) => {}
        }
    }

    /// Says in a table what gateways know of each other, where there is a host whose network is not trusted.
    pub(crate) fn with_between(
        &self,
        table: RouteTable,
        world: &World,
        carried: &AllBehind,
        now: Timestamp,
    ) -> RouteTable {
        let environment = table.environment.clone();
        if carried.is_empty() && !hosts_of(world, &environment, carried).any(|(_, host)| is_behind(host)) {
            return table;
        }
        let all = self.between.of(&environment);
        let may = |name: &String| {
            let known =
                name.parse::<GatewayName>().is_ok_and(|it| check_key(world, &it, &environment).is_ok());
            name == OF_SERVER || known
        };
        let said =
            all.iter().filter(|(name, _)| may(name)).map(|(name, runs)| (name.as_str(), keys_of(runs)));
        let said: BTreeMap<_, _> = said.collect();
        let keys = |(shown, coming, _): &(BTreeSet<Digest>, BTreeSet<Digest>, _)| {
            shown.iter().chain(coming).copied().take(MAX_KEYS).collect::<Vec<_>>()
        };
        let callers =
            said.iter().map(|(name, it)| ((*name).to_owned(), BetweenGateway { keys: keys(it) })).collect();
        let hosts = hosts_of(world, &environment, carried).filter_map(|(name, host)| {
            let address = host.settings.address;
            let gateway = name_of(name.as_str())?;
            let (at, keys) = match is_local(address) {
                true => (self.gateway.door_at(&environment, address)?, keys(said.get(OF_SERVER)?)),
                false => {
                    let known = said.get(gateway.as_str())?;
                    // A gateway that says that it is elsewhere is not led to.
                    (known.2.filter(|at| at.ip() == address)?, keys(known))
                }
            };
            let there = carried.iter().filter(|(_, behind)| behind.host == *name);
            let instances = there.map(|(id, behind)| (id.clone(), behind.listens)).collect();
            Some((name.clone(), BetweenHost { at, keys, instances }))
        });
        let hosts: BTreeMap<_, _> = hosts.collect();
        let coming: BTreeSet<Digest> = said.values().flat_map(|it| it.1.iter().copied()).collect();
        let known = self.known_to_all(&environment, &coming, said.keys().copied(), now);
        let through = |behind: &Behind| {
            hosts.contains_key(&behind.host).then(|| (behind.host.clone(), behind.host_address))
        };
        let through: Carried = carried.iter().map(|(id, behind)| (id.clone(), through(behind))).collect();
        table.with_between(Between { callers, known, hosts }, &through)
    }

    /// Returns those of the keys that are to come of which every gateway has heard, also those that are away.
    fn known_to_all<'a>(
        &self,
        environment: &EnvironmentName,
        coming: &BTreeSet<Digest>,
        gateways: impl Iterator<Item = &'a str> + Clone,
        now: Timestamp,
    ) -> Vec<Digest> {
        let published = self.published(environment);
        let mut heard = lock(&self.between.heard);
        let heard = heard.entry(environment.clone()).or_default();
        let own = self.gateway.id();
        for seen in self.registry.gateways(environment, now) {
            let name = if seen.gateway == own { Some(OF_SERVER) } else { seen.gateway.split('/').next() };
            if let Some(name) = name {
                heard.has.insert(name.to_owned(), seen.edition);
            }
        }
        let number = |edition: &Edition| match edition.history == published.history {
            true => edition.revision,
            false => 0,
        };
        let since = |key| heard.since.get(key).map_or(u64::MAX, number);
        let has = gateways.map(|name| heard.has.get(name).map_or(0, number));
        known_to_all(coming.iter().map(|key| (key, since(key).max(1))), has)
    }

    /// Notes what the published table has, and which instances gateways of hosts lead to by now; tells whether those are more than before.
    pub(crate) fn note_carried(&self, name: &EnvironmentName, carried: &AllBehind, now: Timestamp) -> bool {
        let tables = self.registry.tables(name);
        let published =
            tables.borrow().as_ref().and_then(|table| Some((table.edition(), table.between.clone()?)));
        let Some((edition, between)) = published else { return false };
        let mut heard = lock(&self.between.heard);
        let heard = heard.entry(name.clone()).or_default();
        let keys: BTreeSet<_> = between.callers.values().flat_map(|it| it.keys.iter().copied()).collect();
        heard.since.retain(|key, _| keys.contains(key));
        for key in keys {
            heard.since.entry(key).or_insert_with(|| edition.clone());
        }
        let listed = between.hosts.values().flat_map(|host| &host.instances);
        let listed: BTreeSet<_> = listed.map(|(id, at)| (id.clone(), *at)).collect();
        heard.listed.retain(|place, _| listed.contains(place));
        for place in listed {
            heard.listed.entry(place).or_insert_with(|| edition.clone());
        }
        let mut more: BTreeMap<&HostName, Vec<(InstanceId, SocketAddr)>> = BTreeMap::new();
        for (id, behind) in carried.iter().filter(|(id, behind)| !self.is_led_to(id, behind)) {
            let place = (id.clone(), behind.listens);
            let wanted = heard.listed.get(&place);
            if wanted
                .is_some_and(|wanted| self.gateway_has(name, &behind.host, behind.host_address, wanted, now))
            {
                more.entry(&behind.host).or_default().push(place);
            }
        }
        tokio::task::block_in_place(|| {
            for (host, instances) in &more {
                self.hosts.link(host).into_iter().for_each(|link| link.note_carried(instances));
            }
        });
        !more.is_empty()
    }

    /// Returns the hosts that came back, and whose gateways have not got the table of an environment yet.
    pub(crate) fn hosts_behind(
        &self,
        world: &World,
        name: &EnvironmentName,
        now: Timestamp,
    ) -> BTreeSet<HostName> {
        let published = self.published(name);
        self.hosts.behind(world, name, &published, |host, wanted| {
            let address = world.hosts.get(host).map(|host| host.settings.address);
            address.is_none_or(|address| self.gateway_has(name, host, address, wanted, now))
        })
    }

    /// Tells whether the gateway of a host has a table, or a later one: every process of it that reports.
    fn gateway_has(
        &self,
        name: &EnvironmentName,
        host: &HostName,
        address: IpAddr,
        wanted: &Edition,
        now: Timestamp,
    ) -> bool {
        let Some(gateway) = name_of(host.as_str()) else { return false };
        let (is_local, its) = (is_local(address), format!("{gateway}/"));
        let own = self.gateway.id();
        let is_of_host = |id: &str| if is_local { id == own } else { id.starts_with(&its) };
        let seen = self.registry.gateways(name, now);
        let mut runs = seen.iter().filter(|seen| is_of_host(&seen.gateway)).peekable();
        runs.peek().is_some() && runs.all(|seen| seen.edition.confirms(wanted))
    }

    /// Tells whether the gateways of an environment that carry anything know that of a host. Those that only ask are not waited for.
    pub(crate) fn is_known_between(&self, name: &EnvironmentName, host: &HostName) -> bool {
        let Some(gateway) = name_of(host.as_str()) else { return false };
        let tables = self.registry.tables(name);
        let keys = |table: &RouteTable| {
            let between = table.between.as_ref().filter(|between| between.hosts.contains_key(host))?;
            Some(between.callers.get(gateway.as_str())?.keys.clone())
        };
        let Some(keys) = tables.borrow().as_ref().and_then(keys) else { return false };
        let heard = lock(&self.between.heard);
        let since = |key: &Digest| heard.get(name)?.since.get(key).cloned();
        let since: Vec<Edition> = keys.iter().filter_map(since).collect();
        let seen = self.registry.gateways(name, self.ledger.now());
        let own = self.gateway.id();
        let carries = |id: &str| id == own || id.split('/').next().is_some_and(is_of_host);
        let mut doors = seen.iter().filter(|seen| carries(&seen.gateway));
        since.len() == keys.len() && doors.all(|seen| since.iter().all(|it| seen.edition.confirms(it)))
    }

    fn published(&self, name: &EnvironmentName) -> Edition {
        self.registry.tables(name).borrow().as_ref().map(RouteTable::edition).unwrap_or_default()
    }
}

fn is_of_host(gateway: &str) -> bool {
    gateway.parse().is_ok_and(|it| host_of(&it).is_some())
}

/// Tells whether instances of a host that start from now on listen on its loopback alone.
fn is_behind(host: &Host) -> bool {
    host.settings.network.listen(host.settings.address) != host.settings.address
}

/// The hosts of an environment, and those where something of it runs still.
fn hosts_of<'a>(
    world: &'a World,
    environment: &'a EnvironmentName,
    carried: &'a AllBehind,
) -> impl Iterator<Item = (&'a HostName, &'a Host)> {
    let runs = move |name: &HostName| carried.values().any(|behind| behind.host == *name);
    let hosts = world.hosts.iter().map(|(name, host)| (name, host.as_ref()));
    hosts.filter(move |(name, host)| host.serves(environment) || runs(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Digest {
        Digest::from_bytes([byte; 32])
    }

    fn says(keys: &[u8]) -> SaidBetween {
        SaidBetween { keys: keys.iter().map(|it| key(*it)).collect(), at: "10.0.0.5:18500".parse().ok() }
    }

    fn all(runs: &Runs) -> Vec<Digest> {
        let (shown, coming, _) = keys_of(runs);
        shown.into_iter().chain(coming).collect()
    }

    #[test]
    fn a_process_that_takes_over_is_known_beside_the_one_before_and_alone_when_that_is_silent() {
        let mut runs = Runs::new();
        take(&mut runs, "old", false, &says(&[1]), Timestamp(1_000));
        take(&mut runs, "new", false, &says(&[2, 3]), Timestamp(2_000));
        assert_eq!(all(&runs), [key(1), key(2), key(3)]);
        take(&mut runs, "new", false, &says(&[3]), Timestamp(9_000));
        assert_eq!(all(&runs), [key(3)]);
        take(&mut runs, "new", false, &says(&[3]), Timestamp(1_000_000_000));
        take(&mut runs, "new", true, &says(&[3]), Timestamp(1_000_000_000));
        assert_eq!(all(&runs), [key(3)], "it may begin again with its last table, and no server");
    }

    #[test]
    fn many_processes_with_one_name_do_not_fill_a_table() {
        let mut runs = Runs::new();
        for run in 0..100_u8 {
            take(&mut runs, &run.to_string(), false, &says(&[run]), Timestamp(1_000));
        }
        assert_eq!(all(&runs).len(), MAX_RUNS);
        let many: Vec<u8> = (0..100).collect();
        let mut one = Runs::new();
        take(&mut one, "one", false, &says(&many), Timestamp(1_000));
        assert_eq!(all(&one).len(), MAX_KEYS);
    }

    #[test]
    fn keys_are_remembered_by_the_next_server_until_they_are_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let open = || KnownKeys::open(&folder.path().join("between")).unwrap();
        let production: EnvironmentName = "production".parse().unwrap();
        open().hear(&production, "host-web1", ("run", false), &says(&[1]), Timestamp(1_000));
        assert_eq!(all(&open().of(&production)["host-web1"]), [key(1)]);
        open().forget_gateway(&production, &"host-web1".parse().unwrap());
        assert!(open().of(&production).is_empty());
        std::fs::write(folder.path().join("between/gateways.json"), "{").unwrap();
        assert!(open().of(&production).is_empty());
    }
}

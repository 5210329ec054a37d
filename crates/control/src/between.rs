//! What gateways of an environment know each other by, where the network between hosts is not trusted: their keys, as they said them, and which
//! instance is reached through whom.
//!
//! A key is taken from a receipt, so from whoever may report as that gateway, and stands in the next table. It is remembered: a host that is
//! away goes on with its last table, and must find the others as it knows them. Invariant: others are led to an instance only after the
//! gateway of its host has confirmed a table that has it; and what was led to once is not taken away because that gateway is silent.

mod known;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use lockstep_api::types::GatewayView;
use lockstep_domain::between::{
    Between, BetweenGateway, BetweenHost, Carried, MAX_KEYS, OF_SERVER, door_port, is_carried, is_stranded,
    known_to_all,
};
use lockstep_domain::edition::{Edition, TableHistory};
use lockstep_domain::host::{Host, is_on_hosts};
use lockstep_domain::routes::RouteTable;
use lockstep_domain::{
    Digest, Environment, EnvironmentName, GatewayName, HostName, Instance, InstanceId, InstanceState,
    Timestamp, World,
};
use lockstep_gateway::KEY_LIFE;
use lockstep_hosts::gateway::{host_of, name_of};

use self::known::Said;
pub(crate) use self::known::{KnownKeys, Run};
use crate::gateways::check_key;
use crate::hosts::is_local;
use crate::{Control, lock};

/// How long an instance is on its way that is healthy where it is and that the gateway of its host does not lead to: many times as long as it
/// takes until a table is confirmed.
const CARRIED_WITHIN_MS: u64 = 60_000;
/// How long a gateway is silent that holds up the exchange of keys before people are told: twice as long as a key is shown.
const FORGOTTEN_AFTER_MS: u64 = 2 * KEY_LIFE.as_millis() as u64;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Where an instance listens on its host, and where that is reached.
#[derive(Debug, Clone)]
pub(crate) struct Behind {
    host: HostName,
    host_address: IpAddr,
    listens: SocketAddr,
}

/// What gateways have confirmed, since this server began.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The first table with a key.
    since: BTreeMap<Digest, Edition>,
    /// The first table with an instance, where it listens.
    listed: BTreeMap<(InstanceId, SocketAddr), Edition>,
    /// The last table that each gateway confirmed, with all its processes.
    has: BTreeMap<String, Edition>,
    /// Since when the gateway of its host is waited for to lead to an instance.
    waits: BTreeMap<(InstanceId, SocketAddr), Timestamp>,
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

    /// Shows instances as they are for whoever asks them from elsewhere: one to which the gateway of its host does not lead yet is on its way,
    /// and is no good when that takes too long; one whose host there is no more is not there.
    pub(crate) fn until_carried(
        &self,
        world: &World,
        name: &EnvironmentName,
        mut instances: Vec<Instance>,
    ) -> Vec<Instance> {
        let (carried, now) = (self.carried(world, &instances), self.ledger.now());
        for instance in instances.iter_mut().filter(|it| it.state.is_healthy() && it.job.is_none()) {
            if is_stranded(world, instance) {
                instance.state = InstanceState::Starting;
            }
            let Some(behind) = carried.get(&instance.id) else { continue };
            if !self.is_led_to(&instance.id, behind) {
                let since = self.between.waits_since(name, (&instance.id, behind.listens));
                (instance.state, instance.since) = on_its_way(instance, &behind.host, since, now);
            }
        }
        instances
    }

    /// Returns the instances that the gateways of their hosts do not lead to.
    pub(crate) fn not_led_to(&self, world: &World, instances: &[Instance]) -> BTreeSet<InstanceId> {
        let carried = self.carried(world, instances);
        carried.into_iter().filter(|(id, behind)| !self.is_led_to(id, behind)).map(|(id, _)| id).collect()
    }

    fn is_led_to(&self, id: &InstanceId, behind: &Behind) -> bool {
        self.hosts.link(&behind.host).is_some_and(|link| link.is_carried(id, behind.listens))
    }

    /// Tells whether the keys of an environment were lost, and its gateways have not had the time to say them again: a table without them would
    /// end all that they carry for each other.
    pub(crate) fn hears_keys_again(
        &self,
        world: &World,
        name: &EnvironmentName,
        carried: &AllBehind,
        now: Timestamp,
    ) -> bool {
        let mut behind = hosts_of(world, name, carried).filter(|(_, host)| is_behind(host)).peekable();
        if behind.peek().is_none() && carried.is_empty() {
            return false;
        }
        let elsewhere = behind.filter(|(_, host)| !is_local(host.settings.address));
        let of_hosts = elsewhere.filter_map(|(name, _)| Some(name_of(name.as_str())?.to_string()));
        let own = self.gateway.id().to_owned();
        let seen = self.registry.gateways(name, now).into_iter().filter(|seen| seen.gateway != own);
        let others = seen.filter_map(|seen| Some(seen.gateway.split('/').next()?.to_owned()));
        let all: BTreeSet<String> = of_hosts.chain(others).collect();
        self.between.hears_again(name, &all, now)
    }

    /// Returns the gateways that have not been heard of for days: as they may come back with the keys that they know, none are exchanged.
    pub(crate) fn forgotten_gateways(&self, name: &EnvironmentName) -> Vec<GatewayView> {
        let (world, now) = (self.ledger.world(), self.ledger.now());
        let silent = self.between.silent_since(name).into_iter();
        let forgotten = silent.filter(|(gateway, seen)| {
            now.since_ms(*seen) > FORGOTTEN_AFTER_MS && may_report(&world, gateway, name)
        });
        forgotten
            .map(|(gateway, seen)| GatewayView {
                problem: Some(words_of_forgotten(&gateway, now.since_ms(seen) / DAY_MS)),
                gateway,
                history: TableHistory::default(),
                revision: 0,
                refused: None,
                left_alone: Vec::new(),
                outside: Vec::new(),
                seen,
            })
            .collect()
    }

    /// Says why gateways of other hosts cannot come in to the gateway in the server, where they should.
    pub(crate) fn why_closed(&self, name: &EnvironmentName) -> Option<String> {
        let why = lock(&self.between.deaf).get(name).cloned().flatten()?;
        Some(format!("gateways of other hosts cannot come in to the gateway in the server: {why}"))
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
                let run = Run { id: self.gateway.id(), is_last: false };
                self.between.hear((name, OF_SERVER), run, &said, now, || true);
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
        let table = table.leaving_out(&self.stranded(world, &environment));
        if carried.is_empty() && !hosts_of(world, &environment, carried).any(|(_, host)| is_behind(host)) {
            return table;
        }
        let all = self.between.of(&environment);
        let may = |name: &String| name == OF_SERVER || may_report(world, name, &environment);
        let said = all.iter().filter(|(name, _)| may(name)).map(|(name, it)| (name.as_str(), it));
        let said: BTreeMap<_, _> = said.collect();
        let keys =
            |said: &Said| said.shown.iter().chain(&said.coming).copied().take(MAX_KEYS).collect::<Vec<_>>();
        let port = world.environment(&environment).map_or(0, |it| door_port(it.settings.gateway_port));
        let callers =
            said.iter().map(|(name, it)| ((*name).to_owned(), BetweenGateway { keys: keys(it) })).collect();
        let hosts = hosts_of(world, &environment, carried).filter_map(|(name, host)| {
            let address = host.settings.address;
            let gateway = name_of(name.as_str())?;
            let (at, keys) = match is_local(address) {
                // Where nobody can come in the gateway in the server asks the instances itself, and they stay in the table for that.
                true => {
                    let open = self.gateway.door_at(&environment, address);
                    (open.unwrap_or(SocketAddr::new(address, port)), keys(said.get(OF_SERVER)?))
                }
                false => {
                    let known = said.get(gateway.as_str())?;
                    // A gateway that says that it is elsewhere is not led to.
                    (known.at.filter(|at| at.ip() == address)?, keys(known))
                }
            };
            let there = carried.iter().filter(|(_, behind)| behind.host == *name);
            let instances = there.map(|(id, behind)| (id.clone(), behind.listens)).collect();
            Some((name.clone(), BetweenHost { at, keys, instances }))
        });
        let hosts: BTreeMap<_, _> = hosts.collect();
        let coming: BTreeSet<Digest> = said.values().flat_map(|it| it.coming.iter().copied()).collect();
        let known = self.known_to_all(&environment, &coming, &said, now);
        let through = |behind: &Behind| {
            hosts.contains_key(&behind.host).then(|| (behind.host.clone(), behind.host_address))
        };
        let through: Carried = carried.iter().map(|(id, behind)| (id.clone(), through(behind))).collect();
        table.with_between(Between { callers, known, hosts }, &through)
    }

    fn stranded(&self, world: &World, name: &EnvironmentName) -> BTreeSet<InstanceId> {
        let all = self.everything_of(world, name).into_iter();
        all.filter(|instance| is_stranded(world, instance)).map(|instance| instance.id).collect()
    }

    /// Returns those of the keys that are to come of which every gateway has heard, also those that are away.
    fn known_to_all(
        &self,
        environment: &EnvironmentName,
        coming: &BTreeSet<Digest>,
        said: &BTreeMap<&str, &Said>,
        now: Timestamp,
    ) -> Vec<Digest> {
        let published = self.published(environment);
        let number = |edition: &Edition| match edition.history == published.history {
            true => edition.revision,
            false => 0,
        };
        let own = self.gateway.id();
        let seen = self.registry.gateways(environment, now).into_iter().filter_map(|seen| {
            let name = if seen.gateway == own { OF_SERVER } else { seen.gateway.split('/').next()? };
            Some((name.to_owned(), seen.edition))
        });
        let mut heard = lock(&self.between.heard);
        let heard = heard.entry(environment.clone()).or_default();
        // What is not on the disk of a gateway is not known to it when it begins anew.
        let is_kept = |name: &String| said.get(name.as_str()).is_none_or(|said| !said.unkept);
        heard.has.extend(least_of_each(seen, number).into_iter().filter(|(name, _)| is_kept(name)));
        let since = |key| heard.since.get(key).map_or(u64::MAX, number);
        let has = said.keys().map(|name| heard.has.get(*name).map_or(0, number));
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
        self.note_waiting(heard, carried, now);
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

    /// Notes since when it is waited that gateways lead to instances; those of hosts that are away are waited for anew when these are back.
    fn note_waiting(&self, heard: &mut Heard, carried: &AllBehind, now: Timestamp) {
        let is_due = |(id, behind): &(&InstanceId, &Behind)| {
            !self.is_led_to(id, behind) && self.hosts.is_reached(&behind.host)
        };
        let due = carried.iter().filter(is_due).map(|(id, behind)| (id.clone(), behind.listens));
        let mut before = std::mem::take(&mut heard.waits);
        heard.waits = due
            .map(|place| {
                let since = before.remove(&place).unwrap_or(now);
                (place, since)
            })
            .collect();
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

/// How an instance is that is healthy where it is, and that others are not led to: it was waited for since a time, if anybody waits.
fn on_its_way(
    instance: &Instance,
    host: &HostName,
    since: Option<Timestamp>,
    now: Timestamp,
) -> (InstanceState, Timestamp) {
    let over = since.map(|since| since.max(instance.since).plus_ms(CARRIED_WITHIN_MS));
    match over.filter(|over| now >= *over) {
        None => (InstanceState::Starting, instance.since),
        Some(over) => {
            let reason = format!(
                "it is healthy where it is, and the gateway of its host `{host}` has not led to it within {} s",
                CARRIED_WITHIN_MS / 1_000
            );
            (InstanceState::Unhealthy { reason }, over)
        }
    }
}

fn words_of_forgotten(gateway: &str, days: u64) -> String {
    let host = gateway.parse().ok().and_then(|name| host_of(&name));
    let command = host.map_or_else(
        || format!("lockstep gateway remove {gateway}"),
        |host| format!("lockstep host remove {host} --lost"),
    );
    format!(
        "not heard of for {days} days: no keys between gateways are exchanged while it may come back; when it is gone for good: {command}"
    )
}

/// Of each gateway the table that the process of it has which is furthest behind.
fn least_of_each(
    seen: impl Iterator<Item = (String, Edition)>,
    number: impl Fn(&Edition) -> u64,
) -> BTreeMap<String, Edition> {
    let mut least: BTreeMap<String, Edition> = BTreeMap::new();
    for (name, edition) in seen {
        let known = least.entry(name).or_insert_with(|| edition.clone());
        if number(&edition) < number(known) {
            *known = edition;
        }
    }
    least
}

/// Tells whether there is a gateway of this name that may report on an environment.
fn may_report(world: &World, gateway: &str, environment: &EnvironmentName) -> bool {
    gateway.parse::<GatewayName>().is_ok_and(|it| check_key(world, &it, environment).is_ok())
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
    use crate::testing;

    fn instance(since: u64) -> Instance {
        let instance = testing::instance("shop-1", InstanceState::Healthy);
        let (arm, address, host) =
            (testing::arm("shop"), "127.0.0.1:20000".parse().ok(), "web1".parse().ok());
        Instance { arm, address, host, since: Timestamp(since), ..instance }
    }

    #[test]
    fn one_that_is_never_led_to_is_no_good_after_a_time_and_says_why() {
        let host = "web1".parse().unwrap();
        let state = |waits: Option<u64>, now| {
            on_its_way(&instance(1_000), &host, waits.map(Timestamp), Timestamp(now)).0
        };
        assert_eq!(state(Some(0), 1_000 + CARRIED_WITHIN_MS - 1), InstanceState::Starting);
        let late = state(Some(0), 1_000 + CARRIED_WITHIN_MS);
        let InstanceState::Unhealthy { reason } = late else { panic!("{late:?}") };
        assert!(reason.contains("gateway of its host `web1`") && reason.contains("60 s"), "{reason}");
        // Nobody waits while its host is away, and then anew.
        assert_eq!(state(None, u64::MAX), InstanceState::Starting);
        assert_eq!(state(Some(500_000), 500_001), InstanceState::Starting);
    }

    #[test]
    fn a_gateway_has_what_the_furthest_behind_of_its_processes_has() {
        let edition = |revision| Edition { history: TableHistory::default(), revision };
        let seen = [("web1", 7), ("web1", 5), ("web2", 9), ("web1", 8)];
        let seen = seen.into_iter().map(|(name, revision)| (name.to_owned(), edition(revision)));
        let least = least_of_each(seen, |edition| edition.revision);
        assert_eq!((least["web1"].revision, least["web2"].revision), (5, 9));
    }

    #[test]
    fn people_are_told_what_to_do_about_a_gateway_that_is_forgotten() {
        assert!(words_of_forgotten("host-web1", 3).ends_with("lockstep host remove web1 --lost"));
        assert!(words_of_forgotten("edge", 3).ends_with("lockstep gateway remove edge"));
    }
}

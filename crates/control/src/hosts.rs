//! The hosts that instances run on, apart from the machine of the server: a connection to each, and what was last seen there.
//!
//! Who decides asks this type where an instance is, what is reached, and what runs; it decides nothing. Invariant: what was started on a
//! host is known before the host hears of it, also to the next server, so nothing is started a second time because a host is not reached.

mod ahead;
mod edges;
mod evacuating;
mod gateways;
mod here;
mod keeping;
mod kept;
mod link;
mod manage;
mod measuring;
mod seeing;
mod starting;
mod telling;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use lockstep_domain::edition::Edition;
use lockstep_domain::host::Stance;
use lockstep_domain::limits::Means;
use lockstep_domain::work::Told;
use lockstep_domain::{Digest, EnvironmentName, HostName, Instance, InstanceId, World};
use lockstep_files::whole::Room;
use lockstep_hosts::{ClaimFile, FromHost, HostFacts, HostState, Program, Recipes, RemoteDriver};
use lockstep_runtime::{Driver as _, Turns};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use self::ahead::Ahead;
pub(crate) use self::edges::check_clients_at;
use self::gateways::SERVES_WITHIN;
pub(crate) use self::here::is_local;
pub(crate) use self::link::Link;
use crate::callers::ADDRESS_VARIABLE;
use crate::random::random_hex;
use crate::{Control, lock};

/// How long a server that has just begun decides nothing about environments with hosts that were not tried yet.
const SETTLED_WITHIN: Duration = Duration::from_secs(15);
/// How long a host that is not reached is waited for by what is to start there.
const WAITED_FOR: Duration = Duration::from_secs(30);
/// How many artifacts are sent at the same time: each is copied on this disk first, and the line is shared.
const SENT_AT_ONCE: usize = 4;

/// The connections to all hosts.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// Where claims, pinned keys and what was started are kept.
    folder: PathBuf,
    /// What the server is called, for people who find its lease on a host.
    server: String,
    /// Tells the processes of this server apart.
    run: String,
    /// Tells this machine and its present boot apart from others.
    here: (String, String),
    /// Who answers gateways that come from hosts.
    from_host: Option<Arc<dyn FromHost>>,
    /// The program that is brought to hosts.
    program: PathBuf,
    read: OnceLock<Arc<Program>>,
    links: Mutex<BTreeMap<HostName, Following>>,
    /// An artifact is sent to a host once, however many instances of it start there at once.
    bringing: Turns<(HostName, Digest)>,
    /// Artifacts that somebody wants on them before anything of them starts.
    ahead: Ahead,
    /// What artifacts consist of that are sent.
    recipes: Arc<Recipes>,
    /// What hosts are being told of instances: nobody waits for a host to answer, and nothing is said twice at a time.
    telling: Mutex<BTreeSet<InstanceId>>,
    /// How many artifacts are sent at the same time.
    sending: Semaphore,
    /// When the server began.
    begun: Instant,
    /// Counts changes of what is seen.
    changed: watch::Sender<u64>,
    /// How much there is of the disk of each host, and when it said so.
    rooms: Mutex<BTreeMap<HostName, (Room, Instant)>>,
    /// Hosts that came back, by environment, and the table that their gateways have to have: nothing is known of those that are away.
    behind: Mutex<BTreeMap<(HostName, EnvironmentName), Option<Edition>>>,
    /// Hosts that are reached and where no gateway serves that the others know, by environment, and since when.
    mute: Mutex<BTreeMap<(HostName, EnvironmentName), Instant>>,
}

/// A connection, and the task that takes in what is seen over it.
#[derive(Debug)]
struct Following {
    link: Arc<Link>,
    task: JoinHandle<()>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hosts {
    /// Opens the folder; hosts are connected to by [`Hosts::settle`].
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(crate) fn open(
        folder: &Path,
        program: PathBuf,
        from_host: Option<Arc<dyn FromHost>>,
    ) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            server: format!("{}:{}", this_machine(), folder.display()),
            run: random_hex(8)?,
            here: (this_machine(), this_boot()),
            from_host,
            program,
            read: OnceLock::new(),
            links: Mutex::default(),
            bringing: Turns::default(),
            ahead: Ahead::default(),
            recipes: Arc::default(),
            telling: Mutex::default(),
            sending: Semaphore::new(SENT_AT_ONCE),
            begun: Instant::now(),
            changed: watch::Sender::default(),
            rooms: Mutex::default(),
            behind: Mutex::default(),
            mute: Mutex::default(),
        })
    }

    /// Returns the program that is brought to hosts. Reading it takes a moment, the first time.
    pub(crate) fn program(&self) -> io::Result<Arc<Program>> {
        if let Some(program) = self.read.get() {
            return Ok(Arc::clone(program));
        }
        let program = Arc::new(Program::of(&self.program)?);
        Ok(Arc::clone(self.read.get_or_init(|| program)))
    }

    /// Connects to every host of the world as it is set now, and to no other. Must be called in a tokio runtime.
    pub(crate) fn settle(&self, world: &World) {
        let mut links = lock(&self.links);
        links.retain(|name, following| {
            let host = world.hosts.get(name);
            host.is_some_and(|host| following.link.is_to(host))
        });
        for (name, host) in &world.hosts {
            if let Some(following) = links.get(name) {
                following.link.set(&host.settings);
                continue;
            }
            match self.connect(name, host) {
                Ok(following) => drop(links.insert(name.clone(), following)),
                Err(error) => tracing::error!(host = %name, %error, "the host cannot be connected to"),
            }
        }
        drop(links);
        self.look_again();
    }

    fn connect(&self, name: &HostName, host: &lockstep_domain::host::Host) -> io::Result<Following> {
        let link = Arc::new(Link::open(self, name, host)?);
        let task = tokio::spawn(link::follow(Arc::clone(&link), self.changed.clone()));
        Ok(Following { link, task })
    }

    /// Tells whether a machine with this name and boot is the one of the server.
    pub(crate) fn is_here(&self, name: &str, boot: &str) -> bool {
        (name, boot) == (self.here.0.as_str(), self.here.1.as_str())
    }

    /// Lets it be looked again whether something is to be done on hosts.
    fn look_again(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Follows changes of what is seen on any host.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn links(&self) -> Vec<Arc<Link>> {
        lock(&self.links).values().map(|following| Arc::clone(&following.link)).collect()
    }

    pub(crate) fn link(&self, name: &HostName) -> Option<Arc<Link>> {
        lock(&self.links).get(name).map(|following| Arc::clone(&following.link))
    }

    /// Returns the hosts that are reached now.
    pub(crate) fn reached(&self) -> BTreeSet<HostName> {
        let reached = self.links().into_iter().filter(|link| link.is_here());
        reached.map(|link| link.name.clone()).collect()
    }

    /// Tells whether a host is reached now.
    pub(crate) fn is_reached(&self, name: &HostName) -> bool {
        self.link(name).is_some_and(|link| link.is_here())
    }

    /// Tells whether it was tried to reach a host, in vain.
    pub(crate) fn is_away(&self, name: &HostName) -> bool {
        self.link(name).is_none_or(|link| matches!(link.state(), HostState::Away { .. }))
    }

    /// Tells whether a host of an environment was not tried yet since the server began.
    pub(crate) fn is_connecting(&self, world: &World, environment: &EnvironmentName) -> bool {
        let serving = world.hosts.iter().filter(|(_, host)| host.serves(environment));
        serving
            .filter_map(|(name, _)| self.link(name))
            .any(|link| matches!(link.state(), HostState::Connecting))
    }

    /// Tells whether a server that has just begun does not know yet which of an environment's hosts it reaches.
    pub(crate) fn is_settling(&self, world: &World, environment: &EnvironmentName) -> bool {
        self.begun.elapsed() < SETTLED_WITHIN && self.is_connecting(world, environment)
    }

    /// With what the hosts of an environment hold limits, as far as they are reached.
    pub(crate) fn means(&self, world: &World, environment: &EnvironmentName) -> BTreeMap<HostName, Means> {
        let serving = world.hosts.iter().filter(|(_, host)| host.serves(environment));
        let of = |name: &HostName| Some((name.clone(), self.link(name)?.facts()?.means.clone()));
        serving.filter_map(|(name, _)| of(name)).collect()
    }

    /// Returns the hosts that are not reached, each of which was tried for a while.
    pub(crate) fn unreached(&self, world: &World) -> BTreeSet<HostName> {
        let is_new = self.begun.elapsed() < SETTLED_WITHIN;
        let state = |name: &HostName| self.link(name).map(|link| link.state());
        let is_unreached = |name: &&HostName| match state(name) {
            Some(HostState::Here(_)) => false,
            Some(HostState::Connecting) => !is_new,
            Some(HostState::Away { .. }) | None => true,
        };
        world.hosts.keys().filter(is_unreached).cloned().collect()
    }

    /// Returns the hosts that nobody waits for: they have been away for longer than a host is waited for, or a person moves from them what was there.
    pub(crate) fn gone(&self, world: &World) -> BTreeSet<HostName> {
        let is_over =
            |since: tokio::time::Instant, stance| stance == Stance::Draining || since.elapsed() >= WAITED_FOR;
        let is_gone = |(name, stance): &(&HostName, Stance)| match self.link(name).map(|link| link.state()) {
            Some(HostState::Away { since, .. }) => is_over(since, *stance),
            _ => false,
        };
        let all = world.hosts.iter().map(|(name, host)| (name, host.stance));
        all.filter(is_gone).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the hosts of an environment that came back and whose gateways have not got its table yet: what calls others there would call what
    /// is gone. `published` is the table that is in force, and `has` tells whether the gateway of a host has one, or a later one.
    pub(crate) fn behind(
        &self,
        world: &World,
        environment: &EnvironmentName,
        published: &Edition,
        has: impl Fn(&HostName, &Edition) -> bool,
    ) -> BTreeSet<HostName> {
        let mut behind = lock(&self.behind);
        let is_asked = |host: &HostName, of: &EnvironmentName| {
            world.hosts.get(host).is_some_and(|host| host.serves(of)) && world.environment(of).is_some()
        };
        behind.retain(|(host, of), _| is_asked(host, of));
        for (host, _) in world.hosts.iter().filter(|(_, host)| host.serves(environment)) {
            let key = (host.clone(), environment.clone());
            if self.is_away(host) {
                behind.insert(key, None);
            } else if let Some(wanted) = behind.get_mut(&key).filter(|_| self.is_reached(host)) {
                let wanted = wanted.get_or_insert_with(|| published.clone());
                // What a server numbers anew is confirmed by nobody before it is published.
                if wanted.history != published.history {
                    *wanted = published.clone();
                }
                if has(host, wanted) {
                    behind.remove(&key);
                }
            }
        }
        behind.keys().filter(|(_, of)| of == environment).map(|(host, _)| host.clone()).collect()
    }

    /// Notes whether a gateway serves on a host that is reached, known to the others; nobody waits for it on one that is away.
    fn note_serving(&self, host: &HostName, environment: &EnvironmentName, serves: bool) {
        let (mut mute, place) = (lock(&self.mute), (host.clone(), environment.clone()));
        match serves {
            true => drop(mute.remove(&place)),
            false => drop(mute.entry(place).or_insert_with(Instant::now)),
        }
    }

    /// Returns the hosts where no gateway of an environment serves although it should have for as long as a start waits for it: what starts
    /// there can call nobody, and nobody is led to it.
    pub(crate) fn mute(&self, environment: &EnvironmentName) -> BTreeSet<HostName> {
        let mute = lock(&self.mute);
        let long =
            mute.iter().filter(|((_, of), since)| of == environment && since.elapsed() >= SERVES_WITHIN);
        long.map(|((host, _), _)| host.clone()).collect()
    }

    /// Returns the host that has the same folder on the same machine, if one is reached.
    pub(crate) fn same_place(&self, facts: &HostFacts) -> Option<HostName> {
        let place = |it: &HostFacts| (it.name.clone(), it.boot.clone(), it.folder.clone());
        let is_same = |link: &Arc<Link>| link.facts().is_some_and(|it| place(&it) == place(facts));
        self.links().into_iter().find(is_same).map(|link| link.name.clone())
    }

    /// Returns the claim of this server on a host.
    pub(crate) fn claim_of(&self, name: &HostName) -> ClaimFile {
        let path = self.folder.join(format!("{name}.claim.json"));
        ClaimFile::at(path, self.server.clone(), self.run.clone())
    }

    /// Returns all that runs on hosts, or ran there and was not forgotten, as it was last seen. Of two hosts that show one instance it is that
    /// of the host where it was started.
    pub(crate) fn instances(&self) -> Vec<Instance> {
        let links = self.links();
        let started = links.iter().flat_map(|link| link.instances(true));
        let found = links.iter().flat_map(|link| link.instances(false));
        let mut all = BTreeMap::new();
        for instance in started.chain(found) {
            all.entry(instance.id.clone()).or_insert(instance);
        }
        all.into_values().collect()
    }

    /// Returns the driver of the host that an instance was started on; `None` for one of the machine of the server.
    pub(crate) fn driver_of(&self, id: &InstanceId) -> Option<Arc<RemoteDriver>> {
        Some(self.links().into_iter().find(|link| link.has(id))?.driver())
    }

    /// Returns where an instance on a host was told to call others; `None` when it is on none.
    pub(crate) fn call_url_of(&self, id: &InstanceId) -> Option<String> {
        self.links().iter().find_map(|link| link.call_url_of(id))
    }
}

impl Control {
    /// Keeps connections to the hosts that are known.
    pub(crate) async fn look_after_hosts(self: Arc<Self>) {
        let mut recorded = self.ledger.follow();
        loop {
            let world = recorded.borrow_and_update().clone();
            tokio::task::block_in_place(|| self.hosts.settle(&world));
            let known = world.hosts.clone();
            let is_other = |world: &Arc<World>| world.hosts != known;
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = recorded.wait_for(is_other) => if changed.is_err() { return },
            }
        }
    }

    /// Returns what an instance has said of its work.
    pub(crate) fn told(&self, id: &InstanceId) -> Option<Told> {
        self.hosts.driver_of(id).map_or_else(|| self.driver.told(id), |driver| driver.told(id))
    }

    /// Returns where an instance was told to call others; empty where it was told nothing, `None` when nobody knows the instance.
    pub(crate) fn call_url_told(&self, id: &InstanceId) -> Option<String> {
        self.hosts.call_url_of(id).or_else(|| self.driver.variable(id, ADDRESS_VARIABLE))
    }

    /// Returns everything that runs anywhere, or ran and was not forgotten: what drivers know, without what is on its way to them.
    pub(crate) fn known_instances(&self) -> Vec<Instance> {
        let mut all = self.driver.list();
        let here: BTreeSet<_> = all.iter().map(|instance| instance.id.clone()).collect();
        // A host that claims what runs here is not believed.
        all.extend(self.hosts.instances().into_iter().filter(|instance| !here.contains(&instance.id)));
        all
    }
}

fn this_boot() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.unwrap_or_default().trim().to_owned()
}

fn this_machine() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use lockstep_domain::{Event, Recorded, Timestamp};
    use serde_json::json;

    use super::*;

    /// A world with an environment and a host that serves these.
    fn world(serves: &[&str]) -> World {
        let settings = json!({ "accepts_from": "created", "strategy": { "strategy": "all_at_once" }, "warm_ms": 0, "gateway_port": 8500 });
        let host = json!({
            "ssh": "deploy@10.0.0.5", "address": "10.0.0.5", "network": "trusted", "labels": "",
            "environments": serves, "host_key": "ssh-ed25519 AAAA",
        });
        let events = [
            Event::EnvironmentCreated {
                environment: "staging".parse().unwrap(),
                settings: serde_json::from_value(settings).unwrap(),
            },
            Event::HostAdded {
                host: "web1".parse().unwrap(),
                settings: serde_json::from_value(host).unwrap(),
            },
        ];
        let mut world = World::default();
        for event in events {
            let (seq, at, actor) = (world.seq + 1, Timestamp(1), "ann".parse().unwrap());
            world.fold(&Recorded { seq, at, actor, event }).unwrap();
        }
        world
    }

    #[test]
    fn a_host_that_was_away_and_has_left_an_environment_is_not_behind_there() {
        let folder = tempfile::tempdir().unwrap();
        let hosts = Hosts::open(folder.path(), "/bin/true".into(), None).unwrap();
        let staging = "staging".parse().unwrap();
        let behind = |world: &World| hosts.behind(world, &staging, &Edition::default(), |_, _| false);
        assert_eq!(behind(&world(&["staging"])), BTreeSet::from(["web1".parse().unwrap()]));
        assert_eq!(behind(&world(&[])), BTreeSet::new());
    }
}

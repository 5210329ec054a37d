//! One host: its connection, and what was started there.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use lockstep_domain::host::{Host, HostSettings, Network};
use lockstep_domain::name::LabelValue;
use lockstep_domain::{Digest, HostName, Instance, InstanceId, InstanceState, Timestamp};
use lockstep_hosts::gateway::is_gateway;
use lockstep_hosts::{HostFacts, HostOptions, HostState, Program, RemoteDriver, Ssh};
use lockstep_runtime::own::GATEWAY;
use lockstep_runtime::{Driver as _, InstanceSpec};
use tokio::sync::{RwLock, watch};
use tokio::time::{Instant, timeout_at};

use super::Hosts;
use super::kept::{All, Kept, KeptFile, take_in};
use crate::lock;

/// A connection to a host.
#[derive(Debug)]
pub(crate) struct Link {
    pub(super) name: HostName,
    record: u64,
    settings: Mutex<HostSettings>,
    driver: Arc<RemoteDriver>,
    file: KeptFile,
    all: Mutex<All>,
    /// Artifacts that were found there, or brought, since it was connected to.
    artifacts: Mutex<BTreeSet<Digest>>,
    /// Held for reading while something of an artifact is used there, and for writing while one is removed.
    unpacked: RwLock<()>,
    /// Nobody knows what was started there: whatever the host shows at first is taken for ours.
    adopts: Mutex<bool>,
}

impl Link {
    /// Begins to connect to a host.
    pub(super) fn open(hosts: &Hosts, name: &HostName, host: &Host) -> io::Result<Self> {
        let alias = alias(name, host.record);
        let known_hosts = hosts.folder.join(format!("{name}.known_hosts"));
        let line = format!("{alias} {}\n", host.settings.host_key);
        lockstep_files::whole::put(&known_hosts, line.as_bytes(), 0o600)?;
        let ssh = ssh(hosts, &host.settings, known_hosts, alias)?;
        let claim = hosts.claim_of(name);
        let driver = RemoteDriver::open(
            name.as_str(),
            Arc::new(ssh),
            claim,
            HostOptions::default(),
            Arc::clone(&hosts.recipes),
            hosts.from_host.clone(),
        );
        let file = KeptFile::at(hosts.folder.join(format!("{name}.json")), host.record);
        let kept = file.read_or_put_aside()?;
        let (adopts, all) = (kept.is_none(), kept.unwrap_or_default());
        Ok(Self {
            name: name.clone(),
            record: host.record,
            settings: Mutex::new(host.settings.clone()),
            driver: Arc::new(driver),
            file,
            all: Mutex::new(all),
            artifacts: Mutex::default(),
            unpacked: RwLock::default(),
            adopts: Mutex::new(adopts),
        })
    }

    /// Tells whether this is the connection that the settings of a host ask for.
    pub(super) fn is_to(&self, host: &Host) -> bool {
        let settings = lock(&self.settings);
        let way =
            |it: &HostSettings| (it.ssh.clone(), it.key.clone(), it.folder.clone(), it.host_key.clone());
        self.record == host.record && way(&settings) == way(&host.settings)
    }

    /// Takes in settings that leave the connection as it is.
    pub(super) fn set(&self, settings: &HostSettings) {
        lock(&self.settings).clone_from(settings);
    }

    pub(crate) fn driver(&self) -> Arc<RemoteDriver> {
        Arc::clone(&self.driver)
    }

    /// Returns the address at which others reach it.
    pub(crate) fn address(&self) -> IpAddr {
        lock(&self.settings).address
    }

    /// Returns the address at which instances listen there that start from now on.
    pub(super) fn listens(&self) -> IpAddr {
        let settings = lock(&self.settings);
        settings.network.listen(settings.address)
    }

    /// Tells whether the gateway of the host has said once that it carries connections to an instance where that listens.
    pub(crate) fn is_carried(&self, id: &InstanceId, listens: SocketAddr) -> bool {
        lock(&self.all).get(id).is_some_and(|kept| kept.carried == Some(listens))
    }

    /// Notes that it has, also for the next server: a host that is away then goes on as it was.
    pub(crate) fn note_carried(&self, instances: &[(InstanceId, SocketAddr)]) {
        let mut all = lock(&self.all);
        for (id, listens) in instances {
            if let Some(kept) = all.get_mut(id) {
                kept.carried = Some(*listens);
            }
        }
        if let Err(error) = self.file.write(&all) {
            tracing::warn!(host = %self.name, %error, "what is reached there could not be kept");
        }
    }

    /// Waits until the host is reached, and tells whether it was before a deadline.
    pub(super) async fn here_before(&self, deadline: Instant) -> bool {
        let mut state = self.driver.state();
        let here = state.wait_for(|state| matches!(state, HostState::Here(_)));
        timeout_at(deadline, here).await.is_ok_and(|seen| seen.is_ok())
    }

    /// Returns where the program of Lockstep is there, as long as the host is reached.
    pub(crate) fn program(&self, program: &Program) -> Option<String> {
        Some(program.on_host(&self.facts()?.folder))
    }

    pub(super) fn state(&self) -> HostState {
        self.driver.state().borrow().clone()
    }

    pub(super) fn is_here(&self) -> bool {
        matches!(*self.driver.state().borrow(), HostState::Here(_))
    }

    /// Returns what the host is like, as long as it is reached.
    pub(super) fn facts(&self) -> Option<Arc<HostFacts>> {
        match &*self.driver.state().borrow() {
            HostState::Here(facts) => Some(Arc::clone(facts)),
            _ => None,
        }
    }

    /// Returns the instances of versions there, as they were last seen: those that this server started, or those that it found.
    pub(super) fn instances(&self, started: bool) -> Vec<Instance> {
        let all = lock(&self.all);
        let wanted = all.values().filter(|kept| kept.call_url.is_empty() != started);
        wanted.map(|kept| kept.instance.clone()).filter(|instance| !is_gateway(instance)).collect()
    }

    /// Tells whether nobody knows what was started there, before the host is reached.
    pub(super) fn is_unknown(&self) -> bool {
        *lock(&self.adopts)
    }

    /// Returns the gateways that were started there, as they were last seen.
    pub(super) fn gateways(&self) -> Vec<Instance> {
        self.seen().into_iter().filter(is_gateway).collect()
    }

    /// Ends the gateways there: the host is ours no more. One that is not reached keeps them.
    pub(super) async fn end_gateways(self: Arc<Self>) {
        for gateway in self.gateways().into_iter().filter(|gateway| !gateway.state.is_over()) {
            if let Err(error) = self.driver.stop(&gateway.id).await {
                tracing::warn!(host = %self.name, gateway = %gateway.id, %error, "a gateway goes on there");
            }
        }
    }

    fn seen(&self) -> Vec<Instance> {
        lock(&self.all).values().map(|kept| kept.instance.clone()).collect()
    }

    pub(super) fn label(&self, name: &str) -> Option<LabelValue> {
        lock(&self.settings).labels.get(name).cloned()
    }

    pub(super) fn has(&self, id: &InstanceId) -> bool {
        lock(&self.all).contains_key(id)
    }

    pub(super) fn call_url_of(&self, id: &InstanceId) -> Option<String> {
        lock(&self.all).get(id).map(|kept| kept.call_url.clone())
    }

    /// Notes that an instance is about to be started there, before the host hears of it.
    ///
    /// # Errors
    /// When that cannot be written; it must not be started then.
    pub(super) fn begin(&self, instance: &Instance, call_url: String) -> io::Result<()> {
        let mut all = lock(&self.all);
        let kept = Kept { instance: instance.clone(), call_url, starting: true, carried: None };
        all.insert(instance.id.clone(), kept);
        self.file.write(&all).inspect_err(|_| drop(all.remove(&instance.id)))
    }

    /// What is noted of something of ours before the host shows it.
    pub(super) fn as_started(&self, spec: &InstanceSpec, now: Timestamp) -> Instance {
        Instance {
            id: spec.id.clone(),
            environment: spec.environment.clone(),
            arm: spec.arm.clone(),
            state: InstanceState::Starting,
            address: None,
            since: now,
            restarts: 0,
            job: None,
            resource: Some(GATEWAY.parse().expect("the name keeps the rule of names")),
            host: Some(self.name.clone()),
        }
    }

    /// Notes that the host has heard of an instance, or that its start was given up; then what the host shows counts.
    pub(super) fn begun(&self, id: &InstanceId) {
        if let Some(kept) = lock(&self.all).get_mut(id) {
            kept.starting = false;
        }
        if self.is_here() {
            self.take_in();
        }
    }

    /// Returns those of some artifacts that the host is not known to have.
    pub(super) fn lacking(&self, wanted: &BTreeSet<Digest>) -> Vec<Digest> {
        wanted.difference(&lock(&self.artifacts)).copied().collect()
    }

    /// Returns what keeps artifacts there from being removed that are being used.
    pub(crate) fn unpacked(&self) -> &RwLock<()> {
        &self.unpacked
    }

    pub(super) fn note_artifact(&self, digest: Digest) {
        lock(&self.artifacts).insert(digest);
    }

    pub(super) fn forget_artifact(&self, digest: &Digest) {
        lock(&self.artifacts).remove(digest);
    }

    /// Forgets whether an artifact is there, and what was sent of it.
    pub(super) fn look_again(&self, digest: &Digest) {
        self.forget_artifact(digest);
        self.driver.forget_transfer(digest);
    }

    /// Forgets what was known of artifacts: somebody may have done something to them meanwhile.
    fn look_at_artifacts_again(&self) {
        lock(&self.artifacts).clear();
    }

    /// Takes in what the host shows.
    fn take_in(&self) {
        let seen: Vec<_> = self.driver.list().into_iter().map(|instance| self.as_ours(instance)).collect();
        let mut adopts = lock(&self.adopts);
        let mut all = lock(&self.all);
        let taken = take_in(&mut all, &seen, *adopts);
        if taken.changed || *adopts {
            match self.file.write(&all) {
                Ok(()) => *adopts = false,
                Err(error) => tracing::warn!(host = %self.name, %error, "what runs there could not be kept"),
            }
        }
        for id in taken.strays {
            tracing::warn!(host = %self.name, instance = %id, "the host runs what nobody started, which is ended");
            let driver = self.driver();
            tokio::spawn(async move {
                driver.stop(&id).await.map_err(|error| tracing::warn!(%id, %error, "it goes on"))
            });
        }
    }

    /// Looks at an instance as the host shows it: where it listens is the host's word, and must be an address that is given there.
    fn as_ours(&self, instance: Instance) -> Instance {
        let address = lock(&self.settings).address;
        let listens = [address, Network::Untrusted.listen(address)];
        let is_elsewhere =
            !is_gateway(&instance) && instance.address.is_some_and(|it| !listens.contains(&it.ip()));
        let state = match instance.state {
            state if !is_elsewhere || state.is_over() => state,
            _ => InstanceState::Unhealthy {
                reason: format!(
                    "it listens on another address than {address}, which is that of its host, and than loopback"
                ),
            },
        };
        let address = instance.address.filter(|_| !is_elsewhere);
        Instance { host: Some(self.name.clone()), address, state, ..instance }
    }
}

/// Under which name the key of a host stands in its file.
fn alias(name: &HostName, record: u64) -> String {
    format!("lockstep-{name}-{record}")
}

/// How a host is connected to.
pub(super) fn ssh(
    hosts: &Hosts,
    settings: &HostSettings,
    known_hosts: PathBuf,
    alias: String,
) -> io::Result<Ssh> {
    Ok(Ssh {
        target: settings.ssh.clone(),
        key: settings.key.as_ref().map(PathBuf::from),
        known_hosts,
        alias,
        folder: settings.folder.clone(),
        program: hosts.program()?,
        configuration: None,
    })
}

/// Takes in what is seen on a host, as long as there is a connection to it.
pub(super) async fn follow(link: Arc<Link>, changed: watch::Sender<u64>) {
    let (mut instances, mut state) = (link.driver.watch(), link.driver.state());
    loop {
        instances.borrow_and_update();
        let is_here = matches!(*state.borrow_and_update(), HostState::Here(_));
        match is_here {
            true => tokio::task::block_in_place(|| link.take_in()),
            false => link.look_at_artifacts_again(),
        }
        changed.send_modify(|count| *count += 1);
        let seen = tokio::select! {
            seen = instances.changed() => seen,
            seen = state.changed() => seen,
        };
        if seen.is_err() {
            return;
        }
    }
}

//! Starting an instance on a host: where, the artifact, and the start itself. What a broken connection interrupts is tried again on the
//! same host, for a while: nobody knows whether it was done, and doing it twice is doing it once.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::fault::Fault;
use lockstep_domain::host::{is_on_hosts, similar};
use lockstep_domain::lost_host::waits_for_hosts;
use lockstep_domain::placement::{NoPlace, Placing, Unfit, place};
use lockstep_domain::{Arm, Digest, Environment, HostName, Instance, InstanceId};
use lockstep_runtime::fault::of_place;
use lockstep_runtime::{BringError, Driver as _, InstanceSpec, StartError, Unpacked};
use tokio::time::{Instant, sleep, timeout_at};

use super::WAITED_FOR;
use super::link::Link;
use crate::callers::ADDRESS_VARIABLE;
use crate::instances::NotStarted;
use crate::{Control, lock};

/// How often something is tried on a host whose connection breaks off each time.
const MOST_ATTEMPTS: usize = 5;
/// How often who waits for a host looks whether it is still wanted.
const LOOK: Duration = Duration::from_secs(1);
/// How long it may take until a broken connection is known to be one.
const MOMENT: Duration = Duration::from_millis(100);

impl Control {
    /// Chooses where an instance that is on its way starts, and notes that; `None` for the machine of the server. A host that is away is
    /// waited for where no other can take it: for a while, or as long as it takes where the environment says so.
    pub(crate) async fn settle_on_host(
        &self,
        environment: &Environment,
        arm: &Arm,
        id: &InstanceId,
    ) -> Result<Option<HostName>, NotStarted> {
        let (mut changes, deadline) = (self.hosts.changes(), Instant::now() + WAITED_FOR);
        loop {
            changes.borrow_and_update();
            let nowhere = match self.try_to_place(environment, arm, id) {
                Ok(host) => return Ok(host),
                Err(nowhere) => nowhere,
            };
            let may_come = nowhere.hosts.iter().any(|(_, unfit)| *unfit == Unfit::Away);
            let waits = Instant::now() < deadline
                || waits_for_hosts(&self.ledger.world(), &environment.name, &arm.service);
            if !may_come || !waits || self.stop.is_cancelled() {
                return Err(NotStarted { reason: nowhere.to_string(), fault: Fault::NoHost });
            }
            if self.registry.is_told(&environment.name, id) {
                return Err(NotStarted::of_host("it was told to end before a host could take it"));
            }
            // Nothing says so when what is decided changes.
            let _ = timeout_at(Instant::now() + LOOK, changes.changed()).await;
        }
    }

    /// Two that are placed at once see each other.
    fn try_to_place(
        &self,
        environment: &Environment,
        arm: &Arm,
        id: &InstanceId,
    ) -> Result<Option<HostName>, NoPlace> {
        let world = self.ledger.world();
        if !is_on_hosts(&world, &environment.name) {
            return Ok(None);
        }
        let reached = self.hosts.reached();
        let mut launches = lock(&self.launches);
        let known = self.known_instances();
        let others = launches.values().filter(|it| it.id != *id && !known.iter().any(|one| one.id == it.id));
        let running: Vec<Instance> = others.cloned().chain(known.iter().cloned()).collect();
        let mute = self.hosts.mute(&environment.name);
        let placing =
            Placing { world: &world, environment, reached: &reached, mute: &mute, running: &running };
        let host = place(placing, arm)?;
        if let Some(launch) = launches.get_mut(id) {
            launch.host = Some(host.clone());
        }
        Ok(Some(host))
    }

    pub(crate) fn link_to(&self, host: &HostName) -> Result<Arc<Link>, NotStarted> {
        self.hosts
            .link(host)
            .ok_or_else(|| NotStarted::of_host(format!("there is no host `{host}` any more")))
    }

    /// Brings an artifact to a host, unless it is there and unchanged.
    pub(crate) async fn bring(&self, link: &Link, digest: Digest) -> Result<(), NotStarted> {
        let driver = link.driver();
        if matches!(driver.unpacked(&digest).await, Ok(Unpacked::Good(_))) {
            return Ok(());
        }
        let _one_at_a_time = self.hosts.bringing.take(&(link.name.clone(), digest)).await;
        let _few_at_a_time = self.hosts.sending.acquire().await;
        let (path, like) = (self.copy_of_artifact(&digest)?, similar(&self.ledger.world(), &digest));
        let is_broken =
            |error: &BringError| matches!(error, BringError::Elsewhere(it) if it.fault == Fault::Host);
        let brought = again(link, is_broken, || driver.unpack(digest, &path, &like)).await;
        // What is left over is cleaned at the next start; the artifact itself is in the blob store.
        let _ = std::fs::remove_file(&path);
        brought.map_err(NotStarted::from)
    }

    /// Starts an instance on a host.
    pub(crate) async fn start_on(&self, link: &Link, mut spec: InstanceSpec) -> Result<(), NotStarted> {
        spec.listen = Some(link.listens());
        let launch = lock(&self.launches).get(&spec.id).cloned();
        let instance = launch.ok_or_else(|| NotStarted::of_host("it was forgotten before it was started"))?;
        self.started_there(link, &instance, spec).await
    }

    /// Starts what Lockstep itself runs on a host.
    pub(crate) async fn start_spec_on(&self, link: &Link, spec: InstanceSpec) -> Result<(), NotStarted> {
        let instance = link.as_started(&spec, self.ledger.now());
        self.started_there(link, &instance, spec).await
    }

    async fn started_there(
        &self,
        link: &Link,
        instance: &Instance,
        spec: InstanceSpec,
    ) -> Result<(), NotStarted> {
        let call_url = spec.variables.get(ADDRESS_VARIABLE).cloned().unwrap_or_default();
        let noted = tokio::task::block_in_place(|| link.begin(instance, call_url));
        noted.map_err(|error| unnoted(&error))?;
        let driver = link.driver();
        let is_broken =
            |error: &StartError| matches!(error, StartError::Elsewhere(it) if it.fault == Fault::Host);
        let started = again(link, is_broken, || driver.start(spec.clone())).await;
        tokio::task::block_in_place(|| link.begun(&instance.id));
        started.map_err(NotStarted::from)
    }
}

fn unnoted(error: &io::Error) -> NotStarted {
    let reason = format!("what is started on a host cannot be noted in the data folder: {error}");
    NotStarted { reason, fault: of_place(error) }
}

/// Does something on a host, and again when it is reached again after the connection broke off.
async fn again<E, F: Future<Output = Result<(), E>>>(
    link: &Link,
    is_interrupted: impl Fn(&E) -> bool,
    work: impl Fn() -> F,
) -> Result<(), E> {
    let deadline = Instant::now() + WAITED_FOR;
    for _ in 1..MOST_ATTEMPTS {
        match work().await {
            Err(error) if is_interrupted(&error) => {
                // It takes a moment until it is known that the connection is gone.
                sleep(MOMENT).await;
                if !link.here_before(deadline).await {
                    return Err(error);
                }
            }
            done => return done,
        }
    }
    work().await
}

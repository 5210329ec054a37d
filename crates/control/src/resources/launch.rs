//! Running resources: the process of each, their ports, and ending what no environment knows any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::name::ResourceName;
use lockstep_domain::protocol::Protocol;
use lockstep_domain::resource::{Origin, Resource};
use lockstep_domain::run::{
    HealthCheck, Kind, Port, Probe, Replace, ReplaceAfter, Restart, RunSpec, Stop, StopSignal, Values,
};
use lockstep_domain::work::WorkSigns;
use lockstep_domain::{Digest, Environment, Event, Instance, InstanceId, InstanceState, World};
use lockstep_runtime::resource::{PASSWORD, command};
use lockstep_runtime::{InstanceSpec, ResourceRun};

use super::Resources;
use crate::instances::NotStarted;
use crate::random::random_hex;
use crate::{Control, internal, lock, ourselves};

/// How often it is asked whether resources elsewhere answer.
const ASKED_EVERY: Duration = Duration::from_secs(5);
/// How long a database may take until it answers: one that was killed recovers first.
const START_TIMEOUT_MS: u64 = 30 * 60 * 1_000;
/// How long it may take to write what it holds in memory when it is asked to end.
const STOP_TIMEOUT_MS: u64 = 60_000;
/// Most resources that are asked at the same time.
const ASKED_AT_ONCE: usize = 16;

impl Control {
    /// Begins to start the process of a resource.
    pub(crate) fn launch_resource(self: &Arc<Self>, environment: &Environment, name: &ResourceName) {
        let Some(resource) = environment.resources.get(name).cloned() else { return };
        let id = match new_id(name, &resource) {
            Ok(id) => id,
            Err(problem) => {
                tracing::error!(resource = %name, %problem, "the process of a resource could not be named");
                return;
            }
        };
        let instance = Instance {
            id: id.clone(),
            environment: environment.name.clone(),
            arm: resource.arm(name),
            state: InstanceState::Starting,
            address: None,
            since: self.ledger.now(),
            restarts: 0,
            job: None,
            resource: Some(name.clone()),
            host: None,
        };
        lock(&self.launches).insert(id.clone(), instance);
        let (control, environment, name) = (Arc::clone(self), environment.clone(), name.clone());
        self.spawn(async move {
            if let Err(failed) = control.start_resource(&environment, &name, &resource, id.clone()).await {
                tracing::warn!(instance = %id, reason = failed.reason(), "a resource could not be started");
                control.give_up(&environment.name, &id, failed);
            }
            control.wake(&environment.name);
        });
    }

    async fn start_resource(
        &self,
        environment: &Environment,
        name: &ResourceName,
        resource: &Resource,
        id: InstanceId,
    ) -> Result<(), NotStarted> {
        // Nobody removes its data meanwhile.
        let _not_removed_meanwhile = self.unpacked.read().await;
        let Origin::Here { secret, port } = &resource.origin else {
            return Err(NotStarted::of_host("somebody else runs it"));
        };
        let unread = |error| NotStarted::of_host(format!("its password: {error}"));
        let password = self.secrets.get(secret).map_err(unread)?;
        let run = ResourceRun { name: name.clone(), kind: resource.kind, secret: secret.clone() };
        let spec = InstanceSpec {
            id,
            environment: environment.name.clone(),
            arm: resource.arm(name),
            job: None,
            run: run_spec(resource, *port),
            variables: BTreeMap::from([(PASSWORD.to_owned(), password)]),
            filled: BTreeMap::new(),
            urls: BTreeMap::new(),
            calls: None,
            ports: environment.settings.instance_ports,
            release: Digest::from_bytes([0; 32]),
            resources: BTreeMap::new(),
            resource: Some(run),
            own: None,
            data_of: None,
            listen: None,
        };
        if self.registry.is_told(&environment.name, &spec.id) {
            return Err(NotStarted::of_host("it was told to end before it was started"));
        }
        let seq = self.ledger.world().seq;
        tokio::task::block_in_place(|| self.place.note_done(seq)).map_err(|error| {
            NotStarted::of_host(format!("what is done cannot be noted in the data folder: {error}"))
        })?;
        self.driver.start(spec).await.map_err(NotStarted::from)
    }

    /// Gives what runs here ports that are its own: what was copied runs where it was copied from, with the same ones.
    pub(crate) fn settle_resources(&self) -> Result<(), lockstep_api::Problem> {
        self.resources().reserve_ports(None);
        if !self.place.is_copy() {
            return Ok(());
        }
        self.ledger.commit(&ourselves(), |world, _| {
            let mut events = Vec::new();
            for environment in world.environments.values() {
                for (name, resource) in &environment.resources {
                    let Origin::Here { secret, .. } = &resource.origin else { continue };
                    let port = self.resources().new_port(environment)?;
                    events.push(Event::ResourceSet {
                        environment: environment.name.clone(),
                        resource: name.clone(),
                        kind: resource.kind,
                        origin: Origin::Here { secret: secret.clone(), port },
                        reason: "the data folder is a copy that was adopted".to_owned(),
                    });
                }
            }
            Ok((events, ()))
        })?;
        self.resources().reserve_ports(None);
        Ok(())
    }

    /// Asks resources elsewhere again and again, and ends what ran for environments that are gone.
    pub(crate) async fn look_after_resources(self: Arc<Self>) {
        loop {
            self.end_strays().await;
            self.ask_resources().await;
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(ASKED_EVERY) => {}
            }
        }
    }

    /// The reconciler of an environment ends what is not wanted there; of one that is gone, nobody else does.
    async fn end_strays(self: &Arc<Self>) {
        let world = self.ledger.world();
        let is_stray = |it: &Instance| it.resource.is_some() && world.environment(&it.environment).is_none();
        for instance in self.driver.list().into_iter().filter(is_stray) {
            if instance.state.is_over() {
                self.forget_instance(&instance.id).await;
            } else if let Err(error) = self.driver.stop(&instance.id).await {
                tracing::warn!(instance = %instance.id, %error, "a resource of a removed environment could not be told to end");
            }
        }
    }

    async fn ask_resources(&self) {
        let world = self.ledger.world();
        let all = elsewhere(&world);
        self.resource_health.keep(&all.iter().map(|(resource, _)| resource.record).collect());
        for some in all.chunks(ASKED_AT_ONCE) {
            let mut asked = tokio::task::JoinSet::new();
            for (resource, secret) in some {
                let Some(address) = self.resources().address_in(resource.kind, secret) else { continue };
                let (control, record, kind) =
                    (Arc::clone(&self.resource_health), resource.record, resource.kind);
                asked.spawn(async move { control.ask(record, kind, address).await });
            }
            asked.join_all().await;
        }
    }
}

impl Resources<'_> {
    /// Keeps the ports of all resources from instances, and one more.
    pub(super) fn reserve_ports(&self, more: Option<u16>) {
        let world = self.ledger.world();
        let all = world.environments.values().flat_map(|environment| environment.resources.values());
        let ports = all.filter_map(|resource| match resource.origin {
            Origin::Here { port, .. } => Some(port),
            Origin::Elsewhere { .. } => None,
        });
        let ports: BTreeSet<u16> = ports.chain(more).collect();
        self.driver.reserve_ports(ports);
    }

    /// Finds a port for a resource, which goes with it for as long as it is there.
    pub(super) fn new_port(&self, environment: &Environment) -> Result<u16, lockstep_api::Problem> {
        self.driver.free_port(environment.settings.instance_ports).map_err(internal)
    }
}

fn elsewhere(world: &World) -> Vec<(Resource, String)> {
    let all = world.environments.values().flat_map(|environment| environment.resources.values());
    let there = all.filter_map(|resource| match &resource.origin {
        Origin::Elsewhere { secret } => Some((resource.clone(), secret.clone())),
        Origin::Here { .. } => None,
    });
    there.collect()
}

fn new_id(name: &ResourceName, resource: &Resource) -> Result<InstanceId, lockstep_api::Problem> {
    let unique = random_hex(3).map_err(internal)?;
    format!("resource-{name}-{}-{unique}", resource.record).parse().map_err(internal)
}

fn run_spec(resource: &Resource, port: u16) -> RunSpec {
    RunSpec {
        work: WorkSigns::default(),
        protocol: Protocol::default(),
        gateway: None,
        prepare: None,
        approach: Default::default(),
        kind: Kind::Web,
        command: command(resource.kind),
        variables: BTreeMap::new(),
        port: Port::Fixed(port),
        health: HealthCheck {
            start_timeout_ms: START_TIMEOUT_MS,
            timeout_ms: 2_000,
            ..HealthCheck::new(Probe::Tcp)
        },
        // The second of three ways in which PostgreSQL ends: clients are sent away, and nothing is lost.
        stop: Stop { signal: StopSignal::Int, timeout_ms: STOP_TIMEOUT_MS },
        restart: Restart::default(),
        data: Vec::new(),
        files: Vec::new(),
        static_files: None,
        external: None,
        limits: lockstep_domain::limits::Limits::default(),
        image: None,
        user: lockstep_domain::run::RunUser::Own,
        hosts: Default::default(),
        values: Values::Verbatim,
        replace: Replace::OldFirst,
        replace_after: ReplaceAfter::Never,
    }
}

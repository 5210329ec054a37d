//! Starting instances: artifact, variables, secrets, driver. And the listening of the environments' gateways.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::external::External;
use lockstep_domain::fault::Fault;
use lockstep_domain::host::is_on_hosts;
use lockstep_domain::host_wish::HostWish;
use lockstep_domain::intent::ConfigValue;
use lockstep_domain::job::PlannedJob;
use lockstep_domain::lost_runs::lost;
use lockstep_domain::name::{JobName, ProcessName};
use lockstep_domain::routes::{FORMAT_WITH_NAMED_CALLERS, SERVICE_PATH_PREFIX, caller_name};
use lockstep_domain::run::RunSpec;
use lockstep_domain::service::{Service, Version};
use lockstep_domain::{
    Arm, CallAddress, Digest, Environment, EnvironmentName, Instance, InstanceId, InstanceState, ServiceName,
    VersionNumber, World,
};
pub(crate) use lockstep_runtime::fault::with_sources;
use lockstep_runtime::fault::{of_error, of_place};
use lockstep_runtime::{
    BringError, Driver as _, EndedLimits, Follow, InstanceSpec, LogLines, StartError, Unpacked, own,
};
use lockstep_site::Site;

use crate::callers::ADDRESS_VARIABLE;
use crate::databases::run_of_step;
use crate::hosts::Link;
use crate::random::random_hex;
use crate::{Adopt, Control, internal, lock, not_found, ourselves};

/// Where artifacts lie while they are unpacked; emptied at every start.
pub(crate) const SCRATCH: &str = "scratch";

/// How long gateways in the server may take to listen before it is said that they do not.
const LISTENING_WITHIN: Duration = Duration::from_secs(10);
/// How often it is looked whether they do.
const LISTENING_PAUSE: Duration = Duration::from_millis(5);

/// Whether the gateway of an environment inside the server listens.
#[derive(Debug, Clone)]
pub struct GatewayListening {
    /// The environment.
    pub environment: EnvironmentName,
    /// Where it listens, or should.
    pub address: SocketAddr,
    /// Why it does not.
    pub problem: Option<String>,
    is_settled: bool,
}

impl Control {
    /// Begins to start an instance. How it goes shows in what is observed.
    pub(crate) fn launch(self: &Arc<Self>, environment: &Environment, arm: &Arm) {
        let id = match new_id(arm) {
            Ok(id) => id,
            Err(problem) => {
                tracing::error!(%arm, %problem, "an instance could not be named");
                return;
            }
        };
        self.launch_as(environment, arm, id, None);
    }

    /// In a folder that was adopted, ends the runs of jobs that nobody here knows of: they may have been begun elsewhere.
    pub(crate) fn end_lost_jobs(&self) -> Result<(), Problem> {
        if self.config.adopt == Adopt::No {
            return Ok(());
        }
        let known = self.known_instances().into_iter().map(|instance| instance.id).collect();
        self.ledger.commit(&ourselves(), |world, _| Ok((lost(world, &known), ())))
    }

    /// Begins to start the run of a job.
    pub(crate) fn launch_job(
        self: &Arc<Self>,
        environment: &Environment,
        planned: &PlannedJob,
        run: &InstanceId,
    ) {
        self.launch_as(environment, &planned.arm, run.clone(), Some(planned.clone()));
    }

    fn launch_as(
        self: &Arc<Self>,
        environment: &Environment,
        arm: &Arm,
        id: InstanceId,
        planned: Option<PlannedJob>,
    ) {
        let job = planned.as_ref().map(|planned| planned.job.clone());
        let instance = Instance {
            id: id.clone(),
            environment: environment.name.clone(),
            arm: arm.clone(),
            state: InstanceState::Starting,
            address: None,
            since: self.ledger.now(),
            restarts: 0,
            job,
            resource: None,
            host: None,
        };
        lock(&self.launches).insert(id.clone(), instance);
        let (control, environment, arm) = (Arc::clone(self), environment.clone(), arm.clone());
        self.spawn(async move {
            if let Err(failed) = control.start(&environment, &arm, id.clone(), planned).await {
                let NotStarted { reason, fault } = &failed;
                tracing::warn!(instance = %id, reason, ?fault, "an instance could not be started");
                control.give_up(&environment.name, &id, failed);
            }
            control.wake(&environment.name);
        });
    }

    async fn start(
        &self,
        environment: &Environment,
        arm: &Arm,
        id: InstanceId,
        planned: Option<PlannedJob>,
    ) -> Result<(), NotStarted> {
        // Databases are reached from the machine of the server, and what a step says is read there.
        let is_step = planned.as_ref().is_some_and(|planned| planned.database.is_some());
        let world = self.ledger.world();
        let version = world
            .version(&arm.version_ref())
            .ok_or_else(|| NotStarted::of_host("the version is not known"))?;
        let host = if is_step { None } else { self.settle_on_host(environment, arm, &id).await? };
        let link = host.map(|host| self.link_to(&host)).transpose()?;
        let place = link.as_ref().map_or(&self.unpacked, |link| link.unpacked());
        let _not_removed_meanwhile = place.read().await;
        match &link {
            None => self.unpack(version.artifact.digest).await?,
            Some(link) => self.bring(link, version.artifact.digest).await?,
        }
        // What going back takes is measured, and what is gone back to is unpacked.
        if planned.is_none() {
            self.starts.begin(&id);
        }
        let program = self.program_at(link.as_deref())?;
        let whose = (environment, &**version, arm);
        let spec = self.checked_spec(&world, whose, (id.clone(), planned), (&program, link.is_some())).await;
        // What is wrong here is wrong wherever it starts.
        let spec = spec.inspect_err(|_| self.blame_no_host(&id))?;
        match &link {
            None => self.driver.start(spec).await.map_err(NotStarted::from),
            Some(link) => {
                self.gateway_serves(environment, link).await;
                self.start_on(link, spec).await
            }
        }
    }

    /// Describes an instance that is to start, unless it was told to end meanwhile.
    async fn checked_spec(
        &self,
        world: &World,
        (environment, version, arm): (&Environment, &Version, &Arm),
        (id, planned): (InstanceId, Option<PlannedJob>),
        (program, is_on_host): (&str, bool),
    ) -> Result<InstanceSpec, NotStarted> {
        // Where it runs is decided, and means nothing to who runs it.
        let served_by = if is_on_host { own::PROGRAM } else { program };
        let run = run(version, arm, planned.as_ref(), (program, served_by))?;
        let run = RunSpec { hosts: HostWish::default(), ..run };
        let spec = self.spec(world, environment, (version, arm), (id, run));
        let mut spec = spec.map_err(NotStarted::of_host)?;
        spec.job = planned.map(|planned| planned.job);
        if !is_on_host {
            spec.calls = self.listened_for(environment, version, &spec).await.map_err(NotStarted::of_host)?;
        }
        if self.registry.is_told(&environment.name, &spec.id) {
            return Err(NotStarted::of_host("it was told to end before it was started"));
        }
        let noted = tokio::task::block_in_place(|| self.place.note_done(world.seq));
        noted.map_err(|error| NotStarted {
            reason: format!("what is done cannot be noted in the data folder: {error}"),
            fault: of_place(&error),
        })?;
        Ok(spec)
    }

    /// Notes that it is not the doing of a host when an instance does not start.
    fn blame_no_host(&self, id: &InstanceId) {
        if let Some(launch) = lock(&self.launches).get_mut(id) {
            launch.host = None;
        }
    }

    /// Describes an instance, apart from where it calls others by host and port.
    pub(crate) fn spec(
        &self,
        world: &World,
        environment: &Environment,
        (version, arm): (&Version, &Arm),
        (id, run): (InstanceId, RunSpec),
    ) -> Result<InstanceSpec, String> {
        let (mut variables, filled) = self.values(environment, arm)?;
        let urls = self.urls(world, environment, (version, arm));
        variables.extend(self.facts(environment, (version, arm), &urls, &id));
        Ok(InstanceSpec {
            id,
            environment: environment.name.clone(),
            arm: arm.clone(),
            run,
            job: None,
            variables,
            filled,
            urls,
            calls: None,
            ports: environment.settings.instance_ports,
            listen: None,
            release: version.artifact.digest,
            resources: self.resources().addresses(environment, version)?,
            resource: None,
            own: None,
            data_of: world.known_service(&arm.service).map(|service| service.data_name().clone()),
        })
    }

    /// Returns where the program of Lockstep is: on a host, or here.
    fn program_at(&self, link: Option<&Link>) -> Result<String, NotStarted> {
        if let Some(link) = link {
            let program = self.hosts.program().map_err(|error| NotStarted::of_host(error.to_string()))?;
            return link
                .program(&program)
                .ok_or_else(|| NotStarted::of_host("its host is not reached any more"));
        }
        let program = self.config.supervisor.first().and_then(|program| program.to_str());
        let program =
            program.ok_or_else(|| NotStarted::of_host("the program of Lockstep has no name in UTF-8"))?;
        Ok(program.to_owned())
    }

    /// Notes that an instance was not started. One that was told to end meanwhile has done what it was told.
    pub(crate) fn give_up(&self, environment: &EnvironmentName, id: &InstanceId, failed: NotStarted) {
        self.call_addresses.forget(id);
        self.starts.forget(id);
        let told = self.registry.is_told(environment, id);
        if let Some(launch) = lock(&self.launches).get_mut(id) {
            launch.state = match told {
                true => InstanceState::Stopped,
                false => InstanceState::failed(failed.reason, failed.fault),
            };
        }
    }

    /// Unpacks an artifact once. Its bytes are checked as a whole before the first of them is used.
    pub(crate) async fn unpack(&self, digest: Digest) -> Result<(), NotStarted> {
        let _one_at_a_time = self.unpacking.take(&digest).await;
        match self.driver.unpacked(&digest).await {
            Unpacked::Good(_) => return Ok(()),
            Unpacked::Missing => {}
            Unpacked::Changed(why) => {
                tracing::warn!(%digest, why, "an unpacked artifact is not what was unpacked, and is unpacked anew");
            }
        }
        let path = self.copy_of_artifact(&digest)?;
        let unpacked = match std::fs::File::open(&path) {
            Err(error) => Err(NotStarted { reason: error.to_string(), fault: of_place(&error) }),
            Ok(file) => {
                self.driver.unpack(digest, file).await.map_err(|error| BringError::from(error).into())
            }
        };
        // What is left over is cleaned at the next start; the artifact itself is in the blob store.
        let _ = std::fs::remove_file(&path);
        unpacked.map(|_| ())
    }

    /// Makes a copy of an artifact in a file of its own, checked as a whole.
    pub(crate) fn copy_of_artifact(&self, digest: &Digest) -> Result<PathBuf, NotStarted> {
        let path = self.scratch(&format!("artifact-{}", digest.short()))?;
        let copied = tokio::task::block_in_place(|| self.blobs.copy_verified_to(digest, &path));
        copied.map_err(|error| {
            let _ = std::fs::remove_file(&path);
            NotStarted { reason: with_sources(&error), fault: of_error(&error) }
        })?;
        Ok(path)
    }

    fn scratch(&self, name: &str) -> Result<PathBuf, NotStarted> {
        let folder = self.config.folder.join(SCRATCH);
        let failed = |error: io::Error| NotStarted { reason: error.to_string(), fault: of_place(&error) };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let unique = random_hex(4).map_err(failed)?;
        Ok(folder.join(format!("{name}-{unique}")))
    }

    /// The configuration of an arm: what is known, and what is filled in where the instance starts.
    fn values(&self, environment: &Environment, arm: &Arm) -> Result<(Variables, Variables), String> {
        let (mut known, mut filled) = (Variables::new(), Variables::new());
        for (key, value) in environment.configuration(&arm.service, arm.config).unwrap_or_default() {
            match value {
                ConfigValue::Plain(text) => known.insert(key, text),
                ConfigValue::Filled(text) => filled.insert(key, text),
                ConfigValue::Secret(name) => {
                    let unread = |error| format!("the secret value of `{key}`: {error}");
                    let value = self.secrets.get(&name).map_err(unread)?;
                    known.insert(key, value)
                }
            };
        }
        Ok((known, filled))
    }

    /// Where the services that a version requires are called: a worker is not.
    fn urls(
        &self,
        world: &World,
        environment: &Environment,
        (version, arm): (&Version, &Arm),
    ) -> BTreeMap<ServiceName, String> {
        let gateway = self.call_url(environment, arm);
        let url = |provider: &ServiceName| format!("{gateway}{SERVICE_PATH_PREFIX}{provider}");
        let answers = |provider: &&ServiceName| !works_unasked(world, environment, provider);
        version.requires.keys().filter(answers).map(|provider| (provider.clone(), url(provider))).collect()
    }

    /// What an instance is told of itself and of where it runs.
    fn facts(
        &self,
        environment: &Environment,
        (version, arm): (&Version, &Arm),
        urls: &BTreeMap<ServiceName, String>,
        id: &InstanceId,
    ) -> Variables {
        let mut variables = Variables::from([
            ("LOCKSTEP_SERVICE".to_owned(), arm.service.to_string()),
            ("LOCKSTEP_VERSION".to_owned(), arm.version.to_string()),
            ("LOCKSTEP_ENVIRONMENT".to_owned(), environment.name.to_string()),
            ("LOCKSTEP_INSTANCE".to_owned(), id.to_string()),
            (ADDRESS_VARIABLE.to_owned(), self.call_url(environment, arm)),
        ]);
        if let Some(process) = process_of(version, arm) {
            variables.insert("LOCKSTEP_PROCESS".to_owned(), process.to_string());
        }
        for (provider, url) in urls {
            let key = format!("LOCKSTEP_URL_{}", provider.as_str().to_uppercase().replace('-', "_"));
            variables.insert(key, url.clone());
        }
        variables
    }

    /// Returns where instances of an arm call other services, with what tells them from everybody else, and from each other as far as
    /// every gateway understands that.
    fn call_url(&self, environment: &Environment, arm: &Arm) -> String {
        let gateway = match &environment.settings.gateway_url {
            // Each host has a gateway of its own, which listens on the same port everywhere.
            CallAddress::Server if is_on_hosts(&self.ledger.world(), &environment.name) => {
                format!(
                    "http://{}",
                    SocketAddr::from((Ipv4Addr::LOCALHOST, environment.settings.gateway_port))
                )
            }
            CallAddress::Server => self.gateway_url(environment),
            CallAddress::Elsewhere(url) => url.to_string(),
        };
        let path = self.callers.path(&environment.name);
        match self.older_gateway(&environment.name, FORMAT_WITH_NAMED_CALLERS) {
            Some(_) => gateway + &path,
            None => format!("{gateway}{path}.{}", caller_name(arm)),
        }
    }

    /// Returns the address of an environment's gateway inside this server as a URL.
    pub(crate) fn gateway_url(&self, environment: &Environment) -> String {
        let mut address = self.gateway_socket(environment);
        if address.ip().is_unspecified() {
            // Listening everywhere includes loopback, which is where instances of this host find it.
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("http://{address}")
    }

    pub(crate) fn gateway_socket(&self, environment: &Environment) -> SocketAddr {
        SocketAddr::new(self.config.gateway_address, environment.settings.gateway_port)
    }

    /// Makes the gateway of an environment listen where its settings say, and nowhere else.
    pub(crate) fn keep_listening(&self, environment: &Environment) {
        let wanted = self.gateway_socket(environment);
        let mut listening = self.gateway.listening();
        listening.retain(|(name, address)| *address == wanted || !self.gateway.is_outside(name, *address));
        let mut of_environment = listening.iter().filter(|(name, _)| *name == environment.name);
        if of_environment.any(|(_, address)| *address == wanted) {
            return;
        }
        match self.gateway.listen(&environment.name, wanted) {
            Ok(_) => {
                for (_, old) in listening.iter().filter(|(name, _)| *name == environment.name) {
                    self.gateway.unlisten(&environment.name, *old);
                }
                lock(&self.deaf).remove(&environment.name);
                tracing::info!(environment = %environment.name, address = %wanted, "the gateway listens");
            }
            Err(error) => {
                let text = with_sources(&error);
                let before = lock(&self.deaf).insert(environment.name.clone(), text.clone());
                if before.as_ref() != Some(&text) {
                    tracing::error!(environment = %environment.name, error = text, "the gateway does not listen");
                }
            }
        }
    }

    /// Waits until the gateway of each environment listens, or is known not to; not longer than a person would.
    pub async fn gateways_listening(&self) -> Vec<GatewayListening> {
        let deadline = tokio::time::Instant::now() + LISTENING_WITHIN;
        loop {
            let all: Vec<_> =
                self.ledger.world().environments.values().map(|it| self.gateway_listening(it)).collect();
            let is_settled = all.iter().all(|gateway| gateway.is_settled);
            if is_settled || self.stop.is_cancelled() || tokio::time::Instant::now() >= deadline {
                return all;
            }
            tokio::time::sleep(LISTENING_PAUSE).await;
        }
    }

    fn gateway_listening(&self, environment: &Environment) -> GatewayListening {
        let (name, address) = (environment.name.clone(), self.gateway_socket(environment));
        let listens = self.gateway.listening().contains(&(name.clone(), address));
        let why = lock(&self.deaf).get(&name).cloned();
        GatewayListening {
            is_settled: listens || why.is_some(),
            problem: (!listens).then(|| why.unwrap_or_else(|| "it has no route table yet".to_owned())),
            environment: name,
            address,
        }
    }

    /// Says what this host does not keep services and builds from.
    #[must_use]
    pub fn unprotected(&self) -> Vec<String> {
        self.driver.unprotected()
    }

    /// Forgets an instance that is over.
    pub(crate) async fn forget_instance(self: &Arc<Self>, id: &InstanceId) {
        lock(&self.launches).remove(id);
        self.starts.forget(id);
        self.call_addresses.forget(id);
        if let Some(driver) = self.hosts.driver_of(id) {
            self.remove_on_host(driver, id.clone());
            return;
        }
        if let Err(error) = self.driver.remove(id).await {
            tracing::warn!(instance = %id, %error, "an instance that is over could not be forgotten");
        }
    }

    /// Opens the log of an instance, also of one that has ended, as long as it is kept.
    ///
    /// # Errors
    /// When there is no such instance in the environment, or its log is gone.
    pub async fn instance_log(
        &self,
        environment: &EnvironmentName,
        id: &InstanceId,
        follow: Follow,
    ) -> Result<Box<dyn LogLines>, Problem> {
        if let Some(driver) = self.hosts.driver_of(id) {
            let log = driver.log(environment, id, follow).await;
            let log = log.map_err(|error| Problem::new(ErrorCode::Unavailable, error.to_string()))?;
            return log.ok_or_else(|| self.no_log(environment, id));
        }
        let log = tokio::task::block_in_place(|| self.driver.log(environment, id, follow));
        log.map(|log| Box::new(log) as Box<dyn LogLines>).ok_or_else(|| self.no_log(environment, id))
    }

    fn no_log(&self, environment: &EnvironmentName, id: &InstanceId) -> Problem {
        let hint = format!("lockstep status {environment}");
        let world = self.ledger.world();
        let called = |service: &Service| {
            let names = world.former_names(&service.name).chain([&service.name]);
            names.cloned().collect::<Vec<_>>()
        };
        if !world
            .services
            .values()
            .any(|service| called(service).iter().any(|name| may_be_of(service, name, id)))
        {
            return not_found(format!("`{environment}` has no instance `{id}`"), &hint);
        }
        let kept = EndedLimits::default();
        let text = format!("`{environment}` has no instance `{id}`, or its log is gone: {kept}");
        not_found(text, &hint)
    }
}

/// How an instance of an arm is run, or a job of its version.
fn run_of(version: &Version, arm: &Arm, job: Option<&JobName>) -> Result<RunSpec, NotStarted> {
    let Some(name) = job else {
        let run = version.run_of(arm.process.as_ref()).cloned();
        return run.ok_or_else(|| NotStarted::of_host(format!("there is nothing to run of {arm}")));
    };
    let found = version.jobs.iter().find(|job| job.name == *name);
    let run = found.map(|job| job.run(&version.run));
    run.ok_or_else(|| NotStarted::of_host(format!("the version has no job `{name}`")))
}

/// What the process of an arm is called, where it has a name.
fn process_of<'a>(version: &'a Version, arm: &'a Arm) -> Option<&'a ProcessName> {
    arm.process.as_ref().or(version.processes.main.as_ref())
}

/// Tells whether a service is a worker in an environment.
fn works_unasked(world: &World, environment: &Environment, service: &ServiceName) -> bool {
    let service = world.current_name(service);
    let entry = environment.entries().get(service);
    let version = entry.and_then(|entry| world.version(&entry.arm(service).version_ref()));
    version.is_some_and(|version| !version.run.kind.is_web())
}

/// Tells whether an id is one that an instance of a service may have had: as [`new_id`] makes them.
fn may_be_of(service: &Service, name: &ServiceName, id: &InstanceId) -> bool {
    let version = id.as_str().strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('-'));
    let named = |rest: &str, number: &VersionNumber| rest.starts_with(&format!("{number}-c"));
    version.is_some_and(|rest| service.versions.keys().any(|number| named(rest, number)))
}

/// Names and values.
/// How the process of an arm is run, or a job of it, or a step at a database. `program` is that of Lockstep where it runs, and
/// `served_by` that of what Lockstep serves or passes on itself.
fn run(
    version: &Version,
    arm: &Arm,
    planned: Option<&PlannedJob>,
    (program, served_by): (&str, &str),
) -> Result<RunSpec, NotStarted> {
    if let Some(step) = planned.filter(|planned| planned.database.is_some()) {
        let run = run_of_step(version, step, program);
        return run.ok_or_else(|| NotStarted::of_host("the version does not bring the database"));
    }
    served(run_of(version, arm, planned.map(|planned| &planned.job))?, (version, arm), served_by)
}

/// Fills in the command of what Lockstep serves or passes on by itself: its own program. What it is told of files tells them apart
/// from those of every other version and configuration.
fn served(run: RunSpec, (version, arm): (&Version, &Arm), program: &str) -> Result<RunSpec, NotStarted> {
    if run.static_files.is_none() && run.external.is_none() {
        return Ok(run);
    }
    let command = match &run.static_files {
        None => External::command(program),
        Some(files) => {
            let tag = format!("{}-{}", version.artifact.digest.short(), arm.config);
            Site::new(files.clone(), tag).command(program).map_err(|error| of_static(&error))?
        }
    };
    Ok(RunSpec { command, ..run })
}

type Variables = BTreeMap<String, String>;

/// Why an instance was not started, and whose doing that is.
pub(crate) struct NotStarted {
    pub(crate) reason: String,
    pub(crate) fault: Fault,
}

impl NotStarted {
    pub(crate) fn of_host(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), fault: Fault::Host }
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }
}

impl From<StartError> for NotStarted {
    fn from(error: StartError) -> Self {
        Self { reason: with_sources(&error), fault: error.fault() }
    }
}

impl From<BringError> for NotStarted {
    fn from(error: BringError) -> Self {
        Self { reason: with_sources(&error), fault: error.fault() }
    }
}

fn of_static(error: &serde_json::Error) -> NotStarted {
    NotStarted::of_host(format!("what is served cannot be written: {error}"))
}

fn new_id(arm: &Arm) -> Result<InstanceId, Problem> {
    let unique = random_hex(3).map_err(internal)?;
    let process = arm.process.as_ref().map(|process| format!("{process}-")).unwrap_or_default();
    let id = format!("{}-{}-{}-{process}{unique}", arm.service, arm.version, arm.config);
    id.parse().map_err(internal)
}

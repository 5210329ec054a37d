//! Starting instances: artifact, variables, secrets, driver. And the listening of the environments' gateways.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use lockstep_api::Problem;
use lockstep_domain::intent::ConfigValue;
use lockstep_domain::routes::SERVICE_PATH_PREFIX;
use lockstep_domain::service::{Service, Version};
use lockstep_domain::{
    Arm, CallAddress, Digest, Environment, EnvironmentName, Instance, InstanceId, InstanceState,
    VersionNumber,
};
use lockstep_runtime::{EndedLimits, Follow, InstanceSpec, LogReader, Unpacked};

use crate::random::random_hex;
use crate::{Control, internal, lock, not_found};

/// Where artifacts lie while they are unpacked; emptied at every start.
pub(crate) const SCRATCH: &str = "scratch";

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
        let instance = Instance {
            id: id.clone(),
            environment: environment.name.clone(),
            arm: arm.clone(),
            state: InstanceState::Starting,
            address: None,
            since: self.ledger.now(),
            restarts: 0,
        };
        lock(&self.launches).insert(id.clone(), instance);
        let (control, environment, arm) = (Arc::clone(self), environment.clone(), arm.clone());
        self.spawn(async move {
            if let Err(reason) = control.start(&environment, &arm, id.clone()).await {
                tracing::warn!(instance = %id, reason, "an instance could not be started");
                control.give_up(&environment.name, &id, reason);
            }
            control.wake(&environment.name);
        });
    }

    async fn start(&self, environment: &Environment, arm: &Arm, id: InstanceId) -> Result<(), String> {
        let world = self.ledger.world();
        let version = world.version(&arm.version_ref()).ok_or("the version is not known")?;
        let _not_removed_meanwhile = self.unpacked.read().await;
        self.unpack(version.artifact.digest).await?;
        let variables = self.variables(environment, arm, version, &id)?;
        let spec = InstanceSpec {
            id,
            environment: environment.name.clone(),
            arm: arm.clone(),
            run: version.run.clone(),
            variables,
            release: version.artifact.digest,
        };
        if self.registry.is_told(&environment.name, &spec.id) {
            return Err("it was told to end before it was started".into());
        }
        let noted = tokio::task::block_in_place(|| self.place.note_done(world.seq));
        noted.map_err(|error| format!("what is done cannot be noted in the data folder: {error}"))?;
        self.driver.start(spec).await.map_err(|error| with_sources(&error))
    }

    /// Notes that an instance was not started. One that was told to end meanwhile has done what it was told.
    fn give_up(&self, environment: &EnvironmentName, id: &InstanceId, reason: String) {
        let told = self.registry.is_told(environment, id);
        if let Some(launch) = lock(&self.launches).get_mut(id) {
            launch.state = if told { InstanceState::Stopped } else { InstanceState::Failed { reason } };
        }
    }

    /// Unpacks an artifact once. Its bytes are checked as a whole before the first of them is used.
    async fn unpack(&self, digest: Digest) -> Result<(), String> {
        match self.driver.unpacked(&digest).await {
            Unpacked::Good(_) => return Ok(()),
            Unpacked::Missing => {}
            Unpacked::Changed(why) => {
                tracing::warn!(%digest, why, "an unpacked artifact is not what was unpacked, and is unpacked anew");
            }
        }
        let path = self.scratch(&format!("artifact-{}", digest.short()))?;
        let copied = tokio::task::block_in_place(|| self.blobs.copy_verified_to(&digest, &path));
        let unpacked = match copied {
            Err(error) => Err(with_sources(&error)),
            Ok(()) => match std::fs::File::open(&path) {
                Err(error) => Err(error.to_string()),
                Ok(file) => self.driver.unpack(digest, file).await.map_err(|error| with_sources(&error)),
            },
        };
        // What is left over is cleaned at the next start; the artifact itself is in the blob store.
        let _ = std::fs::remove_file(&path);
        unpacked.map(|_| ())
    }

    fn scratch(&self, name: &str) -> Result<PathBuf, String> {
        let folder = self.config.folder.join(SCRATCH);
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let unique = random_hex(4).map_err(|error| error.to_string())?;
        Ok(folder.join(format!("{name}-{unique}")))
    }

    /// The variables of an instance: the version's own, then the configuration, then the facts of where it runs.
    fn variables(
        &self,
        environment: &Environment,
        arm: &Arm,
        version: &Version,
        id: &InstanceId,
    ) -> Result<BTreeMap<String, String>, String> {
        let mut variables = BTreeMap::new();
        let configuration = environment.configuration(&arm.service, arm.config).unwrap_or_default();
        for (key, value) in configuration {
            let value = match value {
                ConfigValue::Plain(text) => text,
                ConfigValue::Secret(name) => self
                    .secrets
                    .get(&name)
                    .map_err(|error| format!("the secret value of `{key}`: {error}"))?,
            };
            variables.insert(key, value);
        }
        let gateway = self.call_url(environment);
        variables.extend([
            ("LOCKSTEP_SERVICE".to_owned(), arm.service.to_string()),
            ("LOCKSTEP_VERSION".to_owned(), arm.version.to_string()),
            ("LOCKSTEP_ENVIRONMENT".to_owned(), environment.name.to_string()),
            ("LOCKSTEP_INSTANCE".to_owned(), id.to_string()),
            ("LOCKSTEP_GATEWAY".to_owned(), gateway.clone()),
        ]);
        for provider in version.requires.keys() {
            let key = format!("LOCKSTEP_URL_{}", provider.as_str().to_uppercase().replace('-', "_"));
            variables.insert(key, format!("{gateway}{SERVICE_PATH_PREFIX}{provider}"));
        }
        Ok(variables)
    }

    /// Returns where the instances of an environment call other services, with what tells them from everybody else.
    fn call_url(&self, environment: &Environment) -> String {
        let gateway = match &environment.settings.gateway_url {
            CallAddress::Server => self.gateway_url(environment),
            CallAddress::Elsewhere(url) => url.to_string(),
        };
        gateway + &self.callers.path(&environment.name)
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

    fn gateway_socket(&self, environment: &Environment) -> SocketAddr {
        SocketAddr::new(self.config.gateway_address, environment.settings.gateway_port)
    }

    /// Makes the gateway of an environment listen where its settings say, and nowhere else.
    pub(crate) fn keep_listening(&self, environment: &Environment) {
        let wanted = self.gateway_socket(environment);
        let listening = self.gateway.listening();
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

    /// Forgets an instance that is over.
    pub(crate) async fn forget_instance(&self, id: &InstanceId) {
        lock(&self.launches).remove(id);
        if let Err(error) = self.driver.remove(id).await {
            tracing::warn!(instance = %id, %error, "an instance that is over could not be forgotten");
        }
    }

    /// Opens the log of an instance, also of one that has ended, as long as it is kept.
    ///
    /// # Errors
    /// When there is no such instance in the environment, or its log is gone.
    pub fn instance_log(
        &self,
        environment: &EnvironmentName,
        id: &InstanceId,
        follow: Follow,
    ) -> Result<LogReader, Problem> {
        let log = tokio::task::block_in_place(|| self.driver.log(environment, id, follow));
        log.ok_or_else(|| self.no_log(environment, id))
    }

    fn no_log(&self, environment: &EnvironmentName, id: &InstanceId) -> Problem {
        let hint = format!("lockstep status {environment}");
        let world = self.ledger.world();
        if !world.services.values().any(|service| may_be_of(service, id)) {
            return not_found(format!("`{environment}` has no instance `{id}`"), &hint);
        }
        let kept = EndedLimits::default();
        let text = format!("`{environment}` has no instance `{id}`, or its log is gone: {kept}");
        not_found(text, &hint)
    }
}

/// Tells whether an id is one that an instance of a service may have had: as [`new_id`] makes them.
fn may_be_of(service: &Service, id: &InstanceId) -> bool {
    let version = id.as_str().strip_prefix(service.name.as_str()).and_then(|rest| rest.strip_prefix('-'));
    let named = |rest: &str, number: &VersionNumber| rest.starts_with(&format!("{number}-c"));
    version.is_some_and(|rest| service.versions.keys().any(|number| named(rest, number)))
}

fn new_id(arm: &Arm) -> Result<InstanceId, Problem> {
    let unique = random_hex(3).map_err(internal)?;
    format!("{}-{}-{}-{unique}", arm.service, arm.version, arm.config).parse().map_err(internal)
}

/// Writes an error with all its causes on one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

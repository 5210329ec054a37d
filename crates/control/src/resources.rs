//! Resources of environments: saying where they are, having them run here, showing and removing them.
//!
//! Invariant: an address with its password, and a generated password, go from the request or the system into the secret store, from
//! there into `spec.json` of instances, and nowhere else.

mod health;
mod launch;

use std::collections::BTreeMap;

use lockstep_api::types::{
    AddResource, ChangeResource, DataFolderView, DataSize, OfResource, RemoveResource, ResourceHealth,
    ResourceRunView, ResourceView, RunResource,
};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::instance::InstanceState;
use lockstep_domain::name::ResourceName;
use lockstep_domain::observed::is_alive;
use lockstep_domain::resource::address::Address;
use lockstep_domain::resource::needs::needed_by;
use lockstep_domain::resource::{Origin, Resource, ResourceKind};
use lockstep_domain::service::Version;
use lockstep_domain::work_path::WorkPath;
use lockstep_domain::{Actor, Environment, EnvironmentName, Event, Instance, ServiceName, VersionRef, World};
use lockstep_runtime::resource::{USER, as_owner, database, folder_of, make_folder, programs};
use lockstep_runtime::{LocalDriver, measure};

pub(crate) use self::health::Health;
use crate::environments::find;
use crate::ledger::Ledger;
use crate::random::random_hex;
use crate::secrets::Secrets;
use crate::{Control, internal, not_found, operations, storage_problem};

/// Bytes of a generated password: nobody guesses it, however fast the database answers.
const PASSWORD_BYTES: usize = 20;
/// Most resources of an environment.
const MAX_RESOURCES: usize = 50;
/// Files that are counted in the data of resources of one answer.
const MAX_MEASURED: u64 = 100_000;
/// How long a database that was told to end is waited for before its data can go: its time to end, and to be killed.
const ENDED_WITHIN: std::time::Duration = std::time::Duration::from_secs(80);

/// The resources of all environments. The ledger is lent to it.
#[derive(Debug)]
pub struct Resources<'a> {
    ledger: &'a Ledger,
    secrets: &'a Secrets,
    driver: &'a LocalDriver,
    health: &'a Health,
    control: &'a Control,
}

impl Control {
    /// Returns the resources of all environments.
    #[must_use]
    pub fn resources(&self) -> Resources<'_> {
        Resources {
            ledger: &self.ledger,
            secrets: &self.secrets,
            driver: &self.driver,
            health: &self.resource_health,
            control: self,
        }
    }

    /// Removes a resource that nothing needs which runs; with its data when that is asked for, also when the resource itself was
    /// removed before. Returns those that are left.
    ///
    /// # Errors
    /// When there is none, something that runs needs it, or its process does not end.
    pub async fn remove_resource(
        &self,
        actor: &Actor,
        environment: &EnvironmentName,
        name: &ResourceName,
        request: &RemoveResource,
    ) -> Result<Vec<ResourceView>, Problem> {
        tokio::task::block_in_place(|| self.resources().remove(actor, environment, name, request))?;
        self.wake(environment);
        if request.delete_data {
            self.wait_for_end(environment, name).await?;
            let _no_start_meanwhile = self.unpacked.write().await;
            tokio::task::block_in_place(|| {
                self.resources().delete_data(actor, environment, name, &request.reason)
            })?;
        }
        match self.ledger.world().environment(environment) {
            Some(_) => tokio::task::block_in_place(|| self.resources().list(environment)),
            None => Ok(Vec::new()),
        }
    }

    async fn wait_for_end(&self, environment: &EnvironmentName, name: &ResourceName) -> Result<(), Problem> {
        let mut instances = self.driver.watch();
        let is_of = |it: &Instance| it.environment == *environment && it.resource.as_ref() == Some(name);
        let ended =
            instances.wait_for(|all| all.values().filter(|it| is_of(it)).all(|it| it.state.is_over()));
        if tokio::time::timeout(ENDED_WITHIN, ended).await.is_ok() {
            return Ok(());
        }
        let what = format!("`{name}` is removed, and its data is not: its process has not ended yet");
        let hint = format!(
            "run again when it has: lockstep resource remove {name} --env {environment} --delete-data"
        );
        Err(Problem::new(ErrorCode::Unavailable, what).with_hint(hint))
    }
}

impl Resources<'_> {
    /// Says where a resource is that somebody else runs.
    ///
    /// # Errors
    /// When the environment does not exist, has one of that name, or the address is none.
    pub async fn add(
        &self,
        actor: &Actor,
        environment: &EnvironmentName,
        request: &AddResource,
    ) -> Result<ResourceView, Problem> {
        let AddResource { resource, kind, url, reason } = request;
        operations::check_reason(reason)?;
        check_free(&self.ledger.world(), environment, resource)?;
        let address = read_address(
            *kind,
            url,
            &format!("lockstep resource add {resource} --kind {kind}"),
            environment,
        )?;
        let origin = Origin::Elsewhere { secret: self.keep(&address)? };
        self.record(actor, (environment, resource), *kind, origin, reason, check_free)?;
        self.ask(environment, resource, address).await;
        self.show(environment, resource)
    }

    /// Changes where a resource is that somebody else runs.
    ///
    /// # Errors
    /// When there is none, Lockstep runs it, or the address is none.
    pub async fn change(
        &self,
        actor: &Actor,
        environment: &EnvironmentName,
        name: &ResourceName,
        request: &ChangeResource,
    ) -> Result<ResourceView, Problem> {
        operations::check_reason(&request.reason)?;
        let kind = {
            let world = self.ledger.world();
            check_elsewhere(&world, environment, name)?;
            find_resource(find(&world, environment)?, name)?.kind
        };
        let command = format!("lockstep resource set {name}");
        let address = read_address(kind, &request.url, &command, environment)?;
        let origin = Origin::Elsewhere { secret: self.keep(&address)? };
        self.record(actor, (environment, name), kind, origin, &request.reason, check_elsewhere)?;
        self.ask(environment, name, address).await;
        self.show(environment, name)
    }

    /// Has Lockstep run a resource. Data that one of the name and kind left is found again.
    ///
    /// # Errors
    /// When the environment does not exist, has one of that name, or this host has no program for it.
    pub fn run(
        &self,
        actor: &Actor,
        environment: &EnvironmentName,
        request: &RunResource,
    ) -> Result<ResourceView, Problem> {
        let RunResource { resource, kind, reason } = request;
        operations::check_reason(reason)?;
        let world = self.ledger.world();
        check_free(&world, environment, resource)?;
        programs::check(*kind).map_err(|missing| {
            let hint = format!(
                "or say where another is: lockstep resource add {resource} --kind {kind} --env {environment}"
            );
            Problem::new(ErrorCode::Refused, missing).with_hint(hint)
        })?;
        let port = self.new_port(find(&world, environment)?)?;
        self.reserve_ports(Some(port));
        let password = random_hex(PASSWORD_BYTES).map_err(internal)?;
        let secret = self
            .secrets
            .put(&password)
            .map_err(|error| storage_problem("its password could not be kept", &error))?;
        make_folder(&self.driver.resource_folders(), environment, resource, *kind)
            .map_err(|error| storage_problem("the folder of its data could not be made", &error))?;
        let recorded = self.record(
            actor,
            (environment, resource),
            *kind,
            Origin::Here { secret, port },
            reason,
            check_free,
        );
        self.reserve_ports(None);
        recorded?;
        self.control.wake(environment);
        self.show(environment, resource)
    }

    fn record(
        &self,
        actor: &Actor,
        (environment, resource): (&EnvironmentName, &ResourceName),
        kind: ResourceKind,
        origin: Origin,
        reason: &str,
        check: impl Fn(&World, &EnvironmentName, &ResourceName) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let event = Event::ResourceSet {
            environment: environment.clone(),
            resource: resource.clone(),
            kind,
            origin,
            reason: reason.to_owned(),
        };
        tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                check(world, environment, resource)?;
                Ok((vec![event.clone()], ()))
            })
        })
    }

    fn remove(
        &self,
        actor: &Actor,
        environment: &EnvironmentName,
        name: &ResourceName,
        request: &RemoveResource,
    ) -> Result<(), Problem> {
        operations::check_reason(&request.reason)?;
        let left = request.delete_data && !self.data_of(environment, name)?.is_empty();
        self.ledger.commit(actor, |world, _| {
            let found = world.environment(environment).filter(|it| it.resources.contains_key(name));
            let Some(found) = found else {
                // Its data is all that is left of it.
                return if left { Ok((Vec::new(), ())) } else { Err(no_resource(world, environment, name)) };
            };
            check_unneeded(&needed_by(world, found, name), environment, name)?;
            let (environment, resource, reason) = (environment.clone(), name.clone(), request.reason.clone());
            Ok((vec![Event::ResourceRemoved { environment, resource, reason }], ()))
        })?;
        self.reserve_ports(None);
        Ok(())
    }

    /// Removes what a resource has left that is not there any more.
    fn delete_data(
        &self,
        actor: &Actor,
        environment: &EnvironmentName,
        name: &ResourceName,
        reason: &str,
    ) -> Result<(), Problem> {
        let world = self.ledger.world();
        if world.environment(environment).is_some_and(|it| it.resources.contains_key(name)) {
            let detail = format!("`{environment}` has a resource `{name}` again; its data is kept");
            return Err(Problem::new(ErrorCode::Conflict, detail));
        }
        let folders = self.driver.resource_folders();
        let all = self.data_of(environment, name)?;
        if !all.is_empty() {
            let (of_environment, resource) = (environment.clone(), name.clone());
            self.ledger.note(
                actor,
                &Event::ResourceDataRemoved { of_environment, resource, reason: reason.to_owned() },
            );
        }
        for kind in all {
            let taken = folders.take_away(environment, &as_owner(name), &kind);
            if let Some(taken) = taken.map_err(|error| unreadable(&error))? {
                folders.clear(&taken).map_err(|error| unreadable(&error))?;
            }
        }
        Ok(())
    }

    /// The folders of data that a resource has, or has left.
    fn data_of(&self, environment: &EnvironmentName, name: &ResourceName) -> Result<Vec<WorkPath>, Problem> {
        self.driver.resource_folders().tops(environment, &as_owner(name)).map_err(|error| unreadable(&error))
    }

    /// Lists the resources of an environment.
    ///
    /// # Errors
    /// When there is no such environment.
    pub fn list(&self, environment: &EnvironmentName) -> Result<Vec<ResourceView>, Problem> {
        let world = self.ledger.world();
        let found = find(&world, environment)?;
        let mut left = MAX_MEASURED;
        let mut views = self.views(&world, found);
        for run in views.iter_mut().filter_map(|view| view.run.as_mut()) {
            run.size = measured(&run.path, &mut left);
        }
        Ok(views)
    }

    /// Shows a resource.
    ///
    /// # Errors
    /// When there is none.
    pub fn show(&self, environment: &EnvironmentName, name: &ResourceName) -> Result<ResourceView, Problem> {
        let all = self.list(environment)?;
        let found = all.into_iter().find(|view| view.resource == *name);
        found.ok_or_else(|| no_resource(&self.ledger.world(), environment, name))
    }

    /// Shows the resources of an environment without sizes.
    pub(crate) fn views(&self, world: &World, environment: &Environment) -> Vec<ResourceView> {
        let all = self.control.everything_of(world, &environment.name);
        let view = |(name, resource): (&ResourceName, &Resource)| {
            let of = |it: &&Instance| it.resource.as_ref() == Some(name);
            let instances: Vec<_> = all.iter().filter(of).cloned().collect();
            let path = || folder_of(&self.driver.resource_folders(), &environment.name, name, resource.kind);
            ResourceView {
                environment: environment.name.clone(),
                resource: name.clone(),
                kind: resource.kind,
                address: self.address(name, resource).map_or_else(|why| why, |address| address.shown()),
                health: self.health_of(resource, &resource.arm(name), &instances),
                needed_by: needed_by(world, environment, name),
                run: resource.runs_here().then(|| ResourceRunView {
                    instances,
                    path: path().display().to_string(),
                    size: None,
                }),
            }
        };
        environment.resources.iter().map(view).collect()
    }

    fn health_of(
        &self,
        resource: &Resource,
        arm: &lockstep_domain::Arm,
        instances: &[Instance],
    ) -> ResourceHealth {
        if !resource.runs_here() {
            return self.health.of(resource.record);
        }
        let of_it = instances.iter().filter(|instance| instance.arm == *arm);
        let alive = of_it.clone().find(|instance| is_alive(instance));
        let unhealthy = |reason: &str| ResourceHealth::Unhealthy { reason: reason.to_owned() };
        match alive.or_else(|| of_it.max_by_key(|instance| instance.since)).map(|it| &it.state) {
            Some(InstanceState::Healthy) => ResourceHealth::Healthy,
            Some(InstanceState::Unhealthy { reason } | InstanceState::Failed { reason, .. }) => {
                unhealthy(reason)
            }
            Some(InstanceState::Starting) => unhealthy("it is starting"),
            Some(_) => unhealthy("it is ending"),
            None => unhealthy("it is about to be started"),
        }
    }

    /// Lists what lies on disk of resources, also of those that are removed, as data folders are listed.
    pub(crate) fn data(&self, only: Option<&EnvironmentName>) -> Result<Vec<DataFolderView>, Problem> {
        let folders = self.driver.resource_folders();
        let world = self.ledger.world();
        let mut views = Vec::new();
        for (environment, owner) in folders.owners().map_err(|error| unreadable(&error))? {
            let Ok(name) = owner.as_str().parse::<ResourceName>() else { continue };
            if only.is_some_and(|only| environment != *only) {
                continue;
            }
            for folder in self.data_of(&environment, &name)? {
                views.push(data_view(&world, &environment, &name, (&owner, folder, &folders)));
            }
        }
        Ok(views)
    }

    /// Returns where the resources are that a version needs in an environment.
    ///
    /// # Errors
    /// When one is not there, or its secret cannot be read.
    pub(crate) fn addresses(
        &self,
        environment: &Environment,
        version: &Version,
    ) -> Result<BTreeMap<ResourceName, Address>, String> {
        let address = |name: &ResourceName| {
            let missing = || format!("`{}` has no resource `{name}`", environment.name);
            let resource = environment.resources.get(name).ok_or_else(missing)?;
            Ok((name.clone(), self.address(name, resource)?))
        };
        version.resources.keys().map(address).collect()
    }

    fn address(&self, name: &ResourceName, resource: &Resource) -> Result<Address, String> {
        let (Origin::Here { secret, .. } | Origin::Elsewhere { secret }) = &resource.origin;
        let unread = |error: std::io::Error| format!("the secret of the resource `{name}`: {error}");
        let value = self.secrets.get(secret).map_err(unread)?;
        match &resource.origin {
            Origin::Here { port, .. } => {
                // Redis had no users for long, and clients that know of none still are many.
                let user = if resource.kind == ResourceKind::Redis { "" } else { USER };
                let database = database(resource.kind, name);
                Ok(Address::here(resource.kind, (user, &value), *port, database))
            }
            Origin::Elsewhere { .. } => Address::of(resource.kind, &value).map_err(|error| error.to_string()),
        }
    }

    fn address_in(&self, kind: ResourceKind, secret: &str) -> Option<Address> {
        Address::of(kind, &self.secrets.get(secret).ok()?).ok()
    }

    fn keep(&self, address: &Address) -> Result<String, Problem> {
        let url = address.detail(lockstep_domain::resource::Detail::Url);
        self.secrets.put(&url).map_err(|error| storage_problem("the address could not be kept", &error))
    }

    async fn ask(&self, environment: &EnvironmentName, name: &ResourceName, address: Address) {
        let world = self.ledger.world();
        let found = world.environment(environment).and_then(|it| it.resources.get(name));
        if let Some(resource) = found {
            self.health.ask(resource.record, resource.kind, address).await;
        }
    }
}

fn data_view(
    world: &World,
    environment: &EnvironmentName,
    name: &ResourceName,
    (owner, folder, folders): (&ServiceName, WorkPath, &lockstep_runtime::DataFolders),
) -> DataFolderView {
    let found = world.environment(environment);
    let in_use = found
        .and_then(|it| it.resources.get(name))
        .is_some_and(|resource| resource.runs_here() && resource.kind.as_str() == folder.as_str());
    let needed: Vec<VersionRef> = found.map(|found| needed_by(world, found, name)).unwrap_or_default();
    DataFolderView {
        environment: environment.clone(),
        service: owner.clone(),
        of_resource: Some(OfResource { resource: name.clone(), in_use }),
        path: folders.of(environment, owner).join(folder.as_str()).display().to_string(),
        is_there: true,
        declared_by: needed.into_iter().map(|version| version.version).collect(),
        last_declared_by: None,
        size: None,
        folder,
    }
}

fn measured(path: &str, left: &mut u64) -> Option<DataSize> {
    let size = measure(std::path::Path::new(path), left)?;
    Some(DataSize { bytes: size.bytes, entries: size.entries, at_least: size.at_least })
}

fn unreadable(error: &std::io::Error) -> Problem {
    storage_problem("the data of resources cannot be used", error)
}

fn read_address(
    kind: ResourceKind,
    url: &str,
    command: &str,
    environment: &EnvironmentName,
) -> Result<Address, Problem> {
    Address::of(kind, url).map_err(|error| {
        let example = match kind {
            ResourceKind::Postgresql => "postgresql://USER:PASSWORD@HOST:5432/DATABASE",
            ResourceKind::Mysql => "mysql://USER:PASSWORD@HOST:3306/DATABASE",
            ResourceKind::Redis => "redis://:PASSWORD@HOST:6379/0",
            ResourceKind::Other => "SCHEME://USER:PASSWORD@HOST:PORT/NAME",
        };
        Problem::new(ErrorCode::BadRequest, error.to_string())
            .with_hint(format!("it looks like {example}: {command} --env {environment}"))
    })
}

fn find_resource<'a>(environment: &'a Environment, name: &ResourceName) -> Result<&'a Resource, Problem> {
    let missing = || {
        let what = format!("`{}` has no resource `{name}`", environment.name);
        not_found(what, &format!("lockstep resource list --env {}", environment.name))
    };
    environment.resources.get(name).ok_or_else(missing)
}

fn no_resource(world: &World, environment: &EnvironmentName, name: &ResourceName) -> Problem {
    match find(world, environment).and_then(|found| find_resource(found, name)) {
        Err(problem) => problem,
        // Somebody was quicker.
        Ok(_) => Problem::new(ErrorCode::Conflict, format!("`{name}` was added meanwhile")),
    }
}

fn check_free(world: &World, environment: &EnvironmentName, name: &ResourceName) -> Result<(), Problem> {
    let found = find(world, environment)?;
    if let Some(resource) = found.resources.get(name) {
        let detail =
            format!("`{environment}` has a resource `{name}` already, of the kind {}", resource.kind);
        let hint = match resource.origin {
            Origin::Elsewhere { .. } => {
                format!("to change its address: lockstep resource set {name} --env {environment}")
            }
            Origin::Here { .. } => format!("lockstep resource show {name} --env {environment}"),
        };
        return Err(Problem::new(ErrorCode::Conflict, detail).with_hint(hint));
    }
    if found.resources.len() >= MAX_RESOURCES {
        let detail = format!("`{environment}` has {MAX_RESOURCES} resources already");
        return Err(Problem::new(ErrorCode::Refused, detail));
    }
    Ok(())
}

fn check_elsewhere(world: &World, environment: &EnvironmentName, name: &ResourceName) -> Result<(), Problem> {
    match find_resource(find(world, environment)?, name)?.runs_here() {
        false => Ok(()),
        true => {
            let detail = format!("Lockstep runs `{name}` itself in `{environment}`, and says where it is");
            let hint = format!("lockstep resource show {name} --env {environment}");
            Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint))
        }
    }
}

fn check_unneeded(
    needed: &[VersionRef],
    environment: &EnvironmentName,
    name: &ResourceName,
) -> Result<(), Problem> {
    let Some(first) = needed.first() else { return Ok(()) };
    let all: Vec<_> = needed.iter().map(ToString::to_string).collect();
    let detail = format!(
        "nothing was removed: {} needs `{name}`, and runs or is on its way in `{environment}`",
        all.join(", ")
    );
    let hint = format!("take it out first: lockstep remove {} --env {environment}", first.service);
    Err(Problem::new(ErrorCode::Refused, detail).with_hint(hint))
}

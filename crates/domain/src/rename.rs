//! Renaming a service: its former names go on meaning it.
//!
//! A name stands in versions, which never change, in what runs, and in what others call it by. So a former name stays, and is
//! resolved where a name comes in; what is known of the service goes by its present name from then on. Invariant: a name means one
//! service for ever, no former name is the name of another service, and none leads to a former name.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::{OrdMap, Vector};
use thiserror::Error;

use crate::baseline::{BaselineEntry, Entries, OperationId};
use crate::contract::Requirement;
use crate::environment::Environment;
use crate::fault::Blame;
use crate::instance::{Arm, Instance};
use crate::intent::Intent;
use crate::job::PlannedJob;
use crate::name::{EnvironmentName, ServiceName};
use crate::operation::{Operation, Phase};
use crate::proven::Proof;
use crate::service::{Service, Version};
use crate::version::VersionRef;
use crate::version_rules::VersionRule;
use crate::world::World;

/// Why a service cannot be given a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RenameError {
    /// There is no such service.
    #[error("there is no service `{0}`")]
    NoService(ServiceName),
    /// It has the name.
    #[error("`{0}` is called that already")]
    Same(ServiceName),
    /// Another service has the name; also one that was removed, because its numbers stay given.
    #[error("`{to}` is the name of another service{}", if *removed { ", which was removed" } else { "" })]
    Taken {
        /// The name.
        to: ServiceName,
        /// Whether that service was removed.
        removed: bool,
    },
    /// It is a former name of another service.
    #[error("`{to}` is a former name of `{of}`")]
    Former {
        /// The name.
        to: ServiceName,
        /// Whose.
        of: ServiceName,
    },
    /// Something is under way with the service.
    #[error("operation {operation} ({intent}) is under way with `{service}` in `{environment}`")]
    UnderWay {
        /// The service.
        service: ServiceName,
        /// Where.
        environment: EnvironmentName,
        /// Which.
        operation: OperationId,
        /// What it does.
        intent: String,
    },
}

impl RenameError {
    /// Returns the command that helps, or shows more.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoService(_) => "lockstep services".to_owned(),
            Self::Same(name) => format!("lockstep show {name}"),
            Self::Taken { .. } => "choose a name that no service has or had: lockstep services".to_owned(),
            Self::Former { of, .. } => format!("choose another name; what it stands for: lockstep show {of}"),
            Self::UnderWay { environment, operation, .. } => format!(
                "wait for it with `lockstep watch {operation}`, or take it back with `lockstep undo {environment} --operation {operation}`"
            ),
        }
    }
}

/// Checks that a service can be given a name; `from` is its present name.
///
/// # Errors
/// The first reason against it.
pub fn check(world: &World, from: &ServiceName, to: &ServiceName) -> Result<(), RenameError> {
    if world.service(from).is_none() || world.is_former(from) {
        return Err(RenameError::NoService(from.clone()));
    }
    if from == to {
        return Err(RenameError::Same(to.clone()));
    }
    if let Some(other) = world.services.get(to) {
        return Err(RenameError::Taken { to: to.clone(), removed: other.removed.is_some() });
    }
    if let Some(of) = world.renamed.get(to).filter(|of| *of != from) {
        return Err(RenameError::Former { to: to.clone(), of: of.clone() });
    }
    for environment in world.environments.values() {
        if let Some(operation) = environment.under_way().find(|it| it.touches().contains(from)) {
            return Err(RenameError::UnderWay {
                service: from.clone(),
                environment: environment.name.clone(),
                operation: operation.id,
                intent: operation.intent.to_string(),
            });
        }
    }
    Ok(())
}

/// Gives a service another name. Folding only.
pub(crate) fn rename(world: &mut World, from: &ServiceName, to: &ServiceName) -> Result<(), String> {
    check(world, from, to).map_err(|error| error.to_string())?;
    let Some(service) = world.services.remove(from) else { return Err(format!("no service `{from}`")) };
    let mut service = Service::clone(&service);
    service.first_name.get_or_insert_with(|| from.clone());
    service.name = to.clone();
    world.services.insert(to.clone(), Arc::new(service));
    let former = world.renamed.iter().filter(|(name, _)| *name != to);
    let leads_to = |of: &ServiceName| if of == from { to.clone() } else { of.clone() };
    world.renamed = former.map(|(name, of)| (name.clone(), leads_to(of))).collect();
    world.renamed.insert(from.clone(), to.clone());
    let change = Renaming { from, to };
    let environments = world.environments.iter();
    world.environments =
        environments.map(|(name, it)| (name.clone(), Arc::new(change.environment(it)))).collect();
    Ok(())
}

impl World {
    /// Returns what a name stands for now: the present name of the service that was called so, or else the name itself.
    #[must_use]
    pub fn current_name<'a>(&'a self, name: &'a ServiceName) -> &'a ServiceName {
        self.renamed.get(name).unwrap_or(name)
    }

    /// Tells whether a name is the former name of a service.
    #[must_use]
    pub fn is_former(&self, name: &ServiceName) -> bool {
        self.renamed.contains_key(name)
    }

    /// Lists the former names of a service.
    pub fn former_names<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a ServiceName> {
        self.renamed.iter().filter(move |(_, of)| *of == service).map(|(former, _)| former)
    }

    /// Lists what a version requires, by the present names of its providers.
    pub fn requirements<'a>(
        &'a self,
        version: &'a Version,
    ) -> impl Iterator<Item = (&'a ServiceName, &'a Requirement)> + use<'a> {
        version.requires.iter().map(|(provider, needed)| (self.current_name(provider), needed))
    }

    /// Lists what a version requires of a service, under whichever of its names.
    pub fn requirements_on<'a>(
        &'a self,
        version: &'a Version,
        provider: &'a ServiceName,
    ) -> impl Iterator<Item = &'a Requirement> + use<'a> {
        let provider = self.current_name(provider);
        self.requirements(version).filter(move |(of, _)| *of == provider).map(|(_, needed)| needed)
    }

    /// Returns instances by the present names of their services: one that was started before goes on under its former name.
    #[must_use]
    pub fn as_named_now(&self, mut instances: Vec<Instance>) -> Vec<Instance> {
        if !self.renamed.is_empty() {
            let of_services = instances.iter_mut().filter(|instance| instance.resource.is_none());
            of_services.for_each(|instance| self.resolve(&mut instance.arm.service));
        }
        instances
    }

    /// Returns an intent by the present names of services.
    #[must_use]
    pub fn intent_as_named_now(&self, intent: &Intent) -> Intent {
        let mut intent = intent.clone();
        match &mut intent {
            Intent::Deploy { versions } | Intent::RollBackServices { versions, .. } => {
                versions.iter_mut().for_each(|version| self.resolve(&mut version.service));
            }
            Intent::Promote { services, .. } | Intent::Remove { services } => {
                services.iter_mut().for_each(|service| self.resolve(service));
            }
            Intent::RollBackService { service, .. }
            | Intent::Configure { service, .. }
            | Intent::UseConfiguration { service, .. }
            | Intent::Scale { service, .. }
            | Intent::Restart { service, .. }
            | Intent::RunJob { service, .. } => self.resolve(service),
            Intent::Database { version, .. } => {
                version.iter_mut().for_each(|version| self.resolve(&mut version.service));
            }
            Intent::RollBackEnvironment { .. }
            | Intent::RollBackToLastGood { .. }
            | Intent::Rebalance { .. }
            | Intent::Undo => {}
        }
        intent
    }

    fn resolve(&self, name: &mut ServiceName) {
        if let Some(now) = self.renamed.get(name) {
            *name = now.clone();
        }
    }
}

/// One name in the place of another, in everything that is known of an environment.
#[derive(Clone, Copy)]
struct Renaming<'a> {
    from: &'a ServiceName,
    to: &'a ServiceName,
}

impl Renaming<'_> {
    fn environment(self, environment: &Environment) -> Environment {
        let mut renamed = environment.clone();
        renamed.baselines.each_entries(|entries| self.entries(entries));
        self.key(&mut renamed.configurations);
        self.key(&mut renamed.configured);
        self.key(&mut renamed.replicas);
        self.key(&mut renamed.process_replicas);
        self.key(&mut renamed.scheduled);
        renamed.each_schedule(|scheduled| scheduled.planned_mut().for_each(|planned| self.planned(planned)));
        renamed.version_rules.each(|rule| self.rule(rule));
        renamed.version_rules.lanes.each_service(|it| {
            if it.service == *self.from {
                it.service = self.to.clone();
            }
        });
        let faults = renamed.settings.gateway_rules.faults.iter_mut();
        faults.filter(|fault| fault.service == *self.from).for_each(|fault| fault.service = self.to.clone());
        let pages = renamed.settings.gateway_rules.maintenance.iter_mut();
        let of_it = pages.filter_map(|page| page.service.as_mut()).filter(|service| *service == self.from);
        of_it.for_each(|service| *service = self.to.clone());
        self.key(&mut renamed.said);
        let said = renamed.said.get_mut(self.to).into_iter().flatten();
        said.for_each(|it| it.arm = self.arm(it.arm.clone()));
        renamed.proven =
            renamed.proven.into_iter().map(|(number, proof)| (number, self.proof(proof))).collect();
        let holds = renamed.holds.into_iter();
        renamed.holds = holds.map(|(version, hold)| (self.version(version), hold)).collect();
        renamed.warm = renamed.warm.into_iter().map(|(arm, until)| (self.arm(arm), until)).collect();
        renamed.prepared = renamed.prepared.into_iter().map(|(arm, until)| (self.arm(arm), until)).collect();
        renamed.starts = renamed.starts.into_iter().map(|(arm, all)| (self.arm(arm), all)).collect();
        renamed.each_operation(|operation| self.operation(operation));
        renamed
    }

    /// What somebody wanted stays as they said it.
    fn operation(self, operation: &mut Operation) {
        let plan = &mut operation.plan;
        plan.target = self.entries(&plan.target);
        let moved = plan.waves.iter_mut().flatten().map(|part| &mut part.service);
        let configured = plan.configuration.iter_mut().chain(&mut plan.replaced).map(|new| &mut new.service);
        let variables = plan.variables.iter_mut().map(|variable| &mut variable.service);
        let kept = plan.secrets_kept.iter_mut().map(|secret| &mut secret.service);
        let scaled = plan.replicas.iter_mut().map(|new| &mut new.service);
        let jobs = plan.jobs.iter_mut().map(|planned| &mut planned.arm.service);
        let all = moved
            .chain(configured)
            .chain(variables)
            .chain(kept)
            .chain(scaled)
            .chain(jobs)
            .chain(&mut plan.holds);
        all.filter(|service| *service == self.from).for_each(|service| *service = self.to.clone());
        plan.work_before.iter_mut().for_each(|base| base.arm = self.arm(base.arm.clone()));
        plan.traffic_before.iter_mut().for_each(|usual| usual.arm = self.arm(usual.arm.clone()));
        plan.relocations.iter_mut().for_each(|it| it.arm = self.arm(it.arm.clone()));
        if let Phase::Reverting { blamed, .. } | Phase::Reverted { blamed, .. } = &mut operation.phase {
            blamed.iter_mut().for_each(|Blame { arm, .. }| *arm = self.arm(arm.clone()));
        }
    }

    fn rule(self, rule: &mut VersionRule) {
        if rule.service == *self.from {
            rule.service = self.to.clone();
        }
    }

    fn proof(self, mut proof: Proof) -> Proof {
        let unasked = proof.unasked.iter_mut();
        unasked.filter(|service| *service == self.from).for_each(|service| *service = self.to.clone());
        proof
    }

    fn planned(self, planned: &mut PlannedJob) {
        planned.arm = self.arm(planned.arm.clone());
    }

    fn entries(self, entries: &Entries) -> Entries {
        match entries.get(self.from) {
            Some(entry) => entries.without(self.from).update(self.to.clone(), BaselineEntry::clone(entry)),
            None => entries.clone(),
        }
    }

    fn key<T: Clone>(self, map: &mut OrdMap<ServiceName, T>) {
        if let Some(value) = map.remove(self.from) {
            map.insert(self.to.clone(), value);
        }
    }

    fn arm(self, mut arm: Arm) -> Arm {
        if arm.service == *self.from {
            arm.service = self.to.clone();
        }
        arm
    }

    fn version(self, mut version: VersionRef) -> VersionRef {
        if version.service == *self.from {
            version.service = self.to.clone();
        }
        version
    }
}

/// What a service takes along to another name in one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenAlong {
    /// What runs of it.
    pub runs: Option<BaselineEntry>,
    /// Baselines that have it.
    pub baselines: usize,
    /// Configurations of it.
    pub configurations: usize,
    /// Versions of it that are held.
    pub holds: usize,
}

/// Lists what a service takes along, by the environments that know it.
#[must_use]
pub fn taken_along(world: &World, service: &ServiceName) -> BTreeMap<EnvironmentName, TakenAlong> {
    let of = |environment: &Environment| TakenAlong {
        runs: environment.entries().get(service).cloned(),
        baselines: environment.baselines.newest_first().filter(|it| it.entries.contains_key(service)).count(),
        configurations: environment.configurations.get(service).map_or(0, Vector::len),
        holds: environment.holds.keys().filter(|version| version.service == *service).count(),
    };
    let all = world.environments.values().map(|environment| (environment.name.clone(), of(environment)));
    all.filter(|(_, along)| along.baselines + along.configurations + along.holds > 0).collect()
}

/// Lists the versions of other services that require a service, live or the newest of theirs.
#[must_use]
pub fn consumers(world: &World, service: &ServiceName) -> Vec<VersionRef> {
    let is_live = |reference: &VersionRef| {
        world.environments.values().any(|environment| {
            environment.entries().get(&reference.service).is_some_and(|it| it.version == reference.version)
        })
    };
    let mut found = Vec::new();
    for other in world.services.values().filter(|other| other.removed.is_none() && other.name != *service) {
        let newest = other.newest().map(|version| &version.number);
        for version in other.versions.values() {
            let reference = VersionRef { service: other.name.clone(), version: version.number.clone() };
            let counts = newest == Some(&version.number) || is_live(&reference);
            if counts && world.requirements_on(version, service).next().is_some() {
                found.push(reference);
            }
        }
    }
    found
}

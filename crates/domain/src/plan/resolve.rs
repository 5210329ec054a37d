//! Resolving: from an intent to the set that it means, with the reason for each service.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::{BaselineEntry, Entries};
use crate::environment::Environment;
use crate::instance::{ConfigRevision, InstanceId};
use crate::intent::{ConfigValue, Configuration, Intent, MAX_REPLICAS};
use crate::name::{EnvironmentName, ServiceName};
use crate::operation::{NewConfiguration, NewReplicas, Reason};
use crate::plan::order::Direction;
use crate::plan::refusal::Refusal;
use crate::run::Port;
use crate::version::{VersionNumber, VersionRef};
use crate::world::World;

/// What an intent means.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) target: Entries,
    pub(crate) reasons: BTreeMap<ServiceName, Reason>,
    pub(crate) direction: Direction,
    pub(crate) configuration: Option<NewConfiguration>,
    pub(crate) replicas: Option<NewReplicas>,
    pub(crate) restarts: Vec<InstanceId>,
}

impl Resolved {
    fn new(environment: &Environment, direction: Direction) -> Self {
        Self {
            target: environment.entries().clone(),
            reasons: BTreeMap::new(),
            direction,
            configuration: None,
            replicas: None,
            restarts: Vec::new(),
        }
    }

    /// Tells whether nothing is asked for but what the target says.
    pub(crate) fn changes_nothing_else(&self) -> bool {
        self.configuration.is_none() && self.replicas.is_none() && self.restarts.is_empty()
    }

    fn set(&mut self, service: &ServiceName, entry: BaselineEntry, reason: Reason) {
        self.target.insert(service.clone(), entry);
        self.reasons.insert(service.clone(), reason);
    }
}

pub(crate) fn resolve(
    world: &World,
    environment: &Environment,
    intent: &Intent,
) -> Result<Resolved, Vec<Refusal>> {
    match intent {
        Intent::Deploy { versions } => deploy(world, environment, versions),
        Intent::Promote { from, services } => promote(world, environment, from, services),
        Intent::RollBackService { service, to } => roll_back_service(world, environment, service, to),
        Intent::RollBackEnvironment { to } => roll_back_environment(environment, *to),
        Intent::Undo => undo(environment),
        Intent::Configure { service, set, unset } => configure(world, environment, service, set, unset),
        Intent::Scale { service, replicas } => scale(environment, service, *replicas),
        Intent::Restart { service, instances } => restart(world, environment, service, instances),
        Intent::Remove { services } => remove(environment, services),
    }
}

fn deploy(
    world: &World,
    environment: &Environment,
    versions: &[VersionRef],
) -> Result<Resolved, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut resolved = Resolved::new(environment, Direction::Forward);
    let mut seen = BTreeSet::new();
    for reference in versions {
        if !seen.insert(&reference.service) {
            refusals.push(Refusal::NamedTwice(reference.service.clone()));
        }
        refusals.extend(missing(world, reference));
        let config = environment.configuration_in_force(&reference.service);
        let entry = BaselineEntry { version: reference.version.clone(), config };
        resolved.set(&reference.service, entry, Reason::Asked);
    }
    if refusals.is_empty() { Ok(resolved) } else { Err(refusals) }
}

/// Tells what is missing when a version does not exist.
fn missing(world: &World, reference: &VersionRef) -> Option<Refusal> {
    let Some(service) = world.services.get(&reference.service) else {
        return Some(Refusal::NoService(reference.service.clone()));
    };
    if service.versions.contains_key(&reference.version) {
        return None;
    }
    let newest = service.newest().map(|version| version.number.clone());
    Some(Refusal::NoVersion { version: reference.clone(), newest })
}

fn promote(
    world: &World,
    environment: &Environment,
    from: &EnvironmentName,
    services: &[ServiceName],
) -> Result<Resolved, Vec<Refusal>> {
    if *from == environment.name {
        return Err(vec![Refusal::SameEnvironment(from.clone())]);
    }
    let source = world.environment(from).ok_or_else(|| vec![Refusal::NoEnvironment(from.clone())])?;
    let chosen: Vec<_> =
        if services.is_empty() { source.entries().keys().cloned().collect() } else { services.to_vec() };
    if chosen.is_empty() {
        return Err(vec![Refusal::NothingToPromote(from.clone())]);
    }
    let baseline = source.baselines.current().number;
    let mut refusals = Vec::new();
    let mut resolved = Resolved::new(environment, Direction::Forward);
    for service in &chosen {
        match source.entries().get(service) {
            Some(entry) => {
                let config = environment.configuration_in_force(service);
                let entry = BaselineEntry { version: entry.version.clone(), config };
                resolved.set(service, entry, Reason::RunsIn { environment: from.clone(), baseline });
            }
            None => {
                refusals.push(Refusal::NotRunning { service: service.clone(), environment: from.clone() });
            }
        }
    }
    if refusals.is_empty() { Ok(resolved) } else { Err(refusals) }
}

fn roll_back_service(
    world: &World,
    environment: &Environment,
    service: &ServiceName,
    to: &VersionNumber,
) -> Result<Resolved, Vec<Refusal>> {
    let mut resolved = Resolved::new(environment, Direction::Back);
    let reference = VersionRef { service: service.clone(), version: to.clone() };
    let (entry, reason) = way_back(world, environment, &reference)?;
    resolved.set(service, entry, reason);
    Ok(resolved)
}

/// Finds the entry that a version last ran with here. What never ran here, or is newer than what runs, is no way back, also
/// where the service was removed.
fn way_back(
    world: &World,
    environment: &Environment,
    reference: &VersionRef,
) -> Result<(BaselineEntry, Reason), Vec<Refusal>> {
    if let Some(refusal) = missing(world, reference) {
        return Err(vec![refusal]);
    }
    let VersionRef { service, version } = reference;
    let runs = environment.entries().get(service).map(|entry| entry.version.clone());
    let (reference, environment_name) = (reference.clone(), environment.name.clone());
    let ran = environment.baselines.last_with(service, version);
    let Some((baseline, entry)) = ran.and_then(|b| Some((b.number, b.entries.get(service)?.clone()))) else {
        return Err(vec![Refusal::NeverRan { version: reference, environment: environment_name, runs }]);
    };
    match runs.filter(|runs| is_forward(environment, &reference, runs)) {
        Some(runs) => {
            let held = environment.holds.contains_key(&reference);
            Err(vec![Refusal::Forward { version: reference, environment: environment_name, runs, held }])
        }
        None => Ok((entry, Reason::InBaseline { baseline })),
    }
}

/// Tells whether a version that ran here is nevertheless newer than what runs now: it came later, or it was gone back from.
pub(crate) fn is_forward(environment: &Environment, to: &VersionRef, runs: &VersionNumber) -> bool {
    let came_later = environment.baselines.came_before(&to.service, runs, &to.version);
    to.version > *runs && (came_later || environment.holds.contains_key(to))
}

fn roll_back_environment(environment: &Environment, to: u64) -> Result<Resolved, Vec<Refusal>> {
    let Some(baseline) = environment.baselines.get(to) else {
        let newest = environment.baselines.current().number;
        return Err(vec![Refusal::NoBaseline {
            environment: environment.name.clone(),
            baseline: to,
            newest,
        }]);
    };
    let mut resolved = Resolved::new(environment, Direction::Back);
    let touched = environment.entries().keys().chain(baseline.entries.keys());
    resolved.reasons =
        touched.map(|service| (service.clone(), Reason::InBaseline { baseline: to })).collect();
    resolved.target = baseline.entries.clone();
    Ok(resolved)
}

fn undo(environment: &Environment) -> Result<Resolved, Vec<Refusal>> {
    let parent = environment.baselines.current().parent;
    let parent =
        parent.ok_or_else(|| vec![Refusal::NothingToUndo { environment: environment.name.clone() }])?;
    roll_back_environment(environment, parent)
}

fn configure(
    world: &World,
    environment: &Environment,
    service: &ServiceName,
    set: &Configuration,
    unset: &[String],
) -> Result<Resolved, Vec<Refusal>> {
    if !world.services.contains_key(service) {
        return Err(vec![Refusal::NoService(service.clone())]);
    }
    let current = environment.configuration_in_force(service);
    let before = environment.configuration(service, current).unwrap_or_default();
    let mut refusals: Vec<_> = set
        .keys()
        .filter(|key| !is_variable_name(key))
        .map(|key| Refusal::VariableName(key.clone()))
        .collect();
    let absent = unset.iter().filter(|key| !before.contains_key(*key));
    refusals.extend(absent.map(|key| Refusal::NotSet { service: service.clone(), key: key.clone() }));
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mut values = before.clone();
    values.extend(set.iter().map(|(key, value): (&String, &ConfigValue)| (key.clone(), value.clone())));
    values.retain(|key, _| !unset.contains(key));
    let mut resolved = Resolved::new(environment, Direction::Forward);
    if values == before {
        return Ok(resolved);
    }
    let revision = ConfigRevision(environment.newest_configuration(service).0 + 1);
    if let Some(entry) = environment.entries().get(service) {
        let entry = BaselineEntry { version: entry.version.clone(), config: revision };
        resolved.set(service, entry, Reason::Configured { revision });
    }
    resolved.configuration = Some(NewConfiguration { service: service.clone(), revision, values });
    Ok(resolved)
}

fn is_variable_name(key: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let shaped = !key.is_empty()
        && key.len() <= 256
        && key.bytes().all(allowed)
        && !key.as_bytes()[0].is_ascii_digit();
    shaped && key != "PORT" && key != "HOST" && !key.starts_with("LOCKSTEP_")
}

fn scale(environment: &Environment, service: &ServiceName, replicas: u32) -> Result<Resolved, Vec<Refusal>> {
    let mut refusals = Vec::new();
    if replicas == 0 || replicas > MAX_REPLICAS {
        refusals.push(Refusal::Replicas(replicas));
    }
    if !environment.entries().contains_key(service) {
        refusals.push(not_running(environment, service));
    }
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mut resolved = Resolved::new(environment, Direction::Forward);
    let before = environment.replicas_of(service);
    if before != replicas {
        resolved.replicas = Some(NewReplicas { service: service.clone(), replicas, before });
    }
    Ok(resolved)
}

/// Which instances there are is not known here: who asks names them all.
fn restart(
    world: &World,
    environment: &Environment,
    service: &ServiceName,
    instances: &[InstanceId],
) -> Result<Resolved, Vec<Refusal>> {
    let Some(entry) = environment.entries().get(service) else {
        return Err(vec![not_running(environment, service)]);
    };
    let version = entry.arm(service).version_ref();
    if let Some(Port::Fixed(port)) = world.version(&version).map(|version| version.run.port) {
        return Err(vec![Refusal::FixedPort { version, port, why: "none can be started beside it first" }]);
    }
    let mut resolved = Resolved::new(environment, Direction::Forward);
    resolved.restarts = instances.to_vec();
    Ok(resolved)
}

fn remove(environment: &Environment, services: &[ServiceName]) -> Result<Resolved, Vec<Refusal>> {
    let refusals: Vec<_> = services
        .iter()
        .filter(|service| !environment.entries().contains_key(*service))
        .map(|service| not_running(environment, service))
        .collect();
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mut resolved = Resolved::new(environment, Direction::Back);
    for service in services {
        resolved.target.remove(service);
        resolved.reasons.insert(service.clone(), Reason::Asked);
    }
    Ok(resolved)
}

fn not_running(environment: &Environment, service: &ServiceName) -> Refusal {
    Refusal::NotRunning { service: service.clone(), environment: environment.name.clone() }
}

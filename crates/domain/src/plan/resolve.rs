//! Resolving: from an intent to the set that it means, with the reason for each service.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::{Baseline, BaselineEntry, Entries, EntryChange, difference};
use crate::database::{Contraction, Reversal};
use crate::environment::Environment;
use crate::instance::{ConfigRevision, InstanceId};
use crate::intent::{ConfigChoice, ConfigValue, Configuration, Intent, MAX_REPLICAS};
use crate::job::{PlannedJob, When};
use crate::name::{EnvironmentName, JobName, ProcessName, ServiceName};
use crate::operation::{NewConfiguration, NewReplicas, Reason};
use crate::plan::databases;
use crate::plan::order::Direction;
use crate::plan::refusal::Refusal;
use crate::proven::last_good;
use crate::rebalance::Relocation;
use crate::reference::{self, Reader};
use crate::replicas::has_instances;
use crate::variables::{KeptSecret, revision_of, with_newer_secrets, without_revoked};
use crate::version::{VersionNumber, VersionRef};
use crate::world::World;

/// What an intent means.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) target: Entries,
    pub(crate) reasons: BTreeMap<ServiceName, Reason>,
    pub(crate) direction: Direction,
    pub(crate) scope: Scope,
    pub(crate) configuration: Option<NewConfiguration>,
    pub(crate) replicas: Option<NewReplicas>,
    pub(crate) restarts: Vec<InstanceId>,
    pub(crate) relocations: Vec<Relocation>,
    /// Jobs that were asked for by themselves.
    pub(crate) jobs: Vec<PlannedJob>,
    /// What it takes of a database, where it contracts one.
    pub(crate) contraction: Option<Contraction>,
    /// What it takes back of one.
    pub(crate) reversal: Option<Box<Reversal>>,
    /// Configurations that had to be made because of secrets that do not come back.
    pub(crate) replaced: Vec<NewConfiguration>,
    /// What becomes of secrets that were set since.
    secrets: Secrets,
    /// Secrets that do not change because of that.
    pub(crate) kept: Vec<KeptSecret>,
    pub(crate) warnings: Vec<String>,
}

/// What an intent is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The services that have a reason.
    Services,
    /// Everything that runs, also what nobody names.
    Environment,
}

/// Which values secrets have that come back with a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Secrets {
    /// Those of the configuration, however old.
    OfConfiguration,
    /// Of those that were set since the newer ones: a key that was rotated is seldom what is to be taken back.
    Newer,
}

impl Resolved {
    pub(super) fn new(environment: &Environment, direction: Direction) -> Self {
        Self {
            target: environment.entries().clone(),
            reasons: BTreeMap::new(),
            direction,
            scope: Scope::Services,
            configuration: None,
            replicas: None,
            restarts: Vec::new(),
            relocations: Vec::new(),
            jobs: Vec::new(),
            contraction: None,
            reversal: None,
            replaced: Vec::new(),
            secrets: Secrets::OfConfiguration,
            kept: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Tells whether nothing is asked for but what the target says.
    pub(crate) fn changes_nothing_else(&self) -> bool {
        let asks = self.configuration.is_some() || self.replicas.is_some();
        !asks && self.restarts.is_empty() && self.jobs.is_empty()
    }

    pub(super) fn set(&mut self, service: &ServiceName, entry: BaselineEntry, reason: Reason) {
        self.target.insert(service.clone(), entry);
        self.reasons.insert(service.clone(), reason);
    }
}

/// Resolves an intent, and puts other values in the place of secrets that were revoked.
pub(crate) fn resolve(
    world: &World,
    environment: &Environment,
    intent: &Intent,
) -> Result<Resolved, Vec<Refusal>> {
    let mut resolved = as_asked(world, environment, intent)?;
    if let Some(new) = &mut resolved.configuration
        && let Some(cleaned) = without_revoked(environment, &new.service, &new.values)?
    {
        new.values = cleaned.values;
        resolved.warnings.extend(cleaned.warnings);
    }
    for change in difference(environment.entries(), &resolved.target) {
        resolved.keep_newer(environment, &change);
        resolved.stand_in(environment, &change)?;
    }
    if !resolved.kept.is_empty() && resolved.target == *environment.entries() {
        let kept = resolved.kept.into_iter().map(|it| (it.service, it.key)).collect();
        return Err(vec![Refusal::OnlySecrets { environment: environment.name.clone(), kept }]);
    }
    Ok(resolved)
}

impl Resolved {
    /// Returns the values that a service would run with.
    pub(crate) fn values(&self, environment: &Environment, service: &ServiceName) -> Configuration {
        let Some(entry) = self.target.get(service) else { return Configuration::new() };
        let new = self.configuration.iter().chain(&self.replaced);
        let mut new = new.filter(|new| new.service == *service && new.revision == entry.config);
        let old = || environment.configuration(service, entry.config).unwrap_or_default();
        new.next().map_or_else(old, |new| new.values.clone())
    }

    /// Lets the newer values of secrets stay.
    fn keep_newer(&mut self, environment: &Environment, change: &EntryChange) {
        let Some(entry) = change.to.as_ref().filter(|_| self.secrets == Secrets::Newer) else { return };
        let values = self.values(environment, &change.service);
        let (newer, kept) = with_newer_secrets(environment, &change.service, entry.config, &values);
        if !kept.is_empty() {
            self.kept.extend(kept);
            self.give(environment, &change.service, newer);
        }
    }

    fn stand_in(&mut self, environment: &Environment, change: &EntryChange) -> Result<(), Vec<Refusal>> {
        let service = &change.service;
        let values = self.values(environment, service);
        let Some(cleaned) = without_revoked(environment, service, &values)? else { return Ok(()) };
        self.warnings.extend(cleaned.warnings);
        self.give(environment, service, cleaned.values);
        Ok(())
    }

    /// Gives a service the revision with these values, which is recorded where there is none.
    fn give(&mut self, environment: &Environment, service: &ServiceName, values: Configuration) {
        self.replaced.retain(|new| new.service != *service);
        let revision = match revision_of(environment, service, values) {
            Ok(revision) => revision,
            Err(new) => {
                let revision = new.revision;
                self.replaced.push(new);
                revision
            }
        };
        if let Some(entry) = self.target.get_mut(service) {
            entry.config = revision;
        }
    }
}

fn as_asked(world: &World, environment: &Environment, intent: &Intent) -> Result<Resolved, Vec<Refusal>> {
    match intent {
        Intent::Deploy { versions } => deploy(world, environment, versions),
        Intent::Promote { from, services, baseline } => {
            promote(world, environment, Source { from, baseline: *baseline }, services)
        }
        Intent::RollBackService { service, to, config } => {
            let version = VersionRef { service: service.clone(), version: to.clone() };
            roll_back_services(world, environment, &[version], *config)
        }
        Intent::RollBackServices { versions, config } => {
            roll_back_services(world, environment, versions, *config)
        }
        Intent::RollBackEnvironment { to, config } => roll_back_environment(environment, *to, *config),
        Intent::RollBackToLastGood { config } => roll_back_to_last_good(environment, *config),
        Intent::Undo => undo(environment),
        Intent::Configure { service, set, unset } => configure(world, environment, service, set, unset),
        Intent::UseConfiguration { service, revision } => use_configuration(environment, service, *revision),
        Intent::Scale { service, process, replicas } => {
            let process = process_of(world, environment, service, process.as_ref())?;
            scale(environment, (service, process), *replicas)
        }
        Intent::Restart { service, instances } => {
            instances_of(world, environment, service)?;
            restart(environment, service, instances)
        }
        Intent::Rebalance { moves } => Ok(rebalance(environment, moves)),
        Intent::RunJob { service, job } => run_job(world, environment, service, job),
        Intent::Database { database, wish, version } => {
            databases::resolve(world, environment, (database, wish, version.as_ref()))
        }
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
pub(super) fn missing(world: &World, reference: &VersionRef) -> Option<Refusal> {
    let Some(service) = world.service(&reference.service) else {
        return Some(Refusal::NoService(reference.service.clone()));
    };
    if service.versions.contains_key(&reference.version) {
        return None;
    }
    let newest = service.newest().map(|version| version.number.clone());
    Some(Refusal::NoVersion { version: reference.clone(), newest })
}

/// What is promoted.
#[derive(Clone, Copy)]
struct Source<'a> {
    from: &'a EnvironmentName,
    baseline: Option<u64>,
}

fn promote(
    world: &World,
    environment: &Environment,
    Source { from, baseline }: Source<'_>,
    services: &[ServiceName],
) -> Result<Resolved, Vec<Refusal>> {
    if *from == environment.name {
        return Err(vec![Refusal::SameEnvironment(from.clone())]);
    }
    let source = world.environment(from).ok_or_else(|| vec![Refusal::NoEnvironment(from.clone())])?;
    let current = source.baselines.current().number;
    let number = baseline.unwrap_or(current);
    let copied = baseline_of(source, number)?;
    let chosen: Vec<_> =
        if services.is_empty() { copied.entries.keys().cloned().collect() } else { services.to_vec() };
    if chosen.is_empty() {
        return Err(vec![Refusal::NothingToPromote(from.clone())]);
    }
    let mut refusals = Vec::new();
    let mut resolved = Resolved::new(environment, Direction::Forward);
    if number != current {
        resolved
            .warnings
            .push(format!("`{from}` is at baseline {current} now, and not at {number} any more"));
    }
    for service in &chosen {
        match copied.entries.get(service) {
            Some(entry) => {
                let config = environment.configuration_in_force(service);
                let entry = BaselineEntry { version: entry.version.clone(), config };
                resolved.set(service, entry, Reason::RunsIn { environment: from.clone(), baseline: number });
            }
            None => {
                refusals.push(Refusal::NotRunning { service: service.clone(), environment: from.clone() });
            }
        }
    }
    if refusals.is_empty() { Ok(resolved) } else { Err(refusals) }
}

fn roll_back_services(
    world: &World,
    environment: &Environment,
    versions: &[VersionRef],
    config: ConfigChoice,
) -> Result<Resolved, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut resolved = Resolved::new(environment, Direction::Back);
    let mut seen = BTreeSet::new();
    for reference in versions {
        if !seen.insert(&reference.service) {
            refusals.push(Refusal::NamedTwice(reference.service.clone()));
        }
        match way_back(world, environment, reference) {
            Ok((entry, reason)) => resolved.set(&reference.service, entry, reason),
            Err(more) => refusals.extend(more),
        }
    }
    let several = versions.len() > 1 && matches!(config, ConfigChoice::Revision(_));
    refusals.extend(several.then_some(Refusal::OneRevision));
    if !refusals.is_empty() {
        return Err(refusals);
    }
    choose_configurations(environment, &mut resolved, config)?;
    Ok(resolved)
}

/// Gives what goes back the configurations that were asked for in place of those it ran with.
fn choose_configurations(
    environment: &Environment,
    resolved: &mut Resolved,
    config: ConfigChoice,
) -> Result<(), Vec<Refusal>> {
    if config.is_as_it_ran() {
        resolved.secrets = Secrets::Newer;
    }
    let moved: Vec<_> = resolved.reasons.keys().cloned().collect();
    for service in moved {
        let chosen = match config {
            ConfigChoice::AsItRan | ConfigChoice::WithOldSecrets => return Ok(()),
            ConfigChoice::Keep => environment.configuration_in_force(&service),
            ConfigChoice::Revision(revision) => existing(environment, &service, revision)?,
        };
        if let Some(entry) = resolved.target.get_mut(&service) {
            entry.config = chosen;
        }
    }
    Ok(())
}

/// Returns a revision that there is.
fn existing(
    environment: &Environment,
    service: &ServiceName,
    revision: ConfigRevision,
) -> Result<ConfigRevision, Vec<Refusal>> {
    let newest = environment.newest_configuration(service);
    let missing = || {
        let environment = environment.name.clone();
        vec![Refusal::NoRevision { service: service.clone(), environment, revision, newest }]
    };
    environment.configuration(service, revision).map(|_| revision).ok_or_else(missing)
}

fn use_configuration(
    environment: &Environment,
    service: &ServiceName,
    revision: ConfigRevision,
) -> Result<Resolved, Vec<Refusal>> {
    let Some(entry) = environment.entries().get(service) else {
        return Err(vec![not_running(environment, service)]);
    };
    let config = existing(environment, service, revision)?;
    let mut resolved = Resolved::new(environment, Direction::Forward);
    let entry = BaselineEntry { version: entry.version.clone(), config };
    resolved.set(service, entry, Reason::Configured { revision });
    Ok(resolved)
}

/// Finds the entry that a version last ran with here. What never ran here, or is newer than what runs, is no way back, also
/// where the service was removed.
pub(super) fn way_back(
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

/// Goes through the entries that a service ran with and that are ways back of it, the newest first, each version once.
pub fn steps_back<'a>(
    environment: &'a Environment,
    service: &'a ServiceName,
) -> impl Iterator<Item = &'a BaselineEntry> {
    let runs = environment.entries().get(service).map(|entry| entry.version.clone());
    let ran = environment.baselines.newest_first().filter_map(move |baseline| baseline.entries.get(service));
    let mut seen: BTreeSet<VersionNumber> = runs.iter().cloned().collect();
    let others = ran.filter(move |entry| seen.insert(entry.version.clone()));
    others.filter(move |entry| {
        let is_ahead = |runs| is_forward(environment, &entry.arm(service).version_ref(), runs);
        !runs.as_ref().is_some_and(is_ahead)
    })
}

/// Says why a version is no way back of what an environment runs; nothing where it is one, or what runs.
#[must_use]
pub fn no_way_back(world: &World, environment: &Environment, version: &VersionRef) -> Option<String> {
    let runs = environment.entries().get(&version.service);
    if runs.is_some_and(|entry| entry.version == version.version) {
        return None;
    }
    let refusals = way_back(world, environment, version).err()?;
    refusals.first().map(ToString::to_string)
}

/// Tells whether a version that ran here is nevertheless newer than what runs now: it came later, or it was gone back from.
pub(crate) fn is_forward(environment: &Environment, to: &VersionRef, runs: &VersionNumber) -> bool {
    let came_later = environment.baselines.came_before(&to.service, runs, &to.version);
    to.version > *runs && (came_later || environment.holds.contains_key(to))
}

fn roll_back_environment(
    environment: &Environment,
    to: u64,
    config: ConfigChoice,
) -> Result<Resolved, Vec<Refusal>> {
    let baseline = baseline_of(environment, to)?;
    if matches!(config, ConfigChoice::Revision(_)) {
        return Err(vec![Refusal::OneRevision]);
    }
    let mut resolved = Resolved::new(environment, Direction::Back);
    resolved.scope = Scope::Environment;
    let touched = environment.entries().keys().chain(baseline.entries.keys());
    resolved.reasons =
        touched.map(|service| (service.clone(), Reason::InBaseline { baseline: to })).collect();
    resolved.target = baseline.entries.clone();
    choose_configurations(environment, &mut resolved, config)?;
    Ok(resolved)
}

fn roll_back_to_last_good(environment: &Environment, config: ConfigChoice) -> Result<Resolved, Vec<Refusal>> {
    let refused = |why| vec![Refusal::NoLastGood { environment: environment.name.clone(), why }];
    let good = last_good(environment).map_err(refused)?.number;
    let mut resolved = roll_back_environment(environment, good, config)?;
    let current = environment.baselines.current().number;
    let proof = |number| environment.proven.get(&number);
    resolved.warnings.extend(proof(good).map(|proof| format!("baseline {good} is proven: {proof}")));
    let current =
        proof(current).map(|proof| format!("baseline {current}, which runs, is proven as well: {proof}"));
    resolved.warnings.extend(current);
    Ok(resolved)
}

fn baseline_of(environment: &Environment, number: u64) -> Result<&Baseline, Vec<Refusal>> {
    let missing = || {
        let newest = environment.baselines.current().number;
        vec![Refusal::NoBaseline { environment: environment.name.clone(), baseline: number, newest }]
    };
    environment.baselines.get(number).ok_or_else(missing)
}

fn undo(environment: &Environment) -> Result<Resolved, Vec<Refusal>> {
    let parent = environment.baselines.current().parent;
    let parent =
        parent.ok_or_else(|| vec![Refusal::NothingToUndo { environment: environment.name.clone() }])?;
    let mut resolved = roll_back_environment(environment, parent, ConfigChoice::AsItRan)?;
    // It takes back what the newest baseline changed, and is not about anything else.
    resolved.scope = Scope::Services;
    let changes = difference(environment.entries(), &resolved.target);
    resolved.reasons.retain(|service, _| changes.iter().any(|change| change.service == *service));
    // Who undoes nothing but a change of a configuration means the very values that it replaced.
    let version = |entry: &Option<BaselineEntry>| entry.as_ref().map(|entry| entry.version.clone());
    if changes.iter().all(|change| version(&change.from) == version(&change.to)) {
        resolved.secrets = Secrets::OfConfiguration;
    }
    Ok(resolved)
}

fn configure(
    world: &World,
    environment: &Environment,
    service: &ServiceName,
    set: &Configuration,
    unset: &[String],
) -> Result<Resolved, Vec<Refusal>> {
    if world.service(service).is_none() {
        return Err(vec![Refusal::NoService(service.clone())]);
    }
    let current = environment.configuration_in_force(service);
    let before = environment.configuration(service, current).unwrap_or_default();
    let mut refusals: Vec<_> = set
        .keys()
        .filter(|key| !is_variable_name(key))
        .map(|key| Refusal::VariableName(key.clone()))
        .collect();
    let malformed = set.iter().filter_map(|(key, value)| {
        let ConfigValue::Filled(text) = value.as_given() else { return None };
        let error = reference::references(&text, Reader::Program).err()?;
        let (service, key, known) =
            (service.clone(), key.clone(), reference::known_names(&reference::Scope::default()));
        Some(Refusal::Reference { service, key, error, known })
    });
    refusals.extend(malformed);
    let absent = unset.iter().filter(|key| !before.contains_key(*key));
    refusals.extend(absent.map(|key| Refusal::NotSet { service: service.clone(), key: key.clone() }));
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mut values = before.clone();
    values.extend(set.iter().map(|(key, value): (&String, &ConfigValue)| (key.clone(), value.as_given())));
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

/// Refuses to change the instances of a service that has none.
fn instances_of(world: &World, environment: &Environment, service: &ServiceName) -> Result<(), Vec<Refusal>> {
    let arm = environment.entries().get(service).map(|entry| entry.arm(service));
    match arm.filter(|arm| !has_instances(world, arm)) {
        Some(arm) => Err(vec![Refusal::NoInstances(arm.version_ref())]),
        None => Ok(()),
    }
}

/// Finds the process of what runs that is meant; `None` is the main one.
fn process_of<'a>(
    world: &'a World,
    environment: &Environment,
    service: &ServiceName,
    asked: Option<&ProcessName>,
) -> Result<Option<&'a ProcessName>, Vec<Refusal>> {
    instances_of(world, environment, service)?;
    let running = environment.entries().get(service);
    let Some(version) = running.and_then(|entry| world.find_version(service, &entry.version)) else {
        return Ok(None);
    };
    let is_main = asked.is_none_or(|asked| version.processes.main.as_ref() == Some(asked));
    if is_main && version.run.kind.has_instances() {
        return Ok(None);
    }
    let found = version.processes.others.keys().find(|name| Some(*name) == asked);
    found.map(Some).ok_or_else(|| {
        let version_ref = VersionRef { service: service.clone(), version: version.number.clone() };
        let known = version.processes.names().cloned().collect();
        vec![Refusal::NoProcess { version: version_ref, process: asked.cloned(), known }]
    })
}

fn scale(
    environment: &Environment,
    (service, process): (&ServiceName, Option<&ProcessName>),
    replicas: u32,
) -> Result<Resolved, Vec<Refusal>> {
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
    let before = environment.count(service, process);
    if before != replicas {
        resolved.replicas =
            Some(NewReplicas { service: service.clone(), process: process.cloned(), replicas, before });
    }
    Ok(resolved)
}

/// Which instances there are is not known here: who asks names them all.
fn restart(
    environment: &Environment,
    service: &ServiceName,
    instances: &[InstanceId],
) -> Result<Resolved, Vec<Refusal>> {
    if !environment.entries().contains_key(service) {
        return Err(vec![not_running(environment, service)]);
    }
    let mut resolved = Resolved::new(environment, Direction::Forward);
    resolved.restarts = instances.to_vec();
    Ok(resolved)
}

/// Which instances there are, and where others could start, is not known here: who asks says it all.
fn rebalance(environment: &Environment, moves: &[Relocation]) -> Resolved {
    let mut resolved = Resolved::new(environment, Direction::Forward);
    resolved.restarts = moves.iter().map(|relocation| relocation.instance.clone()).collect();
    resolved.relocations = moves.to_vec();
    resolved
}

fn run_job(
    world: &World,
    environment: &Environment,
    service: &ServiceName,
    job: &JobName,
) -> Result<Resolved, Vec<Refusal>> {
    let Some(entry) = environment.entries().get(service) else {
        return Err(vec![not_running(environment, service)]);
    };
    let arm = entry.arm(service);
    let jobs = world.version(&arm.version_ref()).map(|version| version.jobs.as_slice()).unwrap_or_default();
    let Some(found) = jobs.iter().find(|it| it.name == *job) else {
        let known = jobs.iter().map(|it| it.name.clone()).collect();
        return Err(vec![Refusal::NoJob { version: arm.version_ref(), job: job.clone(), known }]);
    };
    let mut resolved = Resolved::new(environment, Direction::Forward);
    resolved.jobs.push(PlannedJob { when: When::ByHand, ..PlannedJob::of(&arm, found) });
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

//! Checks of a resolved intent: stages, holds, requirements, entry points, ports. All findings at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::{Entries, EntryChange};
use crate::compat::{DatabaseAnswer, Relation};
use crate::contract::{DatabaseWay, Verdict};
use crate::database::{Act, in_force};
use crate::environment::Environment;
use crate::event::Event;
use crate::host::Stance;
use crate::intent::ConfigValue;
use crate::job::PlannedJob;
use crate::lifecycle::Availability;
use crate::name::{EnvironmentName, ProcessName, ServiceName};
use crate::plan::order::Direction;
use crate::plan::reach::Reach;
use crate::plan::refusal::Refusal;
use crate::plan::resolve::Resolved;
use crate::plan::{calls, handover, hosts, listening, protocols};
use crate::reference::{self, Reader, Scope};
use crate::resource::needs;
use crate::retained::Retained;
use crate::run::Kind;
use crate::seen_use;
use crate::service::Version;
use crate::time::Timestamp;
use crate::variables::newer_revision;
use crate::version::VersionRef;
use crate::work_path::WorkPath;
use crate::world::{World, stage_events};

pub(super) fn check(
    relation: Relation<'_>,
    environment: &Environment,
    resolved: &Resolved,
    (changes, reach): (&[EntryChange], &Reach<'_>),
    now: Timestamp,
) -> Vec<Refusal> {
    let world = relation.world;
    let mut refusals = Vec::new();
    for change in changes.iter().filter(|change| version_changes(change)) {
        let Some(reference) = target(change) else { continue };
        if world.service(&reference.service).is_none() {
            refusals.push(Refusal::NoService(reference.service.clone()));
            continue;
        }
        refusals.extend(held(environment, &reference, resolved.direction));
        if !ran_here(environment, &reference) || resolved.direction == Direction::Forward {
            refusals.extend(stage(world, environment, &reference, now));
        }
    }
    refusals.extend(resolved.jobs.iter().flat_map(|planned| {
        let version = planned.arm.version_ref();
        let tidies_up = resolved.reversal.is_some() || settles_its_own(environment, planned);
        match tidies_up && ran_here(environment, &version) {
            true => needs::lacking(world, environment, &version).into_iter().collect(),
            false => visitor(world, environment, &version, now),
        }
    }));
    refusals.extend(requirements(relation, environment, resolved, reach));
    if resolved.direction == Direction::Forward {
        let unread = unread_messages(relation, environment, changes, now);
        let broken = unread.into_iter().filter(|one| one.verdict == Verdict::Breaking);
        refusals.extend(broken.map(|one| Refusal::Unread(Box::new(one))));
    }
    if reach.may_dispute_routes(world) {
        refusals.extend(routes(world, resolved));
    }
    refusals.extend(changes.iter().flat_map(|change| references(world, environment, resolved, change)));
    let targets = changes.iter().filter_map(target);
    refusals.extend(targets.flat_map(|version| needs::lacking(world, environment, &version)));
    refusals.extend(calls::of_workers((world, environment, resolved), (changes, reach)));
    refusals.extend(protocols::no_url((world, environment, resolved), (changes, reach)));
    refusals.extend(listening::out_of_reach(world, environment, resolved, changes));
    refusals.extend(hosts::lacking(world, environment, resolved, changes));
    let ports = |change: &EntryChange| fixed_ports(world, environment, resolved, (change, reach));
    refusals.extend(changes.iter().flat_map(ports));
    if let Some(new) = &resolved.replicas
        && let Some(entry) = environment.entries().get(&new.service)
        && new.replicas > places(world, environment)
    {
        let version = entry.arm(&new.service).version_ref();
        let ports = ports_of(world, &version).into_iter();
        let taken = ports.filter(|(process, _)| *process == new.process);
        refusals.extend(taken.map(|(_, port)| one_instance(&version, port)));
    }
    refusals
}

/// A version of which something runs here although it is not in force here comes as one that is deployed does: its programs get the
/// variables of the environment, and find what it works with.
fn visitor(world: &World, environment: &Environment, version: &VersionRef, now: Timestamp) -> Vec<Refusal> {
    if in_force(environment).contains(version) {
        return Vec::new();
    }
    let let_in = [held(environment, version, Direction::Forward), stage(world, environment, version, now)];
    let lacks = needs::lacking(world, environment, version);
    let_in.into_iter().flatten().chain(lacks).collect()
}

/// Tells whether a step settles what was begun for the same version. One that ran here may do that, and take back what it made, also when it
/// was left for its faults: mostly nobody else can.
fn settles_its_own(environment: &Environment, planned: &PlannedJob) -> bool {
    let Some(run) = planned.database.as_deref().filter(|run| matches!(run.act, Act::Settle { .. })) else {
        return false;
    };
    let known = environment.databases.get(&run.database);
    known.is_some_and(|known| known.doubt.is_some() && known.by == planned.arm.version_ref())
}

fn version_changes(change: &EntryChange) -> bool {
    change.from.as_ref().map(|entry| &entry.version) != change.to.as_ref().map(|entry| &entry.version)
}

pub(super) fn target(change: &EntryChange) -> Option<VersionRef> {
    Some(change.to.as_ref()?.arm(&change.service).version_ref())
}

fn ran_here(environment: &Environment, reference: &VersionRef) -> bool {
    environment.baselines.last_with(&reference.service, &reference.version).is_some()
}

/// Going back names its target itself, so only going forward is stopped by a hold.
pub(super) fn held(
    environment: &Environment,
    reference: &VersionRef,
    direction: Direction,
) -> Option<Refusal> {
    let hold = environment.holds.get(reference).filter(|_| direction == Direction::Forward)?;
    Some(Refusal::Held {
        version: reference.clone(),
        environment: environment.name.clone(),
        reason: hold.reason.clone(),
    })
}

pub(super) fn stage(
    world: &World,
    environment: &Environment,
    reference: &VersionRef,
    now: Timestamp,
) -> Option<Refusal> {
    let version = world.version(reference)?;
    let lifecycle = world.lifecycle_of(&reference.service);
    let accepts_from = &environment.settings.accepts_from;
    let Some(first) = lifecycle.position(accepts_from) else {
        return Some(Refusal::StageUnknown {
            environment: environment.name.clone(),
            accepts_from: accepts_from.clone(),
            service: reference.service.clone(),
        });
    };
    // The stage it would be in by going there.
    let entered = stage_events(world, reference, Some(&environment.name), now);
    let entered = entered.iter().rev().find_map(|event| match event {
        Event::StageChanged { to, .. } => lifecycle.position(to),
        _ => None,
    });
    let present = entered.or_else(|| lifecycle.position(&version.stage));
    let ended = present.is_some_and(|index| lifecycle.stages[index].availability == Availability::Ended);
    if ended {
        return Some(Refusal::StageEnded { version: reference.clone(), stage: version.stage.clone() });
    }
    if present.is_some_and(|present| present >= first) {
        return None;
    }
    let next = lifecycle.after(&version.stage);
    let gates = next.map(|next| lifecycle.closed_gates(version, next, now)).unwrap_or_default();
    Some(Refusal::StageTooEarly {
        version: reference.clone(),
        stage: version.stage.clone(),
        environment: environment.name.clone(),
        accepts_from: accepts_from.clone(),
        gates,
    })
}

/// Only requirements that this plan breaks: one that was unmet before must not keep anybody from going back.
fn requirements(
    relation: Relation<'_>,
    environment: &Environment,
    resolved: &Resolved,
    reach: &Reach<'_>,
) -> Vec<Refusal> {
    let unmet = |entries: &Entries| relation.unmet_of(reach.requiring(entries), entries);
    let before = unmet(environment.entries());
    let new = unmet(&resolved.target).into_iter().filter(|unmet| !before.contains(unmet));
    new.map(|unmet| Refusal::Unmet(Box::new(unmet))).collect()
}

fn routes(world: &World, resolved: &Resolved) -> Vec<Refusal> {
    let mut taken: BTreeMap<String, ServiceName> = BTreeMap::new();
    let mut refusals = Vec::new();
    for (service, entry) in &resolved.target {
        let version = world.find_version(service, &entry.version);
        for rule in version.into_iter().flat_map(|version| &version.routes) {
            let first = taken.entry(rule.key()).or_insert_with(|| service.clone());
            if first != service {
                refusals.push(Refusal::RouteTaken {
                    first: first.clone(),
                    second: service.clone(),
                    route: rule.to_string(),
                });
            }
        }
    }
    refusals
}

/// What the configuration refers to must be there for the version that gets it: which services it requires, it says itself.
fn references(
    world: &World,
    environment: &Environment,
    resolved: &Resolved,
    change: &EntryChange,
) -> Vec<Refusal> {
    let Some(version) = target(change).and_then(|reference| world.version(&reference)) else {
        return Vec::new();
    };
    let service = &change.service;
    let scope = Scope::of(&version.requires, &version.resources);
    let values = resolved.values(environment, service);
    let unset = version.run.unset_in_address(&values).into_iter().map(|key| Refusal::NoAddress {
        version: VersionRef { service: service.clone(), version: version.number.clone() },
        key,
        environment: environment.name.clone(),
    });
    let unset: Vec<_> = unset.collect();
    let wrong = values.into_iter().filter_map(|(key, value)| {
        let ConfigValue::Filled(text) = value else { return None };
        let error = reference::check(&text, Reader::Program, &scope).err()?;
        let known = reference::known_names(&scope);
        Some(Refusal::Reference { service: service.clone(), key, error, known })
    });
    wrong.chain(unset).collect()
}

fn fixed_ports(
    world: &World,
    environment: &Environment,
    resolved: &Resolved,
    (change, reach): (&EntryChange, &Reach<'_>),
) -> Vec<Refusal> {
    let Some(version) = target(change) else { return Vec::new() };
    let ports = ports_of(world, &version).into_iter();
    let refusal = |(process, port): (Option<ProcessName>, u16)| {
        if environment.count(&change.service, process.as_ref()) > places(world, environment) {
            return Some(one_instance(&version, port));
        }
        if !reach.may_be_taken(world, port, &version.service) {
            return None;
        }
        let (by, place) = listener(world, environment, resolved, &version, port)?;
        Some(Refusal::PortTaken { version: version.clone(), port, by, environment: place })
    };
    ports.filter_map(refusal).collect()
}

/// Finds another service that always listens on a port of this host: here as it would be, in other environments as it is.
fn listener(
    world: &World,
    environment: &Environment,
    resolved: &Resolved,
    version: &VersionRef,
    port: u16,
) -> Option<(VersionRef, EnvironmentName)> {
    let in_environment = |of: &Environment, entries: &Entries| {
        let others = entries.iter().map(|(service, entry)| entry.arm(service).version_ref());
        // Going back ends rules that are in its way.
        let goes_back = resolved.direction == Direction::Back && of.name == environment.name;
        let ruled = of.ruled_arms().filter(|_| !goes_back).map(|arm| arm.version_ref());
        let others = others.chain(ruled);
        let mut others =
            others.filter(|other| of.name != environment.name || other.service != version.service);
        let has_it = |other: &VersionRef| ports_of(world, other).iter().any(|(_, theirs)| *theirs == port);
        others.find(has_it).map(|other| (other, of.name.clone()))
    };
    let mut others = world.environments.values().filter(|of| of.name != environment.name);
    in_environment(environment, &resolved.target)
        .or_else(|| others.find_map(|of| states(of).find_map(|entries| in_environment(of, entries))))
}

/// What an environment runs, and what it is on the way to.
pub(super) fn states(environment: &Environment) -> impl Iterator<Item = &Entries> {
    std::iter::once(environment.entries()).chain(environment.moving().map(|operation| &operation.plan.target))
}

/// Returns what kind of a service moves.
pub(crate) fn kind(world: &World, change: &EntryChange) -> Kind {
    let moved = target(change).or_else(|| from(change)).and_then(|reference| world.version(&reference));
    moved.map(|version| version.run.kind).unwrap_or_default()
}

pub(super) fn from(change: &EntryChange) -> Option<VersionRef> {
    Some(change.from.as_ref()?.arm(&change.service).version_ref())
}

/// The port that the main process of a version always listens on.
pub(super) fn port_of(world: &World, reference: &VersionRef) -> Option<u16> {
    ports_of(world, reference).into_iter().find(|(process, _)| process.is_none()).map(|(_, port)| port)
}

/// The ports that the processes of a version always listen on.
pub(super) fn ports_of(world: &World, reference: &VersionRef) -> Vec<(Option<ProcessName>, u16)> {
    let ports = world.version(reference).into_iter().flat_map(|version| version.fixed_ports());
    ports.map(|(process, port)| (process.cloned(), port)).collect()
}

/// On how many machines instances of an environment may start: as many can have one port.
fn places(world: &World, environment: &Environment) -> u32 {
    let open =
        world.hosts.values().filter(|it| it.serves(&environment.name) && it.stance == Stance::Open).count();
    u32::try_from(open).unwrap_or(u32::MAX).max(1)
}

fn one_instance(version: &VersionRef, port: u16) -> Refusal {
    Refusal::FixedPort { version: version.clone(), port, why: "only one instance can run on a host" }
}

/// Kept messages that a version would meet and not read, and that are read now.
fn unread_messages(
    relation: Relation<'_>,
    environment: &Environment,
    changes: &[EntryChange],
    now: Timestamp,
) -> Vec<Retained> {
    let targets = changes
        .iter()
        .filter(|change| version_changes(change))
        .filter_map(|change| Some((&change.service, relation.world.version(&target(change)?)?.as_ref())));
    targets.flat_map(|target| relation.newly_unread_messages(environment, target, now)).collect()
}

/// Whether a message of that kind was ever written is not known, so nobody is kept from going back by it.
fn unread_warnings(
    relation: Relation<'_>,
    environment: &Environment,
    changes: &[EntryChange],
    (direction, now): (Direction, Timestamp),
) -> Vec<String> {
    let unread = unread_messages(relation, environment, changes, now).into_iter();
    let told = unread.filter(|one| direction == Direction::Back || one.verdict == Verdict::NotChecked);
    told.map(|one| one.text()).collect()
}

/// Things that do not forbid a plan and that a person wants to know.
pub(super) fn warnings(
    relation: Relation<'_>,
    environment: &Environment,
    goal: &Entries,
    (changes, reach): (&[EntryChange], &Reach<'_>),
    (direction, now): (Direction, Timestamp),
) -> Vec<String> {
    let mut warnings = unread_warnings(relation, environment, changes, (direction, now));
    warnings.extend(changes.iter().flat_map(|change| handover::warnings(relation.world, change)));
    warnings.extend(changes.iter().filter_map(|change| handover::calls_nobody(relation.world, goal, change)));
    for change in changes.iter().filter(|change| version_changes(change)) {
        let Some(reference) = target(change) else { continue };
        let Some(version) = relation.world.version(&reference) else { continue };
        warnings.extend(version_warnings(environment, &reference, version, direction));
        warnings.extend(ended_warning(relation.world, &reference, version, direction));
        warnings.extend(forward_warning(environment, change, direction));
        let down = change.from.as_ref().is_some_and(|from| from.version > reference.version);
        if let (Direction::Forward, true, Some(from)) = (direction, down, &change.from) {
            warnings.push(format!(
                "`{}` goes DOWN from {} to {}",
                change.service, from.version, reference.version
            ));
        }
        let left = from(change).and_then(|left| relation.world.version(&left));
        warnings.extend(
            left.into_iter().flat_map(|left| database_warnings(relation, &reference.service, left, version)),
        );
        if direction == Direction::Forward {
            let crossed =
                left.and_then(|left| no_return(relation, environment, (&reference.service, left, version)));
            warnings.extend(crossed);
        }
        if direction == Direction::Back || down {
            warnings.extend(left.and_then(|left| data_warning(&reference.service, left, version)));
        }
    }
    if direction == Direction::Forward {
        let kept = changes.iter().filter(|change| version_changes(change));
        let kept = kept.filter_map(|change| Some((&change.service, change.to.as_ref()?)));
        warnings.extend(kept.filter_map(|(service, entry)| newer_revision(environment, service, entry)));
    }
    warnings.extend(promised(relation, environment, goal, reach));
    warnings.extend(removals(relation, goal, changes));
    warnings
}

/// Says of operations that a service loses by a move who was seen to call them.
fn removals(relation: Relation<'_>, goal: &Entries, changes: &[EntryChange]) -> Vec<String> {
    let consumers: Vec<_> = goal.iter().map(|(service, entry)| entry.arm(service).version_ref()).collect();
    let of_change = |change: &EntryChange| {
        let (from, to) = (from(change)?, target(change)?);
        let (from, to) = (relation.world.version(&from)?, relation.world.version(&to)?);
        let requires = |it: &&VersionRef| {
            let version = relation.world.version(it);
            version.is_some_and(|it| relation.world.requirements_on(it, &change.service).next().is_some())
        };
        let consumers: Vec<_> = consumers.iter().filter(requires).cloned().collect();
        Some(seen_use::removals(relation, &consumers, (&change.service, from, to)))
    };
    changes.iter().filter(|change| version_changes(change)).filter_map(of_change).flatten().collect()
}

/// Data folders are not versioned: what the newer version has written there is what the older one finds.
fn data_warning(service: &ServiceName, left: &Version, version: &Version) -> Option<String> {
    let folders: BTreeSet<&str> =
        left.run.data.iter().chain(&version.run.data).map(WorkPath::as_str).collect();
    let named = folders.iter().map(|folder| format!("`{folder}`")).collect::<Vec<_>>().join(", ");
    (!folders.is_empty())
        .then(|| format!("`{service}` keeps data in {named}, which going back does not touch"))
}

/// Migrations are run by the service, not by Lockstep, and may not have run here; so this warns and forbids nothing.
fn database_warnings(
    relation: Relation<'_>,
    service: &ServiceName,
    left: &Version,
    version: &Version,
) -> Vec<String> {
    let Some(found) = relation.database(left, version) else { return Vec::new() };
    let works = database_words(service, &found);
    let one_way = found.answer.one_way.iter().map(|what| format!("{service} {}: {what}", found.newer));
    works.into_iter().chain(one_way).collect()
}

/// Says that a version does not work on the database as another leaves it, or that this is not known.
pub(crate) fn database_words(service: &ServiceName, found: &DatabaseAnswer) -> Option<String> {
    let DatabaseAnswer { older, newer, way, answer } = found;
    let why = answer.reasons.first().map(String::as_str).unwrap_or_default();
    let when = match way {
        DatabaseWay::Beside => "while both run",
        DatabaseWay::After => "which stays when code goes back",
    };
    let schema = format!("the database as {service} {newer} leaves it, {when}");
    match answer.verdict {
        Verdict::Compatible => None,
        Verdict::Breaking => Some(format!("{older} does not work on {schema}: {why}")),
        Verdict::NotChecked => Some(format!("whether {older} works on {schema}, was not checked: {why}")),
    }
}

/// Warns before a point of no return: what runs now could not come back, since it does not work on what the new version leaves.
fn no_return(
    relation: Relation<'_>,
    environment: &Environment,
    (service, left, version): (&ServiceName, &Version, &Version),
) -> Option<String> {
    let back = relation.database(version, left)?;
    let breaks = back.way == DatabaseWay::After && back.answer.verdict == Verdict::Breaking;
    let why = back.answer.reasons.first().map(String::as_str).unwrap_or_default();
    let (older, newer) = (&left.number, &version.number);
    let current = environment.baselines.current().number;
    breaks.then(|| {
        format!(
            "a point of no return: after this, baseline {current} cannot be reached any more, and the last one you can reach is the one that this makes: \
             {older} does not work on the database as {service} {newer} leaves it: {why}"
        )
    })
}

/// What the goal relies on although it is not proved, and what is here does not.
fn promised(
    relation: Relation<'_>,
    environment: &Environment,
    goal: &Entries,
    reach: &Reach<'_>,
) -> Vec<String> {
    let promised = |entries: &Entries| relation.promised_of(reach.requiring(entries), entries);
    let before = promised(environment.entries());
    let new = promised(goal).into_iter().filter(|promise| !before.contains(promise));
    new.map(|(consumer, provider, why)| {
        let why = why.first().map(String::as_str).unwrap_or_default();
        format!("`{consumer}` is only promised to work with `{provider}`, not proved: {why}")
    })
    .collect()
}

/// Who goes back may name a version whose life is over, and should know that.
fn ended_warning(
    world: &World,
    reference: &VersionRef,
    version: &Version,
    direction: Direction,
) -> Option<String> {
    let lifecycle = world.lifecycle_of(&reference.service);
    let stage = lifecycle.position(&version.stage).map(|index| &lifecycle.stages[index])?;
    let ended = stage.availability == Availability::Ended;
    (ended && direction == Direction::Back)
        .then(|| format!("`{reference}` is {}: nobody looks after it any more", stage.name))
}

/// A baseline may have newer versions than what runs: who takes one back does not meet a canary.
fn forward_warning(environment: &Environment, change: &EntryChange, direction: Direction) -> Option<String> {
    let (from, to) = (change.from.as_ref()?, change.to.as_ref()?);
    let came_later = environment.baselines.came_before(&change.service, &from.version, &to.version);
    (direction == Direction::Back && came_later).then(|| {
        format!("`{}` goes forward to {}, which came here after {}", change.service, to.version, from.version)
    })
}

fn version_warnings(
    environment: &Environment,
    reference: &VersionRef,
    version: &Version,
    direction: Direction,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(hold) = environment.holds.get(reference).filter(|_| direction == Direction::Back) {
        warnings.push(format!("`{reference}` is held here: {}", hold.reason));
    }
    if direction == Direction::Forward && version.evidence.is_empty() {
        warnings.push(format!("`{reference}` was never tested"));
    }
    warnings
}

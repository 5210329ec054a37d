//! What is under way that a plan cannot begin beside.
//!
//! Every state on the way mixes what two operations come from with what they lead to. A requirement, a route and a port are
//! questions about two services, so all mixed states work when no version of the one that is involved asks for anything of the
//! other: neither needs the other, and they want neither the same route nor the same port.

use std::collections::BTreeSet;

use crate::baseline::{BaselineEntry, EntryChange};
use crate::database::moved;
use crate::environment::Environment;
use crate::intent::Intent;
use crate::name::ServiceName;
use crate::operation::Operation;
use crate::plan::databases;
use crate::plan::refusal::{Conflict, Refusal, Remedy};
use crate::plan::resolve::{Resolved, Scope};
use crate::routes::RouteRule;
use crate::service::Version;
use crate::world::World;

/// Returns a refusal for every operation under way that is in the way, with the first reason that there is.
pub(crate) fn in_the_way(
    world: &World,
    environment: &Environment,
    intent: &Intent,
    (resolved, changes): (&Resolved, &[EntryChange]),
) -> Vec<Refusal> {
    let touched = touched(intent, resolved, changes);
    let busy = |operation: &Operation| {
        let conflict = same_service(operation, &touched)
            .or_else(|| whole_environment(operation, resolved))
            .or_else(|| same_database(world, operation, (resolved, changes)))
            .or_else(|| between(world, operation, changes))?;
        Some(Refusal::Busy {
            environment: environment.name.clone(),
            operation: operation.id,
            intent: operation.intent.to_string(),
            conflict: Box::new(conflict),
            remedy: Remedy::TakeBack,
        })
    };
    environment.under_way().filter_map(|operation| busy(operation)).collect()
}

/// What a plan changes, and what it was asked about although nothing of it changes.
fn touched(intent: &Intent, resolved: &Resolved, changes: &[EntryChange]) -> BTreeSet<ServiceName> {
    let asked = match intent {
        Intent::Scale { service, .. } | Intent::Restart { service, .. } => Some(service),
        Intent::Configure { service, .. } | Intent::RunJob { service, .. } => Some(service),
        _ => None,
    };
    let changed = changes.iter().map(|change| &change.service);
    let at_databases = resolved.jobs.iter().filter(|planned| planned.database.is_some());
    let at_databases = at_databases.map(|planned| &planned.arm.service);
    let relocated = resolved.relocations.iter().map(|it| &it.arm.service);
    changed
        .chain(resolved.reasons.keys())
        .chain(asked)
        .chain(at_databases)
        .chain(relocated)
        .cloned()
        .collect()
}

fn same_service(operation: &Operation, touched: &BTreeSet<ServiceName>) -> Option<Conflict> {
    let touches = operation.touches();
    touches.intersection(touched).next().cloned().map(Conflict::SameService)
}

fn whole_environment(operation: &Operation, resolved: &Resolved) -> Option<Conflict> {
    let all = resolved.scope == Scope::Environment && !operation.plan.moves_nothing();
    all.then_some(Conflict::WholeEnvironment)
}

/// Both work with one database: what one of them contracts or adds, the other may rest on.
fn same_database(
    world: &World,
    operation: &Operation,
    (resolved, changes): (&Resolved, &[EntryChange]),
) -> Option<Conflict> {
    let ours = databases::of_changes(world, resolved, changes);
    let moves =
        operation.plan.moves().flat_map(|part| versions(world, &part.service, [&part.from, &part.to]));
    let moves = moves.flat_map(|(_, version)| moved(version)).map(|of| &of.database.name);
    let steps = operation.plan.jobs.iter().filter_map(|planned| Some(&planned.database.as_ref()?.database));
    moves.chain(steps).find(|name| ours.contains(*name)).cloned().map(Conflict::SameDatabase)
}

fn between(world: &World, operation: &Operation, changes: &[EntryChange]) -> Option<Conflict> {
    let theirs =
        operation.plan.moves().flat_map(|part| versions(world, &part.service, [&part.from, &part.to]));
    let theirs: Vec<_> = theirs.collect();
    let ours = changes.iter().flat_map(|one| versions(world, &one.service, [&one.from, &one.to]));
    let mut pairs = ours.flat_map(|one| theirs.iter().map(move |other| (one, *other)));
    pairs.find_map(|(one, other)| {
        needs(world, one, other).or_else(|| needs(world, other, one)).or_else(|| both_want(one, other))
    })
}

type Involved<'a> = (&'a ServiceName, &'a Version);

/// The versions of a service in all states of a move.
fn versions<'a>(
    world: &'a World,
    service: &'a ServiceName,
    entries: [&'a Option<BaselineEntry>; 2],
) -> impl Iterator<Item = Involved<'a>> {
    let entries = entries.into_iter().flatten();
    entries.filter_map(move |entry| Some((service, &**world.find_version(service, &entry.version)?)))
}

fn needs(world: &World, (consumer, version): Involved<'_>, (provider, _): Involved<'_>) -> Option<Conflict> {
    world.requirements_on(version, provider).next().map(|_| Conflict::Requires {
        consumer: crate::version::VersionRef { service: consumer.clone(), version: version.number.clone() },
        provider: provider.clone(),
    })
}

fn both_want((one, first): Involved<'_>, (other, second): Involved<'_>) -> Option<Conflict> {
    let (one, other) = (one.clone(), other.clone());
    let wanted: BTreeSet<String> = second.routes.iter().map(RouteRule::key).collect();
    if let Some(rule) = first.routes.iter().find(|rule| wanted.contains(&rule.key())) {
        return Some(Conflict::Route { one, other, route: rule.to_string() });
    }
    let taken: Vec<_> = second.fixed_ports().map(|(_, port)| port).collect();
    let port = first.fixed_ports().map(|(_, port)| port).find(|port| taken.contains(port))?;
    Some(Conflict::Port { one, other, port })
}

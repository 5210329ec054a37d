//! Who is called: a worker answers nobody, so its address must not stand in the values of what runs beside it.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::EntryChange;
use crate::environment::Environment;
use crate::intent::{ConfigValue, Configuration};
use crate::name::ServiceName;
use crate::plan::reach::Reach;
use crate::plan::refusal::Refusal;
use crate::plan::resolve::Resolved;
use crate::reference::{Called, Reader, Reference, references};
use crate::run::{RunSpec, Values};
use crate::service::Version;
use crate::version::VersionRef;
use crate::world::World;

/// Finds who refers to the address of a worker, when the one or the other changes.
pub(super) fn of_workers(
    (world, environment, resolved): (&World, &Environment, &Resolved),
    (changes, reach): (&[EntryChange], &Reach<'_>),
) -> Vec<Refusal> {
    let calls = |version: &Version, values: &Configuration| {
        let called = version.runs().flat_map(|run| called(world, &run, values));
        let fixed = at_fixed_ports(version).filter_map(|reference| by_name(world, reference));
        called.chain(fixed).collect()
    };
    let is_worker = |version: &Version| !version.run.kind.is_web();
    let refusal = |caller, reference, worker| Refusal::CallsWorker { caller, reference, worker };
    in_vain((world, environment, resolved), (changes, reach), calls, is_worker, refusal)
}

/// Finds calls that cannot be made, when who calls or who is called changes: `calls` are those of a version with its values, and
/// `is_deaf` tells of a version that is called whether it takes none.
pub(super) fn in_vain(
    (world, environment, resolved): (&World, &Environment, &Resolved),
    (changes, reach): (&[EntryChange], &Reach<'_>),
    calls: impl Fn(&Version, &Configuration) -> BTreeMap<ServiceName, Reference>,
    is_deaf: impl Fn(&Version) -> bool,
    refusal: impl Fn(VersionRef, Reference, VersionRef) -> Refusal,
) -> Vec<Refusal> {
    let deaf = |name: &ServiceName| {
        let reference = resolved.target.get(name)?.arm(name).version_ref();
        is_deaf(world.version(&reference)?).then_some(reference)
    };
    let changed: BTreeSet<&ServiceName> = changes.iter().map(|change| &change.service).collect();
    let mut refusals = Vec::new();
    for (service, entry) in reach.naming(&resolved.target) {
        let caller = entry.arm(service).version_ref();
        let Some(version) = world.version(&caller) else { continue };
        let called = calls(version, &resolved.values(environment, service));
        let refused = |(name, reference): (ServiceName, Reference)| {
            let deaf = deaf(&name)?;
            let concerns = changed.contains(service) || changed.contains(&deaf.service);
            concerns.then(|| refusal(caller.clone(), reference, deaf))
        };
        refusals.extend(called.into_iter().filter_map(refused));
    }
    refusals
}

/// The services whose address stands in the texts of a version, or in its configuration, by their present names.
fn called(world: &World, run: &RunSpec, values: &Configuration) -> BTreeMap<ServiceName, Reference> {
    references_in(run, values).filter_map(|reference| by_name(world, reference)).collect()
}

/// Every service that a version may call by a name: in its texts, in its configuration, or at a port that its program knows.
pub(super) fn named(world: &World, version: &Version, values: &Configuration) -> BTreeSet<ServiceName> {
    let runs: Vec<_> = version.runs().collect();
    let named = runs.iter().flat_map(|run| references_in(run, values)).chain(at_fixed_ports(version));
    named.filter_map(|reference| by_name(world, reference)).map(|(service, _)| service).collect()
}

pub(super) fn by_name(world: &World, reference: Reference) -> Option<(ServiceName, Reference)> {
    match &reference {
        Reference::Service(name, _) => Some((world.current_name(name).clone(), reference)),
        Reference::Own(_) | Reference::Resource(..) | Reference::Variable(_) => None,
    }
}

/// What a version calls at ports that its program knows, as if it referred to them.
pub(super) fn at_fixed_ports(version: &Version) -> impl Iterator<Item = Reference> {
    let fixed = version.requires.iter().filter(|(_, required)| required.port.is_some());
    fixed.map(|(service, _)| Reference::Service(service.clone(), Called::Port))
}

/// Everything that the texts of a version and its configuration refer to.
pub(super) fn references_in<'a>(
    run: &'a RunSpec,
    values: &'a Configuration,
) -> impl Iterator<Item = Reference> + use<'a> {
    let filled = values.values().filter_map(|value| match value {
        ConfigValue::Filled(text) => Some(text),
        ConfigValue::Plain(_) | ConfigValue::Secret(_) => None,
    });
    let texts = run.texts().filter(|_| run.values == Values::Filled).chain(filled);
    // What is wrong with a text was said where it was read.
    texts.filter_map(|text| references(text, Reader::Shell).ok()).flatten()
}

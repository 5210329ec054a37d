//! Who is called: a worker answers nobody, so its address must not stand in the values of what runs beside it.

use std::collections::BTreeSet;

use crate::baseline::EntryChange;
use crate::environment::Environment;
use crate::intent::ConfigValue;
use crate::name::ServiceName;
use crate::plan::refusal::Refusal;
use crate::plan::resolve::Resolved;
use crate::reference::{Reader, Reference, references};
use crate::service::Version;
use crate::version::VersionRef;
use crate::world::World;

/// Finds who refers to the address of a worker, when the one or the other changes.
pub(super) fn of_workers(
    world: &World,
    environment: &Environment,
    resolved: &Resolved,
    changes: &[EntryChange],
) -> Vec<Refusal> {
    let changed: BTreeSet<&ServiceName> = changes.iter().map(|change| &change.service).collect();
    let mut refusals = Vec::new();
    for (service, entry) in &resolved.target {
        let caller = entry.arm(service).version_ref();
        let called =
            world.version(&caller).map(|version| called(world, environment, resolved, service, version));
        let concerns = |worker: &VersionRef| changed.contains(service) || changed.contains(&worker.service);
        let workers = called.into_iter().flatten().filter_map(|name| worker(world, resolved, &name));
        refusals.extend(
            workers.filter(concerns).map(|worker| Refusal::CallsWorker { caller: caller.clone(), worker }),
        );
    }
    refusals
}

/// The services whose address stands in the texts of a version, or in its configuration, by their present names.
fn called(
    world: &World,
    environment: &Environment,
    resolved: &Resolved,
    service: &ServiceName,
    version: &Version,
) -> BTreeSet<ServiceName> {
    let values = resolved.values(environment, service);
    let filled = values.values().filter_map(|value| match value {
        ConfigValue::Filled(text) => Some(text),
        ConfigValue::Plain(_) | ConfigValue::Secret(_) => None,
    });
    // What is wrong with a text was said where it was read.
    let all = version.run.texts().chain(filled).filter_map(|text| references(text, Reader::Shell).ok());
    let addresses = all.flatten().filter_map(|reference| match reference {
        Reference::Url(name) => Some(world.current_name(&name).clone()),
        Reference::Own(_) | Reference::Variable(_) => None,
    });
    addresses.collect()
}

fn worker(world: &World, resolved: &Resolved, name: &ServiceName) -> Option<VersionRef> {
    let reference = resolved.target.get(name)?.arm(name).version_ref();
    (!world.version(&reference)?.run.kind.is_web()).then_some(reference)
}

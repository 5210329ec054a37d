//! What hosts cannot give yet: a version that needs it is refused where instances run on hosts, before anything is sent there.

use crate::baseline::EntryChange;
use crate::environment::Environment;
use crate::host::is_on_hosts;
use crate::intent::Configuration;
use crate::plan::calls::{at_fixed_ports, references_in};
use crate::plan::check::target;
use crate::plan::refusal::Refusal;
use crate::plan::resolve::Resolved;
use crate::resource::Resource;
use crate::service::Version;
use crate::version::VersionRef;
use crate::world::World;

/// Finds what changes and needs what only the machine of the server has.
pub(super) fn lacking(
    world: &World,
    environment: &Environment,
    resolved: &Resolved,
    changes: &[EntryChange],
) -> Vec<Refusal> {
    if !is_on_hosts(world, &environment.name) {
        return Vec::new();
    }
    let refusal = |change: &EntryChange| {
        let values = resolved.values(environment, &change.service);
        refusal(world, environment, target(change)?, &values)
    };
    changes.iter().filter_map(refusal).collect()
}

/// Finds what an environment has in force that keeps its instances from running on hosts.
#[must_use]
pub fn kept_from_hosts(world: &World, environment: &Environment) -> Vec<Refusal> {
    let entries = environment.entries().iter();
    let refusals = entries.filter_map(|(service, entry)| {
        let values = environment.configuration(service, entry.config).unwrap_or_default();
        refusal(world, environment, entry.arm(service).version_ref(), &values)
    });
    refusals.collect()
}

fn refusal(
    world: &World,
    environment: &Environment,
    version: VersionRef,
    values: &Configuration,
) -> Option<Refusal> {
    let needs = needs(environment, world.version(&version)?, values);
    let environment = environment.name.clone();
    (!needs.is_empty()).then_some(Refusal::NotOnHosts { version, environment, needs })
}

/// Everything that a version needs and only the machine of the server has.
fn needs(environment: &Environment, version: &Version, values: &Configuration) -> Vec<String> {
    let mut needs = Vec::new();
    if version.runs().any(|run| !run.data.is_empty()) {
        needs.push("it keeps data in folders, which stay on one machine".to_owned());
    }
    if version.runs().any(|run| run.external.as_ref().is_some_and(|external| external.version.is_some())) {
        needs.push("it is asked for its `version` through a relay on the machine of the server".to_owned());
    }
    let runs_here = |name: &&_| environment.resources.get(*name).is_some_and(Resource::runs_here);
    needs.extend(version.resources.keys().find(runs_here).map(|name| {
        format!("its resource `{name}` is run by Lockstep, and listens on the machine of the server alone")
    }));
    let mut named = version.runs().flat_map(|run| references_in(&run, values).collect::<Vec<_>>());
    let reference = named.find(|reference| reference.listened_for().is_some());
    needs.extend(reference.or_else(|| at_fixed_ports(version).next()).map(|reference| {
        format!("it refers to `${{{reference}}}`, for which only the gateway in the server listens")
    }));
    needs
}

//! Who is to call others by host and port: the gateway must be on the machine of the instances to listen for them.

use crate::baseline::EntryChange;
use crate::call_address::CallAddress;
use crate::environment::Environment;
use crate::intent::Configuration;
use crate::plan::calls::{at_fixed_ports, references_in};
use crate::plan::refusal::Refusal;
use crate::plan::resolve::Resolved;
use crate::version::VersionRef;
use crate::world::World;

/// Finds what changes and refers to a host or a port that no gateway can give.
pub(super) fn out_of_reach(
    world: &World,
    environment: &Environment,
    resolved: &Resolved,
    changes: &[EntryChange],
) -> Vec<Refusal> {
    let gateway = &environment.settings.gateway_url;
    let refusal = |change: &EntryChange| {
        let caller = change.to.as_ref()?.arm(&change.service).version_ref();
        let values = resolved.values(environment, &change.service);
        refusal(world, environment, gateway, caller, &values)
    };
    changes.iter().filter_map(refusal).collect()
}

/// Finds what runs in an environment and refers to a host or a port that no gateway could give if this were the one to call.
#[must_use]
pub fn kept_from_moving(world: &World, environment: &Environment, gateway: &CallAddress) -> Option<Refusal> {
    environment.entries().iter().find_map(|(service, entry)| {
        let values = environment.configuration(service, entry.config).unwrap_or_default();
        refusal(world, environment, gateway, entry.arm(service).version_ref(), &values)
    })
}

fn refusal(
    world: &World,
    environment: &Environment,
    gateway: &CallAddress,
    caller: VersionRef,
    values: &Configuration,
) -> Option<Refusal> {
    let CallAddress::Elsewhere(gateway) = gateway else { return None };
    if gateway.on_loopback().is_some() {
        return None;
    }
    let version = world.version(&caller)?;
    let mut named = version.runs().flat_map(|run| references_in(&run, values).collect::<Vec<_>>());
    let reference = named.find(|reference| reference.listened_for().is_some());
    let reference = reference.or_else(|| at_fixed_ports(version).next())?;
    let (environment, gateway) = (environment.name.clone(), gateway.to_string());
    Some(Refusal::NoListener { caller, reference, environment, gateway })
}

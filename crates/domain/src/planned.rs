//! What gateways would serve once something is over that is only planned: the world goes on by itself, and the table of that is compiled.
//!
//! Invariant: nothing of it is recorded. Where an arm has no instance yet there is one at an address that is nobody's, so that what a gateway decides
//! can be told by the table, and nobody can be asked by it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::compile::compile_routes;
use crate::digest::Digest;
use crate::environment::Environment;
use crate::event::{Event, Recorded};
use crate::fleet::Fleet;
use crate::instance::{Arm, Instance, InstanceState};
use crate::name::{EnvironmentName, HostName};
use crate::observed::Observed;
use crate::operation::Operation;
use crate::routes::RouteTable;
use crate::time::Timestamp;
use crate::world::{FoldError, World};

/// An address that is nobody's (RFC 5737), with the port on which everything is thrown away.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);

/// Returns the world as it would be once an operation was done that nothing is in the way of.
///
/// # Errors
/// When the operation does not follow on the world.
pub fn world_after(
    world: &World,
    before: &[Event],
    operation: &Operation,
    now: Timestamp,
) -> Result<World, FoldError> {
    let (mut after, environment) = (world.clone(), operation.environment.clone());
    let begun = after.find_operation(operation.id).is_none();
    let begun = begun.then(|| Event::OperationBegun { operation: Box::new(operation.clone()) });
    for event in before.iter().cloned().chain(begun) {
        record(&mut after, operation, event, now)?;
    }
    let current = after.environment(&environment).map_or(0, |it| it.baselines.current().number);
    let baseline = current + u64::from(!operation.plan.moves_nothing());
    let proof = String::new();
    record(
        &mut after,
        operation,
        Event::OperationDone { operation: operation.id, environment, baseline, proof },
        now,
    )?;
    Ok(after)
}

fn record(world: &mut World, operation: &Operation, event: Event, now: Timestamp) -> Result<(), FoldError> {
    world.fold(&Recorded { seq: world.seq + 1, at: now, actor: operation.actor.clone(), event })
}

/// Compiles the table that such a world has of an environment, with what is seen of it now.
#[must_use]
pub fn routes_of(
    world: &World,
    environment: &Environment,
    observed: &Observed,
    callers: &[Digest],
    now: Timestamp,
) -> RouteTable {
    let observed = with_all_arms(environment, observed.clone(), now);
    compile_routes(world, environment, &observed, callers, 0, now)
}

/// Adds an instance of each arm of the baseline of which none is healthy.
fn with_all_arms(environment: &Environment, mut observed: Observed, now: Timestamp) -> Observed {
    let arms = environment.entries().iter().map(|(service, entry)| entry.arm(service));
    let missing: Vec<Arm> =
        arms.filter(|arm| Fleet::serving(environment, &observed, arm).healthy() == 0).collect();
    let planned = missing.into_iter().filter_map(|arm| planned(&environment.name, arm, now));
    observed.instances.extend(planned);
    observed
}

fn planned(environment: &EnvironmentName, arm: Arm, now: Timestamp) -> Option<Instance> {
    Some(Instance {
        id: format!("{}-{}-planned", arm.service, arm.version).parse().ok()?,
        environment: environment.clone(),
        arm,
        state: InstanceState::Healthy,
        address: Some(NOBODY),
        since: now,
        restarts: 0,
        job: None,
        resource: None,
        host: None,
    })
}

/// An instance that is planned on a host: the `n`-th of those that are planned together.
pub(crate) fn instance_on(
    environment: &EnvironmentName,
    arm: &Arm,
    host: &HostName,
    n: usize,
) -> Option<Instance> {
    let planned = planned(environment, arm.clone(), Timestamp::default())?;
    let id = format!("{}-{n}", planned.id).parse().ok()?;
    Some(Instance { id, host: Some(host.clone()), ..planned })
}

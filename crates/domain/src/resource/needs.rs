//! Who needs which resource: what a plan lacks, what must not be removed, and what an operation waits for.

use std::collections::BTreeSet;

use crate::action::{Look, SAY_AGAIN_MS};
use crate::environment::Environment;
use crate::event::Event;
use crate::fault::Cause;
use crate::instance::{Arm, InstanceState};
use crate::name::ResourceName;
use crate::observed::Observed;
use crate::operation::{Move, Operation};
use crate::plan::Refusal;
use crate::resource::Resource;
use crate::taking_back::revert;
use crate::time::Timestamp;
use crate::version::VersionRef;
use crate::world::World;

/// How long an operation waits for resources that Lockstep runs: a large database that was killed takes minutes to recover.
pub const AWAITED_MS: u64 = 10 * 60 * 1_000;

/// Returns what an environment lacks for a version.
#[must_use]
pub fn lacking(world: &World, environment: &Environment, version: &VersionRef) -> Vec<Refusal> {
    let needed = world.version(version).into_iter().flat_map(|found| &found.resources);
    let refusal = |(resource, need): (&ResourceName, &super::ResourceNeed)| {
        let found = environment.resources.get(resource).map(|resource| resource.kind);
        (found != Some(need.kind)).then(|| Refusal::NoResource {
            version: version.clone(),
            resource: resource.clone(),
            kind: need.kind,
            found,
            environment: environment.name.clone(),
        })
    };
    needed.filter_map(refusal).collect()
}

/// Returns the versions that run in an environment, or are on their way there, and need a resource.
#[must_use]
pub fn needed_by(world: &World, environment: &Environment, resource: &ResourceName) -> Vec<VersionRef> {
    let targets = environment.under_way().map(|operation| &operation.plan.target);
    let entries = std::iter::once(environment.entries()).chain(targets);
    let all = entries.flatten().map(|(service, entry)| entry.arm(service).version_ref());
    let ruled = environment.ruled_arms().map(|arm| arm.version_ref());
    let all: BTreeSet<VersionRef> = all.chain(ruled).collect();
    let needs = |version: &VersionRef| {
        world.version(version).is_some_and(|version| version.resources.contains_key(resource))
    };
    all.into_iter().filter(needs).collect()
}

/// Tells whether instances of an arm are not to be started yet, because a resource that Lockstep runs for them is not healthy.
pub(crate) fn keep_back(world: &World, environment: &Environment, observed: &Observed, arm: &Arm) -> bool {
    unhealthy(world, environment, observed, arm).next().is_some()
}

fn unhealthy<'a>(
    world: &'a World,
    environment: &'a Environment,
    observed: &'a Observed,
    arm: &Arm,
) -> impl Iterator<Item = (&'a ResourceName, &'a Resource)> {
    let needed = world.version(&arm.version_ref()).into_iter().flat_map(|version| version.resources.keys());
    let here = needed.filter_map(|name| environment.resources.get_key_value(name));
    here.filter(|(name, resource)| resource.runs_here() && healthy_since(observed, name, resource).is_none())
}

fn healthy_since(observed: &Observed, name: &ResourceName, resource: &Resource) -> Option<Timestamp> {
    let arm = resource.arm(name);
    let found = observed.resources.iter().find(|it| it.arm == arm && it.state.is_healthy());
    found.map(|instance| instance.since)
}

/// Says what is seen of a resource that is not healthy.
fn how(observed: &Observed, name: &ResourceName, resource: &Resource) -> String {
    let arm = resource.arm(name);
    let newest = observed.resources.iter().filter(|it| it.arm == arm).max_by_key(|it| it.since);
    let words = match newest.map(|instance| &instance.state) {
        None | Some(InstanceState::Starting) => "starting",
        Some(InstanceState::Unhealthy { reason } | InstanceState::Failed { reason, .. }) => {
            return format!("resource `{name}`: {}", reason.lines().next().unwrap_or_default());
        }
        Some(_) => "ending",
    };
    format!("resource `{name}`, which is {words}")
}

/// The arms whose instances an operation starts, or runs a job of.
fn arms_of(operation: &Operation) -> BTreeSet<Arm> {
    let jobs = operation.plan.jobs.iter().map(|planned| planned.arm.clone());
    operation.plan.moves().filter_map(Move::to_arm).chain(jobs).collect()
}

/// Says which resources an operation waits for; empty when it waits for none.
pub(crate) fn awaited(look: Look<'_>, operation: &Operation) -> Vec<String> {
    let Look { world, environment, observed, .. } = look;
    let arms = arms_of(operation);
    let all: BTreeSet<_> = arms
        .iter()
        .flat_map(|arm| unhealthy(world, environment, observed, arm))
        .map(|(name, resource)| how(observed, name, resource))
        .collect();
    all.into_iter().collect()
}

/// Returns what is to be recorded of an operation before anything of it may begin; `None` when every resource is there.
pub(crate) fn due(
    look: Look<'_>,
    operation: &Operation,
    wave: usize,
    since: Timestamp,
) -> Option<Vec<Event>> {
    let awaited = awaited(look, operation);
    if awaited.is_empty() {
        return came(look, operation, since).then(|| vec![begin_anew(operation, wave)]);
    }
    let missing = awaited.join("; ");
    if look.now >= since.plus_ms(AWAITED_MS) {
        let words = format!("it waited {} min in vain: {missing}", AWAITED_MS / 60_000);
        return Some(vec![revert(operation, Cause::of_nobody(words))]);
    }
    let said = operation.waits.as_ref().filter(|said| said.wave == wave && said.at >= since);
    let is_known =
        said.is_some_and(|said| said.missing == missing || look.now.since_ms(said.at) < SAY_AGAIN_MS);
    let (id, environment) = (operation.id, operation.environment.clone());
    let waits = || Event::ResourceAwaited { operation: id, environment, missing };
    Some(if is_known { Vec::new() } else { vec![waits()] })
}

/// Tells whether a resource became healthy only after an operation began to wait: until then nothing of it could start.
fn came(look: Look<'_>, operation: &Operation, since: Timestamp) -> bool {
    let waited = operation.waits.as_ref().is_some_and(|said| said.at >= since);
    let Look { world, environment, observed, .. } = look;
    let needed: BTreeSet<_> = arms_of(operation)
        .iter()
        .filter_map(|arm| world.version(&arm.version_ref()))
        .flat_map(|version| version.resources.keys().cloned())
        .collect();
    let mut here = needed.iter().filter_map(|name| environment.resources.get_key_value(name));
    let is_new = |(name, resource): (&ResourceName, &Resource)| {
        healthy_since(observed, name, resource).is_some_and(|at| at > since)
    };
    waited && here.any(is_new)
}

/// The time that instances have for becoming healthy begins when they can be started.
pub(crate) fn begin_anew(operation: &Operation, wave: usize) -> Event {
    let (id, environment) = (operation.id, operation.environment.clone());
    Event::WavePrepared { operation: id, environment, wave, proof: String::new() }
}

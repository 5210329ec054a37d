//! Staying: when a version has been healthy in an environment for long enough to count as having run there.
//!
//! Durations are measured from what the server that looks has seen itself, so a restart of it, a supervisor or a clock makes
//! a stay longer and never shorter.

use crate::baseline::{Baseline, BaselineEntry};
use crate::environment::Environment;
use crate::event::Event;
use crate::evidence::{Evidence, EvidenceKind, Outcome};
use crate::fleet::Fleet;
use crate::instance::Arm;
use crate::job::JobEnd;
use crate::name::ServiceName;
use crate::observed::Observed;
use crate::process;
use crate::replicas::{has_instances, replicas};
use crate::time::Timestamp;
use crate::world::World;

/// Returns since when all wanted instances of an arm have been healthy without a restart; `None` when they are not. Of what only has jobs: since
/// when it has been live, where the last run of them ended well.
#[must_use]
pub fn steady_since(
    world: &World,
    environment: &Environment,
    observed: &Observed,
    arm: &Arm,
) -> Option<Timestamp> {
    if !has_instances(world, arm) {
        return live_since(environment, arm);
    }
    let all = process::arms(world, arm).filter(|arm| replicas(world, environment, arm) > 0);
    let since: Option<Vec<_>> = all.map(|arm| process_since(environment, observed, &arm)).collect();
    since?.into_iter().max()
}

fn process_since(environment: &Environment, observed: &Observed, arm: &Arm) -> Option<Timestamp> {
    let fleet = Fleet::serving(environment, observed, arm);
    if fleet.healthy() < environment.count_of(arm) {
        return None;
    }
    let since = fleet.standing.iter().map(|instance| observed.steady_since.get(&instance.id).copied());
    since.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// Since when an arm has been in the baseline without an interruption, where its jobs have run since and the last of their runs ended well.
fn live_since(environment: &Environment, arm: &Arm) -> Option<Timestamp> {
    let is_there = |baseline: &&Baseline| {
        baseline.entries.get(&arm.service).is_some_and(|entry| entry.arm(&arm.service) == *arm)
    };
    let since = environment.baselines.newest_first().take_while(is_there).last()?.at;
    let last = ends(environment, arm).max_by_key(|end| end.at);
    last.filter(|end| end.failure.is_none()).map(|_| since)
}

/// How the runs of the jobs of an arm ended, as far as is remembered.
fn ends<'a>(environment: &'a Environment, arm: &'a Arm) -> impl Iterator<Item = &'a JobEnd> {
    let scheduled = environment.scheduled.get(&arm.service).into_iter().flatten();
    let scheduled = scheduled.flat_map(|(_, known)| known.runs.iter().map(|one| (&one.planned, one.run())));
    let operations = environment.operations.iter().chain(environment.under_way());
    let asked = operations.flat_map(|it| it.job_runs().map(|(planned, run)| (planned, Some(run))));
    let of_arm = scheduled.chain(asked).filter(move |(planned, _)| planned.arm == *arm);
    of_arm.filter_map(|(_, run)| run?.end.as_ref())
}

/// Returns the evidence of the versions that have stayed for long enough now.
#[must_use]
pub fn proven(world: &World, environment: &Environment, observed: &Observed, now: Timestamp) -> Vec<Event> {
    let unproven = unproven(world, environment);
    let stayed =
        unproven.filter(|arm| ends_at(world, environment, observed, arm).is_some_and(|end| now >= end));
    stayed
        .map(|arm| Event::EvidenceAdded {
            version: arm.version_ref(),
            evidence: Evidence::ran_in(&environment.name, now),
        })
        .collect()
}

/// Returns when the next version will have stayed for long enough, as things stand.
#[must_use]
pub fn next_proof(world: &World, environment: &Environment, observed: &Observed) -> Option<Timestamp> {
    unproven(world, environment).filter_map(|arm| ends_at(world, environment, observed, &arm)).min()
}

fn ends_at(world: &World, environment: &Environment, observed: &Observed, arm: &Arm) -> Option<Timestamp> {
    Some(steady_since(world, environment, observed, arm)?.plus_ms(environment.settings.stay_ms))
}

/// The arms of the baseline whose versions have no such evidence yet.
fn unproven<'a>(world: &'a World, environment: &'a Environment) -> impl Iterator<Item = Arm> + 'a {
    let kind = EvidenceKind::ran_in(&environment.name);
    let is_proven = move |arm: &Arm| {
        let evidence =
            world.version(&arm.version_ref()).map(|version| version.newest_evidence(&kind).cloned());
        // A version that is not known cannot be given evidence.
        evidence.is_none_or(|newest| newest.is_some_and(|newest| newest.outcome == Outcome::Green))
    };
    let entry = |(service, entry): (&ServiceName, &BaselineEntry)| entry.arm(service);
    environment.entries().iter().map(entry).filter(move |arm| !is_proven(arm))
}

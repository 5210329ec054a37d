//! Ways back: what an environment or one of its services can go back to, and what is known of each.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::baseline::{Baseline, BaselineEntry, difference};
use crate::environment::Environment;
use crate::instance::{Arm, ConfigRevision};
use crate::intent::Strategy;
use crate::lifecycle::Availability;
use crate::name::ServiceName;
use crate::operation::{Operation, Readiness};
use crate::plan::{contracted, is_forward};
use crate::proven::{Proof, proof_of};
use crate::start::{StartOutlook, outlook};
use crate::time::Timestamp;
use crate::version::{VersionNumber, VersionRef};
use crate::world::World;

/// Something that can be gone back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WayBack {
    /// The newest baseline that has it.
    pub baseline: u64,
    /// When that became current.
    pub at: Timestamp,
    /// The version, where it is a way of one service.
    pub version: Option<VersionNumber>,
    /// The configuration that it last ran with, where it is a way of one service.
    pub config: Option<ConfigRevision>,
    /// What was wanted of the operation that made the baseline.
    pub intent: Option<String>,
    /// Whether it still runs.
    pub readiness: Readiness,
    /// What was seen of it when it came, as it was judged then.
    pub proof: String,
    /// What made it proven: the baseline, or of a service the newest one with that version and configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<Proof>,
    /// What a person should know before.
    pub notes: Vec<String>,
    /// Why it cannot be gone back to, where the host knows that already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What is known of how its workers start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartOutlook>,
}

/// What the host says of the arms that can be gone back to.
pub struct Host<'a> {
    /// Whether instances of an arm run and are kept, so that going there is a change of routes.
    pub is_ready: &'a dyn Fn(&Arm) -> bool,
    /// Of an arm whose artifact is to be unpacked: nothing when it is, else why it is not. `None` where it need not be.
    pub unprepared: &'a dyn Fn(&Arm) -> Option<Option<String>>,
    /// Whether the artifact of a version is in the store: nothing is started, and nothing is gone back to, without.
    pub has_artifact: &'a dyn Fn(&VersionRef) -> bool,
}

/// Says that a version cannot be started because its artifact is lost.
#[must_use]
pub fn lost(version: &VersionRef) -> String {
    format!("the artifact of `{version}` is not in the blob store")
}

/// Lists the versions that a service can go back to here, the one that ran last first. What runs is none of them, and
/// neither is what is newer.
#[must_use]
pub fn of_service(
    world: &World,
    environment: &Environment,
    service: &ServiceName,
    host: &Host<'_>,
) -> Vec<WayBack> {
    let runs = environment.entries().get(service).map(|entry| &entry.version);
    let mut seen = BTreeSet::new();
    let ran = environment.baselines.newest_first().filter_map(|b| Some((b, b.entries.get(service)?)));
    let ran = ran.filter(|(_, entry)| seen.insert(entry.version.clone()));
    ran.filter(|(_, entry)| match runs {
        None => true,
        Some(runs) if *runs == entry.version => false,
        Some(runs) => {
            let to = VersionRef { service: service.clone(), version: entry.version.clone() };
            !is_forward(environment, &to, runs)
        }
    })
    .map(|(baseline, entry)| WayBack {
        version: Some(entry.version.clone()),
        config: Some(entry.config),
        proof: proof_of_version(environment, service, &entry.version),
        readiness: readiness(host, [(service, entry)]),
        refused: refused(host, [(service, entry)]).or_else(|| gone(world, environment, [(service, entry)])),
        start: start(world, environment, host, [(service, entry)]),
        notes: notes(world, environment, service, entry),
        proven: proof_of(environment, service, entry).cloned(),
        ..of_baseline(environment, baseline)
    })
    .collect()
}

/// Lists the baselines that an environment can go back to, the newest first. The current one is none of them.
#[must_use]
pub fn of_environment(world: &World, environment: &Environment, host: &Host<'_>) -> Vec<WayBack> {
    environment
        .baselines
        .newest_first()
        .skip(1)
        .map(|baseline| {
            let changes = difference(environment.entries(), &baseline.entries);
            let moved = changes.iter().filter_map(|change| Some((&change.service, change.to.as_ref()?)));
            let moved: Vec<_> = moved.collect();
            let notes = moved.iter().flat_map(|(service, entry)| notes(world, environment, service, entry));
            WayBack {
                notes: notes.collect(),
                refused: refused(host, moved.iter().copied())
                    .or_else(|| gone(world, environment, moved.iter().copied())),
                start: start(world, environment, host, moved.iter().copied()),
                readiness: readiness(host, moved),
                ..of_baseline(environment, baseline)
            }
        })
        .collect()
}

fn of_baseline(environment: &Environment, baseline: &Baseline) -> WayBack {
    let operation = baseline.operation.and_then(|id| environment.find_operation(id));
    WayBack {
        baseline: baseline.number,
        at: baseline.at,
        version: None,
        config: None,
        intent: operation.map(|operation| operation.intent.to_string()),
        readiness: Readiness::Warm,
        proof: operation.map_or_else(String::new, |operation| proof(operation)),
        proven: environment.proven.get(&baseline.number).cloned(),
        notes: Vec::new(),
        refused: None,
        start: None,
    }
}

/// What was seen when a version came the last time; a later change of other services says nothing about it.
fn proof_of_version(environment: &Environment, service: &ServiceName, version: &VersionNumber) -> String {
    let came = environment.operations.iter().rev().find(|operation| {
        let part = operation.plan.move_of(service).map(|(_, part)| part);
        let comes = part.is_some_and(|part| {
            let of = |entry: &Option<BaselineEntry>| entry.as_ref().map(|entry| entry.version.clone());
            of(&part.to).as_ref() == Some(version) && of(&part.from).as_ref() != Some(version)
        });
        comes && operation.phase.is_done()
    });
    came.map_or_else(String::new, |operation| match operation.plan.move_of(service) {
        Some((_, part)) if !part.has_instances() => "nothing of it runs all the time".to_owned(),
        Some((_, part)) if !part.kind.is_web() && operation.plan.strategy == Strategy::AllAtOnce => {
            "healthy; a worker has no requests".to_owned()
        }
        _ => proof(operation),
    })
}

fn proof(operation: &Operation) -> String {
    match (&operation.plan.strategy, operation.proof.as_str()) {
        (Strategy::AllAtOnce, _) => "healthy; its requests were not watched".to_owned(),
        (_, "") => "watched; what was seen was not recorded".to_owned(),
        (_, proof) => proof.to_owned(),
    }
}

fn readiness<'a>(
    host: &Host<'_>,
    entries: impl IntoIterator<Item = (&'a ServiceName, &'a BaselineEntry)>,
) -> Readiness {
    let of_arm = |arm: Arm| match (host.unprepared)(&arm) {
        _ if (host.is_ready)(&arm) => Readiness::Warm,
        Some(None) => Readiness::Prepared,
        _ => Readiness::Cold,
    };
    let all = entries.into_iter().map(|(service, entry)| of_arm(entry.arm(service)));
    all.max().unwrap_or(Readiness::Warm)
}

/// Says that a version is among these whose form of a database is gone.
fn gone<'a>(
    world: &World,
    environment: &Environment,
    entries: impl IntoIterator<Item = (&'a ServiceName, &'a BaselineEntry)>,
) -> Option<String> {
    let versions = entries.into_iter().map(|(service, entry)| entry.arm(service).version_ref());
    let mut gone =
        versions.flat_map(|version| contracted(world, environment, &version, environment.entries()));
    gone.next().map(|refusal| refusal.to_string())
}

/// Why going back there would be refused.
fn refused<'a>(
    host: &Host<'_>,
    entries: impl IntoIterator<Item = (&'a ServiceName, &'a BaselineEntry)>,
) -> Option<String> {
    let versions = entries.into_iter().map(|(service, entry)| entry.arm(service).version_ref());
    let lost: Vec<_> =
        versions.filter(|version| !(host.has_artifact)(version)).map(|version| lost(&version)).collect();
    (!lost.is_empty()).then(|| lost.join("; "))
}

/// What is known of how workers start that are gone back to; nothing where one of them is lost.
fn start<'a>(
    world: &World,
    environment: &Environment,
    host: &Host<'_>,
    entries: impl IntoIterator<Item = (&'a ServiceName, &'a BaselineEntry)>,
) -> Option<StartOutlook> {
    let of_arm = |arm: Arm| {
        let unprepared = match (host.unprepared)(&arm) {
            None if (host.is_ready)(&arm) => return None,
            None => Some(kept_no_longer(environment)),
            Some(unprepared) => unprepared,
        };
        outlook(world, environment, &arm, unprepared)
    };
    let entries: Vec<_> = entries.into_iter().collect();
    if refused(host, entries.iter().copied()).is_some() {
        return None;
    }
    let all = entries.into_iter().filter_map(|(service, entry)| of_arm(entry.arm(service)));
    all.reduce(StartOutlook::with)
}

fn kept_no_longer(environment: &Environment) -> String {
    match environment.settings.warm_ms {
        0 => "the warm time of the environment is 0 s".to_owned(),
        _ => "the warm time of the environment is over, or later versions took its place".to_owned(),
    }
}

fn notes(
    world: &World,
    environment: &Environment,
    service: &ServiceName,
    entry: &BaselineEntry,
) -> Vec<String> {
    let reference = entry.arm(service).version_ref();
    let held = environment.holds.get(&reference).map(|hold| format!("{reference} is held: {}", hold.reason));
    let lifecycle = world.lifecycle_of(service);
    let stage = world
        .version(&reference)
        .and_then(|version| lifecycle.stages.iter().find(|stage| stage.name == version.stage));
    let ended = stage.filter(|stage| stage.availability == Availability::Ended);
    let ended = ended.map(|stage| format!("{reference} is {}", stage.name));
    held.into_iter().chain(ended).collect()
}

//! What must go back too: for a rollback that is refused because a requirement would be unmet, the command that works.

use std::collections::BTreeMap;

use crate::baseline::{Baseline, BaselineEntry, Entries};
use crate::compat::{Relation, Unmet};
use crate::environment::Environment;
use crate::intent::{ConfigChoice, Intent};
use crate::name::{EnvironmentName, ServiceName};
use crate::operation::Move;
use crate::plan::{Refusal, plan_alone};
use crate::time::Timestamp;
use crate::version::VersionRef;

/// Most baselines that are tried: the newest ones are the likely ones, and each is planned as a whole.
const MAX_TRIED: usize = 50;

/// Puts the command that takes along what must go back too into the refusals of a rollback.
pub(super) fn with_command(
    relation: Relation<'_>,
    environment: &EnvironmentName,
    intent: &Intent,
    refusals: Vec<Refusal>,
    now: Timestamp,
) -> Vec<Refusal> {
    let Some(environment) = relation.world.environment(environment) else { return refusals };
    let only_unmet = refusals.iter().all(|refusal| matches!(refusal, Refusal::Unmet(_)));
    let asked = asked(intent).filter(|_| only_unmet);
    let Some(command) = asked.and_then(|asked| command(relation, environment, &asked, now)) else {
        return refusals;
    };
    let with = |refusal| match refusal {
        Refusal::Unmet(unmet) => Refusal::UnmetBack { unmet, command: command.clone() },
        other => other,
    };
    refusals.into_iter().map(with).collect()
}

fn asked(intent: &Intent) -> Option<Vec<VersionRef>> {
    match intent {
        Intent::RollBackService { service, to, .. } => {
            Some(vec![VersionRef { service: service.clone(), version: to.clone() }])
        }
        Intent::RollBackServices { versions, .. } => Some(versions.clone()),
        _ => None,
    }
}

fn command(
    relation: Relation<'_>,
    environment: &Environment,
    asked: &[VersionRef],
    now: Timestamp,
) -> Option<String> {
    let has = |baseline: &&Baseline, version: &VersionRef| {
        baseline.entries.get(&version.service).is_some_and(|entry| entry.version == version.version)
    };
    let had = environment.baselines.newest_first().filter(|b| asked.iter().all(|version| has(b, version)));
    let had: Vec<_> = had.take(MAX_TRIED).collect();
    // What nobody named does not come back while it is held.
    let is_held = |part: &Move| {
        let version = part.to_arm().map(|arm| arm.version_ref());
        version.is_some_and(|it| !asked.contains(&it) && environment.holds.contains_key(&it))
    };
    let works = |intent: &Intent| {
        let plan = plan_alone(relation, &environment.name, intent, None, now);
        plan.is_ok_and(|plan| !plan.moves().any(is_held))
    };
    let few = had.iter().filter_map(|baseline| along(relation, environment, asked, baseline));
    let few = few.map(|versions| Intent::RollBackServices { versions, config: ConfigChoice::AsItRan });
    let whole = had
        .iter()
        .map(|baseline| Intent::RollBackEnvironment { to: baseline.number, config: ConfigChoice::AsItRan });
    few.chain(whole).find(works).map(|intent| typed(environment, &intent))
}

/// Adds to what was asked for what a baseline had of those that would not work with it, until all works.
fn along(
    relation: Relation<'_>,
    environment: &Environment,
    asked: &[VersionRef],
    baseline: &Baseline,
) -> Option<Vec<VersionRef>> {
    let before = relation.unmet_in(environment.entries());
    let mut moved: BTreeMap<ServiceName, BaselineEntry> = BTreeMap::new();
    for version in asked {
        moved.insert(version.service.clone(), baseline.entries.get(&version.service)?.clone());
    }
    loop {
        let target: Entries = moved.iter().fold(environment.entries().clone(), |all, (service, entry)| {
            all.update(service.clone(), entry.clone())
        });
        let unmet: Vec<_> =
            relation.unmet_in(&target).into_iter().filter(|unmet| !before.contains(unmet)).collect();
        if unmet.is_empty() {
            break;
        }
        let added = unmet.iter().flat_map(parties).filter(|service| !moved.contains_key(service));
        let added: Vec<_> =
            added.filter_map(|s| Some((s.clone(), baseline.entries.get(&s)?.clone()))).collect();
        if added.is_empty() {
            return None;
        }
        moved.extend(added);
    }
    let changes =
        moved.into_iter().filter(|(service, entry)| environment.entries().get(service) != Some(entry));
    Some(changes.map(|(service, entry)| entry.arm(&service).version_ref()).collect())
}

fn parties(unmet: &Unmet) -> [ServiceName; 2] {
    [unmet.consumer.service.clone(), unmet.provider.clone()]
}

fn typed(environment: &Environment, intent: &Intent) -> String {
    let name = &environment.name;
    match intent {
        Intent::RollBackServices { versions, .. } => {
            let versions = versions.iter().map(|v| format!("{}={}", v.service, v.version));
            format!("lockstep rollback {} --env {name}", versions.collect::<Vec<_>>().join(" "))
        }
        Intent::RollBackEnvironment { to, .. } => format!("lockstep rollback {name} --to {to}"),
        _ => format!("lockstep history {name}"),
    }
}

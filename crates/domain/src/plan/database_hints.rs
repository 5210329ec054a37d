//! What helps where a database is in the way. Each hint is planned before it is named: one that is refused in its turn costs time when there
//! is least of it.

use crate::compat::Relation;
use crate::environment::Environment;
use crate::intent::{ConfigChoice, DatabaseWish, Intent};
use crate::name::{DatabaseName, EnvironmentName};
use crate::plan::database_refusal::{Behind, DatabaseRefusal, Stays};
use crate::plan::plan_alone;
use crate::plan::refusal::Refusal;
use crate::time::Timestamp;
use crate::version::VersionRef;

/// Baselines, and versions, that are tried for one hint.
const MAX_TRIED: usize = 20;

/// Adds to refusals because of databases what can be done instead.
pub(super) fn with_hints(
    relation: Relation<'_>,
    environment: &EnvironmentName,
    refusals: Vec<Refusal>,
    now: Timestamp,
) -> Vec<Refusal> {
    let Some(environment) = relation.world.environment(environment) else { return refusals };
    let case = Case { relation, environment, now };
    let mut stays = None;
    let with = |refusal: Refusal| match refusal {
        Refusal::Database(mut refusal) => {
            match &mut refusal {
                DatabaseRefusal::Contracted { stays: found, .. } => {
                    *found = *stays.get_or_insert_with(|| case.stays());
                }
                DatabaseRefusal::StandsBehind { version, database, held_back, behind, way, .. }
                    if *way == Behind::NotLooked =>
                {
                    *way = case.behind(version, database, (held_back.as_str(), behind.as_str()));
                }
                _ => {}
            }
            Refusal::Database(refusal)
        }
        other => other,
    };
    refusals.into_iter().map(with).collect()
}

struct Case<'a> {
    relation: Relation<'a>,
    environment: &'a Environment,
    now: Timestamp,
}

impl Case<'_> {
    fn can(&self, intent: &Intent) -> bool {
        plan_alone(self.relation, &self.environment.name, intent, None, self.now).is_ok()
    }

    /// The newest baseline with another set that can be gone back to as a whole.
    fn stays(&self) -> Stays {
        let baselines = &self.environment.baselines;
        let current = &baselines.current().entries;
        let others = baselines.newest_first().filter(|it| !it.entries.is_empty() && it.entries != *current);
        let mut others = others.take(MAX_TRIED).map(|it| it.number);
        let is_open =
            |to: &u64| self.can(&Intent::RollBackEnvironment { to: *to, config: ConfigChoice::AsItRan });
        others.find(is_open).map_or(Stays::Nothing, Stays::Baseline)
    }

    /// Contracting now, or a version that brings the contraction and not what stands behind it.
    fn behind(
        &self,
        version: &VersionRef,
        database: &DatabaseName,
        (held_back, behind): (&str, &str),
    ) -> Behind {
        let wish = DatabaseWish::Contract { approved: None };
        let contract = Intent::Database { database: database.clone(), wish, version: None };
        if self.can(&contract) {
            return Behind::Contract;
        }
        let Some(service) = self.relation.world.known_service(&version.service) else {
            return Behind::Release;
        };
        let stops = |it: &&std::sync::Arc<crate::service::Version>| {
            let of = it.databases.iter().find(|of| of.database.name == *database);
            of.is_some_and(|of| of.file(held_back).is_some() && of.file(behind).is_none())
        };
        let named = |it: &std::sync::Arc<crate::service::Version>| VersionRef {
            service: version.service.clone(),
            version: it.number.clone(),
        };
        let others = service.versions.values().rev().filter(stops).take(MAX_TRIED).map(named);
        let runs = self.environment.entries();
        let is_new = |it: &VersionRef| runs.get(&it.service).is_none_or(|entry| entry.version != it.version);
        let mut others = others.filter(is_new);
        let found = others.find(|it| self.can(&Intent::Deploy { versions: vec![it.clone()] }));
        found.map_or(Behind::Release, Behind::Deploy)
    }
}

//! Taking migrations back: which, by which ways down, and what keeps them.
//!
//! Invariant: what runs or is warm works with nothing that is taken away; nothing that was not named is taken back; and a migration that
//! others stand on stays.

use std::collections::BTreeSet;

use crate::database::{
    Act, KnownDatabase, Reversal, Reverted, Users, VersionDatabase, at_work, brought, others, reversal,
    way_down, works_with,
};
use crate::environment::Environment;
use crate::instance::Arm;
use crate::intent::BackTo;
use crate::name::DatabaseName;
use crate::plan::database_refusal::DatabaseRefusal;
use crate::plan::databases::given;
use crate::plan::refusal::Refusal;
use crate::plan::resolve::Resolved;
use crate::time::Timestamp;
use crate::version::VersionRef;
use crate::world::World;

/// Plans to take migrations back by the ways down of a version.
pub(super) fn resolve(
    (world, environment): (&World, &Environment),
    (arm, of): (&Arm, &VersionDatabase),
    back: &BackTo,
    resolved: &mut Resolved,
) -> Result<(Act, Vec<String>), Vec<Refusal>> {
    let (version, database) = (arm.version_ref(), of.database.name.clone());
    let Some(known) = environment.databases.get(&database) else {
        let (environment, by) = (environment.name.clone(), Some(version));
        return Err(vec![DatabaseRefusal::NeverSeen { database, environment, by }.into()]);
    };
    let case = Case { world, environment, version: &version, of, known };
    let refuse = |all: Vec<DatabaseRefusal>| Err(all.into_iter().map(Refusal::from).collect());
    let (names, to) = match case.asked(back) {
        Ok(asked) => asked,
        Err(refusal) => return refuse(vec![*refusal]),
    };
    let migrations = match case.ways(&names) {
        Ok(migrations) => migrations,
        Err(refusals) => return refuse(refusals),
    };
    let by = (&version, of);
    resolved.reversal = Some(Box::new(reversal(world, environment, by, (known, migrations, to.clone()))));
    Ok((Act::Revert { migrations: names.clone(), to }, names))
}

struct Case<'a> {
    world: &'a World,
    environment: &'a Environment,
    version: &'a VersionRef,
    of: &'a VersionDatabase,
    known: &'a KnownDatabase,
}

impl Case<'_> {
    fn place(&self) -> (DatabaseName, crate::name::EnvironmentName) {
        (self.of.database.name.clone(), self.environment.name.clone())
    }

    /// Which migrations are asked for, the last one first, and the last one that stays.
    fn asked(&self, back: &BackTo) -> Result<(Vec<String>, Option<String>), Box<DatabaseRefusal>> {
        let names = match back {
            BackTo::To(to) => std::slice::from_ref(to),
            BackTo::Steps(names) => names.as_slice(),
        };
        if let Some(missing) = names.iter().find(|name| !self.known.has(name)) {
            let (database, environment) = self.place();
            let migration = missing.clone();
            return Err(Box::new(DatabaseRefusal::NotThere { database, environment, migration }));
        }
        let taken = match back {
            BackTo::To(to) => self.known.behind(Some(to)),
            BackTo::Steps(names) => self.named(names)?,
        };
        if taken.is_empty() {
            let (database, environment) = self.place();
            return Err(Box::new(DatabaseRefusal::NothingToRevert { database, environment }));
        }
        let stays = self.known.behind(None).get(taken.len()).map(|name| (*name).to_owned());
        Ok((taken.into_iter().map(str::to_owned).collect(), stays))
    }

    /// Those that were named, where they are the last ones.
    fn named(&self, names: &[String]) -> Result<Vec<&str>, Box<DatabaseRefusal>> {
        let all = self.known.behind(None);
        let wanted: BTreeSet<_> = names.iter().map(String::as_str).collect();
        let last = all.get(..wanted.len()).unwrap_or(&all);
        let (database, environment) = self.place();
        match last.iter().find(|name| !wanted.contains(**name)) {
            None => Ok(last.to_vec()),
            Some(later) => {
                let migration = names.first().cloned().unwrap_or_default();
                let later = (*later).to_owned();
                Err(Box::new(DatabaseRefusal::NotLast { database, environment, migration, later }))
            }
        }
    }

    /// The ways down of migrations; or of all that have none, why.
    fn ways(&self, names: &[String]) -> Result<Vec<Reverted>, Vec<DatabaseRefusal>> {
        let (mut ways, mut refusals) = (Vec::new(), Vec::new());
        for name in names {
            match self.way(name) {
                Ok(way) => ways.push(way),
                Err(refusal) => refusals.push(*refusal),
            }
        }
        if refusals.is_empty() { Ok(ways) } else { Err(refusals) }
    }

    fn way(&self, name: &str) -> Result<Reverted, Box<DatabaseRefusal>> {
        let (database, environment) = self.place();
        let (version, migration) = (self.version.clone(), name.to_owned());
        let Some(file) = self.of.file(name) else {
            let by = self.who_brings(name);
            return Err(Box::new(DatabaseRefusal::BroughtByOther {
                version,
                database,
                environment,
                migration,
                by,
            }));
        };
        match way_down(self.of, file) {
            Ok(way) => Ok(Reverted { migration, digest: file.digest, way }),
            Err(why) => Err(Box::new(DatabaseRefusal::NoWayDown { version, database, migration, why })),
        }
    }

    /// The newest version of a service here that brings a migration.
    fn who_brings(&self, name: &str) -> Option<VersionRef> {
        let services = self.environment.baselines.services();
        let versions = services.flat_map(|service| {
            let known = self.world.known_service(service).into_iter();
            known
                .flat_map(|it| it.versions.keys().rev())
                .map(|version| VersionRef { service: service.clone(), version: version.clone() })
        });
        let brings = |version: &VersionRef| {
            brought(self.world, version, &self.of.database.name).is_some_and(|of| of.file(name).is_some())
        };
        versions.into_iter().find(brings)
    }
}

/// Refuses to take away what somebody works with who runs, or is warm.
pub(super) fn check(
    world: &World,
    environment: &Environment,
    resolved: &Resolved,
    now: Timestamp,
) -> Option<Refusal> {
    let Reversal { database, migrations, .. } = resolved.reversal.as_deref()?;
    let users = Users::of(world, environment, database, environment.entries());
    let works = |version: &VersionRef| works_with(users.brings(version), migrations);
    let by: Vec<_> = at_work(environment, now).into_iter().filter(|it| works(it).is_some()).collect();
    let mut elsewhere = Vec::new();
    for other in others(world, environment, database) {
        let all = other.at_work(now, |of| works_with(of, migrations).is_some());
        elsewhere.extend(all.into_iter().map(|version| (other.environment.name.clone(), version)));
    }
    let takes = || migrations.iter().find(|it| !it.way.only_adds());
    let first = by.iter().find_map(works).or_else(|| takes().filter(|_| !elsewhere.is_empty()))?;
    let (migration, database) = (first.migration.clone(), database.clone());
    let given = given(environment, &by.iter().cloned().collect());
    let environment = environment.name.clone();
    Some(DatabaseRefusal::StillUsed { database, environment, migration, by, elsewhere, given }.into())
}

/// Says why a step that takes migrations back does not begin: what was seen since is not what was approved.
pub(super) fn begins(
    world: &World,
    environment: &Environment,
    (database, of): (&DatabaseName, &VersionDatabase),
    (names, to): (&[String], Option<&str>),
    now: Timestamp,
) -> Option<String> {
    let known = environment.databases.get(database)?;
    let there = known.behind(to);
    if there != names {
        return Some(format!(
            "database `{database}` is not as it was when this was planned: what it has to be taken back is {}",
            if there.is_empty() { "nothing".to_owned() } else { there.join(", ") }
        ));
    }
    let ways: Vec<_> = names
        .iter()
        .filter_map(|name| of.file(name))
        .filter_map(|file| {
            let way = way_down(of, file).ok()?;
            Some(Reverted { migration: file.name.clone(), digest: file.digest, way })
        })
        .collect();
    let mut all = others(world, environment, database).into_iter();
    all.find_map(|other| {
        let version = other.at_work(now, |of| works_with(of, &ways).is_some()).pop_first()?;
        let place = &other.environment.name;
        Some(format!(
            "{version} of `{place}`, which has the same database, works with what would be taken away"
        ))
    })
}

//! Who needs which form of a database: the versions that an environment runs, or ran and can go back to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Contraction, MigrationClass, MigrationFile, VersionDatabase, others};
use crate::baseline::{Baseline, Entries};
use crate::environment::Environment;
use crate::name::{DatabaseName, ServiceName};
use crate::service::Version;
use crate::time::Timestamp;
use crate::version::VersionRef;
use crate::world::World;

/// Finds how a version brings a database that Lockstep moves.
#[must_use]
pub fn brought<'a>(
    world: &'a World,
    version: &VersionRef,
    database: &DatabaseName,
) -> Option<&'a VersionDatabase> {
    world.version(version)?.databases.iter().find(|it| it.database.name == *database && it.is_moved())
}

/// The databases of a version that Lockstep moves.
pub(crate) fn moved(version: &Version) -> impl Iterator<Item = &VersionDatabase> {
    version.databases.iter().filter(|it| it.is_moved())
}

/// The versions that are involved with a database in an environment.
pub(crate) struct Users<'a> {
    world: &'a World,
    database: &'a DatabaseName,
    services: BTreeSet<ServiceName>,
}

impl<'a> Users<'a> {
    /// Finds the services of which a version that was there, or will be, brings the database: their older versions use it too, whatever
    /// these say.
    pub(crate) fn of(
        world: &'a World,
        environment: &Environment,
        database: &'a DatabaseName,
        also: &Entries,
    ) -> Self {
        let ran = environment.baselines.services().chain(also.keys());
        let services = ran.filter(|service| is_used_by(world, environment, (database, also), service));
        let services = services.cloned().collect();
        Self { world, database, services }
    }

    /// The versions of a set of entries that do not know a migration.
    pub(crate) fn strangers_in(&self, entries: &Entries, migration: &str) -> BTreeSet<VersionRef> {
        let used = entries.iter().filter(|(service, _)| self.services.contains(*service));
        let versions = used.map(|(service, entry)| entry.arm(service).version_ref());
        versions.filter(|version| self.is_stranger(version, migration)).collect()
    }

    /// Tells whether a version uses the database and does not know a migration.
    pub(crate) fn is_stranger(&self, version: &VersionRef, migration: &str) -> bool {
        let knows =
            || brought(self.world, version, self.database).is_some_and(|it| it.file(migration).is_some());
        self.services.contains(&version.service) && !knows()
    }

    /// How a version brings the database.
    pub(crate) fn brings(&self, version: &VersionRef) -> Option<&'a VersionDatabase> {
        brought(self.world, version, self.database)
    }

    /// The versions of all that there was that use the database.
    pub(crate) fn ran(&self, environment: &Environment) -> BTreeSet<VersionRef> {
        self.services.iter().flat_map(|service| ran(environment, service)).collect()
    }

    /// The versions of all that there was that do not know a migration.
    pub(crate) fn strangers(&self, environment: &Environment, migration: &str) -> BTreeSet<VersionRef> {
        let ran = self.services.iter().flat_map(|service| ran(environment, service));
        ran.filter(|version| self.is_stranger(version, migration)).collect()
    }
}

/// Tells whether a service uses a database in an environment, or will.
pub(crate) fn is_used_by(
    world: &World,
    environment: &Environment,
    (database, also): (&DatabaseName, &Entries),
    service: &ServiceName,
) -> bool {
    let comes = also.get(service).map(|entry| entry.arm(service).version_ref());
    ran(environment, service).chain(comes).any(|version| brought(world, &version, database).is_some())
}

/// Goes through the versions of a service that an environment ran.
fn ran(environment: &Environment, service: &ServiceName) -> impl Iterator<Item = VersionRef> {
    let versions = environment.baselines.versions_of(service);
    versions.map(|(version, _)| VersionRef { service: service.clone(), version: version.clone() })
}

/// Goes through all that an environment ran.
fn baselines(environment: &Environment) -> impl Iterator<Item = &Baseline> {
    environment.baselines.newest_first()
}

/// The versions in force: the baseline, what is on its way, and what rules give to some requests.
pub(crate) fn in_force(environment: &Environment) -> BTreeSet<VersionRef> {
    let targets = environment.under_way().map(|operation| &operation.plan.target);
    let entries = std::iter::once(environment.entries()).chain(targets).flatten();
    let entries = entries.map(|(service, entry)| entry.arm(service).version_ref());
    entries.chain(environment.ruled_arms().map(|arm| arm.version_ref())).collect()
}

/// The versions in force, and those that run on warm: whoever goes back to them waits for nothing.
pub(crate) fn at_work(environment: &Environment, now: Timestamp) -> BTreeSet<VersionRef> {
    let warm = environment.warm.iter().filter(|(_, until)| now < **until);
    let warm = warm.map(|(arm, _)| arm.version_ref());
    in_force(environment).into_iter().chain(warm).collect()
}

/// What contracting takes: the migrations that will run, the versions that cannot come back, and the baselines that are left.
pub(crate) fn contraction(
    world: &World,
    environment: &Environment,
    (version, of): (&VersionRef, &VersionDatabase),
    migrations: &[String],
) -> Contraction {
    let users = Users::of(world, environment, &of.database.name, environment.entries());
    let contracts: Vec<_> = migrations.iter().filter(|name| contracts(of, name)).cloned().collect();
    let is_lost = |baseline: &Baseline| {
        contracts.iter().any(|name| !users.strangers_in(&baseline.entries, name).is_empty())
    };
    let lost: BTreeSet<_> = contracts.iter().flat_map(|name| users.strangers(environment, name)).collect();
    let last_lost = baselines(environment).filter(|it| is_lost(it)).map(|it| it.number).max();
    let mut lost_elsewhere: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for other in others(world, environment, &of.database.name) {
        let lost: BTreeSet<_> = contracts.iter().flat_map(|name| other.ran(name)).collect();
        if !lost.is_empty() {
            lost_elsewhere.entry(other.environment.name.clone()).or_default().extend(lost);
        }
    }
    let files: Vec<_> = migrations.iter().filter_map(|name| of.file(name)).collect();
    let said = |words: fn(&MigrationFile) -> Vec<String>| -> BTreeMap<_, _> {
        let all = files.iter().map(|file| (file.name.clone(), words(file)));
        all.filter(|(_, words)| !words.is_empty()).collect()
    };
    Contraction {
        database: of.database.name.clone(),
        version: Some(version.clone()),
        artifact: world.version(version).map(|it| it.artifact.digest),
        migrations: migrations.to_vec(),
        contents: files.iter().map(|file| (file.name.clone(), file.digest)).collect(),
        contracts,
        one_way: said(|file| file.one_way.clone()),
        not_understood: said(MigrationFile::unread),
        lost: lost.into_iter().collect(),
        lost_elsewhere,
        lost_up_to: last_lost,
        stays_from: last_lost.map_or(0, |number| number + 1).min(environment.baselines.current().number),
    }
}

pub(crate) fn contracts(of: &VersionDatabase, name: &str) -> bool {
    of.file(name).is_some_and(|file| file.class == MigrationClass::Contract)
}

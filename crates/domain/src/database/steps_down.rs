//! How many steps a version stands below its databases: what they have that it was not made for.

use std::collections::BTreeSet;

use super::{KnownDatabase, moved};
use crate::environment::Environment;
use crate::service::{Service, Version};

/// Counts the migrations that databases of an environment have, that some version of a service brings, and that this one does not.
///
/// What another service brought to the same database is not counted: no version of this one was ever made for it. Of a database that nobody
/// looked at nothing is known, and nothing is counted.
pub(crate) fn steps_down(environment: &Environment, service: &Service, version: &Version) -> u64 {
    let of_one = |(name, known): (&_, &KnownDatabase)| {
        let brought = |version: &Version| -> BTreeSet<String> {
            let files = moved(version).filter(|of| of.database.name == *name).flat_map(|of| &of.files);
            files.map(|file| file.name.clone()).collect()
        };
        let own = brought(version);
        let ever: BTreeSet<_> = service.versions.values().flat_map(|version| brought(version)).collect();
        let recorded = known.told.recorded.iter().map(|it| &it.name);
        recorded.filter(|name| ever.contains(*name) && !own.contains(*name)).count() as u64
    };
    environment.databases.iter().map(of_one).sum()
}

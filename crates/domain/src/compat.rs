//! Which versions work together. For now requirements are ranges of version numbers; contracts will refine the answer.

use crate::baseline::{BaselineEntry, Entries};
use crate::name::ServiceName;
use crate::version::{VersionNumber, VersionRange};
use crate::world::World;

/// A requirement that a set of versions leaves unmet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// Who requires.
    pub consumer: ServiceName,
    /// In which version.
    pub consumer_version: VersionNumber,
    /// What is required.
    pub provider: ServiceName,
    /// In which versions.
    pub range: VersionRange,
    /// What is there instead; `None` for nothing.
    pub found: Option<VersionNumber>,
}

/// Finds the requirement of one service on another that two entries leave unmet.
#[must_use]
pub fn unmet(
    world: &World,
    (consumer, entry): (&ServiceName, Option<&BaselineEntry>),
    (provider, offered): (&ServiceName, Option<&BaselineEntry>),
) -> Option<Unmet> {
    let entry = entry?;
    let version = world.find_version(consumer, &entry.version)?;
    let range = version.requires.get(provider)?;
    let found = offered.map(|offered| &offered.version);
    if found.is_some_and(|found| range.contains(found)) {
        return None;
    }
    Some(Unmet {
        consumer: consumer.clone(),
        consumer_version: entry.version.clone(),
        provider: provider.clone(),
        range: range.clone(),
        found: found.cloned(),
    })
}

/// Lists the services that an entry requires.
pub fn providers<'a>(
    world: &'a World,
    consumer: &ServiceName,
    entry: &BaselineEntry,
) -> impl Iterator<Item = (&'a ServiceName, &'a VersionRange)> + use<'a> {
    world.find_version(consumer, &entry.version).into_iter().flat_map(|version| version.requires.iter())
}

/// Lists every requirement that a set leaves unmet.
#[must_use]
pub fn unmet_in(world: &World, entries: &Entries) -> Vec<Unmet> {
    entries
        .iter()
        .flat_map(|(consumer, entry)| {
            providers(world, consumer, entry).filter_map(move |(provider, _)| {
                unmet(world, (consumer, Some(entry)), (provider, entries.get(provider)))
            })
        })
        .collect()
}

//! What is lost by going back: features, fixes, optimisations and documents of the versions that are left, as their releases recorded them.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::changelog::{Changelog, ChangelogEntry, MAX_CHANGELOG_ENTRIES};
use crate::name::ServiceName;
use crate::operation::{Move, Plan};
use crate::service::{Service, Version};
use crate::version::VersionNumber;
use crate::world::World;

/// What a service loses by going back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// The service.
    pub service: ServiceName,
    /// What it goes back to.
    pub to: VersionNumber,
    /// The versions whose changes are left, the newest first; the first one is what runs.
    pub versions: Vec<VersionNumber>,
    /// What they changed, the newest first in each list.
    pub changelog: Changelog,
    /// Kinds of documents that what runs has, and what is gone back to has not, or otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<String>,
}

/// Lists what a plan loses, for each service that goes down.
#[must_use]
pub fn lost(world: &World, plan: &Plan) -> Vec<Lost> {
    plan.moves().filter_map(|part| of_move(world, part)).collect()
}

fn of_move(world: &World, part: &Move) -> Option<Lost> {
    let service = world.known_service(&part.service)?;
    let from = service.versions.get(&part.from.as_ref()?.version)?;
    let to = service.versions.get(&part.to.as_ref()?.version)?;
    let left = left(service, from, to);
    (!left.is_empty()).then(|| Lost {
        service: part.service.clone(),
        to: to.number.clone(),
        versions: left.iter().map(|version| version.number.clone()).collect(),
        changelog: together(&left),
        documents: documents(from, to),
    })
}

/// The versions after the one that is gone back to, up to the one that runs. A fix of the old line that is newer than what runs, or that
/// what runs was not cut from, is none of them.
fn left<'a>(service: &'a Service, from: &Version, to: &Version) -> Vec<&'a Version> {
    let is_of_old_line = |version: &Version| version.branch == to.branch && version.branch != from.branch;
    let is_left = |version: &&Version| {
        let is_between = version.number > to.number && version.number <= from.number;
        let is_on_the_way = !version.number.is_pre_release() || version.number == from.number;
        is_between && is_on_the_way && version.recorded <= from.recorded && !is_of_old_line(version)
    };
    service.versions.values().rev().map(|version| &**version).filter(is_left).collect()
}

/// One changelog of several, each commit once.
fn together(versions: &[&Version]) -> Changelog {
    let mut all = Changelog::default();
    for version in versions {
        let Changelog { breaking, features, fixes, optimisations, other, omitted } = &version.changelog;
        let lists = [breaking, features, fixes, optimisations, other];
        let mut sums =
            [&mut all.breaking, &mut all.features, &mut all.fixes, &mut all.optimisations, &mut all.other];
        sums.iter_mut().zip(lists).for_each(|(sum, more)| sum.extend(more.iter().cloned()));
        all.omitted += omitted;
    }
    let lists =
        [&mut all.breaking, &mut all.features, &mut all.fixes, &mut all.optimisations, &mut all.other];
    for list in lists {
        all.omitted += shorten(list);
    }
    all
}

/// Keeps each commit once and no more than a version may have; returns how many were left out.
fn shorten(list: &mut Vec<ChangelogEntry>) -> u64 {
    let mut seen = BTreeSet::new();
    list.retain(|entry| seen.insert((entry.commit.clone(), entry.text.clone())));
    let omitted = list.len().saturating_sub(MAX_CHANGELOG_ENTRIES);
    list.truncate(MAX_CHANGELOG_ENTRIES);
    omitted as u64
}

fn documents(from: &Version, to: &Version) -> Vec<String> {
    let is_same = |kind: &String| {
        to.documents.get(kind).map(|it| it.digest) == from.documents.get(kind).map(|it| it.digest)
    };
    from.documents.keys().filter(|kind| !is_same(kind)).cloned().collect()
}

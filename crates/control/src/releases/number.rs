//! The number of a version: its branch, the versions before it, the commits since, and what contracts owe.

use std::sync::Arc;

use lockstep_api::types::BumpChoice;
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::branch::{Cut, NextNumber, newest_release, next_number};
use lockstep_domain::changelog::Changelog;
use lockstep_domain::commits::{Bump, Commit, bump_owed};
use lockstep_domain::service::{Service, Version};
use lockstep_domain::{VersionNumber, World};
use lockstep_pipeline::{Checked, Mirror, SourceFolder};

use crate::instances::with_sources;
use crate::internal;

/// Where a commit stands among the versions of its service.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) cut: Cut,
    /// The release that it follows.
    pub(super) follows: Option<VersionNumber>,
    existing: Vec<VersionNumber>,
    /// What the commits since then owe.
    pub(super) owed: Bump,
    /// The bump that a person asked for.
    pub(super) wanted: Option<Bump>,
    pub(super) changelog: Changelog,
}

impl Standing {
    /// Finds where a commit stands, or that there is nothing to release.
    pub(super) fn of(
        world: &World,
        service: &Service,
        checked: &Checked,
        mirror: &Mirror,
        folder: &SourceFolder,
        choice: BumpChoice,
    ) -> Result<Self, Problem> {
        let cut = cut(world, checked)?;
        let existing: Vec<_> = service.versions.keys().cloned().collect();
        let wanted = wanted(choice);
        let follows = newest_release(&existing, cut.line).cloned();
        let since = follows.as_ref().and_then(|number| service.versions.get(number));
        let since = since.map(|version| version.commit.parse()).transpose().map_err(internal)?;
        let log = mirror
            .log(&checked.commit, since.as_ref(), folder)
            .map_err(|error| internal(with_sources(&error)))?;
        let mut commits: Vec<_> = log
            .into_iter()
            .map(|raw| Commit { id: raw.id, message: format!("{}\n\n{}", raw.subject, raw.body) })
            .collect();
        commits.reverse();
        if let Some(version) = released_already(service, checked, &cut).filter(|_| wanted.is_none()) {
            let detail = format!(
                "nothing to release: commit {} is `{}@{}` already",
                checked.commit.short(),
                service.name,
                version.number
            );
            return Err(
                refuse(detail).with_hint(format!("lockstep show {}@{}", service.name, version.number))
            );
        }
        let (owed, changelog) = (bump_owed(&commits), Changelog::of(&commits));
        Ok(Self { cut, follows, existing, owed, wanted, changelog })
    }
}

/// Decides the number; contracts may owe more than the commits say.
pub(super) fn number(standing: &Standing, owed_by_contracts: Bump) -> Result<NextNumber, Problem> {
    let owed = standing.owed.max(owed_by_contracts);
    next_number(&standing.existing, &standing.cut, owed, standing.wanted)
        .map_err(|error| refuse(error.to_string()))
}

fn refuse(detail: String) -> Problem {
    Problem::new(ErrorCode::Refused, detail)
}

fn cut(world: &World, checked: &Checked) -> Result<Cut, Problem> {
    let branch = checked.branch.as_deref().ok_or_else(|| {
        refuse(format!(
            "commit {} belongs to no single branch, and the branch decides the number",
            checked.commit.short()
        ))
        .with_hint("name a branch with --ref")
    })?;
    world
        .branches
        .resolve(branch)
        .map_err(|error| refuse(error.to_string()).with_hint("lockstep branches show"))
}

const fn wanted(choice: BumpChoice) -> Option<Bump> {
    match choice {
        BumpChoice::Auto => None,
        BumpChoice::Major => Some(Bump::Major),
        BumpChoice::Minor => Some(Bump::Minor),
        BumpChoice::Patch => Some(Bump::Patch),
    }
}

/// Finds a version of the same commit that was cut in the same way.
fn released_already<'a>(service: &'a Service, checked: &Checked, cut: &Cut) -> Option<&'a Arc<Version>> {
    let label = |version: &Version| version.number.pre().split('.').next().unwrap_or_default().to_owned();
    let wanted = cut.label.as_ref().map(ToString::to_string).unwrap_or_default();
    service
        .versions
        .values()
        .find(|version| version.commit == checked.commit.as_str() && label(version) == wanted)
}

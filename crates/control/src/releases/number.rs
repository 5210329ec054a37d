//! The number of a version: its branch, the versions before it, the commits since, and what contracts owe.

use std::sync::Arc;

use lockstep_api::types::BumpChoice;
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::branch::{Cut, Line, NextNumber, newest_release, next_number};
use lockstep_domain::changelog::Changelog;
use lockstep_domain::commits::{Bump, bump_owed, remarks};
use lockstep_domain::service::{Service, Version};
use lockstep_domain::{VersionNumber, World};
use lockstep_pipeline::git::GitError;
use lockstep_pipeline::{Checked, CommitId, Mirror, Prepared, Scope};

use super::relation::{MAX_COMPARED, id};
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
    /// The release that a pre-release with this content promised.
    leads_to: Option<VersionNumber>,
    /// The bump that a person asked for.
    pub(super) wanted: Option<Bump>,
    pub(super) changelog: Changelog,
    /// What a person should know of the wording of the commits.
    pub(super) remarks: Vec<String>,
}

impl Standing {
    /// Finds where a commit stands, or that there is nothing to release.
    pub(super) fn of(
        world: &World,
        service: &Service,
        prepared: &Prepared,
        choice: BumpChoice,
    ) -> Result<Self, Problem> {
        let Prepared { checked, mirror } = prepared;
        let scope = &checked.scope;
        let cut = cut(world, checked)?;
        let existing: Vec<_> = service.versions.keys().cloned().collect();
        let wanted = wanted(choice);
        let follows = newest_release(&existing, cut.line).cloned();
        let looking = Looking {
            world,
            service,
            commit: &checked.commit,
            mirror,
            scope,
            cut: &cut,
            follows: follows.as_ref(),
        };
        if wanted.is_none() {
            looking.must_be_new()?;
        }
        let since = looking.since().map_err(git_problem)?;
        let history = mirror.history(&checked.commit, since.as_ref(), scope).map_err(git_problem)?;
        let leads_to = looking.promised(since.as_ref()).map_err(git_problem)?;
        let (owed, changelog) = (bump_owed(&history), Changelog::of(&history));
        let remarks = remarks(&history);
        Ok(Self { cut, follows, existing, owed, leads_to, wanted, changelog, remarks })
    }
}

/// The questions to a repository about a commit that is to be released.
pub(super) struct Looking<'a> {
    pub(super) world: &'a World,
    pub(super) service: &'a Service,
    pub(super) commit: &'a CommitId,
    pub(super) mirror: &'a Mirror,
    pub(super) scope: &'a Scope,
    pub(super) cut: &'a Cut,
    pub(super) follows: Option<&'a VersionNumber>,
}

impl Looking<'_> {
    /// Refuses what is released already: the same commit cut in the same way, or the same content as what came before it.
    fn must_be_new(&self) -> Result<(), Problem> {
        let service = self.service;
        let label = |version: &Version| version.number.pre().split('.').next().unwrap_or_default().to_owned();
        let wanted = self.cut.label.as_ref().map(ToString::to_string).unwrap_or_default();
        let alike = || service.versions.values().filter(|version| label(version) == wanted);
        let same_commit = alike().find(|version| version.commit == self.commit.as_str());
        if let Some(version) = same_commit {
            let detail =
                format!("commit {} is `{}@{}` already", self.commit.short(), service.name, version.number);
            return Err(nothing(service, version, &detail));
        }
        let in_line = |version: &&Arc<Version>| self.cut.line.contains(&version.number);
        let release = self.follows.and_then(|number| service.versions.get(number)).filter(in_line);
        let release = release.filter(|_| self.cut.label.is_none() || self.cut.line != Line::Free);
        let last =
            alike().filter(|version| version.number.is_pre_release() && Some(&version.number) > self.follows);
        let before = last.filter(in_line).max_by_key(|version| version.recorded);
        for version in release.into_iter().chain(before) {
            let Some(id) = id(version) else { continue };
            if self.mirror.has_content_of(self.commit, &id, self.scope).map_err(git_problem)? {
                let detail = format!(
                    "commit {} has the content of `{}@{}`, and nothing else",
                    self.commit.short(),
                    service.name,
                    version.number
                );
                return Err(nothing(service, version, &detail));
            }
        }
        Ok(())
    }

    /// Finds the commit of the release that is followed, or of the newest one below that is still there.
    fn since(&self) -> Result<Option<CommitId>, GitError> {
        let releases =
            self.service.versions.values().rev().filter(|version| !version.number.is_pre_release());
        for version in releases.filter(|version| Some(&version.number) <= self.follows).take(MAX_COMPARED) {
            if let Some(id) = id(version)
                && self.mirror.has(&id)?
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

fn nothing(service: &Service, version: &Version, detail: &str) -> Problem {
    Problem::new(ErrorCode::NothingToRelease, format!("nothing to release: {detail}"))
        .with_hint(format!("lockstep show {}@{}", service.name, version.number))
}

fn git_problem(error: impl Into<GitError>) -> Problem {
    internal(with_sources(&error.into()))
}

/// Decides the number; contracts may owe more than the commits say.
pub(super) fn number(standing: &Standing, owed_by_contracts: Bump) -> Result<NextNumber, Problem> {
    let owed = standing.owed.max(owed_by_contracts);
    next_number(&standing.existing, &standing.cut, owed, standing.leads_to.as_ref(), standing.wanted)
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

//! The number of a version: its branch, the versions before it, the commits since, and what contracts owe.

use lockstep_api::types::{BumpChoice, ReleaseRequest};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::branch::{Cut, Line, NextNumber, chosen_number, newest_release, next_number};
use lockstep_domain::changelog::Changelog;
use lockstep_domain::commits::{Bump, bump_owed, remarks};
use lockstep_domain::repository_address::NO_COMMIT;
use lockstep_domain::service::{ManifestOrigin, Service, Version};
use lockstep_domain::{Digest, VersionNumber, World};
use lockstep_pipeline::git::GitError;
use lockstep_pipeline::{Checked, CommitId, Mirror, Prepared, Scope};

use super::chosen;
use super::relation::MAX_COMPARED;
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
    /// What a person asked for.
    pub(super) wish: Wish,
    pub(super) changelog: Changelog,
    /// What a person should know of the wording of the commits.
    pub(super) remarks: Vec<String>,
}

/// What a person asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing: what is owed.
    Owed,
    Bump(Bump),
    Number(VersionNumber),
    /// The number that an earlier release had: it is a fact.
    AsItWas(VersionNumber),
}

impl Wish {
    /// Reads what was asked for.
    pub(super) fn of(request: &ReleaseRequest) -> Result<Self, Problem> {
        let bump = |bump| Ok(Self::Bump(bump));
        match (&request.version, request.bump) {
            (None, BumpChoice::Auto) => Ok(Self::Owed),
            (None, BumpChoice::Major) => bump(Bump::Major),
            (None, BumpChoice::Minor) => bump(Bump::Minor),
            (None, BumpChoice::Patch) => bump(Bump::Patch),
            (Some(number), BumpChoice::Auto) => Ok(Self::Number(number.clone())),
            (Some(_), _) => Err(Problem::new(
                ErrorCode::BadRequest,
                "a number and a bump were asked for; name one of them",
            )),
        }
    }

    /// The bump that a person asked for.
    pub(super) const fn bump(&self) -> Option<Bump> {
        match self {
            Self::Bump(bump) => Some(*bump),
            _ => None,
        }
    }
}

impl Standing {
    /// Finds where a commit stands, or that there is nothing to release.
    pub(super) fn of(
        world: &World,
        service: &Service,
        prepared: &Prepared,
        beside: Beside<'_>,
        wish: Wish,
    ) -> Result<Self, Problem> {
        let Prepared { checked, mirror } = prepared;
        let (cut, wish) = chosen::cut(world, service, prepared, wish)?;
        let existing = service.numbers();
        let below = |number: &&VersionNumber| match &wish {
            Wish::AsItWas(was) => *number < was,
            _ => true,
        };
        let known: Vec<_> = existing.iter().filter(below).cloned().collect();
        let follows = newest_release(&known, cut.line).cloned();
        let looking = Looking {
            world,
            service,
            commit: &checked.commit,
            mirror,
            scope: &checked.scope,
            cut: &cut,
            follows: follows.as_ref(),
            beside,
        };
        if wish == Wish::Owed {
            looking.must_be_new()?;
        }
        let since = looking.since().map_err(git_problem)?;
        let history = mirror.history(&checked.commit, since.as_ref(), &checked.scope).map_err(git_problem)?;
        let leads_to = looking.promised(since.as_ref()).map_err(git_problem)?;
        let owed = bump_owed(&history);
        // The commit that stands for no repository says nothing to people.
        let is_told = checked.commit.as_str() != NO_COMMIT;
        let changelog = if is_told { Changelog::of(&history) } else { Changelog::default() };
        let remarks = remarks(&history);
        Ok(Self { cut, follows, existing, owed, leads_to, wish, changelog, remarks })
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
    pub(super) beside: Beside<'a>,
}

/// What a version is made of beside its commit: another one makes another version of the same commit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beside<'a> {
    /// The manifest that is kept with the service.
    pub(super) manifest: Option<&'a Digest>,
    /// The image, or the archive where there is no repository that it could be made of.
    pub(super) given: Option<&'a Digest>,
}

impl Looking<'_> {
    /// Refuses what is released already: the same commit cut in the same way, or the same content as what came before it.
    fn must_be_new(&self) -> Result<(), Problem> {
        let service = self.service;
        let label = |version: &Version| version.number.pre().split('.').next().unwrap_or_default().to_owned();
        let wanted = self.cut.label.as_ref().map(ToString::to_string).unwrap_or_default();
        let alike = || service.versions.values().filter(|version| label(version) == wanted);
        let same_commit = alike()
            .rfind(|version| version.commit == self.commit.as_str() && self.has_the_same_beside(version));
        if let Some(version) = same_commit {
            let what = match self.commit.as_str() {
                NO_COMMIT => "this".to_owned(),
                _ => format!("commit {}", self.commit.short()),
            };
            let detail = format!("{what} is `{}@{}` already", service.name, version.number);
            return Err(nothing(service, &version.number, &detail));
        }
        let in_line = |number: &&VersionNumber| self.cut.line.contains(number);
        let release = self.follows.filter(in_line);
        let release = release.filter(|_| self.cut.label.is_none() || self.cut.line != Line::Free);
        let last = alike().map(|version| &version.number).filter(in_line);
        let last = last.filter(|number| number.is_pre_release() && Some(*number) > self.follows);
        let before = last.max_by_key(|number| service.versions.get(*number).map(|version| version.recorded));
        for number in release.into_iter().chain(before) {
            if service.versions.get(number).is_some_and(|version| !self.has_the_same_beside(version)) {
                continue;
            }
            let Some(id) = service.commit_of(number).and_then(|commit| commit.parse().ok()) else { continue };
            if self.mirror.has_content_of(self.commit, &id, self.scope).map_err(git_problem)? {
                let short = self.commit.short();
                let detail = format!(
                    "commit {short} has the content of `{}@{number}`, and nothing else",
                    service.name
                );
                return Err(self.nothing_but(number, &detail));
            }
        }
        Ok(())
    }

    /// What lies in the repository is compared with the repository.
    fn has_the_same_beside(&self, version: &Version) -> bool {
        let given = version.made_elsewhere.as_ref().map(|made| &made.archive.digest);
        if self.beside.given.is_some() && self.beside.given != given {
            return false;
        }
        let Some(kept) = self.beside.manifest else { return true };
        version.manifest == ManifestOrigin::Service
            && version.documents.get("manifest").is_some_and(|document| document.digest == *kept)
    }

    fn nothing_but(&self, number: &VersionNumber, detail: &str) -> Problem {
        let name = &self.service.name;
        match (self.service.versions.get(number), self.service.earlier.get(number)) {
            (None, Some(earlier)) => {
                Problem::new(ErrorCode::NothingToRelease, format!("nothing to release: {detail}")).with_hint(
                    format!(
                        "release it as what it was: lockstep release {name} --ref {} --version {number}",
                        earlier.tag
                    ),
                )
            }
            _ => nothing(self.service, number, detail),
        }
    }

    /// Finds the commit of the release that is followed, or of the newest one below that is still there.
    fn since(&self) -> Result<Option<CommitId>, GitError> {
        let numbers = self.service.numbers();
        let releases = numbers.iter().rev().filter(|number| !number.is_pre_release());
        for number in releases.filter(|number| Some(*number) <= self.follows).take(MAX_COMPARED) {
            if let Some(id) = self.service.commit_of(number).and_then(|commit| commit.parse().ok())
                && self.mirror.has(&id)?
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}

pub(super) fn nothing(service: &Service, number: &VersionNumber, detail: &str) -> Problem {
    Problem::new(ErrorCode::NothingToRelease, format!("nothing to release: {detail}"))
        .with_hint(format!("lockstep show {}@{number}", service.name))
}

pub(super) fn git_problem(error: impl Into<GitError>) -> Problem {
    internal(with_sources(&error.into()))
}

/// Decides the number; contracts may owe more than the commits say.
pub(super) fn number(standing: &Standing, owed_by_contracts: Bump) -> Result<NextNumber, Problem> {
    let owed = standing.owed.max(owed_by_contracts);
    let Standing { existing, cut, leads_to, wish, follows, .. } = standing;
    let next = match wish {
        Wish::Owed | Wish::Bump(_) => next_number(existing, cut, owed, leads_to.as_ref(), wish.bump()),
        Wish::Number(number) => chosen_number(existing, cut, owed, number),
        Wish::AsItWas(number) => {
            Ok(NextNumber { number: number.clone(), follows: follows.clone(), shortfall: None })
        }
    };
    next.map_err(|error| refuse(error.to_string()))
}

pub(super) fn refuse(detail: String) -> Problem {
    Problem::new(ErrorCode::Refused, detail)
}

/// What the branch of a commit may cut.
pub(super) fn cut(world: &World, checked: &Checked) -> Result<Cut, Problem> {
    let branch = checked.branch.as_deref().ok_or_else(|| {
        refuse(format!(
            "commit {} belongs to no single branch, and the branch decides the number",
            checked.commit.short()
        ))
        .with_hint(format!(
            "lockstep release {} --ref BRANCH; for a commit that no branch ends with, make one first: git branch BRANCH {}",
            checked.manifest.name,
            checked.commit.short()
        ))
    })?;
    if checked.commit.as_str() == NO_COMMIT {
        // Rules for branches say nothing of what has none.
        return Ok(Cut { branch: branch.to_owned(), line: Line::Free, label: None, reach: None });
    }
    world
        .branches
        .resolve(branch)
        .map_err(|error| refuse(error.to_string()).with_hint("lockstep branches show"))
}

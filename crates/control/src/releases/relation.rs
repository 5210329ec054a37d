//! Whether a commit goes on from where its service is: a release must have what the release before it had.
//!
//! What is asked for:
//! - of a service without versions, nothing;
//! - of a release, that it has what the release has that was cut last from the same branch, or the newest of its numbers when
//!   none was. Not the newest of all: a fix of an old line is newer than what `main` goes on from, and is on another branch;
//! - of everything else (a candidate, a feature), that it has some history in common with a version of the service: branches are
//!   cut before the last release, rebased, and thrown away.
//!
//! A change is there with its commit, with its patch under another id, or with its content. So a history that was rebased goes on,
//! and one that was reset, or is of another service, is refused with what is missing. What a shallow clone does not show counts
//! as not there.

use lockstep_api::{ErrorCode, Problem, ProblemPart};
use lockstep_domain::VersionNumber;
use lockstep_domain::branch::Cut;
use lockstep_domain::commits::Commit;
use lockstep_domain::repository_address::NO_COMMIT;
use lockstep_domain::service::{Service, Version};
use lockstep_pipeline::git::GitError;
use lockstep_pipeline::{CommitId, Mirror, Prepared, Scope};

use crate::instances::with_sources;
use crate::internal;

/// Longest reason, in characters.
const MAX_REASON_LENGTH: usize = 500;
/// Versions whose history is compared, the newest first: one that is related is nearly always among the first.
pub(super) const MAX_COMPARED: usize = 200;
/// Most changes that a refusal lists.
const SHOWN_MISSING: usize = 10;

/// Checks a reason before anything is begun for it.
pub(super) fn check_reason(reason: Option<&str>) -> Result<(), Problem> {
    let wrong = |reason: &str| {
        reason.trim().is_empty()
            || reason.chars().count() > MAX_REASON_LENGTH
            || reason.chars().any(char::is_control)
    };
    match reason {
        Some(reason) if wrong(reason) => {
            let detail =
                format!("the reason must be a text of one line with 1 to {MAX_REASON_LENGTH} characters");
            Err(Problem::new(ErrorCode::BadRequest, detail))
        }
        _ => Ok(()),
    }
}

/// What was found out about a commit that may be released.
#[derive(Debug, Default)]
pub(super) struct Relation {
    /// The reason to be recorded, when it is released although it lacks something.
    pub(super) unrelated: Option<String>,
    /// What a person should know.
    pub(super) warning: Option<String>,
}

/// What a commit lacks.
struct Lack {
    why: String,
    /// The changes that are missing, where they are known.
    missing: Vec<Commit>,
}

/// Checks a commit that is to follow a release.
pub(super) fn check(
    service: &Service,
    cut: &Cut,
    follows: Option<&VersionNumber>,
    prepared: &Prepared,
    reason: Option<&str>,
) -> Result<Relation, Problem> {
    let problem = |error: GitError| internal(with_sources(&error));
    let asking = Asking {
        service,
        cut,
        commit: &prepared.checked.commit,
        mirror: &prepared.mirror,
        scope: &prepared.checked.scope,
    };
    match (asking.lack(follows).map_err(problem)?, reason) {
        (None, _) => {
            let warning = asking.not_merged(follows).map_err(problem)?;
            Ok(Relation { unrelated: None, warning })
        }
        (Some(_), Some(reason)) => Ok(Relation { unrelated: Some(reason.to_owned()), warning: None }),
        (Some(lack), None) => Err(refused(service, lack, prepared.mirror.is_shallow())),
    }
}

struct Asking<'a> {
    service: &'a Service,
    cut: &'a Cut,
    commit: &'a CommitId,
    mirror: &'a Mirror,
    scope: &'a Scope,
}

impl Asking<'_> {
    /// Says what the commit lacks, when it lacks something.
    fn lack(&self, follows: Option<&VersionNumber>) -> Result<Option<Lack>, GitError> {
        let Self { service, cut, commit, mirror, .. } = self;
        if commit.as_str() == NO_COMMIT {
            // What is given goes on from nothing but what was said when the service lost its repository.
            return Ok(None);
        }
        if let Some(lack) = self.too_new()? {
            return Ok(Some(lack));
        }
        let of_branch = service.latest_release_of(&cut.branch).map(|version| &version.number);
        let of_line = || follows.filter(|number| cut.line.contains(number));
        if let Some(before) = of_branch.or_else(of_line).filter(|_| cut.label.is_none()) {
            return self.lack_of(before);
        }
        if service.numbers().is_empty() || is_related(service, commit, mirror)? {
            return Ok(None);
        }
        let (short, branch, name) = (commit.short(), &cut.branch, &service.name);
        let why = format!(
            "commit {short} of branch `{branch}` has no history in common with the versions of {name}"
        );
        Ok(Some(Lack { why, missing: Vec::new() }))
    }

    /// A branch that is bound to numbers must not contain a release above them: what is in it would get a number that is too low.
    fn too_new(&self) -> Result<Option<Lack>, GitError> {
        let Self { service, cut, commit, mirror, .. } = self;
        let numbers = service.numbers();
        let above = |number: &&VersionNumber| !number.is_pre_release() && cut.line.is_below(number);
        let Some(lowest) = numbers.iter().filter(above).min() else { return Ok(None) };
        let Some(id) = service.commit_of(lowest).and_then(|id| id.parse().ok()) else { return Ok(None) };
        let why = format!(
            "commit {} of branch `{}`, which cuts versions {}, contains {}@{lowest}, which is higher",
            commit.short(),
            cut.branch,
            cut.line,
            service.name
        );
        Ok(mirror.contains(commit, &id)?.then_some(Lack { why, missing: Vec::new() }))
    }

    fn lack_of(&self, before: &VersionNumber) -> Result<Option<Lack>, GitError> {
        // A version that was made without a repository has nothing that could be missing.
        let commit = self.service.commit_of(before).filter(|commit| *commit != NO_COMMIT);
        let Some(commit) = commit else { return Ok(None) };
        let known = match commit.parse::<CommitId>() {
            Ok(id) => self.mirror.has(&id)?.then_some(id),
            Err(_) => None,
        };
        let missing = match &known {
            Some(id) => self.mirror.missing(self.commit, id, self.scope)?,
            None => Vec::new(),
        };
        if known.is_some() && missing.is_empty() {
            return Ok(None);
        }
        let why = format!(
            "commit {} of branch `{}` does not contain commit {commit}, which {}@{before} was cut from",
            self.commit.short(),
            self.cut.branch,
            self.service.name,
        );
        Ok(Some(Lack { why, missing }))
    }

    /// Says what the release that is followed has and the commit lacks, when that release is of another branch.
    fn not_merged(&self, follows: Option<&VersionNumber>) -> Result<Option<String>, GitError> {
        let release =
            follows.and_then(|number| self.service.versions.get(number)).filter(|_| self.cut.label.is_none());
        let Some((version, id)) = release.and_then(|version| Some((version, id(version)?))) else {
            return Ok(None);
        };
        if !self.mirror.has(&id)? {
            return Ok(None);
        }
        let missing = self.mirror.missing(self.commit, &id, self.scope)?;
        let Some(first) = missing.first() else { return Ok(None) };
        Ok(Some(format!(
            "{}@{} of branch `{}` has {} that this one lacks, first {}; merge the branch, unless that is meant",
            self.service.name,
            version.number,
            version.branch,
            counted(missing.len()),
            shown(first)
        )))
    }
}

fn counted(count: usize) -> String {
    format!("{count} {}", if count == 1 { "change" } else { "changes" })
}

fn shown(commit: &Commit) -> String {
    let id: String = commit.id.chars().take(8).collect();
    let subject: String = commit.message.lines().next().unwrap_or_default().chars().take(200).collect();
    format!("`{subject}` ({id})")
}

fn is_related(service: &Service, commit: &CommitId, mirror: &Mirror) -> Result<bool, GitError> {
    let mut versions: Vec<_> = service.versions.values().collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.recorded));
    let earlier = service.earlier.values().rev().filter_map(|earlier| earlier.commit.parse().ok());
    let ids = versions.into_iter().filter_map(|version| id(version)).chain(earlier);
    for id in ids.take(MAX_COMPARED) {
        if mirror.is_related(commit, &id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The commit of a version.
pub(super) fn id(version: &Version) -> Option<CommitId> {
    version.commit.parse().ok()
}

fn refused(service: &Service, lack: Lack, is_shallow: bool) -> Problem {
    let hint = if is_shallow {
        format!(
            "the repository is a shallow clone and may only not show it: git fetch --unshallow there, then lockstep release {}",
            service.name
        )
    } else {
        format!(
            "release a commit that has it; or when the history was rewritten on purpose: \
             lockstep release {} --unrelated \"REASON\"",
            service.name
        )
    };
    let more = lack.missing.len().saturating_sub(SHOWN_MISSING);
    let mut parts: Vec<_> =
        lack.missing.iter().take(SHOWN_MISSING).map(|commit| format!("missing: {}", shown(commit))).collect();
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    let part = |detail: String| ProblemPart { detail, ..ProblemPart::default() };
    Problem::new(ErrorCode::Refused, lack.why)
        .with_problems(parts.into_iter().map(part).collect())
        .with_hint(hint)
}

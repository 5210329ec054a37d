//! Whether a commit goes on from where its service is: a release must have what the release before it had.
//!
//! What is asked for:
//! - of a service without versions, nothing;
//! - of a release, that it contains the release that was cut last from the same branch. Not the newest of all: a fix of an
//!   old line is newer than what `main` goes on from, and is on another branch;
//! - of everything else (a candidate, a feature, the first release of a branch), that it has some history in common with a
//!   version of the service: branches are cut before the last release, rebased, and thrown away.
//!
//! So a repository of another service is refused on every branch, and a history that was rewritten on the branches that
//! releases are cut from. What a shallow clone does not show counts as not there.

use std::sync::Arc;

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::branch::Cut;
use lockstep_domain::service::{Service, Version};
use lockstep_pipeline::git::GitError;
use lockstep_pipeline::{CommitId, Mirror, Prepared};

use crate::instances::with_sources;
use crate::internal;

/// Longest reason, in characters.
const MAX_REASON_LENGTH: usize = 500;
/// Versions whose history is compared, the newest first: one that is related is nearly always among the first.
const MAX_COMPARED: usize = 200;

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

/// Checks a commit; returns the reason to be recorded when it is released in spite of it.
pub(super) fn check(
    service: &Service,
    cut: &Cut,
    prepared: &Prepared,
    reason: Option<&str>,
) -> Result<Option<String>, Problem> {
    let commit = &prepared.checked.commit;
    let missing = missing(service, cut, commit, &prepared.mirror);
    match (missing.map_err(|error| internal(with_sources(&error)))?, reason) {
        (None, _) => Ok(None),
        (Some(_), Some(reason)) => Ok(Some(reason.to_owned())),
        (Some(why), None) => Err(refused(service, why, prepared.mirror.is_shallow())),
    }
}

/// Says what a commit lacks, when it lacks something.
fn missing(
    service: &Service,
    cut: &Cut,
    commit: &CommitId,
    mirror: &Mirror,
) -> Result<Option<String>, GitError> {
    let before = service.latest_release_of(&cut.branch).filter(|_| cut.label.is_none());
    if let Some(before) = before {
        let contained = match id(before) {
            Some(id) => mirror.contains(commit, &id)?,
            None => false,
        };
        return Ok((!contained).then(|| {
            format!(
                "commit {} of branch `{}` does not contain commit {}, which {}@{} was cut from",
                commit.short(),
                cut.branch,
                before.commit,
                service.name,
                before.number
            )
        }));
    }
    if service.versions.is_empty() || is_related(service, commit, mirror)? {
        return Ok(None);
    }
    let (short, branch, name) = (commit.short(), &cut.branch, &service.name);
    Ok(Some(format!(
        "commit {short} of branch `{branch}` has no history in common with the versions of {name}"
    )))
}

fn is_related(service: &Service, commit: &CommitId, mirror: &Mirror) -> Result<bool, GitError> {
    let mut versions: Vec<_> = service.versions.values().collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.recorded));
    for id in versions.into_iter().take(MAX_COMPARED).filter_map(id) {
        if mirror.is_related(commit, &id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn id(version: &Arc<Version>) -> Option<CommitId> {
    version.commit.parse().ok()
}

fn refused(service: &Service, why: String, is_shallow: bool) -> Problem {
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
    Problem::new(ErrorCode::Refused, why).with_hint(hint)
}

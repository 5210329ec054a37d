//! A number that a person chose: an earlier release as what it was, a candidate that becomes the release of its line, or a number
//! of the branch.

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::branch::{Cut, Line};
use lockstep_domain::service::{EarlierRelease, Service, Version};
use lockstep_domain::{VersionNumber, World};
use lockstep_pipeline::Prepared;

use super::number::{Wish, cut as cut_of, git_problem, refuse};
use super::relation::id;

/// Finds what a commit may be cut as, and what the wish means there.
pub(super) fn cut(
    world: &World,
    service: &Service,
    prepared: &Prepared,
    wish: Wish,
) -> Result<(Cut, Wish), Problem> {
    let Wish::Number(number) = wish else { return Ok((cut_of(world, &prepared.checked)?, wish)) };
    if let Some(earlier) = service.earlier.get(&number).filter(|_| !service.versions.contains_key(&number)) {
        return as_it_was(service, prepared, number, earlier);
    }
    let mut cut = cut_of(world, &prepared.checked)?;
    if cut.label.is_some() && cut.line != Line::Free && !number.is_pre_release() {
        may_become_the_release(world, service, prepared, &cut, &number)?;
        (cut.label, cut.reach) = (None, None);
    }
    Ok((cut, Wish::Number(number)))
}

/// The commit must be the one of the tag; which branch it is of says nothing any more.
fn as_it_was(
    service: &Service,
    prepared: &Prepared,
    number: VersionNumber,
    earlier: &EarlierRelease,
) -> Result<(Cut, Wish), Problem> {
    let commit = &prepared.checked.commit;
    if commit.as_str() != earlier.commit {
        let detail = format!(
            "{number} was released before, as tag `{}` at commit {}, and not at {}",
            earlier.tag,
            earlier.commit,
            commit.short()
        );
        let hint = format!("lockstep release {} --ref {} --version {number}", service.name, earlier.tag);
        return Err(refuse(detail).with_hint(hint));
    }
    if number.is_pre_release() {
        return Err(refuse(format!(
            "{number} was a pre-release; only releases are released as what they were"
        )));
    }
    // Not the branch: what is released from that next goes on from its own last release.
    let branch = earlier.tag.clone();
    Ok((Cut { branch, line: Line::Free, label: None, reach: None }, Wish::AsItWas(number)))
}

/// A candidate of the same content must have come as far as candidates of the branch may come.
fn may_become_the_release(
    world: &World,
    service: &Service,
    prepared: &Prepared,
    cut: &Cut,
    number: &VersionNumber,
) -> Result<(), Problem> {
    let mut newest: Option<&Version> = None;
    for version in service.versions.values() {
        let same = version.branch == cut.branch
            && version.number.is_pre_release()
            && version.number.release() == *number;
        let Some(id) = id(version).filter(|_| same) else { continue };
        if prepared
            .mirror
            .has_content_of(&prepared.checked.commit, &id, &prepared.checked.scope)
            .map_err(git_problem)?
        {
            newest = Some(version);
        }
    }
    let name = &service.name;
    let Some(candidate) = newest else {
        let detail = format!(
            "{number} is released from branch `{}` when a candidate of the same content is there",
            cut.branch
        );
        return Err(Problem::new(ErrorCode::Refused, detail)
            .with_hint(format!("lockstep release {name} --ref {}, and bring it to staging", cut.branch)));
    };
    let lifecycle = world.lifecycle_of(name);
    let Some(reach) =
        cut.reach.as_ref().filter(|reach| lifecycle.position(&candidate.stage) < lifecycle.position(reach))
    else {
        return Ok(());
    };
    let detail = format!(
        "{number} is released from branch `{}` when its candidate has entered stage {reach}; {} is in {}",
        cut.branch, candidate.number, candidate.stage
    );
    Err(Problem::new(ErrorCode::Refused, detail).with_hint(format!(
        "lockstep deploy {name}@{} --env staging; what is missing: lockstep show {name}@{}",
        candidate.number, candidate.number
    )))
}

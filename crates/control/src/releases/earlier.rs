//! Taking up the life that a repository had before its service was registered: the releases that its tags name.
//!
//! Nothing is taken up that was not asked for; what is there is offered.

use std::collections::BTreeMap;
use std::path::Path;

use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::branch::BranchPattern;
use lockstep_domain::earlier::{Earlier, Tag, earlier, usual_pattern};
use lockstep_domain::service::{EarlierRelease, Service};
use lockstep_domain::{ServiceName, VersionNumber};
use lockstep_manifest::init::version_in;

/// Most releases that are taken up, the newest first: they are one record of the journal.
const MAX_TAKEN: usize = 2_000;
/// Tags that a note names.
const SHOWN_TAGS: usize = 5;
/// Files in which people write the number of a service, where there is one.
const VERSION_FILES: [&str; 4] = ["VERSION", "package.json", "Cargo.toml", "pyproject.toml"];
/// Longest such file that is looked at.
const MAX_VERSION_FILE_BYTES: u64 = 1024 * 1024;

/// What is taken up, and what a person should know.
#[derive(Debug, Default)]
pub(super) struct TakenUp {
    pub(super) releases: BTreeMap<VersionNumber, EarlierRelease>,
    pub(super) notes: Vec<String>,
}

/// Finds the releases that tags of a pattern name, and that the service does not have.
pub(super) fn take_up(
    pattern: &BranchPattern,
    tags: &[Tag],
    known: Option<&Service>,
) -> Result<TakenUp, Problem> {
    let Earlier { mut releases, left_out } = earlier(pattern, tags);
    if releases.is_empty() {
        let detail = format!("no tag of the pattern `{pattern}` names a version");
        return Err(Problem::new(ErrorCode::Refused, detail)
            .with_hint("what `*` stands for must be a number: git tag --list"));
    }
    let mut notes = Vec::new();
    let has = |number: &VersionNumber| known.is_some_and(|known| known.commit_of(number).is_some());
    let before = releases.len();
    releases.retain(|number, _| !has(number));
    if releases.len() < before {
        notes.push(format!(
            "{} known already and stay as they are",
            counted(before - releases.len(), "release is", "releases are")
        ));
    }
    let too_many = releases.len().saturating_sub(MAX_TAKEN);
    if too_many > 0 {
        notes.push(format!(
            "{} left out, and their numbers are free: the oldest",
            counted(too_many, "release is", "releases are")
        ));
        (0..too_many).for_each(|_| drop(releases.pop_first()));
    }
    if let (Some(first), Some(last)) = (releases.iter().next(), releases.iter().next_back()) {
        let shown =
            |(number, release): (&VersionNumber, &EarlierRelease)| format!("{number} (tag {})", release.tag);
        notes.push(format!(
            "{} taken up, {} to {}; the next one goes on from the newest",
            counted(releases.len(), "earlier release is", "earlier releases are"),
            shown(first),
            shown(last)
        ));
    }
    if !left_out.is_empty() {
        let names = left_out.iter().take(SHOWN_TAGS).cloned().collect::<Vec<_>>().join(", ");
        let more = if left_out.len() > SHOWN_TAGS { ", ..." } else { "" };
        notes.push(format!(
            "{} no version: {names}{more}",
            counted(left_out.len(), "tag of the pattern names", "tags of the pattern name")
        ));
    }
    Ok(TakenUp { releases, notes })
}

/// Says what there is that could be taken up, for a service that has no release yet.
pub(super) fn offers(name: &ServiceName, tags: &[Tag], folder: Option<&Path>) -> Vec<String> {
    let tagged = usual_pattern(name, tags).and_then(|(pattern, found)| {
        let (newest, release) = found.releases.iter().next_back()?;
        Some(format!(
            "the repository has {} such as {}: `lockstep service add --from-tags '{pattern}'` in its folder lets the first release follow {newest}; it would be 1.0.0",
            counted(found.releases.len(), "tag", "tags"),
            release.tag
        ))
    });
    let written = || {
        let (file, number) = folder.and_then(written_number)?;
        let next = VersionNumber::new(number.major(), number.minor(), number.patch().saturating_add(1));
        Some(format!(
            "{file} says {number}: `lockstep release {name} --version {next}` goes on from there; the first release would be 1.0.0"
        ))
    };
    tagged.or_else(written).into_iter().collect()
}

fn written_number(folder: &Path) -> Option<(&'static str, VersionNumber)> {
    let telling = |number: &VersionNumber| {
        *number != VersionNumber::new(0, 0, 0) && *number != VersionNumber::new(1, 0, 0)
    };
    VERSION_FILES.iter().find_map(|name| {
        let file = lockstep_files::foreign::open_below(folder, Path::new(name)).ok()?;
        let text = lockstep_files::foreign::read_text(file, MAX_VERSION_FILE_BYTES).ok()?;
        Some((*name, version_in(name, &text).filter(telling)?))
    })
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

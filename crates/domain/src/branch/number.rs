//! The number that a branch's next version gets.

use thiserror::Error;

use super::{Cut, Label, Line, number_of};
use crate::commits::Bump;
use crate::version::{VersionError, VersionNumber};

/// The release that a service without any starts with.
const FIRST_RELEASE: VersionNumber = VersionNumber::new(1, 0, 0);
/// What an explicit bump of a service without any release counts from.
const BEFORE_ALL: VersionNumber = VersionNumber::new(0, 0, 0);

/// The next number, and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextNumber {
    /// The number.
    pub number: VersionNumber,
    /// The release that it follows; the changelog is what happened since its commit.
    pub follows: Option<VersionNumber>,
    /// Set when the number grows less than the changes owe.
    pub shortfall: Option<Shortfall>,
}

/// A number grows less than its changes owe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortfall {
    /// What the changes owe.
    pub owed: Bump,
    /// By what the number grows.
    pub given: Bump,
}

/// Why there is no next number.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NumberingError {
    /// The branch leads to a release that exists.
    #[error("branch `{branch}` leads to {number}, which is released already")]
    Released {
        /// The branch.
        branch: String,
        /// The release.
        number: VersionNumber,
    },
    /// The bump leads out of the numbers of the branch.
    #[error("branch `{branch}` cuts versions {line} only, and the demanded bump leads out of them")]
    OutsideLine {
        /// The branch.
        branch: String,
        /// Its numbers.
        line: String,
    },
    /// A number that a person chose was given before.
    #[error("{number} is given already")]
    Given {
        /// The number.
        number: VersionNumber,
    },
    /// A number that a person chose is none that the branch cuts.
    #[error("branch `{branch}` cuts versions {form} and not {number}")]
    NotOfBranch {
        /// The branch.
        branch: String,
        /// What it cuts.
        form: String,
        /// The number.
        number: VersionNumber,
    },
    /// A number that a person chose goes down.
    #[error("{number} would not be higher than {than}, which is there already")]
    NotHigher {
        /// The number.
        number: VersionNumber,
        /// What it would have to be higher than.
        than: VersionNumber,
    },
    /// A number cannot grow.
    #[error("there is no number after {number}")]
    Exhausted {
        /// The number.
        number: VersionNumber,
    },
    /// The number cannot be written.
    #[error(transparent)]
    Number(#[from] VersionError),
}

/// Returns the newest release of a line, or else the newest one below it.
#[must_use]
pub fn newest_release(existing: &[VersionNumber], line: Line) -> Option<&VersionNumber> {
    let releases = || existing.iter().filter(|number| !number.is_pre_release());
    let inside = releases().filter(|number| line.contains(number)).max();
    let below = || releases().filter(|number| line.first().is_none_or(|first| **number < first)).max();
    inside.or_else(below)
}

/// Finds the next number of a branch.
///
/// `existing` are all numbers ever given to the service, `owed` is what the commits since [`newest_release`] owe,
/// `leads_to` is the release that a pre-release with this content promised, and `wanted` is a bump that a person asked for. The first release is 1.0.0; a bump that a person asks for counts
/// from 0.0.0 then. While the first number is 0, a breaking change owes the second number only.
///
/// # Errors
/// When the branch leads to a release that exists, or the demanded bump leads out of its line.
pub fn next_number(
    existing: &[VersionNumber],
    cut: &Cut,
    owed: Bump,
    leads_to: Option<&VersionNumber>,
    wanted: Option<Bump>,
) -> Result<NextNumber, NumberingError> {
    let follows = newest_release(existing, cut.line);
    let release = next_release(follows, cut, owed, wanted)?;
    let promised = leads_to.filter(|_| wanted.is_none()).filter(|number| cut.line.contains(number));
    let release = promised.map_or(release.clone(), |promised| release.max(promised.clone()));
    let shortfall = follows.and_then(|follows| shortfall(follows, &release, owed));
    let number = match &cut.label {
        None => release,
        Some(label) => release.pre_release(label.as_str(), next_counter(existing, &release, label)?)?,
    };
    Ok(NextNumber { number, follows: follows.cloned(), shortfall })
}

/// Takes a number that a person chose, when it may follow what is there.
///
/// # Errors
/// When it was given before, is none of the branch, or goes down.
pub fn chosen_number(
    existing: &[VersionNumber],
    cut: &Cut,
    owed: Bump,
    chosen: &VersionNumber,
) -> Result<NextNumber, NumberingError> {
    if existing.contains(chosen) {
        return Err(NumberingError::Given { number: chosen.clone() });
    }
    let label = chosen.pre().rsplit_once('.').filter(|(_, counter)| number_of(counter).is_some());
    let fits = match &cut.label {
        None => !chosen.is_pre_release(),
        Some(wanted) => label.is_some_and(|(label, _)| label == wanted.as_str()),
    };
    if !fits || !cut.line.contains(chosen) {
        let label = cut.label.as_ref().map(|label| format!("-{label}.N")).unwrap_or_default();
        let (branch, form) = (cut.branch.clone(), format!("{}{label}", cut.line));
        return Err(NumberingError::NotOfBranch { branch, form, number: chosen.clone() });
    }
    let follows = newest_release(existing, cut.line);
    let alike = existing.iter().filter(|number| number.release() == chosen.release());
    let alike = alike.filter(|number| {
        number.pre().rsplit_once('.').map(|(label, _)| label) == label.map(|(label, _)| label)
    });
    let too_high = |number: &&VersionNumber| **number >= *chosen;
    if let Some(than) =
        follows.filter(|follows| chosen.release() <= **follows).or_else(|| alike.filter(too_high).max())
    {
        return Err(NumberingError::NotHigher { number: chosen.clone(), than: than.clone() });
    }
    let shortfall = follows.and_then(|follows| shortfall(follows, &chosen.release(), owed));
    Ok(NextNumber { number: chosen.clone(), follows: follows.cloned(), shortfall })
}

/// Finds the release that the branch leads to next.
fn next_release(
    follows: Option<&VersionNumber>,
    cut: &Cut,
    owed: Bump,
    wanted: Option<Bump>,
) -> Result<VersionNumber, NumberingError> {
    if let Some(first) = cut.line.first()
        && !follows.is_some_and(|number| cut.line.contains(number))
    {
        return Ok(first);
    }
    let Some(follows) = follows else {
        return wanted.map_or(Ok(FIRST_RELEASE), |wanted| grown(&BEFORE_ALL, wanted));
    };
    let largest = cut.line.largest_bump();
    if largest == Bump::None {
        return Err(NumberingError::Released { branch: cut.branch.clone(), number: follows.clone() });
    }
    if wanted.is_some_and(|wanted| wanted > largest) {
        let line = cut.line.to_string();
        return Err(NumberingError::OutsideLine { branch: cut.branch.clone(), line });
    }
    grown(follows, wanted.unwrap_or_else(|| softened(owed, follows)).min(largest))
}

/// Returns what a bump means after a release: while the first number is 0, nothing is promised, and a breaking change owes
/// the second number.
#[must_use]
pub fn softened(owed: Bump, follows: &VersionNumber) -> Bump {
    if follows.major() == 0 { owed.min(Bump::Minor) } else { owed }
}

/// Makes a release number grow. A version needs a number of its own, so no bump counts as a patch.
fn grown(number: &VersionNumber, bump: Bump) -> Result<VersionNumber, NumberingError> {
    let next = |n: u64| n.checked_add(1).ok_or_else(|| NumberingError::Exhausted { number: number.clone() });
    let (major, minor, patch) = (number.major(), number.minor(), number.patch());
    Ok(match bump {
        Bump::Major => VersionNumber::new(next(major)?, 0, 0),
        Bump::Minor => VersionNumber::new(major, next(minor)?, 0),
        Bump::Patch | Bump::None => VersionNumber::new(major, minor, next(patch)?),
    })
}

/// Tells whether a release number grows less over another than it owes. While the first number is 0, a breaking change
/// owes the second one only.
#[must_use]
pub fn shortfall(follows: &VersionNumber, release: &VersionNumber, owed: Bump) -> Option<Shortfall> {
    let given = if release.major() > follows.major() {
        Bump::Major
    } else if release.minor() > follows.minor() {
        Bump::Minor
    } else {
        Bump::Patch
    };
    let owed = softened(owed, follows);
    (given < owed).then_some(Shortfall { owed, given })
}

/// Returns the counter after the highest of this release and label, from 1.
fn next_counter(
    existing: &[VersionNumber],
    release: &VersionNumber,
    label: &Label,
) -> Result<u64, NumberingError> {
    let counter = |number: &VersionNumber| {
        let rest = number.pre().strip_prefix(label.as_str())?.strip_prefix('.')?;
        number_of(rest.split('.').next()?)
    };
    let highest = existing.iter().filter(|number| number.release() == *release).filter_map(counter).max();
    let next = highest.unwrap_or(0).checked_add(1);
    next.ok_or_else(|| NumberingError::Exhausted { number: release.clone() })
}

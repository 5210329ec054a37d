//! Version numbers and ranges of them.
//!
//! A number is SemVer 2.0 without build metadata, so that two versions of a service never have the same precedence.
//! A range is an interval of precedence: `^2.1` means `>=2.1.0, <3.0.0-0`, and a pre-release inside it counts.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use semver::{Comparator, Op, Prerelease};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;
use crate::name::{NameError, ServiceName};

/// Longest version number; npm's limit, and enough for a file name with the service in front.
pub const MAX_VERSION_LENGTH: usize = 128;

/// Why a text is not a version number, a range, or a `service@version`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VersionError {
    /// Not SemVer.
    #[error("`{text}` is not a SemVer number: {why}")]
    Number {
        /// The text as given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not a range.
    #[error("`{text}` is not a version range: {why}")]
    Range {
        /// The text as given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Not `service@version`.
    #[error("`{text}` is not of the form service@version")]
    Reference {
        /// The text as given.
        text: String,
    },
    /// The service part is not a name.
    #[error(transparent)]
    Service(#[from] NameError),
}

/// The number of a version, ordered by SemVer precedence.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct VersionNumber(semver::Version);

impl VersionNumber {
    /// Makes a release number.
    #[must_use]
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// Makes a pre-release number such as `1.5.0-rc.2`.
    ///
    /// # Errors
    /// When `label` is not a SemVer identifier.
    pub fn pre_release(&self, label: &str, counter: u64) -> Result<Self, VersionError> {
        let text = format!("{}.{}.{}-{label}.{counter}", self.major(), self.minor(), self.patch());
        text.parse()
    }

    /// Returns the first number.
    #[must_use]
    pub const fn major(&self) -> u64 {
        self.0.major
    }

    /// Returns the second number.
    #[must_use]
    pub const fn minor(&self) -> u64 {
        self.0.minor
    }

    /// Returns the third number.
    #[must_use]
    pub const fn patch(&self) -> u64 {
        self.0.patch
    }

    /// Returns the pre-release part without its hyphen; empty for a release.
    #[must_use]
    pub fn pre(&self) -> &str {
        self.0.pre.as_str()
    }

    /// Tells whether this is a pre-release.
    #[must_use]
    pub fn is_pre_release(&self) -> bool {
        !self.0.pre.is_empty()
    }

    /// Returns the release that this pre-release leads to, or the same number.
    #[must_use]
    pub const fn release(&self) -> Self {
        Self::new(self.0.major, self.0.minor, self.0.patch)
    }
}

impl FromStr for VersionNumber {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let fail = |why: String| VersionError::Number { text: text.chars().take(80).collect(), why };
        if text.len() > MAX_VERSION_LENGTH {
            return Err(fail("it is longer than 128 characters".into()));
        }
        let version = semver::Version::parse(text).map_err(|e| fail(e.to_string()))?;
        if version.build.is_empty() {
            Ok(Self(version))
        } else {
            Err(fail("build metadata (after +) would give two versions the same precedence".into()))
        }
    }
}

as_text!(VersionNumber);

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A range of version numbers, in Cargo's notation (`^2.1`, `~1.4`, `>=1.2, <1.9`, `*`).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct VersionRange(semver::VersionReq);

impl VersionRange {
    /// Tells whether a version lies in the range by precedence.
    ///
    /// Unlike a package resolver, pre-releases inside the interval count: a running `2.2.0-rc.1` serves what `^2.1`
    /// asks for. A pre-release of the lower bound itself does not, and neither does one of the excluded upper bound.
    #[must_use]
    pub fn contains(&self, version: &VersionNumber) -> bool {
        self.0.comparators.iter().all(|comparator| inside(comparator, &version.0))
    }
}

fn inside(c: &Comparator, version: &semver::Version) -> bool {
    let (low, high) = bounds(c);
    let above = low.is_none_or(|low| version.cmp_precedence(&low) != Ordering::Less);
    let below = high.is_none_or(|high| version.cmp_precedence(&high) == Ordering::Less);
    above && below
}

/// Returns a comparator as a half-open interval `[low, high)` of precedence.
fn bounds(c: &Comparator) -> (Option<semver::Version>, Option<semver::Version>) {
    let low = exact(c);
    match c.op {
        Op::Exact | Op::Wildcard => (Some(low.clone()), Some(next_after(c, &low))),
        Op::Greater => (Some(next_after(c, &low)), None),
        Op::GreaterEq => (Some(low), None),
        Op::Less => (None, Some(if c.pre.is_empty() { floor(low.major, low.minor, low.patch) } else { low })),
        Op::LessEq => (None, Some(next_after(c, &low))),
        Op::Tilde => {
            let high = if c.minor.is_some() {
                floor(low.major, low.minor.saturating_add(1), 0)
            } else {
                floor(low.major.saturating_add(1), 0, 0)
            };
            (Some(low), Some(high))
        }
        _ => {
            let high = caret_end(c, &low);
            (Some(low), Some(high))
        }
    }
}

fn exact(c: &Comparator) -> semver::Version {
    let mut version = semver::Version::new(c.major, c.minor.unwrap_or(0), c.patch.unwrap_or(0));
    version.pre = c.pre.clone();
    version
}

/// The lowest version of all with these numbers: its very first pre-release.
fn floor(major: u64, minor: u64, patch: u64) -> semver::Version {
    let mut version = semver::Version::new(major, minor, patch);
    version.pre = Prerelease::new("0").expect("`0` is a valid pre-release identifier");
    version
}

/// The end of what a comparator names exactly: `=1.2` ends where 1.3 begins, `=1.2.3` where 1.2.4 begins.
fn next_after(c: &Comparator, low: &semver::Version) -> semver::Version {
    if c.minor.is_none() {
        floor(low.major.saturating_add(1), 0, 0)
    } else if c.patch.is_none() {
        floor(low.major, low.minor.saturating_add(1), 0)
    } else if c.pre.is_empty() {
        floor(low.major, low.minor, low.patch.saturating_add(1))
    } else {
        let mut version = low.clone();
        version.pre = Prerelease::new(&format!("{}.0", low.pre)).unwrap_or_else(|_| low.pre.clone());
        version
    }
}

fn caret_end(c: &Comparator, low: &semver::Version) -> semver::Version {
    if low.major > 0 || c.minor.is_none() {
        floor(low.major.saturating_add(1), 0, 0)
    } else if low.minor > 0 || c.patch.is_none() {
        floor(0, low.minor.saturating_add(1), 0)
    } else {
        floor(0, 0, low.patch.saturating_add(1))
    }
}

impl FromStr for VersionRange {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        semver::VersionReq::parse(text)
            .map(Self)
            .map_err(|e| VersionError::Range { text: text.chars().take(80).collect(), why: e.to_string() })
    }
}

as_text!(VersionRange);

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One version of one service, written `orders@1.4.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct VersionRef {
    /// The service.
    pub service: ServiceName,
    /// Its version.
    pub version: VersionNumber,
}

impl FromStr for VersionRef {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let Some((service, version)) = text.split_once('@') else {
            return Err(VersionError::Reference { text: text.chars().take(200).collect() });
        };
        Ok(Self { service: service.parse()?, version: version.parse()? })
    }
}

as_text!(VersionRef);

impl fmt::Display for VersionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.service, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> VersionNumber {
        text.parse().unwrap()
    }

    #[test]
    fn build_metadata_is_refused() {
        assert!("1.2.3+5".parse::<VersionNumber>().is_err());
    }

    #[test]
    fn pre_releases_come_before_their_release() {
        assert!(v("1.5.0-rc.2") < v("1.5.0-rc.10"));
        assert!(v("1.5.0-rc.10") < v("1.5.0"));
        assert_eq!(v("1.5.0").pre_release("rc", 3).unwrap(), v("1.5.0-rc.3"));
    }

    #[test]
    fn ranges_are_intervals_of_precedence() {
        let cases = [
            ("^2.1", "2.1.0", true),
            ("^2.1", "2.9.9", true),
            ("^2.1", "3.0.0", false),
            ("^2.1", "3.0.0-rc.1", false),
            ("^2.1", "2.2.0-rc.1", true),
            ("^2.1", "2.1.0-rc.1", false),
            ("^0.3", "0.3.9", true),
            ("^0.3", "0.4.0", false),
            ("^0.0.3", "0.0.4", false),
            ("^0.0", "0.0.9", true),
            ("~1.4", "1.4.7", true),
            ("~1.4", "1.5.0-a.1", false),
            ("=1.2.3", "1.2.3", true),
            ("=1.2.3", "1.2.4-rc.1", false),
            ("=1.2", "1.2.9", true),
            ("=1.2.3-rc.1", "1.2.3-rc.1", true),
            ("=1.2.3-rc.1", "1.2.3-rc.2", false),
            (">1.2", "1.2.9", false),
            (">1.2", "1.3.0", true),
            (">=1.2, <1.9", "1.8.3", true),
            (">=1.2, <1.9", "1.9.0-rc.1", false),
            ("<=1.2.3", "1.2.3", true),
            ("<=1.2.3", "1.2.4", false),
            ("*", "0.0.1-a.1", true),
            ("1.*", "1.7.0", true),
            ("1.*", "2.0.0", false),
        ];
        for (range, version, expected) in cases {
            assert_eq!(
                range.parse::<VersionRange>().unwrap().contains(&v(version)),
                expected,
                "{range} {version}"
            );
        }
    }

    #[test]
    fn reference_round_trips() {
        let reference: VersionRef = "orders@1.4.0-rc.1".parse().unwrap();
        assert_eq!(reference.to_string(), "orders@1.4.0-rc.1");
        assert!("orders".parse::<VersionRef>().is_err());
    }
}
